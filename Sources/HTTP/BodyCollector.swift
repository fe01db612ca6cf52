// Collects a body whose length the head announced, for the small requests of the admin API. Used by the admin driver on
// its loop. The announced length is compared with the limit and otherwise only counted down: memory grows with what
// really arrived. RFC 9112 section 6.3.

import Bytes

/// A body on its way in, at most `limit` bytes of it.
package struct BodyCollector: ~Copyable {
    private var buffer = ByteBuffer()
    /// Bytes still to come.
    package private(set) var missing: Int

    /// A collector for a body of `contentLength` bytes; throws `bodyTooLarge` (413) if that is above `limit`.
    package init(contentLength: Int, limit: Int) throws(HTTPFailure) {
        precondition(contentLength >= 0)
        guard contentLength <= limit else { throw .bodyTooLarge }
        missing = contentLength
    }

    /// Whether the whole body is there.
    package var isComplete: Bool { missing == 0 }

    /// What arrived so far; valid until the next `feed`.
    package var bytes: UnsafeRawBufferPointer { buffer.bytes }

    /// Takes what belongs to the body from the front of `input` and returns how many bytes that were.
    package mutating func feed(_ input: UnsafeRawBufferPointer) -> Int {
        let taken = min(missing, input.count)
        buffer.append(UnsafeRawBufferPointer(rebasing: input[..<taken]))
        missing -= taken
        return taken
    }
}
