// One life of one Redis master, as a new connection finds it: which process answers (run id) and which stretch of
// history it writes (replication id). A process that was a replica meanwhile, or that lost its data to another's copy,
// keeps its run id but not its replication id; one that was started anew from an old snapshot has another run id.
//
// Read from INFO server and INFO replication by the login of every link. What a server says there is judged strictly:
// a life that is guessed would let a node take lost history for the one that it knows.

import Bytes
import Reactor

/// One life of one master.
package struct RedisLife: Equatable, Sendable {
    /// The life as a number: the beginning of SHA-1(run id + replication id); never 0.
    package let value: UInt64
    /// The replication id: 40 lower-case hexadecimal digits.
    package let replication: [UInt8]

    /// The life that the answers to INFO server and INFO replication tell of; nil when run id or replication id is
    /// missing or not 40 lower-case hexadecimal digits.
    package init?(server: UnsafeRawBufferPointer, replication: UnsafeRawBufferPointer) {
        guard let run = RedisLife.field("run_id:", in: server), RedisLife.isIdentifier(run),
            let history = RedisLife.field("master_replid:", in: replication), RedisLife.isIdentifier(history)
        else { return nil }
        var both = ByteBuffer()
        both.append(run)
        both.append(history)
        var digest = [UInt8](repeating: 0, count: 20)
        digest.withUnsafeMutableBytes { Digest.sha1(both.bytes, $0) }
        let beginning = digest.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        // 0 stands for no life in the scripts.
        value = max(1, beginning)
        self.replication = Array(history)
    }

    /// What the answer to INFO replication says of the server's part; nil when it says nothing.
    package static func role(in replication: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        field("role:", in: replication)
    }

    /// What stands behind `name`, which ends in a colon and begins a line; the first such line counts.
    private static func field(_ name: StaticString, in text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        name.withUTF8Buffer { name in
            for line in text.split(separator: UInt8(ascii: "\n")) where line.starts(with: name) {
                let value = line.dropFirst(name.count)
                return UnsafeRawBufferPointer(rebasing: value.last == UInt8(ascii: "\r") ? value.dropLast() : value)
            }
            return nil
        }
    }

    private static func isIdentifier(_ text: UnsafeRawBufferPointer) -> Bool {
        text.count == 40
            && text.allSatisfy {
                ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9"))
                    || ($0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "f"))
            }
    }
}
