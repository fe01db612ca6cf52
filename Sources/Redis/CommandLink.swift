// The protocol of a link that sends commands: login, pipelining, replies matched in order with what was asked.
//
//     closed ──open──▶ handshaking ──last step answered──▶ ready
//        ▲                  │ fault, timeout                 │ fault, timeout, deaf
//        └──open────────────┴─────────── poisoned ◀──────────┘
//
// A poisoned link answers whatever is in flight and is never used again before the next `open` on a new connection: a
// reply that came late would be taken for the next command's (RC-03; CVE-2023-28858, CVE-2025-29923). Sans-IO: bytes
// and `now` in, `output` and events out. Results are pulled, so that whoever hears one may send the next command at
// once. Bounded by LinkLimits. Loop-confined; reached by pointer, so that no access is checked.

package import Bytes

/// Two words that come back with a command's result; opaque to the link.
package struct CommandTag: Equatable, Sendable, BitwiseCopyable {
    package var first: UInt64
    package var second: UInt64

    package init(_ first: UInt64, _ second: UInt64) {
        self.first = first
        self.second = second
    }
}

/// What a command's reply must look like. An error is always possible.
package enum ReplyShape: UInt8, Sendable {
    case status, integer, bulkOrNull, array
}

/// How a command ended.
package enum CommandOutcome {
    /// The server's reply, of the shape that was expected; valid until the link is asked again.
    case reply(RedisReply)
    /// The server's error: the command was not executed.
    case refused(RedisErrorKind)
    /// Written and not answered: it may have been executed.
    case outcomeUnknown
    /// Never written wholly, so it was not executed.
    case notSent
}

/// What a command link has to tell.
package enum CommandEvent {
    /// The login is done: commands are accepted.
    case ready
    /// A command has ended after `elapsed`.
    case completed(CommandTag, CommandOutcome, elapsed: Duration)
    /// A PING was answered after `elapsed`.
    case probed(elapsed: Duration)
}

