// What comes from the connections: bytes become events, events become answers and publications, faults become
// reconnections. All of it runs on the engine's loop, in the shell's order: feed, pull every event, write, look at the
// deadline.

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
        note(fault, of: connection)
        logFault(connection, fault, isLoss: false)
        updateAvailability()
    }

    // MARK: Time

    package func redisDeadlineChanged() {
        var next = MonotonicTime(nanoseconds: .max)
        for deadline in [commandConnection.deadline, roomConnection.deadline] { next = min(next, deadline ?? next) }
        next = min(next, state.pointee.commands.deadline ?? next)
        next = min(next, state.pointee.rooms.deadline ?? next)
        next = min(next, termDeadline ?? next)
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
        tickTerm()
        writeCommands()
        state.pointee.rooms.tick(now: loop.now)
        pullRooms()
        writeSubscriptions()
        redisDeadlineChanged()
    }

    // MARK: Commands

    func pullCommands() {
        state.pointee.commands.unsentByTransport = commandConnection.queuedBytes
        while let event = state.pointee.commands.next(now: loop.now) {
            switch event {
            case .ready: commandsReady()
            case .completed(let tag, let outcome, let elapsed):
                if let slot = tag.slot {
                    guard let call = state.pointee.calls.take(slot) else { continue }
                    completed(call, outcome, elapsed)
                } else {
                    published(Ticket(tag), outcome, elapsed)
                }
            }
        }
        guard case .poisoned(let fault) = state.pointee.commands.phase else { return }
        state.pointee.commands.close()
        state.pointee.keeper.linkLost()
        state.pointee.beat.sentAt = nil
        state.pointee.beat.rumour = nil
        state.pointee.scriptsLoading = 0
        state.pointee.presence.reaping = nil
        lost(commandConnection, fault)
    }

    private func commandsReady() {
        established(commandConnection)
        guard let life = state.pointee.commands.life else { return }
        beganLife(life)
        updateAvailability()
        redisDeadlineChanged()
    }

    // MARK: Rooms

    func pullRooms() {
        while let event = state.pointee.rooms.next(now: loop.now) {
            switch event {
            case .message(let room, let payload): received(room, payload)
            case .ready:
                established(roomConnection)
                beatNow()
                updateAvailability()
                redisDeadlineChanged()
            case .probed(let sequence): probed(sequence)
            case .subscribed(let room): flows(room)
            case .failed(let room, let outcome): failed(room, outcome)
            }
        }
        if case .poisoned(let fault) = state.pointee.rooms.phase {
            guard !state.pointee.roomsAreLost else { return }
            state.pointee.roomsAreLost = true
            if fault == .deaf {
                metrics.add(.engineProbeTimeouts)
                state.pointee.provesHearing = true
            }
            lost(roomConnection, fault)
            return
        }
        if !state.pointee.isAvailable, state.pointee.rooms.isRestored { updateAvailability() }
        // Confirmations have made room for more.
        if state.pointee.rooms.hasSubscriptionsToWrite { writeSubscriptions() }
    }

    private func received(_ room: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) {
        if var members = MemberEnvelope(payload) {
            while let entry = members.next() {
                guard state.pointee.check.isSound(object: entry.info) else { return skip(room: room, "unsound_member") }
                delegate?.memberChanged(
                    room: room,
                    MemberEvent(isJoin: entry.isJoin, client: entry.client, user: entry.user, info: entry.info))
            }
            if members.isBroken { skip(room: room, "malformed") }
            return
        }
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
        forget(room)
        switch outcome {
        case .outcomeUnknown:
            var result = Labels.EngineResult.lost
            if case .poisoned(let fault) = state.pointee.rooms.phase { result = Labels.EngineResult(fault) }
            metrics.add(.engineCommands(.subscribe, result))
            delegate?.subscribed(room: room, .failure(.outcomeUnknown))
        case .refused(let kind):
            metrics.add(.engineCommands(.subscribe, .refused))
            logRefusal(kind, of: "SUBSCRIBE")
            delegate?.subscribed(room: room, .failure(.unavailable))
        case .notSent, .reply:
            metrics.add(.engineCommands(.subscribe, .unavailable))
            delegate?.subscribed(room: room, .failure(.unavailable))
        }
    }

    // MARK: Both

    private func established(_ connection: RedisConnection) {
        connection.established()
        metrics.add(.engineCommands(.setup, .ok))
        if connection.establishments > 1 { metrics.add(.engineReconnects) }
    }

    /// A link is broken and everybody who waited for it was told.
    private func lost(_ connection: RedisConnection, _ fault: LinkFault) {
        let wasReady = connection.isReady
        connection.drop()
        if !wasReady { metrics.add(.engineCommands(.setup, Labels.EngineResult(fault))) }
        note(fault, of: connection)
        logFault(connection, fault, isLoss: wasReady)
        updateAvailability()
    }

    private func note(_ fault: LinkFault, of connection: RedisConnection) {
        if case .refused(let kind) = fault { metrics.add(.engineErrors(Labels.EngineError(kind))) }
        if connection === commandConnection {
            state.pointee.commandsFault = fault
        } else {
            state.pointee.roomsFault = fault
        }
    }
}
