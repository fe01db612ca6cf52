// The stretch of a run that is measured: after the warm-up, before the drain. Throughput counts what arrives in it, as
// the processor time is read at its two ends; latency counts what was due in it, however late it comes, or the slowest
// messages would be the ones left out. Used by the drivers on the worker's loop.

package import Bytes

/// From when until when a run is measured.
package struct MeasuringWindow: Sendable {
    private var from = MonotonicTime(nanoseconds: .max)
    private var until = MonotonicTime(nanoseconds: .max)
    /// Whether messages are still to be sent.
    package private(set) var isRunning = false
    /// Arrivals in the window.
    package private(set) var arrivals: UInt64 = 0

    /// A window that has not begun.
    package init() {}

    /// Begins to send; measuring begins at `from`.
    package mutating func open(from: MonotonicTime, until: MonotonicTime) {
        self.from = from
        self.until = until
        isRunning = true
    }

    /// Ends sending.
    package mutating func stop() { isRunning = false }

    /// Whether `moment` is measured.
    package func contains(_ moment: MonotonicTime) -> Bool { moment >= from && moment < until }

    /// Enters a message that came at `arrival` and was due at `due` nanoseconds.
    package mutating func count(arrival: MonotonicTime, due: UInt64, in histogram: inout LatencyHistogram) {
        if contains(arrival) { arrivals += 1 }
        if contains(MonotonicTime(nanoseconds: due)) {
            histogram.record(nanoseconds: arrival.nanoseconds > due ? arrival.nanoseconds - due : 0)
        }
    }
}
