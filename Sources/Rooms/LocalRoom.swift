// A room as one loop sees it: its members here, and what is on its way to them.
//
// Publications of an iteration gather in `batch` and go out together at its end: one block, one reference per member,
// one system call per member, however many messages there were. A very large room is served in slices over several
// iterations: `broadcast` is the block being handed out, and the member list is kept in three parts,
//
//     [0, cursor)  still to be served · [cursor, limit)  served · [limit, count)  joined since: not for them
//
// which joining and leaving preserve, so that nobody is missed, served twice, or sent what was said before they came.

import Bytes

/// One loop's share of a room. Lives in a slab of `LoopRooms`; loop-confined.
struct LocalRoom: ~Copyable {
    enum Phase {
        /// The home loop has not been asked, or nobody is left.
        case idle
        /// The home loop has been asked; joiners wait.
        case joining
        /// Publications flow.
        case live
    }

    /// A subscriber that waits for the flow to begin.
    struct Joiner {
        let connection: ConnectionWord
        let command: UInt32
        let asksRecovery: Bool
    }

    var phase = Phase.idle
    /// Which of the rooms that had this number: letters to a former one are recognised.
    var generation: UInt32 = 0
    var home = 0
    var options = RoomOptions()
    var joiners: [Joiner] = []
    /// Whether the room waits in the list of rooms without members.
    var isLingering = false

    private(set) var members: UnsafeMutablePointer<ConnectionWord>?
    private(set) var count = 0
    private var capacity = 0

    var batch = ByteBuffer()
    /// Publications in the batch.
    var batchedMessages = 0
    /// When the oldest publication of the batch came to this loop.
    var batchSince = MonotonicTime(nanoseconds: 0)
    var isDirty = false
    /// Members that hear of joins and leaves because they asked.
    var listeners = 0
    private(set) var broadcast: Broadcast?
    private(set) var cursor = 0
    private(set) var limit = 0

    deinit { members?.deallocate() }

    /// Whether nothing keeps the room on this loop.
    var isUnused: Bool { count == 0 && joiners.isEmpty }

    /// Adds a member and returns its position. It gets what comes from now on: the caller has sealed the batch.
    mutating func append(_ connection: ConnectionWord) -> UInt32 {
        precondition(batch.isEmpty, "what waits was said before this member came")
        if count == capacity {
            let larger = UnsafeMutablePointer<ConnectionWord>.allocate(capacity: max(2, capacity * 2))
            if let members {
                larger.moveInitialize(from: members, count: count)
                members.deallocate()
            }
            members = larger
            capacity = max(2, capacity * 2)
        }
        members?[count] = connection
        count += 1
        return UInt32(count - 1)
    }

    /// Removes the member at `position`. Others move to fill the hole: at most one per part of the list, each told by
    /// `moved(connection, new position)`.
    mutating func remove(at position: UInt32, moved: (ConnectionWord, UInt32) -> Void) {
        guard let members, Int(position) < count else { return }
        var hole = Int(position)
        if hole < cursor {
            cursor -= 1
            fill(&hole, from: cursor, members, moved)
        }
        if hole < limit {
            limit -= 1
            fill(&hole, from: limit, members, moved)
        }
        count -= 1
        fill(&hole, from: count, members, moved)
        guard count * 4 < capacity, capacity > 16 else { return }
        let smaller = UnsafeMutablePointer<ConnectionWord>.allocate(capacity: capacity / 2)
        smaller.moveInitialize(from: members, count: count)
        members.deallocate()
        self.members = smaller
        capacity /= 2
    }

    private func fill(
        _ hole: inout Int, from last: Int, _ members: UnsafeMutablePointer<ConnectionWord>,
        _ moved: (ConnectionWord, UInt32) -> Void
    ) {
        if hole != last {
            members[hole] = members[last]
            moved(members[hole], UInt32(hole))
        }
        hole = last
    }

    /// Begins to hand `broadcast` out to the members of this moment.
    mutating func begin(_ broadcast: Broadcast) {
        precondition(self.broadcast == nil)
        self.broadcast = broadcast
        cursor = count
        limit = count
    }

    /// The next members to serve, at most `most`.
    mutating func slice(_ most: Int) -> UnsafeBufferPointer<ConnectionWord> {
        let size = min(most, cursor)
        cursor -= size
        guard let members else { return UnsafeBufferPointer(start: nil, count: 0) }
        return UnsafeBufferPointer(start: members + cursor, count: size)
    }

    /// Ends the hand-out and returns what was handed out, for its release.
    mutating func end() -> Broadcast? {
        let ended = broadcast
        broadcast = nil
        cursor = 0
        limit = 0
        return ended
    }

    /// All members, for the rare walk.
    var everyone: UnsafeBufferPointer<ConnectionWord> { UnsafeBufferPointer(start: members, count: count) }
}
