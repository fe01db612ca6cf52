// A delivery meets the books: the hot path of the checker, O(1), on the driver's loop.

package import Bytes
package import LoadCore

extension Checker {
    /// `subscriber` got a message of `room`; `isBacklog` when it came with the reply to a resume;
    /// not `isTimed` when it was the subscriber itself that was late.
    package func delivered(
        _ subscriber: Int, _ room: Int, offset: UInt64, _ mark: Marker, isBacklog: Bool = false, isTimed: Bool = true,
        now: MonotonicTime
    ) {
        let index = cell(subscriber, room)
        let id = MessageID(mark.publisher, Int(clamping: mark.sequence))
        let epoch = subscriptions[index].epoch
        log(.delivered, room: room, who: subscriber, epoch: epoch, offset: offset, message: id, now: now)
        figures.deliveries += 1
        guard mark.room == room else {
            violate(
                .isolation, room: room, now: now,
                "subscriber \(subscriber) got a message of room \(mark.room) in \(room)")
            return
        }
        guard subscriptions[index].state == .live else {
            violate(.isolation, room: room, now: now, "subscriber \(subscriber) is not subscribed but got \(name(id))")
            return
        }
        if plan.learnsPublications { learn(room, id, mark) }
        guard exists(room, id) else {
            violate(.phantom, room: room, now: now, "subscriber \(subscriber) got \(name(id)), which was never sent")
            return
        }
        rooms[room].publications[id.publisher][id.sequence - 1].wasDelivered = true
        if rooms[room].publications[id.publisher][id.sequence - 1].state == .refused {
            violate(.phantom, room: room, now: now, "subscriber \(subscriber) got \(name(id)), which was refused")
            return
        }
        if plan.hasHistory {
            guard checkOffset(subscriber, room, index, offset, id, isBacklog, now: now) else { return }
        }
        guard checkOrder(subscriber, room, index, id, now: now) else { return }
        measure(index, room, id, isBacklog, isTimed, now: now)
    }

    /// Makes a record of a message that another process has sent; numbers beyond all bounds stay unknown.
    private func learn(_ room: Int, _ id: MessageID, _ mark: Marker) {
        guard id.publisher >= 0, id.publisher <= plan.publishers, id.sequence >= 1, id.sequence <= 1 << 20 else {
            return
        }
        let missing = id.sequence - rooms[room].publications[id.publisher].count
        guard missing > 0 else { return }
        let record = PublishRecord(phase: phase, invokedAt: mark.time)
        rooms[room].publications[id.publisher].append(contentsOf: repeatElement(record, count: missing))
        rooms[room].invoked += UInt64(missing)
    }

    /// Whether the offset is the next one and has this content for all.
    private func checkOffset(
        _ subscriber: Int, _ room: Int, _ index: Int, _ offset: UInt64, _ id: MessageID, _ isBacklog: Bool,
        now: MonotonicTime
    ) -> Bool {
        guard subscriptions[index].epoch >= 0 else { return true }
        let last = subscriptions[index].last
        let position = Position(epoch: subscriptions[index].epoch, offset: offset)
        if offset == last + 1 {
            subscriptions[index].last = offset
            if let left = rooms[room].epochs[Int(position.epoch)].survivors, offset > left {
                subscriptions[index].sawLost = true
            }
            meet(room, position, now: now)
            return place(room, position, id, now: now)
        }
        if offset > last {
            violate(
                isBacklog ? .resumeHonesty : .silentGap, room: room, now: now,
                "subscriber \(subscriber) got offset \(offset) after \(last)")
            subscriptions[index].hole = last + 1..<offset
            subscriptions[index].last = min(offset, last + (1 << 40))
            return false
        }
        // A lower offset. With other content it is no repetition but a second message under a used number.
        guard place(room, position, id, now: now) else { return false }
        if subscriptions[index].hole.contains(offset) {
            violate(
                .silentGap, room: room, now: now,
                "subscriber \(subscriber) got offset \(offset) after \(last), too late")
        } else if isBacklog {
            violate(
                .resumeHonesty, room: room, now: now, "subscriber \(subscriber) got offset \(offset) twice in a backlog"
            )
        } else if offset <= subscriptions[index].overlap {
            figures.rawDuplicates += 1
        } else {
            violate(
                .duplicate, room: room, now: now, "subscriber \(subscriber) got offset \(offset) again, after \(last)")
        }
        return false
    }

