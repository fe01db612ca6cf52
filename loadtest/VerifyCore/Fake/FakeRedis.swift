// A RESP2 server that does what a script says: answers late, twice, to the wrong question, with garbage or with absurd
// lengths. By default it behaves: PING, AUTH, SELECT, CLIENT, SUBSCRIBE, UNSUBSCRIBE, PUBLISH with real fan-out. For
// the rows of hostile replies and for the order of confirmations, live messages and history replies. Runs on one loop.

import Bytes
package import Reactor

/// What the fake says to one command.
package enum FakeAnswer: Sendable {
    /// What a well-behaved server would say.
    case normal
    /// These bytes, whatever they are.
    case bytes([UInt8])
    /// Nothing, ever.
    case silence
    /// The inner answer, so much later; answers of a connection overtake each other as their delays say.
    indirect case after(Duration, FakeAnswer)
    /// The normal answer, with these bytes in front: every later reply of the connection belongs to another request.
    case shifted([UInt8])
    /// The connection ends, politely or with a reset.
    case close(reset: Bool)

    /// A reply from text.
    package static func text(_ text: String) -> FakeAnswer { .bytes(Array(text.utf8)) }

    /// Replies that real clients have choked on: counts and lengths beyond all bounds, nesting, nonsense.
    package static let hostile: [FakeAnswer] = [
        .text("*4294967297\r\n"), .text("*-2\r\n"), .text("$9223372036854775807\r\n"), .text("$-2\r\n"),
        .text(String(repeating: "*1\r\n", count: 10_000)), .text("$1073741825\r\n"), .text("!what\r\n"),
        .text(":99999999999999999999999\r\n"), .text("*1048577\r\n"), .bytes([0, 1, 2, 255, 13, 10]),
    ]
}

/// A command as the fake got it.
package struct FakeCommand: Sendable {
    /// The words, the name in upper case.
    package let words: [[UInt8]]
    /// Which connection sent it, counted from 0.
    package let connection: Int
    /// How many commands of this name came before, over all connections.
    package let ordinal: Int

    /// The command's name.
    package var name: String { String(decoding: words.first ?? [], as: UTF8.self) }

    /// Word number `index` as text; empty when there is none.
    package func text(_ index: Int) -> String {
        index < words.count ? String(decoding: words[index], as: UTF8.self) : ""
    }
}

