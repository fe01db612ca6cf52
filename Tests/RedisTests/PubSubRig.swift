// A pub/sub link with the fake server behind it, both without sockets: what the tests of the link share.

import Bytes
import Redis
import Testing

/// A link, the fake server behind it, and a record of what the link told.
final class PubSubRig {
    var link: PubSubLink
    var server: FakePubSub
    var told: [String] = []
    var time = 1.0
    let names: RedisNames
    let ownChannel = bytes("m:node:a")
    var isRestored: Bool { link.isRestored }
    var isVerified: Bool { link.isVerified }

    init(_ change: (inout LinkSettings) -> Void = { _ in }) throws {
        var settings = LinkSettings()
        change(&settings)
        names = try #require(RedisNames(prefix: "m"))
        server = FakePubSub(ownChannel: ownChannel)
        link = PubSubLink(settings: settings, names: names, ownChannel: ownChannel)
    }

    /// A new connection to a server that confirms the own channel; proved at once unless a test wants to see before.
    func open(verified: Bool = true) {
        connect()
        exchange()
        guard verified else { return }
        link.verify()
        exchange()
    }

    /// A new connection of which nothing was exchanged yet.
    func connect() {
        server = FakePubSub(ownChannel: ownChannel)
        link.open(now: moment(time))
    }

    /// A probe as the engine sends it: announced, published, answered.
    func probe(_ sequence: UInt64, arrives: Bool = true) {
        link.highestProbe = max(link.highestProbe, sequence)
        if arrives { server.publish(ownChannel, bytes("\(sequence)")) }
        link.awaitProbe(sequence, sentAt: moment(time))
    }

    func subscribe(_ room: String) -> PubSubLink.Admission { bytes(room).withRaw { link.subscribe(room: $0) } }
    func unsubscribe(_ room: String) { bytes(room).withRaw { link.unsubscribe(room: $0) } }

    func channel(_ room: String) -> [UInt8] {
        var output = ByteBuffer()
        bytes(room).withRaw { names.appendChannel($0, to: &output) }
        return Array(output.bytes)
    }

    /// Lets the server see what was written.
    func write() {
        link.writeSubscriptions(now: moment(time))
        server.receive(Array(link.output.bytes))
        link.output.removeAll()
        if !link.isVerified { #expect(server.rooms.isEmpty, "an unproved link subscribes no room") }
    }

    /// Lets the link see the first `count` bytes of what the server said.
    func read(_ count: Int = .max) {
        let piece = Array(server.output.prefix(count))
        server.output.removeFirst(piece.count)
        piece.withRaw { link.receive($0, now: moment(time)) }
        pull()
    }

    func pull() {
        while let event = link.next(now: moment(time)) {
            switch event {
            case .ready: told.append("ready")
            case .probed(let sequence): told.append("probed \(sequence)")
            case .subscribed(let room): told.append("subscribed \(text(room))")
            case .failed(let room, let outcome):
                let why =
                    switch outcome {
                    case .refused(let kind): "\(kind)"
                    case .outcomeUnknown: "unknown"
                    case .notSent: "not sent"
                    case .reply: "reply"
                    }
                told.append("failed \(text(room)): \(why)")
            case .message(let room, let payload): told.append("\(text(room)): \(text(payload))")
            }
        }
    }

    /// Writes and reads until both sides are still.
    func exchange() {
        repeat {
            write()
            read()
        } while link.hasSubscriptionsToWrite || !server.output.isEmpty
    }

    private func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }
}
