// What a client may say, and what follows: the rules of the protocol in one place. A frame holds commands, one a line;
// each is parsed, judged by the session's phase, and served or answered with an error or a close.

import Bytes
package import Wire

/// What the rooms count; the shell makes metrics of it.
package enum RoomEvent {
    /// A command was served or refused; `error` is nil when it succeeded or is on its way to the engine.
    case command(CommandName, ErrorCode?)
    /// A client's publication was accepted for the engine; in a room with limits, by them as well.
    case publication
    /// A command was refused because of a limit.
    case limited(RateScope)
    /// A gap in a room's flow was mended from its stream, or could not be.
    case gap(isRepaired: Bool)
    /// A member that came back was let in; `fromEngine`: the engine had to be asked.
    case recovery(isRecovered: Bool, fromEngine: Bool)
    /// A join or a leave has come, to be told to a room's members here.
    case memberEvent(isJoin: Bool)
    /// All members of a room are told that continuity is lost.
    case continuityLoss(ContinuityLoss)
    /// The members of a room on one loop are told so, since its mailbox was full.
    case mailboxLoss
}

/// Names of commands, for the metrics.
package enum CommandName: UInt8, Sendable {
    case pong, connect, subscribe, unsubscribe, publish, presence, presenceStats, history, ping, send, rpc, refresh,
        subRefresh
}

extension Request {
    /// The command's name if it waits for the engine, and so counts as pending.
    fileprivate var engineCommand: CommandName? {
        switch self {
        case .publish: .publish
        case .subscribe: .subscribe
        case .history: .history
        case .presence: .presence
        case .presenceStats: .presenceStats
        default: nil
        }
    }
}

extension LoopRooms {
    /// A message of a client: one or more commands, one a line.
    package func received(_ connection: ConnectionWord, _ message: UnsafeRawBufferPointer) {
        guard let session = session(connection) else { return }
        if session.pointee.phase == .new, !admitsBeforeConnect(session, message.count) { return }
        let toll = toll(session, message.count)
        var lines = LineSplitter(message)
        // The phase is looked at for each line: a command may have closed the connection.
        while session.pointee.connection == connection, session.pointee.phase != .closing, let line = lines.next() {
            let command: Command
            do {
                command = try JSONCodec.command(line, scratch: &text)
            } catch {
                return disconnect(session, .badRequest)
            }
            serve(session, command, toll)
        }
    }

    /// Before it is known who a client is, it may say as much as a token needs.
    private func admitsBeforeConnect(_ session: UnsafeMutablePointer<Session>, _ count: Int) -> Bool {
        let total = Int(session.pointee.bytesBeforeConnect) + count
        guard total <= rules.preConnectBytes else {
            disconnect(session, .badRequest)
            return false
        }
        session.pointee.bytesBeforeConnect = UInt32(total)
        return true
    }

    private func serve(_ session: UnsafeMutablePointer<Session>, _ command: Command, _ toll: Toll) {
        switch (session.pointee.phase, command.request) {
        case (.new, .connect(let request)): connect(session, command.id, request)
        case (.connected, .connect), (.new, _), (.refused, _): disconnect(session, .badRequest)
        case (.connected, .pong): receivedPong(session)
        case (.connected, _):
            if !toll.isOn || !isTooFast(session, command, toll) { serveConnected(session, command) }
        case (.vacant, _), (.closing, _): break
        }
    }

    private func serveConnected(_ session: UnsafeMutablePointer<Session>, _ command: Command) {
        let id = command.id
        if let name = command.request.engineCommand, session.pointee.pendingCommands >= rules.maxPendingCommands {
            // Nothing may pile up without a bound: who sends faster than the engine answers is told to slow down.
            return reply(session, id, name, error: .tooManyRequests)
        }
        switch command.request {
        case .pong, .connect: break
        case .publish(let request): publish(session, id, request)
        case .subscribe(let request): subscribe(session, id, request)
        case .unsubscribe(let room): unsubscribe(session, id, room)
        case .ping: replyEmpty(session, id, .ping)
        case .send: outlet.record(.command(.send, nil))
        case .rpc: reply(session, id, .rpc, error: .methodNotFound)
        case .presence(let request): presence(session, id, request)
        case .presenceStats(let room):
            if isPresenceAllowed(session, id, .presenceStats, room) { readMembers(session, id, room, .count) }
        case .history(let request): history(session, id, request)
        case .refresh: reply(session, id, .refresh, error: .notAvailable)
        case .subRefresh(let room, token: _): answerUnavailable(session, id, .subRefresh, room)
        }
    }

