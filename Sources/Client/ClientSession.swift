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
        /// Connect to the URL's host; then call `linkOpened` or `linkLost`.
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

    /// A publish from `publish` to its answer.
    struct Publish {
        let request: RequestID
        let room: String
        let data: [UInt8]
        let key: String
        var attempts = 0
    }

    /// A command that was sent and not answered.
    struct Pending {
        enum Kind {
            case connect, unsubscribe
            case subscribe(room: String)
            case ping(RequestID)
            case presence(RequestID)
            case history(RequestID, room: String)
            case publish(Publish)
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
        /// A position was given up, so that the next entrance cannot be seamless.
        var hasLostMark = false
        /// Where to go on after an interruption; nil in rooms that cannot recover.
        var mark: StreamMark?
        var backoff: Backoff
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
    /// When the server was last heard, and how long its silence may last; nil when it sends no pings.
    var lastHeard = MonotonicTime(nanoseconds: 0)
    var silenceLimit: Duration?
    var answersPings = false

    /// In the order of sending, which is also that of the deadlines.
    var pending: [Pending] = []
    var inFlight = 0
    /// Publishes that wait, in the order of `publish`.
    var queue: [Publish] = []
    /// Publishes that wait or are unanswered, and the bytes of their data.
    var unansweredCount = 0
    var unansweredBytes = 0
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
    }

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
        switch state {
        case .idle, .closed: return nil
        case .waiting(let until), .opening(let until), .handshaking(let until): return until
        case .authenticating: return pending.first?.deadline
        case .connected:
            var earliest = pending.first?.deadline
            func consider(_ time: MonotonicTime) { earliest = earliest.map { min($0, time) } ?? time }
            if let silenceLimit { consider(lastHeard + silenceLimit) }
            for subscription in rooms.values {
                if case .waiting(let until?) = subscription.state { consider(until) }
            }
            return earliest
        }
    }

    // MARK: Wishes

    /// Begins to connect, and to come back whenever the connection is lost.
    package mutating func connect(now: MonotonicTime) {
        guard state == .idle else { return }
        open(now)
    }

    /// Drops the connection, if there is one, and makes a new one at once.
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

    /// Enters a room and stays in it across connections. False when the client is closed or has too many rooms.
    package mutating func subscribe(_ room: String, now: MonotonicTime) -> Bool {
        guard state != .closed else { return false }
        guard rooms[room] == nil else { return true }
        guard rooms.count < options.rooms else { return false }
        add(room, .waiting(until: nil))
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

    /// Publishes `data`, one JSON value. While there is no connection it waits; a publish that was not answered is
    /// repeated with the same idempotency key: it takes effect once where the server keeps keys. The answer comes as an
    /// event.
    package mutating func publish(_ data: [UInt8], to room: String, now: MonotonicTime) -> RequestID {
        let request = makeRequest()
        guard state != .closed else { return failing(request, .closed) }
        guard Self.isJSON(data) else { return failing(request, .notJSON) }
        guard unansweredCount < options.queueCount, unansweredBytes + data.count <= options.queueBytes
        else { return failing(request, .queueFull) }
        unansweredCount += 1
        unansweredBytes += data.count
        queue.append(Publish(request: request, room: room, data: data, key: keyPrefix + String(request.number)))
        pump(now)
        return request
    }

    /// Measures the way to the server and back.
    package mutating func ping(now: MonotonicTime) -> RequestID {
        let (request, id) = admit(now) { .ping($0) }
        guard let id else { return request }
        CommandWriter.ping(id: id, to: &scratch)
        sendScratch()
        return request
    }

    /// Asks who is in a room.
    package mutating func presence(_ room: String, now: MonotonicTime) -> RequestID {
        let (request, id) = admit(now) { .presence($0) }
        guard let id else { return request }
        CommandWriter.presence(id: id, room: room, to: &scratch)
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
    package var unanswered: Int { unansweredCount }

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
    private mutating func admit(
        _ now: MonotonicTime, _ kind: (RequestID) -> Pending.Kind
    ) -> (RequestID, UInt32?) {
        let request = makeRequest()
        guard state != .closed else { return (failing(request, .closed), nil) }
        guard case .connected = state else { return (failing(request, .notConnected), nil) }
        guard pending.count - inFlight < options.requests else { return (failing(request, .queueFull), nil) }
        return (request, register(kind(request), now))
    }

    /// Gives a command its id and watches for the reply.
    mutating func register(_ kind: Pending.Kind, _ now: MonotonicTime) -> UInt32 {
        lastID = lastID == .max ? 1 : lastID + 1
        let isConnect = if case .connect = kind { true } else { false }
        let limit = isConnect ? options.openTimeout : options.requestTimeout
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
