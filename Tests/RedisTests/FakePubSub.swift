// A small model of Redis' pub/sub for tests without sockets: it reads the commands that a link writes and makes the
// replies and messages that a server would, to be handed over in whatever pieces the test likes.

import Fuzz

/// The server's side of one subscribed connection.
final class FakePubSub {
    private let ownChannel: [UInt8]
    private var input: [UInt8] = []
    private var channels: Set<[UInt8]> = []
    /// Subscribed channels without the client's own one.
    var rooms: Set<[UInt8]> { channels.subtracting([ownChannel]) }
    /// What it says of itself.
    var login = RedisLogin()
    /// What the server has said and the link has not read yet.
    var output: [UInt8] = []
    /// Channels that the ACL forbids: a command with one of them is refused as a whole.
    var forbidden: Set<[UInt8]> = []
    /// The largest SUBSCRIBE or UNSUBSCRIBE seen.
    private(set) var largestBatch = 0
    private(set) var subscribeCommands = 0

    init(ownChannel: [UInt8]) { self.ownChannel = ownChannel }

    func receive(_ bytes: some Sequence<UInt8>) {
        input += bytes
        var rest = input[...]
        while let command = parseCommand(&rest) { run(command) }
        input = Array(rest)
    }

    func publish(_ channel: [UInt8], _ payload: [UInt8]) {
        guard channels.contains(channel) else { return }
        output += array([bulk("message"), bulk(channel), bulk(payload)])
    }

    private func run(_ command: [[UInt8]]) {
        let names = command.dropFirst()
        switch String(decoding: command[0], as: UTF8.self) {
        case "INFO":
            output += bulk(command[1] == Array("server".utf8) ? login.server : login.information)
        case "PING": output += channels.isEmpty ? Array("+PONG\r\n".utf8) : array([bulk("pong"), bulk([])])
        case "SUBSCRIBE":
            subscribeCommands += 1
            largestBatch = max(largestBatch, names.count)
            guard forbidden.isDisjoint(with: names) else {
                output += Array("-NOPERM no permission for one of the channels\r\n".utf8)
                return
            }
            for name in names {
                channels.insert(name)
                output += array([bulk("subscribe"), bulk(name), Array(":\(channels.count)\r\n".utf8)])
            }
        case "UNSUBSCRIBE":
            largestBatch = max(largestBatch, names.count)
            for name in names {
                channels.remove(name)
                output += array([bulk("unsubscribe"), bulk(name), Array(":\(channels.count)\r\n".utf8)])
            }
        default: output += Array("+OK\r\n".utf8)
        }
    }

    private func bulk(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        let all = Array(bytes)
        return Array("$\(all.count)\r\n".utf8) + all + [13, 10]
    }

    private func bulk(_ text: String) -> [UInt8] { bulk(text.utf8) }

    private func array(_ parts: [[UInt8]]) -> [UInt8] { Array("*\(parts.count)\r\n".utf8) + parts.joined() }
}
