// Bytes of the clients' connections: the answer to the upgrade, frames in and out, and which message goes where. Part
// of ClientPool; on its loop. A message may be 1 MiB, a response head 16 KiB.

import Bytes
import HTTP
package import Reactor
import WebSocket
import Wire

extension ClientPool {
    /// Bytes of the response in this piece; nil while it is incomplete or wrong.
    private func finishUpgrade(_ client: VerifyClient, _ bytes: UnsafeMutableRawBufferPointer) -> Int? {
        guard let opening = client.opening, let id = client.id else { return nil }
        let before = opening.head.count
        opening.head.append(UnsafeRawBufferPointer(bytes))
        switch opening.parser.parse(opening.head.bytes) {
        case .needMore: return nil
        case .failed:
            loop.close(id)
            return nil
        case .complete(let head, let consumed):
            do throws(HandshakeFailure) {
                _ = try opening.handshake.validate(head, sha1: Digest.sha1)
            } catch {
                loop.close(id)
                return nil
            }
            client.opening = nil
            enter(client, .greeting)
            figures.connects += 1
            send(client, Command(id: client.makeCommand(), request: .connect(ConnectRequest())))
            return consumed - before
        }
    }

    package func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let client = find(id) else { return }
        client.lastHeard = loop.now
        var rest = bytes
        if client.stage == .upgrading {
            guard let used = finishUpgrade(client, bytes), used >= 0, used <= bytes.count else { return }
            rest = UnsafeMutableRawBufferPointer(rebasing: bytes[used...])
        }
        if case .slow(_, let rate) = client.life { throttle(client, id, bytes.count, rate) }
        var input = FrameInput(rest)
        while client.id == id, client.stage == .greeting || client.stage == .joined {
            switch client.reader.next(&input, limits) {
            case .needMore: return
            case .message(_, _, let message):
                var lines = LineSplitter(UnsafeRawBufferPointer(message))
                while let line = lines.next(), client.id == id { take(client, line) }
            case .ping(let payload): sendFrame(client, UnsafeRawBufferPointer(payload), .pong)
            case .pong: break
            case .close(let code, _):
                client.closeCode = code?.rawValue ?? 1005
                loop.close(id)
                return
            case .violation(let violation):
                checker.report(.crash, now: loop.now, "client \(client.number) got a broken frame: \(violation.reason)")
                loop.close(id)
                return
            }
        }
    }

    private func take(_ client: VerifyClient, _ line: UnsafeRawBufferPointer) {
        let message: ServerMessage
        do throws(WireError) {
            message = try JSONCodec.message(line, scratch: &scratch)
        } catch {
            let text = String(decoding: line.prefix(120), as: UTF8.self)
            checker.report(.crash, now: loop.now, "client \(client.number) got what is no message (\(error)): \(text)")
            if let id = client.id { loop.close(id) }
            return
        }
        switch message {
        case .ping:
            if case .frozen = client.life { return }
            send(client, Command(id: 0, request: .pong))
        case .push(let room, .publication(let publication)): deliver(client, room, publication)
        case .push(let room, .unsubscribe(let code, _)): ended(client, room, code)
        case .push(let room, .join(let info)): memberChanged(client, room, info, isJoin: true)
        case .push(let room, .leave(let info)): memberChanged(client, room, info, isJoin: false)
        case .push, .unknownPush: break
        case .reply(let id, let reply): answer(client, id, reply)
        }
    }

    private func answer(_ client: VerifyClient, _ command: UInt32, _ reply: Reply) {
        if case .error(let error) = reply {
            figures.errors[error.code, default: 0] += 1
            if isSteady(client), error.code != ErrorCode.tooManyRequests.rawValue { onTrouble?() }
        }
        if let room = client.subscribing.removeValue(forKey: command) {
            joined(client, room, reply)
        } else if let room = client.histories.removeValue(forKey: command) {
            historyCame(client, room, reply)
        } else if let listing = client.listings.removeValue(forKey: command) {
            listCame(client, listing.room, listing.asked, reply)
        } else if let room = client.operations.first(where: { $0.value.command == command })?.key {
            published(client, room, reply)
        } else if case .connect(let result) = reply {
            client.patience = result.ping > 0 ? .seconds(Int64(result.ping) + 4) : .seconds(60)
            enter(client, .joined)
            if let subscriber = client.subscriber {
                let name = String(decoding: result.client, as: UTF8.self)
                checker.identified(subscriber, client: name, gateway: client.connectedGateway)
            }
            if client.subscriber == nil { client.backoff.reset() }
            greeted(client)
        } else if case .error(let error) = reply, client.stage == .greeting {
            _ = error
            if let id = client.id { loop.close(id) }
        }
    }

    /// Sends one command in a frame.
    func send(_ client: VerifyClient, _ command: Command) {
        out.removeAll()
        JSONCodec.append(command, to: &out)
        sendFrame(client, out.bytes, .text)
    }

    private func sendFrame(_ client: VerifyClient, _ payload: UnsafeRawBufferPointer, _ opcode: Opcode) {
        guard let id = client.id else { return }
        let key = UInt32(client.random.next() >> 32)
        let header = FrameHeader.size(forPayload: payload.count, masked: true)
        loop.write(id, atMost: header + payload.count) { target in
            _ = FrameHeader.write(into: target, opcode, length: payload.count, key: key)
            if let source = payload.baseAddress {
                Masking.copy(key, from: source, to: target + header, count: payload.count)
            }
            return header + payload.count
        }
    }
}
