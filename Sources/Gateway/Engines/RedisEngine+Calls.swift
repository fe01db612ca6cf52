// Answers to calls. A script's reply that makes no sense poisons the link: its next replies would not be believed
// either. Whoever asked is told in every case, exactly once.

import Bytes
import Reactor
import Redis
import Rooms
import Telemetry

extension RedisEngine {
    /// A call has ended.
    func completed(_ call: EngineCall, _ outcome: CommandOutcome, _ elapsed: Duration) {
        metrics.observe(.engineDuration(call.command), elapsed)
        if case .refused(let kind) = outcome {
            metrics.add(.engineCommands(call.command, .refused))
            logRefusal(kind, of: call.name)
            if kind == .noScript { loadScripts() }
        }
        switch call {
        case .publish(let ticket, let number):
            published(ticket, number, outcome)
            state.pointee.table.release(number)
        case .publishOnce(let ticket): publishedOnce(ticket, outcome)
        case .passLimited(let ticket): passedLimited(ticket, outcome)
        case .read(let tag, let number, let mode, let isForeign):
            read(tag, number, mode, isForeign, outcome)
            state.pointee.table.release(number)
        case .position(let number):
            positioned(number, outcome)
            state.pointee.table.release(number)
        case .fence: fenced(outcome)
        case .announce: announced(outcome)
        case .beat(let sequence): beaten(sequence, outcome)
        case .audit: audited(outcome)
        case .loadScript: state.pointee.scriptsLoading = max(0, state.pointee.scriptsLoading - 1)
        case .leave, .plain: break
        default: completedMembers(call, outcome)
        }
    }

    /// A call about members has ended.
    private func completedMembers(_ call: EngineCall, _ outcome: CommandOutcome) {
        switch call {
        case .enter(let ticket, let number, let client, let serial):
            entered(ticket, number, client, serial, outcome)
            releaseMembers(number)
        case .exit(let number, let client, let serial):
            exited(number, client, serial, outcome)
            releaseMembers(number)
        case .say(let number, let clients, let serials):
            said(number, clients, serials, outcome)
            releaseMembers(number)
        case .listed(let number, let incarnation):
            listed(number, incarnation, outcome)
            releaseMembers(number)
        case .sweep(let number, let incarnation):
            swept(number, incarnation, outcome)
            releaseMembers(number)
        case .memberWord(let number): releaseMembers(number)
        case .members(let listing): membersRead(listing, outcome)
        case .reapRooms(let incarnation): reapRoomsRead(incarnation, outcome)
        case .reap(let room, let incarnation): reaped(room, incarnation, outcome)
        case .publish, .publishOnce, .passLimited, .read, .position, .fence, .announce, .beat, .audit,
            .loadScript, .leave, .plain:
            break
        }
    }

    /// A reply that cannot be one: the link is not to be trusted any more.
    func distrust() { state.pointee.commands.fail(.unexpectedReply) }

    /// Somebody has flushed the server's scripts. What was refused was not executed; what comes behind this works.
    private func loadScripts() {
        guard state.pointee.scriptsLoading == 0 else { return }
        for script in RedisScript.all where send(.loadScript, script.appendLoad) {
            state.pointee.scriptsLoading += 1
        }
        writeCommands()
    }

    // MARK: Publishing

    /// A plain publish has ended.
    func published(_ ticket: Ticket, _ outcome: CommandOutcome, _ elapsed: Duration) {
        metrics.observe(.engineDuration(.publish), elapsed)
        if case .refused(let kind) = outcome {
            metrics.add(.engineCommands(.publish, .refused))
            logRefusal(kind, of: "PUBLISH")
        }
        finishPublish(ticket, outcome) { _ in .taken(.none) }
    }

    private func publishedOnce(_ ticket: Ticket, _ outcome: CommandOutcome) {
        finishPublish(ticket, outcome) { PublishOnceResult($0) == nil ? nil : .taken(.none) }
    }

    private func passedLimited(_ ticket: Ticket, _ outcome: CommandOutcome) {
        finishPublish(ticket, outcome) { reply in
            switch PassLimitedResult(reply) {
            case .none: nil
            case .published(let next): .taken(.none, next: RateWaits(next))
            case .repeated: .taken(.none)
            case .limited(let waits): .limited(RateWaits(waits))
            }
        }
    }

