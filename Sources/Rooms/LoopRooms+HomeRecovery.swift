// Rooms with history at home: subscribers are let in at one exact point of the room's order, returning ones with all
// that they missed or with the plain word that it is not all there.
//
// A subscriber is answered by the home, not by its own loop: the mailbox keeps the order of "you are in at offset n"
// and of publication n + 1, so nothing is missed and nothing comes twice.
//
// The engine is never asked for a single subscriber. Whoever cannot be answered from memory waits, and one question at
// a time is asked for all of them, so that a storm of returning clients costs the engine a reading a room.

import Bytes
import Wire

extension LoopRooms {
    /// How long a subscriber that is ahead of this home waits for what it has seen elsewhere before the engine is
    /// asked: as a rule the publication is on its way.
    static let patience = Duration.milliseconds(50)
    /// Questions that may be asked for one subscriber: with `patience` in between, time for a gap to be mended.
    static let mostQuestions = 8

    /// A subscriber has come.
    func homeAttend(_ attendance: Attendance, _ options: RoomOptions) {
        let name = attendance.name.bytes
        let hash = NameTable.hash(name)
        guard options.isAttended else { return turnAway(attendance, .unavailable) }
        let action = home.join(name, hash: hash, loop: attendance.loop, local: attendance.local)
        guard let number = home.names.find(name, hash: hash) else { return turnAway(attendance, .unavailable) }
        let stream = options.history.map { home.stream(number) ?? makeStream(number, options, $0) }
        stream?.forget(attendance.comer)
        if let kept = options.presence {
            let presence = home.presence(number) ?? makePresence(number, kept)
            presence.forget(attendance.comer)
            enter(number, presence, attendance)
        } else if let stream {
            admit(number, stream, .init(attendance: attendance), answer: nil)
        }
        if action == .subscribe { engine.subscribe(room: name, history: options.history) }
    }

    private func makePresence(_ number: UInt32, _ options: PresenceOptions) -> HomePresence {
        let presence = HomePresence(options: options)
        home.setPresence(number, presence)
        return presence
    }

    private func makeStream(_ number: UInt32, _ options: RoomOptions, _ history: HistoryOptions) -> HomeStream {
        streamCount += 1
        let stream = HomeStream(
            id: streamCount, options: history, recoveryLimit: options.recoveryLimit, replyBytes: rules.replyBytes)
        home.setStream(number, stream)
        return stream
    }

    /// Lets everybody in who waited for the same.
    func admit(
        _ number: UInt32, _ stream: HomeStream, all subscribers: [HomeStream.Waiting], answer: StreamPosition? = nil
    ) {
        guard !subscribers.isEmpty else { return }
        stream.replies = .init()
        for subscriber in subscribers { admit(number, stream, subscriber, answer: answer) }
        stream.replies = nil
        askForWaiting(number, stream)
    }

    /// Lets a subscriber in, or has it wait. `answer` is what the engine said to the question that it waited for.
    func admit(
        _ number: UInt32, _ stream: HomeStream, _ subscriber: HomeStream.Waiting, answer: StreamPosition?
    ) {
        let attendance = subscriber.attendance
        guard home.stream(number) === stream else { return turnAway(attendance, .unavailable) }
        guard home.isLive(number) else { return hold(number, stream, subscriber, for: .flow) }
        guard engine.isStoreKnown else { return turnAway(attendance, .unavailable) }
        // Members of its loop would get what they have not had yet, and so would it.
        guard !stream.isLagging(attendance.loop) else { return hold(number, stream, subscriber, for: .lag) }
        guard let since = attendance.since else { return welcome(number, stream, subscriber, nil) }
        let decision = stream.decide(since, now: outlet.now)
        if case .recovered(let past, let tail) = decision {
            return welcome(number, stream, subscriber, recovered(stream, since.offset, past, tail))
        }
        guard mayWait(stream, subscriber, since, decision, answer) else {
            // Let in below where it stands, it would get again what it has seen: only if the store itself stands there.
            if decision == .wait, !isBeyond(since, answer, stream) { return turnAway(attendance, .unavailable) }
            return welcome(number, stream, subscriber, nil)
        }
        hold(number, stream, subscriber, for: decision == .wait ? .arrival : .past)
    }

