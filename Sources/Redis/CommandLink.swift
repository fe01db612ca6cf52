// The protocol of a link that sends commands: login, pipelining, replies matched in order with what was asked.
//
//     closed ──open──▶ handshaking ──last step answered──▶ ready
//        ▲                  │ fault, timeout                 │ fault, timeout
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
package enum ReplyShape: UInt8, Sendable, BitwiseCopyable {
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
    /// The login is done and `life` is known: commands are accepted.
    case ready
    /// A command has ended after `elapsed`.
    case completed(CommandTag, CommandOutcome, elapsed: Duration)
}

/// A pipelined command link.
package struct CommandLink: ~Copyable {
    /// Where the link stands.
    package enum Phase: Equatable, Sendable {
        case closed, handshaking, ready
        case poisoned(LinkFault)
    }

    enum Kind: UInt8 { case command, handshake }

    // Not private: a private type inside a package type that is not copyable breaks the compiler (6.3) in other
    // modules.
    struct Entry: BitwiseCopyable {
        var tag: CommandTag
        var sentAt: UInt64
        /// Bytes of the stream up to the end of this command.
        var end: UInt64 = 0
        var kind: Kind
        /// What a command's reply must look like.
        var shape = ReplyShape.status
    }

    private let settings: LinkSettings
    private var handshake: LinkHandshake
    private var reader: ReplyReader
    private var inFlight = Ring<Entry>()
    private var commands = 0
    private var appended: UInt64 = 0
    private var written: UInt64 = 0
    /// Where the link stands.
    package private(set) var phase = Phase.closed
    /// Which life of which master this connection reached; nil until the login is done.
    package private(set) var life: RedisLife?
    /// Bytes to be written; whoever takes them empties it.
    package var output = ByteBuffer()
    /// Of the bytes taken from `output`, how many at the end the transport certainly has not written; too few do no
    /// harm: then some commands count as written that were not.
    package var unsentByTransport = 0

    /// A closed link.
    package init(settings: LinkSettings) {
        self.settings = settings
        handshake = LinkHandshake(settings, for: .commands)
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
        life = nil
        phase = .handshaking
        handshake.begin(in: &output)
        appended = UInt64(output.count)
        for _ in handshake.steps { push(Entry(tag: CommandTag(0, 0), sentAt: now.nanoseconds, kind: .handshake)) }
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
        push(Entry(tag: tag, sentAt: now.nanoseconds, kind: .command, shape: shape))
        return true
    }

    /// Takes bytes from the server; results are then pulled by `next`.
    package mutating func receive(_ bytes: UnsafeRawBufferPointer, now: MonotonicTime) {
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

    /// Looks at the clock and poisons the link when something is overdue.
    package mutating func tick(now: MonotonicTime) {
        if let deadline, now >= deadline { fail(.timeout) }
    }

    /// When `tick` is to be called at the latest; nil when nothing is due.
    package var deadline: MonotonicTime? {
        guard phase == .ready || phase == .handshaking, let first = inFlight.first else { return nil }
        return time(first.sentAt) + settings.commandTimeout
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
            guard entry.shape.admits(reply.kind) else {
                fail(.unexpectedReply)
                return .completed(entry.tag, .outcomeUnknown, elapsed: elapsed)
            }
            return .completed(entry.tag, .reply(reply), elapsed: elapsed)
        case .handshake:
            do throws(LinkFault) {
                guard try handshake.take(reply) else { return nil }
            } catch {
                fail(error)
                return nil
            }
            life = handshake.life
            phase = .ready
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

    private mutating func push(_ entry: Entry) {
        var entry = entry
        entry.end = appended
        inFlight.append(entry)
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
