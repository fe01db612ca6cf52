// What every engine that keeps history must do, whatever is behind it. The embedded engine's time is the test's own;
// Redis' is its own, so what depends on time is waited for there, with short ages.

import Bytes
import Gateway
import Reactor
import Rooms
import Testing

private final class TestClock {
    var now = MonotonicTime(nanoseconds: 1_000_000_000_000)
}

private func withEmbedded(_ body: (EngineRig, TestClock) throws -> Void) throws {
    let clock = TestClock()
    let rig = try EngineRig { _ in MemoryEngine(now: { clock.now }, random: SeededRandom(seed: 7)) }
    try body(rig, clock)
}

extension EngineRig {
    /// Publishes to a room with history, one publication after the other, and waits until all are answered.
    fileprivate func publishAll(_ room: String, _ numbers: ClosedRange<Int>, _ history: HistoryOptions) throws {
        let before = recorder.tickets.count
        for number in numbers { publish(room, fields(number), history: history) }
        try run("all are answered") { recorder.tickets.count == before + numbers.count }
    }
}

private let kept = HistoryOptions(size: 10, age: .seconds(60))

private func query(
    _ direction: RoomStream.Direction = .forward, since: StreamPosition? = nil, limit: Int = 300,
    maxBytes: Int = 1 << 20
) -> HistoryQuery { HistoryQuery(direction: direction, since: since, limit: limit, maxBytes: maxBytes) }

private func texts(_ answer: HistoryAnswer) -> [String] {
    answer.entries.map { String(decoding: $0.bytes, as: UTF8.self) }
}

private func offsets(_ answer: HistoryAnswer) -> [UInt64] { answer.entries.indices.map { answer.offset(at: $0) } }

private func fields(_ number: Int) -> String { "\"data\":\(number)" }

@Suite("Engines that keep history", .serialized)
struct EngineHistory {
    @Test(
        "Offsets are contiguous from 1, and subscribers and publishers are told the same position",
        arguments: EngineKind.allCases)
    func positions(_ kind: EngineKind) throws {
        let count = kind == .memory ? 10_000 : 2000
        try kind.withEngine { rig in
            try rig.join("lobby", history: kept)
            let epoch = try #require(rig.recorder.subscribedAt.first).epoch
            #expect(rig.recorder.subscribedAt == [StreamPosition(offset: 0, epoch: epoch)])
            #expect(epoch != 0)
            try rig.publishAll("lobby", 1...count, kept)
            try rig.run("all are received") { rig.received.count == count }
            let expected = (1...count).map { StreamPosition(offset: UInt64($0), epoch: epoch) }
            #expect(rig.recorder.acknowledged == expected)
            #expect(rig.recorder.receivedAt == expected)
            #expect(rig.received == (1...count).map { "lobby: \(fields($0))" })
            try rig.join("lobby", history: kept)
            #expect(rig.recorder.subscribedAt.last == StreamPosition(offset: UInt64(count), epoch: epoch))
        }
    }

    @Test("The embedded engine's subscribers hear a publication before its publisher is answered")
    func heardFirst() throws {
        try withEmbedded { rig, _ in
            try rig.join("lobby", history: kept)
            for number in 1...3 { rig.publish("lobby", fields(number), history: kept) }
            #expect(rig.recorder.positions.map(\.offset) == [1, 1, 2, 2, 3, 3])
        }
    }

