// The Redis engine against a real redis-server that is killed, stopped, locked and lied about.

import Bytes
import Foundation
import Gateway
import Reactor
import Redis
import Rooms
import Telemetry
import Testing

/// Timeouts that make faults visible soon.
func impatient(_ settings: inout LinkSettings) {
    settings.commandTimeout = .milliseconds(250)
    settings.probeTimeout = .milliseconds(250)
}

@Suite(.serialized)
struct RedisEngineTests {
    @Test("Two instances hear each other's publications, in one order", arguments: [true, false])
    func twoInstances(unix: Bool) throws {
        let server = try RedisServer(unix: unix)
        let rigs = [try redisRig(server.endpoint), try redisRig(server.endpoint)]
        for rig in rigs {
            try rig.runUntilAvailable()
            try rig.join("lobby")
        }
        for number in 0..<200 {
            rigs[number % 2].publish("lobby", "\"data\":\(number)")
            rigs[number % 2].loop.turn(wait: false)
        }
        for rig in rigs { try rig.run("all are received") { rig.received.count == 200 } }
        #expect(rigs[0].received == rigs[1].received)
        #expect(rigs[0].registry.isUp(.engine(.commands)) && rigs[0].registry.isUp(.engine(.subscriptions)))
        #expect(rigs[0].registry.total(.engineCommands(.publish, .ok)) == 100)
    }

    @Test("A host's name is looked up off the loop")
    func hostName() throws {
        let server = try RedisServer(unix: false)
        guard case .tcp(_, let port) = server.endpoint else { return }
        let rig = try redisRig(.tcp(host: "localhost", port: port))
        try rig.runUntilAvailable()
    }

    @Test("A name that cannot be resolved and a path that does not exist make the engine unavailable, and nothing else")
    func unreachable() throws {
        for endpoint in [
            RedisEndpoint.tcp(host: "no-such-host.invalid", port: 1), .unix(path: "/nonexistent/redis.sock"),
        ] {
            let rig = try redisRig(endpoint)
            try rig.run("attempts fail") {
                rig.registry.total(.engineCommands(.setup, .unavailable))
                    + rig.registry.total(.engineCommands(.setup, .lost)) >= 3
            }
            rig.publish("lobby", "\"data\":1", 5)
            rig.subscribe("lobby")
            #expect(rig.recorder.events == [.published(5, .unavailable), .subscribed("lobby", .unavailable)])
            #expect(!rig.registry.isUp(.engine(.commands)))
        }
    }

    @Test("All commands of an iteration go out in one write")
    func pipelining() throws {
        let server = try RedisServer(unix: false)
        let (rig, relay) = try RelayRig(server).make()
        try rig.runUntilAvailable()
        let before = relay.piecesFromClients
        for number in 0..<500 { rig.publish("lobby", "\"data\":\(number)", UInt64(number)) }
        try rig.run("all are answered") { rig.recorder.tickets.count == 500 }
        // A probe may come in between.
        #expect(relay.piecesFromClients - before <= 3)
        #expect(rig.recorder.tickets.map(\.connection) == Array(0..<500))
    }

    @Test(
        "The largest publication passes, a larger one is refused, neither costs the link",
        arguments: [1 << 20, 6 << 20])
    func largest(limit: Int) throws {
        let server = try RedisServer()
        let settings = try redisSettings(server.endpoint, publicationBytes: limit)
        let rig = try EngineRig { RedisEngine(loop: $0, settings: settings, logger: nil) }
        try rig.runUntilAvailable()
        try rig.join("lobby")
        let largest = "\"data\":\"\(String(repeating: "x", count: limit - 9))\""
        rig.publish("lobby", largest + " ", 1)
        #expect(rig.recorder.events.last == .published(1, .unavailable))
        rig.publish("lobby", largest, 2)
        try rig.run("received") { rig.received.count == 1 && rig.recorder.events.contains(.published(2, nil)) }
        #expect(rig.received == ["lobby: " + largest])
        #expect(rig.count { $0 == .available(false) } == 0)
    }

    @Test("More rooms than may be unconfirmed at once are subscribed as confirmations come")
    func pacedSubscriptions() throws {
        let server = try RedisServer()
        let rig = try redisRig(server.endpoint) {
            $0.limits.namesPerCommand = 8
            $0.limits.namesInFlight = 32
        }
        try rig.runUntilAvailable()
        for number in 0..<500 { rig.subscribe("room-\(number)") }
        try rig.run("all are subscribed") { rig.recorder.events.count == 501 }
        for number in 0..<500 { rig.unsubscribe("room-\(number)") }
        try rig.run("all are unsubscribed") { try server.command(["PUBSUB", "CHANNELS", "martlet:{*"]).isEmpty }
    }

