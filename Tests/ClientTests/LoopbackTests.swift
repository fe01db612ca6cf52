// The client on a real loop with a real socket, against a tiny server of rooms that is made of our own parts.

import Bytes
import HTTP
import Reactor
import Telemetry
import Testing
import WebSocket
import Wire

@testable import Client

/// A server that knows connect, subscribe, unsubscribe, publish and ping, and nothing of permissions.
private final class TinyServer: ConnectionHandler {
    final class Member {
        var head = ByteBuffer()
        var parser = RequestHeadParser()
        var isUpgraded = false
        var reader = FrameReader(role: .server)
        var rooms: Set<String> = []
    }

    let loop: Loop
    var members: [ConnectionID: Member] = [:]
    var connects = 0
    var closes: [UInt16?] = []
    /// Answers to these publishes are swallowed, once each.
    var swallowed: Set<String> = []
    /// Idempotency keys that were published.
    var keys: Set<String> = []

    init(_ loop: Loop) { self.loop = loop }

    func opened(_ id: ConnectionID) { members[id] = Member() }
    func closed(_ id: ConnectionID, _ reason: CloseReason) { members[id] = nil }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let member = members[id] else { return }
        if member.isUpgraded { return read(id, member, bytes) }
        member.head.append(UnsafeRawBufferPointer(bytes))
        guard case .complete(let request, let consumed) = member.parser.parse(member.head.bytes) else { return }
        let verdict = ServerHandshake.evaluate(
            request, subprotocols: ["centrifuge-json"], origins: .any, sha1: { Digest.sha1($0, $1) })
        guard case .accept(let acceptance) = verdict else { return loop.close(id) }
        var out = ByteBuffer()
        ServerHandshake.appendAcceptance(acceptance, subprotocols: ["centrifuge-json"], to: &out)
        loop.write(id, out.bytes)
        member.isUpgraded = true
        var rest = Array(member.head.bytes[consumed...])
        rest.withUnsafeMutableBytes { read(id, member, $0) }
    }

    private func read(_ id: ConnectionID, _ member: Member, _ bytes: UnsafeMutableRawBufferPointer) {
        var input = FrameInput(bytes)
        while true {
            switch member.reader.next(&input, FrameLimits(frameBytes: 65_536, messageBytes: 65_536)) {
            case .needMore: return
            case .message(_, _, let text): obey(id, member, UnsafeRawBufferPointer(text))
            case .close(let code, _):
                closes.append(code?.rawValue)
                loop.closeAfterFlush(id)
            case .ping, .pong, .violation: break
            }
        }
    }

    private func obey(_ id: ConnectionID, _ member: Member, _ line: UnsafeRawBufferPointer) {
        var scratch = ByteBuffer()
        guard let command = try? JSONCodec.command(line, scratch: &scratch) else { return loop.close(id) }
        func text(_ bytes: WireBytes) -> String { String(decoding: bytes, as: UTF8.self) }
        switch command.request {
        case .connect:
            connects += 1
            say(id, #"{"id":\#(command.id),"connect":{"client":"c\#(id.slot)","ping":25,"pong":true}}"#)
        case .subscribe(let request):
            member.rooms.insert(text(request.room))
            say(id, #"{"id":\#(command.id),"subscribe":{}}"#)
        case .publish(let request):
            let (room, data) = (text(request.room), text(request.data))
            if keys.insert(text(request.idempotencyKey)).inserted {
                for (other, it) in members where it.rooms.contains(room) {
                    say(other, #"{"push":{"channel":"\#(room)","pub":{"data":\#(data)}}}"#)
                }
            }
            if swallowed.remove(data) == nil { say(id, #"{"id":\#(command.id),"publish":{}}"#) }
        case .ping: say(id, #"{"id":\#(command.id),"ping":{}}"#)
        default: break
        }
    }

    private func say(_ id: ConnectionID, _ text: String) { frame(id, .text, Array(text.utf8)) }

    func frame(_ id: ConnectionID, _ opcode: Opcode, _ payload: [UInt8]) {
        var out = ByteBuffer()
        payload.withUnsafeBytes { out.appendFrame(opcode, $0) }
        loop.write(id, out.bytes)
    }
}

private final class Log: ClientDelegate {
    var events: [ClientEvent] = []
    var onEvent: (Client, ClientEvent) -> Void = { _, _ in }

    func client(_ client: Client, _ event: ClientEvent) {
        events.append(event)
        onEvent(client, event)
    }

    var texts: [String] {
        events.compactMap {
            if case .publication(let it) = $0 { String(decoding: it.data, as: UTF8.self) } else { nil }
        }
    }

    var entrances: Int { events.filter { if case .subscribed = $0 { true } else { false } }.count }

    var answers: Int { events.filter { if case .answered = $0 { true } else { false } }.count }
}

/// A loop whose time a test moves.
private struct LoopBench {
    final class Clock {
        var now = MonotonicTime(nanoseconds: 1_000_000_000_000)
    }

    let clock = Clock()
    let registry = MetricRegistry(loops: 1, version: "test")
    let loop: Loop

    init() throws {
        let clock = clock
        loop = try Loop(metrics: registry.shard(0), clock: { clock.now })
    }
}

@Suite("Client on a loop")
struct LoopbackTests {
    /// Turns the loop (150 times at most, each at most a second) until `condition` holds. The loop's time stands still
    /// but for `step` per turn, so that a slow machine sees no timeout that is not meant.
    private func turn(_ bench: LoopBench, step: Duration = .zero, until condition: () -> Bool) {
        for _ in 0..<150 where !condition() {
            bench.clock.now = bench.clock.now + step
            bench.loop.turn()
        }
        #expect(condition())
    }

    private func client(_ loop: Loop, port: UInt16, host: String = "127.0.0.1") throws -> (Client, Log) {
        try client(loop, ["ws://\(host):\(port)/connection/websocket"])
    }

    private func client(_ loop: Loop, _ urls: [String]) throws -> (Client, Log) {
        var options = ClientOptions(urls: try urls.map { try ClientURL($0) })
        options.backoffBase = .milliseconds(20)
        let log = Log()
        let client = Client(loop: loop, options: options)
        client.delegate = log
        return (client, log)
    }

    @Test("Two clients talk, survive a closed connection, repeat what was not answered, and say goodbye")
    func conversation() throws {
        let bench = try LoopBench()
        let loop = bench.loop
        let server = TinyServer(loop)
        let address = try #require(SocketAddress(host: "127.0.0.1", port: 0))
        let listener = try Listener.bind(address, shared: false, handler: loop.register(server))
        let port = try #require(listener.address.port)
        try loop.add(listener)
        // One by number, one by name: the name goes through the look-up thread.
        let (ada, adaLog) = try client(loop, port: port)
        let (bob, bobLog) = try client(loop, port: port, host: "localhost")
        for client in [ada, bob] {
            client.subscribe("lobby")
            client.connect()
        }
        turn(bench) {
            [adaLog, bobLog].allSatisfy { $0.events.contains(.subscribed(room: "lobby", RoomSubscription())) }
        }
        bobLog.onEvent = { client, event in
            // Calls back from inside the delegate.
            if case .publication(let it) = event, it.data == data("1") { client.publish(data("2"), to: "lobby") }
        }
        ada.publish(data("1"), to: "lobby")
        turn(bench) { adaLog.texts == ["1", "2"] && bobLog.texts == ["1", "2"] && bobLog.answers == 1 }

        server.swallowed = ["3"]
        ada.publish(data("3"), to: "lobby")
        turn(bench) { server.swallowed.isEmpty }
        bench.clock.now = bench.clock.now + .seconds(11)
        turn(bench, step: .milliseconds(5)) { adaLog.answers == 2 && adaLog.entrances == 2 }
        #expect(server.connects == 3, "who does not answer is left")
        #expect(adaLog.texts == ["1", "2", "3"], "repeated with the same key, published once")

        for id in server.members.keys { loop.close(id) }
        ada.publish(data("4"), to: "lobby")
        turn(bench, step: .milliseconds(5)) {
            server.connects == 5 && adaLog.answers == 3 && adaLog.entrances == 3 && bobLog.entrances == 2
        }
        bob.publish(data("5"), to: "lobby")
        turn(bench) { adaLog.texts.last == "5" && bobLog.texts.last == "5" }
        #expect(adaLog.texts.filter { $0 == "4" }.count == 1)

        let ping = ada.ping()
        turn(bench) { adaLog.events.contains { if case .answered(ping, .success(.pong)) = $0 { true } else { false } } }
        ada.close()
        bob.close()
        turn(bench) { server.members.isEmpty }
        #expect(server.closes == [1000, 1000, 1000], "also where no answer came")
        loop.stop()
        loop.run()
        loop.dismantle()
    }

    /// Two servers under one host name, the handlers of their listeners, and their URLs.
    private func twoServers(_ loop: Loop) throws -> ([TinyServer], [UInt8], [String]) {
        var (servers, kinds, urls): ([TinyServer], [UInt8], [String]) = ([], [], [])
        for _ in 0..<2 {
            let server = TinyServer(loop)
            let address = try #require(SocketAddress(host: "127.0.0.1", port: 0))
            let kind = loop.register(server)
            let listener = try Listener.bind(address, shared: false, handler: kind)
            let port = try #require(listener.address.port)
            try loop.add(listener)
            servers.append(server)
            kinds.append(kind)
            urls.append("ws://localhost:\(port)/connection/websocket")
        }
        return (servers, kinds, urls)
    }

    @Test("A look-up that was overtaken by the next attempt does not lead to the wrong gateway")
    func overtakenLookUp() throws {
        for _ in 0..<10 {
            let bench = try LoopBench()
            let (servers, _, urls) = try twoServers(bench.loop)
            let (client, log) = try client(bench.loop, urls)
            client.subscribe("lobby")
            client.connect()
            client.reconnect()
            turn(bench, step: .milliseconds(5)) { log.entrances == 1 }
            let last = log.events.reversed().compactMap { event in
                if case .connecting(_, let url) = event { url.description } else { nil }
            }.first
            for (server, url) in zip(servers, urls) { #expect(server.connects == (url == last ? 1 : 0)) }
            client.close()
            turn(bench) { servers.allSatisfy(\.members.isEmpty) }
            bench.loop.stop()
            bench.loop.run()
            bench.loop.dismantle()
        }
    }

    @Test("A client whose gateway dies goes on at the other one, with the same key, and stays there")
    func twoGateways() throws {
        let bench = try LoopBench()
        let loop = bench.loop
        let (servers, kinds, urls) = try twoServers(loop)
        let (client, log) = try client(loop, urls)
        client.subscribe("lobby")
        client.connect()
        turn(bench) { log.entrances == 1 }
        let first = servers[0].connects == 1 ? 0 : 1
        let (dying, other) = (servers[first], servers[1 - first])
        dying.swallowed = ["1"]
        client.publish(data("1"), to: "lobby")
        turn(bench) { dying.swallowed.isEmpty && log.texts == ["1"] }
        loop.stopListening(handler: kinds[first])
        for id in dying.members.keys { loop.close(id) }
        turn(bench, step: .milliseconds(5)) { log.answers == 1 && log.entrances == 2 }
        #expect(dying.connects == 1 && other.connects == 1)
        #expect(other.keys == dying.keys && other.keys.count == 1)

        // The dead one is tried before the living one is tried again, and costs no wait.
        for id in other.members.keys { loop.close(id) }
        turn(bench, step: .milliseconds(5)) { log.entrances == 3 }
        let waits = log.events.compactMap { if case .disconnected(let end) = $0 { end.retryIn } else { nil } }
        #expect(waits.count == 3 && waits.last == .zero)
        client.close()
        turn(bench) { other.members.isEmpty }
        loop.stop()
        loop.run()
        loop.dismantle()
    }

    @Test("A port where nobody listens is told and tried again; closing ends that")
    func refused() throws {
        let bench = try LoopBench()
        let loop = bench.loop
        let address = try #require(SocketAddress(host: "127.0.0.1", port: 0))
        let listener = try Listener.bind(address, shared: false, handler: 0)
        let port = try #require(listener.address.port)
        listener.discard()
        let (client, log) = try client(loop, port: port)
        client.connect()
        turn(bench, step: .milliseconds(5)) {
            log.events.contains { if case .connecting(3, _) = $0 { true } else { false } }
        }
        let ends = log.events.compactMap { if case .disconnected(let end) = $0 { end } else { nil } }
        #expect(ends.allSatisfy { $0.cause == .network && $0.retryIn != nil && $0.reason == "Connection refused" })
        client.close()
        guard case .disconnected(let last)? = log.events.last else { return #expect(Bool(false), "no end was told") }
        #expect(last.cause == .local && last.retryIn == nil)
        loop.stop()
        loop.run()
        loop.dismantle()
    }

    @Test("A name that cannot exist is told")
    func unknownHost() throws {
        let bench = try LoopBench()
        let loop = bench.loop
        let (client, log) = try client(loop, port: 1, host: String(repeating: "x", count: 64) + ".invalid")
        client.connect()
        turn(bench) { log.events.contains { if case .disconnected = $0 { true } else { false } } }
        client.close()
        loop.stop()
        loop.run()
        loop.dismantle()
    }
}
