// The open arrival model: message n is due at start + n / rate, whatever became of the ones before. So a server that
// stalls is not spared the messages that would have come meanwhile (no coordinated omission). Pure arithmetic on
// times that are handed in; used by the worker's loop and pacing thread.

package import Bytes

/// Fixed send times at a steady rate.
package struct RateSchedule: Equatable, Sendable {
    /// When message 0 is due.
    package let start: MonotonicTime
    /// Messages a second.
    package let rate: Double
    /// Messages handed out by `take` so far.
    package private(set) var taken: UInt64 = 0

    /// A schedule of `rate` messages a second, which must be above 0.
    package init(start: MonotonicTime, rate: Double) {
        precondition(rate > 0 && rate.isFinite)
        self.start = start
        self.rate = rate
    }

    /// When message `index` is due. Computed from the start each time, so that rounding never adds up.
    package func due(_ index: UInt64) -> MonotonicTime {
        let offset = (Double(index) * 1e9 / rate).rounded()
        return MonotonicTime(nanoseconds: start.nanoseconds + (UInt64(exactly: min(offset, 9e18)) ?? 0))
    }

    /// When the next message that was not taken yet is due.
    package var next: MonotonicTime { due(taken) }

    /// Takes the next message if it is due at `now`; returns its intended time. Called until nil, it catches up.
    package mutating func take(now: MonotonicTime) -> MonotonicTime? {
        let intended = next
        guard intended <= now else { return nil }
        taken += 1
        return intended
    }
}
