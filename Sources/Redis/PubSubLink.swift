// The protocol of a link that is subscribed: which rooms are wanted, what the server was told, what it confirmed.
//
// A room has at most one command in flight. What is wanted may change meanwhile; the confirmation then sends the
// opposite. So any interleaving of subscribe and unsubscribe ends in what was asked for last, and memory is bounded by
// the rooms (hiredis #140, centrifuge #372). Confirmations come in the order of the names that were sent, and exactly
// that is required of them.
//
//     closed ──open──▶ handshaking ──last step answered──▶ ready ──fault, timeout, deaf──▶ poisoned ──open──▶ …
//
// A half-open TCP connection looks like a quiet room, hence the PING (RC-04). Sans-IO: bytes and `now` in, `output` and
// events out, events are pulled. Bounded by LinkLimits. Loop-confined; reached by pointer.

package import Bytes

/// What a pub/sub link has to tell. Names and payloads are valid until the link is asked again.
package enum PubSubEvent {
    /// The login is done: subscriptions are accepted, earlier ones are being restored.
    case ready
    /// The answer to `subscribe`: publications flow.
    case subscribed(room: UnsafeRawBufferPointer)
    /// The room is not subscribed and was forgotten.
    case failed(room: UnsafeRawBufferPointer, CommandOutcome)
    /// A publication of a subscribed room.
    case message(room: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer)
}