    /// Whether another answer of the engine may still help.
    private func mayWait(
        _ stream: HomeStream, _ subscriber: HomeStream.Waiting, _ since: StreamPosition, _ decision: RecoveryMerge,
        _ answer: StreamPosition?
    ) -> Bool {
        guard subscriber.questions < LoopRooms.mostQuestions else { return false }
        switch decision {
        case .wait: return !isBeyond(since, answer, stream)
        // What the answer does not reach is gone. One of another epoch says nothing: the order is doubted anyway.
        case .ask: return answer?.epoch != stream.cursor.epoch
        case .recovered, .refused: return false
        }
    }

    /// Whether nobody can have seen what stands at `since`: the stream itself does not have it.
    private func isBeyond(_ since: StreamPosition, _ answer: StreamPosition?, _ stream: HomeStream) -> Bool {
        guard let answer, answer.epoch == stream.cursor.epoch else { return false }
        return since.offset > answer.offset
    }

    private func hold(
        _ number: UInt32, _ stream: HomeStream, _ subscriber: HomeStream.Waiting,
        for reason: HomeStream.Waiting.Reason
    ) {
        guard stream.waiting.count < rules.waitingRecoveries else {
            return turnAway(subscriber.attendance, .unavailable)
        }
        stream.hold(subscriber, for: reason)
        switch reason {
        case .past: askForWaiting(number, stream)
        case .arrival: watchArrivals(number, stream)
        case .flow, .lag: break
        }
    }

    // MARK: The reply

    /// Tells a subscriber that it is in, and what it missed; nil: not all of that is there.
    private func welcome(
        _ number: UInt32, _ stream: HomeStream, _ subscriber: HomeStream.Waiting, _ missed: Payload?
    ) {
        #if MARTLET_MUTANTS
        let missed =
            PlantedDefect.skipsTheBacklog.isOn
            ? missed.map { _ in Payload(copying: .init(start: nil, count: 0)) } : missed
        #endif
        let attendance = subscriber.attendance
        // From here on its loop is served, which may have fallen behind before.
        home.forgive(number, loop: attendance.loop)
        if attendance.since != nil {
            outlet.record(
                .recovery(
                    isRecovered: missed != nil, fromEngine: subscriber.reason == .past || subscriber.questions > 0))
        }
        let welcome = Welcome(
            position: stream.position, isRecovered: missed != nil,
            publications: missed.flatMap { $0.count > 0 ? $0 : nil })
        send(attendance, .attended(attendance, welcome))
    }

    /// What a member missed, as entries of a reply; nil when it is too much for one. Whoever is let in together with
    /// others and missed the same gets the same bytes.
    private func recovered(
        _ stream: HomeStream, _ since: UInt64, _ past: Range<Int>, _ tail: Range<UInt64>
    ) -> Payload? {
        guard stream.replies != nil else { return stream.entries(past, tail).flatMap(encode) }
        if stream.replies?.position != stream.position { stream.replies = .init(position: stream.position) }
        if let known = stream.replies?.byOffset[since] { return known }
        let made = stream.entries(past, tail).flatMap(encode)
        stream.replies?.byOffset.updateValue(made, forKey: since)
        return made
    }

    /// Entries of a reply; nil when they are too much for one.
    private func encode(_ entries: [(UInt64, Payload)]) -> Payload? {
        guard entries.reduce(0, { $0 + $1.1.count }) <= rules.replyBytes else { return nil }
        var encoded = ByteBuffer()
        for (offset, fields) in entries { JSONCodec.appendEntry(fields: fields.bytes, offset: offset, to: &encoded) }
        return encoded.count <= rules.replyBytes ? Payload(copying: encoded.bytes) : nil
    }