    @Test("F05: kill -9 and restart: refused at once while away, back by itself, rooms subscribed again")
    func killAndRestart() throws {
        let server = try RedisServer()
        let rig = try redisRig(server.endpoint)
        try rig.runUntilAvailable()
        for number in 0..<1000 { rig.subscribe("room-\(number)") }
        try rig.run("all rooms are subscribed") {
            rig.count { if case .subscribed(_, nil) = $0 { true } else { false } } == 1000
        }
        server.end(SIGKILL)
        rig.publish("room-1", "\"data\":\"in flight\"", 77)
        try rig.run("the loss is noticed") { !rig.engine.isAvailable }
        try rig.run("the command is answered") {
            rig.count { if case .published(77, _) = $0 { true } else { false } } == 1
        }
        #expect(rig.count { $0 == .published(77, nil) } == 0, "nothing is acknowledged that was not published")
        rig.publish("room-1", "\"data\":\"away\"", 78)
        rig.subscribe("late")
        #expect(rig.recorder.events.suffix(2) == [.published(78, .unavailable), .subscribed("late", .unavailable)])
        rig.unsubscribe("room-999")

        try server.start()
        try rig.runUntilAvailable()
        #expect(rig.count { $0 == .available(true) } == 2 && rig.count { $0 == .available(false) } == 1)
        let listed = try server.command(["PUBSUB", "CHANNELS", "martlet:{*"]).split(separator: "\n")
        #expect(listed.count == 999, "every room but the one that was left meanwhile")
        #expect(rig.registry.total(.engineReconnects) == 2)
        rig.publish("room-1", "\"data\":1")
        rig.publish("room-998", "\"data\":2")
        try rig.run("publications flow again") { rig.received.count == 2 }
        #expect(rig.received == ["room-1: \"data\":1", "room-998: \"data\":2"])
        #expect(rig.count { $0 == .subscribed("room-1", nil) } == 1, "a restored room is not answered twice")
    }

    @Test(
        "F07: a stopped Redis: what was written is unknown, what comes later is refused, then all works"
    )
    func stopped() throws {
        let server = try RedisServer()
        let rig = try redisRig(server.endpoint, impatient)
        try rig.runUntilAvailable()
        try rig.join("lobby")
        server.signal(SIGSTOP)
        for number in 0..<10 { rig.publish("lobby", "\"data\":\(number)", UInt64(number)) }
        try rig.run("the commands are answered") { rig.recorder.tickets.count == 10 }
        #expect(rig.recorder.tickets.map(\.connection) == Array(0..<10))
        #expect(rig.count { if case .published(_, .outcomeUnknown) = $0 { true } else { false } } == 10)
        #expect(!rig.engine.isAvailable)
        rig.publish("lobby", "\"data\":10", 10)
        #expect(rig.recorder.events.last == .published(10, .unavailable))
        #expect(rig.registry.total(.engineCommands(.publish, .timeout)) == 10)
        server.signal(SIGCONT)
        try rig.runUntilAvailable()
        rig.publish("lobby", "\"data\":11", 11)
        try rig.run("it works again") { rig.recorder.events.contains(.published(11, nil)) }
        #expect(rig.count { if case .published(let tag, nil) = $0 { tag != 11 } else { false } } == 0)
    }

    @Test("RC-03: replies that come after the timeout reach nobody")
    func lateReplies() throws {
        let server = try RedisServer(unix: false)
        let (rig, relay) = try RelayRig(server).make(impatient)
        try rig.runUntilAvailable()
        relay.repliesAreHeld = true
        rig.publish("lobby", "\"data\":1", 1)
        try rig.run("timed out") { rig.recorder.events.contains(.published(1, .outcomeUnknown)) }
        relay.repliesAreHeld = false
        try rig.runUntilAvailable()
        rig.publish("lobby", "\"data\":2", 2)
        try rig.run("the next one is answered") { rig.recorder.tickets.count == 2 }
        #expect(rig.count { if case .published = $0 { true } else { false } } == 2, "each command is answered once")
    }

    @Test("RC-04, F20: a deaf subscription link is noticed and replaced while the command link works")
    func deafSubscriber() throws {
        let server = try RedisServer(unix: false)
        let (rig, relay) = try RelayRig(server).make(impatient)
        try rig.runUntilAvailable()
        try rig.join("lobby")
        relay.subscribersAreDeaf = true
        try rig.run("noticed") { rig.recorder.events.contains(.available(false)) }
        #expect(!rig.registry.isUp(.engine(.subscriptions)) && rig.registry.isUp(.engine(.commands)))
        rig.publish("lobby", "\"data\":0", 9)
        #expect(rig.recorder.events.last == .published(9, .unavailable), "members here would not hear it")
        relay.subscribersAreDeaf = false
        try rig.runUntilAvailable()
        rig.publish("lobby", "\"data\":1")
        try rig.run("received again") { rig.received == ["lobby: \"data\":1"] }
    }

