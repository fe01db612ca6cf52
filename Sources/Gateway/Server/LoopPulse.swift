// Whether every loop still turns: each loop stamps its cell four times a second, /livez compares the stamps with now.
// The same timer measures how late it fires, which is the loop's lag.

import Bytes
import Reactor
import Synchronization
import Telemetry

/// When each loop last turned. Written by the loops, read by the admin listener.
final class LoopPulse: Sendable {
    static let interval = Duration.milliseconds(250)
    /// A loop that was silent for so long is reported.
    static let patience = Duration.seconds(3)

    private let stamp: Atomic<UInt64>

    init() { stamp = Atomic(MonotonicTime.now().nanoseconds) }

    /// Begins to stamp. On the loop.
    func start(on loop: Loop) {
        let due = loop.now + LoopPulse.interval
        loop.schedule(after: LoopPulse.interval) { [self] in
            let now = MonotonicTime.now()
            stamp.store(now.nanoseconds, ordering: .relaxed)
            // A timer is at most a tick late by design; what is above that is lag.
            let late = now.since(due) - .nanoseconds(Int64(TimerWheel.tick))
            loop.metrics.observe(.loopLag, max(.zero, late))
            start(on: loop)
        }
    }

    /// How long the loop has been silent.
    var silence: Duration {
        MonotonicTime.now().since(MonotonicTime(nanoseconds: stamp.load(ordering: .relaxed)))
    }
}
