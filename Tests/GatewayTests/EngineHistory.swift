// What every engine that keeps history must do. The embedded engine does; the one on Redis is not asked to yet. The
// time is the test's own.

import Bytes
import Gateway
import Reactor
import Rooms
import Testing

private final class TestClock {
    var now = MonotonicTime(nanoseconds: 1_000_000_000_000)
}

private func withEngine(_ body: (EngineRig, TestClock) throws -> Void) throws {
    let clock = TestClock()
    let rig = try EngineRig { _ in MemoryEngine(now: { clock.now }, random: SeededRandom(seed: 7)) }
    try body(rig, clock)
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

@Suite("Engines that keep history")
struct EngineHistory {
    @Test("Offsets are contiguous from 1, and subscribers and publishers are told the same position")
    func positions() throws {
        try withEngine { rig, _ in
            try rig.join("lobby", history: kept)
            let epoch = try #require(rig.recorder.subscribedAt.first).epoch
            #expect(rig.recorder.subscribedAt == [StreamPosition(offset: 0, epoch: epoch)])
            #expect(epoch != 0)
            for number in 1...10_000 { rig.publish("lobby", fields(number), history: kept) }
            // Each publication is first received, then answered.
            let expected = (1...10_000).flatMap { number in
                let position = StreamPosition(offset: UInt64(number), epoch: epoch)
                return [position, position]
            }
            #expect(rig.recorder.positions == expected)
            #expect(rig.received == (1...10_000).map { "lobby: \(fields($0))" })
            try rig.join("lobby", history: kept)
            #expect(rig.recorder.subscribedAt.last == StreamPosition(offset: 10_000, epoch: epoch))
        }
    }

    @Test("Rooms have epochs of their own, and a room without history next to them has none")
    func epochs() throws {
        try withEngine { rig, _ in
            for name in ["a", "b"] { try rig.join(name, history: kept) }
            try rig.join("plain")
            let told = rig.recorder.subscribedAt
            #expect(Set(told.map(\.epoch)).count == 3)
            #expect(told.last == StreamPosition.none)
            rig.publish("plain", fields(1))
            #expect(rig.recorder.positions == [.none, .none])
        }
    }

    @Test("Reading forward and in reverse, from anywhere, with and without an end")
    func reading() throws {
        try withEngine { rig, _ in
            for number in 1...14 { rig.publish("lobby", fields(number), history: kept) }
            let top = try #require(rig.recorder.positions.last)
            func at(_ offset: UInt64) -> StreamPosition { StreamPosition(offset: offset, epoch: top.epoch) }
            let cases: [(HistoryQuery, ClosedRange<UInt64>?, RoomStream.Coverage)] = [
                (query(), 5...14, .complete), (query(limit: 0), nil, .complete), (query(limit: 3), 5...7, .complete),
                (query(since: at(8), limit: 3), 9...11, .complete), (query(since: at(14)), nil, .complete),
                (query(since: at(4)), 5...14, .complete), (query(since: at(3)), 5...14, .trimmed),
                (query(since: at(15)), nil, .ahead), (query(.reverse, limit: 3), 12...14, .complete),
                (query(.reverse, since: at(8), limit: 2), 6...7, .complete),
                (query(.reverse, since: at(6)), 5...5, .complete), (query(.reverse, since: at(5)), nil, .complete),
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

    @Test("What is too old is gone; offsets go on")
    func age() throws {
        try withEngine { rig, clock in
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

    @Test("A repeated key is answered with the first position; another sender, room or time is another publication")
    func idempotency() throws {
        try withEngine { rig, clock in
            try rig.join("lobby", history: kept)
            func publish(_ room: String = "lobby", sender: String = "u", key: String = "k") -> StreamPosition? {
                rig.publish(room, fields(1), history: kept, sender: sender, key: key)
                return rig.recorder.positions.last
            }
            let first = publish()
            #expect(publish() == first)
            #expect(rig.received.count == 1)
            #expect(publish(sender: "v")?.offset == 2)
            #expect(publish(sender: "uk", key: "")?.offset == 3, "no key is no key")
            #expect(publish(sender: "uk", key: "")?.offset == 4)
            #expect(publish("other")?.epoch != first?.epoch)
            clock.now = clock.now + .seconds(299)
            #expect(publish() == first)
            clock.now = clock.now + .seconds(1)
            #expect(publish()?.offset == 5, "a key is remembered for five minutes")
            // In a room without history the key works, too: once, and no position.
            try rig.join("plain")
            let before = rig.received.count
            for _ in 0..<3 {
                rig.publish("plain", fields(1), history: nil, sender: "u", key: "k")
                #expect(rig.recorder.positions.last == StreamPosition.none)
            }
            #expect(rig.received.count == before + 1)
        }
    }

    @Test("A room that nobody listens to is forgotten when its past is over, and comes back with another epoch")
    func forgotten() throws {
        try withEngine { rig, clock in
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
