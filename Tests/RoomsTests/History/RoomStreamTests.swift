// A stream in memory against a plain array: numbering, bounds in number, bytes and age, and every way to read it.
// Time is handed in; seeds are printed.

import Bytes
import Testing

@testable import Rooms

@Suite("A room's stream in memory")
struct RoomStreamTests {
    func stream(_ count: Int, entries: Int = 10, bytes: Int = 1 << 20, age: Duration = .seconds(60)) -> RoomStream {
        var stream = RoomStream(epoch: 7, limits: RoomStream.Limits(entries: entries, bytes: bytes, age: age))
        for number in 0..<count {
            #expect(stream.append(payload("m\(number + 1)"), now: second(0)) == UInt64(number + 1))
        }
        return stream
    }

    @Test("recovery is whole at the exact edge of trimming and refused one before it")
    func edge() {
        var stream = stream(25)
        #expect(stream.oldest == 16 && stream.top == 25 && stream.count == 10)
        #expect(stream.read(since: 16, .recover) == (.complete, Array(17...25), (17...25).map { "m\($0)" }))
        #expect(stream.read(since: 15, .recover) == (.complete, Array(16...25), (16...25).map { "m\($0)" }))
        #expect(stream.read(since: 14, .recover) == (.trimmed, [], []))
        #expect(stream.read(since: 25, .recover) == (.complete, [], []))
        #expect(stream.read(since: 26, .recover) == (.ahead, [], []))
        #expect(stream.read(since: .max, .recover) == (.ahead, [], []))
        #expect(stream.read(since: 14).0 == .trimmed && stream.read(since: 14).1 == Array(16...25))
        #expect(stream.read(since: 0, limit: 0) == (.complete, [], []))
    }

    @Test("history in both directions by limit")
    func directions() {
        var stream = stream(10, entries: 100)
        #expect(stream.read(limit: 3).1 == [1, 2, 3])
        #expect(stream.read(since: 8).1 == [9, 10])
        #expect(stream.read(since: 10).1 == [])
        #expect(stream.read(limit: 3, .reverse).1 == [10, 9, 8])
        #expect(stream.read(since: 3, .reverse).1 == [2, 1])
        #expect(stream.read(since: 1, .reverse).1 == [])
        #expect(stream.read(since: 0, .reverse).1 == [])
        #expect(stream.read(since: 99, limit: 2, .reverse).1 == [10, 9])
        #expect(stream.read(since: 5, limit: 4, .recover).0 == .tooMuch)
        #expect(stream.read(since: 6, limit: 4, .recover).1 == [7, 8, 9, 10])
    }

    @Test("bytes cap a reading: the history is cut, a recovery refused")
    func bytes() {
        var stream = stream(9)
        #expect(stream.read(since: 5, maxBytes: 8).1 == [6, 7, 8, 9])
        #expect(stream.read(since: 5, maxBytes: 7).0 == .cut && stream.read(since: 5, maxBytes: 7).1 == [6, 7, 8])
        #expect(stream.read(since: 5, .recover, maxBytes: 8).0 == .complete)
        #expect(stream.read(since: 5, .recover, maxBytes: 7) == (.tooMuch, [], []))
        #expect(stream.read(.reverse, maxBytes: 3).1 == [9])
    }

    @Test("entries go by age exactly at their time")
    func age() {
        var stream = RoomStream(epoch: 7, limits: RoomStream.Limits(entries: 10, bytes: 100, age: .seconds(10)))
        for number in 1...3 { _ = stream.append(payload("m\(number)"), now: second(Double(number))) }
        #expect(stream.read(at: 10.9).1 == [1, 2, 3])
        #expect(stream.read(at: 11).1 == [2, 3])
        #expect(stream.read(since: 1, .recover, at: 11).0 == .complete)
        #expect(stream.read(since: 0, .recover, at: 11).0 == .trimmed)
        #expect(stream.read(at: 100).1 == [] && stream.bytes == 0 && stream.top == 3)
        #expect(stream.read(since: 3, .recover, at: 100).0 == .complete)
        #expect(stream.append(payload("m4"), now: second(100)) == 4)
        #expect(stream.read(at: 100).2 == ["m4"])
    }

