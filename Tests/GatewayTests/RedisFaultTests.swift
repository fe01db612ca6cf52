// Rooms with history on a real redis-server that refuses, forgets its scripts, drops links, says nonsense or is not
// heard: each publish is answered once, nothing is acknowledged that is not kept, and all goes on by itself.

import Bytes
import Foundation
import Reactor
import Redis
import Rooms
import Telemetry
import Testing

@testable import Gateway

private let kept = EngineCluster.kept

extension EngineRig {
    /// How many publishes were answered so.
    fileprivate func answers(_ failure: EngineFailure?) -> Int {
        count { if case .published(_, failure) = $0 { true } else { false } }
    }

    /// Publishes again and again until one is acknowledged, as a patient client does; each try has its own content.
    fileprivate func publishUntilAcknowledged(_ room: String) throws {
        let before = answers(nil)
        var asked = recorder.tickets.count
        try run("a publish is acknowledged") {
            if answers(nil) > before { return true }
            if recorder.tickets.count >= asked {
                asked = recorder.tickets.count + 1
                publish(room, "\"data\":\"again \(asked)\"", history: kept)
            }
            return false
        }
    }

    /// What the room's stream holds.
    fileprivate func contents(_ room: String) throws -> [String] {
        let all = HistoryQuery(direction: .forward, since: nil, limit: 1000, maxBytes: 1 << 20)
        return try read(room, kept, all).entries.map { String(decoding: $0.bytes, as: UTF8.self) }
    }
}

@Suite("Faults of Redis in rooms with history", .serialized)
struct RedisFaultTests {
    @Test("F17: lost scripts cost one publish, which is refused, not unknown; nothing is doubled")
    func scriptsFlushed() throws {
        let server = try RedisServer()
        let rig = try redisRig(server.endpoint)
        try rig.runUntilAvailable()
        try rig.join("lobby", history: kept)
        for number: UInt64 in 0..<5 {
            try server.command(["SCRIPT", "FLUSH"])
            rig.publish("lobby", "\"data\":\(number)", Ticket(connection: number, command: 1, loop: 0), history: kept)
            try rig.run("answered") { rig.recorder.tickets.count == number + 1 }
        }
        // Unless a beat was the first to find out.
        #expect(rig.answers(.unavailable) >= 3 && rig.answers(.outcomeUnknown) == 0)
        #expect(rig.registry.total(.engineErrors(.noScript)) >= 3)
        try rig.publishUntilAcknowledged("lobby")
        let acknowledged = rig.answers(nil)
        #expect(try rig.contents("lobby").count == acknowledged)
        try rig.run("received") { rig.received.count == acknowledged }
        #expect(rig.count { $0 == .available(false) } == 0, "the link is sound")
    }

    @Test("F16: Redis drops the subscribers' links; what was missed is observed", arguments: ["pubsub", "normal"])
    func linksKilled(_ type: String) throws {
        let cluster = try EngineCluster(2)
        try cluster.join("lobby", on: [0, 1])
        let first = try #require(try cluster.publishAll("lobby", from: 0, count: 10).last)
        for _ in 0..<3 {
            let reconnects = cluster.rigs.map { $0.registry.total(.engineReconnects) }
            try cluster.server.command(["CLIENT", "KILL", "TYPE", type])
            cluster.publish("lobby", from: 0, count: 10)
            try cluster.run("both are back") {
                zip(cluster.rigs, reconnects).allSatisfy { $0.registry.total(.engineReconnects) > $1 }
            }
            try cluster.runUntilAvailable()
        }
        let last = try #require(try cluster.publishAll("lobby", from: 1).last)
        #expect(last.epoch == first.epoch, "the same life")
        try cluster.beat(3)
        for rig in cluster.rigs {
            #expect(rig.recorder.servedPositions["lobby"] == last)
            #expect(rig.registry.total(.engineFences(.renewed)) == 0)
        }
        let entries = try cluster.rigs[0].contents("lobby").count
        #expect(entries == Int(last.offset))
        try cluster.check()
        #expect(entries >= cluster.rigs[0].answers(nil) + 1)
    }