    @Test("F19: broken connections come back, again and again, and every command is answered once")
    func broken() throws {
        let server = try RedisServer(unix: false)
        let (rig, relay) = try RelayRig(server).make { $0.backoffCap = .milliseconds(20) }
        var sent: UInt64 = 0
        for _ in 0..<20 {
            try rig.runUntilAvailable()
            for _ in 0..<50 {
                rig.publish("lobby", "\"data\":\(sent)", sent)
                sent += 1
            }
            rig.loop.turn(wait: false)
            relay.breakAll()
            try rig.run("the loss is noticed") { !rig.engine.isAvailable }
        }
        try rig.run("all are answered") { rig.recorder.tickets.count == Int(sent) }
        #expect(rig.recorder.tickets.map(\.connection) == Array(0..<sent))
        #expect(
            rig.count { if case .published(_, .unavailable) = $0 { true } else { false } }
                + rig.count {
                    if case .published(_, .outcomeUnknown) = $0 { true } else { false }
                } > 0)
    }

    @Test("F17: a wrong or missing password keeps the engine away until it is right")
    func authentication() throws {
        let server = try RedisServer(options: ["--requirepass", "s3cret"])
        for password in [nil, "wrong"] {
            let rig = try redisRig(server.endpoint) { $0.password = password }
            try rig.run("refused") { rig.registry.total(.engineCommands(.setup, .refused)) >= 4 }
            #expect(!rig.engine.isAvailable)
        }
        let rig = try redisRig(server.endpoint) {
            $0.password = "s3cret"
            $0.database = 3
        }
        try rig.runUntilAvailable()
    }

    @Test("F17: what the server's ACL forbids is refused without harm to the rest")
    func accessControl() throws {
        let server = try RedisServer()
        try server.command([
            "ACL", "SETUSER", "chat", "on", ">pw", "+@all", "-select", "~*", "resetchannels", "&martlet:{open*",
            "&martlet:node:*",
        ])
        let rig = try redisRig(server.endpoint) {
            $0.user = "chat"
            $0.password = "pw"
        }
        try rig.runUntilAvailable()
        for room in ["open-1", "secret", "open-2"] { rig.subscribe(room) }
        try rig.run("all are answered") { rig.recorder.events.count == 4 }
        #expect(rig.recorder.events.contains(.subscribed("secret", .unavailable)))
        rig.publish("secret", "\"data\":1", 1)
        rig.publish("open-1", "\"data\":2", 2)
        try rig.run("answered") { rig.recorder.tickets.count == 2 && rig.received.count == 1 }
        #expect(rig.recorder.events.contains(.published(1, .unavailable)))
        #expect(rig.recorder.events.contains(.published(2, nil)))
        #expect(rig.received == ["open-1: \"data\":2"])
        #expect(rig.engine.isAvailable)
    }

    @Test("F17: a server at its connection limit is tried again until there is room")
    func tooManyClients() throws {
        let server = try RedisServer()
        try server.command(["CONFIG", "SET", "maxclients", "1"])
        let rig = try redisRig(server.endpoint)
        try rig.run("refused") {
            rig.registry.total(.engineCommands(.setup, .refused)) + rig.registry.total(.engineCommands(.setup, .lost))
                > 2
        }
        #expect(!rig.engine.isAvailable)
    }

    @Test("F17: a full disk and a script that runs for ever are told by each command, not by the link")
    func busy() throws {
        let server = try RedisServer(options: ["--busy-reply-threshold", "20"])
        let rig = try redisRig(server.endpoint, impatient)
        try rig.runUntilAvailable()
        let (script, _, _) = try server.begin(["EVAL", "while true do end", "0"])
        try rig.run("a command is refused") {
            if rig.engine.isAvailable { rig.publish("lobby", "\"data\":1", 1) }
            return rig.registry.total(.engineCommands(.publish, .refused)) > 0
        }
        try server.command(["SCRIPT", "KILL"])
        script.waitUntilExit()
        try rig.runUntilAvailable()
        // The breaker has to try first.
        try rig.run("it works again") {
            rig.publish("lobby", "\"data\":2", 2)
            return rig.recorder.events.contains(.published(2, nil))
        }
    }

    @Test("F39: poison in a room's channel is skipped and counted; what follows arrives")
    func poison() throws {
        let server = try RedisServer()
        let rig = try redisRig(server.endpoint)
        try rig.runUntilAvailable()
        try rig.join("lobby")
        let poison: [[UInt8]] = [
            Array("rubbish".utf8), [], Array("2 0 0\n\"data\":1".utf8), Array("1 0 0\n\"data\":".utf8),
            Array("1 0 0\n\"data\":1},\"x\":{\"b\":1".utf8), Array("1 0 0\n\"data\":\"\u{1}\"".utf8),
            Array("1 0 0\n\"data\":\n1".utf8),
            Array("1 0 0\n\"data\":\"".utf8) + [0xFF, 0xFE] + Array("\"".utf8),
            Array("1 0 0\n\"data\":\"".utf8) + [UInt8](repeating: 0x61, count: 10 << 20) + Array("\"".utf8),
            [UInt8](repeating: 0x5B, count: 100_000),
        ]
        for payload in poison { try server.command(["PUBLISH", "martlet:{lobby}"], input: payload) }
        rig.publish("lobby", "\"data\":1")
        try rig.run("the sound one is received") { !rig.received.isEmpty }
        #expect(rig.received == ["lobby: \"data\":1"])
        #expect((rig.engine as? RedisEngine)?.skippedMessages == UInt64(poison.count))
        #expect(rig.engine.isAvailable && rig.count { $0 == .available(false) } == 0)
    }
}

