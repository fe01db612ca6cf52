// Members whose connection broke and whose grace runs, in the order in which it ends. One queue for each length of
// grace that rooms have, so that adding and taking cost the same however many there are.
// Owned by the rooms of one loop; bounded by the connections that broke within the longest grace.

import Bytes
import Wire

/// The graces that run.
struct GraceQueue {
    struct Entry {
        /// The room's name.
        let name: Payload
        let client: ClientID
        let until: MonotonicTime
    }

    /// Between two looks at least: graces that end close to each other are dealt with together.
    static let step = Duration.milliseconds(50)

    private struct Line {
        let grace: Duration
        var entries: [Entry] = []
        var first = 0
    }

    private var lines: [Line] = []
    /// The next look is planned.
    var isScheduled = false

    /// Adds an entry whose grace has the length `grace`.
    mutating func add(_ entry: Entry, grace: Duration) {
        if let index = lines.firstIndex(where: { $0.grace == grace }) {
            lines[index].entries.append(entry)
        } else {
            lines.append(Line(grace: grace, entries: [entry]))
        }
    }

    /// When the next grace ends; nil: none runs.
    var next: MonotonicTime? {
        lines.compactMap { $0.first < $0.entries.count ? $0.entries[$0.first].until : nil }.min()
    }

    /// Takes an entry whose grace has ended; nil: there is none.
    mutating func take(now: MonotonicTime) -> Entry? {
        for index in lines.indices {
            let first = lines[index].first
            guard first < lines[index].entries.count, lines[index].entries[first].until <= now else { continue }
            let entry = lines[index].entries[first]
            lines[index].first += 1
            // Taken ones are let go of in bulk.
            if lines[index].first * 2 > lines[index].entries.count {
                lines[index].entries.removeFirst(lines[index].first)
                lines[index].first = 0
            }
            return entry
        }
        return nil
    }
}
