// One room as the screen remembers it: what was said, what is unread, who was seen, who is there, what waits to be
// sent. Owned by `ChatModel`.
//
// Bounded: `entriesLimit` lines (the oldest go), `peopleLimit` names (who spoke longest ago goes), `waitingLimit`
// unanswered messages (the screen takes no more); the roster has its own bounds.

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
        /// People came or went.
        case traffic
    }

    /// Counts up within a room and never repeats.
    package let number: Int
    /// When it came.
    package let time: LocalTime
    /// Who or what speaks.
    package let kind: Kind
    /// What is shown.
    package fileprivate(set) var text: ShownText
}

/// A room's memory.
package struct ChatRoom: Sendable {
    /// Entries that scrollback keeps.
    package static let entriesLimit = 2000
    /// Names that are remembered for completion and for the member list.
    package static let peopleLimit = 500
    /// Messages that are sent, or to be sent, and not answered.
    package static let waitingLimit = 20

    /// A message without an answer.
    package struct Outgoing: Equatable, Sendable {
        let number: Int
        let text: ShownText
    }

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
    /// Who is there.
    package private(set) var roster = MemberRoster()
    /// Messages without an answer, in the order of sending.
    package private(set) var outgoing: [Outgoing] = []
    /// Until when the server takes no more, in milliseconds; nil when nothing is known of a limit.
    package private(set) var limitedUntil: Int64?
    private var fold: TrafficFold?
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

    /// The names that Tab knows here: who spoke, the latest first, then who is there.
    package var names: [String] {
        let spoke = people.map(\.string)
        let known = Set(spoke)
        return spoke + roster.entries.map(\.name.string).filter { !known.contains($0) }
    }

    // MARK: Members

    /// Changes the roster.
    mutating func withRoster<Result>(_ body: (inout MemberRoster) -> Result) -> Result { body(&roster) }

    /// Somebody came or went: a line of its own, or more in the last line while that is fresh.
    mutating func traffic(_ name: ShownText, joins: Bool, at time: LocalTime, _ now: Int64) {
        let isOngoing = entries.last?.kind == .traffic && fold?.isOpen(at: now) == true
        var fold = isOngoing ? self.fold ?? TrafficFold(begin: now) : TrafficFold(begin: now)
        if joins { fold.join(name) } else { fold.leave(name) }
        self.fold = fold
        if !isOngoing {
            append(.traffic, fold.text, at: time, isWatched: true)
        } else if fold.isEmpty {
            entries.removeLast()
        } else {
            entries[entries.count - 1].text = fold.text
        }
    }

    // MARK: Sending

    /// A message is on its way.
    mutating func sends(_ number: Int, _ text: ShownText) {
        outgoing.append(Outgoing(number: number, text: text))
    }

    /// Message `number` has its answer; `isTaken` by the server, which then is not limited any more.
    mutating func answered(_ number: Int, isTaken: Bool) {
        outgoing.removeAll { $0.number == number }
        if isTaken { limitedUntil = nil }
    }

    /// The server takes no more until then.
    mutating func limit(until: Int64) { limitedUntil = until }

    /// Seconds until the server takes more, rounded up; nil when it does.
    package func limitSeconds(at now: Int64) -> Int64? {
        guard let limitedUntil, limitedUntil > now else { return nil }
        return Milliseconds.seconds(limitedUntil - now)
    }

    private mutating func remember(_ person: ShownText) {
        if people.first == person { return }
        people.removeAll { $0 == person }
        people.insert(person, at: 0)
        if people.count > Self.peopleLimit { people.removeLast() }
    }
}
