// A cursor over one JSON text: typed reads for the fields that we understand, a validating skip for everything else
// (JSONScanner+Skip.swift). No tree, no allocation: strings come back as slices of the text, those with escapes as
// slices of a scratch area that the maker provides. Runs on the connection's loop. RFC 8259.
//
// The scratch area is as long as the text: an unescaped string is never longer than its escaped form and every string
// is read at most once, so it cannot overflow. Null counts as absent for every field, as in the protocol's other
// codecs.

/// A cursor over the bytes of one JSON text. Does not own them.
struct JSONScanner {
    let base: UnsafeRawPointer
    let end: Int
    var index = 0
    private let scratch: UnsafeMutableRawPointer
    /// Bytes of the scratch area in use.
    private(set) var scratchCount = 0

    /// A cursor at the start of `count` bytes at `base`. `scratch` has room for `count` bytes.
    init(_ base: UnsafeRawPointer, _ count: Int, scratch: UnsafeMutableRawPointer) {
        self.base = base
        self.end = count
        self.scratch = scratch
    }

    /// The byte at the cursor, 0 at the end: nothing that JSON allows outside strings.
    @inline(__always)
    var byte: UInt8 { index < end ? base.load(fromByteOffset: index, as: UInt8.self) : 0 }

    func slice(_ from: Int, _ to: Int) -> WireBytes { WireBytes(start: base + from, count: to - from) }

    @inline(__always)
    mutating func skipWhitespace() {
        while index < end {
            let byte = base.load(fromByteOffset: index, as: UInt8.self)
            guard byte <= 0x20, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
            index += 1
        }
    }

    /// What to throw for an unexpected byte at the cursor.
    var unexpected: WireError { index < end ? .syntax : .unexpectedEnd }

    @inline(__always)
    mutating func expect(_ wanted: UInt8) throws(WireError) {
        guard byte == wanted else { throw unexpected }
        index += 1
    }

    /// Passes `wanted` if it stands at the cursor.
    @inline(__always)
    mutating func take(_ wanted: UInt8) -> Bool {
        guard byte == wanted else { return false }
        index += 1
        return true
    }

    /// Throws unless only whitespace is left.
    mutating func finish() throws(WireError) {
        skipWhitespace()
        guard index == end else { throw .syntax }
    }

    // MARK: - Objects

    /// Reads an object: `body` is called at each member's value and moves the cursor behind it.
    @inline(__always)
    mutating func object(
        _ body: (inout JSONScanner, JSONKey) throws(WireError) -> Void
    ) throws(WireError) {
        guard take(UInt8(ascii: "{")) else { throw index < end ? .wrongType : .unexpectedEnd }
        skipWhitespace()
        if take(UInt8(ascii: "}")) { return }
        while true {
            let key = JSONKey(bytes: try text())
            try colon()
            try body(&self, key)
            skipWhitespace()
            if take(UInt8(ascii: ",")) {
                skipWhitespace()
                continue
            }
            return try expect(UInt8(ascii: "}"))
        }
    }

    /// Passes the colon behind a key and the whitespace around it.
    @inline(__always)
    mutating func colon() throws(WireError) {
        skipWhitespace()
        try expect(UInt8(ascii: ":"))
        skipWhitespace()
    }

    /// Passes `null` if it stands at the cursor: the field is absent.
    @inline(__always)
    mutating func takeNull() throws(WireError) -> Bool {
        guard byte == UInt8(ascii: "n") else { return false }
        try literal("null")
        return true
    }

    // MARK: - Values of known types

    /// A string's text, unescaped; empty for null.
    mutating func string() throws(WireError) -> WireBytes {
        if try takeNull() { return .empty }
        guard byte == UInt8(ascii: "\"") else { throw index < end ? .wrongType : .unexpectedEnd }
        return try text()
    }

    /// A truth value; false for null.
    mutating func flag() throws(WireError) -> Bool {
        switch byte {
        case UInt8(ascii: "t"):
            try literal("true")
            return true
        case UInt8(ascii: "f"):
            try literal("false")
            return false
        default:
            if try takeNull() { return false }
            throw index < end ? .wrongType : .unexpectedEnd
        }
    }

