// Entering and leaving rooms across gateways: what a member may count on once it was told that it is in, whatever the
// room is called and whatever happens to the links to Redis meanwhile.

import ClusterSupport
import Foundation
import TestSupport
import Testing

@Suite("Members of two gateways", .ownThread)
struct MembershipTests {
    /// Two gateways with one Redis and a Python process.
    private struct Pair {
        let redis: RedisProcess
        let gateways: [GatewayProcess]
        let python: PythonClients

        init() async throws {
            let redis = try await RedisProcess()
            async let first = GatewayProcess(redis: redis)
            async let second = GatewayProcess(redis: redis)
            async let python = PythonClients()
            self.redis = redis
            gateways = try await [first, second]
            self.python = try await python
        }
    }

    @Test("Whoever was told that it is in a room hears what the other gateway publishes from then on, at every entry")
    func firstMessage() async throws {
        let pair = try await Pair()
        let speaker = try await pair.python.connect("speaker", to: pair.gateways[0])
        let listener = try await pair.python.connect("listener", to: pair.gateways[1])
        // New rooms, and rooms that the gateway has not let go of yet.
        for number in 0..<60 {
            let room = "room \(number % 20)"
            try await listener.subscribe(room)
            #expect(try await speaker.publish("welcome \(number)", in: room) == .done)
            try await listener.hear("welcome \(number)", in: room)
            try await listener.unsubscribe(room)
        }
    }

    @Test("Rooms whose names look like patterns or keys of Redis stay apart, and long messages arrive whole")
    func names() async throws {
        let pair = try await Pair()
        let speaker = try await pair.python.connect("speaker", to: pair.gateways[0])
        let listener = try await pair.python.connect("listener", to: pair.gateways[1])
        let rooms = [
            "{x}", "%7Bx%7D", "}{", "x", "*", "x*", "[x]?", "a b", "ns:x", "\"\\", String(repeating: "r", count: 255),
        ]
        for room in rooms { try await listener.subscribe(room) }
        let long = String(repeating: "0123456789abcdef", count: 3750)
        for room in rooms {
            #expect(try await speaker.publish("to \(room)", in: room) == .done, "\(room)")
            #expect(try await speaker.publish(long, in: room) == .done, "\(room)")
        }
        for room in rooms {
            try await listener.hear(long, in: room)
            #expect(listener.texts(in: room) == ["to \(room)", long], "\(room)")
        }
    }

    @Test(
        "Members that enter and leave while the links to Redis break end up in the rooms that they chose, and no others"
    )
    func brokenLinks() async throws {
        let pair = try await Pair()
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed of the members that enter and leave while links break: \(seed)")
        var random = Generator(state: seed)
        let rooms = ["red", "blue", "green", "grey"]
        var members: [PythonClient] = []
        for number in 0..<6 {
            members.append(try await pair.python.connect("member-\(number)", to: pair.gateways[number % 2]))
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<12 {
                for member in members {
                    let operation = Bool.random(using: &random) ? "subscribe" : "unsubscribe"
                    let room = rooms[Int.random(in: 0..<rooms.count, using: &random)]
                    // An entry that is taken back before it succeeded counts as failed: either is fine here.
                    group.addTask { _ = try await member.ask(operation, ["room": room]) }
                }
                _ = try await eventually("a link to break") {
                    try await pair.redis.endSubscribers() > 0 ? true : nil
                }
            }
            // The last word of each: half of the rooms.
            for (index, member) in members.enumerated() {
                for (number, room) in rooms.enumerated() {
                    let operation = (index + number) % 2 == 0 ? "subscribe" : "unsubscribe"
                    group.addTask { try await member.demand(operation, ["room": room]) }
                }
            }
            try await group.waitForAll()
        }
        for gateway in pair.gateways {
            _ = try await eventually("readiness") { try await gateway.health().isReady ? true : nil }
        }
        let before = members.map { member in rooms.map { member.texts(in: $0).count } }
        let speaker = try await pair.python.connect("speaker", to: pair.gateways[0])
        for room in rooms { #expect(try await speaker.publish("who is here?", in: room) == .done) }
        for (index, member) in members.enumerated() {
            for (number, room) in rooms.enumerated() where (index + number) % 2 == 0 {
                try await member.hear("who is here?", in: room)
            }
            // Whatever else was sent to the member comes before this answer.
            try await member.subscribe("quiet")
            for (number, room) in rooms.enumerated() {
                let heard = member.texts(in: room).count - before[index][number]
                #expect(heard == ((index + number) % 2 == 0 ? 1 : 0), "\(member.name) in \(room)")
            }
            #expect(member.count(of: "connecting") == 1, "\(member.name) stayed connected")
        }
        for member in members { for room in rooms + ["quiet"] { try await member.unsubscribe(room) } }
        _ = try await eventually("an end of all subscriptions in Redis") {
            try await pair.redis.subscribedRooms() == 0 ? true : nil
        }
    }

    /// SplitMix64: numbers that a seed repeats.
    private struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var word = state
            word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
            word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
            return word ^ word >> 31
        }
    }
}
