// Appending JSON by hand: strings with escapes where needed, validated values as they are, members that are left out
// when they say nothing. Used by every encoder of the JSON codec, on whichever loop encodes.

import Bytes

extension ByteBuffer {
    /// Appends `text` as a JSON string. It must be UTF-8; what JSON does not allow inside strings is escaped.
    mutating func append(jsonString text: WireBytes) {
        append(UInt8(ascii: "\""))
        append(jsonEscaped: text)
        append(UInt8(ascii: "\""))
    }

    private mutating func append(jsonEscaped text: WireBytes) {
        guard let base = text.baseAddress else { return }
        var start = 0
        while true {
            let stop = ByteScan.stringBreak(base, start, text.count)
            append(WireBytes(start: base + start, count: stop - start))
            guard stop < text.count else { return }
            appendEscape(of: text[stop])
            start = stop + 1
        }
    }

    private mutating func appendEscape(of byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): append("\\\"")
        case UInt8(ascii: "\\"): append("\\\\")
        case UInt8(ascii: "\n"): append("\\n")
        case UInt8(ascii: "\r"): append("\\r")
        case UInt8(ascii: "\t"): append("\\t")
        default:
            append("\\u00")
            append(UInt8(ascii: "0") + byte >> 4)
            let digit = byte & 15
            append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        }
    }

    /// Appends a valid JSON value without the line breaks between its tokens. Inside strings there are none: JSON has
    /// them escaped there.
    mutating func append(json value: WireBytes) {
        guard let base = value.baseAddress else { return }
        var start = 0
        while true {
            let stop = ByteScan.either(UInt8(ascii: "\n"), or: UInt8(ascii: "\r"), base, start, value.count)
            append(WireBytes(start: base + start, count: stop - start))
            guard stop < value.count else { return }
            start = stop + 1
        }
    }

    /// Appends an object whose members `body` writes.
    @inline(__always)
    mutating func appendObject(_ body: (inout JSONMembers, inout ByteBuffer) -> Void) {
        append(UInt8(ascii: "{"))
        var members = JSONMembers()
        body(&members, &self)
        append(UInt8(ascii: "}"))
    }

    /// Appends a comma unless this is the first entry of the list or map that this buffer holds.
    mutating func separateEntries() {
        if !isEmpty { append(UInt8(ascii: ",")) }
    }
}

/// Writes the members of one object and leaves out those that are absent: empty, zero or false.
struct JSONMembers {
    private var isFirst = true

    /// Appends `name` as a key, with a comma in front unless it is the first.
    mutating func key(_ name: StaticString, _ out: inout ByteBuffer) {
        let count = name.utf8CodeUnitCount
        var place = out.reserve(count + 4)
        if !isFirst {
            place.storeBytes(of: UInt8(ascii: ","), as: UInt8.self)
            place += 1
        }
        place.storeBytes(of: UInt8(ascii: "\""), as: UInt8.self)
        (place + 1).copyMemory(from: name.utf8Start, byteCount: count)
        (place + count + 1).storeBytes(of: UInt8(ascii: "\""), as: UInt8.self)
        (place + count + 2).storeBytes(of: UInt8(ascii: ":"), as: UInt8.self)
        out.advance(by: count + (isFirst ? 3 : 4))
        isFirst = false
    }

    mutating func string(_ name: StaticString, _ value: WireBytes, _ out: inout ByteBuffer) {
        guard value.count > 0 else { return }
        key(name, &out)
        out.append(jsonString: value)
    }

    /// A value that is JSON already.
    mutating func json(_ name: StaticString, _ value: WireBytes, _ out: inout ByteBuffer) {
        guard value.count > 0 else { return }
        key(name, &out)
        out.append(json: value)
    }

    mutating func number(_ name: StaticString, _ value: UInt64, _ out: inout ByteBuffer) {
        guard value != 0 else { return }
        key(name, &out)
        out.append(decimal: value)
    }

    mutating func number(_ name: StaticString, _ value: UInt32, _ out: inout ByteBuffer) {
        number(name, UInt64(value), &out)
    }

    mutating func flag(_ name: StaticString, _ value: Bool, _ out: inout ByteBuffer) {
        guard value else { return }
        key(name, &out)
        out.append("true")
    }

    /// Entries of a list.
    mutating func list(_ name: StaticString, _ entries: EncodedEntries, _ out: inout ByteBuffer) {
        guard entries.count > 0 else { return }
        key(name, &out)
        out.append(UInt8(ascii: "["))
        out.append(json: entries)
        out.append(UInt8(ascii: "]"))
    }

    /// Entries of a map.
    mutating func map(_ name: StaticString, _ entries: EncodedEntries, _ out: inout ByteBuffer) {
        guard entries.count > 0 else { return }
        key(name, &out)
        out.append(UInt8(ascii: "{"))
        out.append(json: entries)
        out.append(UInt8(ascii: "}"))
    }
}

/// Where the next byte of a message goes, for encoders that have reserved enough for all of it: one check of the space
/// instead of one per piece.
struct JSONCursor {
    private let start: UnsafeMutableRawPointer
    private var place: UnsafeMutableRawPointer

    /// A cursor at the start of memory that the caller knows to suffice.
    init(_ start: UnsafeMutableRawPointer) {
        self.start = start
        place = start
    }

    /// Bytes written so far.
    var count: Int { place - start }

    @inline(__always)
    mutating func put(_ literal: StaticString) {
        place.copyMemory(from: literal.utf8Start, byteCount: literal.utf8CodeUnitCount)
        place += literal.utf8CodeUnitCount
    }

    @inline(__always)
    mutating func put(_ bytes: WireBytes) {
        guard let base = bytes.baseAddress else { return }
        place.copyMemory(from: base, byteCount: bytes.count)
        place += bytes.count
    }

    @inline(__always)
    mutating func put(decimal value: UInt64) {
        var digits = 1
        var rest = value
        while rest >= 10 {
            rest /= 10
            digits += 1
        }
        rest = value
        var index = digits
        while index > 0 {
            index -= 1
            place.storeBytes(of: UInt8(ascii: "0") + UInt8(rest % 10), toByteOffset: index, as: UInt8.self)
            rest /= 10
        }
        place += digits
    }
}
