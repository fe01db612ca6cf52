// Presence of several nodes on one Redis: nodes die, freeze and come back, Redis goes away and comes back with less.
// What observers were told must fit the lists at every end, and nothing may be left over.

import Bytes
import Foundation
import Gateway
import Reactor
import Redis
import Rooms
import Telemetry
import Testing
import Wire

@Suite(.serialized)
struct RedisPresenceTests {
    /// Nodes with a short lease; node 0 hears all rooms.
    private final class Scene {
        let cluster: EngineCluster
        let options: PresenceOptions
        let rooms: [String]

        init(
            _ nodes: Int, rooms: Int = 1, scope: PresenceOptions.Scope = .client, options redis: [String] = [],
            lease: Duration = .milliseconds(400)
        ) throws {
            cluster = try EngineCluster(nodes, options: redis, lease: lease)
            options = PresenceOptions.told(scope)
            self.rooms = (0..<rooms).map { "room-\($0)" }
            for rig in cluster.rigs { rig.recorder.presence = options }
            for room in self.rooms {
                cluster.rigs[0].subscribe(room)
                try cluster.run("\(room) is followed") { cluster.rigs[0].count { $0 == .subscribed(room, nil) } > 0 }
            }
        }

        func enter(_ room: String, _ numbers: ClosedRange<Int>, on node: Int, user: String = "") throws {
            let rig = cluster.rigs[node]
            for number in numbers {
                rig.askEntry(room, number, user: user.isEmpty ? "user-\(number)" : user, options)
            }
            try cluster.run("they are answered") {
                numbers.allSatisfy { number in rig.entries.contains { $0.0 == number } }
            }
            #expect(rig.entries.allSatisfy { $0.1 == nil })
        }

        /// The list as a node reads it; asked again as long as the store is away.
        func members(_ room: String, on node: Int) throws -> [Int] {
            let rig = cluster.rigs[node]
            let before = rig.recorder.pages.count
            func answers() -> Int { rig.count { if case .membersRead = $0 { true } else { false } } }
            var asked = answers() - 1
            try cluster.run("the list is read") {
                if answers() > asked {
                    asked = answers()
                    if rig.recorder.pages.count == before { rig.askMembers(room, MemberQuery(maxBytes: 1 << 20)) }
                }
                return rig.recorder.pages.count > before
            }
            return try #require(rig.recorder.pages.last).clients
        }

        /// Who is there by what node 0 was told, which must never be a second join or a leave of nobody.
        func view(_ room: String) -> [Int] {
            var view: Set<Int> = []
            for event in cluster.rigs[0].told(room) {
                let number = Int(event.split(separator: " ").last ?? "") ?? -1
                if event.hasPrefix("+") {
                    #expect(view.insert(number).inserted, "\(number) joins once: \(cluster.rigs[0].told(room))")
                } else {
                    #expect(view.remove(number) != nil, "\(number) leaves once: \(cluster.rigs[0].told(room))")
                }
            }
            return view.sorted()
        }

        /// Presence keys of the rooms and lists of nodes' rooms.
        func keys() throws -> [String] {
            try cluster.server.command(["--raw", "KEYS", "*"]).split(separator: "\n").map(String.init).filter {
                $0.contains("}:") || $0.hasSuffix(":rooms")
            }.sorted()
        }

        func expectEveryKeyToExpire() throws {
            for key in try cluster.server.command(["--raw", "KEYS", "*"]).split(separator: "\n").map(String.init) {
                #expect(Int(try cluster.server.command(["PTTL", key])) ?? 0 > 0, "\(key) has a TTL")
            }
        }
    }

