// Latencies in microseconds with three significant digits, from 1 µs to an hour. Recorded on a worker's loop, sent to
// the coordinator as text, added up there. Percentiles of parts cannot be added; histograms can.

import Histogram

/// A histogram of latencies.
package struct LatencyHistogram: Sendable {
    /// Longest latency that is told apart, in microseconds; what is longer counts as this.
    package static let longest: UInt64 = 3_600_000_000

    private var histogram = Histogram<UInt64>(
        lowestDiscernibleValue: 1, highestTrackableValue: longest, numberOfSignificantValueDigits: .three)

    /// An empty histogram.
    package init() {}

    /// Counts a latency given in nanoseconds.
    package mutating func record(nanoseconds: UInt64) { record(microseconds: nanoseconds / 1000, times: 1) }

    /// Counts a latency `times` times.
    package mutating func record(microseconds: UInt64, times: UInt64) {
        _ = histogram.record(min(microseconds, LatencyHistogram.longest), count: times)
    }

    /// How many latencies were counted.
    package var count: UInt64 { histogram.totalCount }
    /// Mean in microseconds.
    package var mean: Double { count > 0 ? histogram.mean : 0 }
    /// Longest in microseconds.
    package var longestSeen: UInt64 { count > 0 ? histogram.max : 0 }

    /// The latency that `percent` percent of all did not exceed, in microseconds.
    package func percentile(_ percent: Double) -> UInt64 { count > 0 ? histogram.valueAtPercentile(percent) : 0 }

    /// Every value that occurs, with its count.
    package var entries: [(microseconds: UInt64, times: UInt64)] {
        histogram.recordedValues().map { ($0.value, $0.count) }
    }

    /// The percentiles that reports show.
    package static let reported: [(name: String, percent: Double)] = [
        ("p50", 50), ("p90", 90), ("p99", 99), ("p99.9", 99.9), ("p99.99", 99.99),
    ]

    /// The histogram's figures in microseconds.
    package var json: JSONText {
        var fields: [(String, JSONText)] = [("count", .whole(count)), ("mean_us", .number(mean))]
        for (name, percent) in LatencyHistogram.reported {
            let key = name.map { $0 == "." ? "_" : String($0) }.joined() + "_us"
            fields.append((key, .whole(percentile(percent))))
        }
        return .object(fields + [("max_us", .whole(longestSeen))])
    }

    /// One line: percentiles and maximum in milliseconds.
    package var line: String {
        let parts = LatencyHistogram.reported.map {
            "\($0.name) \(LatencyHistogram.milliseconds(percentile($0.percent)))"
        }
        return (parts + ["max \(LatencyHistogram.milliseconds(longestSeen))"]).joined(separator: "  ") + "  ms"
    }

    private static func milliseconds(_ microseconds: UInt64) -> String { JSONText.short(Double(microseconds) / 1000) }
}
