// The protocol of a link that is subscribed: which rooms are wanted, what the server was told, what it confirmed.
//
// A room has at most one command in flight. What is wanted may change meanwhile; the confirmation then sends the
// opposite. So any interleaving of subscribe and unsubscribe ends in what was asked for last, and memory is bounded by
// the rooms (hiredis #140, centrifuge #372). Confirmations come in the order of the names that were sent, and exactly
// that is required of them.
//
//     closed ──open──▶ handshaking ──own channel confirmed──▶ ready ──fault, timeout, deaf──▶ poisoned ──open──▶ …
//
// A half-open TCP connection looks like a quiet room, and a connection to another server than the command link's like
// one on which nobody publishes. Hence the node's own channel: subscribed first, and alone until the engine has seen a
// probe come back on it and calls `verify`; after that, probes that are published and do not arrive make the link deaf
// (RC-04). Sans-IO: bytes and `now` in, `output` and events out, events are pulled. Bounded by LinkLimits.
// Loop-confined; reached by pointer.

package import Bytes

/// What a pub/sub link has to tell. Names and payloads are valid until the link is asked again.
package enum PubSubEvent {
    /// The login is done, `life` is known and the node's own channel is subscribed; `verify` is awaited.
    case ready
    /// A probe that was announced by `highestProbe` has arrived on the node's own channel.
    case probed(sequence: UInt64)
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

    enum Kind: UInt8 { case subscribe, unsubscribe, handshake, ownChannel }

    /// One command in flight.
    struct Sent: BitwiseCopyable {
        var kind: Kind
        /// Names of the command, and how many of them are not confirmed yet.
        var names = 0
        var unconfirmed = 0
        var sentAt: UInt64
    }

    let settings: LinkSettings
    private let names: RedisNames
    private let ownChannel: [UInt8]
    private var handshake: LinkHandshake
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
    private var lastReceived = MonotonicTime(nanoseconds: 0)
    private var probes: ProbeWatch
    /// Where the link stands.
    package private(set) var phase = CommandLink.Phase.closed
    /// Which life of which master this connection reached; nil until the link is ready.
    package private(set) var life: RedisLife?
    /// Whether this connection was proved to reach the same server as the command link. Before, no room is subscribed.
    package private(set) var isVerified = false
    /// The highest probe that was sent, to be set before it is: what claims to be a later one is forged and a stray.
    package var highestProbe: UInt64 = 0
    /// Messages for rooms that nobody wants any more, or that are neither a room's nor a probe.
    package private(set) var strayMessages: UInt64 = 0
    /// Bytes to be written; whoever takes them empties it.
    package var output = ByteBuffer()

    /// A closed link without rooms. `ownChannel` is the node's own, which is no room's.
    package init(settings: LinkSettings, names: RedisNames, ownChannel: [UInt8]) {
        precondition(!ownChannel.isEmpty && !PubSubLink.isRoom(ownChannel, names), "a channel that is no room's")
        self.settings = settings
        self.names = names
        self.ownChannel = ownChannel
        handshake = LinkHandshake(settings, for: .subscriptions)
        probes = ProbeWatch(timeout: settings.probeTimeout)
        reader = ReplyReader(limits: settings.limits.replies)
    }

    /// Rooms that are subscribed, or on the way to be or not to be.
    package var roomCount: Int { table.count }

    /// Whether everything that was subscribed before the link was opened is subscribed again.
    package var isRestored: Bool { isVerified && restoring == 0 }

    /// Whether `writeSubscriptions` has something to write now.
    package var hasSubscriptionsToWrite: Bool {
        isVerified && !queue.isEmpty && unconfirmed.count < settings.limits.namesInFlight
    }

    // MARK: The connection

    /// Begins on a new connection: login first, then the node's own channel; after `verify` every room whose
    /// subscription was answered.
    package mutating func open(now: MonotonicTime) {
        while drainNext() != nil {}
        reader = ReplyReader(limits: settings.limits.replies)
        output.removeAll()
        inFlight.removeAll()
        unconfirmed.removeAll()
        queue.removeAll()
        restoring = 0
        lastReceived = now
        life = nil
        isVerified = false
        phase = .handshaking
        handshake.begin(in: &output)
        for _ in handshake.steps { inFlight.append(Sent(kind: .handshake, sentAt: now.nanoseconds)) }
        // In the same write: if the login fails, so does the link, whatever is answered to this.
        output.beginCommand(2)
        output.appendArgument("SUBSCRIBE")
        ownChannel.withUnsafeBytes { output.appendArgument($0) }
        inFlight.append(Sent(kind: .ownChannel, names: 1, unconfirmed: 1, sentAt: now.nanoseconds))
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

    /// Looks at the clock and poisons the link when something is overdue.
    package mutating func tick(now: MonotonicTime) {
        guard phase == .ready || phase == .handshaking else { return }
        if let commandDeadline, now >= commandDeadline { return fail(.timeout) }
        if let probeDeadline, now >= probeDeadline { fail(.deaf) }
    }

    /// When `tick` is to be called at the latest; nil when nothing is due.
    package var deadline: MonotonicTime? {
        guard phase == .ready || phase == .handshaking else { return nil }
        guard let commandDeadline else { return probeDeadline }
        return min(commandDeadline, probeDeadline ?? commandDeadline)
    }

    // A server that is busy sending us a backlog answers behind it: as long as bytes flow, it has more time. Not for
    // ever: our own probes are bytes, too, and a confirmation that was lost would be awaited as long as they come.
    private var commandDeadline: MonotonicTime? {
        guard let first = inFlight.first else { return nil }
        let sentAt = MonotonicTime(nanoseconds: first.sentAt)
        return min(max(sentAt, lastReceived) + settings.commandTimeout, sentAt + settings.commandTimeout * 3)
    }

    private var probeDeadline: MonotonicTime? {
        phase == .ready ? probes.deadline(lastReceived: lastReceived) : nil
    }

    // MARK: Proof

    /// This connection reaches the same server as the command link: rooms are subscribed from now on. Without effect
    /// on a link that is not ready.
    package mutating func verify() {
        if phase == .ready { isVerified = true }
    }

    /// The probe `sequence`, sent at `sentAt`, was answered at `answeredAt`, so it was published by then. Unless it or
    /// a later one has arrived, the link is deaf when it does not arrive within `probeTimeout` after the answer and
    /// after the last byte, or within three times as long after `sentAt`. One that was sent before the own channel was
    /// confirmed is not awaited. Without `answeredAt` the time counts from `sentAt`: then a server that was slow to
    /// answer may leave the probe no time to arrive.
    package mutating func awaitProbe(
        _ sequence: UInt64, sentAt: MonotonicTime, answeredAt: MonotonicTime? = nil
    ) {
        if phase == .ready { probes.await(sequence, sentAt: sentAt, answeredAt: answeredAt ?? sentAt) }
    }

    /// Poisons the link; rooms whose `subscribe` was not answered are then told by `next`, the others are kept.
    package mutating func fail(_ fault: LinkFault) {
        guard phase == .ready || phase == .handshaking else { return }
        phase = .poisoned(fault)
        isVerified = false
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
        isVerified = false
        phase = .closed
    }

    // MARK: Rooms

    /// Wants the publications of `room` until `unsubscribe`, through every reconnection once it was answered.
    package mutating func subscribe(room: UnsafeRawBufferPointer) -> Admission {
        guard isVerified else { return .refused }
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
            if reply.count == 3, kind.isString("subscribe") {
                return inFlight.first?.kind == .ownChannel
                    ? confirmedOwnChannel(reply, now) : confirmed(.subscribe, reply)
            }
            if reply.count == 3, kind.isString("unsubscribe") { return confirmed(.unsubscribe, reply) }
        }
        guard let sent = inFlight.popFirst() else {
            fail(reply.error.map(LinkFault.refused) ?? .unexpectedReply)
            return nil
        }
        switch sent.kind {
        case .handshake:
            do throws(LinkFault) {
                _ = try handshake.take(reply)
            } catch {
                fail(error)
            }
            return nil
        case .ownChannel:
            fail(reply.error.map(LinkFault.refused) ?? .unexpectedReply)
            return nil
        case .subscribe, .unsubscribe: return refused(sent, reply)
        }
    }

    private mutating func confirmedOwnChannel(_ reply: RedisReply, _ now: MonotonicTime) -> PubSubEvent? {
        guard reply[1]?.bytes.elementsEqual(ownChannel) == true else {
            fail(.unexpectedReply)
            return nil
        }
        _ = inFlight.popFirst()
        probes.begin(now: now)
        life = handshake.life
        phase = .ready
        return .ready
    }

    private mutating func message(_ channel: UnsafeRawBufferPointer, _ payload: RedisReply) -> PubSubEvent? {
        if payload.kind == .bulk, let number = table.find(channel), let entry = table[number], entry.isLive {
            return .message(room: tell(entry), payload: payload.bytes)
        }
        if phase == .ready, payload.kind == .bulk, channel.elementsEqual(ownChannel),
            let sequence = ProbeWatch.sequence(in: payload.bytes), sequence <= highestProbe
        {
            probes.arrived(sequence)
            return .probed(sequence: sequence)
        }
        strayMessages += 1
        return nil
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

    private static func isRoom(_ channel: [UInt8], _ names: RedisNames) -> Bool {
        var room = ByteBuffer()
        return channel.withUnsafeBytes { names.appendRoom(ofChannel: $0, to: &room) }
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
