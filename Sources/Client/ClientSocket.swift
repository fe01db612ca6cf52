// The client's end of one WebSocket, without I/O: opening handshake, messages, pings, close handshake. Bytes from the
// connection in, events out; what is to be sent is appended to the session's buffer. One life is one connection.
//
// RFC 6455 sections 4.1, 5 and 7. Bounded by HTTP's head limits and by the frame limits.

import Bytes
import HTTP
import WebSocket

/// What happened on the WebSocket.
enum ClientSocketEvent {
    /// The input is used up.
    case needMore
    /// The opening handshake succeeded.
    case opened
    /// A text message; valid until the next call.
    case text(UnsafeRawBufferPointer)
    /// The server said goodbye; its Close was answered.
    case closed(UInt16?, reason: String)
    /// The server does not speak WebSocket here: its status, or 0 where the answer was malformed.
    case refused(status: Int, reason: String)
    /// The server broke the framing; our Close was written.
    case violation(CloseCode, reason: String)
}

/// One WebSocket.
struct ClientSocket: ~Copyable {
    private enum Phase { case idle, head, frames, ended }

    private var phase = Phase.idle
    private var handshake: ClientHandshake
    private var parser = ResponseHeadParser()
    private var head = ByteBuffer()
    private var reader = FrameReader(role: .client)
    private var goodbye = CloseHandshake()
    private let sha1: SHA1Function
    private let limits: FrameLimits

    /// A socket that has not sent anything; `nonce` are 16 random bytes.
    init(nonce: [UInt8], sha1: @escaping SHA1Function, messageBytes: Int) {
        handshake = nonce.withUnsafeBytes { ClientHandshake(nonce: $0, subprotocols: ["centrifuge-json"]) }
        self.sha1 = sha1
        limits = FrameLimits(frameBytes: messageBytes, messageBytes: messageBytes)
    }

    /// Appends the request of the opening handshake.
    mutating func start(_ url: ClientURL, to out: inout ByteBuffer) {
        precondition(phase == .idle)
        phase = .head
        do {
            try handshake.appendRequest(target: url.target, host: url.hostField, to: &out)
        } catch {
            preconditionFailure("ClientURL lets no such target or host through")
        }
    }

    /// The next event in `input`; `mask` gives masking keys.
    mutating func next(
        _ input: inout FrameInput, to out: inout ByteBuffer, mask: () -> UInt32
    ) -> ClientSocketEvent {
        switch phase {
        case .idle, .ended: return .needMore
        case .head: return readHead(&input)
        case .frames: return readFrame(&input, &out, mask)
        }
    }

    /// Appends a text message.
    mutating func send(_ text: UnsafeRawBufferPointer, to out: inout ByteBuffer, mask: UInt32) {
        guard phase == .frames, !goodbye.hasSent else { return }
        out.appendFrame(.text, text, key: mask)
    }

    /// Appends a Close frame, unless one was sent already or there is no WebSocket yet.
    mutating func close(_ code: CloseCode, to out: inout ByteBuffer, mask: UInt32) {
        guard phase == .frames, goodbye.send() else { return }
        ClosePayload.appendFrame(code, reason: UnsafeRawBufferPointer(start: nil, count: 0), key: mask, to: &out)
    }

    private mutating func readHead(_ input: inout FrameInput) -> ClientSocketEvent {
        let before = head.count
        head.append(UnsafeRawBufferPointer(start: input.position, count: input.count))
        switch parser.parse(head.bytes) {
        case .needMore:
            input = FrameInput(UnsafeMutableRawBufferPointer(start: nil, count: 0))
            return .needMore
        case .failed(let failure):
            phase = .ended
            return .refused(status: 0, reason: "not an HTTP response: \(failure.reason)")
        case .complete(let response, let consumed):
            // What follows the head in this input belongs to the first frames.
            let taken = consumed - before
            let rest = UnsafeMutableRawBufferPointer(
                start: input.position.map { $0 + taken }, count: input.count - taken)
            let event = judge(response)
            head.removeAll(keepingAtMost: 0)
            input = FrameInput(rest)
            return event
        }
    }

    private mutating func judge(_ response: ResponseHead) -> ClientSocketEvent {
        do {
            _ = try handshake.validate(response, sha1: sha1)
            phase = .frames
            return .opened
        } catch {
            phase = .ended
            switch error {
            case .status(let status):
                return .refused(status: status, reason: "the server answered with status \(status)")
            default: return .refused(status: 0, reason: "the server's answer is not a WebSocket's (\(error))")
            }
        }
    }

    private mutating func readFrame(
        _ input: inout FrameInput, _ out: inout ByteBuffer, _ mask: () -> UInt32
    ) -> ClientSocketEvent {
        while true {
            switch reader.next(&input, limits) {
            case .needMore: return .needMore
            case .message(.text, _, let bytes): return .text(UnsafeRawBufferPointer(bytes))
            case .message(.binary, _, _):
                return fail(.unsupportedData, "a binary message in the JSON protocol", &out, mask)
            case .ping(let payload):
                if !goodbye.hasSent { out.appendFrame(.pong, UnsafeRawBufferPointer(payload), key: mask()) }
            case .pong: break
            case .close(let code, let reason):
                if goodbye.receive() {
                    if let code {
                        ClosePayload.appendFrame(
                            code, reason: UnsafeRawBufferPointer(start: nil, count: 0), key: mask(), to: &out)
                    } else {
                        out.appendFrame(.close, UnsafeRawBufferPointer(start: nil, count: 0), key: mask())
                    }
                }
                phase = .ended
                return .closed(code?.rawValue, reason: String(decoding: reason, as: UTF8.self))
            case .violation(let violation): return fail(violation.code, "\(violation.reason)", &out, mask)
            }
        }
    }

    private mutating func fail(
        _ code: CloseCode, _ reason: String, _ out: inout ByteBuffer, _ mask: () -> UInt32
    ) -> ClientSocketEvent {
        close(code, to: &out, mask: mask())
        phase = .ended
        return .violation(code, reason: reason)
    }
}
