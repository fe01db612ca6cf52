// Publishing: from the command to the room's home, its engine, and the acknowledgement.
//
// The sender's loop makes the publication's fields once; they travel unchanged through the engine to every home loop of
// the cluster. The acknowledgement leaves only when the engine has answered.

import Bytes
import Wire

extension LoopRooms {
    /// Sends a publication, made of `scratch`'s bytes, on its way to the room's home.
    func publish(
        _ session: UnsafeMutablePointer<Session>, room name: UnsafeRawBufferPointer, command: UInt32,
        key: UnsafeRawBufferPointer, history: HistoryOptions?
    ) {
        let ticket = Ticket(connection: session.pointee.connection, command: command, loop: UInt16(loop))
        let target = LoopRooms.home(of: NameTable.hash(name), loopCount: loopCount)
        let sender = key.isEmpty ? WireBytes.empty : session.pointee.identity?.user.bytes ?? .empty
        session.pointee.pendingCommands += 1
        outlet.record(.publication)
        if target == loop {
            let options = PublishOptions(history: history, sender: sender, key: key)
            engine.publish(room: name, fields: scratch.bytes, options: options, ticket: ticket)
            return
        }
        frame.removeAll(keepingAtMost: 64 * 1024)
        for part in [name, sender, key, scratch.bytes] { frame.append(part) }
        let lengths = UInt64(name.count) | UInt64(sender.count) << 16 | UInt64(key.count) << 32
        let words = (lengths, ticket.connection, UInt64(ticket.command), UInt64(ticket.loop))
        let message = LoopMessage(.publish, words, object: Payload(copying: frame.bytes))
        if !outlet.post(message, to: target, urgent: false) { published(ticket, .failure(.unavailable)) }
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
        let history = rules.options(namespace: RoomName.namespace(of: name))?.history
        engine.publish(
            room: name, fields: rest, options: PublishOptions(history: history, sender: sender, key: key),
            ticket: ticket)
    }

    package func published(_ ticket: Ticket, _ result: Result<StreamPosition, EngineFailure>) {
        guard ticket.loop == loop else {
            var words = (ticket.connection, UInt64(ticket.command), UInt64(0), UInt64(0))
            switch result {
            case .success(let position): (words.2, words.3) = (position.offset, position.epoch)
            case .failure(let failure): words.1 = UInt64(high: UInt32(failure.rawValue) + 1, low: ticket.command)
            }
            // Urgent: an acknowledgement that is due must not be lost; bounded by the commands in flight.
            _ = outlet.post(LoopMessage(.published, words), to: Int(ticket.loop), urgent: true)
            return
        }
        acknowledge(ticket.connection, ticket.command, result)
    }

    /// On the sender's loop: the home's answer.
    func finishPublish(_ message: LoopMessage) {
        let words = message.words
        let result: Result<StreamPosition, EngineFailure> =
            words.1.highHalf == 0
            ? .success(StreamPosition(offset: words.2, epoch: words.3))
            : .failure(EngineFailure(rawValue: UInt8(clamping: words.1.highHalf - 1)) ?? .outcomeUnknown)
        acknowledge(words.0, words.1.lowHalf, result)
    }

    private func acknowledge(
        _ connection: ConnectionWord, _ command: UInt32, _ result: Result<StreamPosition, EngineFailure>
    ) {
        guard let session = session(connection) else { return }
        session.pointee.pendingCommands -= 1
        switch result {
        case .success(let position): replyPublished(session, command, position)
        case .failure(let failure): reply(session, command, .publish, error: ErrorCode(failure))
        }
    }
}
