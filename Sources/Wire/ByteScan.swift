// Finding bytes that matter in long runs of bytes that do not: the ends of strings, line breaks. Used by the scanner
// and the encoders on every message. First eight bytes in a register, since most strings are short, then 16 a step in
// SSE2 registers. Nothing is read outside [from, end).

/// Searches over raw bytes.
enum ByteScan {
    private static let high: UInt64 = 0x8080_8080_8080_8080
    private static let low: UInt64 = 0x7F7F_7F7F_7F7F_7F7F

    /// The first index in [from, end) whose byte ends a plain run inside a JSON string: a quote, a backslash or a
    /// control character. `end` when there is none.
    @inline(__always)
    static func stringBreak(_ base: UnsafeRawPointer, _ from: Int, _ end: Int) -> Int {
        if end - from >= 8 {
            let found = stringBreaks(in: base.loadUnaligned(fromByteOffset: from, as: UInt64.self).littleEndian)
            if found != 0 { return from + found.trailingZeroBitCount / 8 }
            return longStringBreak(base, from + 8, end)
        }
        return shortStringBreak(base, from, end)
    }

    /// The high bit of every byte that is a quote, a backslash or below 0x20. Exact: no lane carries into the next one.
    @inline(__always)
    private static func stringBreaks(in word: UInt64) -> UInt64 {
        let printable = (word & low) + 0x6060_6060_6060_6060
        let quote = word ^ 0x2222_2222_2222_2222
        let backslash = word ^ 0x5C5C_5C5C_5C5C_5C5C
        let notQuote = ((quote & low) + low) | quote
        let notBackslash = ((backslash & low) + low) | backslash
        return ~((printable | word) & notQuote & notBackslash) & high
    }

    private static func shortStringBreak(_ base: UnsafeRawPointer, _ from: Int, _ end: Int) -> Int {
        var index = from
        while index < end {
            let byte = base.load(fromByteOffset: index, as: UInt8.self)
            if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { break }
            index += 1
        }
        return index
    }

    private static func longStringBreak(_ base: UnsafeRawPointer, _ from: Int, _ end: Int) -> Int {
        let space = SIMD16<UInt8>(repeating: 0x20)
        let quote = SIMD16<UInt8>(repeating: UInt8(ascii: "\""))
        let backslash = SIMD16<UInt8>(repeating: UInt8(ascii: "\\"))
        var index = from
        while end - index >= 16 {
            let bytes = base.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
            let found = firstSet((bytes .< space) .| (bytes .== quote) .| (bytes .== backslash))
            if found < 16 { return index + found }
            index += 16
        }
        if end - index >= 8 {
            let found = stringBreaks(in: base.loadUnaligned(fromByteOffset: index, as: UInt64.self).littleEndian)
            if found != 0 { return index + found.trailingZeroBitCount / 8 }
            index += 8
        }
        return shortStringBreak(base, index, end)
    }

    /// The first index in [from, end) that holds `first` or `second`, else `end`.
    static func either(_ first: UInt8, or second: UInt8, _ base: UnsafeRawPointer, _ from: Int, _ end: Int) -> Int {
        let one = SIMD16<UInt8>(repeating: first)
        let other = SIMD16<UInt8>(repeating: second)
        var index = from
        while end - index >= 16 {
            let bytes = base.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
            let found = firstSet((bytes .== one) .| (bytes .== other))
            if found < 16 { return index + found }
            index += 16
        }
        while index < end {
            let byte = base.load(fromByteOffset: index, as: UInt8.self)
            if byte == first || byte == second { break }
            index += 1
        }
        return index
    }

    /// The first lane that is set, 16 when none is.
    @inline(__always)
    private static func firstSet(_ mask: SIMDMask<SIMD16<Int8>>) -> Int {
        var lanes = SIMD16<UInt8>(repeating: 0).replacing(with: 0xFF, where: mask)
        return withUnsafeBytes(of: &lanes) { bytes in
            let first = bytes.load(fromByteOffset: 0, as: UInt64.self).littleEndian
            if first != 0 { return first.trailingZeroBitCount / 8 }
            let second = bytes.load(fromByteOffset: 8, as: UInt64.self).littleEndian
            return second != 0 ? 8 + second.trailingZeroBitCount / 8 : 16
        }
    }
}