    // MARK: connect

    private func connect(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ request: ConnectRequest) {
        // Without tokens there are the open server and the one that lets anonymous users in. A token that cannot be
        // verified must not be taken for a good one.
        if !rules.isInsecure {
            if !request.token.isEmpty { return refuseConnect(session, id, .notAvailable) }
            if !rules.allowsAnonymous { return refuseConnect(session, id, .unauthorized) }
        }
        var words: (UInt64, UInt64) = (0, 0)
        withUnsafeMutableBytes(of: &words) { outlet.random($0) }
        session.pointee.client = ClientID(random: words)
        session.pointee.phase = .connected
        session.pointee.wantsCloseHints = asksForCloseHints(request.headers)
        guard request.subscriptions.isEmpty else { return connect(session, id, joining: request.subscriptions) }
        replyConnected(session, id)
        startPings(session)
    }

    /// Whether the emulated headers of `connect` ask for hints. Headers that are not a map of strings are none of ours.
    private func asksForCloseHints(_ headers: EncodedEntries) -> Bool {
        guard !headers.isEmpty else { return false }
        var pairs = JSONCodec.StringPairs(headers, limit: 64)
        let name = WireBytes(start: CloseHint.header.utf8Start, count: CloseHint.header.utf8CodeUnitCount)
        // A buffer of its own: the command's strings lie in `text`. Cold, once a connection.
        var strings = ByteBuffer()
        while let pair = try? pairs.next(scratch: &strings) {
            if pair.name.elementsEqual(name) { return pair.value.elementsEqual([UInt8(ascii: "1")]) }
        }
        return false
    }

    private func refuseConnect(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ error: ErrorCode) {
        session.pointee.phase = .refused
        reply(session, id, .connect, error: error)
    }

    // MARK: subscribe, unsubscribe

    func subscribe(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ request: SubscribeRequest) {
        guard let options = admissibleRoom(session, id, .subscribe, request.room) else { return }
        if let error = refusalToSubscribe(session, request, options) {
            return reply(session, id, .subscribe, error: error)
        }
        let hash = NameTable.hash(request.room)
        if let number = names.find(request.room, hash: hash), session.pointee.find(number) != nil {
            return reply(session, id, .subscribe, error: .alreadySubscribed)
        }
        guard session.pointee.subscriptionCount < rules.maxRooms else {
            return reply(session, id, .subscribe, error: .limitExceeded)
        }
        let number = findOrMakeRoom(request.room, hash: hash, options: options)
        guard options.isAttended else {
            return join(session, number, command: id, asksRecovery: request.recover)
        }
        attend(session, number, command: id, request)
    }

    private func refusalToSubscribe(
        _ session: UnsafeMutablePointer<Session>, _ request: SubscribeRequest, _ options: RoomOptions
    ) -> ErrorCode? {
        if rules.isInsecure { return nil }
        if RoomName.isPrivate(request.room) || !request.token.isEmpty { return .notAvailable }
        let permissions = options.permissions
        if RoomName.isUserLimited(request.room) {
            guard permissions.contains(.userLimitedRooms), let user = session.pointee.identity?.user.bytes else {
                return .permissionDenied
            }
            return RoomName.admits(user, to: request.room) ? nil : .permissionDenied
        }
        let isAnonymous = session.pointee.identity == nil
        return permissions.contains(isAnonymous ? .subscribeForAnonymous : .subscribeForClient)
            ? nil : .permissionDenied
    }

    private func unsubscribe(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ room: WireBytes) {
        guard !room.isEmpty else { return disconnect(session, .badRequest) }
        if let number = names.find(room, hash: NameTable.hash(room)), let index = session.pointee.find(number) {
            cancelPending(session, number, index)
            _ = leave(session, index)
        }
        replyEmpty(session, id, .unsubscribe)
    }

    // MARK: publish

    private func publish(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ request: PublishRequest) {
        guard let options = admissibleRoom(session, id, .publish, request.room) else { return }
        guard !request.data.isEmpty, request.idempotencyKey.count <= 64 else {
            return reply(session, id, .publish, error: .badRequest)
        }
        guard isAllowed(session, request.room, options, LoopRooms.publishers) else {
            return reply(session, id, .publish, error: .permissionDenied)
        }
        guard request.data.count <= options.maxMessageSize ?? .max else {
            return reply(session, id, .publish, error: .limitExceeded)
        }
        appendFields(session, request.data)
        publish(session, room: request.room, command: id, key: request.idempotencyKey, options)
    }

