// The books against scripted sequences: what is lost, doubled, late or strange must be counted as exactly that.

import Bytes
import Testing

@testable import LoadCore

@Suite("Every delivery is entered as what it is")
struct LedgerTests {
    /// Feeds `sequences` of one publisher to one subscriber; says what the books hold and what is still missing.
    private func books(_ sequences: [UInt64], published: UInt64) -> (counts: DeliveryCounts, missing: UInt64) {
        var ledger = DeliveryLedger(subscribers: 1, publishers: 1)
        ledger.join(0, room: 0)
        for sequence in sequences {
            ledger.record(Marker(time: 0, room: 0, publisher: 0, sequence: sequence), at: 0)
        }
        return (ledger.counts, ledger.missing(at: 0, publisher: 0, published: published))
    }

    @Test("in order and complete is clean")
    func clean() {
        let (counts, missing) = books([1, 2, 3, 4, 5], published: 5)
        #expect(counts == DeliveryCounts(unique: 5))
        #expect(missing == 0)
    }

    @Test("a hole that stays is lost, at the beginning, in the middle and at the end")
    func lost() {
        #expect(books([2, 3], published: 3).missing == 1)
        #expect(books([1, 4], published: 4).missing == 2)
        #expect(books([1, 2], published: 4).missing == 2)
        #expect(books([], published: 4).missing == 4)
        #expect(books([1, 4], published: 4).counts == DeliveryCounts(unique: 2, gaps: 1))
    }

    @Test("the same number again is a duplicate, at once or much later")
    func doubled() {
        #expect(books([1, 1], published: 1).counts == DeliveryCounts(unique: 1, duplicates: 1))
        #expect(books([1, 2, 3, 1, 3], published: 3).counts == DeliveryCounts(unique: 3, duplicates: 2))
    }

    @Test("a number that comes late is out of order, not lost and not double; the second time it is double")
    func late() {
        let (counts, missing) = books([1, 3, 2, 4, 2], published: 4)
        #expect(counts == DeliveryCounts(unique: 4, duplicates: 1, misordered: 1, gaps: 1))
        #expect(missing == 0)
    }

    @Test("a wide hole is filled number by number, from any side")
    func filling() {
        let (counts, missing) = books([1, 10, 5, 9, 2, 6, 5], published: 10)
        #expect(counts == DeliveryCounts(unique: 6, duplicates: 1, misordered: 4, gaps: 1))
        #expect(missing == 4)
    }

    @Test("a message of another room, of nobody, or without a number is a stranger")
    func strangers() {
        var ledger = DeliveryLedger(subscribers: 2, publishers: 2)
        ledger.join(0, room: 0)
        ledger.join(1, room: 1)
        ledger.record(Marker(time: 0, room: 1, publisher: 0, sequence: 1), at: 0)
        ledger.record(Marker(time: 0, room: 1, publisher: 2, sequence: 1), at: 1)
        ledger.record(Marker(time: 0, room: 1, publisher: 1, sequence: 0), at: 1)
        #expect(ledger.counts == DeliveryCounts(strangers: 3))
        ledger.record(Marker(time: 0, room: 1, publisher: 1, sequence: 1), at: 1)
        #expect(ledger.counts.unique == 1)
    }

    @Test("publishers and subscribers have books of their own")
    func separate() {
        var ledger = DeliveryLedger(subscribers: 2, publishers: 2)
        ledger.join(0, room: 0)
        ledger.join(1, room: 0)
        for (subscriber, publisher) in [(0, 0), (0, 1), (1, 0)] {
            ledger.record(Marker(time: 0, room: 0, publisher: publisher, sequence: 1), at: subscriber)
        }
        #expect(ledger.counts == DeliveryCounts(unique: 3))
        #expect(ledger.missing(at: 1, publisher: 1, published: 1) == 1)
        #expect(ledger.missing(at: 1, publisher: 0, published: 1) == 0)
    }

    @Test("any shuffled, thinned and doubled stream is accounted for to the message")
    func random() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for round in 0..<200 {
            let published = UInt64.random(in: 1...200, using: &random)
            var stream: [UInt64] = []
            for number in 1...published where Int.random(in: 0..<10, using: &random) > 0 {
                stream += repeatElement(number, count: Int.random(in: 0..<12, using: &random) == 0 ? 2 : 1)
            }
            if round.isMultiple(of: 2) { stream.shuffle(using: &random) }
            let (counts, missing) = books(stream, published: published)
            let distinct = UInt64(Set(stream).count)
            #expect(counts.unique == distinct, "seed \(seed)")
            #expect(counts.duplicates == UInt64(stream.count) - distinct, "seed \(seed)")
            #expect(missing == published - distinct, "seed \(seed)")
            #expect(counts.strangers == 0, "seed \(seed)")
        }
    }

    @Test("holes beyond their limit are given up as lost, and memory stays bounded")
    func manyHoles() {
        let holes = UInt64(DeliveryLedger.holeLimit) + 10
        let (counts, missing) = books((1...holes).map { $0 * 2 }, published: holes * 2)
        #expect(counts.unique == holes)
        #expect(counts.gaps == holes)
        #expect(missing == UInt64(DeliveryLedger.holeLimit))
    }
}

@Suite("Marks survive what carries them")
struct MarkerTests {
    private func found(in text: [UInt8]) -> [Marker] {
        var marks: [Marker] = []
        text.withUnsafeBytes { bytes in _ = Marker.forEach(in: bytes) { marks.append($0) } }
        return marks
    }

    private func written(_ marker: Marker) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Marker.length)
        bytes.withUnsafeMutableBytes { raw in if let base = raw.baseAddress { marker.write(to: base) } }
        return bytes
    }

    @Test("a mark is read as it was written, at the bounds of every field")
    func roundTrip() {
        let marks = [
            Marker(time: 0, room: 0, publisher: 0, sequence: 1),
            Marker(
                time: .max, room: Marker.roomLimit - 1, publisher: Marker.publisherLimit - 1, sequence: 0xFF_FFFF_FFFF),
            Marker(time: 123_456_789, room: 42, publisher: 7, sequence: 99),
        ]
        for mark in marks { #expect(found(in: written(mark)) == [mark]) }
    }

    @Test("several marks in one frame are found, between other text and stray signs")
    func several() {
        let one = Marker(time: 1, room: 2, publisher: 3, sequence: 4)
        let two = Marker(time: 5, room: 6, publisher: 7, sequence: 8)
        let text = Array("@@m{\"a\":\"@".utf8) + written(one) + Array("xx@m@".utf8) + written(two) + Array("@m12".utf8)
        #expect(found(in: text) == [one, two])
    }

    @Test("a torn or altered mark is none")
    func torn() {
        let whole = written(Marker(time: 1, room: 2, publisher: 3, sequence: 4))
        for length in 0..<whole.count { #expect(found(in: Array(whole.prefix(length))).isEmpty) }
        for index in whole.indices {
            var bytes = whole
            bytes[index] = UInt8(ascii: "!")
            #expect(found(in: bytes).isEmpty)
        }
    }
}
