// One log event as one line: a JSON object for machines, a readable form for terminals. Nothing that a peer wrote can
// end a line, colour a terminal or turn its text around: control, line-separating and bidirectional characters come
// out as \uXXXX in both forms.
//
// Called on whatever thread logs. Bounded by LogLine.Limits: what is longer is cut and marked.

import Bytes
import Logging

/// Which form log lines have.
package enum LogStyle: Sendable, Equatable {
    /// One JSON object a line.
    case json
    /// Readable; with colours only where a person looks at a terminal.
    case text(colour: Bool)

    /// The style for a destination. `format` is what the operator asked for ("json" or "text"), nil = text on a
    /// terminal, JSON elsewhere. Colours need a terminal and no NO_COLOR.
    package static func suitable(format: String?, isTerminal: Bool, noColour: Bool) -> LogStyle {
        switch format {
        case "json": .json
        case "text": .text(colour: isTerminal && !noColour)
        default: isTerminal ? .text(colour: !noColour) : .json
        }
    }
}

/// Formats log events.
enum LogLine {
    /// What bounds one line.
    enum Limits {
        /// Bytes of the message's text.
        static let body = 8192
        /// Bytes of one attribute's text.
        static let value = 2048
        /// Attributes of one line, nested ones included; the rest is left out.
        static let attributes = 64
        /// Depth of nested attributes; what is deeper is left out.
        static let depth = 4
    }

    /// A line as bytes, with its newline.
    static func make(
        _ style: LogStyle, milliseconds: Int64, level: Logger.Level, body: String,
        attributes: [(key: String, value: Logger.MetadataValue)]
    ) -> [UInt8] {
        var line = LogLineBuilder()
        switch style {
        case .json:
            line.raw("{\"timestamp\":\"")
            line.timestamp(milliseconds)
            line.raw("\",\"severity_text\":\"")
            line.raw(level.severityText)
            line.raw("\",\"severity_number\":")
            line.raw(level.severityNumber)
            line.raw(",\"body\":\"")
            line.escaped(body, limit: Limits.body)
            line.raw("\",\"attributes\":{")
            line.jsonMembers(attributes, depth: 0)
            line.raw("}}\n")
        case .text(let colour):
            line.timestamp(milliseconds)
            line.raw(colour ? level.colour : " ")
            line.raw(level.severityText)
            line.raw(colour ? "\u{1B}[0m " : " ")
            line.escaped(body, limit: Limits.body)
            line.textAttributes(attributes)
            line.raw("\n")
        }
        return line.bytes
    }

    /// Whether an attribute of this name is never printed, whatever it holds.
    static func isSecret(_ key: String) -> Bool {
        let word = key.lowercased()
        return ["token", "secret", "password", "authorization", "cookie", "apikey", "api_key"]
            .contains { word.hasSuffix($0) }
    }
}

extension Logger.Level {
    /// OpenTelemetry's SeverityText.
    var severityText: String {
        switch self {
        case .trace: "TRACE"
        case .debug: "DEBUG"
        case .info: "INFO"
        case .notice: "NOTICE"
        case .warning: "WARN"
        case .error: "ERROR"
        case .critical: "FATAL"
        }
    }

    /// OpenTelemetry's SeverityNumber (notice is the second step of INFO).
    var severityNumber: String {
        switch self {
        case .trace: "1"
        case .debug: "5"
        case .info: "9"
        case .notice: "10"
        case .warning: "13"
        case .error: "17"
        case .critical: "21"
        }
    }

    fileprivate var colour: String {
        switch self {
        case .trace, .debug: " \u{1B}[2m"
        case .info, .notice: " \u{1B}[32m"
        case .warning: " \u{1B}[33m"
        case .error, .critical: " \u{1B}[31m"
        }
    }
}
