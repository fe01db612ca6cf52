// What a published message carries so that its arrival can be judged: when it was meant to be sent, in which room, by
// which of the room's publishers, and its number there. Plain hexadecimal of fixed width: it survives inside a JSON
// string, inside any protocol, and several times in one frame, and costs no parser. Used on the worker's loop.

/// The mark of one message: `@m`, 16 digits of time, 6 of the room, 4 of the publisher, 10 of the number, `@`.
package struct Marker: Equatable, Sendable {
    /// When the message was due, in nanoseconds of the monotonic clock. An open model counts from here even when the
    /// tool itself was late, so that a stall of either side shows in the latencies.
    package var time: UInt64
    /// The room's number.
    package var room: Int
    /// Which of the room's publishers sent it.
    package var publisher: Int
    /// 1 for the publisher's first message, and so on without holes.
    package var sequence: UInt64

    /// Length in bytes.
    package static let length = 39
    /// Bounds that the fixed width sets.
    package static let roomLimit = 1 << 24
    package static let publisherLimit = 1 << 16

    /// A mark with all its parts.
    package init(time: UInt64, room: Int, publisher: Int, sequence: UInt64) {
        self.time = time
        self.room = room
        self.publisher = publisher
        self.sequence = sequence
    }

    /// Writes the mark's 39 bytes to `target`.
    package func write(to target: UnsafeMutableRawPointer) {
        target.storeBytes(of: UInt8(ascii: "@"), as: UInt8.self)
        target.storeBytes(of: UInt8(ascii: "m"), toByteOffset: 1, as: UInt8.self)
        Hex.write(time, digits: 16, to: target + 2)
        Hex.write(UInt64(room), digits: 6, to: target + 18)
        Hex.write(UInt64(publisher), digits: 4, to: target + 24)
        Hex.write(sequence, digits: 10, to: target + 28)
        target.storeBytes(of: UInt8(ascii: "@"), toByteOffset: 38, as: UInt8.self)
    }

    /// Calls `body` with every mark in `bytes`, in order; returns how many. Torn and foreign `@` are skipped.
    @discardableResult
    package static func forEach(in bytes: UnsafeRawBufferPointer, _ body: (Marker) -> Void) -> Int {
        var found = 0
        var at = 0
        while bytes.count - at >= length {
            guard bytes[at] == UInt8(ascii: "@"), let marker = Marker(at: at, in: bytes) else {
                at += 1
                continue
            }
            body(marker)
            found += 1
            at += length
        }
        return found
    }

    private init?(at start: Int, in bytes: UnsafeRawBufferPointer) {
        guard bytes[start + 1] == UInt8(ascii: "m"), bytes[start + 38] == UInt8(ascii: "@"),
            let time = Hex.read(bytes, at: start + 2, digits: 16),
            let room = Hex.read(bytes, at: start + 18, digits: 6),
            let publisher = Hex.read(bytes, at: start + 24, digits: 4),
            let sequence = Hex.read(bytes, at: start + 28, digits: 10)
        else { return nil }
        self.init(time: time, room: Int(room), publisher: Int(publisher), sequence: sequence)
    }
}

/// Hexadecimal of fixed width, without a String.
package enum Hex {
    /// Writes the low `digits` digits of `value`, the highest first.
    package static func write(_ value: UInt64, digits: Int, to target: UnsafeMutableRawPointer) {
        var rest = value
        for index in stride(from: digits - 1, through: 0, by: -1) {
            let digit = UInt8(rest & 15)
            target.storeBytes(of: digit + (digit < 10 ? 48 : 87), toByteOffset: index, as: UInt8.self)
            rest >>= 4
        }
    }

    /// Reads `digits` (at most 16) lower-case digits at `start`; nil when one of them is none or lies outside.
    package static func read(_ bytes: UnsafeRawBufferPointer, at start: Int, digits: Int) -> UInt64? {
        guard start >= 0, digits <= 16, start <= bytes.count - digits else { return nil }
        var value: UInt64 = 0
        for index in start..<start + digits {
            let byte = bytes[index]
            switch byte {
            case 48...57: value = value << 4 | UInt64(byte - 48)
            case 97...102: value = value << 4 | UInt64(byte - 87)
            default: return nil
            }
        }
        return value
    }
}
