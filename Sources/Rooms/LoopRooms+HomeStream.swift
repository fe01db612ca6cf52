// Rooms with history at home: subscribers are let in at one exact point of the room's order, returning ones with all
// that they missed or with the plain word that it is not all there; and the order is kept when pub/sub loses, repeats
// or delays something.
//
// A subscriber is answered by the home, not by its own loop: the mailbox keeps the order of "you are in at offset n"
// and of publication n + 1, so nothing is missed and nothing comes twice.

import Bytes
import Wire

extension LoopRooms {
    // MARK: Subscribers

    /// A subscriber has come.
    func homeAttend(_ attendance: Attendance, _ options: RoomOptions) {
        guard let history = options.history else { return turnAway(attendance, .unavailable) }
        let name = attendance.name.bytes
        let hash = NameTable.hash(name)
        let action = home.join(name, hash: hash, loop: attendance.loop, local: attendance.local)
        guard let number = home.find(name) else { return turnAway(attendance, .unavailable) }
        let stream = home.stream(number) ?? HomeStream(options: history, recoveryLimit: options.recoveryLimit)
        home.setStream(number, stream)
        guard stream.waiting.count < rules.waitingRecoveries else { return turnAway(attendance, .unavailable) }
        guard home.isLive(number) else {
            stream.waiting.append(.init(attendance: attendance))
            if action == .subscribe { engine.subscribe(room: name, history: history) }
            return
        }
        admit(number, stream, .init(attendance: attendance), answer: nil)
    }

    /// Lets a subscriber in, or asks the engine first for what it missed.
    private func admit(
        _ number: UInt32, _ stream: HomeStream, _ waiting: HomeStream.Waiting, answer: HistoryAnswer?
    ) {
        let attendance = waiting.attendance
        // What is too old to be asked for is too old to be recovered.
        stream.tail?.trim(now: outlet.now)
        guard let since = attendance.since, let tail = stream.tail else {
            return welcome(number, stream, attendance, nil)
        }
        var part: RecoveryMerge.Answer?
        if let answer {
            guard answer.isContinuous, answer.coverage == .complete, answer.position.epoch == stream.cursor.epoch else {
                return welcome(number, stream, attendance, nil)
            }
            part = .init(
                start: answer.entries.isEmpty ? answer.position.offset + 1 : answer.start, count: answer.entries.count)
        } else if since.epoch != stream.cursor.epoch {
            // Perhaps a former epoch that the stream continues: the engine knows.
            return ask(number, stream, waiting, since)
        }
        let decision = RecoveryMerge.decide(
            since: since.offset, delivered: stream.cursor.delivered, tail: tail, answer: part)
        switch decision {
        case .recovered(let fromAnswer, let fromTail):
            var missed: [(UInt64, Payload)] = []
            if let answer {
                for index in fromAnswer { missed.append((answer.offset(at: index), answer.entries[index])) }
            }
            for offset in fromTail {
                guard let payload = tail.payload(at: offset) else { return welcome(number, stream, attendance, nil) }
                missed.append((offset, payload))
            }
            welcome(number, stream, attendance, missed)
        case .wait, .ask: ask(number, stream, waiting, since)
        case .refused: welcome(number, stream, attendance, nil)
        }
    }

    private func ask(
        _ number: UInt32, _ stream: HomeStream, _ waiting: HomeStream.Waiting, _ since: StreamPosition
    ) {
        // An answer that does not fit twice was overtaken by a busy room or contradicts what we see.
        guard waiting.questions < 3 else { return welcome(number, stream, waiting.attendance, nil) }
        var waiting = waiting
        waiting.questions += 1
        let attendance = waiting.attendance
        stream.waiting.append(waiting)
        let ticket = Ticket(
            connection: attendance.connection, command: attendance.command, loop: UInt16(attendance.loop))
        let query = HistoryQuery(
            direction: .recover, since: since, limit: stream.recoveryLimit, maxBytes: rules.replyBytes)
        engine.read(
            room: home.names.name(of: number), history: stream.options, query,
            tag: ReadTag(purpose: .recovery, ticket: ticket))
    }

