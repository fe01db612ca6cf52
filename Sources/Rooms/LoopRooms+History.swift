// The `history` command, and a subscriber's own loop in rooms that are attended: requests go to the room's home,
// answers come back as errands.

import Bytes
import Wire

extension LoopRooms {
    // MARK: Subscribing

    /// Sends a subscriber to the room's home; the reply follows with its answer.
    func attend(
        _ session: UnsafeMutablePointer<Session>, _ number: UInt32, command: UInt32, _ request: SubscribeRequest
    ) {
        let room = room(number)
        let options = room.pointee.options
        let member = options.presence == nil ? nil : makeEntrant(session)
        guard member?.info.count ?? 0 <= Member.longestInfo else {
            reply(session, command, .subscribe, error: .badRequest)
            return settle(number, room)
        }
        let keepsHistory = options.history != nil
        let isRecoverable = keepsHistory && (request.recoverable || request.recover || options.forcesRecovery)
        let since = StreamPosition(offset: request.offset, epoch: Epoch.parse(request.epoch))
        let hearsJoins = request.joinLeave && mayHearJoins(session, options)
        if hearsJoins { room.pointee.listeners += 1 }
        session.pointee.add(Subscription(room: number, position: Subscription.pending, hearsJoins: hearsJoins))
        subscriptionCount += 1
        session.pointee.pendingCommands += 1
        room.pointee.joiners.append(
            .init(connection: session.pointee.connection, command: command, asksRecovery: request.recover))
        if room.pointee.phase == .idle { room.pointee.phase = .joining }
        let attendance = Attendance(
            name: Payload(copying: names.name(of: number)), loop: loop, local: local(number),
            connection: session.pointee.connection, command: command,
            since: request.recover && keepsHistory ? since : nil, isRecoverable: isRecoverable,
            isPositioned: isRecoverable || keepsHistory && request.positioned,
            member: member)
        send(Errand(.attend(attendance)), to: room.pointee.home)
    }

    /// The home's answer to a subscriber.
    func finishAttendance(_ attendance: Attendance, _ result: Result<Welcome, EntryRefusal>) {
        guard let number = resolve(attendance.local) else { return }
        let room = room(number)
        if case .success = result { room.pointee.phase = .live }
        defer { settle(number, room) }
        // Gone, or given up and answered, while it waited.
        guard
            let place = room.pointee.joiners.firstIndex(where: {
                $0.connection == attendance.connection && $0.command == attendance.command
            })
        else { return }
        room.pointee.joiners.remove(at: place)
        guard let session = session(attendance.connection), let index = session.pointee.find(number) else { return }
        session.pointee.pendingCommands -= 1
        switch result {
        case .success(let welcome):
            seal(number, room)
            replySubscribed(session, attendance, welcome)
            session.pointee.setPosition(index, room.pointee.append(session.pointee.connection))
        case .failure(let failure):
            if session.pointee.removeSubscription(index)?.hearsJoins == true { room.pointee.listeners -= 1 }
            subscriptionCount -= 1
            reply(session, attendance.command, .subscribe, error: ErrorCode(failure))
        }
    }

    /// Whether a subscriber may be told who else comes and goes: who may see the list may.
    private func mayHearJoins(_ session: UnsafeMutablePointer<Session>, _ options: RoomOptions) -> Bool {
        guard options.presence?.tellsJoins == true else { return false }
        if rules.isInsecure { return true }
        let isAnonymous = session.pointee.identity == nil
        return options.permissions.contains(isAnonymous ? .presenceForAnonymous : .presenceForClient)
            || options.permissions.contains(.presenceForSubscriber)
    }

    /// Nobody waits any more, or somebody has gone: the room may be at its end.
    func settle(_ number: UInt32, _ room: UnsafeMutablePointer<LocalRoom>) {
        if room.pointee.count == 0, room.pointee.joiners.isEmpty, room.pointee.phase == .joining {
            room.pointee.phase = .idle
        }
        if room.pointee.isUnused { linger(number, room) }
    }

    // MARK: history

    /// Serves a `history` command that has been permitted.
    func readHistory(
        _ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ request: HistoryRequest, _ options: RoomOptions,
        _ history: HistoryOptions
    ) {
        var since: StreamPosition?
        if let position = request.since {
            since = StreamPosition(offset: position.offset, epoch: Epoch.parse(position.epoch))
        }
        let limit = request.limit < 0 ? options.recoveryLimit : min(Int(request.limit), options.recoveryLimit)
        let query = HistoryQuery(
            direction: request.reverse ? .reverse : .forward, since: since, limit: limit, maxBytes: rules.replyBytes)
        let ticket = Ticket(connection: session.pointee.connection, command: id, loop: UInt16(loop))
        session.pointee.pendingCommands += 1
        let order = HistoryOrder(
            name: Payload(copying: request.room), ticket: ticket, query: query, options: history)
        let target = LoopRooms.home(of: NameTable.hash(request.room), loopCount: loopCount)
        send(Errand(.history(order)), to: target)
    }

    /// At home: asks the engine.
    func homeHistory(_ order: HistoryOrder) {
        engine.read(
            room: order.name.bytes, history: order.options, order.query,
            tag: ReadTag(purpose: .history, ticket: order.ticket))
    }

    /// At home: the engine's answer goes back to the reader's loop.
    func answerHistory(_ ticket: Ticket, _ result: Result<HistoryAnswer, EngineFailure>) {
        let answer: Result<Welcome, HistoryFailure>
        switch result {
        case .failure(let failure): answer = .failure(.engine(failure))
        case .success(let read):
            if !read.isContinuous {
                answer = .failure(.unrecoverable)
                break
            }
            var encoded = ByteBuffer()
            // The engine counts what it keeps, the reply has offsets and braces as well: cut where that is too much.
            var fitting = 0
            for (index, fields) in read.entries.enumerated() {
                JSONCodec.appendEntry(fields: fields.bytes, offset: read.offset(at: index), to: &encoded)
                guard encoded.count <= rules.replyBytes else { break }
                fitting = encoded.count
            }
            let publications =
                fitting == 0 ? nil : Payload(copying: UnsafeRawBufferPointer(rebasing: encoded.bytes[..<fitting]))
            answer = .success(Welcome(position: read.position, isRecovered: false, publications: publications))
        }
        send(Errand(.historyRead(ticket, answer)), to: Int(ticket.loop))
    }

    /// On the reader's loop: the reply.
    func finishHistory(_ ticket: Ticket, _ result: Result<Welcome, HistoryFailure>) {
        guard let session = session(ticket.connection) else { return }
        session.pointee.pendingCommands -= 1
        switch result {
        case .success(let read): replyHistory(session, ticket.command, read)
        case .failure(.unrecoverable):
            reply(session, ticket.command, .history, error: .unrecoverablePosition)
        case .failure(.engine(let failure)):
            reply(session, ticket.command, .history, error: ErrorCode(failure))
        }
    }
}
