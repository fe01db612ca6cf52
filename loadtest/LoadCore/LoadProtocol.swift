// What the tool says to a server and how it understands the answers: Martlet's client protocol in JSON, and the bare
// text protocol of loadtest/floor. Answers are recognised by a few bytes instead of being parsed: the tool must cost
// less than what it measures. Called on the worker's loop with whole messages; holds no state.

package import Bytes

/// What one line of a server's message is, as far as the tool cares.
package enum ServerLine: Equatable, Sendable {
    /// A ping of the application protocol; it wants `pong`.
    case ping
    /// The connection is in its room (or connected, when no room was asked for).
    case joined
    /// The command with this number was refused with this code.
    case refused(id: UInt64, code: UInt64)
    /// Messages of rooms, acknowledgements and the rest: marks may lie in it.
    case other
}

/// The language that is spoken over the WebSocket.
package enum LoadProtocol: String, Sendable, CaseIterable {
    /// Martlet's: connect, subscribe, publish.
    case martlet
    /// The C floor's: `J<room>`, `P<room>|<data>`, echo.
    case floor

    /// Ids of the two commands that a connection begins with; publications are numbered above.
    package static let connectID: UInt64 = 1
    package static let subscribeID: UInt64 = 2
    package static let firstPublishID: UInt64 = 3

    /// The endpoint for rooms.
    package var roomPath: String { self == .martlet ? "/connection/websocket" : "/" }
    /// The endpoint that echoes.
    package var echoPath: String { self == .martlet ? "/echo" : "/" }

    /// The first message of a connection; nil when none is needed. With a nil room it only connects.
    package func greeting(room: String?) -> String? {
        switch self {
        case .martlet:
            let connect = #"{"id":\#(Self.connectID),"connect":{}}"#
            guard let room else { return connect }
            return connect + "\n" + #"{"id":\#(Self.subscribeID),"subscribe":{"channel":"\#(room)"}}"#
        case .floor:
            return room.map { "J" + $0 }
        }
    }

    /// The answer to `ServerLine.ping`.
    package var pong: StaticString { "{}" }

    /// Appends the message that publishes `data` (which needs no escaping) to `room` as command `id`.
    package func appendPublish(
        _ data: UnsafeRawBufferPointer, room: UnsafeRawBufferPointer, id: UInt64, to buffer: inout ByteBuffer
    ) {
        switch self {
        case .martlet:
            buffer.append("{\"id\":")
            buffer.append(decimal: id)
            buffer.append(",\"publish\":{\"channel\":\"")
            buffer.append(room)
            buffer.append("\",\"data\":\"")
            buffer.append(data)
            buffer.append("\"}}")
        case .floor:
            buffer.append("P")
            buffer.append(room)
            buffer.append("|")
            buffer.append(data)
        }
    }

    /// Says what `line`, one line of a text message without its newline, is.
    package func classify(_ line: UnsafeRawBufferPointer, joining: Bool, room: Bool) -> ServerLine {
        switch self {
        case .floor:
            return joining && line.first == UInt8(ascii: "J") ? .joined : .other
        case .martlet:
            if line.count == 2, line[0] == UInt8(ascii: "{"), line[1] == UInt8(ascii: "}") { return .ping }
            guard let id = Self.number(after: "{\"id\":", at: 0, in: line) else { return .other }
            if let code = Self.errorCode(in: line) { return .refused(id: id, code: code) }
            let last = room ? Self.subscribeID : Self.connectID
            return joining && id == last ? .joined : .other
        }
    }

    /// The code of an error reply: `{"id":7,"error":{"code":111,…`. Only the reply's own field counts, not data in it.
    private static func errorCode(in line: UnsafeRawBufferPointer) -> UInt64? {
        guard let comma = line.prefix(32).firstIndex(of: UInt8(ascii: ",")) else { return nil }
        return number(after: ",\"error\":{\"code\":", at: comma, in: line)
    }

    private static func number(after literal: StaticString, at start: Int, in line: UnsafeRawBufferPointer) -> UInt64? {
        let length = literal.utf8CodeUnitCount
        guard start <= line.count - length else { return nil }
        for index in 0..<length where line[start + index] != literal.utf8Start[index] { return nil }
        var value: UInt64?
        for byte in line[(start + length)...].prefix(18) {
            guard byte >= 48, byte <= 57 else { break }
            value = (value ?? 0) * 10 + UInt64(byte - 48)
        }
        return value
    }

    /// Puts the room's and the connection's number into a template: `%r` and `%i`; `%%` is a percent sign.
    package static func expand(_ template: String, room: Int, connection: Int) -> String {
        var out = ""
        var rest = template[...]
        while let percent = rest.firstIndex(of: "%") {
            out += rest[..<percent]
            let next = rest.index(after: percent)
            let letter = next < rest.endIndex ? rest[next] : nil
            switch letter {
            case "r": out += String(room)
            case "i": out += String(connection)
            case "%": out += "%"
            default: out += "%"
            }
            let skips = letter == "r" || letter == "i" || letter == "%"
            rest = rest[(skips ? rest.index(after: next) : next)...]
        }
        return out + rest
    }
}
