// What every engine must do, whatever is behind it. Each test runs once for each engine.

import Bytes
import Foundation
import Gateway
import Reactor
import Redis
import Rooms
import Testing

/// The engines that stand behind the port.
enum EngineKind: String, CaseIterable, CustomTestStringConvertible {
    case memory, redis

    var testDescription: String { rawValue }

    /// Calls `body` with an available engine of this kind.
    func withEngine(_ body: (EngineRig) throws -> Void) throws {
        switch self {
        case .memory: try body(EngineRig { loop in MemoryEngine(now: { [unowned loop] in loop.now }) })
        case .redis:
            let server = try RedisServer()
            let rig = try redisRig(server.endpoint)
            try rig.runUntilAvailable()
            try body(rig)
        }
    }
}

@Suite(.serialized)
struct EngineConformance {
    @Test("A publication reaches the subscribed room once, unchanged, and is answered", arguments: EngineKind.allCases)
    func publishAndReceive(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            try rig.join("lobby")
            let fields = #""data":{"text":"hé\u0000 \\n \"x\""},"info":{"user":"u"}"#
            rig.publish("lobby", fields, 7)
            try rig.run("answered and received") {
                rig.recorder.events.contains(.published(7, nil)) && !rig.received.isEmpty
            }
            #expect(rig.received == ["lobby: " + fields])
            #expect(rig.recorder.positions == [.none, .none], "a room without history has no position")
        }
    }

    @Test("Publications of one room arrive in the order in which they were published", arguments: EngineKind.allCases)
    func order(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            try rig.join("lobby")
            for number in 0..<1000 { rig.publish("lobby", "\"data\":\(number)", UInt64(number + 1)) }
            try rig.run("all are received") { rig.received.count == 1000 }
            try rig.run("all are answered") { rig.recorder.tickets.count == 1000 }
            #expect(rig.received == (0..<1000).map { "lobby: \"data\":\($0)" })
            #expect(rig.recorder.tickets.map(\.connection) == Array(1...1000))
        }
    }

    @Test("Tickets come back as they were given", arguments: EngineKind.allCases)
    func tickets(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            let tickets = [
                Ticket(connection: 0, command: 0, loop: 0), Ticket(connection: .max, command: .max, loop: .max),
                Ticket(connection: 1 << 63 | 5, command: 1 << 31, loop: 256),
            ]
            for ticket in tickets { rig.publish("lobby", "\"data\":1", ticket) }
            try rig.run("all are answered") { rig.recorder.tickets.count == tickets.count }
            #expect(rig.recorder.tickets == tickets)
        }
    }

    @Test("Subscribing again is answered again and does not double the flow", arguments: EngineKind.allCases)
    func idempotentSubscribe(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            try rig.join("lobby")
            try rig.join("lobby")
            rig.publish("lobby", "\"data\":1")
            rig.publish("lobby", "\"data\":2")
            try rig.run("the second one is received") { rig.received.last == "lobby: \"data\":2" }
            #expect(rig.received.count == 2)
        }
    }

    @Test(
        "After unsubscribe and a later publication elsewhere, nothing more of the room comes",
        arguments: EngineKind.allCases)
    func unsubscribe(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            try rig.join("a")
            try rig.join("b")
            rig.unsubscribe("a")
            rig.unsubscribe("never subscribed")
            rig.publish("b", "\"data\":0")
            try rig.run("what was on its way has come") { !rig.received.isEmpty }
            rig.publish("a", "\"data\":1")
            rig.publish("b", "\"data\":2")
            try rig.run("the marker is received") { rig.received.last == "b: \"data\":2" }
            #expect(!rig.received.contains("a: \"data\":1"))
        }
    }

    @Test("RC-10: subscribe and unsubscribe in quick turns end as asked for last", arguments: EngineKind.allCases)
    func interleavings(_ kind: EngineKind) throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("engine interleavings: seed \(seed)")
        var random = SeededRandom(seed: seed)
        try kind.withEngine { rig in
            var wanted: Set<Int> = []
            for _ in 0..<400 {
                let room = Int.random(in: 0..<6, using: &random)
                switch UInt8.random(in: 0..<4, using: &random) {
                case 0, 1:
                    rig.subscribe("r\(room)")
                    wanted.insert(room)
                case 2:
                    rig.unsubscribe("r\(room)")
                    wanted.remove(room)
                default: rig.loop.turn(wait: false)
                }
            }
            for room in wanted { try rig.join("r\(room)") }
            try rig.join("marker")
            // Two rounds: behind the first marker, every confirmation has been processed.
            for round in 0..<2 {
                let before = rig.received.count
                for room in 0..<6 { rig.publish("r\(room)", "\"data\":\(round)") }
                rig.publish("marker", "\"data\":\(round)")
                try rig.run("the marker is received") { rig.received.last == "marker: \"data\":\(round)" }
                guard round == 1 else { continue }
                #expect(Set(rig.received[before...].dropLast()) == Set(wanted.map { "r\($0): \"data\":1" }))
                #expect(rig.received.count - before == wanted.count + 1)
            }
        }
    }

    @Test(
        "RC-05, RC-07: rooms with hostile names are rooms like any other and do not mix", arguments: EngineKind.allCases
    )
    func hostileNames(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            let names = [
                "a\r\nFLUSHALL\r\n", "%s%s%n", "*", "[a-z]", "{tag}", "tag", "}", "%7Btag%7D", "x:presence", "x", "\0",
                " ", "r\u{301}",
                String(repeating: "n", count: 255),
            ]
            for name in names { try rig.join(name) }
            for (index, name) in names.enumerated() { rig.publish(name, "\"data\":\(index)") }
            try rig.run("all are received") { rig.received.count >= names.count }
            #expect(rig.received == names.enumerated().map { "\($1): \"data\":\($0)" })
        }
    }

    @Test("Publishing to a room that nobody has subscribed succeeds", arguments: EngineKind.allCases)
    func nobodyThere(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            rig.publish("empty", "\"data\":1", 3)
            try rig.run("answered") { rig.recorder.events.contains(.published(3, nil)) }
            #expect(rig.received.isEmpty)
        }
    }

    @Test("Who hears a result may use the engine at once", arguments: EngineKind.allCases)
    func reentrancy(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            var rounds = 0
            rig.recorder.reaction = { [unowned rig] event in
                switch event {
                case .subscribed("ping", nil): rig.publish("ping", "\"data\":0")
                case .received("ping", _) where rounds < 50:
                    rounds += 1
                    // The very room that is being told goes and comes back.
                    rig.unsubscribe("ping")
                    rig.subscribe("other-\(rounds)")
                    rig.subscribe("ping")
                default: break
                }
            }
            rig.subscribe("ping")
            try rig.run("fifty rounds") { rounds == 50 }
            rig.recorder.reaction = nil
            try rig.join("other-50")
        }
    }

    @Test("A large publication arrives whole", arguments: EngineKind.allCases)
    func large(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            try rig.join("lobby")
            let fields = "\"data\":\"\(String(repeating: "x", count: 500_000))\""
            rig.publish("lobby", fields)
            try rig.run("received") { !rig.received.isEmpty }
            #expect(rig.received == ["lobby: " + fields])
        }
    }

    @Test("After shutdown nothing is answered any more", arguments: EngineKind.allCases)
    func shutdown(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            try rig.join("lobby")
            rig.publish("lobby", "\"data\":1")
            try rig.run("received") { !rig.received.isEmpty }
            rig.engine.shutdown()
            let before = rig.recorder.events.count
            rig.publish("lobby", "\"data\":2")
            rig.subscribe("other")
            rig.unsubscribe("lobby")
            for _ in 0..<10 { rig.loop.turn(wait: false) }
            #expect(rig.recorder.events.count == before)
        }
    }
}
