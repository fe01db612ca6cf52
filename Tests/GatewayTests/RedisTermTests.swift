// Several nodes on one real Redis that is restarted, rolled back, emptied and replaced: what was acknowledged keeps its
// place, or the room gets another epoch. Never does one position stand for two publications.

import Bytes
import Foundation
import Reactor
import Redis
import Rooms
import Telemetry
import Testing

@testable import Gateway

/// Everything is on disk before it is answered, so that kill -9 loses nothing.
private let durable = ["--appendonly", "yes", "--appendfsync", "no"]

extension EngineCluster {
    /// Kills Redis and starts it again with what it finds on disk; returns when the nodes serve again.
    func restart() throws {
        server.end(SIGKILL)
        try server.start()
        try runUntilBack()
    }

    /// Runs until the nodes have noticed that Redis was away, and serve again.
    func runUntilBack() throws {
        try run("the loss is noticed") { !awake.contains { rigs[$0].engine.isAvailable } }
        try runUntilAvailable()
    }

    fileprivate func fences(_ result: Labels.Fence) -> UInt64 {
        rigs.reduce(0) { $0 + $1.registry.total(.engineFences(result)) }
    }

    /// The node's name in the registry.
    fileprivate func name(of node: Int) -> String { String(decoding: rigs[node].redis?.node ?? [], as: UTF8.self) }

    /// Who is in the registry.
    fileprivate func nodes() throws -> [String] {
        try server.command(["HKEYS", "martlet:term"]).split(separator: "\n").filter { $0.hasPrefix("L:") }
            .map { String($0.dropFirst(2)) }
    }

    /// The number of the term.
    fileprivate var term: Int? { (try? server.command(["HGET", "martlet:term", "n"])).flatMap { Int($0) } }
}

@Suite("Lives of Redis", .serialized)
struct RedisTermTests {
    @Test("F05: Redis is killed and comes back with everything: same epochs, nobody is told of another")
    func restartedWhole() throws {
        let cluster = try EngineCluster(2, options: durable)
        try cluster.join("both", on: [0, 1])
        try cluster.join("one", on: [1])
        let tops = try ["both", "one", "nobody"].map { room in
            try #require(try cluster.publishAll(room, from: 1, count: 20).last)
        }
        try cluster.run("received") { cluster.rigs[1].received.count == 40 }
        // The lease is far longer than the bound: nobody waits for it.
        try cluster.restart()
        #expect(cluster.term == 2, "everybody vouched")
        #expect(cluster.fences(.kept) >= 3)
        for (node, offset) in [(1, 21), (0, 22)] as [(Int, UInt64)] {
            for (room, top) in zip(["both", "one"], tops) {
                let position = StreamPosition(offset: offset, epoch: top.epoch)
                #expect(try cluster.publishAll(room, from: node) == [position])
            }
        }
        // Nobody serves it; whoever stood there goes on.
        #expect(try cluster.publishAll("nobody", from: 0).map(\.offset) == [21])
        #expect(try cluster.standing("nobody", on: 0).continues(tops[2]))
        try cluster.run("received") { cluster.rigs[1].received.count == 44 }
        // The audit has looked, too.
        try cluster.beat(2)
        for rig in cluster.rigs {
            let told = rig.recorder.receivedAt + rig.recorder.observations.map(\.position)
            #expect(Set(told.map(\.epoch)).isSubset(of: tops.map(\.epoch)), "nobody was told of another epoch")
        }
        try cluster.check()
    }

    /// Who had seen what when Redis lost the last thirty of fifty.
    enum Witness: CaseIterable, CustomTestStringConvertible {
        /// Both nodes serve the room and have seen all of it.
        case everybody
        /// The publisher's node has no members; the other one was served less than was lost.
        case publisher
        /// The publisher's node has ended in good order; only the other one's members saw it.
        case members

        var testDescription: String { "\(self)" }
    }