    private func published(_ ticket: Ticket, _ number: UInt32, _ outcome: CommandOutcome) {
        #if MARTLET_MUTANTS
        if PlantedDefect.acksTooEarly.isOn { return state.pointee.breaker.succeeded() }
        #endif
        finishPublish(ticket, outcome) { reply in
            switch PublishResult(reply) {
            case .none: return nil
            case .published(let position):
                let position = StreamPosition(position)
                state.pointee.table.acknowledge(number, position, now: loop.now)
                return .taken(position, next: PublishResult.waits(reply).map { RateWaits($0) })
            case .repeated(let position): return .taken(StreamPosition(position))
            case .limited(let waits): return .limited(RateWaits(waits))
            case .staleTerm(let other):
                heard(of: other)
                return .failed(.unavailable)
            }
        }
    }

    /// Answers a publish; `judge` reads the reply, nil when it is none.
    private func finishPublish(
        _ ticket: Ticket, _ outcome: CommandOutcome,
        _ judge: (RedisReply) -> PublishOutcome?
    ) {
        let result: PublishOutcome
        switch outcome {
        case .reply(let reply):
            if let judged = judge(reply) {
                state.pointee.breaker.succeeded()
                metrics.add(.engineCommands(.publish, .ok))
                result = judged
            } else {
                distrust()
                metrics.add(.engineCommands(.publish, .lost))
                result = .failed(.outcomeUnknown)
            }
        case .refused(let kind):
            // What concerns one room says nothing about the others, and a lost script is being loaded.
            switch kind {
            case .noPermission, .noScript, .other: state.pointee.breaker.abandoned(now: loop.now)
            case .loading, .readOnly, .misconfigured, .outOfMemory, .busy, .noAuthentication, .wrongPassword,
                .masterDown, .tooManyClients:
                state.pointee.breaker.failed(now: loop.now)
            }
            result = .failed(.unavailable)
        case .notSent:
            state.pointee.breaker.abandoned(now: loop.now)
            metrics.add(.engineCommands(.publish, .unavailable))
            result = .failed(.unavailable)
        case .outcomeUnknown:
            state.pointee.breaker.abandoned(now: loop.now)
            metrics.add(.engineCommands(.publish, lossResult))
            result = .failed(.outcomeUnknown)
        }
        metrics.set(.engineBreakerOpen, state.pointee.breaker.isOpen ? 1 : 0)
        delegate?.published(ticket, result)
    }

    /// How a command is counted whose link broke.
    var lossResult: Labels.EngineResult {
        if case .poisoned(let fault) = state.pointee.commands.phase { return Labels.EngineResult(fault) }
        return .lost
    }

    // MARK: Reading

    private func read(
        _ tag: ReadTag, _ number: UInt32, _ mode: HistoryMode, _ isForeign: Bool, _ outcome: CommandOutcome
    ) {
        var result: Result<HistoryAnswer, EngineFailure> = .failure(.unavailable)
        switch outcome {
        case .reply(let reply):
            switch HistoryResult.read(reply, mode: mode) {
            case .none: distrust()
            case .staleTerm(let other): heard(of: other)
            case .result(let found):
                metrics.add(.engineCommands(.read, .ok))
                state.pointee.table.stands(number, found.record)
                result = .success(answer(found, mode, isForeign, state.pointee.table.name(number)))
            }
        case .refused, .notSent: break
        case .outcomeUnknown: metrics.add(.engineCommands(.read, lossResult))
        }
        delegate?.read(room: state.pointee.table.name(number), tag: tag, result)
    }

    private func answer(
        _ found: HistoryResult, _ mode: HistoryMode, _ isForeign: Bool, _ room: UnsafeRawBufferPointer
    ) -> HistoryAnswer {
        var answer = HistoryAnswer(
            standing: RoomStanding(found.record), isContinuous: !isForeign && found.state != .otherEpoch,
            coverage: RoomStream.Coverage(found.state), isReverse: mode == .reverse)
        answer.entries.reserveCapacity(found.count)
        var isSound = true
        found.forEachEntry { offset, fields in
            if answer.entries.isEmpty, isSound { answer.start = offset }
            guard isSound, state.pointee.check.isSound(fields) else {
                isSound = false
                return
            }
            answer.entries.append(Payload(copying: fields))
        }
        guard !isSound else { return answer }
        // What somebody else put there ends what can be shown; nobody is given a stream with a hole.
        skip(room: room, "unsound_entry")
        answer.coverage = mode == .recover ? .trimmed : .cut
        if mode == .recover { answer.entries = [] }
        return answer
    }

