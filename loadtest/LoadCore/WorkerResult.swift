// What a worker found, and the lines of text in which it tells the coordinator: `count key value`, `latency name µs
// times`, `failure reason times`. Results of several workers add up. Written on the worker's loop at the end of a run,
// read by the coordinator.

/// Counts, latencies and failures of a run.
package struct WorkerResult: Sendable {
    /// Named counters; see the report for their meaning.
    package var counts: [String: UInt64] = [:]
    /// Named latencies.
    package var latencies: [String: LatencyHistogram] = [:]
    /// How connections failed or ended before their time.
    package var failures: [String: UInt64] = [:]

    /// Nothing yet.
    package init() {}

    /// The counter `key`, 0 if nobody counted it.
    package subscript(_ key: String) -> UInt64 {
        get { counts[key] ?? 0 }
        set { counts[key] = newValue }
    }

    /// Adds a ledger's totals.
    mutating func add(_ delivery: DeliveryCounts) {
        self["delivered"] += delivery.unique
        self["duplicates"] += delivery.duplicates
        self["misordered"] += delivery.misordered
        self["strangers"] += delivery.strangers
        self["gaps"] += delivery.gaps
    }

    /// All of it as lines.
    package var lines: [String] {
        counts.sorted { $0.key < $1.key }.map { "count \($0.key) \($0.value)" }
            + failures.sorted { $0.key < $1.key }.map { "failure \($0.value) \($0.key)" }
            + latencies.sorted { $0.key < $1.key }.flatMap { name, histogram in
                histogram.entries.map { "latency \(name) \($0.microseconds) \($0.times)" }
            }
    }

    /// Adds what one line says; false when it is none of ours.
    package mutating func add(_ line: String) -> Bool {
        let words = line.split(separator: Character(" "), maxSplits: 3).map(String.init)
        switch words.first {
        case "count":
            guard words.count == 3, let value = UInt64(words[2]) else { return false }
            counts[words[1], default: 0] += value
        case "failure":
            guard words.count > 2, let value = UInt64(words[1]) else { return false }
            failures[words[2...].joined(separator: " "), default: 0] += value
        case "latency":
            guard words.count == 4, let value = UInt64(words[2]), let times = UInt64(words[3]) else { return false }
            latencies[words[1], default: LatencyHistogram()].record(microseconds: value, times: times)
        default: return false
        }
        return true
    }
}