    @Test("APP-01: a dead node's members leave once each, on every list, and leave no key behind")
    func deadNode() throws {
        let scene = try Scene(3, rooms: 4)
        for (index, room) in scene.rooms.enumerated() {
            try scene.enter(room, (index * 1000 + 1)...(index * 1000 + 300), on: 2)
            try scene.enter(room, (index * 1000 + 500)...(index * 1000 + 502), on: 1)
        }
        scene.cluster.frozen = [2]
        try scene.cluster.run("all of them have left") {
            scene.rooms.allSatisfy { scene.cluster.rigs[0].told($0).count == 303 + 300 }
        }
        try scene.cluster.run("the reaper is done") {
            scene.cluster.rigs[0...1].reduce(0) { $0 + $1.registry.total(.nodeReaps) } == 1
        }
        try scene.cluster.beat(2)
        for (index, room) in scene.rooms.enumerated() {
            let left = [index * 1000 + 500, index * 1000 + 501, index * 1000 + 502]
            #expect(scene.view(room) == left)
            for node in [0, 1] { #expect(try scene.members(room, on: node) == left) }
        }
        let keys = try scene.keys()
        #expect(keys.filter { $0.hasSuffix(":rooms") }.count == 1, "\(keys)")
        #expect(keys.filter { $0.contains("}:n:") }.count == 4, "\(keys)")
        try scene.expectEveryKeyToExpire()
    }

    @Test("F04: a node that wakes up after it was taken for dead brings its members again, and nothing stale revives")
    func frozenNode() throws {
        for scope in [PresenceOptions.Scope.client, .user] {
            let scene = try Scene(2, scope: scope)
            try scene.enter("room-0", 1...200, on: 1)
            scene.cluster.frozen = [1]
            try scene.cluster.run("they have left") { scene.cluster.rigs[0].told("room-0").count == 400 }
            #expect(try scene.members("room-0", on: 0) == [])
            scene.cluster.frozen = []
            // The first that it does is to let one go: it is not to come back.
            scene.cluster.rigs[1].leave("room-0", 7, scene.options)
            try scene.cluster.run("they are back") { scene.cluster.rigs[0].told("room-0").count >= 599 }
            try scene.cluster.beat(4)
            let expected = (1...200).filter { $0 != 7 }
            #expect(scene.view("room-0") == expected)
            for node in [0, 1] { #expect(try scene.members("room-0", on: node) == expected) }
            for number in expected { scene.cluster.rigs[1].leave("room-0", number, scene.options) }
            try scene.cluster.run("all have left") { scene.view("room-0").isEmpty }
            try scene.cluster.beat(4)
            #expect(try scene.keys() == [], "no key is left")
        }
    }

    @Test("F06: after Redis has lost everything the lists are whole again and nobody is told anything")
    func lostData() throws {
        for loss in ["FLUSHALL", "restart"] {
            let scene = try Scene(2, rooms: 2)
            try scene.enter("room-0", 1...150, on: 1)
            try scene.enter("room-1", 200...210, on: 0)
            try scene.cluster.run("all joins are told") { scene.view("room-0").count == 150 }
            if loss == "restart" {
                scene.cluster.server.end(SIGKILL)
                try scene.cluster.server.start()
            } else {
                try scene.cluster.server.command(["FLUSHALL"])
                // Before anybody has noticed: these stand under names that are given up soon.
                try scene.enter("room-0", 301...310, on: 1)
            }
            let all = Array(1...150) + (loss == "restart" ? [] : Array(301...310))
            try scene.cluster.run("the links are back") { scene.cluster.rigs.allSatisfy { $0.engine.isAvailable } }
            try scene.cluster.run("the lists are whole") {
                let (zero, one) = (try scene.members("room-0", on: 0), try scene.members("room-1", on: 1))
                return zero == all && one == Array(200...210)
            }
            try scene.cluster.beat(12)
            #expect(try scene.members("room-0", on: 0) == all, "\(loss)")
            #expect(scene.cluster.rigs[0].told("room-0").count == all.count, "\(loss): they joined once")
            #expect(scene.view("room-0") == all, "\(loss)")
            let sets = try scene.keys().filter { $0.contains("}:n:") }
            #expect(sets.count == 2, "\(loss): no set of a former incarnation is left: \(sets)")
            // Who leaves now leaves for good.
            for number in all { scene.cluster.rigs[1].leave("room-0", number, scene.options) }
            for number in 200...210 { scene.cluster.rigs[0].leave("room-1", number, scene.options) }
            try scene.cluster.run("all have left") { scene.view("room-0").isEmpty && scene.view("room-1").isEmpty }
            try scene.cluster.beat(4)
            #expect(try scene.keys() == [], "\(loss): no key is left")
        }
    }

    @Test("An old snapshot's members who have left since are not there again")
    func oldSnapshot() throws {
        let scene = try Scene(2)
        try scene.enter("room-0", 1...20, on: 1)
        try scene.cluster.run("all joins are told") { scene.view("room-0").count == 20 }
        try scene.cluster.server.command(["SAVE"])
        for number in 1...10 { scene.cluster.rigs[1].leave("room-0", number, scene.options) }
        try scene.enter("room-0", 21...30, on: 0)
        try scene.cluster.run("they have left") { scene.view("room-0").count == 20 }
        scene.cluster.server.end(SIGKILL)
        try scene.cluster.server.start()
        let expected = Array(11...30)
        try scene.cluster.run("the list is whole") {
            guard scene.cluster.rigs.allSatisfy({ $0.engine.isAvailable }) else { return false }
            return try scene.members("room-0", on: 0) == expected
        }
        try scene.cluster.beat(12)
        #expect(try scene.members("room-0", on: 1) == expected)
        #expect(scene.view("room-0") == expected, "nobody was told of it")
    }

    @Test("An old snapshot's members whose node has nobody left are not there again")
    func oldSnapshotOfAnEmptyNode() throws {
        let scene = try Scene(2)
        try scene.enter("room-0", 1...10, on: 1)
        try scene.enter("room-0", 21...30, on: 0)
        try scene.cluster.run("all joins are told") { scene.view("room-0").count == 20 }
        try scene.cluster.server.command(["SAVE"])
        for number in 1...10 { scene.cluster.rigs[1].leave("room-0", number, scene.options) }
        try scene.cluster.run("they have left") { scene.view("room-0").count == 10 }
        scene.cluster.server.end(SIGKILL)
        try scene.cluster.server.start()
        try scene.cluster.run("the links are back") { scene.cluster.rigs.allSatisfy { $0.engine.isAvailable } }
        try scene.cluster.beat(20)
        #expect(try scene.members("room-0", on: 0) == Array(21...30))
    }

    @Test("The list of a node's rooms has a time to live whenever it is there")
    func listLives() throws {
        let scene = try Scene(1)
        for number in 1...2 {
            try scene.enter("room-0", number...number, on: 0)
            try scene.expectEveryKeyToExpire()
            scene.cluster.rigs[0].leave("room-0", number, scene.options)
            try scene.cluster.run("it has left") { scene.view("room-0").isEmpty }
            try scene.cluster.beat(2)
        }
    }

    @Test("F07: an outage of Redis that is longer than every lease kills nobody")
    func longOutage() throws {
        let scene = try Scene(3)
        for node in 0..<3 { try scene.enter("room-0", (node * 100 + 1)...(node * 100 + 50), on: node) }
        let told = 150
        try scene.cluster.run("all joins are told") { scene.cluster.rigs[0].told("room-0").count == told }
        scene.cluster.server.signal(SIGSTOP)
        let clock = ContinuousClock()
        let until = clock.now + .milliseconds(1200)
        while clock.now < until { scene.cluster.turn() }
        scene.cluster.server.signal(SIGCONT)
        try scene.cluster.run("the links are back") { scene.cluster.rigs.allSatisfy { $0.engine.isAvailable } }
        try scene.cluster.beat(20)
        #expect(scene.cluster.rigs[0].told("room-0").count == told, "nobody left, nobody joined")
        #expect(try scene.members("room-0", on: 0).count == 150)
    }

    @Test("Who enters or leaves while the links break is in the end where it belongs")
    func brokenLinks() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("broken links: seed \(seed)")
        var random = SeededRandom(seed: seed)
        let scene = try Scene(2)
        let rig = scene.cluster.rigs[1]
        var wanted: Set<Int> = []
        var asked: Set<Int> = []
        for round in 0..<12 {
            for _ in 0..<30 {
                let number = Int.random(in: 1...60, using: &random)
                if wanted.contains(number) {
                    wanted.remove(number)
                    rig.leave("room-0", number, scene.options)
                } else if !asked.contains(number) {
                    // Each enters once: what became of an entrance that failed is another test's.
                    asked.insert(number)
                    rig.askEntry("room-0", number, user: "user-\(number)", scene.options)
                    wanted.insert(number)
                }
            }
            if round % 2 == 0 { try scene.cluster.server.command(["CLIENT", "KILL", "TYPE", "normal"]) }
            try scene.cluster.run("they are answered") { Set(rig.entries.map(\.0)) == asked }
            // Whoever was refused is not there; whose outcome was unknown is taken out again.
            for (number, refusal) in rig.entries where refusal != nil { wanted.remove(number) }
            try scene.cluster.run("the links are back") { rig.engine.isAvailable }
        }
        try scene.cluster.beat(4)
        try scene.cluster.run("the list is the truth") { try scene.members("room-0", on: 0) == wanted.sorted() }
        #expect(rig.engine.memberCount == wanted.count)
        try scene.cluster.run("what was told fits the list") { scene.view("room-0") == wanted.sorted() }
        for number in wanted { rig.leave("room-0", number, scene.options) }
        try scene.cluster.run("no key is left") { try scene.keys() == [] }
    }

    @Test("A node that ends in good order leaves its members to the others, who give them their grace")
    func orderlyEnd() throws {
        let scene = try Scene(3)
        try scene.enter("room-0", 1...20, on: 2)
        try scene.enter("room-0", 21...22, on: 1)
        scene.cluster.frozen = [2]
        scene.cluster.rigs[2].engine.shutdown()
        scene.cluster.rigs[2].loop.turn(wait: false)
        try scene.cluster.run("they have left") { scene.view("room-0") == [21, 22] }
        #expect(scene.cluster.rigs[0].told("room-0").count == 22 + 20)
        // One with nobody leaves nothing to do.
        for number in [21, 22] { scene.cluster.rigs[1].leave("room-0", number, scene.options) }
        try scene.cluster.run("all have left") { scene.view("room-0").isEmpty }
        try scene.cluster.beat(3)
        #expect(try scene.keys() == [])
    }

    @Test("F13: a Redis without memory lets nobody in, and whoever leaves meanwhile is gone when there is some again")
    func outOfMemory() throws {
        let scene = try Scene(2)
        let rig = scene.cluster.rigs[1]
        try scene.enter("room-0", 1...5, on: 1)
        try scene.cluster.server.command(["CONFIG", "SET", "maxmemory", "1"])
        rig.askEntry("room-0", 6, user: "x", scene.options)
        try scene.cluster.run("it is answered") { rig.entries.last?.0 == 6 }
        #expect(rig.entries.last?.1 == .engine(.unavailable))
        rig.leave("room-0", 1, scene.options)
        for _ in 0..<20 { scene.cluster.turn() }
        try scene.cluster.server.command(["CONFIG", "SET", "maxmemory", "0"])
        try scene.cluster.run("it has left") { scene.view("room-0") == [2, 3, 4, 5] }
        #expect(try scene.members("room-0", on: 0) == [2, 3, 4, 5])
        #expect(rig.engine.memberCount == 4)
    }

    @Test("F39: what somebody else puts under a room's keys, or into its channel, costs no node anything")
    func poison() throws {
        let scene = try Scene(2)
        let server = scene.cluster.server
        try scene.enter("room-0", 1...3, on: 1)
        try server.command(["HSET", "martlet:{room-0}:p", "x", "nonsense", "y", "node 99999\nshort", "z", ""])
        try server.command(["HSET", "martlet:{room-0}:u", "user-1", "many"])
        try server.command(["SET", "martlet:{room-0}:g", "no hash"])
        for message in [
            "2\n", "2\n+ 1 1\n", "2\n* 1 1 1\nabc", "2\n+ 1 0 2\na{]", "2\n+ 999999999 1 1\nabc", "2\n- 1 0 2\na{}",
        ] { try server.command(["PUBLISH", "martlet:{room-0}", message]) }
        try scene.enter("room-0", 4...4, on: 1)
        #expect(try scene.members("room-0", on: 0) == [1, 2, 3, 4])
        scene.cluster.rigs[1].leave("room-0", 1, scene.options)
        try scene.cluster.run("it has left") {
            scene.cluster.rigs[0].told("room-0").contains { $0.hasSuffix("-user-1 1") }
        }
        for key in ["p", "u", "g"] { try server.command(["SET", "martlet:{room-0}:\(key)", "no hash"]) }
        try scene.enter("room-0", 5...5, on: 1)
        #expect(try scene.members("room-0", on: 0) == [5])
        #expect(scene.cluster.rigs.allSatisfy { $0.engine.isAvailable })
    }

    @Test("100,000 members who do nothing cost the store a beat a second and loop, and every other second an audit")
    func idle() throws {
        // Nobody is taken for dead because the test's one thread serves three nodes.
        let scene = try Scene(3, lease: .seconds(60))
        var options = PresenceOptions.told(upTo: 0)
        options.tellsJoins = false
        let perRoom = 34
        for node in 0..<3 {
            let rig = scene.cluster.rigs[node]
            for room in 0..<1000 {
                rig.subscribe("r\(room)")
                for member in 0..<perRoom {
                    rig.askEntry("r\(room)", (node * 1000 + room) * 100 + member + 1, user: "u", options)
                }
                guard room % 100 == 99 else { continue }
                try scene.cluster.run("they are in") { rig.engine.memberCount == (room + 1) * perRoom && rig.isSettled }
            }
        }
        #expect(scene.cluster.rigs.reduce(0) { $0 + $1.engine.memberCount } == 102_000)
        try scene.cluster.beat(4)
        let server = scene.cluster.server
        /// Commands that clients have issued: a script's own calls are none, and scripts call no scripts.
        func calls() throws -> [String: Int] {
            var calls: [String: Int] = [:]
            for line in try server.command(["INFO", "commandstats"]).split(whereSeparator: \.isNewline) {
                let parts = line.split(whereSeparator: { ":=,".contains($0) })
                guard parts.count > 2, parts[0].hasPrefix("cmdstat_") else { continue }
                calls[String(parts[0].dropFirst(8))] = Int(parts[2])
            }
            return calls
        }
        func beats() -> Int {
            scene.cluster.rigs.reduce(0) { $0 + Int($1.registry.total(.engineCommands(.beat, .ok))) }
        }
        let (callsBefore, beatsBefore) = (try calls(), beats())
        try scene.cluster.beat(60)
        let (callsAfter, beatsAfter) = (try calls(), beats())
        let scripts = (callsAfter["evalsha"] ?? 0) - (callsBefore["evalsha"] ?? 0)
        let beaten = beatsAfter - beatsBefore
        #expect(beaten >= 180)
        #expect(scripts <= beaten * 3 / 2 + 12, "\(scripts) scripts for \(beaten) beats")
        for command in ["sadd", "srem", "sscan", "subscribe", "eval"] {
            #expect(callsAfter[command] == callsBefore[command], "\(command)")
        }
        print("idle: \(scripts) scripts for \(beaten) beats of three engines with 102,000 members")
    }
}

extension EngineRig {
    /// Whether everybody who asked has been answered.
    var isSettled: Bool {
        recorder.events.count(where: { if case .entered = $0 { true } else { false } }) == engine.memberCount
    }
}
