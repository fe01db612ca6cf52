// Who is in one room, and what is told of it: the rules of presence in one place, for the engine of one process. The
// Redis scripts do the same for many; the conformance suite compares the two. Sans-IO; what is told goes to a closure.
//
//     absent ──enter──▶ present ──linger──▶ lingering ──leave──▶ absent
//                          ▲                  │ the same connection enters again: present, nothing is told
//                          └──────────────────┘ the same user's next connection enters: replaced
//
// Bounded by the room's members; owned by an engine, on its loop.

import Bytes
package import Wire

/// The members of one room.
package struct PresenceSet {
    private struct Entry {
        let user: Payload
        let info: Payload
        /// Its place in the order of arrival, which pages follow.
        let serial: UInt64
        var lingers = false
    }

    /// What became of somebody who enters.
    package enum Entrance: Equatable, Sendable {
        case entered, wasThere, full
    }

    /// Connections of one user whose grace runs that are remembered, to be replaced.
    package static let mostLingering = 16

    private var members: [ClientID: Entry] = [:]
    private var users: [[UInt8]: Int] = [:]
    private var lingering: [[UInt8]: [ClientID]] = [:]
    /// Clients by serial; those that left stay until they are half of it.
    private var order: [(serial: UInt64, client: ClientID)] = []
    private var lastSerial: UInt64 = 0

    /// Nobody.
    package init() {}

    /// Members, those that linger included.
    package var count: Int { members.count }
    /// Users that they are.
    package var userCount: Int { users.count }
    /// Whether `client` is there and its grace runs.
    package func lingers(_ client: ClientID) -> Bool { members[client]?.lingers ?? false }

    /// Lets `member` in.
    package mutating func enter(
        _ member: Member, _ options: PresenceOptions, tell: (MemberEvent) -> Void
    ) -> Entrance {
        let user = Array(member.user)
        if members[member.client] != nil {
            stay(member.client, user)
            return .wasThere
        }
        let replaced = user.isEmpty ? nil : lingering[user]?.first
        let before = members.count
        if options.mostMembers > 0, before - (replaced == nil ? 0 : 1) >= options.mostMembers { return .full }
        let connections = (users[user] ?? 0) + 1
        users[user] = connections
        lastSerial += 1
        members[member.client] = Entry(
            user: Payload(copying: member.user), info: Payload(copying: member.info), serial: lastSerial)
        order.append((lastSerial, member.client))
        let former = replaced.flatMap { remove($0) }
        guard members.count <= options.toldUpTo else { return .entered }
        if let replaced, let former, options.scope == .client { PresenceSet.tell(false, replaced, former, tell) }
        if options.scope == .client || user.isEmpty || connections == 1, let entry = members[member.client] {
            PresenceSet.tell(true, member.client, entry, tell)
        }
        return .entered
    }

    /// The connection of `client` broke; its grace runs.
    package mutating func linger(_ client: ClientID) {
        guard let entry = members[client], !entry.lingers else { return }
        members[client]?.lingers = true
        let user = Array(entry.user.bytes)
        guard !user.isEmpty else { return }
        lingering[user, default: []].append(client)
        if lingering[user, default: []].count > PresenceSet.mostLingering { lingering[user]?.removeFirst() }
    }

    /// Takes `client` out.
    package mutating func leave(_ client: ClientID, _ options: PresenceOptions, tell: (MemberEvent) -> Void) {
        let before = members.count
        guard let entry = remove(client), before <= options.toldUpTo else { return }
        let isLast = entry.user.count == 0 || users[Array(entry.user.bytes)] == nil
        if options.scope == .client || isLast { PresenceSet.tell(false, client, entry, tell) }
    }

    /// The page that `query` asks for.
    package func page(_ query: MemberQuery) -> MemberPage {
        var builder = MemberPageBuilder(query)
        var text = ByteBuffer(capacity: ClientID.textLength)
        var next: UInt64 = 0
        for (serial, client) in order[place(of: query.cursor)...] {
            guard let entry = members[client], entry.serial == serial else { continue }
            if builder.isFull {
                next = query.limit == 0 ? 0 : serial
                break
            }
            text.removeAll()
            client.append(to: &text)
            builder.add(client: text.bytes, info: entry.info.bytes)
        }
        return builder.page(cursor: next, members: count, users: userCount)
    }

    /// The first place in the order with a serial of at least `cursor`.
    private func place(of cursor: UInt64) -> Int {
        var low = 0
        var high = order.count
        while low < high {
            let middle = (low + high) / 2
            if order[middle].serial < cursor { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private mutating func stay(_ client: ClientID, _ user: [UInt8]) {
        members[client]?.lingers = false
        lingering[user]?.removeAll { $0 == client }
        if lingering[user]?.isEmpty == true { lingering[user] = nil }
    }

    private mutating func remove(_ client: ClientID) -> Entry? {
        guard let entry = members.removeValue(forKey: client) else { return nil }
        let user = Array(entry.user.bytes)
        stay(client, user)
        let left = (users[user] ?? 1) - 1
        users[user] = left > 0 ? left : nil
        if order.count > 64, members.count * 2 < order.count {
            order.removeAll { members[$0.client]?.serial != $0.serial }
        }
        return entry
    }

    private static func tell(_ isJoin: Bool, _ client: ClientID, _ entry: Entry, _ tell: (MemberEvent) -> Void) {
        var text = ByteBuffer(capacity: ClientID.textLength)
        client.append(to: &text)
        tell(MemberEvent(isJoin: isJoin, client: text.bytes, user: entry.user.bytes, info: entry.info.bytes))
    }
}