    /// Whether the publisher's numbers rise, and nothing acknowledged was passed over.
    private func checkOrder(_ subscriber: Int, _ room: Int, _ index: Int, _ id: MessageID, now: MonotonicTime) -> Bool {
        let interval = subscriptions[index].interval
        let view = subscriptions[index].seen[id.publisher]
        guard view.interval == interval else {
            // Continuity was lost in between: what comes after may begin again below what was seen.
            subscriptions[index].seen[id.publisher] = PublisherView(first: id.sequence, interval: interval)
            return true
        }
        if id.sequence <= view.last {
            if view.has(id.sequence) {
                violate(.duplicate, room: room, now: now, "subscriber \(subscriber) got \(name(id)) twice")
                return false
            }
            subscriptions[index].seen[id.publisher].note(id.sequence)
            // What was given up may arrive whenever it likes.
            guard !rooms[room].publications[id.publisher][id.sequence - 1].wasUnknown else { return true }
            violate(
                .publisherOrder, room: room, now: now, "subscriber \(subscriber) got \(name(id)) after #\(view.last)")
            return false
        }
        subscriptions[index].seen[id.publisher].note(id.sequence)
        guard id.sequence - view.last > 1 else { return true }
        // At most 64 back, so that a stranger's number costs nothing.
        for skipped in max(view.last + 1, id.sequence - 64)..<id.sequence
        where wasOwed(index, room, MessageID(id.publisher, skipped)) {
            violate(
                plan.hasHistory ? .publisherOrder : .lost, room: room, now: now,
                "subscriber \(subscriber) got \(name(id)) but not #\(skipped), which was acknowledged")
            return false
        }
        return true
    }

    /// Whether the subscription had to get the message. Rooms without history owe what was sent and acknowledged in
    /// calm, to those who were there all the time.
    func wasOwed(_ index: Int, _ room: Int, _ id: MessageID) -> Bool {
        let record = rooms[room].publications[id.publisher][id.sequence - 1]
        guard record.state == .acked, !record.wasUnknown else { return false }
        if plan.hasHistory {
            // What a rollback took away is nobody's any more.
            guard record.epoch >= 0, let left = rooms[room].epochs[Int(record.epoch)].survivors else { return true }
            return record.offset <= left
        }
        guard let calmSince else { return false }
        return record.invokedAt >= calmSince && record.invokedAt >= subscriptions[index].liveSince
    }

    private func measure(
        _ index: Int, _ room: Int, _ id: MessageID, _ isBacklog: Bool, _ isTimed: Bool, now: MonotonicTime
    ) {
        let record = rooms[room].publications[id.publisher][id.sequence - 1]
        noteRecovery(index, sentAt: record.invokedAt)
        // What comes with a backlog waited for its reader, not for the server.
        if isBacklog {
            figures.backlogDeliveries += 1
            return
        }
        guard isTimed else { return }
        let time = now.nanoseconds
        figures.deliveryLatency[column(record)].record(nanoseconds: time - min(record.invokedAt, time))
        let stable = record.completedAt > 0 ? time - min(record.completedAt, time) : 0
        figures.stableLatency[column(record)].record(nanoseconds: stable)
    }

    /// Where a message's latency is counted: what met anything but calm on its way does not belong to calm.
    func column(_ record: PublishRecord) -> Int { (record.phase == .calm ? phase : record.phase).rawValue }
}
