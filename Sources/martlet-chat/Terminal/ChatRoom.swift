// One room as the screen remembers it: what was said, what is unread, who was seen. Owned by `ChatModel`.
//
// Bounded: `entriesLimit` lines (the oldest go), `peopleLimit` names (who spoke longest ago goes).

/// One line of a room's timeline, which may take several rows.
package struct TimelineEntry: Equatable, Sendable {
    /// Who or what speaks.
    package enum Kind: Equatable, Sendable {
        /// Somebody said something.
        case message(author: ShownText, isOwn: Bool)
        /// The program or the server tells something.
        case notice
        /// Something went wrong.
        case problem
    }

    /// Counts up within a room and never repeats.
    package let number: Int
    /// When it came.
    package let time: LocalTime
    /// Who or what speaks.
    package let kind: Kind
    /// What is shown.
    package let text: ShownText
}

/// A room's memory.
package struct ChatRoom: Sendable {
    /// Entries that scrollback keeps.
    package static let entriesLimit = 2000
    /// Names that are remembered for completion and for the member list.
    package static let peopleLimit = 500

    /// The name as it goes over the wire.
    package let name: String
    /// The name as it may be shown.
    package let title: ShownText
    /// The timeline, oldest first.
    package private(set) var entries: [TimelineEntry] = []
    /// Messages that came while the room was not on the screen.
    package private(set) var unread = 0
    /// The first entry that was unread when the room was opened; a rule is drawn above it.
    package private(set) var marker: Int?
    /// Whether the server has us in the room now.
    package var isJoined = false
    /// Rows between the view's bottom and the newest row.
    package var scroll = 0
    /// Who was seen, the latest speaker first.
    package private(set) var people: [ShownText] = []
    private var nextNumber = 0

    init(name: String) {
        self.name = name
        title = ShownText(name)
    }

    /// Adds an entry; `isWatched` is whether the user has the room before his eyes.
    mutating func append(_ kind: TimelineEntry.Kind, _ text: ShownText, at time: LocalTime, isWatched: Bool) {
        if case .message(let author, let isOwn) = kind {
            remember(author)
            if !isWatched && !isOwn {
                unread += 1
                if marker == nil { marker = nextNumber }
            }
        }
        entries.append(TimelineEntry(number: nextNumber, time: time, kind: kind, text: text))
        nextNumber += 1
        // Dropping in slices keeps the cost of an append constant in the mean.
        if entries.count > Self.entriesLimit + Self.entriesLimit / 8 {
            entries.removeFirst(entries.count - Self.entriesLimit)
        }
    }

    /// The room is on the screen now; the marker stays until it is left again.
    mutating func open() { unread = 0 }

    /// The room leaves the screen: what came until now is read.
    mutating func close() {
        unread = 0
        marker = nil
    }

    private mutating func remember(_ person: ShownText) {
        if people.first == person { return }
        people.removeAll { $0 == person }
        people.insert(person, at: 0)
        if people.count > Self.peopleLimit { people.removeLast() }
    }
}