    @Test("F13: Redis is full: refused at once, then held back, no link lost; it works again when there is room")
    func outOfMemory() throws {
        let server = try RedisServer()
        let rig = try redisRig(server.endpoint, beatInterval: .milliseconds(50))
        try rig.runUntilAvailable()
        try rig.join("lobby", history: kept)
        try server.command(["CONFIG", "SET", "maxmemory", "1"])
        let before = rig.registry.total(.engineCommands(.publish, .refused))
        var number: UInt64 = 0
        try rig.run("the breaker opens") {
            rig.publish("lobby", "\"data\":\(number)", Ticket(connection: number, command: 1, loop: 0), history: kept)
            number += 1
            return rig.registry.total(.engineBreakerOpen) == 1
        }
        try rig.run("what was on its way is answered") { rig.recorder.tickets.count == Int(number) }
        let refused = rig.registry.total(.engineCommands(.publish, .refused)) - before
        #expect(refused >= 5)
        // Held back: answered at once, and Redis hears of one trial at most.
        for _ in 0..<1000 { rig.publish("lobby", "\"data\":0", history: kept) }
        try rig.run("all are answered") { rig.recorder.tickets.count == Int(number) + 1000 }
        #expect(rig.answers(.unavailable) == Int(number) + 1000)
        #expect(rig.registry.total(.engineCommands(.publish, .refused)) - before < refused + 10)
        #expect(rig.registry.total(.engineErrors(.outOfMemory)) >= refused)
        try server.command(["CONFIG", "SET", "maxmemory", "0"])
        try rig.publishUntilAcknowledged("lobby")
        #expect(rig.registry.total(.engineBreakerOpen) == 0)
        #expect(try rig.contents("lobby").count == 1, "nothing that was refused is there")
        #expect(rig.engine.isAvailable && rig.count { $0 == .available(false) } == 0)
    }

    @Test("F17: Redis cannot persist: each publish is refused, none is kept, no link is lost")
    func misconfigured() throws {
        let server = try RedisServer()
        let rig = try redisRig(server.endpoint, beatInterval: .milliseconds(50))
        try rig.runUntilAvailable()
        // A folder where its file should be.
        let obstacle = server.folder + "/dump.rdb"
        try FileManager.default.createDirectory(atPath: obstacle, withIntermediateDirectories: true)
        try server.command(["CONFIG", "SET", "save", "3600 1"])
        try rig.publishUntilAcknowledged("lobby")
        try server.command(["BGSAVE"])
        try rig.run("the snapshot has failed") {
            try server.command(["INFO", "persistence"]).contains("rdb_last_bgsave_status:err")
        }
        for number: UInt64 in 10..<13 {
            rig.publish("lobby", "\"data\":\(number)", Ticket(connection: number, command: 1, loop: 0), history: kept)
        }
        try rig.run("refused") { rig.answers(.unavailable) == 3 }
        #expect(rig.registry.total(.engineErrors(.misconfigured)) >= 3)
        // A link that comes now is served as far as Redis serves it.
        try server.command(["CLIENT", "KILL", "TYPE", "pubsub"])
        try rig.run("noticed") { !rig.engine.isAvailable }
        try rig.runUntilAvailable()
        try FileManager.default.removeItem(atPath: obstacle)
        try server.command(["SAVE"])
        try rig.publishUntilAcknowledged("lobby")
        #expect(try rig.contents("lobby").count == 2)
    }

    @Test("F17: somebody's script blocks Redis: refused, not unknown, and nothing is lost")
    func busy() throws {
        let server = try RedisServer(options: ["--busy-reply-threshold", "20"])
        let rig = try redisRig(server.endpoint) { $0.commandTimeout = .seconds(10) }
        try rig.runUntilAvailable()
        try rig.join("lobby", history: kept)
        let (script, _, _) = try server.begin(["EVAL", "while true do end", "0"])
        var sent = 0
        try rig.run("a publish is refused") {
            if rig.recorder.tickets.count == sent, sent < 900 {
                rig.publish("lobby", "\"data\":1", history: kept)
                sent += 1
            }
            return rig.registry.total(.engineErrors(.busy)) > 0
        }
        try server.command(["SCRIPT", "KILL"])
        script.waitUntilExit()
        try rig.run("all are answered") { rig.recorder.tickets.count == sent }
        try rig.publishUntilAcknowledged("lobby")
        let acknowledged = rig.answers(nil)
        #expect(try rig.contents("lobby").count == acknowledged)
        #expect(rig.answers(.outcomeUnknown) == 0)
    }

