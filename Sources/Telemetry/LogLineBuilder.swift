// The bytes of one log line while it is made: escaping, attributes, time stamps. Private to LogLine; a value on the
// stack of the thread that logs.

import Logging

struct LogLineBuilder {
    private(set) var bytes: [UInt8] = []
    private var attributesLeft = LogLine.Limits.attributes

    init() { bytes.reserveCapacity(256) }

    mutating func raw(_ text: String) { bytes.append(contentsOf: text.utf8) }

    /// Appends at most `limit` bytes of text, escaped as in a JSON string; what was cut is marked by an ellipsis.
    mutating func escaped(_ text: String, limit: Int) {
        var left = limit
        for scalar in text.unicodeScalars {
            left -= UTF8.width(scalar)
            guard left >= 0 else { return raw("…") }
            switch scalar.value {
            case 0x22: raw("\\\"")
            case 0x5C: raw("\\\\")
            case 0x0A: raw("\\n")
            case 0x0D: raw("\\r")
            case 0x09: raw("\\t")
            // Controls (C0, DEL, C1), line and paragraph separators, bidirectional overrides and isolates, and the
            // zero-width marks that make two different names look alike.
            case 0..<0x20, 0x7F..<0xA0, 0x200B...0x200F, 0x2028...0x202E, 0x2060...0x2069, 0xFEFF:
                escapedCode(scalar.value)
            default: bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            }
        }
    }

    private mutating func escapedCode(_ code: UInt32) {
        let digits = Array("0123456789abcdef".utf8)
        raw("\\u")
        for shift in [12, 8, 4, 0] as [UInt32] { bytes.append(digits[Int((code >> shift) & 15)]) }
    }

    /// Appends the members of a JSON object, without its braces.
    mutating func jsonMembers(_ members: [(key: String, value: Logger.MetadataValue)], depth: Int) {
        var separator = ""
        for (key, value) in members {
            guard attributesLeft > 0 else { return }
            attributesLeft -= 1
            raw(separator + "\"")
            escaped(key, limit: LogLine.Limits.value)
            raw("\":")
            if LogLine.isSecret(key) { raw("\"[redacted]\"") } else { jsonValue(value, depth: depth) }
            separator = ","
        }
    }

    private mutating func jsonValue(_ value: Logger.MetadataValue, depth: Int) {
        switch value {
        case .string(let text): jsonString(text)
        case .stringConvertible(let convertible): jsonScalar(convertible)
        case .dictionary, .array:
            guard depth < LogLine.Limits.depth else { return raw("\"…\"") }
            jsonContainer(value, depth: depth)
        }
    }

    private mutating func jsonContainer(_ value: Logger.MetadataValue, depth: Int) {
        if case .dictionary(let members) = value {
            raw("{")
            jsonMembers(members.sorted { $0.key < $1.key }, depth: depth + 1)
            return raw("}")
        }
        guard case .array(let elements) = value else { return }
        raw("[")
        var separator = ""
        for element in elements {
            guard attributesLeft > 0 else { break }
            attributesLeft -= 1
            raw(separator)
            jsonValue(element, depth: depth + 1)
            separator = ","
        }
        raw("]")
    }

    private mutating func jsonString(_ text: String) {
        raw("\"")
        escaped(text, limit: LogLine.Limits.value)
        raw("\"")
    }

    /// Numbers and truth values stay what they are, so that a log store can compare them.
    private mutating func jsonScalar(_ value: any CustomStringConvertible & Sendable) {
        switch value {
        case let number as any FixedWidthInteger: raw(String(describing: number))
        case let flag as Bool: raw(flag ? "true" : "false")
        case let number as Double where number.isFinite: raw(number.description)
        default: jsonString(value.description)
        }
    }

    /// Appends ` key=value` for each attribute.
    mutating func textAttributes(_ members: [(key: String, value: Logger.MetadataValue)]) {
        for (key, value) in members.prefix(LogLine.Limits.attributes) {
            raw(" ")
            escaped(key, limit: LogLine.Limits.value)
            raw("=")
            if LogLine.isSecret(key) {
                raw("[redacted]")
            } else if case .string(let text) = value, Self.isPlain(text) {
                escaped(text, limit: LogLine.Limits.value)
            } else {
                jsonValue(value, depth: 0)
            }
        }
    }

    private static func isPlain(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x3D && $0 != 0x5C }
    }

    /// Appends a moment as RFC 3339 in UTC with milliseconds.
    mutating func timestamp(_ milliseconds: Int64) {
        let day = 86_400_000 as Int64
        var days = milliseconds / day
        var rest = milliseconds % day
        if rest < 0 {
            rest += day
            days -= 1
        }
        let (year, month, dayOfMonth) = Self.civil(daysSinceEpoch: days)
        padded(year, 4, then: "-")
        padded(month, 2, then: "-")
        padded(dayOfMonth, 2, then: "T")
        padded(rest / 3_600_000, 2, then: ":")
        padded(rest / 60_000 % 60, 2, then: ":")
        padded(rest / 1000 % 60, 2, then: ".")
        padded(rest % 1000, 3, then: "Z")
    }

    private mutating func padded(_ value: Int64, _ width: Int, then end: String) {
        let digits = String(value)
        raw(String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits + end)
    }

    /// The proleptic Gregorian date of a day: years begin in March, so that the leap day is the last one, and 400
    /// years always have 146,097 days.
    private static func civil(daysSinceEpoch: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = daysSinceEpoch + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * marchMonth + 2) / 5 + 1)
    }
}
