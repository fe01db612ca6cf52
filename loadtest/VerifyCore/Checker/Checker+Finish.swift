// The end of a run and what is watched beside the messages: histories read back from each gateway, processes, the sums.
// Walks all subscriptions once; on the driver's loop.

package import Bytes
package import LoadCore

extension Checker {
    /// A gateway shows the whole history of `room`.
    package func historyRead(
        _ room: Int, gateway: Int, _ position: Position, _ entries: [(offset: UInt64, mark: Marker?)],
        now: MonotonicTime
    ) {
        figures.historiesRead += 1
        guard plan.hasHistory else { return }
        meet(room, position, now: now)
        let told = "history of room \(room) at gateway \(gateway)"
        guard position.epoch >= 0, position.epoch == rooms[room].current else {
            violate(.ackHonesty, room: room, now: now, "\(told) is of an epoch that has passed")
            return
        }
        let acked = rooms[room].epochs[Int(position.epoch)].ackedTop
        if position.offset < acked {
            violate(.ackHonesty, room: room, now: now, "\(told) ends at \(position.offset), acknowledged was \(acked)")
        }
        let wanted = min(UInt64(min(plan.historySize, plan.recoveryLimit)), position.offset)
        if UInt64(entries.count) < wanted {
            violate(.ackHonesty, room: room, now: now, "\(told) has \(entries.count) of \(wanted) publications")
        }
        var previous: UInt64?
        for (offset, mark) in entries {
            if let previous, offset != previous + 1 {
                violate(.ackHonesty, room: room, now: now, "\(told) goes from \(previous) to \(offset)")
            }
            previous = offset
            guard let mark else {
                violate(.phantom, room: room, now: now, "\(told) has something foreign at \(offset)")
                continue
            }
            checkEntry(room, told, Position(epoch: position.epoch, offset: offset), mark, now: now)
        }
        if let previous, previous != position.offset {
            violate(.ackHonesty, room: room, now: now, "\(told) ends at \(previous), not at its top \(position.offset)")
        }
    }

    private func checkEntry(_ room: Int, _ told: String, _ position: Position, _ mark: Marker, now: MonotonicTime) {
        let id = MessageID(mark.publisher, Int(clamping: mark.sequence))
        if mark.room != room {
            violate(.isolation, room: room, now: now, "\(told) has a message of room \(mark.room)")
        } else if !exists(room, id) {
            violate(.phantom, room: room, now: now, "\(told) has \(name(id)), which was never sent")
        } else if rooms[room].publications[id.publisher][id.sequence - 1].state == .refused {
            violate(.phantom, room: room, now: now, "\(told) has \(name(id)), which was refused")
        } else {
            _ = place(room, position, id, now: now)
        }
    }

    // MARK: Processes

    /// A process ended that nobody had ended.
    package func exited(_ what: String, _ how: String, now: MonotonicTime) {
        violate(.crash, room: -1, now: now, "\(what) ended by itself: \(how)")
    }

    /// A line of a process that speaks of a bug.
    package func complained(_ what: String, _ line: String, now: MonotonicTime) {
        violate(.crash, room: -1, now: now, "\(what) says: \(line.prefix(200))")
    }

    // MARK: The end

    /// Judges what can be judged only when everything has been healed and the markers have come.
    package func finish(now: MonotonicTime) {
        for subscriber in 0..<plan.subscribers {
            for room in 0..<plan.rooms { finish(subscriber, room, now: now) }
        }
        for room in 0..<plan.rooms { finishPublications(room, now: now) }
        let calm = figures.deliveryLatency[Phase.calm.rawValue]
        let limit = UInt64(clamping: plan.calmLatencyLimit.wholeNanoseconds / 1000)
        if calm.count > 0, calm.percentile(99) > limit {
            violate(
                .latency, room: -1, now: now,
                "in calm the 99th percentile from publish to delivery is \(calm.percentile(99) / 1000) ms")
        }
        finishPresence(now: now)
        finishBounds(now: now)
        finishWindows(now: now, all: true)
    }

    private func finish(_ subscriber: Int, _ room: Int, now: MonotonicTime) {
        let index = cell(subscriber, room)
        let record = subscriptions[index]
        guard record.state != .none else { return }
        guard record.state == .live else {
            violate(.errorVisibility, room: room, now: now, "subscriber \(subscriber) did not get back into the room")
            return
        }
        guard plan.hasHistory else { return finishAtMostOnce(subscriber, room, index, now: now) }
        guard record.epoch == rooms[room].current else {
            violate(
                .ackHonesty, room: room, now: now,
                "subscriber \(subscriber) is in epoch \(record.epoch) and was not told of \(rooms[room].current)")
            return
        }
        guard record.epoch >= 0 else { return }
        let acked = rooms[room].epochs[Int(record.epoch)].ackedTop
        if record.last < acked {
            violate(
                .lost, room: room, now: now,
                "subscriber \(subscriber) has got up to \(record.last), acknowledged was \(acked)")
        }
    }

    private func finishAtMostOnce(_ subscriber: Int, _ room: Int, _ index: Int, now: MonotonicTime) {
        for publisher in 0...plan.publishers {
            let view = subscriptions[index].seen[publisher]
            let seen = view.interval == subscriptions[index].interval ? view.last : 0
            var sequence = rooms[room].publications[publisher].count
            while sequence > seen,
                rooms[room].publications[publisher][sequence - 1].invokedAt >= subscriptions[index].liveSince
            {
                if wasOwed(index, room, MessageID(publisher, sequence)) {
                    violate(
                        .lost, room: room, now: now,
                        "subscriber \(subscriber) never got \(name(MessageID(publisher, sequence))), "
                            + "acknowledged in calm"
                    )
                    break
                }
                sequence -= 1
            }
        }
    }

    private func finishPublications(_ room: Int, now: MonotonicTime) {
        let limit = UInt64(clamping: plan.answerLimit.wholeNanoseconds)
        guard !plan.learnsPublications else { return }
        for publisher in 0...plan.publishers {
            // Publishers wait for one before they send the next, so that only the last can be pending.
            guard let last = rooms[room].publications[publisher].last, last.state == .pending,
                now.nanoseconds > last.invokedAt + limit
            else { continue }
            let id = MessageID(publisher, rooms[room].publications[publisher].count)
            violate(.errorVisibility, room: room, now: now, "\(name(id)) never completed")
        }
    }
}
