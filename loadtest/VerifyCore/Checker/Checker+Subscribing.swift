// The subscribers' side of the checker: continuity intervals. An interval is a maximal run of one epoch without an
// explicit gap, over live deliveries and successful resumes; inside it offsets have no holes. O(1) a call, on the
// driver's loop.

package import Bytes

extension Checker {
    /// A subscribe command goes out; `since` is what it claims to have seen (an epoch that no server told is -1).
    package func subscribing(_ subscriber: Int, _ room: Int, since: Position?, now: MonotonicTime) {
        let index = cell(subscriber, room)
        subscriptions[index].since = since
        let current = rooms[room].current
        subscriptions[index].floor =
            current >= 0
            ? Position(epoch: current, offset: rooms[room].epochs[Int(current)].ackedTop)
            : Position(epoch: -1, offset: 0)
        log(
            .subscribing, room: room, who: subscriber, epoch: since?.epoch ?? -1, offset: since?.offset ?? 0, now: now)
    }

    /// The subscribe command succeeded. Deliveries of its backlog follow, then `caughtUp`.
    package func subscribed(_ subscriber: Int, _ room: Int, _ outcome: SubscribeOutcome, now: MonotonicTime) {
        let index = cell(subscriber, room)
        let position = outcome.position
        log(
            outcome.recovered ? .recovered : .subscribed, room: room, who: subscriber, epoch: position.epoch,
            offset: position.offset, now: now)
        if subscriptions[index].since != nil { figures.resumes += 1 }
        guard plan.hasHistory else {
            beginInterval(index, position, now: now)
            return
        }
        guard outcome.recoverable, position.epoch >= 0 else {
            violate(.resumeHonesty, room: room, now: now, "a room with history was joined without a position")
            beginInterval(index, position, now: now)
            return
        }
        meet(room, position, now: now)
        if subscriptions[index].since != nil, !outcome.wasRecovering {
            violate(
                .resumeHonesty, room: room, now: now,
                "subscriber \(subscriber) asked for recovery and was not told that it had")
        }
        if outcome.recovered {
            figures.recovered += 1
            resume(subscriber, room, index, position, now: now)
        } else {
            if subscriptions[index].since != nil { figures.notRecovered += 1 }
            checkRefusal(subscriber, room, index, position, now: now)
            beginInterval(index, position, now: now)
        }
    }

    private func beginInterval(_ index: Int, _ position: Position, now: MonotonicTime) {
        subscriptions[index].state = .live
        subscriptions[index].interval += 1
        subscriptions[index].epoch = position.epoch
        subscriptions[index].last = position.offset
        subscriptions[index].hole = 0..<0
        subscriptions[index].overlap = position.offset
        subscriptions[index].liveSince = now.nanoseconds
        subscriptions[index].isResuming = false
    }

    /// `recovered: true`: was it possible at all?
    private func resume(_ subscriber: Int, _ room: Int, _ index: Int, _ position: Position, now: MonotonicTime) {
        guard let since = subscriptions[index].since else {
            violate(.resumeHonesty, room: room, now: now, "subscriber \(subscriber) recovered without having asked")
            return beginInterval(index, position, now: now)
        }
        if let lie = impossibility(room, since, position) {
            violate(.resumeHonesty, room: room, now: now, "subscriber \(subscriber) recovered \(lie)")
            return beginInterval(index, position, now: now)
        }
        let continues =
            subscriptions[index].state != .none && subscriptions[index].epoch == since.epoch
            && subscriptions[index].last == since.offset
        if !continues { beginInterval(index, position, now: now) }
        subscriptions[index].state = .live
        subscriptions[index].epoch = position.epoch
        subscriptions[index].last = since.offset
        subscriptions[index].hole = 0..<0
        subscriptions[index].liveSince = now.nanoseconds
        subscriptions[index].isResuming = true
        subscriptions[index].overlap = position.offset
    }

