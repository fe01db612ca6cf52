// What a room's home remembers of refusals, so that a flood costs the engine one call per window and not one per
// attempt. Asked before each publish into a room with limits, told by each answer. The same for both engines.
//
// It only ever refuses what the engine would refuse, too: a wait counts from the moment at which the command was sent,
// which is before the engine judged it, less a thousandth, since two clocks differ. Bounded by `entries` rooms and
// users a loop; one that is forgotten costs a call. Publishes on their way are bounded by the engine. Loop-confined.
//
// What comes within one iteration goes to the engine in one piece and is judged there at one moment. So when a wait has
// just ended, only as many go out at once as can have become free since: usually one. A loop that does not get its
// share of a busy machine has long iterations, and would otherwise ask for everybody who came meanwhile.
//
// A publication with a key may be a repetition, which no limit concerns, and only the engine knows. So those pass a
// remembered refusal, but one in `probeInterval` for each room and for each user: a flood with keys costs four calls a
// second, and a repetition that is told to wait gets through when it comes back.

import Bytes

/// Refusals by room and by user, and the publishes on their way. Loop-confined.
struct RateMemory: ~Copyable {
    /// Rooms and users that are remembered.
    static let entries = 16_384
    /// Microseconds between two publications with a key that pass the same refusal.
    static let probeInterval: UInt64 = 250_000
    /// The loop in a ticket that was given here: no loop has this number.
    static let ticketLoop = UInt16.max

    private struct Asked {
        var ticket: Ticket
        var sentAt: UInt64
        var room: DeadlineTable.Reference
        var user: DeadlineTable.Reference
        var isWaiting: Bool
    }

    private var table: DeadlineTable
    private var asked: [Asked] = []
    private var free: [UInt32] = []
    private var key = ByteBuffer()

    init(entries: Int = RateMemory.entries) { table = DeadlineTable(limit: entries) }

    /// Rooms and users that are remembered.
    var count: Int { table.count }
    /// Publishes that the engine has not answered.
    var asking: Int { asked.count - free.count }

    /// Why a publication cannot pass now; nil: the engine is to be asked.
    mutating func refusal(room: UnsafeRawBufferPointer, _ options: PublishOptions, now: MonotonicTime) -> RateWaits? {
        guard let limits = options.limits, table.count > 0 else { return nil }
        let now = now.nanoseconds / 1000
        var waits = RateWaits.zero
        var holding: (room: UInt32?, user: UInt32?)
        if let limit = limits.room {
            RateKey.compose(room: room, in: &key)
            (holding.room, waits.room) = holder(limit, now, isKeyed: !options.key.isEmpty)
        }
        if let limit = limits.user {
            RateKey.compose(room: room, talker: options.talker, in: &key)
            (holding.user, waits.user) = holder(limit, now, isKeyed: !options.key.isEmpty)
        }
        guard waits.isHolding else { return nil }
        if !options.key.isEmpty, mayProbe(holding.room, now), mayProbe(holding.user, now) {
            for holder in [holding.room, holding.user] {
                if let holder { table[holder].mark = now + RateMemory.probeInterval }
            }
            return nil
        }
        return waits
    }

    /// The entry under `key` if its limit holds, and for how long.
    private func holder(_ limit: RateLimit, _ now: UInt64, isKeyed: Bool) -> (UInt32?, UInt64) {
        guard let number = table.find(key.bytes) else { return (nil, 0) }
        let entry = table[number]
        if entry.until > now { return (number, entry.until - now) }
        guard entry.until > 0, entry.batchAt == now else { return (nil, 0) }
        // The first one may pass at `until` at the earliest, each further one an interval later.
        // Publications with keys hold each other back, but nobody else: they may be repetitions, which cost nothing.
        let sent = entry.batch + (isKeyed ? entry.doubtful : 0)
        let (ahead, isFar) = limit.interval.multipliedReportingOverflow(by: sent)
        guard !isFar, ahead > now - entry.until else { return (nil, 0) }
        return (number, ahead - (now - entry.until))
    }

    private func mayProbe(_ holder: UInt32?, _ now: UInt64) -> Bool { holder.map { table[$0].mark <= now } ?? true }

    /// The engine is about to be asked for `ticket`: the ticket that it is to be given instead.
    mutating func ask(
        _ ticket: Ticket, room: UnsafeRawBufferPointer, _ options: PublishOptions, now: MonotonicTime
    ) -> Ticket {
        let time = now.nanoseconds / 1000
        var entry = Asked(ticket: ticket, sentAt: time, room: .none, user: .none, isWaiting: true)
        if options.limits?.room != nil {
            RateKey.compose(room: room, in: &key)
            entry.room = table.reference(table.make(key.bytes, now: time))
        }
        if options.limits?.user != nil {
            RateKey.compose(room: room, talker: options.talker, in: &key)
            entry.user = table.reference(table.make(key.bytes, now: time))
        }
        countBatch(options, entry, time)
        let slot: UInt32
        if let reused = free.popLast() {
            slot = reused
            asked[Int(slot)] = entry
        } else {
            slot = UInt32(asked.count)
            asked.append(entry)
        }
        return Ticket(connection: UInt64(slot), command: 0, loop: RateMemory.ticketLoop)
    }

    /// Counts what goes out at one moment, if it is sure to be charged or refused by the one limit that there is: a
    /// repetition is neither, and of two limits the other one may refuse.
    private mutating func countBatch(_ options: PublishOptions, _ entry: Asked, _ time: UInt64) {
        let isSure = options.key.isEmpty && (options.limits?.room == nil || options.limits?.user == nil)
        for reference in [entry.room, entry.user] {
            guard let number = table.resolve(reference) else { continue }
            if table[number].batchAt != time {
                table[number].batch = 0
                table[number].doubtful = 0
                table[number].batchAt = time
            }
            if isSure { table[number].batch += 1 } else { table[number].doubtful += 1 }
        }
    }

    /// The engine has answered one of the tickets that were given here: the ticket that it stands for.
    mutating func answered(_ ticket: Ticket, _ outcome: PublishOutcome) -> Ticket? {
        guard ticket.connection < UInt64(asked.count), asked[Int(ticket.connection)].isWaiting else { return nil }
        let entry = asked[Int(ticket.connection)]
        asked[Int(ticket.connection)].isWaiting = false
        free.append(UInt32(ticket.connection))
        switch outcome {
        case .taken(_, let next):
            // A repetition says nothing of the limits. Else it is the engine's word now, whatever was remembered: its
            // state may have been lost, or its clock set.
            guard let next else { break }
            note(entry.room, entry.sentAt, next.room)
            note(entry.user, entry.sentAt, next.user)
        case .limited(let waits):
            if waits.room > 0 { note(entry.room, entry.sentAt, waits.room) }
            if waits.user > 0 { note(entry.user, entry.sentAt, waits.user) }
        case .failed: break
        }
        return entry.ticket
    }

    private mutating func note(_ reference: DeadlineTable.Reference, _ sentAt: UInt64, _ wait: UInt64) {
        guard let number = table.resolve(reference) else { return }
        // Waits are at most as long as the limits' longest span. Without one it is unknown since when.
        table[number].until = wait == 0 ? 0 : sentAt + min(wait - wait / 1000, 2 * RateLimit.longestSpan)
    }
}
