// What only an engine on Redis has to prove of its history: several nodes agree on it, what pub/sub lost is found, what
// somebody else wrote into it does no harm, and nothing stays for ever.

import Bytes
import Foundation
import Reactor
import Redis
import Rooms
import Telemetry
import Testing

@testable import Gateway

private let kept = EngineCluster.kept

private func query(
    _ direction: RoomStream.Direction = .forward, since: StreamPosition? = nil, limit: Int = 1000
) -> HistoryQuery { HistoryQuery(direction: direction, since: since, limit: limit, maxBytes: 1 << 20) }

extension RedisServer {
    /// Runs a script by redis-cli.
    @discardableResult
    fileprivate func script(_ text: String, keys: [String] = [], _ arguments: [String] = []) throws -> String {
        try command(["EVAL", text, String(keys.count)] + keys + arguments)
    }

    /// Appends what no node was told of: the publication and its place in the record, without PUBLISH.
    fileprivate func appendSilently(_ room: String, offset: UInt64, _ fields: String) throws {
        let script = """
            local t = redis.call('TIME')
            redis.call('XADD', KEYS[1], ARGV[1] .. '-0', 'd', ARGV[2], 't', t[1] .. '000')
            redis.call('HSET', KEYS[2], 'o', ARGV[1])
            """
        try self.script(script, keys: ["martlet:{\(room)}:s", "martlet:{\(room)}:m"], [String(offset), fields])
    }
}

@Suite("History on Redis", .serialized)
struct RedisHistoryTests {
    @Test("Nodes that come at once agree on a room's epoch, its order and its history")
    func agreement() throws {
        let cluster = try EngineCluster(3)
        for rig in cluster.rigs { rig.subscribe("lobby", history: kept) }
        try cluster.run("subscribed") { cluster.rigs.allSatisfy { $0.recorder.subscribedAt.count == 1 } }
        #expect(Set(cluster.rigs.map { $0.recorder.subscribedAt[0].epoch }).count == 1)
        #expect(cluster.rigs.allSatisfy { $0.recorder.subscribedAt[0].offset == 0 })
        for _ in 0..<20 { for node in 0..<3 { cluster.publish("lobby", from: node, count: 5) } }
        try cluster.run("received") { cluster.rigs.allSatisfy { $0.received.count == 300 } }
        for rig in cluster.rigs {
            #expect(rig.received == cluster.rigs[0].received)
            #expect(rig.recorder.receivedAt.map(\.offset) == Array(1...300))
            let answer = try rig.read("lobby", kept, query())
            #expect(answer.entries.map { "lobby: " + String(decoding: $0.bytes, as: UTF8.self) } == rig.received)
        }
        try cluster.check()
    }

