// What the home loop keeps of one room with presence: who is on the way in, and joins and leaves that wait to be told.
// Owned by the room's home loop; gone when its last member has left.
//
// Joins and leaves gather for a moment and go out together. A leave and a join of the same one that meet there cancel
// each other out: whoever reloads a page disturbs nobody. Bounded: by the members that a room may have and still tell
// of them, each waiting once, and by `mostWaiting`, beyond which they go out at once.

import Bytes
import Wire

/// Presence of one room, at home.
final class HomePresence {
    /// How long joins and leaves gather: ten times a second is as often as anybody can watch.
    static let gathering = Duration.milliseconds(100)
    /// Joins and leaves that gather at most.
    static let mostWaiting = 4096

    /// A join or leave that waits.
    struct Change {
        let isJoin: Bool
        /// What meets its opposite: the user, or the client's text.
        let key: [UInt8]
        let client: [UInt8]
        let info: Payload
    }

    let options: PresenceOptions
    /// Subscribers who wait for the flow to begin.
    private(set) var waiting: [Attendance] = []
    /// Subscribers about whom the engine was asked.
    private(set) var entering: [Attendance.Comer: Attendance] = [:]
    /// What is to be told, in order; nil where an opposite has met it.
    private var changes: [Change?] = []
    /// The place of each one's change: by user where users join and leave, else by client.
    private var places: [[UInt8]: Int] = [:]
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

    func begin(_ attendance: Attendance) { entering[attendance.comer] = attendance }

    /// Takes the subscriber about whom the engine has answered; nil: it has given up.
    func end(_ ticket: Ticket) -> Attendance? {
        let comer = Attendance.Comer(connection: ticket.connection, loop: Int(ticket.loop))
        guard let attendance = entering[comer], attendance.command == ticket.command else { return nil }
        entering[comer] = nil
        return attendance
    }

    /// Forgets a subscriber who has given up.
    func forget(_ comer: Attendance.Comer) {
        entering[comer] = nil
        if !waiting.isEmpty { waiting.removeAll { $0.comer == comer } }
    }

    /// Takes everybody who is on the way in.
    func takeAll() -> [Attendance] {
        let all = waiting + entering.values
        waiting = []
        entering = [:]
        return all
    }

    // MARK: Joins and leaves

    /// Adds what the engine tells. True: they are to be told at once.
    func add(_ event: MemberEvent) -> Bool {
        let isByUser = options.scope == .user && !event.user.isEmpty
        let key = Array(isByUser ? event.user : event.client)
        if let place = places[key], changes[place]?.isJoin == !event.isJoin {
            changes[place] = nil
            places[key] = nil
            return false
        }
        places[key] = changes.count
        changes.append(
            Change(isJoin: event.isJoin, key: key, client: Array(event.client), info: Payload(copying: event.info)))
        return changes.count >= HomePresence.mostWaiting
    }

    /// Takes what is to be told. A join waits as long as its own member is on the way in, so that it hears it, too.
    func takeChanges() -> [Change] {
        var due: [Change] = []
        var kept: [Change?] = []
        let own = Set(entering.values.compactMap { $0.member?.clientText() })
        for case .some(let change) in changes {
            if change.isJoin, own.contains(change.client) { kept.append(change) } else { due.append(change) }
        }
        changes = kept
        places = [:]
        for (place, change) in kept.enumerated() {
            if let change { places[change.key] = place }
        }
        return due
    }

    /// Whether something waits to be told.
    var hasChanges: Bool { changes.contains { $0 != nil } }
}