    private func isMember(_ session: UnsafeMutablePointer<Session>, _ room: WireBytes) -> Bool {
        // A subscription that waits for the engine has been permitted already: whoever sends `subscribe` and `publish`
        // in one frame must not depend on which of them the engine answers first.
        guard let number = names.find(room, hash: NameTable.hash(room)) else { return false }
        return session.pointee.find(number) != nil
    }

    // MARK: history

    private func history(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ request: HistoryRequest) {
        guard let options = admissibleRoom(session, id, .history, request.room) else { return }
        guard let kept = options.history else { return reply(session, id, .history, error: .notAvailable) }
        guard isAllowed(session, request.room, options, LoopRooms.readersOfHistory) else {
            return reply(session, id, .history, error: .permissionDenied)
        }
        guard request.limit >= -1 else { return reply(session, id, .history, error: .badRequest) }
        readHistory(session, id, request, options, kept)
    }

    /// Who may do something: the permissions for users, for anonymous ones, and for members.
    private struct Audience {
        let client: RoomPermissions
        let anonymous: RoomPermissions
        let subscriber: RoomPermissions
    }

    private static let publishers = Audience(
        client: .publishForClient, anonymous: .publishForAnonymous, subscriber: .publishForSubscriber)
    private static let readersOfHistory = Audience(
        client: .historyForClient, anonymous: .historyForAnonymous, subscriber: .historyForSubscriber)
    private static let watchers = Audience(
        client: .presenceForClient, anonymous: .presenceForAnonymous, subscriber: .presenceForSubscriber)

    /// Whether the client belongs to `audience`; `isMember` is only looked at where it matters.
    private func isAllowed(
        _ session: UnsafeMutablePointer<Session>, _ room: WireBytes, _ options: RoomOptions, _ audience: Audience
    ) -> Bool {
        if rules.isInsecure { return true }
        let isAnonymous = session.pointee.identity == nil
        if options.permissions.contains(isAnonymous ? audience.anonymous : audience.client) { return true }
        return options.permissions.contains(audience.subscriber) && isMember(session, room)
    }

    // MARK: presence, presence_stats

    private func presence(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ request: PresenceRequest) {
        guard isPresenceAllowed(session, id, .presence, request.room) else { return }
        let cursor = request.cursor.isEmpty ? 0 : UInt64(decimal: request.cursor)
        guard let cursor, cursor == 0 || request.limit > 0 else {
            return reply(session, id, .presence, error: .badRequest)
        }
        let limit = request.limit == 0 ? nil : Int(clamping: request.limit)
        readMembers(
            session, id, request.room, MemberQuery(cursor: cursor, limit: limit, maxBytes: rules.replyBytes))
    }

    /// Whether the client may see who is in the room; else the command has been answered.
    private func isPresenceAllowed(
        _ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ command: CommandName, _ room: WireBytes
    ) -> Bool {
        guard let options = admissibleRoom(session, id, command, room) else { return false }
        guard options.presence?.isListed == true else {
            reply(session, id, command, error: .notAvailable)
            return false
        }
        guard isAllowed(session, room, options, LoopRooms.watchers) else {
            reply(session, id, command, error: .permissionDenied)
            return false
        }
        return true
    }

    // MARK: Rooms by name

    /// The options of a room that a command names; nil when the command has been answered or the connection closed.
    private func admissibleRoom(
        _ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ command: CommandName, _ room: WireBytes
    ) -> RoomOptions? {
        let error: ErrorCode
        switch RoomName.check(room, limit: rules.maxRoomNameLength) {
        case .empty:
            disconnect(session, .badRequest)
            return nil
        case .tooLong, .notPrintable: error = .badRequest
        case .emptyNamespace: error = .unknownRoom
        case .valid:
            if let options = rules.options(namespace: RoomName.namespace(of: room)) { return options }
            error = .unknownRoom
        }
        reply(session, id, command, error: error)
        return nil
    }

    /// Answers a command whose feature this server does not have for the room.
    private func answerUnavailable(
        _ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ command: CommandName, _ room: WireBytes
    ) {
        guard admissibleRoom(session, id, command, room) != nil else { return }
        reply(session, id, command, error: .notAvailable)
    }
}
