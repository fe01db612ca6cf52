// What the home loop keeps of one room with presence: who is on the way in, and joins and leaves that wait to be told.
// Owned by the room's home loop; gone when its last member has left.
//
// Joins and leaves gather for a moment and go out together. A leave and a join of the same one that meet there cancel
// each other out: whoever reloads a page disturbs nobody. Unless a list may have shown the first of the two: then both
// are told, since whoever has that list would keep a ghost or miss a member, and to everybody else a second one alone
// would be a second join, or a second leave, of the same.
//
// Bounded by `mostWaiting` changes, beyond which they go out at once; those that met are dropped before there are as
// many of them again.

import Bytes
import Wire

/// Presence of one room, at home.
final class HomePresence {
    /// How long joins and leaves gather: ten times a second is as often as anybody can watch.
    static let gathering = Duration.milliseconds(100)
    /// Joins and leaves that gather at most.
    static let mostWaiting = 4096

    /// How long the engine may take to answer for a list, and its word of a change to arrive after that.
    static let listing = Duration.seconds(1)

    /// A join or leave that waits.
    struct Change {
        let isJoin: Bool
        /// What meets its opposite: the user, or the client's text.
        let key: [UInt8]
        let client: [UInt8]
        let info: Payload
        /// When it came.
        let since: MonotonicTime
    }

    /// A subscriber about whom the engine was asked.
    private struct Entrance {
        let number: UInt32
        let attendance: Attendance
    }

    let options: PresenceOptions
    /// Subscribers who wait for the flow to begin.
    private(set) var waiting: [Attendance] = []
    private var entering: [Attendance.Comer: Entrance] = [:]
    /// What is to be told, in order; nil where an opposite has met it.
    private var changes: [Change?] = []
    /// The place of each one's change: by user where users join and leave, else by client.
    private var places: [[UInt8]: Int] = [:]
    /// Changes that are to be told.
    private var changeCount = 0
    /// When a list was last asked for.
    private var lastListed: MonotonicTime?
    /// The changes are told in a while.
    var isGathering = false

    init(options: PresenceOptions) { self.options = options }

    // MARK: On the way in

    func hold(_ attendance: Attendance) { waiting.append(attendance) }

    /// Takes everybody who waited for the flow.
    func takeWaiting() -> [Attendance] {
        defer { waiting = [] }
        return waiting
    }

    /// The engine is being asked about a subscriber; `entrance` is the question's number, which the answer's ticket has
    /// as its command: a client may give up and ask again under the same id.
    func begin(_ attendance: Attendance, entrance: UInt32) {
        entering[attendance.comer] = Entrance(number: entrance, attendance: attendance)
    }

    /// Takes the subscriber about whom the engine has answered; nil: it has given up.
    func end(_ ticket: Ticket) -> Attendance? {
        let comer = Attendance.Comer(connection: ticket.connection, loop: Int(ticket.loop))
        guard let entrance = entering[comer], entrance.number == ticket.command else { return nil }
        entering[comer] = nil
        return entrance.attendance
    }

    /// Forgets a subscriber who has given up.
    func forget(_ comer: Attendance.Comer) {
        entering[comer] = nil
        if !waiting.isEmpty { waiting.removeAll { $0.comer == comer } }
    }

    /// Takes everybody who is on the way in.
    func takeAll() -> [Attendance] {
        let all = waiting + entering.values.map(\.attendance)
        waiting = []
        entering = [:]
        return all
    }

    // MARK: Joins and leaves

    /// A list of the members is being asked for.
    func noteList(now: MonotonicTime) { lastListed = now }

    /// Adds what the engine tells. True: they are to be told at once.
    func add(_ event: MemberEvent, now: MonotonicTime) -> Bool {
        let isByUser = options.scope == .user && !event.user.isEmpty
        let key = Array(isByUser ? event.user : event.client)
        if let place = places[key], let former = changes[place], former.isJoin != event.isJoin,
            !mayBeListed(former)
        {
            changes[place] = nil
            places[key] = nil
            changeCount -= 1
            return false
        }
        places[key] = changes.count
        changes.append(
            Change(
                isJoin: event.isJoin, key: key, client: Array(event.client), info: Payload(copying: event.info),
                since: now))
        changeCount += 1
        if changes.count >= 2 * HomePresence.mostWaiting { keep(changes.compactMap { $0 }) }
        return changeCount >= HomePresence.mostWaiting
    }

    /// Whether a list may have been made between the change and now.
    private func mayBeListed(_ change: Change) -> Bool {
        lastListed.map { $0 + HomePresence.listing > change.since } ?? false
    }

    /// Takes what is to be told. A join waits as long as its own member is on the way in, or waits `behind` that for
    /// what it has missed: so it hears it, too. Unless too many wait.
    func takeChanges(behind: [Attendance] = []) -> [Change] {
        var due: [Change] = []
        var kept: [Change] = []
        var own: Set<[UInt8]> = []
        if changeCount < HomePresence.mostWaiting {
            own.formUnion(entering.values.compactMap { $0.attendance.member?.clientText() })
            own.formUnion(behind.compactMap { $0.member?.clientText() })
        }
        var held: Set<[UInt8]> = []
        for case .some(let change) in changes {
            // What follows a join that waits, waits as well.
            if change.isJoin && own.contains(change.client) || held.contains(change.key) {
                held.insert(change.key)
                kept.append(change)
            } else {
                due.append(change)
            }
        }
        keep(kept)
        return due
    }

    private func keep(_ kept: [Change]) {
        changes = kept
        changeCount = kept.count
        places = [:]
        for (place, change) in kept.enumerated() { places[change.key] = place }
    }

    /// Whether something waits to be told.
    var hasChanges: Bool { changeCount > 0 }
    /// Places that are taken up, those of changes that met included.
    var storedChanges: Int { changes.count }
}
