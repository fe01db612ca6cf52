// Where a frame ends in a block of output: what the reactor asks for when something must not wait behind a queue, or
// when a queue is thrown away. Called on the loop, only for peers that are behind; walks the headers of one block.
// Control frames may stand between any two frames, never inside one. RFC 6455 sections 5.4 and 5.5.

import Reactor

/// Finds the frames in bytes that we made ourselves.
enum FrameBoundary {
    /// The first end of a frame at or behind `sent`, or the end of `block`. The block begins with a frame, or with the
    /// answer to the opening handshake, whose end counts like that of a frame.
    static func next(in block: UnsafeRawBufferPointer, sent: Int) -> Int {
        var position = endOfHead(block)
        while position < sent, position < block.count { position = endOfFrame(block, at: position) }
        return position
    }

    /// The end of the frame that begins at `start` of a block without a head.
    static func end(in block: UnsafeRawBufferPointer, at start: Int) -> Int { endOfFrame(block, at: start) }

    /// The payload of `frame` if it is a whole plain text message of ours.
    static func textPayload(_ frame: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard frame.count >= 2, frame[0] == 0x81 else { return nil }
        let header = 2 + (frame[1] == 126 ? 2 : frame[1] == 127 ? 8 : 0)
        return frame.count >= header ? UnsafeRawBufferPointer(rebasing: frame[header...]) : nil
    }

    private static func endOfFrame(_ block: UnsafeRawBufferPointer, at start: Int) -> Int {
        guard block.count - start >= 2 else { return block.count }
        // A server's frames are not masked.
        let short = Int(block[start + 1] & 0x7F)
        let extended = short == 126 ? 2 : short == 127 ? 8 : 0
        let payload = start + 2 + extended
        guard payload <= block.count else { return block.count }
        var length = short
        if extended > 0 { length = block[(start + 2)..<payload].reduce(0) { $0 << 8 | Int($1) } }
        return length >= 0 && length <= block.count - payload ? payload + length : block.count
    }

    /// 0 if the block begins with a frame: none of ours is a fragment, so its first bit is set. A head begins with a
    /// letter.
    private static func endOfHead(_ block: UnsafeRawBufferPointer) -> Int {
        guard let first = block.first, first & 0x80 == 0 else { return 0 }
        var position = 4
        while position <= block.count {
            if block[position - 4] == 13, block[position - 3] == 10, block[position - 2] == 13,
                block[position - 1] == 10
            {
                return position
            }
            position += 1
        }
        return block.count
    }
}
