// Incremental validation of UTF-8: three bytes of state, fails at the first byte that no valid text can have there.
// Called by the frame reader for every text message on the connection's loop. ASCII is skipped 32 bytes a step, other
// text is decoded with comparisons (a table DFA was slower). RFC 3629 section 4, RFC 6455 section 8.1.

/// Whether a text that arrives in pieces is UTF-8 so far.
package struct UTF8Validator: Sendable {
    /// Continuation bytes that the sequence at the end of the last piece still lacks.
    private var missing: UInt8 = 0
    /// What the next of them may be: overlong forms, surrogates and code points above 10FFFF show at the second byte.
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    /// A validator at the start of a text.
    package init() {}

    /// Whether the text may end here: no sequence is cut off.
    package var isComplete: Bool { missing == 0 }

    /// Whether `bytes` is a whole valid text.
    package static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress else { return true }
        return validPrefix(base, bytes.count) == bytes.count
    }

    /// Goes on with `bytes`; false when no continuation can make the text valid, which is final.
    package mutating func feed(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress else { return true }
        var index = 0
        while missing > 0, index < bytes.count {
            guard step(bytes[index]) else { return false }
            index += 1
        }
        index += UTF8Validator.validPrefix(base + index, bytes.count - index)
        // What is left is either wrong or the first one to three bytes of a sequence that goes on in the next piece.
        while index < bytes.count {
            guard step(bytes[index]) else { return false }
            index += 1
        }
        return true
    }

    private mutating func step(_ byte: UInt8) -> Bool {
        if missing > 0 {
            guard byte >= lowest, byte <= highest else { return false }
            missing -= 1
            (lowest, highest) = (0x80, 0xBF)
            return true
        }
        switch byte {
        case 0x00...0x7F: return true
        case 0xC2...0xDF: missing = 1
        case 0xE0: (missing, lowest) = (2, 0xA0)
        case 0xE1...0xEC, 0xEE...0xEF: missing = 2
        case 0xED: (missing, highest) = (2, 0x9F)
        case 0xF0: (missing, lowest) = (3, 0x90)
        case 0xF1...0xF3: missing = 3
        case 0xF4: (missing, highest) = (3, 0x8F)
        default: return false
        }
        return true
    }

    private static let highBits: UInt64 = 0x8080_8080_8080_8080

    /// How many bytes of the `count` at `base` are complete, valid sequences before the first that is not.
    private static func validPrefix(_ base: UnsafeRawPointer, _ count: Int) -> Int {
        var index = 0
        while index < count {
            index = skipASCII(base, index, count)
            // Text in other scripts comes in runs, so stay here until ASCII returns.
            while index < count {
                let first = base.load(fromByteOffset: index, as: UInt8.self)
                if first < 0x80 { break }
                if first < 0xE0 {
                    guard first >= 0xC2, index + 1 < count,
                        base.load(fromByteOffset: index + 1, as: UInt8.self) & 0xC0 == 0x80
                    else { return index }
                    index += 2
                } else {
                    let length = sequenceLength(base + index, first, count - index)
                    if length == 0 { return index }
                    index += length
                }
            }
        }
        return index
    }

    /// The index of the first byte at or after `start` that is not ASCII.
    private static func skipASCII(_ base: UnsafeRawPointer, _ start: Int, _ count: Int) -> Int {
        var index = start
        while index + 8 <= count {
            let word = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: index, as: UInt64.self)) & highBits
            if word != 0 { return index + word.trailingZeroBitCount >> 3 }
            index += 8
            while index + 32 <= count {
                let block = base.loadUnaligned(fromByteOffset: index, as: SIMD4<UInt64>.self)
                if (block[0] | block[1] | block[2] | block[3]) & highBits != 0 { break }
                index += 32
            }
        }
        while index < count, base.load(fromByteOffset: index, as: UInt8.self) < 0x80 { index += 1 }
        return index
    }

    /// Length of the sequence of three or four bytes that begins with `first`; 0 if it is wrong or cut off.
    private static func sequenceLength(_ base: UnsafeRawPointer, _ first: UInt8, _ available: Int) -> Int {
        guard available >= 3, base.load(fromByteOffset: 2, as: UInt8.self) & 0xC0 == 0x80 else { return 0 }
        let second = base.load(fromByteOffset: 1, as: UInt8.self)
        if first < 0xF0 {
            switch first {
            case 0xE0: return second >= 0xA0 && second <= 0xBF ? 3 : 0
            case 0xED: return second >= 0x80 && second <= 0x9F ? 3 : 0
            default: return second & 0xC0 == 0x80 ? 3 : 0
            }
        }
        guard available >= 4, base.load(fromByteOffset: 3, as: UInt8.self) & 0xC0 == 0x80 else { return 0 }
        switch first {
        case 0xF0: return second >= 0x90 && second <= 0xBF ? 4 : 0
        case 0xF1...0xF3: return second & 0xC0 == 0x80 ? 4 : 0
        case 0xF4: return second >= 0x80 && second <= 0x8F ? 4 : 0
        default: return 0
        }
    }
}
