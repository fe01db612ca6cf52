// Inflates the messages of permessage-deflate: one stream per loop, reset before each message. Called on the loop that
// owns it with a whole message, whose fragments the frame reader has joined. What comes out is bounded by the
// caller's limit in bytes, absolutely and whatever the input claims; it is made in steps of at most 16 KiB and
// the work ends with the first byte too many. Memory: the stream (about 40 KB) and at most limit + 1 bytes of output,
// of which 64 KiB stay between messages. RFC 7692 section 7.2.2.

import Bytes
import CZlib

/// What became of a compressed message.
package enum InflatedMessage {
    /// The message; text is UTF-8. Valid until the next call, and may be written to.
    case message(UnsafeMutableRawBufferPointer)
    /// The connection has to be closed.
    case violation(FrameViolation)
}

/// A raw inflate stream and its output. Loop-confined.
package struct Inflater: ~Copyable {
    /// Most bytes that one call of zlib writes.
    package static let chunkBytes = 16 << 10
    /// Bytes of the output buffer that stay between messages.
    package static let keptBytes = (64 << 10) + 1
    /// Most deflate streams (blocks with BFINAL set) in one message: each costs a reset, and two bytes make one.
    package static let streamLimit = 1024

    /// At an address of its own, because zlib's state points back to it.
    private let stream: UnsafeMutablePointer<z_stream>
    /// 00 00 FF FF: what every message leaves out.
    private let tail: UnsafeMutablePointer<UInt8>
    private var output = ByteBuffer()

    private enum Progress { case more, complete, ended, tooBig, corrupt }

    /// A stream with the widest window, which reads what any narrower one wrote.
    package init() throws(DeflateFailure) {
        try DeflateLibrary.check()
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let made = inflateInit2_(stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard made == Z_OK else {
            stream.deallocate()
            throw .noStream
        }
        self.stream = stream
        tail = UnsafeMutablePointer<UInt8>.allocate(capacity: 4)
        tail[0] = 0
        tail[1] = 0
        tail[2] = 0xFF
        tail[3] = 0xFF
    }

    deinit {
        _ = inflateEnd(stream)
        stream.deallocate()
        tail.deallocate()
    }

    /// Bytes of the output buffer.
    package var ownedBytes: Int { output.capacity }

    /// Inflates one whole message of at most `limit` bytes; text is checked afterwards.
    package mutating func inflate(
        _ kind: MessageKind, _ payload: UnsafeMutableRawBufferPointer, limit: Int
    ) -> InflatedMessage {
        output.removeAll(keepingAtMost: Inflater.keptBytes)
        switch run(UnsafeRawBufferPointer(payload), limit: min(max(0, limit), Int(Int32.max))) {
        case .tooBig:
            output.removeAll(keepingAtMost: Inflater.keptBytes)
            return .violation(.messageTooBig)
        case .complete, .ended:
            guard kind == .binary || UTF8Validator.isValid(output.bytes) else { return .violation(.invalidUTF8) }
            return .message(output.mutableBytes)
        case .more, .corrupt: return .violation(.invalidDeflate)
        }
    }

    private mutating func run(_ payload: UnsafeRawBufferPointer, limit: Int) -> Progress {
        guard let start = payload.baseAddress, let count = UInt32(exactly: payload.count), count > 0,
            inflateReset(stream) == Z_OK
        else { return .corrupt }
        defer { stream.pointee.next_in = nil }
        let bytes = UnsafeMutablePointer(mutating: start.assumingMemoryBound(to: UInt8.self))
        let body = feed(bytes, count, limit: limit)
        // A last block that ends with the payload needs no tail. RFC 7692 wants an empty block behind it; whoever
        // forgets that has still said all there is to say.
        guard body == .more else { return body }
        let length = output.count
        let end = feed(tail, 4, limit: limit)
        guard end == .more else { return end == .tooBig ? .tooBig : .corrupt }
        // The tail said nothing, and we are between two blocks with no bit left over and not in a last block: anything
        // else was cut off.
        return output.count == length && stream.pointee.data_type == 128 ? .complete : .corrupt
    }

    /// Inflates `count` bytes. Every turn of the loop eats input, makes output or ends.
    private mutating func feed(_ bytes: UnsafeMutablePointer<UInt8>, _ count: UInt32, limit: Int) -> Progress {
        stream.pointee.next_in = bytes
        stream.pointee.avail_in = count
        var streams = 0
        while true {
            let room = makeRoom(limit: limit)
            let target = output.reserve(room)
            let left = stream.pointee.avail_in
            stream.pointee.next_out = target.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(room)
            let result = CZlib.inflate(stream, Z_SYNC_FLUSH)
            let written = room - min(room, Int(stream.pointee.avail_out))
            output.advance(by: written)
            if output.count > limit { return .tooBig }
            switch result {
            case Z_OK:
                if stream.pointee.avail_in == 0, stream.pointee.avail_out > 0 { return .more }
                if stream.pointee.avail_in == left, written == 0 { return .corrupt }
            case Z_BUF_ERROR:
                // Nothing to eat and nothing to say: the output happened to end with the room for it.
                return stream.pointee.avail_in == 0 ? .more : .corrupt
            case Z_STREAM_END:
                if stream.pointee.avail_in == 0 { return .ended }
                streams += 1
                guard streams < Inflater.streamLimit, inflateReset(stream) == Z_OK else { return .corrupt }
            default:
                // Bad data; or no memory for the window, which happens once in a loop's life or never.
                return .corrupt
            }
        }
    }

    /// Makes room for the next step and says how much: at most a chunk, never more than one byte beyond the limit,
    /// which is the byte that proves a message too big.
    private mutating func makeRoom(limit: Int) -> Int {
        let wanted = min(Inflater.chunkBytes, limit - output.count + 1)
        let free = output.capacity - output.count
        if free >= wanted || free >= 1024 { return min(wanted, free) }
        let doubled = max(output.capacity * 2, Inflater.chunkBytes)
        var grown = ByteBuffer(capacity: max(output.count + 1, min(doubled, limit + 1)))
        grown.append(output.bytes)
        output = grown
        return min(wanted, output.capacity - output.count)
    }
}
