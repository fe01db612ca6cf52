// Base64 as the opening handshake needs it: 16 and 20 bytes, once per connection. RFC 4648 section 4.

/// Base64 with padding.
enum Base64 {
    private static func character(_ value: UInt8) -> UInt8 {
        switch value {
        case 0..<26: 0x41 + value
        case 26..<52: 0x61 + value - 26
        case 52..<62: 0x30 + value - 52
        case 62: 0x2B
        default: 0x2F
        }
    }

    /// Whether `byte` belongs to the alphabet; the padding does not.
    static func isCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x41...0x5A, 0x61...0x7A, 0x30...0x39, 0x2B, 0x2F: true
        default: false
        }
    }

    /// Writes the encoding of `bytes` to `target`, which has exactly `(bytes.count + 2) / 3 * 4` bytes.
    static func encode(_ bytes: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) {
        precondition(target.count == (bytes.count + 2) / 3 * 4)
        var output = 0
        var input = 0
        while input < bytes.count {
            let left = bytes.count - input
            let a = bytes[input]
            let b = left > 1 ? bytes[input + 1] : 0
            let c = left > 2 ? bytes[input + 2] : 0
            target[output] = character(a >> 2)
            target[output + 1] = character((a & 0x03) << 4 | b >> 4)
            target[output + 2] = left > 1 ? character((b & 0x0F) << 2 | c >> 6) : 0x3D
            target[output + 3] = left > 2 ? character(c & 0x3F) : 0x3D
            output += 4
            input += 3
        }
    }

    /// Whether `text` is the encoding of 16 bytes: 22 characters and two pads.
    static func isSixteenBytes(_ text: UnsafeRawBufferPointer) -> Bool {
        guard text.count == 24, text[22] == 0x3D, text[23] == 0x3D else { return false }
        return text[..<22].allSatisfy(isCharacter)
    }
}
