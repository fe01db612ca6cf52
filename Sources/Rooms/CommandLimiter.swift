// How fast one client may talk: the pace of its commands, of its bytes, and of its comings and goings in rooms, and how
// long a client that is told to wait may go on all the same. Pure integer arithmetic on moments that are handed in;
// the state of a pace is one word. Used by LoopRooms+Limits on the loop, and by the gateway's admission.
//
// Not RateLimit, which is the same algorithm in the microseconds and with the clock rules of the scripts for Redis:
// that one must agree with Redis to the last digit, this one must take many units at once and fit a word in a session.

package import Bytes

/// A rate with a burst, as the generic cell rate algorithm keeps it (ITU-T I.371): the state is the moment until which
/// what was used is paid for. Every unit moves it on by an interval, and it may lie ahead of now by the burst at most.
package struct Pace: Sendable, Equatable {
    /// Nanoseconds a unit costs, times 2¹⁶, so that a byte of a fast pace costs more than nothing; 0: no limit.
    private var cost: UInt64 = 0
    /// Nanoseconds that may be used in advance.
    private var capacity: UInt64 = 0

    /// No limit.
    package static let none = Pace()
    private init() {}

    /// `units` in each `period` on average, at most `burst` of them at once. A pace slower than one unit in 39 hours
    /// counts as that.
    package init(_ units: Int, per period: Duration, burst: Int) {
        let whole = UInt128(max(1, period.wholeNanoseconds)) << 16
        let each = min(max(1, whole / UInt128(max(1, units))), 1 << 63)
        cost = UInt64(clamping: each)
        capacity = max(UInt64(clamping: min((each * UInt128(max(1, burst))) >> 16, 1 << 62)), cost >> 16)
    }

    /// Whether there is a limit at all.
    package var isOn: Bool { cost > 0 }

    /// Takes `units` at `now` from the pace whose state is `due` (0 at first): 0 when they may pass, else the
    /// nanoseconds after which they could, and nothing was taken. More units than the burst never pass.
    package func take(_ due: inout UInt64, _ units: Int = 1, at now: MonotonicTime) -> UInt64 {
        let (next, wait) = next(due, units, at: now)
        if wait == 0 { due = next }
        return wait
    }

    /// The state after `units` more, and the nanoseconds to wait before they may pass; 0: now.
    package func next(_ due: UInt64, _ units: Int = 1, at now: MonotonicTime) -> (due: UInt64, wait: UInt64) {
        let product = cost.multipliedFullWidth(by: UInt64(clamping: units))
        // What costs more than the burst never passes, so its price need not be exact. None of the sums can overflow:
        // a price is below 2⁶³, and the state at most the capacity, below 2⁶³, ahead of a clock that is far from 2⁶³.
        let price = product.high >> 15 > 0 ? capacity + 1 : product.high << 48 | product.low >> 16
        let start = max(due, now.nanoseconds)
        let ahead = start - now.nanoseconds + price
        return (start + price, ahead > capacity ? ahead - capacity : 0)
    }
}

/// What holds for each client connection; all of it off in a fresh value.
package struct ConnectionLimits: Sendable {
    /// Commands, whatever they are, but for pongs.
    package var commands = Pace.none
    /// Bytes of messages. The burst must hold the longest message.
    package var bytes = Pace.none
    /// `subscribe` and `unsubscribe` together: what makes work for the cluster beyond this connection.
    package var churn = Pace.none
    /// How long a client may go on sending while it is told to wait, before it is closed with 3013.
    package var patience = Duration.seconds(5)

    package init() {}

    /// Whether anything is limited.
    package var isOn: Bool { commands.isOn || bytes.isOn || churn.isOn }
}

/// Whether a client that is refused heeds it. A refusal holds the client until its time is over; what is refused
/// within a hold was sent in defiance of it. The time over which it goes on like that adds up, and as much time of
/// peace takes it away again; more of it than the patience is abuse. A client that sends nothing before its hold is
/// over is never at fault, and neither is one whose single burst was refused and that then keeps still.
package struct Defiance: Sendable {
    /// Nanoseconds between two defiant commands up to which the one goes on where the other was; more are peace.
    private static let pause: UInt64 = 1_000_000_000
    private var heldUntil: UInt64 = 0
    /// When the last defiant command came; 0: none has.
    private var lastDefied: UInt64 = 0
    /// Nanoseconds of defiance that are not made up for.
    private var level: UInt64 = 0

    package init() {}

    /// Something was refused at `now`, with `wait` nanoseconds to go. Whether that is one too many.
    package mutating func refuse(at now: MonotonicTime, wait: UInt64, patience: Duration) -> Bool {
        let now = now.nanoseconds
        guard now < heldUntil else {
            let (end, over) = now.addingReportingOverflow(wait)
            heldUntil = over ? .max : end
            return false
        }
        let gap = lastDefied == 0 ? 0 : now - min(now, lastDefied)
        level = gap > Defiance.pause ? level - min(level, gap) : level + gap
        lastDefied = now
        return level >= UInt64(max(0, patience.wholeNanoseconds))
    }
}

/// What is known of a client that was refused; most never are, and have none.
final class Misconduct {
    var commands = Defiance()
    var churn = Defiance()
}
