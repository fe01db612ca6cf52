// Validation of JSON that we pass on without reading it. What is accepted here is copied into other people's frames, so
// it must not be able to spoil them: one complete value, bounded nesting, no raw control characters, no lone surrogates
// and no number beyond a double, since strict readers would drop the whole frame for those. RFC 8259, RFC 7493 sec. 2.

extension JSONScanner {
    /// Passes one complete value of any type. Loops instead of recursing: depth costs one bit.
    mutating func skipValue() throws(WireError) {
        var depth = 0
        // The innermost container is the lowest bit: set for an object, clear for an array.
        var objects: UInt64 = 0
        repeat {
            let opener = byte
            switch opener {
            case UInt8(ascii: "\""):
                try skipString()
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                guard depth < JSONCodec.depthLimit else { throw .tooDeep }
                depth += 1
                objects = objects << 1 | (opener == UInt8(ascii: "{") ? 1 : 0)
                index += 1
                skipWhitespace()
                // ASCII puts each closing bracket two behind its opening one.
                if byte != opener + 2 {
                    if objects & 1 == 1 { try skipKey() }
                    continue
                }
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                try skipNumber()
            case UInt8(ascii: "t"):
                try literal("true")
            case UInt8(ascii: "f"):
                try literal("false")
            case UInt8(ascii: "n"):
                try literal("null")
            default:
                throw unexpected
            }
            try closeContainers(&depth, &objects)
        } while depth > 0
    }

    /// Behind a value: passes closing brackets as far as there are, then the comma and key in front of the next value.
    @inline(__always)
    private mutating func closeContainers(_ depth: inout Int, _ objects: inout UInt64) throws(WireError) {
        while depth > 0 {
            skipWhitespace()
            let isObject = objects & 1 == 1
            if take(UInt8(ascii: ",")) {
                skipWhitespace()
                if isObject { try skipKey() }
                return
            }
            try expect(isObject ? UInt8(ascii: "}") : UInt8(ascii: "]"))
            depth -= 1
            objects >>= 1
        }
    }

    @inline(__always)
    private mutating func skipKey() throws(WireError) {
        try skipString()
        try colon()
    }

    @inline(__always)
    private mutating func skipString() throws(WireError) {
        try expect(UInt8(ascii: "\""))
        while true {
            index = ByteScan.stringBreak(base, index, end)
            switch byte {
            case UInt8(ascii: "\""):
                index += 1
                return
            case UInt8(ascii: "\\"):
                _ = try escape()
            default:
                throw index < end ? .controlCharacter : .unexpectedEnd
            }
        }
    }

    // MARK: - Escapes

    /// Passes the escape at the cursor and returns what it stands for.
    mutating func escape() throws(WireError) -> Unicode.Scalar {
        index += 1
        guard index < end else { throw .unexpectedEnd }
        let kind = byte
        index += 1
        switch kind {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(kind)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): break
        default: throw .escape
        }
        let unit = try hexUnit()
        if let scalar = Unicode.Scalar(unit) { return scalar }
        // The second half must follow a first half at once.
        guard unit < 0xDC00 else { throw .loneSurrogate }
        guard index < end else { throw .unexpectedEnd }
        guard take(UInt8(ascii: "\\")) else { throw .loneSurrogate }
        guard index < end else { throw .unexpectedEnd }
        guard take(UInt8(ascii: "u")) else { throw .loneSurrogate }
        let second = try hexUnit()
        guard (0xDC00...0xDFFF).contains(second) else { throw .loneSurrogate }
        let value = 0x10000 + (UInt32(unit) - 0xD800) << 10 + (UInt32(second) - 0xDC00)
        guard let scalar = Unicode.Scalar(value) else { throw .loneSurrogate }
        return scalar
    }

    private mutating func hexUnit() throws(WireError) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard index < end else { throw .unexpectedEnd }
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: throw .escape
            }
            unit = unit << 4 | UInt16(digit)
            index += 1
        }
        return unit
    }

    // MARK: - Literals and numbers

    mutating func literal(_ word: StaticString) throws(WireError) {
        for offset in 0..<word.utf8CodeUnitCount { try expect(word.utf8Start[offset]) }
    }

    mutating func skipNumber() throws(WireError) {
        let start = index
        _ = take(UInt8(ascii: "-"))
        let whole = index
        guard skipDigits() > 0 else { throw index < end ? .number : .unexpectedEnd }
        if index - whole > 1, base.load(fromByteOffset: whole, as: UInt8.self) == UInt8(ascii: "0") { throw .number }
        var isSmall = index - whole <= 300
        if take(UInt8(ascii: ".")) {
            guard skipDigits() > 0 else { throw index < end ? .number : .unexpectedEnd }
        }
        if byte | 0x20 == UInt8(ascii: "e") {
            index += 1
            if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { index += 1 }
            guard skipDigits() > 0 else { throw index < end ? .number : .unexpectedEnd }
            isSmall = false
        }
        guard isSmall || DecimalMagnitude.fitsDouble(slice(start, index)) else { throw .number }
    }

    /// Passes digits and returns how many there were.
    @inline(__always)
    private mutating func skipDigits() -> Int {
        let start = index
        while index < end {
            let byte = base.load(fromByteOffset: index, as: UInt8.self)
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { break }
            index += 1
        }
        return index - start
    }
}

/// How large a decimal number is, without converting it.
enum DecimalMagnitude {
    /// The first 17 digits of the largest double, 1.7976931348623157e308.
    private static let largestDigits: UInt64 = 17_976_931_348_623_157

    /// Whether `number`, valid by JSON's grammar, is not beyond the largest double. Tiny numbers become 0: they fit.
    static func fitsDouble(_ number: WireBytes) -> Bool {
        var digits: UInt64 = 0
        var digitCount = 0
        // The power of ten of the first digit that is not 0.
        var order = -1
        var isFraction = false
        var index = 0
        while index < number.count {
            let byte = number[index]
            index += 1
            if byte == UInt8(ascii: ".") { isFraction = true }
            if byte | 0x20 == UInt8(ascii: "e") { break }
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { continue }
            if digitCount > 0 || byte != UInt8(ascii: "0") {
                if !isFraction { order += 1 }
                if digitCount < 17 { digits = digits * 10 + UInt64(byte - UInt8(ascii: "0")) }
                digitCount += 1
            } else if isFraction {
                order -= 1
            }
        }
        guard digitCount > 0 else { return true }
        order += exponent(WireBytes(rebasing: number[index...]))
        guard order == 308 else { return order < 308 }
        for _ in 0..<max(0, 17 - digitCount) { digits *= 10 }
        return digits <= largestDigits
    }

    /// The exponent, cut off far beyond anything that matters.
    private static func exponent(_ text: WireBytes) -> Int {
        var value = 0
        for byte in text where byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") {
            value = min(value * 10 + Int(byte - UInt8(ascii: "0")), 1 << 40)
        }
        return text.first == UInt8(ascii: "-") ? -value : value
    }
}
