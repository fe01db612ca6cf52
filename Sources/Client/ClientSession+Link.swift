// The session's life with its connections: opening, losing, waiting, and everything that time brings about.

package import Bytes
import WebSocket
import Wire

extension ClientSession {
    /// The TCP connection is there.
    package mutating func linkOpened(now: MonotonicTime) {
        guard case .opening = state else { return }
        var nonce: [UInt8] = []
        for _ in 0..<2 {
            let word = random.next()
            nonce += (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
        }
        socket = ClientSocket(nonce: nonce, sha1: sha1, messageBytes: options.messageBytes)
        output.removeAll()
        socket.start(url, to: &output)
        state = .handshaking(until: now + openTimeout)
    }

    /// The connection could not be made, or is gone.
    package mutating func linkLost(_ reason: String, now: MonotonicTime) {
        guard isLinked else { return }
        output.removeAll()
        drop(Disconnection(cause: .network, code: 0, reason: reason), link: nil, now: now)
    }

    /// Bytes have come. They may be overwritten.
    package mutating func received(_ bytes: UnsafeMutableRawBufferPointer, now: MonotonicTime) {
        lastHeard = now
        var input = FrameInput(bytes)
        while isLinked {
            let random = random
            let event = socket.next(&input, to: &output) { UInt32(truncatingIfNeeded: random.body()) }
            switch event {
            case .needMore: return
            case .opened: authenticate(now)
            case .text(let text): handle(text, now)
            case .closed(let code, let reason): goodbye(code.map(UInt32.init), reason, now)
            case .refused(let status, let reason):
                // 4xx says that asking again the same way is useless, but for "too early" and "too many". It is final
                // when every gateway says so.
                let isUseless = (400..<500).contains(status) && ![408, 425, 429].contains(status)
                round.refusals = isUseless ? round.refusals + 1 : 0
                let end = Disconnection(cause: .handshake(status: status), code: 0, reason: reason)
                drop(end, link: .close, now: now, isFinal: round.refusals >= options.urls.count)
            case .violation(let code, let reason):
                let end = Disconnection(cause: .protocolViolation, code: UInt32(code.rawValue), reason: reason)
                drop(end, link: .close, now: now, isFinal: !ReconnectPolicy.reconnects(after: end.code))
            }
        }
    }

    /// The deadline has come (or was passed).
    package mutating func timerFired(now: MonotonicTime) {
        switch state {
        case .idle, .closed: return
        case .waiting(let until): if now >= until { open(now) }
        case .opening(let until), .handshaking(let until):
            if now >= until {
                drop(Disconnection(cause: .network, code: 0, reason: "no answer"), link: .abort, now: now)
            }
        case .authenticating: expire(now)
        case .connected:
            if let silenceLimit, now >= lastHeard + silenceLimit {
                let end = Disconnection(cause: .network, code: 0, reason: "no ping from the server")
                drop(end, link: .close, now: now)
                break
            }
            expire(now)
            pump(now)
        }
        for publish in publishes.expired(now: now) { settle(publish, .failure(publish.failure ?? .timeout)) }
    }

    var isLinked: Bool {
        switch state {
        case .opening, .handshaking, .authenticating, .connected: true
        case .idle, .waiting, .closed: false
        }
    }

    /// How long each stage of the current attempt may take.
    var openTimeout: Duration {
        let isLast = round.failures + 1 >= options.urls.count
        return isLast ? options.openTimeout : min(options.openTimeout, options.switchTimeout)
    }

    mutating func open(_ now: MonotonicTime) {
        attempt += 1
        state = .opening(until: now + openTimeout)
        links.append(.open)
        events.append(.connecting(attempt: attempt, url: url))
    }

    private mutating func authenticate(_ now: MonotonicTime) {
        state = .authenticating
        lastID = 0
        let id = register(.connect, now)
        let recovering = roomOrder.compactMap { room -> (room: String, mark: StreamMark)? in
            guard let subscription = rooms[room], subscription.isServerSide, let mark = subscription.mark
            else { return nil }
            return (room, mark)
        }
        CommandWriter.connect(id: id, options, recovering: recovering, to: &scratch)
        sendScratch()
    }

    private mutating func goodbye(_ code: UInt32?, _ reason: String, _ now: MonotonicTime) {
        let hint = ReconnectPolicy.hint(code: code, reason: reason, cap: options.hintCap)
        let text = hint == nil ? reason : DisconnectCode(rawValue: UInt16(clamping: code ?? 0)).map { "\($0.reason)" }
        // 1005: the Close frame had no code (RFC 6455 section 7.1.5).
        let end = Disconnection(cause: .server, code: code ?? 1005, reason: text ?? reason)
        drop(end, link: .close, now: now, isFinal: !ReconnectPolicy.reconnects(after: code), wait: hint)
    }

    private mutating func expire(_ now: MonotonicTime) {
        while let oldest = pending.first, now >= oldest.deadline {
            pending.removeFirst()
            switch oldest.kind {
            case .connect, .subscribe, .publish:
                if case .publish(let room) = oldest.kind { publishes.unanswered(room) }
                let end = Disconnection(cause: .network, code: 0, reason: "no reply from the server")
                return drop(end, link: .close, now: now)
            case .unsubscribe, .ping, .presence, .presenceStats, .history: fail(oldest, .timeout)
            }
        }
    }

    /// Ends the connection: says so, keeps what can be repeated, fails the rest, and plans the next attempt unless the
    /// end is final. `wait` is what the server asks for, or the user.
    mutating func drop(
        _ end: Disconnection, link: LinkRequest?, now: MonotonicTime, isFinal: Bool = false, wait: Duration? = nil
    ) {
        var end = end
        if isLinked, let link {
            let code = end.cause == .protocolViolation ? CloseCode.protocolError : .normal
            socket.close(code, to: &output, mask: UInt32(truncatingIfNeeded: random.next()))
            links.append(link)
        }
        let since: MonotonicTime? = if case .connected(let since) = state { since } else { nil }
        let wasStable = since.map { now >= $0 + options.stableAfter } ?? false
        if wasStable { backoff.reset() }
        if case .handshake = end.cause {} else { round.refusals = 0 }
        state = .closed
        silenceLimit = nil
        releasePending(.connectionLost)
        for room in roomOrder { rooms[room]?.state = .waiting(until: nil) }
        if isFinal {
            for publish in publishes.removeAll() { settle(publish, .failure(.closed)) }
        } else {
            if since == nil { round.failures += 1 } else { round = Round() }
            let isTrusted = wasStable || end.cause == .local
            let delay = nextWait(wait, wasConnected: since != nil, isTrusted: isTrusted)
            gateway = (gateway + 1) % options.urls.count
            end.retryIn = delay
            state = .waiting(until: now + delay)
        }
        events.append(.disconnected(end))
    }

    /// The wait before the next attempt. None while there are gateways that this round has not tried: one that is dead
    /// costs its clients no more than the attempt. `wait` is taken as it is from whoever `isTrusted`; when connections
    /// keep failing it can only lengthen the wait.
    private mutating func nextWait(_ wait: Duration?, wasConnected: Bool, isTrusted: Bool) -> Duration {
        if isTrusted, let wait { return wait }
        round.wait = max(round.wait, wait ?? .zero)
        guard wasConnected || round.failures >= options.urls.count else { return .zero }
        defer { (round.failures, round.wait) = (0, .zero) }
        return max(round.wait, backoff.next(using: &random))
    }

    /// Publishes stay in their queue, everything else fails.
    private mutating func releasePending(_ error: ClientError) {
        for entry in pending { fail(entry, error) }
        pending = []
        publishes.interrupted()
    }
}
