// The subscribers' side of the checker: continuity intervals. An interval is a maximal run of one epoch without an
// explicit gap, over live deliveries and successful resumes; inside it offsets have no holes. O(1) a call, on the
// driver's loop.

package import Bytes

extension Checker {
    /// A subscribe command goes out; `since` is what it claims to have seen (an epoch that no server told is -1).
    package func subscribing(_ subscriber: Int, _ room: Int, since: Position?, now: MonotonicTime) {
        let index = cell(subscriber, room)
        subscriptions[index].since = since
        presenceAsked(subscriber, room, now: now)
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
        presenceJoined(subscriber, room, now: now)
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
        // What was acknowledged before it was asked may still be on its way to this gateway: late, but not lost, since
        // the interval begins below it.
        let floor = subscriptions[index].floor
        if floor.epoch == position.epoch, position.offset < floor.offset { figures.staleTops += 1 }
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
        let left = survivors(room, from: since.epoch, to: position.epoch)
        guard mayHaveLostData || left != nil else { return "from epoch \(since.epoch) in epoch \(position.epoch)" }
        if let left, since.offset > left {
            return "from offset \(since.offset) of epoch \(since.epoch), of which only \(left) were left"
        }
        // A new epoch may vouch for a beginning that it shares with an old one.
        let old = rooms[room].epochs[Int(since.epoch)].message(since.offset)
        let new = rooms[room].epochs[Int(position.epoch)].message(since.offset)
        return old != 0 && new != 0 && old != new ? "from an offset that the two epochs do not share" : nil
    }

    /// How much of epoch `old` lies under the same offsets in epoch `new`; nil when that is not known.
    private func survivors(_ room: Int, from old: Int32, to new: Int32) -> UInt64? {
        guard old >= 0, new > old, Int(new) < rooms[room].epochs.count else { return nil }
        var least = UInt64.max
        for epoch in Int(old)..<Int(new) {
            guard let left = rooms[room].epochs[epoch].survivors else { return nil }
            least = min(least, left)
        }
        return least
    }

    /// `recovered: false`: with everything still there, that is a loss that the contract does not know. A room
    /// remembers one epoch before its own.
    private func checkRefusal(_ subscriber: Int, _ room: Int, _ index: Int, _ position: Position, now: MonotonicTime) {
        guard let since = subscriptions[index].since else { return }
        if since.epoch == position.epoch, since.offset > position.offset {
            // A claim beyond everything is a lie; one that others confirm is a server that lags.
            guard since.offset <= rooms[room].epochs[Int(since.epoch)].ackedTop else { return }
            violate(
                .resumeHonesty, room: room, now: now,
                "subscriber \(subscriber) was at \(since.offset) and was let in at \(position.offset)")
            return
        }
        guard since.offset <= position.offset else { return }
        if since.epoch != position.epoch {
            guard position.epoch - since.epoch == 1,
                let left = survivors(room, from: since.epoch, to: position.epoch), since.offset <= left
            else { return }
        }
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
        if subscriptions[index].last < top {
            violate(
                .resumeHonesty, room: room, now: now,
                "subscriber \(subscriber) recovered up to \(subscriptions[index].last), but the room was at \(top)")
        }
        subscriptions[index].last = max(subscriptions[index].last, top)
    }

    /// The server ended the subscription and said so (2500): the next subscribe tells what is left.
    package func told(_ subscriber: Int, _ room: Int, code: UInt32, now: MonotonicTime) {
        log(.told, room: room, who: subscriber, epoch: Int32(clamping: code), now: now)
        figures.told += 1
        presenceLeft(subscriber, room, now: now)
        suspend(cell(subscriber, room))
    }

    /// The connection ended, from whichever side.
    package func closed(_ subscriber: Int, code: UInt16?, now: MonotonicTime) {
        log(.closed, room: -1, who: subscriber, epoch: Int32(code ?? 0), now: now)
        presenceClosed(subscriber, now: now)
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

    /// Subscriptions of `room` that have not got up to `top`.
    package func subscriptions(of room: Int, below top: UInt64) -> Int {
        (0..<plan.subscribers).count {
            let record = subscriptions[cell($0, room)]
            return record.state != .none && (record.state != .live || record.last < top)
        }
    }

    /// Subscriptions that are live.
    package var liveSubscriptions: Int { subscriptions.count { $0.state == .live } }

    /// The highest offset of the room's current epoch that was acknowledged.
    package func ackedTop(_ room: Int) -> UInt64 {
        let current = rooms[room].current
        return current >= 0 ? rooms[room].epochs[Int(current)].ackedTop : 0
    }

    /// The current epoch of `room` and the highest offset that anybody was told of; nil before the first.
    package func top(_ room: Int) -> Position? {
        let current = rooms[room].current
        return current >= 0 ? Position(epoch: current, offset: rooms[room].epochs[Int(current)].seenTop) : nil
    }
}
