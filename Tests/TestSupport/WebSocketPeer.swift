// A WebSocket client for tests that shares no code with ours: it makes frames, whole or broken, and takes the server's
// apart strictly. RFC 6455.

/// A frame of the server.
package struct ServerFrame: Equatable, Sendable, CustomStringConvertible {
    /// The opcode: 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    package let opcode: UInt8
    /// The payload.
    package let payload: [UInt8]

    package init(opcode: UInt8, payload: [UInt8]) {
        self.opcode = opcode
        self.payload = payload
    }

    /// The payload as text.
    package var text: String { String(decoding: payload, as: UTF8.self) }

    /// The code of a close frame.
    package var closeCode: UInt16? {
        opcode == 8 && payload.count >= 2 ? UInt16(payload[0]) << 8 | UInt16(payload[1]) : nil
    }

    /// The reason of a close frame.
    package var closeReason: String? {
        opcode == 8 && payload.count >= 2 ? String(decoding: payload[2...], as: UTF8.self) : nil
    }

    package var description: String {
        switch opcode {
        case 1: text
        case 8: "close \(closeCode.map(String.init) ?? "without code") \(closeReason ?? "")"
        default: "opcode \(opcode), \(payload.count) bytes"
        }
    }
}

/// One WebSocket connection.
package final class WebSocketPeer {
    /// The connection underneath.
    package let socket: RawSocket

    /// The lines of a valid opening handshake; `extra` fields are put at its end.
    package static func handshake(_ path: String = "/connection/websocket", extra: [String] = []) -> String {
        ([
            "GET \(path) HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
        ] + extra).joined(separator: "\r\n") + "\r\n\r\n"
    }

    /// Connects and upgrades.
    package init(
        port: UInt16, _ path: String = "/connection/websocket", extra: [String] = [], receiveBuffer: Int32? = nil
    ) throws {
        socket = try RawSocket(port: port, receiveBuffer: receiveBuffer)
        try socket.send(WebSocketPeer.handshake(path, extra: extra))
        let answer = try socket.response()
        guard answer.status == 101, answer.field("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" else {
            throw TestFailure("not upgraded: \(answer.status) \(answer.body)")
        }
    }

    /// Takes over a connection that is upgraded already.
    package init(upgraded socket: RawSocket) { self.socket = socket }

    // MARK: Sending

    /// A masked frame. `length` overrides the announced length, `form` its size (7, 16 or 64 bits).
    package static func frame(
        _ opcode: UInt8, _ payload: [UInt8], final: Bool = true, reserved: UInt8 = 0, masked: Bool = true,
        key: [UInt8] = [0x11, 0xA2, 0x33, 0x44]
    ) -> [UInt8] {
        var bytes: [UInt8] = [(final ? 0x80 : 0) | reserved << 4 | opcode]
        let mask: UInt8 = masked ? 0x80 : 0
        switch payload.count {
        case ..<126: bytes.append(mask | UInt8(payload.count))
        case ..<65_536: bytes += [mask | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default: bytes += [mask | 127] + (0..<8).reversed().map { UInt8(payload.count >> ($0 * 8) & 255) }
        }
        guard masked else { return bytes + payload }
        bytes += key
        bytes.reserveCapacity(bytes.count + payload.count)
        for (index, byte) in payload.enumerated() { bytes.append(byte ^ key[index & 3]) }
        return bytes
    }

    /// Sends a text frame.
    @discardableResult
    package func send(_ text: String) throws -> Bool { try socket.send(WebSocketPeer.frame(1, Array(text.utf8))) }

    /// Sends a frame of any kind.
    @discardableResult
    package func send(_ opcode: UInt8, _ payload: [UInt8] = []) throws -> Bool {
        try socket.send(WebSocketPeer.frame(opcode, payload))
    }

    /// Sends a close frame.
    @discardableResult
    package func sendClose(_ code: UInt16, _ reason: String = "") throws -> Bool {
        try send(8, [UInt8(code >> 8), UInt8(code & 255)] + Array(reason.utf8))
    }

    // MARK: Receiving

    /// The next frame; throws when none comes.
    package func next(_ deadline: Deadline = Deadline()) throws -> ServerFrame {
        while true {
            if let frame = try taken() { return frame }
            guard socket.receive(deadline) else {
                throw TestFailure(
                    socket.end.map { "the connection ended (\($0)) before a frame" } ?? "no frame came in time")
            }
        }
    }

    /// The text of the next frame, which must be one; pings are not passed over.
    package func text(_ deadline: Deadline = Deadline()) throws -> String {
        let frame = try next(deadline)
        guard frame.opcode == 1 else { throw TestFailure("expected text, got \(frame)") }
        return frame.text
    }

    /// A frame that has come already, or nil.
    package func taken() throws -> ServerFrame? {
        let bytes = socket.buffer
        guard bytes.count >= 2 else { return nil }
        let start = bytes.startIndex
        let opcode = bytes[start] & 15
        guard bytes[start] & 0xF0 == 0x80, bytes[start + 1] & 0x80 == 0 else {
            throw TestFailure("a server's frame is whole, plain and not masked: \(bytes.prefix(16))")
        }
        var length = Int(bytes[start + 1])
        var header = 2
        if length >= 126 {
            header = length == 126 ? 4 : 10
            guard bytes.count >= header else { return nil }
            length = bytes[(start + 2)..<(start + header)].reduce(0) { $0 << 8 | Int($1) }
        }
        guard bytes.count >= header + length else { return nil }
        return ServerFrame(opcode: opcode, payload: Array(socket.take(header + length)[header...]))
    }

    /// Passes over everything until the close frame, and returns it; then waits for the end of the connection, after
    /// having answered the close if `answers`. Throws when something comes behind the close frame.
    package func awaitClose(answers: Bool = true, _ deadline: Deadline = Deadline()) throws -> ServerFrame {
        while true {
            let frame = try next(deadline)
            guard frame.opcode == 8 else { continue }
            if answers { try socket.send(WebSocketPeer.frame(8, Array(frame.payload.prefix(2)))) }
            guard socket.awaitEnd(deadline) else { throw TestFailure("closed by a frame, but the connection stays") }
            guard socket.buffer.isEmpty else {
                throw TestFailure("something came behind the close frame: \(socket.buffer.prefix(64))")
            }
            return frame
        }
    }

    /// Sends text and returns the text that comes back.
    package func ask(_ text: String) throws -> String {
        try send(text)
        return try self.text()
    }
}
