// The state of the limits in an engine of one process: for each room and each user in a room, when the next publication
// is due. Redis keeps the same in the hash P:{room}:r. Owned by an engine, so one a loop; a room has one home.
//
// Bounded by `limit` entries. Beyond it the ones that end soonest are forgotten before their time: their users may talk
// a little too early.

package import Bytes

/// The limits' state. Loop-confined.
package struct RateLedger: ~Copyable {
    /// Rooms and users together.
    package static let limit = 65_536

    private var table: DeadlineTable
    private var key = ByteBuffer()

    package init(limit: Int = RateLedger.limit) { table = DeadlineTable(limit: limit) }

    /// Rooms and users that are kept.
    package var count: Int { table.count }

    /// What becomes of a publication: admitted only if both limits admit it.
    package struct Judgement {
        /// New values to be kept; 0: that limit is not there.
        fileprivate var roomDue: UInt64 = 0
        fileprivate var userDue: UInt64 = 0
        /// Admitted: when the next one would be. Refused: by which limits, and for how long.
        package fileprivate(set) var waits = RateWaits.zero
        package fileprivate(set) var isAdmitted = true
    }

    /// Judges a publication of `talker` in `room` at `now`, and changes nothing.
    package mutating func judge(
        room: UnsafeRawBufferPointer, talker: UnsafeRawBufferPointer, _ limits: RateLimits, now: MonotonicTime
    ) -> Judgement {
        let now = now.nanoseconds / 1000
        var judgement = Judgement()
        var refusals = RateWaits.zero
        if let limit = limits.room {
            RateKey.compose(room: room, in: &key)
            switch limit.judge(due: due(), now: now) {
            case .admitted(let due, let wait): (judgement.roomDue, judgement.waits.room) = (due, wait)
            case .refused(let wait): refusals.room = wait
            }
        }
        if let limit = limits.user {
            RateKey.compose(room: room, talker: talker, in: &key)
            switch limit.judge(due: due(), now: now) {
            case .admitted(let due, let wait): (judgement.userDue, judgement.waits.user) = (due, wait)
            case .refused(let wait): refusals.user = wait
            }
        }
        if refusals.isHolding {
            judgement.isAdmitted = false
            judgement.waits = refusals
        }
        return judgement
    }

    /// Keeps what an admitted publication changes.
    package mutating func charge(
        room: UnsafeRawBufferPointer, talker: UnsafeRawBufferPointer, _ judgement: Judgement, now: MonotonicTime
    ) {
        precondition(judgement.isAdmitted, "a refusal changes nothing")
        let now = now.nanoseconds / 1000
        if judgement.roomDue > 0 {
            RateKey.compose(room: room, in: &key)
            table[table.make(key.bytes, now: now)].until = judgement.roomDue
        }
        if judgement.userDue > 0 {
            RateKey.compose(room: room, talker: talker, in: &key)
            table[table.make(key.bytes, now: now)].until = judgement.userDue
        }
    }

    private func due() -> UInt64 { table.find(key.bytes).map { table[$0].until } ?? 0 }
}

/// What rooms and users are called in a DeadlineTable.
enum RateKey {
    /// The room's key.
    static func compose(room: UnsafeRawBufferPointer, in key: inout ByteBuffer) {
        key.removeAll(keepingAtMost: 4096)
        key.append("r")
        key.append(room)
    }

    /// The key of a user in a room. The length in front keeps the two apart.
    static func compose(
        room: UnsafeRawBufferPointer, talker: UnsafeRawBufferPointer, in key: inout ByteBuffer
    ) {
        key.removeAll(keepingAtMost: 4096)
        key.append("u")
        key.append(decimal: UInt64(room.count))
        key.append(":")
        key.append(room)
        key.append(talker)
    }
}
