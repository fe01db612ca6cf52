// The one cryptographic step of the opening handshake: from a client's key to the server's answer. SHA-1 is handed in
// by the caller (the Reactor has it from OpenSSL), so that this module needs no crypto. RFC 6455 section 4.2.2.

import Bytes

/// Writes the 20-byte SHA-1 of its first argument to its second.
package typealias SHA1Function = (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> Void

/// The value of `Sec-WebSocket-Accept`: 28 characters.
package struct AcceptKey {
    private var characters = InlineArray<28, UInt8>(repeating: 0)

    /// The answer to `key`, the 24 characters of a valid `Sec-WebSocket-Key`.
    package init(for key: UnsafeRawBufferPointer, sha1: SHA1Function) {
        var input = ByteBuffer(capacity: 64)
        input.append(key)
        input.append("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        var digest = InlineArray<20, UInt8>(repeating: 0)
        withUnsafeMutableBytes(of: &digest) { raw in
            sha1(input.bytes, raw)
            withUnsafeMutableBytes(of: &characters) { Base64.encode(UnsafeRawBufferPointer(raw), into: $0) }
        }
    }

    /// The characters, for the duration of `body`.
    package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withUnsafeBytes(of: characters, body)
    }
}
