// How fast a room may be talked in: the generic cell rate algorithm (GCRA, ITU-T I.371), the same arithmetic as in the
// scripts for Redis (RateLua). Pure: no clock, no state of its own.
//
// A limit is a spacing and how far one may run ahead of it. All that is kept of a room or user is one number: when the
// next publication would be due if everything so far had been evenly spaced. Whoever is more than the tolerance ahead
// of that is refused, and a refusal changes nothing. So every window of any place admits at most burst + time/spacing:
// there is no window's edge at which twice as much passes.

/// One limit, in whole microseconds, made once from the configuration.
package struct RateLimit: Equatable, Sendable {
    /// A burst that lasts longer than this is no limit that anybody could wait for (30 days).
    package static let longestSpan: UInt64 = 30 * 86_400_000_000

    /// Time between two publications at the steady rate; at least 1.
    package let interval: UInt64
    /// How far publications may run ahead of their spacing: (burst - 1) × interval.
    package let tolerance: UInt64

    /// `count` publications in each `period`, evenly spaced, `burst` of them at once after a silence. The spacing is
    /// rounded up to a microsecond. Nil for more than a million a second, for a burst that lasts longer than
    /// `longestSpan`, and for what is not positive.
    package init?(count: Int, period: Duration, burst: Int) {
        let (seconds, attoseconds) = period.components
        let nanoseconds = Int128(seconds) * 1_000_000_000 + Int128(attoseconds / 1_000_000_000)
        let step = Int128(count) * 1000
        guard count > 0, burst > 0, nanoseconds >= step else { return nil }
        let spacing = (nanoseconds + step - 1) / step
        // Divided, not multiplied: no product of what an operator writes can overflow.
        guard spacing <= Int128(RateLimit.longestSpan) / Int128(burst) else { return nil }
        interval = UInt64(spacing)
        tolerance = interval * UInt64(burst - 1)
    }

    /// What becomes of a publication. Times are in microseconds.
    package enum Verdict: Equatable, Sendable {
        /// It passes: the next one is due at `due` from now on, and passes after `wait` at the earliest.
        case admitted(due: UInt64, wait: UInt64)
        /// It does not, and would after `wait`. Nothing changes.
        case refused(wait: UInt64)
    }

    /// Judges a publication at `now`, when `due` is what is kept (0: nothing). What lies further ahead than two
    /// spacings beyond the tolerance was never kept by this clock: it has gone back, or the number is nonsense. Then
    /// one publication passes, and what follows is spaced from here.
    package func judge(due kept: UInt64, now: UInt64) -> Verdict {
        let bound = now.adding(tolerance)
        var due = max(kept, now)
        if due > bound.adding(interval).adding(interval) { due = bound }
        guard due <= bound else { return .refused(wait: due - bound) }
        due = due.adding(interval)
        return .admitted(due: due, wait: due > bound ? due - bound : 0)
    }
}

extension UInt64 {
    /// The sum, or the largest number.
    fileprivate func adding(_ other: UInt64) -> UInt64 {
        let (sum, over) = addingReportingOverflow(other)
        return over ? .max : sum
    }
}

/// The limits of a room; each may be missing.
package struct RateLimits: Equatable, Sendable {
    /// Of all publications of the room together.
    package var room: RateLimit?
    /// Of the publications of one user in the room (slow mode).
    package var user: RateLimit?

    /// Nil when neither limit is there.
    package init?(room: RateLimit?, user: RateLimit?) {
        guard room != nil || user != nil else { return nil }
        self.room = room
        self.user = user
    }
}

/// What was limited.
package enum RateScope: UInt8, Sendable, CaseIterable {
    /// The room's publications, all users and instances together.
    case room
    /// One user's publications in one room.
    case user
    /// One connection's commands.
    case connection
    /// One connection's subscribes and unsubscribes.
    case churn
}

/// How long the limits hold, in microseconds; 0: a publication would pass at once.
package struct RateWaits: Equatable, Sendable {
    package var room: UInt64
    package var user: UInt64

    package init(room: UInt64 = 0, user: UInt64 = 0) {
        self.room = room
        self.user = user
    }

    /// Neither limit holds.
    package static let zero = RateWaits()

    /// Whether a publication has to wait.
    package var isHolding: Bool { room > 0 || user > 0 }

    /// Which limit holds; the room's when both do.
    package var scope: RateScope { room > 0 ? .room : .user }

    /// Milliseconds until a publication passes, rounded up.
    package var milliseconds: UInt64 {
        let wait = max(room, user)
        return wait / 1000 + (wait % 1000 == 0 ? 0 : 1)
    }
}