    private func impossibility(_ room: Int, _ since: Position, _ position: Position) -> String? {
        guard since.epoch >= 0, Int(since.epoch) < rooms[room].epochs.count else { return "from a forged epoch" }
        if since.offset > position.offset {
            return "from offset \(since.offset), above the top \(position.offset)"
        }
        let missed = position.offset - since.offset
        if missed > UInt64(min(plan.historySize, plan.recoveryLimit)) {
            return "\(missed) publications, more than the history keeps"
        }
        guard since.epoch != position.epoch else { return nil }
        guard mayHaveLostData else { return "from epoch \(since.epoch) in epoch \(position.epoch)" }
        // A new epoch may vouch for a beginning that it shares with an old one.
        let old = rooms[room].epochs[Int(since.epoch)].message(since.offset)
        let new = rooms[room].epochs[Int(position.epoch)].message(since.offset)
        return old != 0 && new != 0 && old != new ? "from an offset that the two epochs do not share" : nil
    }

    /// `recovered: false`: with everything still there, that is a loss that the contract does not know.
    private func checkRefusal(_ subscriber: Int, _ room: Int, _ index: Int, _ position: Position, now: MonotonicTime) {
        let floor = subscriptions[index].floor
        if floor.epoch == position.epoch, position.offset < floor.offset {
            violate(
                .resumeHonesty, room: room, now: now,
                "subscriber \(subscriber) was told the top \(position.offset), "
                    + "but \(floor.offset) had been acknowledged"
            )
        }
        guard let since = subscriptions[index].since, since.epoch == position.epoch, since.offset <= position.offset
        else { return }
        let missed = position.offset - since.offset
        if missed <= UInt64(min(plan.historySize, plan.recoveryLimit)) {
            violate(
                .lost, room: room, now: now,
                "subscriber \(subscriber) was refused \(missed) publications after \(since.offset) that are still there"
            )
        }
    }

    /// The backlog of a successful resume has been delivered in whole.
    package func caughtUp(_ subscriber: Int, _ room: Int, now: MonotonicTime) {
        let index = cell(subscriber, room)
        guard subscriptions[index].isResuming else { return }
        subscriptions[index].isResuming = false
        let top = subscriptions[index].overlap
        let floor = subscriptions[index].floor
        let least = floor.epoch == subscriptions[index].epoch ? max(top, floor.offset) : top
        if subscriptions[index].last < least {
            violate(
                .resumeHonesty, room: room, now: now,
                "subscriber \(subscriber) recovered up to \(subscriptions[index].last), but the room was at \(least)")
        }
        subscriptions[index].last = max(subscriptions[index].last, top)
    }

    /// The server ended the subscription and said so (2500): the next subscribe tells what is left.
    package func told(_ subscriber: Int, _ room: Int, code: UInt32, now: MonotonicTime) {
        log(.told, room: room, who: subscriber, epoch: Int32(clamping: code), now: now)
        figures.told += 1
        suspend(cell(subscriber, room))
    }

    /// The connection ended, from whichever side.
    package func closed(_ subscriber: Int, code: UInt16?, now: MonotonicTime) {
        log(.closed, room: -1, who: subscriber, epoch: Int32(code ?? 0), now: now)
        for room in 0..<plan.rooms { suspend(cell(subscriber, room)) }
    }

    private func suspend(_ index: Int) {
        if subscriptions[index].state == .live { subscriptions[index].state = .suspended }
    }

    /// The subscriber forgets what it knew of `room` and joins as a newcomer.
    package func forgot(_ subscriber: Int, _ room: Int) { subscriptions[cell(subscriber, room)].state = .none }

    /// Where `subscriber` stands in `room`; nil when it has nothing to resume.
    package func position(_ subscriber: Int, _ room: Int) -> Position? {
        let record = subscriptions[cell(subscriber, room)]
        return record.state == .none || record.epoch < 0 ? nil : Position(epoch: record.epoch, offset: record.last)
    }

    /// Whether `subscriber` is subscribed to `room`.
    package func isLive(_ subscriber: Int, _ room: Int) -> Bool { subscriptions[cell(subscriber, room)].state == .live }

    /// Subscriptions that are live.
    package var liveSubscriptions: Int { subscriptions.count { $0.state == .live } }

    /// The current epoch of `room` and the highest offset that anybody was told of; nil before the first.
    package func top(_ room: Int) -> Position? {
        let current = rooms[room].current
        return current >= 0 ? Position(epoch: current, offset: rooms[room].epochs[Int(current)].seenTop) : nil
    }
}