    @Test("A key is honoured on another node, with and without history; another sender's same key is another")
    func keys() throws {
        let cluster = try EngineCluster(2)
        try cluster.join("lobby", on: [0, 1])
        for rig in cluster.rigs { rig.subscribe("plain") }
        try cluster.run("subscribed") { cluster.rigs.allSatisfy { $0.recorder.subscribedAt.count == 2 } }
        func publish(_ room: String, _ node: Int, sender: String = "u", _ content: String) throws -> StreamPosition? {
            let before = cluster.rigs[node].recorder.acknowledged.count
            cluster.publish(
                room, from: node, history: room == "plain" ? nil : kept, sender: sender, key: "k", content: content)
            try cluster.run("acknowledged") { cluster.rigs[node].recorder.acknowledged.count > before }
            return cluster.rigs[node].recorder.acknowledged.last
        }
        let first = try publish("lobby", 0, "\"data\":\"a\"")
        #expect(first?.offset == 1)
        for node in [1, 0, 1] { #expect(try publish("lobby", node, "\"data\":\"a\"") == first) }
        #expect(try publish("lobby", 1, sender: "v", "\"data\":\"b\"")?.offset == 2)
        #expect(try publish("lobby", 0, sender: "v", "\"data\":\"b\"")?.offset == 2)
        for node in [0, 1, 0] { #expect(try publish("plain", node, "\"data\":\"c\"") == StreamPosition.none) }
        #expect(try publish("plain", 1, sender: "v", "\"data\":\"d\"") == StreamPosition.none)
        // Two at once, on both nodes: one of them is the first.
        for node in [0, 1] { cluster.publish("lobby", from: node, sender: "w", key: "k", content: "\"data\":\"e\"") }
        try cluster.check()
        #expect(cluster.rigs[0].recorder.acknowledged.last == cluster.rigs[1].recorder.acknowledged.last)
        let lobby = ["lobby: \"data\":\"a\"", "lobby: \"data\":\"b\"", "lobby: \"data\":\"e\""]
        let plain = ["plain: \"data\":\"c\"", "plain: \"data\":\"d\""]
        for rig in cluster.rigs {
            try cluster.run("received") { rig.received.count >= 5 }
            #expect(rig.received.sorted() == lobby + plain)
        }
    }

    @Test("RC-04: publications that pub/sub lost in a quiet room are observed within a few beats, and can be read")
    func silentGap() throws {
        let cluster = try EngineCluster(2)
        try cluster.join("lobby", on: [0])
        for number in 0..<300 { cluster.rigs[0].subscribe("other-\(number)", history: kept) }
        let top = try #require(try cluster.publishAll("lobby", from: 1, count: 3).last)
        try cluster.run("subscribed") { cluster.rigs[0].recorder.subscribedAt.count == 301 }
        try cluster.run("received") { cluster.rigs[0].received.count == 3 }
        for offset: UInt64 in [4, 5] {
            try cluster.server.appendSilently("lobby", offset: offset, "\"data\":\(offset)")
        }
        let lost = RoomStanding(StreamPosition(offset: 5, epoch: top.epoch))
        let beats = cluster.rigs[0].registry.total(.engineCommands(.audit, .ok))
        try cluster.run("observed") { cluster.rigs[0].recorder.observations.contains(lost) }
        // One audit has 256 of the 301 rooms.
        #expect(cluster.rigs[0].registry.total(.engineCommands(.audit, .ok)) - beats <= 4)
        #expect(cluster.rigs[0].received.count == 3, "nobody published it")
        let answer = try cluster.rigs[0].read("lobby", kept, query(.recover, since: top))
        #expect(answer.coverage == .complete && answer.start == 4 && answer.entries.count == 2)
        #expect(try cluster.publishAll("lobby", from: 1).map(\.offset) == [6])
        // A room whose record is gone stands nowhere; whoever asks next finds another epoch.
        try cluster.server.command(["DEL", "martlet:{lobby}:m"])
        try cluster.run("observed") { cluster.rigs[0].recorder.observations.contains(RoomStanding.none) }
        #expect(try cluster.standing("lobby", on: 0).position.epoch != top.epoch)
        try cluster.check()
    }

    @Test("F39: poison in a stream ends what can be shown and is counted; nobody is given a stream with a hole")
    func poisonedStream() throws {
        let server = try RedisServer()
        let rig = try redisRig(server.endpoint)
        try rig.runUntilAvailable()
        for number in 1...3 { rig.publish("lobby", "\"data\":\(number)", history: kept) }
        try rig.run("acknowledged") { rig.recorder.acknowledged.count == 3 }
        let top = rig.recorder.acknowledged[2]
        try server.appendSilently("lobby", offset: 4, "\"data\":1},{\"data\":2")
        rig.publish("lobby", "\"data\":5", history: kept)
        try rig.run("acknowledged") { rig.recorder.acknowledged.last?.offset == 5 }
        let forward = try rig.read("lobby", kept, query())
        #expect(forward.entries.count == 3 && forward.coverage == .cut && forward.start == 1)
        let reverse = try rig.read("lobby", kept, query(.reverse))
        #expect(reverse.entries.count == 1 && reverse.coverage == .cut && reverse.start == 5)
        let recovery = try rig.read("lobby", kept, query(.recover, since: top))
        #expect(recovery.entries.isEmpty && recovery.coverage == .trimmed && recovery.position.offset == 5)
        let behind = StreamPosition(offset: 4, epoch: top.epoch)
        #expect(try rig.read("lobby", kept, query(.recover, since: behind)).entries.count == 1)
        #expect(rig.redis?.skippedMessages == 3)
        #expect(rig.engine.isAvailable && rig.count { $0 == .available(false) } == 0)
    }

    @Test(
        "F39: a record or stream of another kind, and one that makes no sense, renew one room; others go on",
        arguments: ["SET", "LPUSH", "HSET", "STREAM"])
    func poisonedRecord(_ kind: String) throws {
        let server = try RedisServer()
        let rig = try redisRig(server.endpoint, beatInterval: .milliseconds(50))
        try rig.runUntilAvailable()
        try rig.join("bad", history: kept)
        try rig.join("good", history: kept)
        switch kind {
        case "HSET": try server.command(["HSET", "martlet:{bad}:m", "o", "-1", "e", "rubbish", "p", "x", "s", "1e9"])
        case "STREAM": try server.command(["SET", "martlet:{bad}:s", "rubbish"])
        default:
            try server.command(["DEL", "martlet:{bad}:m"])
            try server.command([kind, "martlet:{bad}:m", "rubbish"])
        }
        for room in ["bad", "good"] { rig.publish(room, "\"data\":1", history: kept) }
        try rig.run("answered") { rig.recorder.tickets.count == 2 }
        #expect(rig.recorder.acknowledged.count == 2, "what is of another kind is removed")
        try rig.run("received") { rig.received.contains("good: \"data\":1") }
        let audits = rig.registry.total(.engineCommands(.audit, .ok))
        try rig.run("audited") { rig.registry.total(.engineCommands(.audit, .ok)) > audits + 1 }
        #expect(try rig.read("good", kept, query()).entries.count == 1)
        #expect(rig.engine.isAvailable && rig.count { $0 == .available(false) } == 0)
    }

    @Test("A room that is left and joined again while its position is asked for: the answer is of the second time")
    func rejoined() throws {
        let server = try RedisServer(unix: false)
        let (rig, relay) = try RelayRig(server).make()
        let other = try redisRig(server.endpoint)
        for rig in [rig, other] { try rig.runUntilAvailable() }
        relay.repliesAreHeld = true
        rig.subscribe("lobby", history: kept)
        func subscribers() throws -> Bool {
            try server.command(["PUBSUB", "NUMSUB", "martlet:{lobby}"]).hasSuffix("1")
        }
        let state = try #require(rig.redis).state
        try rig.run("the position is asked for") { state.pointee.table[0]?.asksPosition == true }
        let sent = relay.piecesFromClients
        try rig.run("on its way") { relay.piecesFromClients > sent }
        rig.unsubscribe("lobby")
        try rig.run("left") { try !subscribers() }
        // What nobody here hears.
        other.publish("lobby", "\"data\":1", history: kept)
        try other.run("acknowledged") { other.recorder.acknowledged.count == 1 }
        rig.subscribe("lobby", history: kept)
        relay.repliesAreHeld = false
        try rig.run("subscribed") { !rig.recorder.subscribedAt.isEmpty }
        #expect(try subscribers(), "it flows when it is answered")
        #expect(rig.recorder.subscribedAt == other.recorder.acknowledged, "what was missed is not passed over")
        other.publish("lobby", "\"data\":2", history: kept)
        try other.run("acknowledged") { other.recorder.acknowledged.count == 2 }
        try rig.run("received") { rig.received.count == 1 }
        #expect(rig.count { $0 == .subscribed("lobby", nil) } == 1)
    }

    @Test("Every key expires by itself, also the registry and what publishing once leaves")
    func expiry() throws {
        let cluster = try EngineCluster(2)
        let brief = HistoryOptions(size: 10, age: .milliseconds(200))
        try cluster.join("lobby", on: [0, 1], brief)
        for node in [0, 1] {
            cluster.publish(
                "lobby", from: node, count: 20, history: brief, sender: "u", key: "k\(node)", content: "\"data\":1")
            cluster.publish("brief", from: node, count: 20, history: brief)
            cluster.publish("plain", from: node, count: 5, history: nil, sender: "u", key: "k")
        }
        _ = try cluster.rigs[0].read("read", brief, query())
        try cluster.restart()
        cluster.publish("lobby", from: 1, history: brief)
        try cluster.check()
        func lifetimes() throws -> [String: Int] {
            let script = """
                local answer = {}
                for _, key in ipairs(redis.call('KEYS', 'martlet:*')) do
                  answer[#answer + 1] = redis.call('PTTL', key) .. ' ' .. key
                end
                return answer
                """
            let lines = try cluster.server.script(script).split(separator: "\n").map { $0.split(separator: " ") }
            return Dictionary(uniqueKeysWithValues: lines.map { (String($0[1]), Int($0[0]) ?? -3) })
        }
        let month = 30 * 24 * 3600 * 1000
        let found = try lifetimes()
        #expect(found["martlet:term"] != nil && found["martlet:{lobby}:m"] != nil && found.count >= 3)
        for (key, life) in found { #expect(life > 0 && life <= month, "\(key): \(life)") }
        try cluster.run("the streams are gone") { try !lifetimes().keys.contains { $0.hasSuffix(":s") } }
        for (key, life) in try lifetimes() { #expect(life > 0 && life <= month, "\(key): \(life)") }
        try cluster.check()
    }
}
