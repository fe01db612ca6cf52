// The JSON form of the client protocol: commands are parsed here, see the other JSONCodec files for replies, pushes and
// the client's side. Static functions on slices, so that a second codec can stand beside it and a connection picks one
// by an enum, without an existential. Runs on the connection's loop; bounded by the frame that is handed in.

package import Bytes

/// The JSON codec. It has no state.
package enum JSONCodec {
    /// Nested arrays and objects that a value may have.
    package static let depthLimit = 64

    /// Parses one line of a client's frame.
    ///
    /// Slices of the command lie in `line` or in `scratch`, which is emptied first and never holds more bytes than the
    /// line. Unknown fields are validated and skipped; a known field that comes twice in one object is refused. Of
    /// several requests in one command the first by the protocol's order counts.
    package static func command(_ line: WireBytes, scratch: inout ByteBuffer) throws(WireError) -> Command {
        try scan(line, scratch: &scratch) { scanner throws(WireError) in
            var command = Command(id: 0, request: .pong)
            var seen = SeenFields()
            var kind = CommandKind.none
            var hasUnknown = false
            try scanner.object { scanner, key throws(WireError) in
                switch key {
                case "id":
                    try seen.mark(0)
                    command.id = try scanner.unsigned32()
                default:
                    let found = CommandKind(key)
                    guard found != .none else {
                        hasUnknown = true
                        return try scanner.skipValue()
                    }
                    try seen.mark(found.rawValue)
                    guard let request = try scanner.request(found), found.rawValue < kind.rawValue else { return }
                    kind = found
                    command.request = request
                }
            }
            if kind == .none {
                guard command.id == 0, !hasUnknown else { throw .unknownKind }
            } else if command.id == 0, kind != .send {
                throw .missingID
            }
            return command
        }
    }

    /// Runs `body` on all of `text`, which must hold one value and nothing behind it.
    @inline(__always)
    static func scan<Value>(
        _ text: WireBytes, scratch: inout ByteBuffer, _ body: (inout JSONScanner) throws(WireError) -> Value
    ) throws(WireError) -> Value {
        scratch.truncate(to: 0)
        guard let base = text.baseAddress, text.count > 0 else { throw .blankLine }
        var scanner = JSONScanner(base, text.count, scratch: scratch.reserve(text.count))
        scanner.skipWhitespace()
        guard scanner.index < scanner.end else { throw .blankLine }
        let value = try body(&scanner)
        try scanner.finish()
        scratch.advance(by: scanner.scratchCount)
        return value
    }
}

/// Which known fields of an object have come: one bit each.
struct SeenFields {
    private var bits: UInt32 = 0

    /// Notes field number `field`, below 32; throws when it came before.
    @inline(__always)
    mutating func mark(_ field: UInt8) throws(WireError) {
        let bit: UInt32 = 1 << UInt32(field)
        guard bits & bit == 0 else { throw .duplicateField }
        bits |= bit
    }
}

/// The commands in the order in which they count.
enum CommandKind: UInt8 {
    case connect = 1
    case subscribe
    case unsubscribe
    case publish
    case presence
    case presenceStats
    case history
    case ping
    case send
    case rpc
    case refresh
    case subRefresh
    case none

    @inline(__always)
    init(_ key: JSONKey) {
        switch key {
        case "publish": self = .publish
        case "connect": self = .connect
        case "subscribe": self = .subscribe
        case "unsubscribe": self = .unsubscribe
        case "presence": self = .presence
        case "presence_stats": self = .presenceStats
        case "history": self = .history
        case "ping": self = .ping
        case "send": self = .send
        case "rpc": self = .rpc
        case "refresh": self = .refresh
        case "sub_refresh": self = .subRefresh
        default: self = .none
        }
    }
}
