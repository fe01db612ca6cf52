// What happened, in 40 bytes an event, and the ring of the last 65,536 of them: the two seconds around a violation are
// cut out of it. Written by the checker on the driver's loop; bounded by its size.

/// Kinds of events of a run.
package enum RunEventKind: UInt8, Sendable {
    case invoked, acked, refused, unknown, subscribing, subscribed, delivered, recovered, told, closed, fault, violation
    /// Redis came back with an older state of the room.
    case rolledBack
    /// An observer was told that a subscriber joined or left.
    case joined, left
}

/// One event.
package struct RunEvent: Sendable, Equatable {
    /// When, on the monotonic clock.
    package var time: UInt64
    /// What happened.
    package var kind: RunEventKind
    /// The room, or -1 for events that concern all.
    package var room: Int32
    /// Subscriber or publisher.
    package var who: Int32
    /// The room's epoch by its number, or a code.
    package var epoch: Int32
    /// The offset, 0 where there is none.
    package var offset: UInt64
    /// The message, where there is one.
    package var message: MessageID

    /// The event as a line; `origin` is the run's beginning.
    package func line(origin: UInt64) -> String {
        let seconds = Double(Int64(clamping: time) - Int64(clamping: origin)) / 1e9
        let stamp = String(Int64(seconds * 1000))
        var text = "+\(stamp) ms \(kind) room \(room)"
        switch kind {
        case .invoked, .acked, .refused, .unknown: text += " publisher \(message.publisher) #\(message.sequence)"
        case .delivered: text += " to subscriber \(who): publisher \(message.publisher) #\(message.sequence)"
        case .fault, .violation, .rolledBack: break
        default: text += " subscriber \(who)"
        }
        if kind != .fault, offset > 0 || epoch >= 0 { text += " at epoch \(epoch) offset \(offset)" }
        return text
    }
}

/// Names a message: its publisher and its number among that publisher's messages of its room, from 1.
package struct MessageID: Equatable, Hashable, Sendable {
    /// The publisher's number.
    package var publisher: Int
    /// Its message's number in the room.
    package var sequence: Int

    /// Message number `sequence` of `publisher`.
    package init(_ publisher: Int, _ sequence: Int) {
        self.publisher = publisher
        self.sequence = sequence
    }

    /// Both in one word; 0 is no message.
    var word: UInt64 { UInt64(publisher) << 40 | UInt64(sequence) }

    init(word: UInt64) {
        publisher = Int(word >> 40)
        sequence = Int(word & 0xFF_FFFF_FFFF)
    }
}

/// The last events of a run.
struct EventRing {
    static let capacity = 65_536
    private var events: [RunEvent] = []
    private var next = 0

    mutating func append(_ event: RunEvent) {
        if events.count < EventRing.capacity {
            events.append(event)
        } else {
            events[next] = event
        }
        next = (next + 1) & (EventRing.capacity - 1)
    }

    /// Events of `room` (and those that concern all) in `range`, oldest first; at most `limit`, those nearest the
    /// middle.
    func window(room: Int, _ range: ClosedRange<UInt64>, limit: Int) -> [RunEvent] {
        let start = events.count < EventRing.capacity ? 0 : next
        var found: [RunEvent] = []
        for index in 0..<events.count {
            let event = events[(start + index) & (EventRing.capacity - 1)]
            if range.contains(event.time), event.room == Int32(room) || event.room < 0 || room < 0 {
                found.append(event)
            }
        }
        guard found.count > limit else { return found }
        let middle = range.lowerBound / 2 + range.upperBound / 2
        let nearest = found.firstIndex { $0.time >= middle } ?? found.count
        let from = min(max(0, nearest - limit * 3 / 4), found.count - limit)
        return Array(found[from..<from + limit])
    }
}
