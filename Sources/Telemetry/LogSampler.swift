// Keeps a peer's errors from filling the log: the first few of a window are logged, the rest only counted. Confined to
// the loop that owns it; bounded by being three numbers.

package import Bytes

/// Lets `burst` events of one sort through in each window.
package struct LogSampler: Sendable {
    private let burst: Int
    private let window: Duration
    private var windowEnd: MonotonicTime?
    private var used = 0
    private var suppressed = 0

    /// Allows `burst` events in each `window`.
    package init(burst: Int = 10, window: Duration = .seconds(10)) {
        self.burst = burst
        self.window = window
    }

    /// Nil when this event is not to be logged; else how many were left out since the last one that was.
    package mutating func admit(at now: MonotonicTime) -> Int? {
        if windowEnd.map({ now >= $0 }) ?? true {
            windowEnd = now + window
            used = 0
        }
        guard used < burst else {
            suppressed += 1
            return nil
        }
        used += 1
        defer { suppressed = 0 }
        return suppressed
    }
}