    @Test(
        "Redis comes back with an old snapshot: another epoch that continues the former one up to the snapshot",
        arguments: Witness.allCases)
    func rolledBack(_ witness: Witness) throws {
        let cluster = try EngineCluster(witness == .members ? 3 : 2)
        let (publisher, other) = (witness == .members ? 2 : 0, 1)
        if witness == .everybody { try cluster.join("lobby", on: [publisher]) }
        for room in ["lobby", "quiet"] { try cluster.join(room, on: [other]) }
        let quiet = try cluster.publishAll("quiet", from: publisher, count: 5)
        let first = try cluster.publishAll("lobby", from: publisher, count: 20)
        if witness == .members {
            // As if it had come later, so that the snapshot does not know it.
            try cluster.server.command(["HDEL", "martlet:term", "L:" + cluster.name(of: publisher)])
        }
        try cluster.server.command(["SAVE"])
        if witness == .publisher { cluster.rigs[other].recorder.isHome = false }
        let lost = try cluster.publishAll("lobby", from: publisher, count: 30)
        let former = try #require(first.last)
        #expect(lost.last == StreamPosition(offset: 50, epoch: former.epoch))
        switch witness {
        case .publisher: cluster.rigs[other].recorder.servedPositions["lobby"] = first[14]
        case .everybody, .members:
            try cluster.run("all were served") { cluster.rigs[other].recorder.servedPositions["lobby"] == lost.last }
        }
        if witness == .members {
            cluster.rigs[publisher].engine.shutdown()
            cluster.turn()
            cluster.frozen = [publisher]
            #expect(try !cluster.nodes().contains(cluster.name(of: publisher)))
            try cluster.beat(2)
        }
        try cluster.restart()
        let next = try #require(try cluster.publishAll("lobby", from: other).last)
        #expect(next.offset == 21 && next.epoch != former.epoch)
        #expect(try cluster.standing("lobby", on: other).former == former)
        let last = try #require(try cluster.publishAll("lobby", from: 0).last)
        #expect(last == StreamPosition(offset: 22, epoch: next.epoch))
        #expect(
            try cluster.publishAll("quiet", from: other).map(\.epoch) == quiet.suffix(1).map(\.epoch),
            "a room that has lost nothing goes on")
        try cluster.check()
    }

    @Test("Redis comes back again and again with one old snapshot: what an earlier life has seen vouches for nothing")
    func rolledBackTwice() throws {
        let cluster = try EngineCluster(3)
        try cluster.join("lobby", on: [0, 1, 2])
        try cluster.publishAll("lobby", from: 0, count: 5)
        let first = try cluster.publishAll("lobby", from: 1, count: 15)
        // Redis is away again each time before this one's members have caught up.
        cluster.rigs[2].recorder.isHome = false
        try cluster.server.command(["SAVE"])
        for _ in 0..<3 {
            try cluster.publishAll("lobby", from: 1, count: 30)
            try cluster.run("received") { cluster.rigs[0].recorder.servedPositions["lobby"]?.offset == 50 }
            try cluster.restart()
        }
        #expect(cluster.rigs[2].recorder.servedPositions["lobby"]?.epoch == first.last?.epoch)
        try cluster.publishAll("lobby", from: 0, count: 30)
        try cluster.check()
    }

    @Test(
        "F04: a node is frozen while Redis comes back with less and others go on after its lease: nothing is doubled"
    )
    func frozen() throws {
        let cluster = try EngineCluster(3, lease: .milliseconds(500))
        try cluster.join("lobby", on: [0, 1, 2])
        let rooms = ["lobby", "own", "quiet", "calm"]
        for room in rooms.dropFirst() { try cluster.join(room, on: [0]) }
        let tops = try rooms.map { try #require(try cluster.publishAll($0, from: 0, count: 20).last) }
        try cluster.run("received") { (1...2).allSatisfy { cluster.rigs[$0].received.count == 20 } }
        try cluster.server.command(["SAVE"])
        // The others never hear of these.
        cluster.frozen = [1, 2]
        try cluster.server.command(["CLIENT", "KILL", "TYPE", "pubsub"])
        for room in rooms.dropLast() { try cluster.publishAll(room, from: 0, count: 30) }
        cluster.frozen = [0]
        for node in [1, 2] { cluster.rigs[node].recorder.isHome = false }
        try cluster.restart()
        #expect(try #require(cluster.term) >= 3, "the term was opened without it")
        for node in [1, 2] { cluster.rigs[node].recorder.isHome = true }
        let others = try #require(try cluster.publishAll("lobby", from: 1, count: 40).last)
        try cluster.publishAll("own", from: 2, count: 5)
        #expect(others.offset == 60 && others.epoch != tops[0].epoch)
        cluster.frozen = []
        try cluster.run("it has noticed") { !cluster.rigs[0].engine.isAvailable }
        try cluster.runUntilAvailable()
        #expect(try cluster.publishAll("lobby", from: 0) == [StreamPosition(offset: 61, epoch: others.epoch)])
        #expect(try cluster.publishAll("own", from: 0).map(\.offset) == [26])
        // Only this node knows that something is missing here.
        #expect(try cluster.publishAll("quiet", from: 0).map(\.offset) == [21])
        // Nothing is missing here that it knows of; being late, it cannot speak for the others.
        #expect(try cluster.publishAll("calm", from: 0).map(\.offset) == [21])
        for (room, top) in zip(rooms, tops) {
            let standing = try cluster.standing(room, on: 0)
            #expect(standing.position.epoch != top.epoch && standing.former == top, "\(room)")
        }
        try cluster.check()
    }

    @Test("A node dies together with Redis: the lease opens the next term, and the survivors' members go on")
    func diedTogether() throws {
        let cluster = try EngineCluster(3, options: durable, lease: .milliseconds(500))
        try cluster.join("lobby", on: [0, 1, 2])
        let top = try #require(try cluster.publishAll("lobby", from: 0, count: 20).last)
        try cluster.run("received") { (1...2).allSatisfy { cluster.rigs[$0].received.count == 20 } }
        cluster.frozen = [0]
        let began = ContinuousClock.now
        try cluster.restart()
        #expect(ContinuousClock.now - began >= .milliseconds(400), "it was waited for")
        #expect(cluster.term == 3, "those who vouched may have seen less than who is missing")
        try cluster.beat(2)
        for node in [1, 2] {
            let standing = try #require(cluster.rigs[node].recorder.observations.last)
            #expect(standing.position.epoch != top.epoch && standing.continues(top))
            #expect(try cluster.nodes().contains(cluster.name(of: node)))
        }
        #expect(try !cluster.nodes().contains(cluster.name(of: 0)), "it is forgotten")
        #expect(try cluster.publishAll("lobby", from: 1).map(\.offset) == [21])
        try cluster.check()
    }

    @Test("A node that ends in good order is not waited for when Redis begins another life")
    func ended() throws {
        let cluster = try EngineCluster(2, options: durable)
        try cluster.join("lobby", on: [1])
        let top = try #require(try cluster.publishAll("lobby", from: 1, count: 5).last)
        #expect(try cluster.nodes().count == 2)
        cluster.rigs[0].engine.shutdown()
        cluster.turn()
        cluster.frozen = [0]
        #expect(try cluster.nodes() == [cluster.name(of: 1)])
        // The other one learns it with its next beat.
        try cluster.beat(1)
        try cluster.restart()
        #expect(cluster.term == 2)
        #expect(try cluster.publishAll("lobby", from: 1) == [StreamPosition(offset: 6, epoch: top.epoch)])
        try cluster.check()
    }

    @Test("F06: Redis loses everything while it runs: another epoch, and every node is told")
    func emptied() throws {
        let cluster = try EngineCluster(2)
        try cluster.join("lobby", on: [0, 1])
        try cluster.join("quiet", on: [1])
        let rooms = ["lobby", "quiet"]
        let tops = try rooms.map { try #require(try cluster.publishAll($0, from: 0, count: 20).last) }
        try cluster.server.command(["FLUSHALL"])
        let next = try #require(try cluster.publishAll("lobby", from: 0).last)
        #expect(next.offset == 1 && next.epoch != tops[0].epoch)
        try cluster.runUntilAvailable()
        try cluster.run("the term is announced again") { (cluster.term ?? 0) >= 1 }
        try cluster.runUntilAvailable()
        for (room, top) in zip(rooms, tops) {
            let standing = try cluster.standing(room, on: 1)
            #expect(standing.position.epoch != top.epoch && !standing.continues(top))
            try cluster.run("it is told") { cluster.rigs[1].recorder.observations.contains(standing) }
        }
        for room in rooms { try cluster.publishAll(room, from: 1, count: 30) }
        try cluster.check()
    }

    @Test("F15: a master that was a replica meanwhile is another life, though its process and all links are the same")
    func replicaAndBack() throws {
        let cluster = try EngineCluster(2)
        try cluster.join("lobby", on: [0, 1])
        let top = try #require(try cluster.publishAll("lobby", from: 0, count: 5).last)
        let nowhere = try RedisServer.freePort()
        let life = try cluster.server.command(["HGET", "martlet:term", "i"])
        // Nobody looks meanwhile.
        try cluster.server.command(["REPLICAOF", "127.0.0.1", String(nowhere)])
        try cluster.server.command(["REPLICAOF", "NO", "ONE"])
        try cluster.runUntilBack()
        #expect(try cluster.server.command(["HGET", "martlet:term", "i"]) != life && cluster.term == 2)
        let reconnects = cluster.rigs.map { $0.registry.total(.engineReconnects) }
        #expect(reconnects == [2, 2], "what the subscriptions' link still brings belongs to the former life")
        #expect(try cluster.publishAll("lobby", from: 1) == [StreamPosition(offset: 6, epoch: top.epoch)])
        // Somebody looks: refused, nothing is acknowledged.
        try cluster.server.command(["REPLICAOF", "127.0.0.1", String(nowhere)])
        let acknowledged = cluster.rigs[0].recorder.acknowledged.count
        cluster.publish("lobby", from: 0, count: 3)
        try cluster.run("refused") { cluster.rigs.allSatisfy { $0.registry.total(.engineErrors(.readOnly)) > 0 } }
        #expect(cluster.rigs[0].recorder.acknowledged.count == acknowledged)
        try cluster.server.command(["REPLICAOF", "NO", "ONE"])
        try cluster.runUntilBack()
        #expect(cluster.term == 3)
        #expect(try cluster.publishAll("lobby", from: 0) == [StreamPosition(offset: 7, epoch: top.epoch)])
        try cluster.check()
    }

    @Test("The registry is gone, rooms of its later terms are not: a new cluster begins behind them")
    func registryExpired() throws {
        let cluster = try EngineCluster(1, options: durable)
        for _ in 0..<2 { try cluster.restart() }
        let old = try #require(try cluster.publishAll("lobby", from: 0, count: 5).last)
        #expect(cluster.term == 3)
        // All nodes have ended, and a day has passed.
        cluster.rigs[0].engine.shutdown()
        cluster.turn()
        cluster.frozen = [0]
        try cluster.server.command(["DEL", "martlet:term"])
        let rig = try cluster.add()
        try cluster.runUntilAvailable()
        cluster.publish("lobby", from: 1)
        try cluster.run("a publish is acknowledged") {
            try cluster.runUntilAvailable()
            if rig.recorder.acknowledged.isEmpty { cluster.publish("lobby", from: 1) }
            cluster.turn()
            return !rig.recorder.acknowledged.isEmpty
        }
        #expect(try cluster.standing("lobby", on: 1).former == old)
        try cluster.check()
    }

    @Test("Redis takes another replication id under load, having lost nothing: no room gets another epoch")
    func replicationIdChanges() throws {
        let cluster = try EngineCluster(3)
        try cluster.join("lobby", on: [0, 1, 2])
        let first = try #require(try cluster.publishAll("lobby", from: 0).last)
        for _ in 0..<5 {
            try cluster.server.command(["DEBUG", "CHANGE-REPL-ID"])
            for _ in 0..<200 {
                for node in 0..<3 { cluster.publish("lobby", from: node, count: 1) }
                cluster.turn()
            }
            try cluster.runUntilAvailable()
        }
        try cluster.run("all are answered") { cluster.rigs.allSatisfy { $0.recorder.tickets.count >= 1000 } }
        _ = try cluster.publishAll("lobby", from: 1)
        let epochs = Set(cluster.rigs.flatMap(\.recorder.acknowledged).map(\.epoch))
        #expect(epochs == [first.epoch])
        try cluster.check()
    }

    @Test("A node that died before Redis came back with less had acknowledged more than the others know")
    func diedBefore() throws {
        let cluster = try EngineCluster(2, lease: .milliseconds(300))
        try cluster.publishAll("lobby", from: 1, count: 20)
        try cluster.server.command(["SAVE"])
        try cluster.publishAll("lobby", from: 0, count: 30)
        cluster.frozen = [0]
        try cluster.run("its lease is over") { try cluster.nodes().count == 1 }
        try cluster.beat(2)
        try cluster.restart()
        try cluster.publishAll("lobby", from: 1, count: 5)
        try cluster.check()
    }

    @Test("A node that was away during one life of Redis does not vouch for what that life has overtaken")
    func awayForOneLife() throws {
        let cluster = try EngineCluster(3, lease: .milliseconds(500))
        try cluster.join("lobby", on: [0, 2])
        try cluster.publishAll("lobby", from: 0, count: 20)
        try cluster.run("received") { cluster.rigs[2].received.count == 20 }
        try cluster.server.command(["SAVE"])
        cluster.frozen = [2]
        try cluster.server.command(["CLIENT", "KILL", "TYPE", "pubsub"])
        try cluster.publishAll("lobby", from: 0, count: 30)
        // Opened without it, and lost again with all that was said there.
        try cluster.restart()
        let between = try cluster.publishAll("lobby", from: 0, count: 10)
        try cluster.run("served") { cluster.rigs[0].recorder.servedPositions["lobby"] == between.last }
        cluster.rigs[2].recorder.isHome = false
        func fences(_ node: Int) -> UInt64 { cluster.rigs[node].registry.total(.engineCommands(.fence, .ok)) }
        let before = fences(0)
        cluster.frozen = [1, 2]
        cluster.server.end(SIGKILL)
        try cluster.server.start()
        try cluster.run("compared") { fences(0) > before }
        // It comes back in time, since another node is waited for.
        cluster.frozen = [1]
        try cluster.run("compared") { fences(2) > 0 }
        cluster.frozen = []
        try cluster.runUntilAvailable()
        try cluster.publishAll("lobby", from: 1, count: 30)
        try cluster.check()
    }

    @Test("Random faults: no position ever stands for two publications, and every publish is answered once")
    func storm() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("terms storm: seed \(seed)")
        var random = SeededRandom(seed: seed)
        let cluster = try EngineCluster(3, lease: .milliseconds(300))
        let rooms = ["a", "b", "c"]
        for room in rooms {
            try cluster.join(room, on: (0..<3).filter { _ in Bool.random(using: &random) })
        }
        for _ in 0..<40 {
            let node = Int.random(in: 0..<3, using: &random)
            switch UInt8.random(in: 0..<20, using: &random) {
            case 0: try cluster.server.command(["SAVE"])
            case 1...4:
                cluster.server.end(SIGKILL)
                try cluster.server.start()
            case 5, 6: if cluster.frozen.count < 2 { cluster.frozen.insert(node) }
            case 7, 8: cluster.frozen = []
            case 9: try cluster.server.command(["CLIENT", "KILL", "TYPE", "pubsub"])
            case 10: try cluster.server.command(["CLIENT", "KILL", "TYPE", "normal"])
            case 11, 12: try cluster.runUntilAvailable()
            default:
                let room = rooms[Int.random(in: 0..<3, using: &random)]
                let count = Int.random(in: 1..<20, using: &random)
                if !cluster.frozen.contains(node) { cluster.publish(room, from: node, count: count) }
                for _ in 0..<Int.random(in: 0..<50, using: &random) { cluster.turn() }
            }
        }
        cluster.frozen = []
        for _ in 0..<2 {
            try cluster.runUntilAvailable()
            for room in rooms { cluster.publish(room, from: Int.random(in: 0..<3, using: &random), count: 30) }
            try cluster.check()
        }
    }
}
