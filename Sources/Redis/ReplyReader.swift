// Bytes in, replies out: the guard in front of hiredis' reader, and the arena behind it. The only file that calls the
// reader. Owned by a link, on its loop; bounded by RESPLimits.
//
// Replies that were complete before a fault are still given out, so that the result does not depend on how the stream
// was cut; after the last of them `fault` says what was wrong, and the connection is to be closed.

import CHiredis

/// An incremental reader of RESP2 replies. Loop-confined.
package struct ReplyReader: ~Copyable {
    // Bytes that the reader keeps allocated while it is empty: two reads of a loop.
    private static let keptBytes = 128 * 1024

    private let reader: UnsafeMutablePointer<redisReader>?
    private let arena: UnsafeMutablePointer<ReplyArena>
    private let functions: UnsafeMutablePointer<redisReplyObjectFunctions>
    private var scanner: RESPGuard
    private var given = 0
    private var seen: RESPFault?

    /// A reader at the start of a stream.
    package init(limits: RESPLimits = RESPLimits()) {
        scanner = RESPGuard(limits: limits)
        arena = .allocate(capacity: 1)
        arena.initialize(to: ReplyArena())
        functions = .allocate(capacity: 1)
        functions.initialize(to: ReplyArena.functions)
        reader = redisReaderCreateWithFunctions(functions)
        reader?.pointee.privdata = UnsafeMutableRawPointer(arena)
        reader?.pointee.maxbuf = ReplyReader.keptBytes
        if reader == nil { seen = .reader }
    }

    deinit {
        if let reader { redisReaderFree(reader) }
        functions.deallocate()
        arena.deinitialize(count: 1)
        arena.deallocate()
    }

    /// Takes the next bytes of the stream; views of earlier replies are invalid from here on. Ignored after a fault.
    package mutating func feed(_ bytes: UnsafeRawBufferPointer) {
        guard seen == nil, let reader, let base = bytes.baseAddress else { return }
        let (accepted, fault) = scanner.scan(bytes)
        seen = fault
        guard accepted > 0 else { return }
        if redisReaderFeed(reader, base.assumingMemoryBound(to: CChar.self), accepted) != REDIS_OK { seen = .reader }
    }

    /// The next complete reply, or nil. The view is valid until the next call of `next` or `feed`.
    package mutating func next() -> RedisReply? {
        guard given < scanner.replies, let reader else { return nil }
        arena.pointee.reset()
        var reply: UnsafeMutableRawPointer?
        guard redisReaderGetReply(reader, &reply) == REDIS_OK, reply != nil else {
            // The guard has counted a whole reply, so the two disagree: believe neither.
            given = scanner.replies
            seen = .reader
            return nil
        }
        given += 1
        arena.pointee.seal()
        return RedisReply(arena: UnsafePointer(arena), index: 0)
    }

    /// What is wrong with the stream, once every reply in front of it has been taken.
    package var fault: RESPFault? { given == scanner.replies ? seen : nil }
}