    @Test("F17: Redis is loading its data: not used before it is done; what it acknowledged is there, same epoch")
    func loading() throws {
        let server = try RedisServer(
            options: ["--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024"])
        let rig = try redisRig(server.endpoint) { $0.backoffCap = .milliseconds(20) }
        try rig.runUntilAvailable()
        try rig.join("lobby", history: kept)
        try rig.publishUntilAcknowledged("lobby")
        rig.recorder.servedPositions["lobby"] = rig.recorder.acknowledged.last
        try server.command(["EVAL", "for i = 1, 2000 do redis.call('SET', 'x' .. i, i) end", "0"])
        try server.command(["SAVE"])
        server.end(SIGKILL)
        try server.start(awaiting: "Loading RDB")
        try rig.run("it is loading") { rig.registry.total(.engineErrors(.loading)) > 0 }
        #expect(!rig.engine.isAvailable)
        try rig.publishUntilAcknowledged("lobby")
        #expect(rig.recorder.acknowledged.map(\.offset) == [1, 2])
        #expect(Set(rig.recorder.acknowledged.map(\.epoch)).count == 1)
    }

    @Test("F20: a node that is deaf on one side says so, publishes with history all the same, and hears again")
    func deaf() throws {
        let server = try RedisServer(unix: false)
        let (rig, relay) = try RelayRig(server).make(beatInterval: .milliseconds(50)) {
            impatient(&$0)
            $0.backoffCap = .milliseconds(50)
        }
        try rig.runUntilAvailable()
        try rig.join("lobby", history: kept)
        #expect(rig.redis?.status.reason == nil)
        relay.subscribersAreDeaf = true
        try rig.run("noticed") { rig.recorder.events.contains(.available(false)) }
        #expect(rig.redis?.status.reason?.contains("deaf") == true)
        for _ in 0..<3 { try rig.publishUntilAcknowledged("lobby") }
        #expect(rig.received.isEmpty && rig.answers(.unavailable) == 0, "others hear it")
        #expect(rig.registry.isUp(.engine(.commands)) && !rig.registry.isUp(.engine(.subscriptions)))
        relay.subscribersAreDeaf = false
        try rig.runUntilAvailable()
        #expect(rig.registry.total(.engineReconnects) >= 1, "the link was replaced")
        try rig.run("the audit tells what was missed") {
            rig.recorder.observations.last?.position == rig.recorder.acknowledged.last
        }
        try rig.publishUntilAcknowledged("lobby")
        try rig.run("received again") { rig.received.count == 1 }
        try rig.run("no reason is left") { rig.redis?.status.reason == nil }
    }

    @Test(
        "RC-03, F37: a script's reply that cannot be one costs the link; the publish is of unknown outcome, once",
        arguments: [
            ":5\r\n", "+OK\r\n", "$-1\r\n", "*0\r\n", "*1\r\n:0\r\n", "*-1\r\n", "garbage\r\n", "*3\r\n:0\r\n",
            "*3\r\n:0\r\n:0\r\n$16\r\n0123456789abcdef\r\n", "*3\r\n:0\r\n:1\r\n$16\r\n0000000000000000\r\n",
            "*3\r\n:7\r\n:1\r\n$16\r\n0123456789abcdef\r\n", "*3\r\n:0\r\n:-1\r\n$16\r\n0123456789abcdef\r\n",
            "*3\r\n:0\r\n:1\r\n$3\r\nabc\r\n", "*3\r\n:0\r\n:9007199254740992\r\n$16\r\n0123456789abcdef\r\n",
            "*5\r\n:0\r\n:1\r\n$16\r\n0123456789abcdef\r\n$0\r\n\r\n:0\r\n",
        ])
    func garbled(_ reply: String) throws {
        let change: ([UInt8]) -> [UInt8] = { _ in Array(reply.utf8) }
        try withGarbled(change, stalls: reply == "*3\r\n:0\r\n") { rig in
            #expect(rig.answers(.outcomeUnknown) == 1 && rig.recorder.tickets.count == 1)
        }
    }