    @Test(
        "Rooms have epochs of their own, and a room without history next to them has none",
        arguments: EngineKind.allCases)
    func epochs(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            for name in ["a", "b"] { try rig.join(name, history: kept) }
            try rig.join("plain")
            let told = rig.recorder.subscribedAt
            #expect(Set(told.map(\.epoch)).count == 3)
            #expect(told.last == StreamPosition.none)
            rig.publish("plain", fields(1))
            try rig.run("answered and received") { rig.recorder.positions.count == 2 }
            #expect(rig.recorder.positions == [.none, .none])
        }
    }

    @Test(
        "Reading forward and in reverse, from anywhere, with and without an end", arguments: EngineKind.allCases)
    func reading(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            try rig.publishAll("lobby", 1...14, kept)
            let top = try #require(rig.recorder.positions.last)
            func at(_ offset: UInt64) -> StreamPosition { StreamPosition(offset: offset, epoch: top.epoch) }
            let cases: [(HistoryQuery, ClosedRange<UInt64>?, RoomStream.Coverage)] = [
                (query(), 5...14, .complete), (query(limit: 0), nil, .complete), (query(limit: 3), 5...7, .complete),
                (query(since: at(8), limit: 3), 9...11, .complete), (query(since: at(14)), nil, .complete),
                (query(since: at(4)), 5...14, .complete), (query(since: at(3)), 5...14, .trimmed),
                (query(since: at(15)), nil, .ahead), (query(.reverse, limit: 3), 12...14, .complete),
                (query(.reverse, since: at(8), limit: 2), 6...7, .complete),
                (query(.reverse, since: at(6)), 5...5, .complete), (query(.reverse, since: at(5)), nil, .complete),
                (query(.reverse, since: at(0)), nil, .complete),
                (query(.recover, since: at(4)), 5...14, .complete), (query(.recover, since: at(3)), nil, .trimmed),
                (query(.recover, since: at(14)), nil, .complete), (query(.recover, since: at(15)), nil, .ahead),
                (query(.recover, since: at(4), limit: 9), nil, .tooMuch),
                (query(.recover, since: at(4), limit: 10), 5...14, .complete),
                (query(.recover, since: at(12), maxBytes: 2 * fields(14).utf8.count), 13...14, .complete),
                (query(.recover, since: at(12), maxBytes: 2 * fields(14).utf8.count - 1), nil, .tooMuch),
                (query(limit: 4, maxBytes: fields(5).utf8.count), 5...5, .cut),
            ]
            for (query, range, coverage) in cases {
                let answer = try rig.read("lobby", kept, query)
                var expected = range.map(Array.init) ?? []
                if query.direction == .reverse { expected.reverse() }
                #expect(offsets(answer) == expected, "\(query)")
                #expect(texts(answer) == expected.map { fields(Int($0)) }, "\(query)")
                #expect(answer.coverage == coverage && answer.position == top && answer.isContinuous, "\(query)")
            }
            for epoch in [0, top.epoch ^ 2, .max] {
                for direction in [RoomStream.Direction.forward, .reverse, .recover] {
                    let since = StreamPosition(offset: 8, epoch: epoch)
                    let answer = try rig.read("lobby", kept, query(direction, since: since))
                    #expect(!answer.isContinuous && answer.entries.isEmpty && answer.position == top)
                }
            }
        }
    }

    @Test("A room that was read before it was published to has an epoch, and keeps it", arguments: EngineKind.allCases)
    func readFirst(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            let empty = try rig.read("lobby", kept, query())
            #expect(empty.position.offset == 0 && empty.position.epoch != 0)
            #expect(empty.entries.isEmpty && empty.coverage == .complete && empty.standing.former == nil)
            try rig.join("lobby", history: kept)
            #expect(rig.recorder.subscribedAt.last == empty.position)
            try rig.publishAll("lobby", 1...1, kept)
            #expect(rig.recorder.acknowledged == [StreamPosition(offset: 1, epoch: empty.position.epoch)])
            let answer = try rig.read("lobby", kept, query(.recover, since: empty.position))
            #expect(offsets(answer) == [1] && answer.coverage == .complete && answer.isContinuous)
        }
    }

    @Test("What is too old is gone; offsets go on")
    func age() throws {
        try withEmbedded { rig, clock in
            rig.publish("lobby", fields(1), history: kept)
            clock.now = clock.now + .seconds(59)
            rig.publish("lobby", fields(2), history: kept)
            #expect(offsets(try rig.read("lobby", kept, query())) == [1, 2])
            clock.now = clock.now + .seconds(1)
            #expect(offsets(try rig.read("lobby", kept, query())) == [2])
            clock.now = clock.now + .seconds(59)
            let top = try #require(rig.recorder.positions.last)
            let answer = try rig.read("lobby", kept, query(.recover, since: top))
            #expect(answer.coverage == .complete && answer.position == top, "who has seen everything has lost nothing")
            rig.publish("lobby", fields(3), history: kept)
            #expect(rig.recorder.positions.last == StreamPosition(offset: 3, epoch: top.epoch))
        }
    }

    @Test("On Redis, too, the oldest go first, and offsets go on when all are gone")
    func ageOnRedis() throws {
        try EngineKind.redis.withEngine { rig in
            let brief = HistoryOptions(size: 10, age: .milliseconds(400))
            try rig.publishAll("lobby", 1...1, brief)
            // So that the second one is younger by half an age.
            var isHalfOver = false
            rig.loop.schedule(after: .milliseconds(200)) { isHalfOver = true }
            try rig.run("half an age has passed") { isHalfOver }
            try rig.publishAll("lobby", 2...2, brief)
            let top = try #require(rig.recorder.acknowledged.last)
            var seen: [[UInt64]] = []
            try rig.run("all are gone") {
                let answer = try rig.read("lobby", brief, query())
                #expect(answer.position == top)
                if seen.last != offsets(answer) { seen.append(offsets(answer)) }
                return answer.entries.isEmpty
            }
            // A machine that is busy may miss a state, never see another one.
            let states: [[UInt64]] = [[1, 2], [2], []]
            #expect(seen == states.filter(seen.contains), "\(seen)")
            let answer = try rig.read("lobby", brief, query(.recover, since: top))
            #expect(answer.coverage == .complete && answer.position == top, "who has seen everything has lost nothing")
            let first = StreamPosition(offset: 1, epoch: top.epoch)
            #expect(try rig.read("lobby", brief, query(.recover, since: first)).coverage == .trimmed)
            try rig.publishAll("lobby", 3...3, brief)
            #expect(rig.recorder.acknowledged.last == StreamPosition(offset: 3, epoch: top.epoch))
        }
    }

    @Test(
        "A repeated key is answered with the first position; another sender or room is another publication",
        arguments: EngineKind.allCases)
    func idempotency(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            try rig.join("lobby", history: kept)
            func publish(
                _ room: String = "lobby", history: HistoryOptions? = kept, sender: String = "u", key: String = "k"
            ) throws -> StreamPosition? {
                let before = rig.recorder.tickets.count
                rig.publish(room, fields(1), history: history, sender: sender, key: key)
                try rig.run("answered") { rig.recorder.tickets.count > before }
                return rig.recorder.acknowledged.last
            }
            let first = try publish()
            #expect(first?.offset == 1)
            #expect(try publish() == first)
            #expect(try publish(sender: "v")?.offset == 2)
            #expect(try publish(sender: "uk", key: "")?.offset == 3, "no key is no key")
            #expect(try publish(sender: "uk", key: "")?.offset == 4)
            #expect(try publish("other")?.epoch != first?.epoch)
            #expect(try publish() == first)
            try rig.run("received") { rig.received.count == 4 }
            // In a room without history the key works, too: once, and no position.
            try rig.join("plain")
            for _ in 0..<3 { #expect(try publish("plain", history: nil) == StreamPosition.none) }
            #expect(try publish("plain", history: nil, sender: "v") == StreamPosition.none)
            try rig.run("received") { rig.received.count == 6 }
            #expect(rig.recorder.acknowledged.count == rig.recorder.tickets.count)
        }
    }

    @Test("A key is remembered for five minutes")
    func keysAge() throws {
        try withEmbedded { rig, clock in
            func publish() -> StreamPosition? {
                rig.publish("lobby", fields(1), history: kept, sender: "u", key: "k")
                return rig.recorder.acknowledged.last
            }
            let first = publish()
            clock.now = clock.now + .seconds(299)
            #expect(publish() == first)
            clock.now = clock.now + .seconds(1)
            #expect(publish()?.offset == 2)
        }
    }

    @Test("A room that nobody listens to is forgotten when its past is over, and comes back with another epoch")
    func forgotten() throws {
        try withEmbedded { rig, clock in
            try rig.join("lobby", history: kept)
            rig.publish("lobby", fields(1), history: kept)
            let old = try #require(rig.recorder.positions.last)
            func pass(_ duration: Duration) {
                clock.now = clock.now + duration
                for _ in 0..<2048 { rig.publish("busy", fields(0), history: nil) }
            }
            pass(.seconds(3600))
            #expect(try rig.read("lobby", kept, query(limit: 0)).position == old, "somebody listens")
            clock.now = clock.now + .seconds(3600)
            rig.unsubscribe("lobby")
            pass(.seconds(59))
            #expect(try rig.read("lobby", kept, query(limit: 0)).position == old, "its members may come back")
            pass(.seconds(60))
            let new = try rig.read("lobby", kept, query(limit: 0)).position
            #expect(new.offset == 0 && new.epoch != old.epoch && new.epoch != 0)
            rig.publish("lobby", fields(2), history: kept)
            #expect(rig.recorder.positions.last == StreamPosition(offset: 1, epoch: new.epoch))
            #expect(try !rig.read("lobby", kept, query(since: old)).isContinuous)
        }
    }
}
