// Publishers: an open stream of publications at fixed times, one at a time per publisher and room, each with an
// idempotency key that is reused when it is sent again, also at another gateway. Part of ClientPool; on its loop.

import Bytes
import LoadCore
import Reactor
import Wire

extension ClientPool {
    /// Publishes from now on.
    package func startPublishing() {
        isPublishing = true
        publishClock = loop.now
        publishDue = 0
        publishTick()
    }

    /// Sends nothing new; what is under way goes on.
    package func stopPublishing() { isPublishing = false }

    private func publishTick() {
        guard isPublishing else { return }
        let passed = Double(loop.now.since(publishClock).wholeNanoseconds) / 1e9
        publishClock = loop.now
        // After a stall of the driver itself it does not catch up in one burst.
        publishDue += min(passed, 0.2) * plan.rate
        while publishDue >= 1 {
            publishDue -= 1
            publishNext()
        }
        loop.schedule(after: .milliseconds(8)) { [weak self] in self?.publishTick() }
    }

    private func publishNext() {
        figures.planned += 1
        if checker.phase == .calm { figures.plannedInCalm += 1 }
        for _ in 0..<plan.publishers {
            let number = nextPublisher
            nextPublisher = (nextPublisher + 1) % plan.publishers
            let client = clients[plan.subscribers + number]
            guard client.stage == .joined else { continue }
            for _ in 0..<plan.rooms {
                let room = client.nextRoom
                client.nextRoom = (client.nextRoom + 1) % plan.rooms
                guard client.operations[room] == nil else { continue }
                begin(client, number, room)
                return
            }
        }
        // Nobody is connected, or everybody waits.
        figures.skipped += 1
    }

    private func begin(_ client: VerifyClient, _ publisher: Int, _ room: Int) {
        let id = checker.nextMessage(room, publisher: publisher)
        checker.invoked(room, id, now: loop.now)
        let operation = PublishOperation(
            room: room, id: id, time: loop.now.nanoseconds, acceptsRefusal: client.random.next() % 2 == 0,
            firstSentAt: loop.now)
        client.operations[room] = operation
        transmit(client, room)
    }

    /// Sends one marker to each room; the last thing that subscribers must get.
    package func sendMarkers() {
        let client = clients[plan.subscribers + plan.publishers]
        for room in 0..<plan.rooms {
            let id = checker.nextMessage(room, publisher: checker.plan.marker)
            checker.invoked(room, id, now: loop.now)
            client.operations[room] = PublishOperation(
                room: room, id: id, time: loop.now.nanoseconds, acceptsRefusal: false, firstSentAt: loop.now)
            transmit(client, room)
        }
    }

    private func transmit(_ client: VerifyClient, _ room: Int) {
        guard client.stage == .joined, var operation = client.operations[room] else { return }
        operation.attempts += 1
        operation.command = client.makeCommand()
        operation.sentAt = loop.now
        operation.gateway = client.gateway
        operation.retryAt = nil
        client.operations[room] = operation
        checker.attempted(room, now: loop.now)
        var data = ByteBuffer(capacity: Marker.length + 2 + padding)
        data.append(UInt8(ascii: "\""))
        let mark = Marker(
            time: operation.time, room: room, publisher: operation.id.publisher, sequence: UInt64(operation.id.sequence)
        )
        mark.write(to: data.reserve(Marker.length))
        data.advance(by: Marker.length)
        for _ in 0..<padding { data.append(UInt8(ascii: ".")) }
        data.append(UInt8(ascii: "\""))
        var name = RoomNames.name(room)
        var key = plan.hasHistory ? "\(room).\(operation.id.publisher).\(operation.id.sequence)" : ""
        name.withUTF8 { name in
            key.withUTF8 { key in
                var request = PublishRequest()
                request.room = UnsafeRawBufferPointer(name)
                request.data = data.bytes
                request.idempotencyKey = UnsafeRawBufferPointer(key)
                send(client, Command(id: operation.command, request: .publish(request)))
            }
        }
    }