    private func positioned(_ number: UInt32, _ outcome: CommandOutcome) {
        // Given up meanwhile. If it is wanted again, its flow may not have begun yet: another call is to be answered.
        var isOvertaken = false
        state.pointee.table.update(number) {
            isOvertaken = $0.overtaken > 0
            if isOvertaken { $0.overtaken -= 1 } else { $0.asksPosition = false }
        }
        var standing: RoomStanding?
        switch outcome {
        case .reply(let reply):
            switch PositionResult(reply) {
            case .none: distrust()
            case .staleTerm(let other): heard(of: other)
            case .at(let record):
                metrics.add(.engineCommands(.position, .ok))
                state.pointee.table.stands(number, record)
                standing = RoomStanding(record)
            }
        case .refused, .notSent: break
        case .outcomeUnknown: metrics.add(.engineCommands(.position, lossResult))
        }
        guard !isOvertaken, state.pointee.table[number]?.owesAnswer == true else { return }
        let room = state.pointee.table.name(number)
        guard let standing else { return refuseSubscribe(room, .unavailable) }
        state.pointee.table.update(number) { $0.owesAnswer = false }
        delegate?.subscribed(room: room, .success(standing))
    }
}

extension EngineCall {
    /// What the call is in the metrics.
    var command: Labels.EngineCommand {
        switch self {
        case .publish, .publishOnce, .passLimited: .publish
        case .read: .read
        case .position: .position
        case .fence: .fence
        case .announce, .leave: .term
        case .beat: .beat
        case .audit: .audit
        case .loadScript: .script
        case .enter, .exit, .say, .sweep, .memberWord, .listed, .reapRooms, .reap, .plain: .presence
        case .members: .members
        }
    }

    /// The script's name, for the log.
    var name: StaticString {
        switch self {
        case .publish: RedisScript.publish.name
        case .publishOnce: RedisScript.publishOnce.name
        case .passLimited: RedisScript.passLimited.name
        case .read: RedisScript.history.name
        case .position: RedisScript.position.name
        case .fence: RedisScript.fence.name
        case .announce: RedisScript.announceTerm.name
        case .leave: RedisScript.leaveTerm.name
        case .beat: RedisScript.beat.name
        case .audit: RedisScript.audit.name
        case .loadScript: "SCRIPT LOAD"
        case .enter, .say: RedisScript.enter.name
        case .exit: RedisScript.exit.name
        case .memberWord: RedisScript.linger.name
        case .members: RedisScript.listMembers.name
        case .reap, .sweep: RedisScript.reap.name
        case .listed, .plain: "a command on the list of a node's rooms"
        case .reapRooms: "SSCAN"
        }
    }
}

// MARK: - Positions, as Redis and as rooms have them

extension StreamPosition {
    init(_ position: RoomPosition) { self.init(offset: position.offset, epoch: position.epoch) }
}

extension RoomPosition {
    init(_ position: StreamPosition) { self.init(offset: position.offset, epoch: position.epoch) }
}

extension RateWaits {
    init(_ waits: ScriptWaits) { self.init(room: waits.room, user: waits.user) }
}

extension ScriptLimits {
    init(_ limits: RateLimits, _ talker: UnsafeRawBufferPointer) {
        self.init(room: limits.room.map(ScriptLimit.init), user: limits.user.map(ScriptLimit.init), talker: talker)
    }
}

extension ScriptLimit {
    fileprivate init(_ limit: RateLimit) { self.init(interval: limit.interval, tolerance: limit.tolerance) }
}

extension RoomStanding {
    init(_ record: RoomRecord) {
        self.init(StreamPosition(record.top), former: record.previous.map { StreamPosition($0) })
    }
}

extension RoomStream.Coverage {
    init(_ state: HistoryState) {
        switch state {
        case .complete, .otherEpoch: self = .complete
        case .trimmed: self = .trimmed
        case .ahead: self = .ahead
        case .tooMuch: self = .tooMuch
        case .cut: self = .cut
        }
    }
}
