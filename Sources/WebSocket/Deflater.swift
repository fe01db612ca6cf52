// Compresses messages for permessage-deflate: one stream per loop and window, reset before each message, so that a
// connection with compression costs no more memory than one without. Called on the loop that owns it, once per reply or
// broadcast and never once per member. Memory: the stream (about 150 KB with a window of 15 bits, 20 KB with 9) and
// an output buffer, of which 64 KiB stay between messages. RFC 7692 section 7.2.1.

import Bytes
import CZlib

/// Why there is no compression in this process.
package enum DeflateFailure: Error, Sendable, Equatable {
    /// The zlib that was loaded is older than 1.2.13 and can be made to write outside its memory.
    case oldLibrary
    /// zlib refused to make a stream: no memory, or a library of another layout.
    case noStream
}

/// The zlib that the process has loaded.
package enum DeflateLibrary {
    /// Throws if it is older than 1.2.13 (CVE-2018-25032, CVE-2022-37434). Any thread; to be asked at start.
    package static func check() throws(DeflateFailure) {
        guard let text = zlibVersion() else { throw .oldLibrary }
        var length = 0
        while length < 64, text[length] != 0 { length += 1 }
        guard isSound(version: UnsafeRawBufferPointer(start: text, count: length)) else { throw .oldLibrary }
    }

    /// Whether `version`, as in `1.3.1` or `1.2.13.zlib-ng`, is 1.2.13 or later; what cannot be read is not.
    package static func isSound(version: UnsafeRawBufferPointer) -> Bool {
        var parts = (0, 0, 0)
        var part = 0
        for byte in version {
            if byte == 0x2E {
                part += 1
                if part > 2 { break }
                continue
            }
            guard byte >= 0x30, byte <= 0x39 else {
                // A suffix like `-motley` ends the number; what begins with one is none.
                if part < 2 { return false }
                break
            }
            let digit = Int(byte) - 0x30
            switch part {
            case 0: parts.0 = min(parts.0 * 10 + digit, 9999)
            case 1: parts.1 = min(parts.1 * 10 + digit, 9999)
            default: parts.2 = min(parts.2 * 10 + digit, 9999)
            }
        }
        return parts >= (1, 2, 13)
    }
}

/// A raw deflate stream and its output. Loop-confined.
package struct Deflater: ~Copyable {
    /// Bytes of the output buffer that stay between messages.
    package static let keptBytes = 64 << 10
    /// What a flush ends with and a message leaves out.
    private static let tailBytes = 4

    /// At an address of its own, because zlib's state points back to it.
    private let stream: UnsafeMutablePointer<z_stream>
    private var output = ByteBuffer()

    /// A stream with a window of `windowBits`, 9 to 15. Small memory for its hash makes the reset cheap, and messages
    /// of a chat are too short for a higher level to find more.
    package init(windowBits: Int, level: Int32 = 1, memoryLevel: Int32 = 5) throws(DeflateFailure) {
        precondition(windowBits >= 9 && windowBits <= 15)
        try DeflateLibrary.check()
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let made = deflateInit2_(
            stream, level, Z_DEFLATED, -Int32(windowBits), memoryLevel, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        guard made == Z_OK else {
            stream.deallocate()
            throw .noStream
        }
        self.stream = stream
    }

    deinit {
        _ = deflateEnd(stream)
        stream.deallocate()
    }

    /// Bytes of the output buffer.
    package var ownedBytes: Int { output.capacity }

    /// The compressed form of `message`, which any inflater without context can read; valid until the next call.
    ///
    /// Nil if it would not be shorter (send the message as it is), or if zlib refuses. Empty messages are never worth
    /// it.
    package mutating func deflate(_ message: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard !message.isEmpty, let whole = compress(message), whole.count < message.count else { return nil }
        return whole
    }

    /// The compressed form even if it is longer. An empty message is one empty block (section 7.2.3.6).
    package mutating func compress(_ message: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        output.removeAll(keepingAtMost: Deflater.keptBytes)
        guard let source = message.baseAddress, !message.isEmpty else {
            output.append(0)
            return output.bytes
        }
        guard let count = UInt32(exactly: message.count), deflateReset(stream) == Z_OK else { return nil }
        // zlib only reads it; its type has no const unless one asks for it.
        stream.pointee.next_in = UnsafeMutablePointer(mutating: source.assumingMemoryBound(to: UInt8.self))
        stream.pointee.avail_in = count
        defer { stream.pointee.next_in = nil }
        // The bound is for a stream that is finished; a flush writes a few bytes more.
        var room = min(Int(clamping: deflateBound(stream, UInt(count))), Int(Int32.max)) + 16
        while true {
            let start = output.reserve(room)
            stream.pointee.next_out = start.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(room)
            let result = CZlib.deflate(stream, Z_SYNC_FLUSH)
            output.advance(by: room - min(room, Int(stream.pointee.avail_out)))
            guard result == Z_OK else { return nil }
            if stream.pointee.avail_out > 0 { break }
            room = 4096
        }
        guard stream.pointee.avail_in == 0, output.count > Deflater.tailBytes else { return nil }
        output.truncate(to: output.count - Deflater.tailBytes)
        return output.bytes
    }
}
