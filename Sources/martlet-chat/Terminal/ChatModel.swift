// Everything that the full screen shows, without knowing how it is drawn: rooms, connection, latency. The screen
// session feeds it events and the user's actions; the layout reads it. No I/O and no clock.
//
// Bounded by `roomsLimit`; a room beyond it is not opened and the user is told.

/// The state behind the screen.
package struct ChatModel: Sendable {
    /// Rooms that can be open at once; the server's own default limit is the same.
    package static let roomsLimit = 128

    /// How the connection is.
    package enum Connection: Equatable, Sendable {
        case connecting
        case connected
        /// Waiting before the next attempt.
        case waiting(milliseconds: Int64)
        /// Closed for good.
        case closed
    }

    /// Open rooms in the order of their tabs.
    package private(set) var rooms: [ChatRoom] = []
    /// Index of the room on the screen.
    package private(set) var active = 0
    /// The connection's state.
    package private(set) var connection = Connection.connecting
    /// The last measured way to the server and back.
    package private(set) var latency: Double?
    /// Whether the list of members is wanted beside the messages.
    package private(set) var showsMembers = true
    /// The time, in milliseconds since some start; the shell moves it.
    package private(set) var now: Int64 = 0
    /// What we are called.
    package let user: ShownText
    private var ownClient = ""
    /// What is told while no room is open.
    private var console = ChatRoom(name: "")

    /// A model for `user`, whose rooms open as they are joined.
    package init(user: String) { self.user = ShownText(user) }

    /// The room on the screen; nil while none is open.
    package var current: ChatRoom? { rooms.indices.contains(active) ? rooms[active] : nil }

    /// What is on the screen: the current room, or the program's own remarks while there is none.
    package var shown: ChatRoom { current ?? console }

    /// Changes what is on the screen.
    package mutating func withShown(_ body: (inout ChatRoom) -> Void) {
        if rooms.indices.contains(active) { body(&rooms[active]) } else { body(&console) }
    }

    /// Opens a room's tab (if it has none) and shows it; false when too many are open.
    package mutating func open(_ name: String) -> Bool {
        if let index = index(of: name) {
            show(index)
            return true
        }
        guard rooms.count < Self.roomsLimit else { return false }
        rooms.append(ChatRoom(name: name))
        show(rooms.count - 1)
        return true
    }

    /// Shows the room at `index`, if there is one.
    package mutating func show(_ index: Int) {
        guard rooms.indices.contains(index), index != active || rooms.count == 1 else { return }
        if index != active { withShown { $0.close() } }
        active = index
        rooms[index].open()
    }

    /// Closes a room's tab.
    package mutating func forget(_ name: String) {
        guard let index = index(of: name) else { return }
        rooms.remove(at: index)
        if active > index || active == rooms.count { active = max(active - 1, 0) }
        withShown { $0.open() }
    }

    /// The place of a room's tab.
    package func index(of name: String) -> Int? { rooms.firstIndex { $0.name == name } }

    /// It is later now.
    package mutating func advance(to milliseconds: Int64) { now = max(now, milliseconds) }

    /// Shows the list of members, or hides it.
    package mutating func toggleMembers() { showsMembers.toggle() }

    /// Takes note of an event that came at `time`.
    package mutating func receive(_ event: ChatEvent, at time: LocalTime) {
        switch event {
        case .connecting: connection = .connecting
        case .connected(let client, _):
            connection = .connected
            ownClient = client
        case .joined(let room, let continuity, _): joined(room, continuity, time)
        case .left(let room, let code, let reason): left(room, code, reason, time)
        case .message(let message): said(message, time)
        case .memberJoined(let room, let member): came(member, room, time)
        case .memberLeft(let room, let member): went(member, room, time)
        case .members(let room, let members):
            if let place = index(of: room) { _ = rooms[place].withRoster { $0.take(.list(members), at: now) } }
            tell(.notice, ShownText(members.sentence(in: room, limit: 50)), in: active, time)
        case .published(let room, let number, _): answered(room, number, isTaken: true)
        case .dropped(let room, let number): answered(room, number, isTaken: false)
        case .limited(let room, _, let wait, let waits): limited(room, wait, waits, time)
        case .failed(let command, let room, let number, let code, let reason):
            if let number { answered(room, number, isTaken: false) }
            let place = index(of: room) ?? active
            tell(.problem, ShownText("\(command): \(reason) (\(code))"), in: place, time)
        case .latency(let milliseconds): latency = milliseconds
        case .disconnected(let code, let reason, let retry): disconnected(code, reason, retry, time)
        case .note(let text): tell(.notice, ShownText(text), in: active, time)
        }
    }

    private mutating func joined(_ room: String, _ continuity: Continuity, _ time: LocalTime) {
        guard let place = index(of: room) else { return }
        let isReturn = rooms[place].entries.contains { if case .message = $0.kind { true } else { false } }
        rooms[place].isJoined = true
        rooms[place].withRoster { $0.restart() }
        if let remark = continuity.remark {
            tell(continuity == .lost ? .problem : .notice, ShownText("back; \(remark)"), in: place, time)
        } else {
            tell(.notice, ShownText(isReturn ? "back in \(room)" : "you are in \(room)"), in: place, time)
        }
    }

    private mutating func left(_ room: String, _ code: UInt32, _ reason: String, _ time: LocalTime) {
        guard let place = index(of: room) else { return }
        rooms[place].isJoined = false
        if code != 0 { tell(.problem, ShownText("removed from \(room): \(reason) (\(code))"), in: place, time) }
    }

    // MARK: Members

    private mutating func came(_ member: ChatMember, _ room: String, _ time: LocalTime) {
        guard let place = index(of: room) else { return }
        let isNew = rooms[place].withRoster { $0.joined(member) }
        guard isNew, member.client != ownClient else { return }
        rooms[place].traffic(ShownText(member.name), joins: true, at: time, now)
    }

    private mutating func went(_ member: ChatMember, _ room: String, _ time: LocalTime) {
        guard let place = index(of: room), member.client != ownClient else { return }
        guard rooms[place].withRoster({ $0.left(member) }) else { return }
        rooms[place].traffic(ShownText(member.name), joins: false, at: time, now)
    }

    /// The answer to the question that the panel had.
    mutating func take(_ answer: RosterAnswer, of room: String, at time: LocalTime) {
        guard let place = index(of: room), let gone = rooms[place].withRoster({ $0.take(answer, at: now) }) else {
            return
        }
        rooms[place].traffic(gone, joins: false, at: time, now)
    }

    /// Whether the list of the room on the screen is to be fetched now; it counts as being fetched then.
    mutating func beginRoster() -> String? {
        guard connection == .connected, let current, current.isJoined, current.roster.isDue(at: now) else { return nil }
        rooms[active].withRoster { $0.begin() }
        return current.name
    }

    // MARK: Sending

    /// Takes note of a message that is on its way; false when too many are.
    mutating func sends(_ text: String, in room: String, number: Int) {
        if let place = index(of: room) { rooms[place].sends(number, ShownText(text)) }
    }

    private mutating func answered(_ room: String, _ number: Int, isTaken: Bool) {
        if let place = index(of: room) { rooms[place].answered(number, isTaken: isTaken) }
    }

    private mutating func limited(_ room: String, _ wait: Int64, _ waits: Bool, _ time: LocalTime) {
        guard let place = index(of: room) else {
            let what = waits ? "it is sent then" : "it is not sent"
            return tell(
                .problem, ShownText("slow mode in \(room): \(Milliseconds.seconds(wait)) s; \(what)"), in: active, time
            )
        }
        let (until, over) = now.addingReportingOverflow(max(wait, 0))
        rooms[place].limit(until: over ? .max : until)
    }

    /// Whether messages of the room on the screen wait, rather than being on their way.
    package var isWaiting: Bool {
        !shown.outgoing.isEmpty && (shown.limitedUntil != nil || connection != .connected)
    }

    /// When the screen looks different, or has something to do, just because time passes.
    package var nextTick: Int64? {
        guard let current else { return nil }
        var next: Int64?
        if let seconds = current.limitSeconds(at: now), let until = current.limitedUntil {
            next = until - (seconds - 1) * 1000
        }
        if showsMembers, current.isJoined, connection == .connected, let due = current.roster.due, due > now {
            next = min(next ?? due, due)
        }
        return next
    }

    private mutating func said(_ message: ChatMessage, _ time: LocalTime) {
        guard let place = index(of: message.room) else { return }
        let isOwn = !message.client.isEmpty && message.client == ownClient
        let kind = TimelineEntry.Kind.message(author: ShownText(message.author), isOwn: isOwn)
        rooms[place].append(kind, ShownText(message.text), at: time, isWatched: place == active)
    }

    private mutating func disconnected(_ code: UInt32, _ reason: String, _ retry: Int64?, _ time: LocalTime) {
        let wasConnected = connection == .connected
        connection = retry.map { .waiting(milliseconds: $0) } ?? .closed
        latency = nil
        if rooms.isEmpty, wasConnected || retry == nil {
            tell(.problem, ShownText("connection closed: \(reason) (\(code))"), in: 0, time)
        }
        for place in rooms.indices {
            rooms[place].isJoined = false
            // One line per outage, not one per attempt.
            guard wasConnected || retry == nil else { continue }
            let what = retry == nil ? "connection closed" : "connection lost, reconnecting"
            tell(.problem, ShownText("\(what): \(reason) (\(code))"), in: place, time)
        }
    }

    private mutating func tell(_ kind: TimelineEntry.Kind, _ text: ShownText, in place: Int, _ time: LocalTime) {
        guard rooms.indices.contains(place) else {
            return console.append(kind, text, at: time, isWatched: true)
        }
        rooms[place].append(kind, text, at: time, isWatched: place == active)
    }
}
