// Who got what: for every subscriber and every publisher of its room, which numbers have come. The one authority on
// loss, duplicates and order. Fed by the worker on its loop; pure bookkeeping, so the tests feed it scripted sequences.
//
// A delivery in order costs one comparison. Holes are kept as ranges, exactly, and only where there are any; their
// number is bounded by `holeLimit` per pair, above which the oldest is given up as lost for good.

/// What the ledger says of a run so far.
package struct DeliveryCounts: Equatable, Sendable {
    /// Deliveries that count: each number once.
    package var unique: UInt64 = 0
    /// The same number again.
    package var duplicates: UInt64 = 0
    /// A number that came after a later one.
    package var misordered: UInt64 = 0
    /// Marks of another room, or of a publisher that does not exist.
    package var strangers: UInt64 = 0
    /// Holes that opened, whether or not they were filled later.
    package var gaps: UInt64 = 0
}

/// The books of all subscribers of one worker.
package struct DeliveryLedger: ~Copyable {
    /// Holes kept of one pair of subscriber and publisher.
    package static let holeLimit = 4096

    /// Totals over all subscribers.
    package private(set) var counts = DeliveryCounts()
    private let publishers: Int
    private var rooms: [Int]
    /// Highest number seen, by subscriber × publishers + publisher.
    private var highest: [UInt64]
    /// Numbers below `highest` that have not come, in ascending order; only pairs that have any.
    private var holes: [Int: [ClosedRange<UInt64>]] = [:]

    /// Books for `subscribers` subscribers, each in a room with `publishers` publishers.
    package init(subscribers: Int, publishers: Int) {
        precondition(subscribers >= 0 && publishers > 0)
        self.publishers = publishers
        rooms = Array(repeating: -1, count: subscribers)
        highest = Array(repeating: 0, count: subscribers * publishers)
    }

    /// Tells which room a subscriber is in.
    package mutating func join(_ subscriber: Int, room: Int) { rooms[subscriber] = room }

    /// Enters an arrival; true when it is the first of this number.
    @discardableResult
    package mutating func record(_ marker: Marker, at subscriber: Int) -> Bool {
        guard rooms[subscriber] == marker.room, marker.publisher < publishers, marker.sequence > 0 else {
            counts.strangers += 1
            return false
        }
        let pair = subscriber * publishers + marker.publisher
        let expected = highest[pair] + 1
        if marker.sequence == expected {
            highest[pair] = expected
            counts.unique += 1
            return true
        }
        return recordUnexpected(marker.sequence, pair: pair, expected: expected)
    }

    private mutating func recordUnexpected(_ sequence: UInt64, pair: Int, expected: UInt64) -> Bool {
        if sequence > expected {
            holes[pair, default: []].append(expected...(sequence - 1))
            if holes[pair, default: []].count > DeliveryLedger.holeLimit { holes[pair]?.removeFirst() }
            highest[pair] = sequence
            counts.gaps += 1
            counts.unique += 1
            return true
        }
        guard var open = holes[pair], let index = open.firstIndex(where: { $0.contains(sequence) }) else {
            counts.duplicates += 1
            return false
        }
        let hole = open.remove(at: index)
        if sequence < hole.upperBound { open.insert(sequence + 1...hole.upperBound, at: index) }
        if sequence > hole.lowerBound { open.insert(hole.lowerBound...sequence - 1, at: index) }
        holes[pair] = open.isEmpty ? nil : open
        counts.misordered += 1
        counts.unique += 1
        return true
    }

    /// What `subscriber` should have got of `publisher` and has not, when that one has sent `published` messages.
    package func missing(at subscriber: Int, publisher: Int, published: UInt64) -> UInt64 {
        let pair = subscriber * publishers + publisher
        let inside = (holes[pair] ?? []).reduce(0) { $0 + UInt64($1.count) }
        return (published > highest[pair] ? published - highest[pair] : 0) + inside
    }
}