/// A scripted Redis.
package final class FakeRedis: ConnectionHandler {
    private final class Peer {
        let number: Int
        let id: ConnectionID
        var input: [UInt8] = []
        var channels: Set<[UInt8]> = []
        init(number: Int, id: ConnectionID) {
            self.number = number
            self.id = id
        }
    }

    private let loop: Loop
    private var kind: UInt8 = 0
    private var peers: [ConnectionID: Peer] = [:]
    private var nextNumber = 0
    private var ordinals: [String: Int] = [:]
    /// Where it listens.
    package private(set) var address: SocketAddress
    /// Decides about each command; nil behaves.
    package var script: ((FakeCommand) -> FakeAnswer)?
    /// The commands so far, at most 10,000.
    package private(set) var commands: [FakeCommand] = []
    private static let commandLimit = 10_000
    private static let inputLimit = 64 << 20

    /// A fake on a free port of 127.0.0.1.
    package init(_ loop: Loop) throws(SystemError) {
        self.loop = loop
        guard let any = SocketAddress(host: "127.0.0.1", port: 0) else { throw SystemError("bind", code: 22) }
        address = any
        kind = loop.register(self)
        let listener = try Listener.bind(any, shared: false, handler: kind)
        address = listener.address
        try loop.add(listener)
    }

    /// Connections that are open.
    package var connections: Int { peers.count }
    /// Connections that ever were.
    package var connectionsSoFar: Int { nextNumber }

    /// Sends bytes to every connection that has subscribed to `channel`.
    package func push(_ bytes: [UInt8], to channel: String) {
        for peer in peers.values where peer.channels.contains(Array(channel.utf8)) { send(peer.id, bytes) }
    }

    /// A pub/sub message as Redis writes it.
    package static func message(_ channel: String, _ payload: [UInt8]) -> [UInt8] {
        array([Array("message".utf8), Array(channel.utf8), payload])
    }

    /// An array of bulk strings.
    package static func array(_ words: [[UInt8]]) -> [UInt8] {
        var out = Array("*\(words.count)\r\n".utf8)
        for word in words { out += Array("$\(word.count)\r\n".utf8) + word + [13, 10] }
        return out
    }

    private func send(_ id: ConnectionID, _ bytes: [UInt8]) { bytes.withUnsafeBytes { loop.write(id, $0) } }

    // MARK: Connections

    package func opened(_ id: ConnectionID) {
        peers[id] = Peer(number: nextNumber, id: id)
        nextNumber += 1
    }

    package func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let peer = peers[id] else { return }
        peer.input += UnsafeRawBufferPointer(bytes)
        if peer.input.count > FakeRedis.inputLimit { return loop.close(id) }
        var at = 0
        var found: [[[UInt8]]] = []
        peer.input.withUnsafeBytes { all in
            while at < all.count {
                let rest = UnsafeRawBufferPointer(rebasing: all[at...])
                guard case .length(let length) = RESPFrames.extent(rest) else { return }
                let value = UnsafeRawBufferPointer(rebasing: rest[..<length])
                if let words = RESPFrames.bulks(value) { found.append(words.map { Array(value[$0]) }) }
                at += length
            }
        }
        peer.input.removeFirst(at)
        for words in found where loop.isOpen(id) { take(peer, words) }
    }

    package func closed(_ id: ConnectionID, _ reason: CloseReason) { peers[id] = nil }

    private func take(_ peer: Peer, _ words: [[UInt8]]) {
        var words = words
        guard !words.isEmpty else { return }
        words[0] = words[0].map { (97...122).contains($0) ? $0 - 32 : $0 }
        let name = String(decoding: words[0], as: UTF8.self)
        let command = FakeCommand(words: words, connection: peer.number, ordinal: ordinals[name, default: 0])
        ordinals[name, default: 0] += 1
        if commands.count < FakeRedis.commandLimit { commands.append(command) }
        // The command takes effect even if its answer is lost: that is what makes outcomes unknown.
        let normal = carryOut(command, peer)
        answer(peer.id, script?(command) ?? .normal, normal)
    }

    private func answer(_ id: ConnectionID, _ answer: FakeAnswer, _ normal: [UInt8]) {
        switch answer {
        case .normal: send(id, normal)
        case .bytes(let bytes): send(id, bytes)
        case .silence: break
        case .shifted(let bytes): send(id, bytes + normal)
        case .close(let reset):
            if reset { Reset.arm(id, loop) }
            loop.close(id)
        case .after(let delay, let inner):
            loop.schedule(after: delay) { [weak self] in self?.answer(id, inner, normal) }
        }
    }

    private func carryOut(_ command: FakeCommand, _ peer: Peer) -> [UInt8] {
        let arguments = command.words.dropFirst()
        switch command.name {
        case "PING":
            if !peer.channels.isEmpty {
                return FakeRedis.array([Array("pong".utf8), command.words.count > 1 ? command.words[1] : []])
            }
            return Array("+PONG\r\n".utf8)
        case "AUTH", "SELECT", "CLIENT", "READONLY": return Array("+OK\r\n".utf8)
        case "ROLE": return Array("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".utf8)
        case "INFO":
            let text = "# Server\r\nredis_version:7.0.15\r\nrun_id:fake\r\nrole:master\r\nmaster_replid:fake\r\n"
            return Array("$\(text.utf8.count)\r\n\(text)\r\n".utf8)
        case "SUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "SUNSUBSCRIBE":
            return confirm(command.name, Array(arguments), peer)
        case "PUBLISH", "SPUBLISH":
            guard command.words.count == 3 else { return Array("-ERR wrong number of arguments\r\n".utf8) }
            let listeners = peers.values.filter { $0.channels.contains(command.words[1]) }
            let message = FakeRedis.array([Array("message".utf8), command.words[1], command.words[2]])
            for listener in listeners { send(listener.id, message) }
            return Array(":\(listeners.count)\r\n".utf8)
        case "EVALSHA": return Array("-NOSCRIPT No matching script. Please use EVAL.\r\n".utf8)
        default: return Array("-ERR unknown command '\(command.name.prefix(32))'\r\n".utf8)
        }
    }

    private func confirm(_ name: String, _ channels: [[UInt8]], _ peer: Peer) -> [UInt8] {
        var out: [UInt8] = []
        let joins = name == "SUBSCRIBE" || name == "SSUBSCRIBE"
        for channel in channels {
            if joins { peer.channels.insert(channel) } else { peer.channels.remove(channel) }
            out += Array("*3\r\n$\(name.utf8.count)\r\n\(name.lowercased())\r\n$\(channel.count)\r\n".utf8) + channel
            out += Array("\r\n:\(peer.channels.count)\r\n".utf8)
        }
        return out
    }
}
