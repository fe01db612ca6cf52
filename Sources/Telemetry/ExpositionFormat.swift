// Which of the two text formats a scraper gets, and how numbers look in them.
//
// Called by the admin listener, off the loops. Sources: Prometheus text format 0.0.4, OpenMetrics 1.0.0.

import Bytes

/// A text format for metrics.
package enum ExpositionFormat: Sendable {
    /// Prometheus text format 0.0.4.
    case prometheus
    /// OpenMetrics 1.0.0.
    case openMetrics

    /// The format for an `Accept` header: OpenMetrics only for those who name it with a version that we speak and
    /// without refusing it (`q=0`), else the older format that everything reads.
    package init(accept: String) {
        self = .prometheus
        for range in accept.split(separator: ",") {
            let parts = range.split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() }
            guard parts.first == "application/openmetrics-text" else { continue }
            let parameters = parts.dropFirst()
            let version = parameters.first { $0.hasPrefix("version=") }?.dropFirst(8)
            let refused = parameters.contains { ["q=0", "q=0.0", "q=0.00", "q=0.000"].contains($0) }
            if !refused, version == nil || version == "1.0.0" { self = .openMetrics }
        }
    }

    /// Value of the `Content-Type` header.
    package var contentType: StaticString {
        switch self {
        case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
    }
}

extension ByteBuffer {
    /// Appends nanoseconds as seconds without trailing zeros: 250,000 → `0.00025`. With `point`, a whole number keeps
    /// a fraction (`1.0`), as OpenMetrics wants it in `le`.
    mutating func append(seconds nanoseconds: UInt64, point: Bool = false) {
        append(decimal: nanoseconds / 1_000_000_000)
        var rest = nanoseconds % 1_000_000_000
        guard rest > 0 || point else { return }
        append(UInt8(ascii: "."))
        guard rest > 0 else { return append(UInt8(ascii: "0")) }
        var digit: UInt64 = 100_000_000
        while rest > 0 {
            append(UInt8(ascii: "0") + UInt8(rest / digit))
            rest %= digit
            digit /= 10
        }
    }

    /// Appends a signed number.
    mutating func append(signed value: Int64) {
        if value < 0 { append(UInt8(ascii: "-")) }
        append(decimal: value.magnitude)
    }

    /// Appends a label's value with the three characters escaped that the formats escape.
    mutating func append(labelValue text: String) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): append("\\\\")
            case UInt8(ascii: "\""): append("\\\"")
            case UInt8(ascii: "\n"): append("\\n")
            default: append(byte)
            }
        }
    }
}