    /// Tells a subscriber that it is in, and what it missed; nil: not all of that is there.
    private func welcome(
        _ number: UInt32, _ stream: HomeStream, _ attendance: Attendance, _ missed: [(UInt64, Payload)]?
    ) {
        // The loop may have fallen behind since the subscriber came: from here on it is served again.
        home.forgive(number, loop: attendance.loop)
        let position = StreamPosition(offset: stream.cursor.delivered, epoch: stream.cursor.epoch)
        var answer = Welcome(position: position, isRecovered: false, publications: nil)
        if let missed, missed.count <= stream.recoveryLimit, let publications = encode(missed) {
            answer = Welcome(
                position: position, isRecovered: attendance.since != nil,
                publications: publications.count > 0 ? publications : nil)
        }
        send(attendance, .attended(attendance, answer))
    }

    private func turnAway(_ attendance: Attendance, _ failure: EngineFailure) {
        send(attendance, .turnedAway(attendance, failure))
    }

    /// Entries of a reply; nil when they are too much for one.
    private func encode(_ entries: [(UInt64, Payload)]) -> Payload? {
        guard entries.reduce(0, { $0 + $1.1.count }) <= rules.replyBytes else { return nil }
        var encoded = ByteBuffer()
        for (offset, fields) in entries { JSONCodec.appendEntry(fields: fields.bytes, offset: offset, to: &encoded) }
        return encoded.count <= rules.replyBytes ? Payload(copying: encoded.bytes) : nil
    }

    private func send(_ attendance: Attendance, _ kind: Errand.Kind) { send(Errand(kind), to: attendance.loop) }

    /// Hands an errand to a loop; to this one by a call. Urgent: each answers a command, and those are bounded.
    func send(_ errand: Errand, to target: Int) {
        if target == loop {
            run(errand)
        } else {
            _ = outlet.post(LoopMessage(.errand, object: errand), to: target, urgent: true)
        }
    }

    /// Does an errand, on the loop that it was meant for.
    func run(_ errand: Errand) {
        switch errand.kind {
        case .attend(let attendance):
            let namespace = RoomName.namespace(of: attendance.name.bytes)
            homeAttend(attendance, rules.options(namespace: namespace) ?? RoomOptions())
        case .attended(let attendance, let welcome): finishAttendance(attendance, .success(welcome))
        case .turnedAway(let attendance, let failure): finishAttendance(attendance, .failure(failure))
        case .history(let order): homeHistory(order)
        case .historyRead(let ticket, let result): finishHistory(ticket, result)
        }
    }

    // MARK: The flow

    /// The engine's flow has begun, or begun anew, at `position`.
    func streamBegan(_ number: UInt32, _ stream: HomeStream, _ position: StreamPosition) {
        home.markLive(number)
        stream.adopt(position)
        let waiting = stream.waiting
        stream.waiting = []
        for subscriber in waiting { admit(number, stream, subscriber, answer: nil) }
        pump(number, stream)
    }

    /// The flow could not begin.
    func streamRefused(_ number: UInt32, _ stream: HomeStream, _ failure: EngineFailure) {
        let waiting = stream.waiting
        stream.waiting = []
        var served: [(Int, UInt64)] = []
        home.forEachLoop(number) { served.append(($0, $1)) }
        let name = stream.tail == nil ? nil : Payload(copying: home.names.name(of: number))
        home.remove(number)
        // A flow that was to begin anew may still run in the engine, and nobody is left to end it.
        if let name { engine.unsubscribe(room: name.bytes) }
        for subscriber in waiting { turnAway(subscriber.attendance, failure) }
        // A flow that was to begin anew had members: they are told, and come back by subscribing.
        for (target, local) in served { tell(target, .behind, (local, 0, 0, 0)) }
    }

    /// A publication has come by pub/sub.
    func streamReceived(
        _ number: UInt32, _ stream: HomeStream, _ position: StreamPosition, _ fields: UnsafeRawBufferPointer
    ) {
        let verdict = stream.cursor.live(
            offset: position.offset, epoch: position.epoch, payload: Payload(copying: fields))
        if verdict == .deliver { letThrough(number, stream, position.offset, Payload(copying: fields)) }
        if !stream.cursor.isQuiet || verdict != .deliver { pump(number, stream) }
    }

    private func letThrough(_ number: UInt32, _ stream: HomeStream, _ offset: UInt64, _ fields: Payload) {
        stream.tail?.append(fields, at: offset, now: outlet.now)
        let position = StreamPosition(offset: offset, epoch: stream.cursor.epoch)
        deliverFromHome(number, position, fields.bytes)
    }

