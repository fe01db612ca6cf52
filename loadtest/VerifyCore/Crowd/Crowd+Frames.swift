// Bytes of a crowd's connections: the answer to the upgrade, frames in and out, joining rooms. Part of Crowd; on its
// loop.

import Bytes
import HTTP
import Reactor
import WebSocket
import Wire

extension Crowd {
    private static let connectCommand: UInt32 = 1
    /// The command that joins the first room; the next room's is one more.
    private static let firstRoomCommand: UInt32 = 2
    private static let lastRoomCommand: UInt32 = 999
    /// How long a client waits before it asks again for a room that was refused for the moment.
    private static let retryDelay = Duration.milliseconds(200)

    /// Bytes of the response in this piece; nil while it is incomplete or wrong.
    private func finishUpgrade(_ seat: Int, _ bytes: UnsafeMutableRawBufferPointer) -> Int? {
        guard let opening = seats[seat].opening else { return nil }
        let before = opening.head.count
        opening.head.append(UnsafeRawBufferPointer(bytes))
        switch opening.parser.parse(opening.head.bytes) {
        case .needMore: return nil
        case .failed:
            refuse(seat, "not an HTTP response")
            return nil
        case .complete(let head, let consumed):
            do throws(HandshakeFailure) {
                _ = try opening.handshake.validate(head, sha1: Digest.sha1)
            } catch {
                if case .status(let status) = error {
                    refuse(seat, "upgrade answered with \(status)")
                } else {
                    refuse(seat, "upgrade refused")
                }
                return nil
            }
            seats[seat].opening = nil
            enter(seat, .joining)
            send(seat, Command(id: Crowd.connectCommand, request: .connect(ConnectRequest())))
            return consumed - before
        }
    }

    private func refuse(_ seat: Int, _ reason: String) {
        note(reason)
        seats[seat].isOwnEnd = true
        loop.close(seats[seat].id)
    }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let seat = find(id) else { return }
        var rest = bytes
        if seats[seat].stage == .upgrading {
            guard let used = finishUpgrade(seat, bytes), used >= 0, used <= bytes.count else { return }
            rest = UnsafeMutableRawBufferPointer(rebasing: bytes[used...])
        }
        var input = FrameInput(rest)
        while find(id) == seat, loop.isOpen(id) {
            switch seats[seat].reader.next(&input, limits) {
            case .needMore: return
            case .message(_, _, let message):
                var lines = LineSplitter(UnsafeRawBufferPointer(message))
                while let line = lines.next() { take(seat, line) }
            case .ping(let payload): sendFrame(seat, UnsafeRawBufferPointer(payload), .pong)
            case .pong: break
            case .close(let code, _):
                seats[seat].closeCode = code?.rawValue ?? 1005
                loop.close(id)
            case .violation(let violation): refuse(seat, "frame violation: \(violation.reason)")
            }
        }
    }

    private func take(_ seat: Int, _ line: UnsafeRawBufferPointer) {
        let message: ServerMessage
        do throws(WireError) {
            message = try JSONCodec.message(line, scratch: &scratch)
        } catch {
            return refuse(seat, "what came is no message: \(error)")
        }
        switch message {
        case .ping:
            pings += 1
            send(seat, Command(id: 0, request: .pong))
        case .push(let room, let push): delegate?.pushed(seat, room, push)
        case .unknownPush: break
        case .reply(let command, let reply): answer(seat, command, reply)
        }
    }

    private func answer(_ seat: Int, _ command: UInt32, _ reply: Reply) {
        switch reply {
        case .connect: subscribe(seat)
        case .subscribe where command < Crowd.lastRoomCommand: entered(seat)
        case .unsubscribe:
            guard seats[seat].stage == .joined else { return }
            seats[seat].rooms += 1
            guard Int(seats[seat].rooms) == identity(seat).rooms.count else { return }
            enter(seat, .out)
            delegate?.changed(seat, isOut: true)
        case .error(let error) where command <= Crowd.lastRoomCommand:
            guard error.isTemporary, command >= Crowd.firstRoomCommand else {
                return refuse(seat, "\(command == 1 ? "connect" : "subscribe") answered with error \(error.code)")
            }
            retries += 1
            let wait =
                error.retryAfter > 0 ? Duration.milliseconds(Int64(clamping: error.retryAfter)) : Crowd.retryDelay
            let id = seats[seat].id
            loop.schedule(after: wait) { [weak self] in
                guard let self, find(id) == seat, seats[seat].stage == .joining else { return }
                ask(seat, room: Int(command - Crowd.firstRoomCommand))
            }
        default: delegate?.replied(seat, command, reply)
        }
    }

    private func entered(_ seat: Int) {
        guard seats[seat].stage == .joining else { return }
        seats[seat].rooms += 1
        guard Int(seats[seat].rooms) == identity(seat).rooms.count else { return }
        enter(seat, .joined)
        delegate?.changed(seat, isOut: false)
    }

    /// Asks for all rooms.
    func subscribe(_ seat: Int) {
        seats[seat].rooms = 0
        let rooms = identity(seat).rooms.count
        for room in 0..<rooms { ask(seat, room: room) }
        guard rooms == 0 else { return }
        enter(seat, .joined)
        delegate?.changed(seat, isOut: false)
    }

    private func ask(_ seat: Int, room: Int) {
        let rooms = identity(seat).rooms
        guard room < rooms.count else { return }
        var request = SubscribeRequest()
        request.joinLeave = wantsJoinLeave
        var name = rooms[room]
        name.withUTF8 { name in
            request.room = UnsafeRawBufferPointer(name)
            send(seat, Command(id: Crowd.firstRoomCommand + UInt32(room), request: .subscribe(request)))
        }
    }

    // MARK: Sending

    /// Sends a command that names `room`, and returns its number; the answer goes to the delegate.
    @discardableResult
    func send(_ seat: Int, _ room: String, _ make: (WireBytes) -> Request) -> UInt32 {
        seats[seat].command = seats[seat].command &+ 1 > 1000 ? seats[seat].command &+ 1 : 1001
        let number = seats[seat].command
        var room = room
        room.withUTF8 { send(seat, Command(id: number, request: make(UnsafeRawBufferPointer($0)))) }
        return number
    }

    func send(_ seat: Int, _ command: Command) {
        out.removeAll()
        JSONCodec.append(command, to: &out)
        sendFrame(seat, out.bytes, .text)
    }

    /// Close 1000.
    func sayGoodbye(_ seat: Int) {
        var code: (UInt8, UInt8) = (0x03, 0xE8)
        withUnsafeBytes(of: &code) { sendFrame(seat, $0, .close) }
    }

    private func sendFrame(_ seat: Int, _ payload: UnsafeRawBufferPointer, _ opcode: Opcode) {
        let key = UInt32(random.next() >> 32)
        let header = FrameHeader.size(forPayload: payload.count, masked: true)
        loop.write(seats[seat].id, atMost: header + payload.count) { target in
            _ = FrameHeader.write(into: target, opcode, length: payload.count, key: key)
            if let source = payload.baseAddress {
                Masking.copy(key, from: source, to: target + header, count: payload.count)
            }
            return header + payload.count
        }
    }
}
