// Rooms and what is published in them: joining, coming back with recovery, delivery without duplicates, and the queue
// of publishes.

import Bytes
import Wire

extension ClientSession {
    mutating func add(_ room: String, _ state: Subscription.State) {
        rooms[room] = Subscription(state: state, backoff: Backoff(base: options.backoffBase, cap: options.backoffCap))
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
            CommandWriter.subscribe(id: id, room: room, after: subscription.mark, to: &scratch)
            sendScratch()
        }
        sendQueue(now)
    }

    private mutating func sendQueue(_ now: MonotonicTime) {
        guard !queue.isEmpty, inFlight < options.inFlight else { return }
        var kept: [Publish] = []
        for (index, publish) in queue.enumerated() {
            guard inFlight < options.inFlight else {
                kept += queue[index...]
                break
            }
            // The server may admit members only: what is said in a room that we are entering waits for the entrance.
            if let subscription = rooms[publish.room], !isActive(publish.room), !subscription.isServerSide {
                kept.append(publish)
                continue
            }
            var sent = publish
            sent.attempts += 1
            inFlight += 1
            let id = register(.publish(sent), now)
            CommandWriter.publish(id: id, room: sent.room, data: sent.data, key: sent.key, to: &scratch)
            sendScratch()
        }
        queue = kept
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
        let wasRecovering = wasRecovering || subscription.hasLostMark
        subscription.hasLostMark = false
        if !result.isRecoverable {
            subscription.mark = nil
        } else if !result.isRecovered || subscription.mark == nil {
            // Publications that come with the reply lie before its position, so they must not be taken for seen ones.
            subscription.mark = StreamMark(
                epoch: result.mark.epoch, offset: result.publications.isEmpty ? result.mark.offset : 0)
        }
        rooms[room] = subscription
        events.append(
            .subscribed(
                room: room,
                RoomSubscription(
                    wasRecovering: wasRecovering, isRecovered: result.isRecovered,
                    isRecoverable: result.isRecoverable, isServerSide: subscription.isServerSide, data: result.data)))
        for publication in result.publications {
            var named = publication
            named.room = room
            deliver(named)
        }
        // The position counts even if some of the publications had been seen already.
        if result.isRecoverable, let mark = rooms[room]?.mark {
            rooms[room]?.mark = StreamMark(epoch: result.mark.epoch, offset: max(mark.offset, result.mark.offset))
        }
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
        // 2500 and above: enter again and recover. The first time at once; a server that keeps saying so is given time.
        if case .active(let since) = subscription.state, now >= since + options.stableAfter {
            subscription.backoff.reset()
        }
        let isFirst = subscription.backoff.attempts == 0
        let wait = subscription.backoff.next(using: &random)
        subscription.state = .waiting(until: isFirst ? nil : now + wait)
        rooms[room] = subscription
        pump(now)
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
