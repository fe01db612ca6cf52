// How numbers, epochs and terms are written for scripts and read out of their replies. Used by the scripts' call
// writers and parsers on the engine's loop; nothing here allocates, and nothing from the server can trap.

package import Bytes

/// One life of one master, as the registry of terms numbered it. Scripts carry it, rooms remember it.
package struct RedisTerm: Equatable, Hashable, Sendable, BitwiseCopyable {
    /// Grows with every life, also over lives that the store forgot (nodes remember); below 2⁵³.
    package let number: UInt64
    /// The life itself: a digest of the master's run id and replication id.
    package let life: UInt64

    package init(number: UInt64, life: UInt64) {
        self.number = number
        self.life = life
    }

    /// Reads `number.life`; nil for anything else.
    package init?(parsing bytes: UnsafeRawBufferPointer) {
        guard let dot = bytes.firstIndex(of: UInt8(ascii: ".")),
            let number = ScriptText.decimal(UnsafeRawBufferPointer(rebasing: bytes[..<dot])),
            let life = ScriptText.hexadecimal(UnsafeRawBufferPointer(rebasing: bytes[(dot + 1)...]))
        else { return nil }
        self.init(number: number, life: life)
    }
}

/// Where a room's stream stands, or where somebody stands in it.
package struct RoomPosition: Equatable, Hashable, Sendable, BitwiseCopyable {
    /// The last publication's number; 0 in front of the first one.
    package var offset: UInt64
    /// The stream's life; never 0.
    package var epoch: UInt64

    package init(offset: UInt64, epoch: UInt64) {
        self.offset = offset
        self.epoch = epoch
    }
}

/// What a room's record says of itself.
package struct RoomRecord: Equatable, Sendable, BitwiseCopyable {
    /// Its top.
    package var top: RoomPosition
    /// The epoch before this one and the last offset that both share; nil when there is none.
    package var previous: RoomPosition?

    package init(top: RoomPosition, previous: RoomPosition?) {
        self.top = top
        self.previous = previous
    }

    /// Whether whoever stands at `position` can go on from there: it means the same in the current epoch.
    package func continues(_ position: RoomPosition) -> Bool {
        if position.epoch == top.epoch { return position.offset <= top.offset }
        guard let previous else { return false }
        return position.epoch == previous.epoch && position.offset <= previous.offset
    }

    /// Reads the four elements that begin at `index`; nil when they are not what scripts send.
    init?(_ reply: RedisReply, at index: Int) {
        guard let top = ScriptText.offset(reply[index]), let epoch = ScriptText.epoch(reply[index + 1]),
            let former = reply[index + 2], former.kind == .bulk, let shared = ScriptText.offset(reply[index + 3])
        else { return nil }
        self.top = RoomPosition(offset: top, epoch: epoch)
        if former.bytes.isEmpty { return }
        guard let previous = ScriptText.hexadecimal(former.bytes) else { return nil }
        self.previous = RoomPosition(offset: shared, epoch: previous)
    }
}

/// Numbers as scripts write them.
enum ScriptText {
    /// Offsets and numbers of terms end here: a Lua number holds no larger integer exactly.
    static let largest: UInt64 = (1 << 53) - 1

    static func decimal(_ bytes: UnsafeRawBufferPointer) -> UInt64? {
        guard bytes.count > 0, bytes.count <= 16 else { return nil }
        var value: UInt64 = 0
        for byte in bytes {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            value = value * 10 + UInt64(byte - UInt8(ascii: "0"))
        }
        return value <= largest ? value : nil
    }

    /// Sixteen lower-case hexadecimal digits that are not all zero.
    static func hexadecimal(_ bytes: UnsafeRawBufferPointer) -> UInt64? {
        guard bytes.count == 16 else { return nil }
        var value: UInt64 = 0
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt64(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt64(byte - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return value == 0 ? nil : value
    }

    static func offset(_ reply: RedisReply?) -> UInt64? {
        guard let number = reply?.integer, let value = UInt64(exactly: number), value <= largest else { return nil }
        return value
    }

    static func epoch(_ reply: RedisReply?) -> UInt64? {
        guard let reply, reply.kind == .bulk else { return nil }
        return hexadecimal(reply.bytes)
    }
}

extension ByteBuffer {
    /// Appends `value` in decimal as one argument.
    package mutating func appendArgument(decimal value: UInt64) {
        appendArgumentLength(ByteBuffer.digits(value))
        append(decimal: value)
        endArgument()
    }

    /// Appends `value` as one argument of sixteen lower-case hexadecimal digits.
    package mutating func appendArgument(hexadecimal value: UInt64) {
        appendArgumentLength(16)
        append(hexadecimal: value)
        endArgument()
    }

    /// Appends `epoch` as one argument, which is empty for 0: none.
    mutating func appendArgument(epoch: UInt64) {
        guard epoch != 0 else { return appendArgument("") }
        appendArgument(hexadecimal: epoch)
    }

    /// Appends `term` as one argument.
    package mutating func appendArgument(term: RedisTerm) {
        appendArgumentLength(ByteBuffer.digits(term.number) + 17)
        append(decimal: term.number)
        append(".")
        append(hexadecimal: term.life)
        endArgument()
    }

    /// Appends a duration in milliseconds, at least one, as one argument.
    mutating func appendArgument(milliseconds duration: Duration) {
        appendArgument(decimal: UInt64(clamping: max(1, duration.wholeMilliseconds)))
    }

    /// Appends `value` in sixteen lower-case hexadecimal digits.
    package mutating func append(hexadecimal value: UInt64) {
        for shift in stride(from: 60, through: 0, by: -4) {
            let digit = UInt8(value >> UInt64(shift) & 15)
            append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        }
    }

    /// Appends the keys of the room's stream and record as two arguments.
    mutating func appendRoomKeys(_ room: UnsafeRawBufferPointer, _ names: RedisNames) {
        let length = names.channelLength(room) + 2
        appendRoomKey(.stream, room, names, length)
        appendRoomKey(.position, room, names, length)
    }

    /// Appends the key of the room's record as one argument.
    mutating func appendRecordKey(_ room: UnsafeRawBufferPointer, _ names: RedisNames) {
        appendRoomKey(.position, room, names, names.channelLength(room) + 2)
    }

    /// Appends the key of the room's rate limits as one argument.
    mutating func appendRateKey(_ room: UnsafeRawBufferPointer, _ names: RedisNames) {
        appendRoomKey(.rate, room, names, names.channelLength(room) + 2)
    }

    private mutating func appendRoomKey(
        _ key: RedisNames.RoomKey, _ room: UnsafeRawBufferPointer, _ names: RedisNames, _ length: Int
    ) {
        appendArgumentLength(length)
        names.appendKey(key, of: room, to: &self)
        endArgument()
    }

    static func digits(_ value: UInt64) -> Int {
        var digits = 1
        var rest = value
        while rest >= 10 {
            rest /= 10
            digits += 1
        }
        return digits
    }
}
