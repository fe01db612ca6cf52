// The publishers' side of the checker: what was sent, what became of it, and where it lies in the room's stream.
// One record a publication, O(1) a call, on the driver's loop.

package import Bytes
import LoadCore

extension Checker {
    /// A publication is sent for the first time. Sequence numbers of a publisher in a room count from 1 without holes.
    package func invoked(_ room: Int, _ id: MessageID, now: MonotonicTime) {
        precondition(id.sequence == rooms[room].publications[id.publisher].count + 1, "numbers have no holes")
        var record = PublishRecord(phase: phase, invokedAt: now.nanoseconds)
        let current = rooms[room].current
        if current >= 0 {
            record.floor = Position(epoch: current, offset: rooms[room].epochs[Int(current)].ackedTop)
        }
        rooms[room].publications[id.publisher].append(record)
        rooms[room].invoked += 1
        figures.invoked += 1
        if phase == .calm { figures.invokedInCalm += 1 }
        log(.invoked, room: room, who: id.publisher, message: id, now: now)
    }

    /// It is acknowledged, in rooms with history together with its place.
    package func acked(_ room: Int, _ id: MessageID, at position: Position?, now: MonotonicTime) {
        guard exists(room, id) else { return }
        let index = id.sequence - 1
        log(
            .acked, room: room, who: id.publisher, epoch: position?.epoch ?? -1, offset: position?.offset ?? 0,
            message: id, now: now)
        let before = rooms[room].publications[id.publisher][index].state
        guard before != .acked else { return }
        rooms[room].publications[id.publisher][index].state = .acked
        rooms[room].publications[id.publisher][index].completedAt = now.nanoseconds
        figures.acked += 1
        limitTook(room, sentAt: rooms[room].publications[id.publisher][index].invokedAt, now: now)
        if before == .pending {
            let record = rooms[room].publications[id.publisher][index]
            let waited = now.nanoseconds - min(record.invokedAt, now.nanoseconds)
            figures.ackLatency[column(record)].record(nanoseconds: waited)
            if phase == .calm { figures.ackedInCalm += 1 }
        }
        guard plan.hasHistory else { return }
        guard let position, position.epoch >= 0, position.offset > 0 else {
            violate(.ackHonesty, room: room, now: now, "\(name(id)) was acknowledged without its place")
            return
        }
        meet(room, position, now: now)
        guard place(room, position, id, now: now) else { return }
        let top = rooms[room].epochs[Int(position.epoch)].ackedTop
        rooms[room].epochs[Int(position.epoch)].ackedTop = max(top, position.offset)
    }

    /// It was definitely not published: error 120, or an error that says that the command itself was wrong.
    package func refused(_ room: Int, _ id: MessageID, now: MonotonicTime) {
        guard exists(room, id) else { return }
        log(.refused, room: room, who: id.publisher, message: id, now: now)
        rooms[room].publications[id.publisher][id.sequence - 1].state = .refused
        figures.refused += 1
        if rooms[room].publications[id.publisher][id.sequence - 1].wasDelivered {
            violate(.phantom, room: room, now: now, "\(name(id)) was refused but had been delivered")
        }
    }

    /// Nobody knows: no answer, error 100, or the connection ended. It may be in once or not at all.
    package func unknown(_ room: Int, _ id: MessageID, now: MonotonicTime) {
        guard exists(room, id) else { return }
        log(.unknown, room: room, who: id.publisher, message: id, now: now)
        let index = id.sequence - 1
        guard rooms[room].publications[id.publisher][index].state == .pending else { return }
        rooms[room].publications[id.publisher][index].state = .unknown
        rooms[room].publications[id.publisher][index].wasUnknown = true
        figures.unknown += 1
    }

    /// A publish got no answer at all within the limit, and nothing excuses it.
    package func silent(_ room: Int, _ id: MessageID, gateway: Int, since: MonotonicTime, now: MonotonicTime) {
        let waited = now.since(since).wholeMilliseconds
        violate(
            .errorVisibility, room: room, now: now, "\(name(id)) got no answer from gateway \(gateway) in \(waited) ms")
    }

    // MARK: Places

    /// Notes that servers speak of `position`; a new epoch is legal only when data may have been lost.
    func meet(_ room: Int, _ position: Position, now: MonotonicTime) {
        let epoch = Int(position.epoch)
        guard epoch >= 0, epoch < rooms[room].epochs.count else { return }
        if position.epoch > rooms[room].current {
            if rooms[room].current >= 0 {
                figures.newEpochs += 1
                if mayRenewEpoch {
                    let old = Int(rooms[room].current)
                    rooms[room].epochs[old].survivors = rooms[room].epochs[old].survivors ?? .max
                } else if !mayChangeEpoch {
                    violate(.ackHonesty, room: room, now: now, "the epoch changed though nothing was lost")
                }
            }
            rooms[room].current = position.epoch
        }
        let top = rooms[room].epochs[epoch].seenTop
        rooms[room].epochs[epoch].seenTop = max(top, position.offset)
    }

    /// Notes that `id` lies at `position`; false when that contradicts what is known.
    func place(_ room: Int, _ position: Position, _ id: MessageID, now: MonotonicTime) -> Bool {
        let epoch = Int(position.epoch)
        guard epoch >= 0, epoch < rooms[room].epochs.count else { return true }
        // The table grows with what was sent, never with what a server claims.
        guard position.offset <= rooms[room].invoked * 4 + 65_536 else {
            violate(.inconsistentOffset, room: room, now: now, "\(name(id)) is said to be at offset \(position.offset)")
            return false
        }
        let known = rooms[room].epochs[epoch].message(position.offset)
        if known != 0, known != id.word {
            let other = name(MessageID(word: known))
            violate(
                .inconsistentOffset, room: room, now: now,
                "epoch \(epoch) offset \(position.offset) is \(other) and also \(name(id))")
            return false
        }
        if known == 0 { fill(room, epoch, position.offset, id.word) }
        let record = rooms[room].publications[id.publisher][id.sequence - 1]
        if record.epoch == position.epoch, record.offset != position.offset {
            violate(
                .duplicate, room: room, now: now,
                "\(name(id)) is at offset \(record.offset) and at \(position.offset) of epoch \(epoch)")
            return false
        }
        if record.epoch == position.epoch { return true }
        rooms[room].publications[id.publisher][id.sequence - 1].epoch = position.epoch
        rooms[room].publications[id.publisher][id.sequence - 1].offset = position.offset
        if record.floor.epoch == position.epoch, position.offset <= record.floor.offset {
            violate(
                .realTimeOrder, room: room, now: now,
                "\(name(id)) is at offset \(position.offset), "
                    + "but \(record.floor.offset) was acknowledged before it was sent"
            )
            return false
        }
        return true
    }

    private func fill(_ room: Int, _ epoch: Int, _ offset: UInt64, _ word: UInt64) {
        let index = Int(offset)
        let missing = index + 1 - rooms[room].epochs[epoch].table.count
        if missing > 0 { rooms[room].epochs[epoch].table.append(contentsOf: repeatElement(0, count: missing)) }
        rooms[room].epochs[epoch].table[index] = word
    }

    func name(_ id: MessageID) -> String {
        id.publisher == plan.marker ? "marker #\(id.sequence)" : "publisher \(id.publisher) #\(id.sequence)"
    }
}
