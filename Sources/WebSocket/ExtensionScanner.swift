// Walks one Sec-WebSocket-Extensions value: extensions, then the parameters of each. One pass from left to right over
// bytes that a head parser has bounded (16 KiB), nothing copied or kept, so that no value makes it slow. Called by both
// sides of the opening handshake, on the connection's loop, once per connection. RFC 6455 section 9.1.

import HTTP

/// A cursor in a list of extensions. After `malformed` it stands at the end: behind a broken quote nothing is sure.
struct ExtensionScanner {
    /// The value of a parameter after unquoting. Every one that means something here has at most two characters.
    struct Value {
        /// Characters in it.
        var count = 0
        /// The first two.
        var first: UInt8 = 0
        var second: UInt8 = 0

        mutating func append(_ byte: UInt8) {
            if count == 0 { first = byte } else if count == 1 { second = byte }
            count += 1
        }

        /// The number of 8 to 15 that it spells, without a leading zero.
        var windowBits: Int? {
            switch (count, first, second) {
            case (1, 0x38...0x39, _): Int(first) - 0x30
            case (2, 0x31, 0x30...0x35): Int(second) - 0x30 + 10
            default: nil
            }
        }
    }

    /// What stands at the cursor.
    enum Step {
        /// The name of the next extension.
        case name(UnsafeRawBufferPointer)
        /// A parameter of the current extension; nil if it has no `=`.
        case parameter(UnsafeRawBufferPointer, Value?)
        /// No more parameters, or no more extensions.
        case end
        /// Not the grammar.
        case malformed
    }

    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    /// A cursor at the beginning of `bytes`, one field's value.
    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    private static let semicolon: UInt8 = 0x3B
    private static let comma: UInt8 = 0x2C
    private static let equals: UInt8 = 0x3D
    private static let quote: UInt8 = 0x22
    private static let backslash: UInt8 = 0x5C

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x09 { position += 1 }
    }

    private mutating func fail() -> Step {
        position = bytes.count
        return .malformed
    }

    private mutating func token() -> UnsafeRawBufferPointer? {
        let start = position
        while let byte = current, ASCII.isTokenByte(byte) { position += 1 }
        return position > start ? UnsafeRawBufferPointer(rebasing: bytes[start..<position]) : nil
    }

    /// The next extension; to be asked when the parameters of the one before are used up. Empty list elements are
    /// skipped, as RFC 9110 section 5.6.1 wants it.
    mutating func nextExtension() -> Step {
        skipSpace()
        while current == ExtensionScanner.comma {
            position += 1
            skipSpace()
        }
        if current == nil { return .end }
        guard let name = token() else { return fail() }
        return .name(name)
    }

    /// The next parameter of the current extension.
    mutating func nextParameter() -> Step {
        skipSpace()
        switch current {
        case nil, ExtensionScanner.comma: return .end
        case ExtensionScanner.semicolon: position += 1
        default: return fail()
        }
        skipSpace()
        guard let name = token() else { return fail() }
        skipSpace()
        guard current == ExtensionScanner.equals else { return .parameter(name, nil) }
        position += 1
        skipSpace()
        guard let value = current == ExtensionScanner.quote ? quoted() : plain() else { return fail() }
        return .parameter(name, value)
    }

    private mutating func plain() -> Value? {
        var value = Value()
        while let byte = current, ASCII.isTokenByte(byte) {
            value.append(byte)
            position += 1
        }
        return value.count > 0 ? value : nil
    }

    /// A quoted string, whose content has to be a token again.
    private mutating func quoted() -> Value? {
        var value = Value()
        position += 1
        while var byte = current {
            position += 1
            if byte == ExtensionScanner.quote { return value.count > 0 ? value : nil }
            if byte == ExtensionScanner.backslash {
                guard let escaped = current else { return nil }
                byte = escaped
                position += 1
            }
            guard ASCII.isTokenByte(byte) else { return nil }
            value.append(byte)
        }
        return nil
    }
}
