// The client protocol's client side as one value without I/O: bytes, time and wishes in; bytes, events, link requests
// and a deadline out. The shell (`Client`) owns the socket and the timer and decides nothing.
//
// States: idle → opening → handshaking → authenticating → connected, from each of which a failure leads to waiting
// (and from there to opening again) or to closed, which is final. Everything that waits is bounded by `ClientOptions`.

package import Bytes
package import WebSocket
import Wire

/// A client without I/O.
package struct ClientSession: ~Copyable {
    /// What the shell has to do with its socket, after it has written the output.
    package enum LinkRequest: Equatable, Sendable {
        /// Connect to the host of `url`; then call `linkOpened` or `linkLost`.
        case open
        /// Close after the output has gone; no call comes back.
        case close
        /// Close at once; no call comes back.
        case abort
    }

    enum State: Equatable {
        case idle
        /// Until the next attempt.
        case waiting(until: MonotonicTime)
        /// The shell makes a TCP connection.
        case opening(until: MonotonicTime)
        /// The opening handshake is under way.
        case handshaking(until: MonotonicTime)
        /// `connect` was sent.
        case authenticating
        case connected(since: MonotonicTime)
        case closed
    }

    /// A command that was sent and not answered.
    struct Pending {
        enum Kind {
            case connect, unsubscribe
            case subscribe(room: String)
            case ping(RequestID)
            /// A page of a list in `presences`.
            case presence(RequestID)
            case presenceStats(RequestID)
            case history(RequestID, room: String)
            /// The head of the room's line in `publishes`.
            case publish(room: String)

            /// The request that fails with the command; nil where something else happens then.
            var request: RequestID? {
                switch self {
                case .connect, .unsubscribe, .subscribe, .publish: nil
                case .ping(let request), .presence(let request), .presenceStats(let request), .history(let request, _):
                    request
                }
            }
        }

        let id: UInt32
        let kind: Kind
        let sent: MonotonicTime
        let deadline: MonotonicTime
    }

    /// A room that we are in, or want to be in.
    struct Subscription {
        enum State: Equatable {
            /// Not asked for on this connection; `until` nil means as soon as there is one.
            case waiting(until: MonotonicTime?)
            /// The command `id` asks for it.
            case requested(id: UInt32, recovering: Bool)
            case active(since: MonotonicTime)
        }

        var state: State
        var isServerSide = false
        /// Whether joins and leaves are asked for.
        var joinLeave = false
        /// A position was given up, so that the next entrance cannot be seamless.
        var hasLostMark = false
        /// Where to go on after an interruption; nil in rooms that cannot recover.
        var mark: StreamMark?
        var backoff: Backoff
    }

    /// Attempts since the last wait: a wait follows when every gateway was tried.
    struct Round {
        /// Attempts that failed.
        var failures = 0
        /// Gateways in a row that want no WebSocket of us at all (4xx).
        var refusals = 0
        /// The longest wait that one of them asked for.
        var wait = Duration.zero
    }

    let options: ClientOptions
    let sha1: SHA1Function
    var random: ClientRandom
    var socket: ClientSocket
    var state = State.idle
    var lastID: UInt32 = 0
    var lastRequest: UInt64 = 0
    let keyPrefix: String
    var backoff: Backoff
    var attempt = 0
    /// Which of the gateways the current attempt, or the next one, goes to.
    var gateway = 0
    var round = Round()
    /// When the server was last heard, and how long its silence may last; nil when it sends no pings.
    var lastHeard = MonotonicTime(nanoseconds: 0)
    var silenceLimit: Duration?
    var answersPings = false

    /// In the order of sending, which is also that of the deadlines.
    var pending: [Pending] = []
    var publishes: PublishQueue
    /// Lists that are being asked for.
    var presences: [RequestID: PresenceList] = [:]
    var rooms: [String: Subscription] = [:]
    /// The keys of `rooms` in the order of joining, in which they are joined again.
    var roomOrder: [String] = []

    var output = ByteBuffer()
    var scratch = ByteBuffer()
    var decoder = IncomingDecoder()
    var events: [ClientEvent] = []
    var links: [LinkRequest] = []

    /// A session that does nothing until `connect`. `random` gives jitter, masks, nonces and idempotency keys.
    package init(options: ClientOptions, sha1: @escaping SHA1Function, random: @escaping () -> UInt64) {
        self.options = options
        self.sha1 = sha1
        self.random = ClientRandom(body: random)
        keyPrefix = String(random(), radix: 36) + String(random(), radix: 36) + "-"
        backoff = Backoff(base: options.backoffBase, cap: options.backoffCap)
        socket = ClientSocket(nonce: [UInt8](repeating: 0, count: 16), sha1: sha1, messageBytes: options.messageBytes)
        publishes = PublishQueue(options)
        if options.urls.count > 1 { gateway = Int.random(in: 0..<options.urls.count, using: &self.random) }
    }

    /// Where the current attempt goes, or the next one.
    package var url: ClientURL { options.urls[gateway] }

    // MARK: For the shell

    /// Hands out the events since the last call.
    package mutating func takeEvents() -> [ClientEvent] {
        defer { events = [] }
        return events
    }

    /// Hands out the link requests since the last call; write the output before carrying them out.
    package mutating func takeLinkRequests() -> [LinkRequest] {
        defer { links = [] }
        return links
    }

    /// Calls `body` with the bytes to send, if there are any, and forgets them.
    package mutating func takeOutput(_ body: (UnsafeRawBufferPointer) -> Void) {
        guard !output.isEmpty else { return }
        body(output.bytes)
        output.removeAll(keepingAtMost: 65_536)
    }

    /// When `timerFired` has to be called; nil when nothing is awaited.
    package var deadline: MonotonicTime? {
        if state == .idle || state == .closed { return nil }
        var earliest = publishes.deadline
        func consider(_ time: MonotonicTime) { earliest = earliest.map { min($0, time) } ?? time }
        switch state {
        case .idle, .closed: break
        case .waiting(let until), .opening(let until), .handshaking(let until): consider(until)
        case .authenticating, .connected: if let oldest = pending.first { consider(oldest.deadline) }
        }
        if case .connected = state {
            if let silenceLimit { consider(lastHeard + silenceLimit) }
            for subscription in rooms.values {
                if case .waiting(let until?) = subscription.state { consider(until) }
            }
        }
        return earliest
    }

    // MARK: Wishes

    /// Begins to connect, and to come back whenever the connection is lost.
    package mutating func connect(now: MonotonicTime) {
        guard state == .idle else { return }
        open(now)
    }

    /// Drops the connection, if there is one, and makes a new one at once, at the next gateway if there are several.
    package mutating func reconnect(now: MonotonicTime) {
        switch state {
        case .closed: return
        case .idle: open(now)
        case .waiting: state = .waiting(until: now)
        default:
            let wish = Disconnection(cause: .local, code: 0, reason: "reconnecting")
            drop(wish, link: .close, now: now, wait: .zero)
        }
    }

    /// Says goodbye for good; what waits fails with `closed`.
    package mutating func close(now: MonotonicTime) {
        guard state != .closed else { return }
        let wish = Disconnection(cause: .local, code: 0, reason: "closed")
        drop(wish, link: .close, now: now, isFinal: true)
    }

    /// Enters a room and stays in it across connections; with `joinLeave` it is told who comes and goes, where the
    /// server lets it know. A room that was entered before stays as it is. False when the client is closed or has too
    /// many rooms.
    package mutating func subscribe(_ room: String, joinLeave: Bool = false, now: MonotonicTime) -> Bool {
        guard state != .closed else { return false }
        guard rooms[room] == nil else { return true }
        guard rooms.count < options.rooms else { return false }
        add(room, .waiting(until: nil), joinLeave: joinLeave)
        pump(now)
        return true
    }

    /// Leaves a room.
    package mutating func unsubscribe(_ room: String, now: MonotonicTime) {
        guard let subscription = remove(room) else { return }
        if case .connected = state {
            switch subscription.state {
            case .requested, .active:
                let id = register(.unsubscribe, now)
                CommandWriter.unsubscribe(id: id, room: room, to: &scratch)
                sendScratch()
            case .waiting: break
            }
        }
        events.append(.unsubscribed(room: room, code: 0, reason: ""))
    }

    /// Publishes `data`, one JSON value. While there is no connection it waits. Until there is an answer it is repeated
    /// with the same idempotency key, also at another gateway, for `publishPatience`: it takes effect once where the
    /// server keeps keys. Publishes to one room keep their order. The answer comes as an event. Where the room is
    /// limited (111) the publish is told so (`limited`) and waits for its time, for `limitPatience`.
    package mutating func publish(_ data: [UInt8], to room: String, now: MonotonicTime) -> RequestID {
        let request = makeRequest()
        guard state != .closed else { return failing(request, .closed) }
        guard Self.isJSON(data) else { return failing(request, .notJSON) }
        guard publishes.admits(data.count) else { return failing(request, .queueFull) }
        publishes.add(request, room: room, data: data, key: keyPrefix + String(request.number), now: now)
        pump(now)
        return request
    }

    /// Takes back the publishes of a room that wait, be it for a connection or for a limit: each fails with
    /// `cancelled`, or, where an attempt was made and nobody knows what became of it, with that. One that is on its way
    /// stays. Returns how many were taken back.
    package mutating func cancelPublishes(in room: String) -> Int {
        let cancelled = publishes.cancel(room)
        for publish in cancelled {
            let error = publish.failure.flatMap { $0.isOutcomeUnknown ? $0 : nil } ?? .cancelled
            settle(publish, .failure(error))
        }
        return cancelled.count
    }

    /// Measures the way to the server and back.
    package mutating func ping(now: MonotonicTime) -> RequestID {
        let (request, id) = admit(now) { .ping($0) }
        guard let id else { return request }
        CommandWriter.ping(id: id, to: &scratch)
        sendScratch()
        return request
    }

    /// Asks for the last `limit` publications of a room, newest first.
    package mutating func history(_ room: String, limit: Int, now: MonotonicTime) -> RequestID {
        let (request, id) = admit(now) { .history($0, room: room) }
        guard let id else { return request }
        CommandWriter.history(id: id, room: room, limit: limit, to: &scratch)
        sendScratch()
        return request
    }

    /// Sends `data`, one JSON value, to the server's application; false when there is no connection, or it is no JSON.
    package mutating func send(_ data: [UInt8]) -> Bool {
        guard case .connected = state, Self.isJSON(data) else { return false }
        CommandWriter.send(data: data, to: &scratch)
        sendScratch()
        return true
    }

    /// Publishes that wait or are unanswered.
    package var unanswered: Int { publishes.count }

    // MARK: Common pieces

    private static func isJSON(_ data: [UInt8]) -> Bool {
        var scratch = ByteBuffer()
        return data.withUnsafeBytes { UTF8Validator.isValid($0) && JSONCodec.isValue($0, scratch: &scratch) }
    }

    private mutating func makeRequest() -> RequestID {
        lastRequest += 1
        return RequestID(number: lastRequest)
    }

    private mutating func failing(_ request: RequestID, _ error: ClientError) -> RequestID {
        events.append(.answered(request, .failure(error)))
        return request
    }

    /// A request that does not wait for a connection, and the command's id if it may be sent.
    mutating func admit(
        _ now: MonotonicTime, _ kind: (RequestID) -> Pending.Kind
    ) -> (RequestID, UInt32?) {
        let request = makeRequest()
        guard state != .closed else { return (failing(request, .closed), nil) }
        guard case .connected = state else { return (failing(request, .notConnected), nil) }
        guard pending.count - publishes.inFlight < options.requests else { return (failing(request, .queueFull), nil) }
        return (request, register(kind(request), now))
    }

    /// Gives a command its id and watches for the reply.
    mutating func register(_ kind: Pending.Kind, _ now: MonotonicTime) -> UInt32 {
        lastID = lastID == .max ? 1 : lastID + 1
        let isConnect = if case .connect = kind { true } else { false }
        let limit = isConnect ? openTimeout : options.requestTimeout
        pending.append(Pending(id: lastID, kind: kind, sent: now, deadline: now + limit))
        return lastID
    }

    /// Sends the command in `scratch` as one text frame.
    mutating func sendScratch() {
        socket.send(scratch.bytes, to: &output, mask: UInt32(truncatingIfNeeded: random.next()))
        scratch.removeAll(keepingAtMost: 65_536)
    }
}

/// Randomness that is handed in.
struct ClientRandom: RandomNumberGenerator {
    let body: () -> UInt64

    mutating func next() -> UInt64 { body() }
}