/// A pipelined command link.
package struct CommandLink: ~Copyable {
    /// Where the link stands.
    package enum Phase: Equatable, Sendable {
        case closed, handshaking, ready
        case poisoned(LinkFault)
    }

    enum Kind: UInt8 { case command, handshake, probe }

    // Not private: a private type inside a package type that is not copyable breaks the compiler (6.3) in other
    // modules.
    struct Entry: BitwiseCopyable {
        var tag: CommandTag
        var sentAt: UInt64
        /// Bytes of the stream up to the end of this command.
        var end: UInt64
        var kind: Kind
        /// A `ReplyShape`, or a handshake's step.
        var detail: UInt8
    }

    private let settings: LinkSettings
    private let handshake: LinkHandshake
    private var reader: ReplyReader
    private var inFlight = Ring<Entry>()
    private var commands = 0
    private var appended: UInt64 = 0
    private var written: UInt64 = 0
    private var lastProbe = MonotonicTime(nanoseconds: 0)
    private var lastReceived = MonotonicTime(nanoseconds: 0)
    private var probesInFlight = 0
    /// Where the link stands.
    package private(set) var phase = Phase.closed
    /// Bytes to be written; whoever takes them empties it.
    package var output = ByteBuffer()
    /// Of the bytes taken from `output`, how many at the end the transport certainly has not written; too few do no
    /// harm: then some commands count as written that were not.
    package var unsentByTransport = 0

    /// A closed link.
    package init(settings: LinkSettings) {
        self.settings = settings
        handshake = LinkHandshake(settings)
        reader = ReplyReader(limits: settings.limits.replies)
    }

    /// Commands that wait for their replies.
    package var commandsInFlight: Int { commands }

    /// Begins on a new connection. Everything of the one before must have been pulled.
    package mutating func open(now: MonotonicTime) {
        precondition(inFlight.isEmpty, "results of the former connection are pulled before the next one begins")
        reader = ReplyReader(limits: settings.limits.replies)
        output.removeAll()
        appended = 0
        written = 0
        unsentByTransport = 0
        probesInFlight = 0
        lastProbe = now
        lastReceived = now
        phase = .handshaking
        handshake.append(to: &output)
        appended = UInt64(output.count)
        for step in handshake.steps { push(.handshake, step.rawValue, CommandTag(0, 0), now) }
    }

    /// Sends what `write` appends, exactly one command. False when the link takes none now: nothing was sent, nothing
    /// will be answered.
    package mutating func send(
        _ tag: CommandTag, expecting shape: ReplyShape, now: MonotonicTime, _ write: (inout ByteBuffer) -> Void
    ) -> Bool {
        guard phase == .ready, commands < settings.limits.commandsInFlight else { return false }
        guard output.count < settings.limits.outputBytes else { return false }
        let before = output.count
        write(&output)
        appended += UInt64(output.count - before)
        commands += 1
        push(.command, shape.rawValue, tag, now)
        return true
    }

    /// Takes bytes from the server; results are then pulled by `next`.
    package mutating func receive(_ bytes: UnsafeRawBufferPointer, now: MonotonicTime) {
        lastReceived = now
        reader.feed(bytes)
    }

    /// The next event, or nil when all is told. A reply in it is valid until the next call.
    package mutating func next(now: MonotonicTime) -> CommandEvent? {
        while true {
            if case .poisoned = phase { return nextFailure(now: now) }
            guard phase != .closed else { return nil }
            guard let reply = reader.next() else {
                guard let fault = reader.fault else { return nil }
                fail(.badReply(fault))
                continue
            }
            guard let entry = inFlight.popFirst() else {
                fail(.unexpectedReply)
                continue
            }
            if let event = match(entry, reply, now) { return event }
        }
    }

    /// Looks at the clock: sends the PING that is due, and poisons the link when something is overdue.
    package mutating func tick(now: MonotonicTime) {
        guard phase == .ready || phase == .handshaking else { return }
        if let first = inFlight.first, now >= time(first.sentAt) + settings.commandTimeout {
            return fail(.timeout)
        }
        guard phase == .ready else { return }
        if probesInFlight > 0 {
            if now >= max(lastProbe, lastReceived) + settings.probeTimeout { fail(.deaf) }
        } else if now >= lastProbe + settings.probeInterval {
            let before = output.count
            output.beginCommand(1)
            output.appendArgument("PING")
            appended += UInt64(output.count - before)
            lastProbe = now
            probesInFlight = 1
            push(.probe, 0, CommandTag(0, 0), now)
        }
    }

    /// When `tick` is to be called at the latest; nil when nothing is due.
    package var deadline: MonotonicTime? {
        guard phase == .ready || phase == .handshaking else { return nil }
        var earliest = MonotonicTime(nanoseconds: .max)
        if let first = inFlight.first { earliest = time(first.sentAt) + settings.commandTimeout }
        guard phase == .ready else { return earliest }
        let probe =
            probesInFlight > 0
            ? max(lastProbe, lastReceived) + settings.probeTimeout : lastProbe + settings.probeInterval
        return min(earliest, probe)
    }

    /// Poisons the link; the results of what was in flight are then pulled by `next`.
    package mutating func fail(_ fault: LinkFault) {
        guard phase == .ready || phase == .handshaking else { return }
        let lost = UInt64(output.count) + UInt64(clamping: unsentByTransport)
        written = appended > lost ? appended - lost : 0
        output.removeAll(keepingAtMost: 64 * 1024)
        phase = .poisoned(fault)
    }

    /// Forgets everything without a word.
    package mutating func close() {
        inFlight.removeAll()
        commands = 0
        output.removeAll(keepingAtMost: 0)
        phase = .closed
    }

    // MARK: Replies

    private mutating func match(_ entry: Entry, _ reply: RedisReply, _ now: MonotonicTime) -> CommandEvent? {
        switch entry.kind {
        case .command:
            commands -= 1
            let elapsed = now.since(time(entry.sentAt))
            if let kind = reply.error {
                // These concern every command that follows: the next connection may reach a better server.
                if kind.condemnsLink { fail(.refused(kind)) }
                return .completed(entry.tag, .refused(kind), elapsed: elapsed)
            }
            guard let shape = ReplyShape(rawValue: entry.detail), shape.admits(reply.kind) else {
                fail(.unexpectedReply)
                return .completed(entry.tag, .outcomeUnknown, elapsed: elapsed)
            }
            return .completed(entry.tag, .reply(reply), elapsed: elapsed)
        case .probe:
            probesInFlight = 0
            if let fault = LinkHandshake.judge(.ping, reply) {
                fail(fault)
                return nil
            }
            return .probed(elapsed: now.since(time(entry.sentAt)))
        case .handshake:
            guard let step = LinkHandshake.Step(rawValue: entry.detail) else { return nil }
            if let fault = LinkHandshake.judge(step, reply) {
                fail(fault)
                return nil
            }
            guard step == .ping else { return nil }
            phase = .ready
            lastProbe = now
            return .ready
        }
    }

    private mutating func nextFailure(now: MonotonicTime) -> CommandEvent? {
        while let entry = inFlight.popFirst() {
            guard entry.kind == .command else { continue }
            commands -= 1
            // A command that was written by half is never executed, since its connection is closed.
            let outcome = entry.end > written ? CommandOutcome.notSent : .outcomeUnknown
            return .completed(entry.tag, outcome, elapsed: now.since(time(entry.sentAt)))
        }
        return nil
    }

    private mutating func push(_ kind: Kind, _ detail: UInt8, _ tag: CommandTag, _ now: MonotonicTime) {
        inFlight.append(Entry(tag: tag, sentAt: now.nanoseconds, end: appended, kind: kind, detail: detail))
    }

    private func time(_ nanoseconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: nanoseconds) }
}

extension ReplyShape {
    func admits(_ kind: RedisReply.Kind) -> Bool {
        switch self {
        case .status: kind == .status
        case .integer: kind == .integer
        case .bulkOrNull: kind == .bulk || kind == .null
        case .array: kind == .array
        }
    }
}
