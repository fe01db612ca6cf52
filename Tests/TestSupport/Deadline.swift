// Waiting in tests: always for something, never for a fixed time, and never for ever.

import Glibc
package import Testing

/// A moment after which waiting has failed.
package struct Deadline: Sendable {
    private let end: Int64

    /// So many seconds from now. Generous by default: it only passes when something is broken.
    package init(seconds: Double = 20) { end = Deadline.now() + Int64(seconds * 1000) }

    /// Milliseconds that are left, 0 when it has passed.
    package var left: Int32 { Int32(clamping: max(0, end - Deadline.now())) }

    /// Whether it has passed.
    package var hasPassed: Bool { left == 0 }

    /// Milliseconds of the monotonic clock.
    package static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

/// What went wrong in a test's own machinery: waiting in vain, or a call that failed.
package struct TestFailure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// Waits until `condition` holds; records an issue when it does not in time. For what cannot be waited for on a socket.
@discardableResult
package func wait(
    until what: String, _ deadline: Deadline = Deadline(), location: SourceLocation = #_sourceLocation,
    _ condition: () throws -> Bool
) rethrows -> Bool {
    while try !condition() {
        guard !deadline.hasPassed else {
            Issue.record("waited in vain until \(what)", sourceLocation: location)
            return false
        }
        poll(nil, 0, 2)
    }
    return true
}
