// What the sans-IO modules need from OpenSSL's libcrypto and get injected: SHA-1 for the opening handshake
// (RFC 6455 section 4.2.2) and random bytes. OpenSSL is known to this module only.

import COpenSSL

/// Digests and random bytes, from OpenSSL.
package enum Digest {
    /// Writes the 20-byte SHA-1 of `input` to `output`, which must have room for it.
    package static func sha1(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer) {
        precondition(output.count >= Int(SHA_DIGEST_LENGTH))
        _ = SHA1(
            input.baseAddress?.assumingMemoryBound(to: UInt8.self), input.count,
            output.baseAddress?.assumingMemoryBound(to: UInt8.self))
    }

    /// Fills `output` with random bytes fit for secrets and identifiers.
    package static func random(_ output: UnsafeMutableRawBufferPointer) {
        let done = RAND_bytes(
            output.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(clamping: output.count))
        // Without entropy no identifier is safe: a process in that state must not go on.
        precondition(done == 1, "the system has no random bytes")
    }
}