    @Test("an entry that is larger than the stream is numbered and not kept")
    func large() {
        var stream = stream(3, bytes: 6)
        #expect(stream.append(payload("seven.."), now: second(0)) == 4)
        #expect(stream.count == 0 && stream.bytes == 0 && stream.oldest == 5)
        #expect(stream.read(since: 3, .recover).0 == .trimmed)
    }

    @Test("as a tail it takes the next entry, ignores known ones and begins anew behind a gap")
    func tail() {
        var stream = RoomStream(
            epoch: 7, top: 40, limits: RoomStream.Limits(entries: 10, bytes: 100, age: .seconds(10)))
        #expect(stream.oldest == 41 && stream.read(since: 40, .recover).0 == .complete)
        stream.append(payload("a"), at: 41, now: second(0))
        stream.append(payload("b"), at: 42, now: second(0))
        stream.append(payload("x"), at: 42, now: second(0))
        #expect(stream.read().2 == ["a", "b"])
        stream.append(payload("d"), at: 44, now: second(0))
        #expect(stream.read() == (.complete, [44], ["d"]))
        stream.append(payload("e"), at: .max, now: second(0))
        #expect(stream.top == 44)
        stream.reset(epoch: 8, top: 3)
        #expect(stream.position == StreamPosition(offset: 3, epoch: 8) && stream.read().1 == [])
    }

    @Test("offsets end below 2^53")
    func exhausted() {
        var stream = RoomStream(
            epoch: 7, top: (1 << 53) - 2, limits: RoomStream.Limits(entries: 10, bytes: 100, age: .seconds(10)))
        #expect(stream.append(payload("a"), now: second(0)) == (1 << 53) - 1)
        #expect(stream.append(payload("b"), now: second(0)) == nil)
        #expect(stream.read().2 == ["a"])
    }

    @Test("at random it always equals a plain list with the same rules", arguments: [1, 2, 3, 4])
    func model(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let limits = RoomStream.Limits(entries: 20, bytes: 200, age: .seconds(30))
        var stream = RoomStream(epoch: 1, limits: limits)
        var model: [(UInt64, String, Double)] = []
        var now = 0.0
        var top: UInt64 = 0
        for step in 0..<4000 {
            if Int.random(in: 0..<3, using: &random) == 0 { now += Double.random(in: 0..<3, using: &random) }
            if Bool.random(using: &random) {
                top += 1
                let body = String(repeating: "x", count: Int.random(in: 0..<30, using: &random)) + "\(top)"
                #expect(stream.append(payload(body), now: second(now)) == top)
                model.append((top, body, now))
            }
            let at = second(now)
            while let oldest = model.first,
                model.count > 20 || model.reduce(0, { $0 + $1.1.utf8.count }) > 200
                    || second(oldest.2) + .seconds(30) <= at
            { model.removeFirst() }
            let since = Bool.random(using: &random) ? nil : UInt64.random(in: 0...(top + 2), using: &random)
            let limit = Int.random(in: 0...25, using: &random)
            let (coverage, offsets, texts) = stream.read(since: since, limit: limit, at: now)
            let first = model.first?.0 ?? top + 1
            if let since, since > top {
                #expect(coverage == .ahead && offsets.isEmpty)
            } else {
                let expected = model.filter { $0.0 > since ?? 0 }.prefix(limit)
                #expect(offsets == expected.map(\.0) && texts == expected.map(\.1), "seed \(seed), step \(step)")
                if limit > 0 { #expect((coverage == .trimmed) == (since.map { $0 + 1 < first } ?? false)) }
            }
            let backwards = stream.read(since: since, limit: limit, .reverse, at: now)
            let expected = model.reversed().filter { $0.0 < since ?? .max }.prefix(limit)
            #expect(backwards.1 == expected.map(\.0), "seed \(seed), step \(step)")
        }
        #expect(top > 1000)
    }
}
