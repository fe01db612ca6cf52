// Publishes from the wish to the answer: one line per room, of which only the head is on its way. Used by the session
// alone; no I/O and no clock.
//
// What may succeed later is repeated with its key, and holds its line meanwhile; everything else fails at once:
// - no answer, 100 or 120: for `publishPatience`, from the wish or from what it had to wait for (a connection, the end
//   of a limit).
// - 111, the room takes no more for now: the wait that the server names plus a little jitter, also over a reconnection
//   (the limit is the room's, not the connection's); for `limitPatience` from the first 111 on. A server that knows the
//   key of a publish does not limit it, so 111 says that nothing was published. Should an attempt before have an
//   unknown outcome all the same, `publishPatience` stays the limit: servers do not remember keys for ever.
//
// One at a time keeps a room's order: with more on their way, the one that is refused for the moment would be overtaken
// by those behind it before anybody heard of the refusal. Rooms do not wait for each other; they take turns.
//
// Bounded by `queueCount`, `queueBytes` (more is not admitted) and `inFlight` (heads that are on their way; the others
// wait).

import Bytes
import Wire

/// One message on its way into a room.
struct Publish {
    let request: RequestID
    let room: String
    let data: [UInt8]
    /// By which the server recognises a repetition.
    let key: String
    /// When it was asked for.
    let wished: MonotonicTime
    var backoff: Backoff
    /// No attempt begins later than this; nil until the first one.
    var giveUp: MonotonicTime?
    /// When it was limited for the first time.
    fileprivate var limitedSince: MonotonicTime?
    /// What to tell when no attempt is left.
    var failure: ClientError?

    /// Takes note of how an attempt failed.
    fileprivate mutating func note(_ error: ClientError) {
        // That one attempt published nothing says nothing about an earlier one whose outcome nobody knows.
        if failure?.isOutcomeUnknown == true, !error.isOutcomeUnknown { return }
        failure = error
    }
}

/// All publishes of a client that have no answer yet.
struct PublishQueue {
    private struct Line {
        /// How the first of `publishes` stands; the others wait for it.
        enum Head {
            case ready
            /// Refused for the moment; a limit outlives the connection.
            case resting(until: MonotonicTime, isLimit: Bool)
            /// The server has it and has not answered.
            case sent
        }

        var head = Head.ready
        /// When the last limit ends, or ended: what waits behind it has its time from then on.
        var limitedUntil: MonotonicTime?
        var publishes: [Publish] = []
    }

    private let options: ClientOptions
    private var lines: [String: Line] = [:]
    /// The keys of `lines`; whose turn was longest ago comes first.
    private var turns: [String] = []
    /// Publishes without an answer.
    private(set) var count = 0
    /// The bytes of their data.
    private var bytes = 0
    /// Of these, how many the server has.
    private(set) var inFlight = 0

    init(_ options: ClientOptions) { self.options = options }

    /// Whether there is room for `size` bytes more.
    func admits(_ size: Int) -> Bool { count < options.queueCount && bytes + size <= options.queueBytes }

    /// Appends a publish, for which there must be room.
    mutating func add(_ request: RequestID, room: String, data: [UInt8], key: String, now: MonotonicTime) {
        let backoff = Backoff(base: options.publishBackoffBase, cap: options.publishBackoffCap)
        let publish = Publish(request: request, room: room, data: data, key: key, wished: now, backoff: backoff)
        if lines[room] == nil { turns.append(room) }
        lines[room, default: Line()].publishes.append(publish)
        count += 1
        bytes += data.count
    }

    // MARK: Sending

    /// The next publish to send, which counts as sent then; nil when there is none now. `isOpen` tells whether a room
    /// takes publishes. Its time runs from the wish, or from the connection (`since`) or the end of a limit that it had
    /// to wait for.
    mutating func next(
        now: MonotonicTime, connected since: MonotonicTime, where isOpen: (String) -> Bool
    ) -> Publish? {
        wake(now)
        guard inFlight < options.inFlight else { return nil }
        for (place, room) in turns.enumerated() {
            guard case .ready? = lines[room]?.head, isOpen(room), var publish = lines[room]?.publishes.first
            else { continue }
            turns.remove(at: place)
            turns.append(room)
            let begin = max(publish.wished, since, lines[room]?.limitedUntil ?? since)
            publish.giveUp = publish.giveUp ?? begin + options.publishPatience
            lines[room]?.publishes[0] = publish
            lines[room]?.head = .sent
            inFlight += 1
            return publish
        }
        return nil
    }

    /// The head of `room`'s line, which was sent, has its answer: takes it out.
    mutating func answered(_ room: String) -> Publish? {
        guard case .sent? = lines[room]?.head else { return nil }
        inFlight -= 1
        return removeHead(room)
    }

