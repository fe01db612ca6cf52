// How durations, sizes and rates are written: read strictly, without a trap on any number, and printed so that what is
// printed can be read again.
//
// Called at start by the setting tables, the printer and the document.

/// An allowance: so many in so much time.
package struct Rate: Sendable, Equatable {
    /// How many.
    package var count: Int
    /// In how much time.
    package var period: Duration
}

/// Readers and printers of values with units.
enum ConfigurationUnits {
    /// `300s`, `1.5s`, `10m`, `250ms`: digits, at most nine behind the point, then ns, us, ms, s, m, h or d. Nil when
    /// it is anything else or longer than a century.
    static func duration(_ text: String) -> Duration? {
        let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let nanosecondsPerUnit: Int64
        switch text.dropFirst(number.count) {
        case "ns": nanosecondsPerUnit = 1
        case "us", "µs": nanosecondsPerUnit = 1000
        case "ms": nanosecondsPerUnit = 1_000_000
        case "s": nanosecondsPerUnit = 1_000_000_000
        case "m": nanosecondsPerUnit = 60_000_000_000
        case "h": nanosecondsPerUnit = 3_600_000_000_000
        case "d": nanosecondsPerUnit = 86_400_000_000_000
        default: return nil
        }
        let parts = number.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let whole = digits(first), parts.count < 3 else { return nil }
        let (scaled, over) = whole.multipliedReportingOverflow(by: nanosecondsPerUnit)
        guard !over, scaled <= 36_525 * 86_400_000_000_000 else { return nil }
        guard parts.count == 2 else { return .nanoseconds(scaled) }
        guard let fraction = digits(parts[1]), parts[1].count <= 9 else { return nil }
        let divisor = (0..<parts[1].count).reduce(Int64(1)) { value, _ in value * 10 }
        // At most 10⁹ × 8.64·10¹³: beyond Int64, so in 128 bits.
        let product = Int128(fraction) * Int128(nanosecondsPerUnit)
        guard product % Int128(divisor) == 0 else { return nil }
        return .nanoseconds(scaled) + .nanoseconds(Int64(clamping: product / Int128(divisor)))
    }

    /// The duration in the largest of s, ms, us and ns in which it is whole.
    static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let nanoseconds = attoseconds / 1_000_000_000
        if nanoseconds == 0 { return "\(seconds)s" }
        let total = Int128(seconds) * 1_000_000_000 + Int128(nanoseconds)
        if nanoseconds % 1_000_000 == 0 { return "\(total / 1_000_000)ms" }
        if nanoseconds % 1000 == 0 { return "\(total / 1000)us" }
        return "\(total)ns"
    }

    /// `65536`, `64KiB`, `1MiB`, `2GiB`, `512B`; nil when it is anything else or does not fit.
    static func size(_ text: String) -> Int? {
        let number = text.prefix { $0.isASCII && $0.isNumber }
        let unit: Int64
        switch text.dropFirst(number.count) {
        case "", "B": unit = 1
        case "KiB": unit = 1 << 10
        case "MiB": unit = 1 << 20
        case "GiB": unit = 1 << 30
        default: return nil
        }
        guard let whole = digits(number) else { return nil }
        let (scaled, over) = whole.multipliedReportingOverflow(by: unit)
        return over ? nil : Int(exactly: scaled)
    }

    /// The size in the largest unit in which it is whole.
    static func text(size: Int) -> String {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] where size > 0 && size % (1 << shift) == 0 {
            return "\(size >> shift)\(unit)"
        }
        return "\(size)B"
    }

    /// `50/s`, `1/5s`, `100/1m`; `0` = no limit. The outer nil means that it is anything else.
    static func rate(_ text: String) -> Rate?? {
        if text == "0" { return .some(nil) }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let count = digits(parts[0]), count > 0, let last = parts.last else { return nil }
        let period = last.first.map { $0.isNumber } ?? false ? String(last) : "1" + last
        guard let duration = duration(period), duration > .zero, let number = Int(exactly: count) else { return nil }
        return .some(Rate(count: number, period: duration))
    }

    /// The rate as `rate(_:)` reads it.
    static func text(_ rate: Rate?) -> String {
        guard let rate else { return "0" }
        return rate.period == .seconds(1) ? "\(rate.count)/s" : "\(rate.count)/\(text(rate.period))"
    }

    /// Decimal digits only: no sign, no blank, no other script's digits.
    private static func digits(_ text: some StringProtocol) -> Int64? {
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
        return Int64(text)
    }
}
