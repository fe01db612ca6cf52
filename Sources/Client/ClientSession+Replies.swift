// What the server says, taken in: replies find the command that they answer, pushes find their room.

import Bytes
import Wire

extension ClientSession {
    mutating func handle(_ text: UnsafeRawBufferPointer, _ now: MonotonicTime) {
        var messages: [IncomingMessage] = []
        var failure: WireError?
        do {
            try decoder.decode(text) { messages.append($0) }
        } catch {
            failure = error
        }
        for message in messages where isLinked { handle(message, now) }
        guard let failure, isLinked else { return }
        let end = Disconnection(cause: .protocolViolation, code: 0, reason: "malformed message (\(failure))")
        drop(end, link: .close, now: now)
    }

    private mutating func handle(_ message: IncomingMessage, _ now: MonotonicTime) {
        switch message {
        case .ping:
            guard answersPings else { return }
            CommandWriter.pong(to: &scratch)
            sendScratch()
        case .failure(let id, let error): reply(id, now) { $0.failed($1, error, now) }
        case .connected(let id, let result): reply(id, now) { $0.connected($1, result, now) }
        case .subscribed(let id, let result):
            reply(id, now) { session, entry in
                if case .subscribe(let room) = entry.kind { session.activate(room, id, result, now) }
            }
        case .published(let id, let mark):
            reply(id, now) { session, entry in
                if case .publish(let room) = entry.kind { session.published(room, mark) }
            }
        case .presence(let id, let page):
            reply(id, now) { session, entry in
                if case .presence(let request) = entry.kind { session.add(page, to: request, now) }
            }
        case .presenceStats(let id, let clients, let users):
            reply(id, now) { session, entry in
                guard case .presenceStats(let request) = entry.kind else { return }
                session.answer(request, .presenceStats(clients: clients, users: users))
            }
        case .history(let id, let publications, let mark):
            reply(id, now) { session, entry in
                guard case .history(let request, let room) = entry.kind else { return }
                let named = publications.map { publication in
                    var named = publication
                    named.room = room
                    return named
                }
                session.answer(request, .history(named, mark))
            }
        case .done(let id):
            reply(id, now) { session, entry in
                switch entry.kind {
                case .ping(let request): session.answer(request, .pong(now.since(entry.sent)))
                // A reply without a result is an empty result.
                case .publish(let room): session.published(room, nil)
                case .subscribe(let room): session.activate(room, id, Entrance(), now)
                case .presence(let request): session.add(MemberPage(), to: request, now)
                case .presenceStats(let request): session.answer(request, .presenceStats(clients: 0, users: 0))
                case .history(let request, _): session.answer(request, .history([], nil))
                case .connect, .unsubscribe: break
                }
            }
        case .publication(let publication): deliver(publication)
        case .join(let room, let peer): if isActive(room) { events.append(.joined(room: room, peer)) }
        case .leave(let room, let peer): if isActive(room) { events.append(.left(room: room, peer)) }
        case .unsubscribe(let room, let code, let reason): unsubscribed(room, code, reason, now)
        case .subscribe(let room, let result): activateServerSide(room, result, now)
        case .message(let data): events.append(.message(data))
        case .disconnect(let code, let reason):
            let end = Disconnection(cause: .server, code: code, reason: reason)
            drop(end, link: .close, now: now, isFinal: !ReconnectPolicy.reconnects(after: code))
        case .other: break
        }
    }

    /// Finds the command that `id` answers. An unknown id is the late reply to something given up, and is ignored.
    private mutating func reply(
        _ id: UInt32, _ now: MonotonicTime, _ body: (inout ClientSession, Pending) -> Void
    ) {
        guard let index = pending.firstIndex(where: { $0.id == id }) else { return }
        let entry = pending.remove(at: index)
        body(&self, entry)
        pump(now)
    }

    private mutating func answer(_ request: RequestID, _ reply: ClientReply) {
        events.append(.answered(request, .success(reply)))
    }

    /// The command failed; so does the request that it was made for.
    mutating func fail(_ entry: Pending, _ error: ClientError) {
        guard let request = entry.kind.request else { return }
        presences[request] = nil
        events.append(.answered(request, .failure(error)))
    }

    private mutating func published(_ room: String, _ mark: StreamMark?) {
        guard let publish = publishes.answered(room) else { return }
        settle(publish, .success(.published(mark)))
    }

    private mutating func publishFailed(_ room: String, _ error: ServerError, _ now: MonotonicTime) {
        if error.isLimit { return publishLimited(room, error, now) }
        guard error.isWorthRepeating else {
            if let publish = publishes.answered(room) { settle(publish, .failure(.refused(error))) }
            return
        }
        let over = publishes.failed(room, .refused(error), retryAfter: error.retryAfter, now: now, using: &random)
        if let over { settle(over, .failure(over.failure ?? .refused(error))) }
    }

    /// The room takes no more for the moment: whoever published is told, and the publish waits unless that would last
    /// too long.
    private mutating func publishLimited(_ room: String, _ error: ServerError, _ now: MonotonicTime) {
        switch publishes.limited(room, error, now: now, using: &random) {
        case .waits(let request, let wait): events.append(.limited(room: room, request, retryAfter: wait))
        case .over(let publish): settle(publish, .failure(publish.failure ?? .refused(error)))
        case nil: break
        }
    }

    /// A publish has its answer.
    mutating func settle(_ publish: Publish, _ result: Result<ClientReply, ClientError>) {
        events.append(.answered(publish.request, result))
    }

    private mutating func failed(_ entry: Pending, _ error: ServerError, _ now: MonotonicTime) {
        switch entry.kind {
        case .connect:
            let end = Disconnection(cause: .refused, code: error.code, reason: error.message)
            let wait = error.retryAfter.map { min($0, options.hintCap) }
            drop(end, link: .close, now: now, isFinal: !error.isTemporary, wait: wait)
        case .subscribe(let room): subscribeFailed(room, entry.id, error, now)
        case .publish(let room): publishFailed(room, error, now)
        case .unsubscribe, .ping, .presence, .presenceStats, .history: fail(entry, .refused(error))
        }
    }

    private mutating func connected(_ entry: Pending, _ welcome: Welcome, _ now: MonotonicTime) {
        guard case .connect = entry.kind, state == .authenticating else { return }
        state = .connected(since: now)
        attempt = 0
        answersPings = welcome.pong
        silenceLimit = welcome.ping > 0 ? .seconds(Int64(welcome.ping)) + options.pingSlack : nil
        events.append(.connected(client: welcome.client, version: welcome.version, node: welcome.node))
        let named = Set(welcome.rooms)
        for room in roomOrder where rooms[room]?.isServerSide == true && !named.contains(room) {
            _ = remove(room)
            let reason = "no longer subscribed by the server"
            events.append(.unsubscribed(room: room, code: UnsubscribeCode.server.rawValue, reason: reason))
        }
        for (room, entrance) in zip(welcome.rooms, welcome.entrances) { activateServerSide(room, entrance, now) }
    }
}