    /// An integer from 0 to `most`; 0 for null. Fractions and exponents are refused, even if the value is whole.
    mutating func unsigned(_ most: UInt64 = .max) throws(WireError) -> UInt64 {
        if try takeNull() { return 0 }
        let start = index
        var value: UInt64 = 0
        while index < end {
            let byte = base.load(fromByteOffset: index, as: UInt8.self)
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { break }
            let (scaled, over) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = scaled.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
            guard !over, !carry else { throw .outOfRange }
            value = sum
            index += 1
        }
        guard index > start else { throw byte == UInt8(ascii: "-") ? .outOfRange : wrongTypeOrEnd }
        guard index - start == 1 || base.load(fromByteOffset: start, as: UInt8.self) != UInt8(ascii: "0") else {
            throw .number
        }
        if byte == UInt8(ascii: ".") || byte | 0x20 == UInt8(ascii: "e") { throw .wrongType }
        guard value <= most else { throw .outOfRange }
        return value
    }

    /// An unsigned integer of 32 bits; 0 for null.
    mutating func unsigned32() throws(WireError) -> UInt32 {
        UInt32(clamping: try unsigned(UInt64(UInt32.max)))
    }

    /// A signed integer of 32 bits; 0 for null.
    mutating func signed32() throws(WireError) -> Int32 {
        guard take(UInt8(ascii: "-")) else { return Int32(clamping: try unsigned(UInt64(Int32.max))) }
        guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { throw index < end ? .number : .unexpectedEnd }
        return Int32(clamping: -Int64(clamping: try unsigned(UInt64(Int32.max) + 1)))
    }

    /// Any JSON value, validated, as it stands in the text.
    mutating func raw() throws(WireError) -> WireBytes {
        let start = index
        try skipValue()
        return slice(start, index)
    }

    /// The inside of an object or array, validated, without its brackets; empty for null and for one without entries.
    mutating func inside(of open: UInt8) throws(WireError) -> WireBytes {
        if try takeNull() { return .empty }
        guard byte == open else { throw wrongTypeOrEnd }
        let start = index + 1
        try skipValue()
        var inner = JSONScanner(base + start, index - 1 - start, scratch: scratch)
        inner.skipWhitespace()
        return inner.index == inner.end ? .empty : slice(start, index - 1)
    }

    private var wrongTypeOrEnd: WireError { index < end ? .wrongType : .unexpectedEnd }

    // MARK: - Strings

    /// The string at the cursor, unescaped.
    @inline(__always)
    mutating func text() throws(WireError) -> WireBytes {
        try expect(UInt8(ascii: "\""))
        let start = index
        index = ByteScan.stringBreak(base, start, end)
        if byte == UInt8(ascii: "\"") {
            index += 1
            return slice(start, index - 1)
        }
        return try escapedText(from: start)
    }

    /// Goes on at the first byte of a string that is not plain.
    @inline(never)
    private mutating func escapedText(from start: Int) throws(WireError) -> WireBytes {
        let first = scratchCount
        var run = start
        while true {
            (scratch + scratchCount).copyMemory(from: base + run, byteCount: index - run)
            scratchCount += index - run
            switch byte {
            case UInt8(ascii: "\""):
                index += 1
                return WireBytes(start: scratch + first, count: scratchCount - first)
            case UInt8(ascii: "\\"):
                encode(try escape())
            default:
                throw index < end ? .controlCharacter : .unexpectedEnd
            }
            run = index
            index = ByteScan.stringBreak(base, index, end)
        }
    }

    /// Appends `scalar` to the scratch area as UTF-8; never more bytes than its escape had.
    private mutating func encode(_ scalar: Unicode.Scalar) {
        for byte in UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter {
            (scratch + scratchCount).storeBytes(of: byte, as: UInt8.self)
            scratchCount += 1
        }
    }
}

/// A member's key, for comparison with literals in a `switch`.
struct JSONKey {
    let bytes: WireBytes

    @inline(__always)
    static func ~= (name: StaticString, key: JSONKey) -> Bool {
        guard key.bytes.count == name.utf8CodeUnitCount, let base = key.bytes.baseAddress else { return false }
        let wanted = UnsafeRawPointer(name.utf8Start)
        let count = name.utf8CodeUnitCount
        if count >= 8 {
            // Two overlapping words: no name here is longer than 16 bytes, longer ones take the loop.
            if count <= 16 {
                return same(base, wanted, 0, as: UInt64.self) && same(base, wanted, count - 8, as: UInt64.self)
            }
        } else if count >= 4 {
            return same(base, wanted, 0, as: UInt32.self) && same(base, wanted, count - 4, as: UInt32.self)
        }
        for index in 0..<count where !same(base, wanted, index, as: UInt8.self) { return false }
        return true
    }

    @inline(__always)
    private static func same<Word: FixedWidthInteger & BitwiseCopyable>(
        _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ offset: Int, as word: Word.Type
    ) -> Bool {
        a.loadUnaligned(fromByteOffset: offset, as: word) == b.loadUnaligned(fromByteOffset: offset, as: word)
    }
}
