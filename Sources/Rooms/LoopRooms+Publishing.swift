// Publishing: from the command to the room's home, its engine, and the acknowledgement.
//
// The sender's loop makes the publication's fields once; they travel unchanged through the engine to every home loop of
// the cluster. The acknowledgement leaves only when the engine has answered. Rooms with limits take a way of their own
// at home: what the engine has refused is refused there until it would pass (RateMemory).

import Bytes
import Wire

extension LoopRooms {
    /// Bytes of a user's id that its limit looks at; users whose ids agree so far count as one.
    private static let talkerBytes = 255

    /// Sends a publication, made of `scratch`'s bytes, on its way to the room's home.
    func publish(
        _ session: UnsafeMutablePointer<Session>, room name: UnsafeRawBufferPointer, command: UInt32,
        key: UnsafeRawBufferPointer, _ options: RoomOptions
    ) {
        let ticket = Ticket(connection: session.pointee.connection, command: command, loop: UInt16(loop))
        let target = LoopRooms.home(of: NameTable.hash(name), loopCount: loopCount)
        let sender = key.isEmpty ? WireBytes.empty : session.pointee.identity?.user.bytes ?? .empty
        session.pointee.pendingCommands += 1
        if !options.isLimited { outlet.record(.publication) }
        let talker = options.isLimited ? talker(session) : WireBytes.empty
        if target == loop {
            let publishing = PublishOptions(
                history: options.history, sender: sender, key: key, limits: limits(of: name, options), talker: talker)
            return homePublish(name, scratch.bytes, publishing, ticket)
        }
        frame.removeAll(keepingAtMost: 64 * 1024)
        for part in [name, sender, key, talker, scratch.bytes] { frame.append(part) }
        let lengths =
            UInt64(name.count) | UInt64(sender.count) << 16 | UInt64(key.count) << 32 | UInt64(talker.count) << 48
        let words = (lengths, ticket.connection, UInt64(ticket.command), UInt64(ticket.loop))
        let message = LoopMessage(.publish, words, object: Payload(copying: frame.bytes))
        if !outlet.post(message, to: target, urgent: false) { published(ticket, .failed(.unavailable)) }
    }

    private func limits(of name: UnsafeRawBufferPointer, _ options: RoomOptions) -> RateLimits? {
        options.isLimited ? rules.limits(namespace: RoomName.namespace(of: name)) : nil
    }

    /// Whom a user's limit counts: the user, or an anonymous client by itself. The letter in front keeps them apart.
    private func talker(_ session: UnsafeMutablePointer<Session>) -> WireBytes {
        talker.removeAll(keepingAtMost: 1024)
        if let user = session.pointee.identity?.user.bytes {
            talker.append("u")
            talker.append(WireBytes(rebasing: user.prefix(LoopRooms.talkerBytes)))
        } else {
            talker.append("c")
            session.pointee.client.append(to: &talker)
        }
        return talker.bytes
    }

    /// On the home loop: a publication of another loop's client.
    func homePublish(_ message: LoopMessage) {
        guard let bytes = (message.object as? Payload)?.bytes else { return }
        let ticket = Ticket(
            connection: message.words.1, command: message.words.2.lowHalf,
            loop: UInt16(clamping: message.words.3))
        var rest = bytes
        func take(_ count: UInt64) -> UnsafeRawBufferPointer {
            let part = UnsafeRawBufferPointer(rebasing: rest.prefix(Int(clamping: count)))
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(part.count))
            return part
        }
        let name = take(message.words.0 & 0xFFFF)
        let sender = take(message.words.0 >> 16 & 0xFFFF)
        let key = take(message.words.0 >> 32 & 0xFFFF)
        let talker = take(message.words.0 >> 48)
        let options = rules.options(namespace: RoomName.namespace(of: name))
        let publishing = PublishOptions(
            history: options?.history, sender: sender, key: key, limits: options.flatMap { limits(of: name, $0) },
            talker: talker)
        homePublish(name, rest, publishing, ticket)
    }

    private func homePublish(
        _ name: UnsafeRawBufferPointer, _ fields: UnsafeRawBufferPointer, _ options: PublishOptions, _ ticket: Ticket
    ) {
        guard options.limits != nil else {
            return engine.publish(room: name, fields: fields, options: options, ticket: ticket)
        }
        if let waits = rates.refusal(room: name, options, now: outlet.now) {
            return published(ticket, .limited(waits))
        }
        let asked = rates.ask(ticket, room: name, options, now: outlet.now)
        engine.publish(room: name, fields: fields, options: options, ticket: asked)
    }

    package func published(_ ticket: Ticket, _ outcome: PublishOutcome) {
        guard ticket.loop == loop else { return publishedElsewhere(ticket, outcome) }
        acknowledge(ticket.connection, ticket.command, outcome)
    }

    /// The answer to a publish into a room with limits, or to one of another loop.
    private func publishedElsewhere(_ ticket: Ticket, _ outcome: PublishOutcome) {
        if ticket.loop == RateMemory.ticketLoop {
            guard let asker = rates.answered(ticket, outcome) else { return }
            if case .taken = outcome { outlet.record(.publication) }
            return published(asker, outcome)
        }
        var words = (ticket.connection, UInt64(ticket.command), UInt64(0), UInt64(0))
        switch outcome {
        case .taken(let position, next: _): (words.2, words.3) = (position.offset, position.epoch)
        case .limited(let waits):
            words.1 = UInt64(high: LoopRooms.limitedMark, low: ticket.command)
            (words.2, words.3) = (waits.room, waits.user)
        case .failed(let failure): words.1 = UInt64(high: UInt32(failure.rawValue) + 1, low: ticket.command)
        }
        // Urgent: an acknowledgement that is due must not be lost; bounded by the commands in flight.
        _ = outlet.post(LoopMessage(.published, words), to: Int(ticket.loop), urgent: true)
    }

    /// Stands for `limited` where 0 is `taken` and the others are failures.
    private static let limitedMark: UInt32 = 256

    /// On the sender's loop: the home's answer.
    func finishPublish(_ message: LoopMessage) {
        let words = message.words
        let outcome: PublishOutcome =
            switch words.1.highHalf {
            case 0: .taken(StreamPosition(offset: words.2, epoch: words.3))
            case LoopRooms.limitedMark: .limited(RateWaits(room: words.2, user: words.3))
            default: .failed(EngineFailure(rawValue: UInt8(clamping: words.1.highHalf - 1)) ?? .outcomeUnknown)
            }
        acknowledge(words.0, words.1.lowHalf, outcome)
    }

    private func acknowledge(_ connection: ConnectionWord, _ command: UInt32, _ outcome: PublishOutcome) {
        if case .limited(let waits) = outcome { outlet.record(.limited(waits.scope)) }
        guard let session = session(connection) else { return }
        session.pointee.pendingCommands -= 1
        switch outcome {
        case .taken(let position, next: _): replyPublished(session, command, position)
        case .limited(let waits):
            reply(session, command, .publish, error: .tooManyRequests, retryAfter: max(1, waits.milliseconds))
        case .failed(let failure): reply(session, command, .publish, error: ErrorCode(failure))
        }
    }
}