    func turnAway(_ attendance: Attendance, _ failure: EngineFailure) {
        // It may have entered before it was clear that it cannot be let in.
        if let member = attendance.member, let options = presence(of: attendance.name.bytes) {
            engine.leave(
                room: attendance.name.bytes, client: member.client, presence: options, onlyIfLingering: false)
        }
        send(attendance, .turnedAway(attendance, .engine(failure)))
    }

    private func send(_ attendance: Attendance, _ kind: Errand.Kind) { send(Errand(kind), to: attendance.loop) }

    // MARK: Asking

    /// Asks the engine for those who wait for it, unless a question is on its way or still more subscribers come.
    private func askForWaiting(_ number: UInt32, _ stream: HomeStream) {
        guard stream.replies == nil, home.stream(number) === stream, home.isLive(number),
            let question = stream.takeQuestion()
        else { return }
        let query = HistoryQuery(
            direction: .reverse, since: nil, limit: question.isFill ? stream.mostMissed : 0,
            maxBytes: max(HomeStream.tailBytes, rules.replyBytes))
        let ticket = Ticket(connection: stream.id, command: question.number, loop: UInt16(loop))
        engine.read(
            room: home.names.name(of: number), history: stream.options, query,
            tag: ReadTag(purpose: .tail, ticket: ticket))
    }

    /// The engine has answered, or has not.
    func answerWaiting(
        _ number: UInt32, _ stream: HomeStream, _ tag: ReadTag, _ result: Result<HistoryAnswer, EngineFailure>
    ) {
        guard let question = stream.closeQuestion(tag.ticket.command) else { return }
        // Whoever lacks the past needs no other answer, even if it has come since the question was asked.
        let isMeant = { (subscriber: HomeStream.Waiting) in
            subscriber.reason == .past || subscriber.question == question.number
        }
        switch result {
        case .failure(let failure):
            for subscriber in stream.take(isMeant) { turnAway(subscriber.attendance, failure) }
        case .success(let answer):
            learn(number, stream, answer, isFill: question.isFill)
            pump(number, stream)
            admit(number, stream, all: stream.take(isMeant), answer: answer.position)
        }
        // Those who have to wait for an answer that is younger than they are.
        askForWaiting(number, stream)
    }

    private func learn(_ number: UInt32, _ stream: HomeStream, _ answer: HistoryAnswer, isFill: Bool) {
        guard answer.position.epoch == stream.cursor.epoch, answer.position.offset <= StreamCursor.largestOffset else {
            // Another life of the room, or nonsense: the order is doubted, and that is asked by itself.
            return stream.cursor.doubt()
        }
        if isFill, stream.keepPast(answer, now: outlet.now) {
            later(stream.pastLifetime, number, stream) { rooms, _, stream in stream.dropPast(now: rooms.outlet.now) }
        }
        // Somebody has seen what was not delivered here, and the stream has it: that is a gap.
        if stream.waiting.contains(where: { $0.reason == .arrival }) { stream.cursor.hear(of: answer.position.offset) }
    }

    /// Asks the engine about subscribers who are ahead of this home when what they have seen does not come.
    private func watchArrivals(_ number: UInt32, _ stream: HomeStream) {
        guard !stream.isWatching else { return }
        stream.isWatching = true
        later(LoopRooms.patience, number, stream) { rooms, number, stream in
            stream.isWatching = false
            guard rooms.home.isLive(number), stream.hurryArrivals() else { return }
            rooms.askForWaiting(number, stream)
        }
    }

    /// Does something for a room in a while, if it is still the same.
    func later(
        _ delay: Duration, _ number: UInt32, _ stream: HomeStream,
        _ body: @escaping (LoopRooms, UInt32, HomeStream) -> Void
    ) {
        outlet.schedule(after: delay) { [weak self, weak stream] in
            guard let self, let stream, home.stream(number) === stream else { return }
            body(self, number, stream)
        }
    }
}