/// Answers a login like a Redis and everything after it with `poison`.
private final class HostileRedis: ConnectionHandler {
    private let loop: Loop
    private let poison: [UInt8]
    private(set) var connections = 0

    init(_ loop: Loop, _ poison: [UInt8]) {
        self.loop = loop
        self.poison = poison
    }

    func opened(_ id: ConnectionID) { connections += 1 }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        let text = String(decoding: bytes, as: UTF8.self)
        guard text.contains("SETNAME") else { return }
        let run = String(repeating: "a", count: 40)
        var answer = "+OK\r\n" + bulk("run_id:\(run)\r\n") + bulk("role:master\r\nmaster_replid:\(run)\r\n")
        if text.contains("SCRIPT") {
            for script in RedisScript.all { answer += bulk(String(decoding: script.sha, as: UTF8.self)) }
        }
        (Array((answer + "+PONG\r\n").utf8) + poison).withUnsafeBytes { loop.write(id, $0) }
    }

    private func bulk(_ text: String) -> String { "$\(text.utf8.count)\r\n\(text)\r\n" }
    func closed(_ id: ConnectionID, _ reason: CloseReason) {}
}

extension RedisEngineTests {
    @Test(
        "RC-01: a server that sends impossible lengths, depths or sizes is left and tried again; the process lives",
        arguments: [
            "*4294967297\r\n", "*-2\r\n", "$9223372036854775807\r\n", "$1073741825\r\n", ":1\r\n",
            "HTTP/1.1 400 Bad Request\r\n",
            String(repeating: "*1\r\n", count: 10_000),
        ])
    func hostileServer(_ poison: String) throws {
        var hostile: HostileRedis?
        let rig = try EngineRig { loop in
            let handler = HostileRedis(loop, Array(poison.utf8))
            hostile = handler
            let any = try #require(SocketAddress(host: "127.0.0.1", port: 0))
            let listener = try Listener.bind(any, shared: false, handler: loop.register(handler))
            try loop.add(listener)
            let endpoint = RedisEndpoint.tcp(host: "127.0.0.1", port: try #require(listener.address.port))
            let settings = try redisSettings(endpoint) { $0.backoffCap = .milliseconds(20) }
            return RedisEngine(loop: loop, settings: settings, logger: nil)
        }
        try rig.run("tried again") { (hostile?.connections ?? 0) >= 8 }
        rig.publish("lobby", "\"data\":1", 1)
        // Whoever is caught between login and poison is told, too: nobody waits for ever.
        try rig.run("answered") { rig.recorder.tickets.count == 1 }
        #expect(rig.count { $0 == .published(1, nil) } == 0)
    }
}

/// An engine behind a relay on the same loop.
struct RelayRig {
    let server: RedisServer

    init(_ server: RedisServer) { self.server = server }

    func make(
        beatInterval: Duration = .seconds(1), _ change: (inout LinkSettings) -> Void = { _ in }
    ) throws -> (EngineRig, FaultyRelay) {
        var relay: FaultyRelay?
        let rig = try EngineRig { loop in
            let made = try FaultyRelay(loop: loop, to: server.endpoint)
            relay = made
            let settings = try redisSettings(made.endpoint, beatInterval: beatInterval, change)
            return RedisEngine(loop: loop, settings: settings, logger: nil)
        }
        rig.relay = relay
        return (rig, try #require(relay))
    }
}