/// A link for subscriptions.
package struct PubSubLink: ~Copyable {
    /// What `subscribe` did.
    package enum Admission: Sendable {
        /// The room is subscribed already: there will be no event.
        case live
        /// An event will tell.
        case pending
        /// The link takes no subscriptions now: there will be no event.
        case refused
    }

    enum Kind: UInt8 { case subscribe, unsubscribe, handshake, probe }

    /// One command in flight.
    struct Sent: BitwiseCopyable {
        var kind: Kind
        /// A handshake's step.
        var detail: UInt8 = 0
        /// Names of the command, and how many of them are not confirmed yet.
        var names = 0
        var unconfirmed = 0
        var sentAt: UInt64
    }

    let settings: LinkSettings
    private let names: RedisNames
    private let handshake: LinkHandshake
    private var reader: ReplyReader
    var table = SubscriptionTable()
    var inFlight = Ring<Sent>()
    // The names of the commands in flight, in the order in which they will be confirmed.
    var unconfirmed = Ring<UInt32>()
    // Rooms for which something may have to be sent.
    var queue = Ring<UInt32>()
    private var channel = ByteBuffer()
    // The name in the last event: a copy, since whoever hears the event may unsubscribe that very room.
    private var told = ByteBuffer()
    private var restoring = 0
    private var drained: UInt32 = 0
    private var lastProbe = MonotonicTime(nanoseconds: 0)
    private var lastReceived = MonotonicTime(nanoseconds: 0)
    private var isProbing = false
    /// Where the link stands.
    package private(set) var phase = CommandLink.Phase.closed
    /// Messages for rooms that nobody wants any more, or that are no room's.
    package private(set) var strayMessages: UInt64 = 0
    /// Bytes to be written; whoever takes them empties it.
    package var output = ByteBuffer()

    /// A closed link without rooms.
    package init(settings: LinkSettings, names: RedisNames) {
        self.settings = settings
        self.names = names
        handshake = LinkHandshake(settings)
        reader = ReplyReader(limits: settings.limits.replies)
    }

    /// Rooms that are subscribed, or on the way to be or not to be.
    package var roomCount: Int { table.count }

    /// Whether everything that was subscribed before the link was opened is subscribed again.
    package var isRestored: Bool { phase == .ready && restoring == 0 }

    /// Whether `writeSubscriptions` has something to write now.
    package var hasSubscriptionsToWrite: Bool {
        phase == .ready && !queue.isEmpty && unconfirmed.count < settings.limits.namesInFlight
    }

    // MARK: The connection

    /// Begins on a new connection: login first, then every room whose subscription was answered.
    package mutating func open(now: MonotonicTime) {
        while drainNext() != nil {}
        reader = ReplyReader(limits: settings.limits.replies)
        output.removeAll()
        inFlight.removeAll()
        unconfirmed.removeAll()
        queue.removeAll()
        restoring = 0
        isProbing = false
        lastProbe = now
        lastReceived = now
        phase = .handshaking
        handshake.append(to: &output)
        for step in handshake.steps {
            inFlight.append(Sent(kind: .handshake, detail: step.rawValue, sentAt: now.nanoseconds))
        }
        for number in 0..<table.bound where table[number] != nil {
            table.update(number) {
                $0.isRestoring = true
                $0.isQueued = true
            }
            restoring += 1
            queue.append(number)
        }
    }

    /// Takes bytes from the server; events are then pulled by `next`.
    package mutating func receive(_ bytes: UnsafeRawBufferPointer, now: MonotonicTime) {
        lastReceived = now
        reader.feed(bytes)
    }

    /// The next event, or nil when all is told.
    package mutating func next(now: MonotonicTime) -> PubSubEvent? {
        while true {
            if case .poisoned = phase { return drainNext() }
            guard phase != .closed else { return nil }
            guard let reply = reader.next() else {
                guard let fault = reader.fault else { return nil }
                fail(.badReply(fault))
                continue
            }
            if let event = take(reply, now) { return event }
        }
    }

    /// Looks at the clock: sends the PING that is due, and poisons the link when something is overdue.
    package mutating func tick(now: MonotonicTime) {
        guard phase == .ready || phase == .handshaking else { return }
        if let overdue = commandDeadline, now >= overdue { return fail(.timeout) }
        guard phase == .ready else { return }
        if isProbing {
            if now >= max(lastProbe, lastReceived) + settings.probeTimeout { fail(.deaf) }
        } else if now >= lastProbe + settings.probeInterval {
            output.beginCommand(1)
            output.appendArgument("PING")
            lastProbe = now
            isProbing = true
            inFlight.append(Sent(kind: .probe, sentAt: now.nanoseconds))
        }
    }

    /// When `tick` is to be called at the latest; nil when nothing is due.
    package var deadline: MonotonicTime? {
        guard phase == .ready || phase == .handshaking else { return nil }
        let command = commandDeadline ?? MonotonicTime(nanoseconds: .max)
        guard phase == .ready else { return command }
        let probe =
            isProbing ? max(lastProbe, lastReceived) + settings.probeTimeout : lastProbe + settings.probeInterval
        return min(command, probe)
    }

    // A server that is busy sending us a backlog answers behind it: as long as bytes flow, nobody is deaf.
    private var commandDeadline: MonotonicTime? {
        guard let first = inFlight.first, first.kind != .probe else { return nil }
        return max(MonotonicTime(nanoseconds: first.sentAt), lastReceived) + settings.commandTimeout
    }

    /// Poisons the link; rooms whose `subscribe` was not answered are then told by `next`, the others are kept.
    package mutating func fail(_ fault: LinkFault) {
        guard phase == .ready || phase == .handshaking else { return }
        phase = .poisoned(fault)
        drained = 0
        output.removeAll(keepingAtMost: 64 * 1024)
    }

    /// Forgets everything without a word.
    package mutating func close() {
        for number in 0..<table.bound { table.remove(number) }
        inFlight.removeAll()
        unconfirmed.removeAll()
        queue.removeAll()
        output.removeAll(keepingAtMost: 0)
        restoring = 0
        phase = .closed
    }

    // MARK: Rooms

    /// Wants the publications of `room` until `unsubscribe`, through every reconnection once it was answered.
    package mutating func subscribe(room: UnsafeRawBufferPointer) -> Admission {
        guard phase == .ready else { return .refused }
        channel.removeAll()
        names.appendChannel(room, to: &channel)
        let number = table.find(channel.bytes) ?? table.insert(channel: channel.bytes, room: room)
        var isLive = false
        table.update(number) {
            $0.isWanted = true
            isLive = $0.phase == .subscribed
            if isLive { $0.isAnswered = true }
        }
        if isLive { return .live }
        enqueue(number)
        return .pending
    }

    /// No longer wants the publications of `room`. If its `subscribe` was not answered, it never will be.
    package mutating func unsubscribe(room: UnsafeRawBufferPointer) {
        channel.removeAll()
        names.appendChannel(room, to: &channel)
        guard let number = table.find(channel.bytes), let entry = table[number] else { return }
        if entry.isRestoring { restoring -= 1 }
        table.update(number) {
            $0.isWanted = false
            $0.isAnswered = false
            $0.isRestoring = false
        }
        if entry.phase == .subscribed { enqueue(number) }
        removeIfUnused(number)
    }

    /// Puts `number` on the list of rooms for which something may have to be sent.
    mutating func enqueue(_ number: UInt32) {
        guard let entry = table[number], !entry.isQueued else { return }
        table.update(number) { $0.isQueued = true }
        queue.append(number)
    }

    /// Forgets a room that nobody wants and of which the server knows nothing.
    mutating func removeIfUnused(_ number: UInt32) {
        guard let entry = table[number], !entry.isWanted, entry.phase == .none, !entry.isQueued else { return }
        table.remove(number)
    }

    // MARK: Replies

    private mutating func take(_ reply: RedisReply, _ now: MonotonicTime) -> PubSubEvent? {
        if reply.kind == .array, let kind = reply[0] {
            if reply.count == 3, kind.isString("message"), let channel = reply[1], let payload = reply[2] {
                return message(channel.bytes, payload)
            }
            if reply.count == 3, kind.isString("subscribe") { return confirmed(.subscribe, reply) }
            if reply.count == 3, kind.isString("unsubscribe") { return confirmed(.unsubscribe, reply) }
        }
        guard let sent = inFlight.popFirst() else {
            fail(reply.error.map(LinkFault.refused) ?? .unexpectedReply)
            return nil
        }
        switch sent.kind {
        case .probe:
            isProbing = false
            if let fault = LinkHandshake.judge(.ping, reply) { fail(fault) }
            return nil
        case .handshake:
            guard let step = LinkHandshake.Step(rawValue: sent.detail) else { return nil }
            if let fault = LinkHandshake.judge(step, reply) {
                fail(fault)
                return nil
            }
            guard step == .ping else { return nil }
            phase = .ready
            lastProbe = now
            return .ready
        case .subscribe, .unsubscribe: return refused(sent, reply)
        }
    }

    private mutating func message(_ channel: UnsafeRawBufferPointer, _ payload: RedisReply) -> PubSubEvent? {
        guard payload.kind == .bulk, let number = table.find(channel), let entry = table[number], entry.isLive else {
            strayMessages += 1
            return nil
        }
        return .message(room: tell(entry), payload: payload.bytes)
    }

    private mutating func confirmed(_ kind: Kind, _ reply: RedisReply) -> PubSubEvent? {
        guard var sent = inFlight.first, sent.kind == kind, let number = unconfirmed.popFirst(),
            let entry = table[number], let channel = reply[1], channel.bytes.elementsEqual(entry.channel)
        else {
            fail(.unexpectedReply)
            return nil
        }
        sent.unconfirmed -= 1
        if sent.unconfirmed == 0 { _ = inFlight.popFirst() } else { inFlight.replaceFirst(sent) }
        if kind == .unsubscribe {
            table.update(number) { $0.phase = .none }
            if entry.isWanted { enqueue(number) }
            removeIfUnused(number)
            return nil
        }
        table.update(number) {
            $0.phase = .subscribed
            $0.isAlone = false
        }
        guard entry.isWanted else {
            enqueue(number)
            return nil
        }
        restored(number)
        guard !entry.isAnswered else { return nil }
        table.update(number) { $0.isAnswered = true }
        return .subscribed(room: tell(entry))
    }

    /// The server refused a whole command. The names of a batch are tried one by one: one that an ACL forbids must not
    /// cost the others their subscription.
    private mutating func refused(_ sent: Sent, _ reply: RedisReply) -> PubSubEvent? {
        guard let kind = reply.error, sent.unconfirmed == sent.names else {
            fail(.unexpectedReply)
            return nil
        }
        guard sent.kind == .subscribe, !kind.condemnsLink else {
            fail(.refused(kind))
            return nil
        }
        var event: PubSubEvent?
        for _ in 0..<sent.names {
            guard let number = unconfirmed.popFirst(), let entry = table[number] else { continue }
            table.update(number) {
                $0.phase = .none
                $0.isAlone = true
            }
            guard sent.names == 1, entry.isWanted else {
                enqueue(number)
                continue
            }
            restored(number)
            table.update(number) {
                $0.isWanted = false
                $0.isAnswered = false
            }
            event = .failed(room: tell(entry), .refused(kind))
            removeIfUnused(number)
        }
        return event
    }

    private mutating func restored(_ number: UInt32) {
        guard table[number]?.isRestoring == true else { return }
        table.update(number) { $0.isRestoring = false }
        restoring -= 1
    }

    private mutating func tell(_ entry: Subscription) -> UnsafeRawBufferPointer {
        told.removeAll()
        told.append(entry.room)
        return told.bytes
    }

    /// After a fault: the next room whose `subscribe` will not be answered any more. Puts all others back to the start.
    private mutating func drainNext() -> PubSubEvent? {
        guard case .poisoned = phase else { return nil }
        while drained < table.bound {
            let number = drained
            drained += 1
            guard let entry = table[number] else { continue }
            table.update(number) {
                $0.phase = .none
                $0.isQueued = false
                $0.isAlone = false
                $0.isRestoring = false
                $0.isWanted = entry.isAnswered
            }
            let isOwedAnAnswer = entry.isWanted && !entry.isAnswered
            if isOwedAnAnswer { _ = tell(entry) }
            removeIfUnused(number)
            if isOwedAnAnswer {
                return .failed(room: told.bytes, entry.phase == .none ? .notSent : .outcomeUnknown)
            }
        }
        return nil
    }
}