    /// Delivers what has become due, and asks for what is missing.
    func pump(_ number: UInt32, _ stream: HomeStream) {
        while let entry = stream.cursor.next() { letThrough(number, stream, entry.offset, entry.payload) }
        if stream.cursor.loss != nil {
            // Once: until the flow has begun anew, everything that comes only waits.
            if home.isLive(number) { loseContinuity(number, stream) }
            return
        }
        guard !stream.isRetrying, let request = stream.cursor.takeRequest() else { return }
        var query = HistoryQuery(direction: .forward, since: nil, limit: 0, maxBytes: StreamCursor.Limits().heldBytes)
        if case .range(let first, let last) = request.kind {
            query.since = StreamPosition(offset: first - 1, epoch: stream.cursor.epoch)
            query.limit = Int(clamping: last - first + 1)
        }
        let ticket = Ticket(connection: 0, command: request.number, loop: UInt16(loop))
        engine.read(
            room: home.names.name(of: number), history: stream.options, query,
            tag: ReadTag(purpose: .repair, ticket: ticket))
    }

    /// The stream cannot help: members are told 2500, and the flow begins anew where the stream stands now.
    private func loseContinuity(_ number: UInt32, _ stream: HomeStream) {
        home.markWaiting(number)
        var served: [(Int, UInt64)] = []
        home.forEachLoop(number) { served.append(($0, $1)) }
        for (target, local) in served { tell(target, .behind, (local, 0, 0, 0)) }
        guard home.stream(number) === stream else { return }
        engine.subscribe(room: home.names.name(of: number), history: stream.options)
    }

    /// The order of every room is doubted: what pub/sub brought in the meantime, or did not, is unknown.
    func doubtStreams() {
        var numbers: [UInt32] = []
        home.forEachStream { numbers.append($0) }
        for number in numbers {
            guard let stream = home.stream(number) else { continue }
            stream.cursor.doubt()
            pump(number, stream)
        }
    }

    package func observed(room: UnsafeRawBufferPointer, _ standing: RoomStanding) {
        guard let number = home.find(room), let stream = home.stream(number), home.isLive(number),
            standing.position.epoch != stream.cursor.epoch || standing.position.offset != stream.cursor.delivered
        else { return }
        stream.cursor.doubt()
        pump(number, stream)
    }

    package func served(room: UnsafeRawBufferPointer) -> StreamPosition? {
        guard let number = home.find(room), let cursor = home.stream(number)?.cursor, cursor.epoch != 0 else {
            return nil
        }
        return StreamPosition(offset: cursor.delivered, epoch: cursor.epoch)
    }

    // MARK: Answers of the engine

    package func read(room: UnsafeRawBufferPointer, tag: ReadTag, _ result: Result<HistoryAnswer, EngineFailure>) {
        if tag.purpose == .history { return answerHistory(tag.ticket, result) }
        guard let number = home.find(room), let stream = home.stream(number) else { return }
        switch (tag.purpose, result) {
        case (.repair, .success(let answer)):
            let start = answer.entries.isEmpty ? 0 : answer.start
            stream.cursor.answered(
                tag.ticket.command, position: answer.position, start: start, entries: answer.entries)
            pump(number, stream)
        case (.repair, .failure):
            stream.cursor.failed(tag.ticket.command)
            retryLater(room, stream)
        case (.recovery, .success(let answer)):
            guard let waiting = stream.takeWaiting(tag.ticket) else { return }
            guard home.isLive(number) else { return stream.waiting.append(waiting) }
            admit(number, stream, waiting, answer: answer)
        case (.recovery, .failure(let failure)):
            guard let waiting = stream.takeWaiting(tag.ticket) else { return }
            turnAway(waiting.attendance, failure)
        case (.history, _), (.tail, _): break
        }
    }

    /// Asks again in a while: the engine is away, and its return makes every order doubted anyway.
    private func retryLater(_ room: UnsafeRawBufferPointer, _ stream: HomeStream) {
        guard !stream.isRetrying else { return }
        stream.isRetrying = true
        let name = Payload(copying: room)
        outlet.schedule(after: .milliseconds(200)) { [weak self, weak stream] in
            guard let self, let stream, let number = home.find(name.bytes), home.stream(number) === stream else {
                return
            }
            stream.isRetrying = false
            pump(number, stream)
        }
    }
}