    /// The head of `room`'s line, which was sent, failed in a way that may pass. Takes it out if its time is over;
    /// otherwise it rests before it is sent again, at least as long as the server wants.
    mutating func failed(
        _ room: String, _ error: ClientError, retryAfter: Duration?, now: MonotonicTime,
        using random: inout some RandomNumberGenerator
    ) -> Publish? {
        guard case .sent? = lines[room]?.head, var publish = lines[room]?.publishes.first else { return nil }
        inFlight -= 1
        publish.note(error)
        let jittered = publish.backoff.next(using: &random)
        lines[room]?.publishes[0] = publish
        guard let giveUp = publish.giveUp, now < giveUp else { return removeHead(room) }
        lines[room]?.head = .resting(until: min(now + max(jittered, retryAfter ?? .zero), giveUp), isLimit: false)
        return nil
    }

    /// What becomes of a publish that was limited.
    enum Limited {
        /// It is sent again after so long, or a little later.
        case waits(RequestID, Duration)
        /// It is taken out.
        case over(Publish)
    }

    /// The head of `room`'s line, which was sent, came too early for the room.
    mutating func limited(
        _ room: String, _ error: ServerError, now: MonotonicTime, using random: inout some RandomNumberGenerator
    ) -> Limited? {
        guard case .sent? = lines[room]?.head, var publish = lines[room]?.publishes.first else { return nil }
        inFlight -= 1
        publish.note(.refused(error))
        // Others were refused, too: with the jitter they do not all come back at once.
        let wait = (error.retryAfter ?? .zero) + publish.backoff.next(using: &random)
        let since = publish.limitedSince ?? now
        publish.limitedSince = since
        var isOver = wait > options.limitPatience - now.since(since)
        if publish.failure?.isOutcomeUnknown == true {
            isOver = isOver || publish.giveUp.map { now + wait >= $0 } ?? true
        } else {
            publish.giveUp = now + wait + options.publishPatience
        }
        lines[room]?.publishes[0] = publish
        guard !isOver else { return removeHead(room).map { .over($0) } }
        lines[room]?.head = .resting(until: now + wait, isLimit: true)
        lines[room]?.limitedUntil = now + wait
        return .waits(publish.request, error.retryAfter ?? wait)
    }

    /// The head of `room`'s line was not answered in time. It is sent again on the next connection.
    mutating func unanswered(_ room: String) {
        guard case .sent? = lines[room]?.head else { return }
        lines[room]?.publishes[0].note(.timeout)
        lines[room]?.head = .ready
        inFlight -= 1
    }

    /// The connection is gone: what was on its way, or rested, is sent at once on the next one; but for what a limit
    /// holds.
    mutating func interrupted() {
        for room in turns {
            if case .resting(_, isLimit: true)? = lines[room]?.head { continue }
            if case .sent? = lines[room]?.head { lines[room]?.publishes[0].note(.connectionLost) }
            lines[room]?.head = .ready
        }
        inFlight = 0
    }

    // MARK: Time

    /// When something has to be done; nil when nothing waits for its time.
    var deadline: MonotonicTime? {
        var earliest: MonotonicTime?
        for line in lines.values {
            let time: MonotonicTime? =
                switch line.head {
                case .sent: nil
                case .resting(let until, _): until
                case .ready: line.publishes.first?.giveUp
                }
            if let time { earliest = earliest.map { min($0, time) } ?? time }
        }
        return earliest
    }

    /// Takes out those whose time is over while they could not be sent; called after all that can be sent was sent.
    mutating func expired(now: MonotonicTime) -> [Publish] {
        wake(now)
        var over: [Publish] = []
        for room in turns {
            while case .ready? = lines[room]?.head, let giveUp = lines[room]?.publishes.first?.giveUp, now >= giveUp,
                let publish = removeHead(room)
            { over.append(publish) }
        }
        return over
    }

    /// Takes those of `room` out that are not on their way, in the order of the wishes.
    mutating func cancel(_ room: String) -> [Publish] {
        var cancelled: [Publish] = []
        if case .sent? = lines[room]?.head {
            cancelled = Array(lines[room]?.publishes.dropFirst() ?? [])
            count -= cancelled.count
            bytes -= cancelled.reduce(0) { $0 + $1.data.count }
            lines[room]?.publishes.removeLast(cancelled.count)
        } else {
            while let publish = removeHead(room) { cancelled.append(publish) }
        }
        return cancelled
    }

    /// Takes everything out, in the order of the wishes.
    mutating func removeAll() -> [Publish] {
        let all = lines.values.flatMap(\.publishes).sorted { $0.request.number < $1.request.number }
        self = PublishQueue(options)
        return all
    }

    /// Whose rest is over may be sent, or expire.
    private mutating func wake(_ now: MonotonicTime) {
        for room in turns {
            if case .resting(let until, _)? = lines[room]?.head, now >= until { lines[room]?.head = .ready }
        }
    }

    private mutating func removeHead(_ room: String) -> Publish? {
        guard let publish = lines[room]?.publishes.first else { return nil }
        lines[room]?.publishes.removeFirst()
        count -= 1
        bytes -= publish.data.count
        lines[room]?.head = .ready
        if lines[room]?.publishes.isEmpty == true {
            lines[room] = nil
            turns.removeAll { $0 == room }
        }
        return publish
    }
}
