// What comes from the links: replies become answers, messages become publications, faults become reconnections. All of
// it runs on the engine's loop, in the shell's order: feed, pull every event, write, look at the deadline.

import Bytes
import Reactor
package import Redis
import Rooms
import Telemetry

extension RedisEngine: RedisConnectionOwner {
    package func redisOpened(_ connection: RedisConnection) {
        if connection === commandConnection {
            state.pointee.commands.open(now: loop.now)
            writeCommands()
        } else {
            state.pointee.roomsAreLost = false
            state.pointee.rooms.open(now: loop.now)
            writeSubscriptions()
        }
    }

    package func redisReceived(_ connection: RedisConnection, _ bytes: UnsafeRawBufferPointer) {
        if connection === commandConnection {
            state.pointee.commands.receive(bytes, now: loop.now)
            pullCommands()
        } else {
            state.pointee.rooms.receive(bytes, now: loop.now)
            pullRooms()
        }
    }

    package func redisLost(_ connection: RedisConnection, _ fault: LinkFault) {
        if connection === commandConnection {
            state.pointee.commands.unsentByTransport = 0
            state.pointee.commands.fail(fault)
            pullCommands()
        } else {
            state.pointee.rooms.fail(fault)
            pullRooms()
        }
    }

    package func redisAttemptFailed(_ connection: RedisConnection, _ fault: LinkFault) {
        metrics.add(.engineCommands(.setup, Labels.EngineResult(fault)))
        logFault(connection, fault, isLoss: false)
    }

    // MARK: Time

    package func redisDeadlineChanged() {
        var next = MonotonicTime(nanoseconds: .max)
        for deadline in [commandConnection.deadline, roomConnection.deadline] { next = min(next, deadline ?? next) }
        next = min(next, state.pointee.commands.deadline ?? next)
        next = min(next, state.pointee.rooms.deadline ?? next)
        guard next != state.pointee.wake else { return }
        loop.cancel(state.pointee.timer)
        state.pointee.timer = .none
        state.pointee.wake = next
        guard next.nanoseconds != .max else { return }
        let delay = max(.zero, next.since(loop.now))
        state.pointee.timer = loop.schedule(after: delay) { [weak self] in self?.tick() }
    }

    private func tick() {
        state.pointee.timer = .none
        state.pointee.wake = MonotonicTime(nanoseconds: .max)
        commandConnection.tick()
        roomConnection.tick()
        state.pointee.commands.unsentByTransport = commandConnection.queuedBytes
        state.pointee.commands.tick(now: loop.now)
        pullCommands()
        writeCommands()
        state.pointee.rooms.tick(now: loop.now)
        pullRooms()
        writeSubscriptions()
        redisDeadlineChanged()
    }

    // MARK: Commands

    private func pullCommands() {
        state.pointee.commands.unsentByTransport = commandConnection.queuedBytes
        while let event = state.pointee.commands.next(now: loop.now) {
            switch event {
            case .ready: ready(commandConnection)
            case .probed(let elapsed):
                metrics.add(.engineCommands(.probe, .ok))
                metrics.observe(.engineDuration(.probe), elapsed)
            case .completed(let tag, let outcome, let elapsed): published(Ticket(tag), outcome, elapsed)
            }
        }
        guard case .poisoned(let fault) = state.pointee.commands.phase else { return }
        state.pointee.commands.close()
        lost(commandConnection, fault)
    }

    private func published(_ ticket: Ticket, _ outcome: CommandOutcome, _ elapsed: Duration) {
        metrics.observe(.engineDuration(.publish), elapsed)
        switch outcome {
        case .reply:
            metrics.add(.engineCommands(.publish, .ok))
            delegate?.published(ticket, .success(.none))
        case .refused:
            metrics.add(.engineCommands(.publish, .refused))
            delegate?.published(ticket, .failure(.unavailable))
        case .notSent:
            metrics.add(.engineCommands(.publish, .unavailable))
            delegate?.published(ticket, .failure(.unavailable))
        case .outcomeUnknown:
            var result = Labels.EngineResult.lost
            if case .poisoned(let fault) = state.pointee.commands.phase { result = Labels.EngineResult(fault) }
            metrics.add(.engineCommands(.publish, result))
            delegate?.published(ticket, .failure(.outcomeUnknown))
        }
    }

    // MARK: Rooms

    private func pullRooms() {
        while let event = state.pointee.rooms.next(now: loop.now) {
            switch event {
            case .message(let room, let payload): received(room, payload)
            case .ready: ready(roomConnection)
            case .subscribed(let room):
                metrics.add(.engineCommands(.subscribe, .ok))
                delegate?.subscribed(room: room, .success(.none))
            case .failed(let room, let outcome): failed(room, outcome)
            }
        }
        if case .poisoned(let fault) = state.pointee.rooms.phase {
            guard !state.pointee.roomsAreLost else { return }
            state.pointee.roomsAreLost = true
            lost(roomConnection, fault)
            return
        }
        if !state.pointee.isAvailable, state.pointee.rooms.isRestored { updateAvailability() }
        // Confirmations have made room for more.
        if state.pointee.rooms.hasSubscriptionsToWrite { writeSubscriptions() }
    }

    private func received(_ room: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) {
        let envelope: PublicationEnvelope
        do throws(PublicationEnvelope.Fault) {
            envelope = try PublicationEnvelope(parsing: payload)
        } catch {
            switch error {
            case .unknownVersion: skip(room: room, "unknown_version")
            case .malformed: skip(room: room, "malformed")
            }
            return
        }
        guard state.pointee.check.isSound(envelope.fields) else { return skip(room: room, "unsound_fields") }
        let position = StreamPosition(offset: envelope.offset, epoch: envelope.epoch)
        delegate?.received(room: room, position: position, fields: envelope.fields)
    }

    private func failed(_ room: UnsafeRawBufferPointer, _ outcome: CommandOutcome) {
        switch outcome {
        case .outcomeUnknown:
            var result = Labels.EngineResult.lost
            if case .poisoned(let fault) = state.pointee.rooms.phase { result = Labels.EngineResult(fault) }
            metrics.add(.engineCommands(.subscribe, result))
            delegate?.subscribed(room: room, .failure(.outcomeUnknown))
        case .refused:
            metrics.add(.engineCommands(.subscribe, .refused))
            delegate?.subscribed(room: room, .failure(.unavailable))
        case .notSent, .reply:
            metrics.add(.engineCommands(.subscribe, .unavailable))
            delegate?.subscribed(room: room, .failure(.unavailable))
        }
    }

    // MARK: Both

    private func ready(_ connection: RedisConnection) {
        connection.established()
        metrics.add(.engineCommands(.setup, .ok))
        if connection.establishments > 1 { metrics.add(.engineReconnects) }
        updateAvailability()
        redisDeadlineChanged()
    }

    /// A link is broken and everybody who waited for it was told.
    private func lost(_ connection: RedisConnection, _ fault: LinkFault) {
        let wasReady = connection.isReady
        connection.drop()
        if !wasReady { metrics.add(.engineCommands(.setup, Labels.EngineResult(fault))) }
        logFault(connection, fault, isLoss: wasReady)
        updateAvailability()
    }
}

extension Labels.EngineResult {
    /// What a fault is called in the metrics.
    init(_ fault: LinkFault) {
        switch fault {
        case .timeout, .deaf, .connectTimeout: self = .timeout
        case .refused: self = .refused
        case .badReply, .unexpectedReply, .socket, .closedByServer: self = .lost
        case .unresolved, .shutdown: self = .unavailable
        }
    }
}
