// What the tests of this module share: feeding bytes, recording events, moments.

import Bytes
import Fuzz
import Redis
import Testing

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

func moment(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64(seconds * 1e9)) }

func written(_ buffer: inout ByteBuffer) -> String {
    let text = String(decoding: buffer.bytes, as: UTF8.self)
    buffer.removeAll()
    return text
}

extension Array where Element == UInt8 {
    func withRaw<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result { withUnsafeBytes(body) }
}

/// A small reader of commands as a server sees them; nil when bytes are missing.
func parseCommand(_ bytes: inout ArraySlice<UInt8>) -> [[UInt8]]? {
    var rest = bytes
    func number(_ type: UInt8) -> Int? {
        guard rest.first == type, let end = rest.firstIndex(of: 13) else { return nil }
        let value = Int(String(decoding: rest[(rest.startIndex + 1)..<end], as: UTF8.self))
        rest = rest[(end + 2)...]
        return value
    }
    guard let count = number(UInt8(ascii: "*")) else { return nil }
    var arguments: [[UInt8]] = []
    for _ in 0..<count {
        guard let length = number(UInt8(ascii: "$")), rest.count >= length + 2 else { return nil }
        arguments.append(Array(rest.prefix(length)))
        rest = rest.dropFirst(length + 2)
    }
    bytes = rest
    return arguments
}

func parseCommands(_ bytes: [UInt8]) -> [[String]] {
    var rest = bytes[...]
    var commands: [[String]] = []
    while let command = parseCommand(&rest) { commands.append(command.map { String(decoding: $0, as: UTF8.self) }) }
    #expect(rest.isEmpty, "the output consists of whole commands")
    return commands
}

/// The life that a server with `login` is found in.
func life(of login: RedisLogin) -> RedisLife? {
    bytes(login.server).withRaw { server in
        bytes(login.information).withRaw { RedisLife(server: server, replication: $0) }
    }
}
