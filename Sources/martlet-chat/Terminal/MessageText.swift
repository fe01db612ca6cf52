// The text inside a message's JSON, and JSON out of text. Chat messages are `{"text": "…"}`; a bare string is
// accepted as well, and of anything else people see the JSON itself. Used by the views and by the shell when it
// publishes.
//
// The bytes come from peers through a server that we do not control, so nothing is assumed to be valid; one pass
// without recursion, so that nesting costs nothing (RFC 8259).

/// Reads and writes the text of a message.
package enum MessageText {
    /// The JSON that is published for `text`: `{"text":"…"}`.
    package static func write(_ text: String) -> [UInt8] {
        var out = Array(#"{"text":"#.utf8)
        JSONText.append(string: text, to: &out)
        out.append(0x7D)
        return out
    }

    /// The text of a JSON string, or the member `text` of a JSON object; nil where there is none.
    package static func read(_ json: [UInt8]) -> String? {
        var reader = JSONText.Reader(json)
        reader.skipSpace()
        if reader.peek == 0x22 { return reader.string() }
        guard reader.take(0x7B) else { return nil }
        while true {
            reader.skipSpace()
            guard let name = reader.string() else { return nil }
            reader.skipSpace()
            guard reader.take(0x3A) else { return nil }
            reader.skipSpace()
            if name == "text" { return reader.string() }
            guard reader.skipValue() else { return nil }
            reader.skipSpace()
            guard reader.take(0x2C) else { return nil }
        }
    }
}

/// The little JSON that the terminal client needs.
package enum JSONText {
    /// Appends `text` as a JSON string in which every control, bidirectional or invisible scalar is escaped, so that
    /// the line is safe to print and still loses nothing.
    package static func append(string text: String, to out: inout [UInt8]) {
        out.append(0x22)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += [0x5C, 0x22]
            case "\\": out += [0x5C, 0x5C]
            case "\n": out += [0x5C, 0x6E]
            case "\t": out += [0x5C, 0x74]
            default: append(scalar, to: &out)
            }
        }
        out.append(0x22)
    }

    /// Appends the JSON value `raw` (as a peer sent it) on one line and without anything that a terminal could obey.
    /// Outside strings valid JSON is ASCII and its only controls are white space, so the escapes land in strings.
    package static func append(raw: [UInt8], to out: inout [UInt8]) {
        for scalar in String(decoding: raw, as: UTF8.self).unicodeScalars {
            if scalar.value < 0x20 { continue }
            append(scalar, to: &out)
        }
    }

    private static func append(_ scalar: Unicode.Scalar, to out: inout [UInt8]) {
        if ShownText.isAllowed(scalar) {
            out.append(contentsOf: UTF8.encode(scalar).map(Array.init) ?? [])
            return
        }
        for unit in UTF16.encode(scalar).map(Array.init) ?? [] {
            out += [0x5C, 0x75]
            for shift in [12, 8, 4, 0] {
                let digit = UInt8((unit >> shift) & 0xF)
                out.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
            }
        }
    }

    /// A cursor over JSON bytes.
    struct Reader {
        private let bytes: [UInt8]
        private var position = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

        mutating func take(_ byte: UInt8) -> Bool {
            guard peek == byte else { return false }
            position += 1
            return true
        }

        mutating func skipSpace() {
            while let byte = peek, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { position += 1 }
        }

        /// Steps over one value of any kind; false at the end of the bytes.
        mutating func skipValue() -> Bool {
            var depth = 0
            while let byte = peek {
                switch byte {
                case 0x22: guard string() != nil else { return false }
                case 0x7B, 0x5B:
                    depth += 1
                    position += 1
                case 0x7D, 0x5D:
                    guard depth > 0 else { return true }
                    depth -= 1
                    position += 1
                    if depth == 0 { return true }
                    continue
                case 0x2C where depth == 0: return true
                default: position += 1
                }
                if depth == 0, byte == 0x22 { return true }
            }
            return false
        }

        /// Reads a string at the cursor.
        mutating func string() -> String? {
            guard take(0x22) else { return nil }
            var units: [UInt8] = []
            var utf16: [UInt16] = []
            while let byte = peek {
                position += 1
                if byte == 0x5C {
                    guard let escape = peek else { return nil }
                    position += 1
                    if escape == 0x75 {
                        guard let unit = hexadecimal() else { return nil }
                        utf16.append(unit)
                        continue
                    }
                    guard let plain = Self.plain(escape) else { return nil }
                    Self.flush(&utf16, into: &units)
                    units.append(plain)
                    continue
                }
                Self.flush(&utf16, into: &units)
                if byte == 0x22 { return String(decoding: units, as: UTF8.self) }
                units.append(byte)
            }
            return nil
        }

        private static func flush(_ utf16: inout [UInt16], into units: inout [UInt8]) {
            guard !utf16.isEmpty else { return }
            units += Array(String(decoding: utf16, as: UTF16.self).utf8)
            utf16.removeAll()
        }

        private static func plain(_ escape: UInt8) -> UInt8? {
            switch escape {
            case 0x22, 0x5C, 0x2F: escape
            case 0x62: 0x08
            case 0x66: 0x0C
            case 0x6E: 0x0A
            case 0x72: 0x0D
            case 0x74: 0x09
            default: nil
            }
        }

        private mutating func hexadecimal() -> UInt16? {
            var value: UInt16 = 0
            for _ in 0..<4 {
                guard let digit = peek.flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }),
                    let digit = UInt16(exactly: digit)
                else { return nil }
                value = value << 4 | digit
                position += 1
            }
            return value
        }
    }
}
