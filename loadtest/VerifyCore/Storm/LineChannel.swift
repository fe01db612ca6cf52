// Lines of text over a connection, both ways: how the driver of a storm and its workers talk. A line is at most 64 KiB;
// a longer one ends the channel. On the owner's loop.

import Bytes
import Reactor

/// One end of a conversation in lines.
final class LineChannel {
    private static let lineLimit = 65_536
    private let loop: Loop
    let id: ConnectionID
    private var partial: [UInt8] = []

    init(_ loop: Loop, _ id: ConnectionID) {
        self.loop = loop
        self.id = id
    }

    func send(_ line: String) { Array((line + "\n").utf8).withUnsafeBytes { loop.write(id, $0) } }

    /// The words of each whole line in what has come.
    func take(_ bytes: UnsafeMutableRawBufferPointer) -> [[Substring]] {
        partial += UnsafeRawBufferPointer(bytes)
        guard let end = partial.lastIndex(of: 10) else {
            if partial.count > LineChannel.lineLimit { loop.close(id) }
            return []
        }
        let text = String(decoding: partial[..<end], as: UTF8.self)
        partial.removeSubrange(...end)
        return text.split(separator: "\n").map { $0.split(separator: " ") }
    }
}
