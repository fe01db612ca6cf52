// Wakes a worker's loop when messages are due. The loop's own timers tick every 4 ms, which would show as latency; a
// thread that sleeps until a given nanosecond is exact to about 0.1 ms and costs one letter per wake. A letter that the
// loop has not taken yet covers whatever becomes due meanwhile.

import Bytes
import Glibc
package import Reactor
import Synchronization

/// A thread that follows a schedule.
package final class Pacer: Sendable {
    /// The kind of the letters that it sends.
    package static let letterKind: UInt32 = 1

    private let isStopped = Atomic<Bool>(false)
    private let loop: Loop
    private let schedule: RateSchedule

    /// A pacer for `loop`, which does nothing before `start`.
    package init(loop: Loop, schedule: RateSchedule) {
        self.loop = loop
        self.schedule = schedule
    }

    /// Starts the thread; false when the system has none left.
    package func start() -> Bool {
        var thread = pthread_t()
        let retained = Unmanaged.passRetained(self)
        let status = pthread_create(
            &thread, nil,
            { raw in
                if let raw { Unmanaged<Pacer>.fromOpaque(raw).takeRetainedValue().follow() }
                return nil
            }, retained.toOpaque())
        guard status == 0 else {
            retained.release()
            return false
        }
        pthread_detach(thread)
        return true
    }

    /// Ends the thread at its next wake.
    package func stop() { isStopped.store(true, ordering: .relaxed) }

    private func follow() {
        var schedule = schedule
        while !isStopped.load(ordering: .relaxed) {
            let due = schedule.next.nanoseconds
            var until = timespec(tv_sec: Int(due / 1_000_000_000), tv_nsec: Int(due % 1_000_000_000))
            while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nil) == EINTR {}
            loop.send(Letter(kind: Pacer.letterKind))
            let now = MonotonicTime.now()
            while schedule.take(now: now) != nil {}
        }
    }
}
