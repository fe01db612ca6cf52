// Rooms and what is published in them: joining, coming back with recovery, and delivery without duplicates.

import Bytes
import Wire

extension ClientSession {
    mutating func add(_ room: String, _ state: Subscription.State, joinLeave: Bool = false) {
        let backoff = Backoff(base: options.backoffBase, cap: options.backoffCap)
        rooms[room] = Subscription(state: state, joinLeave: joinLeave, backoff: backoff)
        roomOrder.append(room)
    }

    mutating func remove(_ room: String) -> Subscription? {
        guard let subscription = rooms.removeValue(forKey: room) else { return nil }
        roomOrder.removeAll { $0 == room }
        return subscription
    }

    func isActive(_ room: String) -> Bool {
        if case .active? = rooms[room]?.state { return true }
        return false
    }

    /// Sends what can be sent now: subscribes that are due, then publishes whose room is not on its way.
    mutating func pump(_ now: MonotonicTime) {
        guard case .connected = state else { return }
        for room in roomOrder {
            guard let subscription = rooms[room], !subscription.isServerSide,
                case .waiting(let until) = subscription.state, until.map({ now >= $0 }) ?? true
            else { continue }
            let id = register(.subscribe(room: room), now)
            rooms[room]?.state = .requested(id: id, recovering: subscription.mark != nil)
            CommandWriter.subscribe(
                id: id, room: room, after: subscription.mark, joinLeave: subscription.joinLeave, to: &scratch)
            sendScratch()
        }
        sendPublishes(now)
    }

    private mutating func sendPublishes(_ now: MonotonicTime) {
        guard case .connected(let since) = state else { return }
        let rooms = rooms
        while true {
            // The server may admit members only: what is said in a room that we are entering waits for the entrance.
            let next = publishes.next(now: now, connected: since) { room in
                guard let subscription = rooms[room], !subscription.isServerSide else { return true }
                if case .active = subscription.state { return true }
                return false
            }
            guard let publish = next else { return }
            let id = register(.publish(room: publish.room), now)
            CommandWriter.publish(id: id, room: publish.room, data: publish.data, key: publish.key, to: &scratch)
            sendScratch()
        }
    }

    // MARK: Entering

    mutating func activate(_ room: String, _ id: UInt32, _ result: Entrance, _ now: MonotonicTime) {
        // Left in the meantime, or left and entered again: the reply belongs to an older wish.
        guard let subscription = rooms[room], case .requested(id, let recovering) = subscription.state else { return }
        begin(room, subscription, result, wasRecovering: recovering || result.wasRecovering, now)
    }

    mutating func activateServerSide(_ room: String, _ result: Entrance, _ now: MonotonicTime) {
        if rooms[room] == nil {
            guard rooms.count < options.rooms else { return }
            add(room, .waiting(until: nil))
        }
        rooms[room]?.isServerSide = true
        guard let subscription = rooms[room] else { return }
        begin(room, subscription, result, wasRecovering: result.wasRecovering, now)
    }

    private mutating func begin(
        _ room: String, _ subscription: Subscription, _ result: Entrance, wasRecovering: Bool,
        _ now: MonotonicTime
    ) {
        var subscription = subscription
        subscription.state = .active(since: now)
        // What came up to here was handed on already; in a new stream, nothing was. A position above the stream's own
        // is worth nothing.
        var seen: UInt64 = 0
        if let mark = subscription.mark, result.isRecovered || mark.epoch == result.mark.epoch {
            seen = min(mark.offset, result.mark.offset)
        }
        var missed: [RoomPublication] = []
        for publication in result.publications {
            if let offset = publication.offset {
                guard offset > seen else { continue }
                seen = offset
            }
            var named = publication
            named.room = room
            missed.append(named)
        }
        let top = StreamMark(epoch: result.mark.epoch, offset: max(result.mark.offset, seen))
        let entrance = RoomSubscription(
            wasRecovering: wasRecovering || subscription.hasLostMark, isRecovered: result.isRecovered,
            publications: missed.count, isRecoverable: result.isRecoverable, mark: result.isRecoverable ? top : nil,
            isServerSide: subscription.isServerSide, data: result.data)
        subscription.hasLostMark = false
        subscription.mark = entrance.mark
        rooms[room] = subscription
        events.append(.subscribed(room: room, entrance))
        for publication in missed { events.append(.publication(publication)) }
    }

    mutating func subscribeFailed(_ room: String, _ id: UInt32, _ error: ServerError, _ now: MonotonicTime) {
        guard var subscription = rooms[room], case .requested(id, _) = subscription.state else { return }
        if error.code == ErrorCode.unrecoverablePosition.rawValue, subscription.mark != nil {
            // The position is of no use any more: enter without it and say that continuity is lost.
            subscription.mark = nil
            subscription.hasLostMark = true
            subscription.state = .waiting(until: nil)
            rooms[room] = subscription
            return
        }
        guard error.isTemporary else {
            _ = remove(room)
            events.append(.subscribeFailed(room: room, .refused(error), willRetry: false))
            return
        }
        let wait = error.retryAfter.map { min($0, options.hintCap) } ?? subscription.backoff.next(using: &random)
        subscription.state = .waiting(until: now + wait)
        rooms[room] = subscription
        events.append(.subscribeFailed(room: room, .refused(error), willRetry: true))
    }

    // MARK: Leaving

    mutating func unsubscribed(_ room: String, _ code: UInt32, _ reason: String, _ now: MonotonicTime) {
        guard var subscription = rooms[room] else { return }
        guard UnsubscribeCode.resubscribes(code), !subscription.isServerSide else {
            _ = remove(room)
            events.append(.unsubscribed(room: room, code: code, reason: reason))
            return
        }
        // 2500 and above: enter again and recover, soon. All members of a room hear this at the same moment, hence the
        // jitter; a server that keeps saying so is given time.
        if case .active(let since) = subscription.state, now >= since + options.stableAfter {
            subscription.backoff.reset()
        }
        subscription.state = .waiting(until: now + subscription.backoff.next(using: &random))
        rooms[room] = subscription
    }

    // MARK: Delivery

    /// Hands a publication on, unless its room was left or its offset was seen already.
    mutating func deliver(_ publication: RoomPublication) {
        guard let subscription = rooms[publication.room], isActive(publication.room) else { return }
        if let mark = subscription.mark, let offset = publication.offset, offset > 0 {
            guard offset > mark.offset else { return }
            rooms[publication.room]?.mark?.offset = offset
        }
        events.append(.publication(publication))
    }
}
