// Character classes and comparisons of RFC 9110 section 5.6, on raw bytes and without a String. Used by the head
// parsers, the writers and the opening handshake, on whichever loop they run; pure functions, work linear in the input.

/// Character classes and comparisons on raw ASCII bytes.
package enum ASCII {
    static let tab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let space: UInt8 = 0x20
    static let comma: UInt8 = 0x2C
    static let colon: UInt8 = 0x3A

    /// Whether `byte` is one of `tchar` (RFC 9110 section 5.6.2): what methods, field names and tokens consist of.
    package static func isTokenByte(_ byte: UInt8) -> Bool {
        // Two 64-bit sets instead of a 256-byte table: no load, no global with an initialiser.
        if byte < 0x40 { return (0x03FF_6CFA_0000_0000 as UInt64) >> UInt64(byte) & 1 == 1 }
        if byte < 0x80 { return (0x57FF_FFFF_C7FF_FFFE as UInt64) >> UInt64(byte - 0x40) & 1 == 1 }
        return false
    }

    /// Whether `bytes` is a token: at least one byte, all of them `tchar`.
    package static func isToken(_ bytes: UnsafeRawBufferPointer) -> Bool {
        !bytes.isEmpty && bytes.allSatisfy(isTokenByte)
    }

    /// Whether `byte` may not stand in a field value: controls other than the tab, and DEL.
    static func isForbiddenInValue(_ byte: UInt8) -> Bool {
        (byte < 0x20 && byte != tab) || byte == 0x7F
    }

    /// Whether `byte` is a visible ASCII character.
    static func isVisible(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7F }

    static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

    static func isAlphanumeric(_ byte: UInt8) -> Bool {
        isDigit(byte) || (lowercased(byte) >= 0x61 && lowercased(byte) <= 0x7A)
    }

    /// `byte` in lower case if it is an ASCII letter.
    package static func lowercased(_ byte: UInt8) -> UInt8 {
        byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
    }

    /// The value of a hexadecimal digit.
    static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }

    /// `bytes` without the spaces and tabs around them (OWS of RFC 9110 section 5.6.3).
    package static func trimmed(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var start = 0
        var end = bytes.count
        while start < end, bytes[start] == space || bytes[start] == tab { start += 1 }
        while end > start, bytes[end - 1] == space || bytes[end - 1] == tab { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    }

    /// Whether `bytes` are those of `literal`, ASCII letters compared without regard to case.
    package static func equalsIgnoringCase(_ bytes: UnsafeRawBufferPointer, _ literal: StaticString) -> Bool {
        withBytes(of: literal) { other in
            guard bytes.count == other.count else { return false }
            for index in 0..<bytes.count where lowercased(bytes[index]) != lowercased(other[index]) { return false }
            return true
        }
    }

    /// Whether `bytes` are exactly those of `literal`.
    package static func equals(_ bytes: UnsafeRawBufferPointer, _ literal: StaticString) -> Bool {
        withBytes(of: literal) { other in equals(bytes, other) }
    }

    /// Whether two runs hold the same bytes.
    package static func equals(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
        guard a.count == b.count else { return false }
        for index in 0..<a.count where a[index] != b[index] { return false }
        return true
    }

    /// The non-negative number that `bytes` spell in decimal digits and nothing else; nil also when it does not fit.
    package static func decimal(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard !bytes.isEmpty, bytes.count <= 19 else { return nil }
        var value = 0
        for byte in bytes {
            guard isDigit(byte) else { return nil }
            let (scaled, over) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = scaled.addingReportingOverflow(Int(byte - 0x30))
            if over || carry { return nil }
            value = sum
        }
        return value
    }

    /// The UTF-8 of `literal`, for the duration of `body`.
    static func withBytes<Result>(of literal: StaticString, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        if literal.hasPointerRepresentation {
            return body(UnsafeRawBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
        }
        return literal.withUTF8Buffer { body(UnsafeRawBufferPointer($0)) }
    }
}
