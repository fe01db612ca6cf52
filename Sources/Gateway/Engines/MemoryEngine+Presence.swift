// Presence in the engine of one process: each room's members are one PresenceSet, and what is told of them is heard by
// the rooms of the same loop. Bounded by the members of the process' rooms.

import Bytes
package import Rooms
package import Wire

extension MemoryEngine {
    package func enter(
        room: UnsafeRawBufferPointer, member: Member, presence: PresenceOptions, ticket: Ticket
    ) {
        var entrance = PresenceSet.Entrance.full
        change(make(room), room) { set, tell in entrance = set.enter(member, presence, tell: tell) }
        delegate?.entered(
            room: room, client: member.client, ticket: ticket, entrance == .full ? .failure(.full) : .success(()))
    }

    package func linger(room: UnsafeRawBufferPointer, client: ClientID, presence: PresenceOptions) {
        guard let number = find(room) else { return }
        change(number, room) { set, _ in set.linger(client) }
    }

    package func leave(
        room: UnsafeRawBufferPointer, client: ClientID, presence: PresenceOptions, onlyIfLingering: Bool
    ) {
        guard let number = find(room) else { return }
        change(number, room) { set, tell in
            if !onlyIfLingering || set.lingers(client) { set.leave(client, presence, tell: tell) }
        }
    }

    package func members(room: UnsafeRawBufferPointer, _ query: MemberQuery, ticket: Ticket) {
        let set = find(room).flatMap { rooms[Int($0)].members } ?? PresenceSet()
        delegate?.membersRead(ticket, query, .success(set.page(query)))
    }

    /// Changes the members of a room, then tells what is to be told: whoever hears it may use the engine at once.
    private func change(
        _ number: UInt32, _ room: UnsafeRawBufferPointer,
        _ body: (inout PresenceSet, (MemberEvent) -> Void) -> Void
    ) {
        var set = rooms[Int(number)].members ?? PresenceSet()
        let before = set.count
        // Moved out and in again, or it would be copied.
        rooms[Int(number)].members = nil
        var events: [(isJoin: Bool, client: Payload, user: Payload, info: Payload)] = []
        body(&set) { event in
            events.append(
                (
                    event.isJoin, Payload(copying: event.client), Payload(copying: event.user),
                    Payload(copying: event.info)
                ))
        }
        memberCount += set.count - before
        if set.count > 0 { rooms[Int(number)].members = set }
        removeIfUnused(number)
        for event in events {
            delegate?.memberChanged(
                room: room,
                MemberEvent(
                    isJoin: event.isJoin, client: event.client.bytes, user: event.user.bytes, info: event.info.bytes))
        }
    }
}