    @Test(
        "RC-03: a reply too many, before or behind the right one, costs the link; each publish is answered once",
        arguments: [true, false])
    func surplus(isBefore: Bool) throws {
        let behind = Array("*3\r\n:0\r\n:9\r\n$16\r\n0123456789abcdef\r\n".utf8)
        let before = Array("*3\r\n:1\r\n:9\r\n:9\r\n".utf8)
        let change: ([UInt8]) -> [UInt8] = { isBefore ? before + $0 : $0 + behind }
        try withGarbled(change, stalls: false) { rig in
            #expect(rig.recorder.tickets.count == 1)
            #expect(rig.recorder.acknowledged.allSatisfy { $0.offset == 1 }, "the reply too many is nobody's")
        }
    }

    /// Publishes while the next reply is changed; then all is to go on over another link.
    private func withGarbled(
        _ garbling: @escaping ([UInt8]) -> [UInt8], stalls: Bool, _ body: (EngineRig) throws -> Void
    ) throws {
        let server = try RedisServer(unix: false)
        let (rig, relay) = try RelayRig(server).make {
            $0.backoffCap = .milliseconds(20)
            if stalls { impatient(&$0) }
        }
        try rig.runUntilAvailable()
        // The reply that is garbled is to be the publish's: a beat has just been answered, so none is on its way.
        let beats = rig.registry.total(.engineCommands(.beat, .ok))
        try rig.run("a beat is answered") { rig.registry.total(.engineCommands(.beat, .ok)) > beats }
        relay.garbling = garbling
        rig.publish("lobby", "\"data\":1", history: kept)
        try rig.run("the link is lost") { rig.recorder.events.contains(.available(false)) }
        try rig.run("the publish is answered") { !rig.recorder.tickets.isEmpty }
        try rig.runUntilAvailable()
        try body(rig)
        #expect(rig.registry.total(.engineReconnects) >= 1)
        rig.publish("lobby", "\"data\":2", history: kept)
        try rig.run("the next one is answered") { rig.recorder.tickets.count == 2 }
        #expect(rig.recorder.events.last == .published(1, nil))
        #expect(try rig.contents("lobby").last == "\"data\":2")
    }

    @Test("RC-03: nonsense for a read and for a subscription is told once, as not available", arguments: [true, false])
    func garbledReads(_ reads: Bool) throws {
        let server = try RedisServer(unix: false)
        let (rig, relay) = try RelayRig(server).make { $0.backoffCap = .milliseconds(20) }
        try rig.runUntilAvailable()
        relay.garbling = { _ in Array("*2\r\n:0\r\n:1\r\n".utf8) }
        let tag = ReadTag(purpose: .history, ticket: Ticket(connection: 1, command: 1, loop: 0))
        let answer: EngineRecorder.Event
        if reads {
            answer = .read("lobby", tag, .unavailable)
            let query = HistoryQuery(direction: .forward, since: nil, limit: 1, maxBytes: 1)
            Array("lobby".utf8).withUnsafeBytes { rig.engine.read(room: $0, history: kept, query, tag: tag) }
        } else {
            answer = .subscribed("lobby", .unavailable)
            rig.subscribe("lobby", history: kept)
        }
        try rig.run("answered") { rig.recorder.events.contains(answer) }
        try rig.run("noticed") { rig.recorder.events.contains(.available(false)) }
        try rig.runUntilAvailable()
        try rig.join("lobby", history: kept)
        #expect(rig.count { $0 == answer } == 1)
    }
}
