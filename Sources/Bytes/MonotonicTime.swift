// Time as the sans-IO modules see it: a number that is handed in. Reading the clock is the Reactor's business, so that
// tests and simulations decide what time it is.

/// A moment on the monotonic clock, in nanoseconds since an arbitrary start. Never wall-clock time.
package struct MonotonicTime: Comparable, Hashable, Sendable {
    /// Nanoseconds since the clock's start.
    package var nanoseconds: UInt64

    /// The moment `nanoseconds` after the clock's start.
    package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    package static func < (a: MonotonicTime, b: MonotonicTime) -> Bool { a.nanoseconds < b.nanoseconds }

    /// The moment `duration` later; saturates at both ends of the clock.
    package static func + (time: MonotonicTime, duration: Duration) -> MonotonicTime {
        let delta = duration.wholeNanoseconds
        if delta >= 0 {
            let (sum, over) = time.nanoseconds.addingReportingOverflow(UInt64(delta))
            return MonotonicTime(nanoseconds: over ? .max : sum)
        }
        let (difference, under) = time.nanoseconds.subtractingReportingOverflow(delta.magnitude)
        return MonotonicTime(nanoseconds: under ? 0 : difference)
    }

    /// How long after `earlier` this moment is; negative if it is before.
    package func since(_ earlier: MonotonicTime) -> Duration {
        self >= earlier
            ? .nanoseconds(Int64(clamping: nanoseconds - earlier.nanoseconds))
            : .nanoseconds(-Int64(clamping: earlier.nanoseconds - nanoseconds))
    }
}

extension Duration {
    /// The duration in nanoseconds, clamped to what an `Int64` holds (292 years).
    package var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (scaled, over) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if over { return seconds < 0 ? .min : .max }
        let (sum, carry) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
        return carry ? (seconds < 0 ? .min : .max) : sum
    }

    /// The duration in milliseconds, rounded towards zero.
    package var wholeMilliseconds: Int64 { wholeNanoseconds / 1_000_000 }
}
