// The one place that reads clocks. Everything below the shell is told what time it is.
// Called by loops once an iteration and by measurements; a system call without a switch to the kernel (vDSO).

package import Bytes
import CLinux
import Glibc

extension MonotonicTime {
    /// The current moment (CLOCK_MONOTONIC).
    package static func now() -> MonotonicTime { MonotonicTime(nanoseconds: martlet_now()) }
}

/// Wall-clock time for what people and other machines read; never used for a deadline.
package enum WallClock {
    /// Milliseconds since 1970-01-01 UTC.
    package static func unixMilliseconds() -> UInt64 { martlet_unix_milliseconds() }
}