    /// The reply to a publish command.
    func published(_ client: VerifyClient, _ room: Int, _ reply: Reply) {
        guard var operation = client.operations[room] else { return }
        operation.command = 0
        slowestAnswer = max(slowestAnswer, loop.now.since(operation.sentAt))
        client.operations[room] = operation
        switch reply {
        case .publish(let result):
            if operation.sentAt >= ackWatch.since, ackWatch.first[operation.gateway] == nil {
                ackWatch.first[operation.gateway] = loop.now
            }
            if operation.attempts > 1 { checker.figures.retriesAcked += 1 }
            let position =
                result.offset > 0 || !result.epoch.isEmpty
                ? Position(epoch: checker.epoch(room, result.epoch), offset: result.offset) : nil
            client.operations[room] = nil
            checker.acked(room, operation.id, at: position, now: loop.now)
        case .error(let error) where error.code == ErrorCode.engineUnavailable.rawValue:
            refused(client, operation)
        case .error(let error) where error.code == ErrorCode.internalError.rawValue:
            uncertain(client, operation)
        case .error(let error):
            if error.code == ErrorCode.tooManyRequests.rawValue {
                checker.rateRefused(room, retryAfter: error.retryAfter, now: loop.now)
            } else {
                checker.report(.crash, room: room, now: loop.now, "a publish that is allowed got error \(error.code)")
            }
            refused(client, operation)
        default:
            checker.report(.isolation, room: room, now: loop.now, "a publish got the reply to another command")
            uncertain(client, operation)
        }
    }

    /// Nothing was published by this attempt.
    private func refused(_ client: VerifyClient, _ operation: PublishOperation) {
        var operation = operation
        let isFinal = operation.acceptsRefusal || operation.attempts >= plan.retryLimit
        guard isFinal, !(operation.id.publisher == checker.plan.marker) else {
            operation.retryAt = loop.now + pause(client, operation)
            client.operations[operation.room] = operation
            return
        }
        client.operations[operation.room] = nil
        if operation.isUncertain {
            checker.unknown(operation.room, operation.id, now: loop.now)
        } else {
            checker.refused(operation.room, operation.id, now: loop.now)
        }
    }

    /// This attempt may have been published.
    private func uncertain(_ client: VerifyClient, _ operation: PublishOperation) {
        var operation = operation
        operation.isUncertain = true
        operation.command = 0
        let isMarker = operation.id.publisher == checker.plan.marker
        // Without a key in the script a repetition could be published twice.
        guard plan.hasHistory, operation.attempts < plan.retryLimit || isMarker else {
            client.operations[operation.room] = nil
            checker.unknown(operation.room, operation.id, now: loop.now)
            return
        }
        operation.retryAt = loop.now + pause(client, operation)
        client.operations[operation.room] = operation
    }

    private func pause(_ client: VerifyClient, _ operation: PublishOperation) -> Duration {
        var backoff = Backoff(base: .milliseconds(100), cap: .seconds(2))
        var wait = Duration.zero
        for _ in 0..<min(6, operation.attempts) { wait = backoff.next(using: &client.random) }
        return wait
    }

    /// Sends again what waits for its time, and gives up on connections that do not answer.
    func retryOperations(_ client: VerifyClient, _ now: MonotonicTime) {
        guard !client.operations.isEmpty else { return }
        var isSilent = false
        for (room, operation) in client.operations {
            if let at = operation.retryAt, at <= now, client.stage == .joined { transmit(client, room) }
            guard operation.isInFlight, now.since(operation.sentAt) > plan.answerLimit else { continue }
            isSilent = true
            if directory.mustAnswer(operation.gateway, since: operation.sentAt) {
                checker.silent(room, operation.id, gateway: operation.gateway, since: operation.sentAt, now: now)
            }
        }
        if isSilent, let id = client.id {
            figures.silentConnections += 1
            client.isOwnClose = true
            loop.close(id)
            client.closeCode = nil
        }
    }

    /// The connection of a publisher is gone, and with it the answers.
    func lostConnection(_ client: VerifyClient) {
        for operation in client.operations.values where operation.isInFlight {
            slowestAnswer = max(slowestAnswer, loop.now.since(operation.sentAt))
            uncertain(client, operation)
        }
    }
}

extension Checker {
    /// The name of the publisher's next message in `room`.
    func nextMessage(_ room: Int, publisher: Int) -> MessageID {
        MessageID(publisher, rooms[room].publications[publisher].count + 1)
    }
}
