// A JSON document in the order in which it was said. Reports are small and flat; Foundation's encoder would cost more
// memory than the tool itself. Used by the coordinator only.

/// A JSON value that keeps the order of its keys.
package indirect enum JSONText: Sendable {
    case text(String)
    case whole(UInt64)
    /// Written with at most three digits after the point; what is not finite becomes null.
    case number(Double)
    case flag(Bool)
    case list([JSONText])
    case object([(String, JSONText)])
    case null

    /// The document, indented by two spaces a level.
    package func rendered(indent: Int = 0) -> String {
        let inner = String(repeating: " ", count: indent + 2)
        let outer = String(repeating: " ", count: indent)
        switch self {
        case .text(let text): return JSONText.quoted(text)
        case .whole(let value): return String(value)
        case .number(let value): return value.isFinite ? JSONText.short(value) : "null"
        case .flag(let value): return value ? "true" : "false"
        case .null: return "null"
        case .list(let values):
            if values.isEmpty { return "[]" }
            let lines = values.map { inner + $0.rendered(indent: indent + 2) }
            return "[\n" + lines.joined(separator: ",\n") + "\n" + outer + "]"
        case .object(let fields):
            if fields.isEmpty { return "{}" }
            let lines = fields.map { inner + JSONText.quoted($0.0) + ": " + $0.1.rendered(indent: indent + 2) }
            return "{\n" + lines.joined(separator: ",\n") + "\n" + outer + "}"
        }
    }

    /// `value` with at most three digits after the point.
    package static func short(_ value: Double) -> String {
        let scaled = (value * 1000).rounded()
        guard abs(scaled) < 9e15 else { return String(value) }
        let whole = Int64(scaled)
        let fraction = whole.magnitude % 1000
        let text = (whole < 0 ? "-" : "") + String(whole.magnitude / 1000)
        guard fraction > 0 else { return text }
        var digits = String(fraction + 1000).dropFirst()
        while digits.hasSuffix("0") { digits.removeLast() }
        return text + "." + digits
    }

    private static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            default:
                if scalar.value < 0x20 {
                    let hex = String(scalar.value, radix: 16)
                    out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        return out + "\""
    }
}
