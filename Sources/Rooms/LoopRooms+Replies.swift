// What rooms say to a client, as bytes. The only place where they meet a codec's encoder: a second codec is chosen
// here, by what the session speaks.

import Bytes
import WebSocket
import Wire

extension ErrorCode {
    /// How a client is told that the engine failed.
    init(_ failure: EngineFailure) {
        switch failure {
        case .unavailable: self = .engineUnavailable
        case .outcomeUnknown: self = .internalError
        }
    }
}

extension ErrorCode {
    /// How a client is told that it is not let in.
    init(_ refusal: EntryRefusal) {
        switch refusal {
        case .full: self = .limitExceeded
        case .engine(let failure): self.init(failure)
        }
    }
}

extension LoopRooms {
    /// Sends `reply` to the command `id`, and counts it.
    private func send(
        _ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ command: CommandName, _ reply: Reply
    ) {
        frame.removeAll(keepingAtMost: 64 * 1024)
        JSONCodec.append(reply, id: id, to: &frame)
        outlet.send(session.pointee.connection, frame.bytes)
        if case .error = reply { return }
        outlet.record(.command(command, nil))
    }

    func reply(
        _ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ command: CommandName, error: ErrorCode,
        message: StaticString? = nil, retryAfter: UInt64 = 0
    ) {
        if id == LoopRooms.ofConnect {
            outlet.record(.command(command, error))
            return answered(session)
        }
        send(session, id, command, .error(ErrorReply(error, message: message, retryAfter: retryAfter)))
        outlet.record(.command(command, error))
    }

    /// Answers a command whose result has nothing to say.
    func replyEmpty(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ command: CommandName) {
        send(session, id, command, command == .ping ? .ping : .unsubscribe)
    }

    /// Answers `connect`. `isHeld`: what the rooms have said since is held back, and follows the reply.
    func replyConnected(
        _ session: UnsafeMutablePointer<Session>, _ id: UInt32, subscriptions: EncodedEntries = .empty,
        isHeld: Bool = false
    ) {
        scratch.removeAll(keepingAtMost: 64 * 1024)
        session.pointee.client.append(to: &scratch)
        scratch.append(text: rules.version)
        scratch.append(text: rules.node)
        let all = scratch.bytes
        let version = ClientID.textLength + rules.version.utf8.count
        var result = ConnectResult()
        result.client = WireBytes(rebasing: all[..<ClientID.textLength])
        result.version = WireBytes(rebasing: all[ClientID.textLength..<version])
        result.node = WireBytes(rebasing: all[version...])
        // Whoever gets ping frames must not wait for pings as messages.
        if !session.pointee.usesPingFrames {
            result.ping = UInt32(clamping: rules.pingInterval.components.seconds)
            result.pong = true
        }
        result.subscriptions = subscriptions
        guard isHeld else { return send(session, id, .connect, .connect(result)) }
        frame.removeAll(keepingAtMost: 64 * 1024)
        JSONCodec.append(.connect(result), id: id, to: &frame)
        outlet.release(session.pointee.connection, first: frame.bytes)
        outlet.record(.command(.connect, nil))
    }

    /// Answers a subscriber of a room without history.
    func replySubscribed(
        _ session: UnsafeMutablePointer<Session>, _ number: UInt32, _ id: UInt32, wasRecovering: Bool
    ) {
        var result = SubscribeResult()
        result.wasRecovering = wasRecovering
        replySubscribed(session, room: names.name(of: number), id, result)
    }

    private func replySubscribed(
        _ session: UnsafeMutablePointer<Session>, room: UnsafeRawBufferPointer, _ id: UInt32, _ result: SubscribeResult
    ) {
        guard id == LoopRooms.ofConnect else { return send(session, id, .subscribe, .subscribe(result)) }
        outlet.record(.command(.subscribe, nil))
        answered(session, room: room, result)
    }

    func replyMembers(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ page: MemberPage) {
        scratch.removeAll(keepingAtMost: 64 * 1024)
        if page.cursor != 0 { scratch.append(decimal: page.cursor) }
        var result = PresenceResult()
        result.members = page.entries.bytes
        result.cursor = scratch.bytes
        send(session, id, .presence, .presence(result))
    }

    func replyPresenceCounts(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ page: MemberPage) {
        let reply = Reply.presenceStats(
            clients: UInt32(clamping: page.members), users: UInt32(clamping: page.users))
        send(session, id, .presenceStats, reply)
    }

    /// The client as the members of its rooms see it.
    func makeEntrant(_ session: UnsafeMutablePointer<Session>) -> Entrant {
        let user = session.pointee.identity?.user ?? Payload(copying: .empty)
        frame.removeAll(keepingAtMost: 64 * 1024)
        session.pointee.client.append(to: &frame)
        push.removeAll(keepingAtMost: 64 * 1024)
        JSONCodec.appendInfo(ClientInfo(user: user.bytes, client: frame.bytes), to: &push)
        return Entrant(client: session.pointee.client, user: user, info: Payload(copying: push.bytes))
    }

    /// Answers a subscriber of a room that its home lets people into.
    func replySubscribed(
        _ session: UnsafeMutablePointer<Session>, _ attendance: Attendance, _ welcome: Welcome
    ) {
        scratch.removeAll(keepingAtMost: 64 * 1024)
        if welcome.position.epoch != 0 { Epoch.append(welcome.position.epoch, to: &scratch) }
        var result = SubscribeResult()
        result.recoverable = attendance.isRecoverable
        result.positioned = attendance.isPositioned
        result.epoch = scratch.bytes
        result.offset = welcome.position.offset
        result.wasRecovering = attendance.since != nil
        result.recovered = welcome.isRecovered
        result.publications = welcome.publications?.bytes ?? .empty
        replySubscribed(session, room: attendance.name.bytes, attendance.command, result)
    }

    func replyHistory(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ read: Welcome) {
        scratch.removeAll(keepingAtMost: 64 * 1024)
        Epoch.append(read.position.epoch, to: &scratch)
        var result = HistoryResult()
        result.epoch = scratch.bytes
        result.offset = read.position.offset
        result.publications = read.publications?.bytes ?? .empty
        send(session, id, .history, .history(result))
    }

    func replyPublished(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ position: StreamPosition) {
        var result = PublishResult(offset: position.offset)
        if position.epoch != 0 {
            scratch.removeAll(keepingAtMost: 64 * 1024)
            Epoch.append(position.epoch, to: &scratch)
            result.epoch = scratch.bytes
        }
        send(session, id, .publish, .publish(result))
    }

    /// Puts the fields of a publication with the client's info into `scratch`.
    func appendFields(_ session: UnsafeMutablePointer<Session>, _ data: WireBytes) {
        frame.removeAll(keepingAtMost: 64 * 1024)
        session.pointee.client.append(to: &frame)
        let info = ClientInfo(user: session.pointee.identity?.user.bytes ?? .empty, client: frame.bytes)
        scratch.removeAll(keepingAtMost: 64 * 1024)
        JSONCodec.appendFields(of: Publication(data: data, info: info), to: &scratch)
    }

    /// Appends the frame that every member of `room` gets.
    func appendPublicationFrame(
        room: UnsafeRawBufferPointer, position: StreamPosition, fields: UnsafeRawBufferPointer
    ) {
        push.removeAll(keepingAtMost: 64 * 1024)
        JSONCodec.appendPublicationPush(room: room, fields: fields, offset: position.offset, to: &push)
        pushFrame.removeAll(keepingAtMost: 64 * 1024)
        pushFrame.appendFrame(.text, push.bytes)
    }
}
