// Keeps commands from a server that refuses each of them: Redis at its memory limit, with a full disk, or busy with a
// script is connected and answers at once, so that no link breaks and every publish would cost it an attempt.
//
//               threshold refusals in a row               the wait is over, admits
//     closed ─────────────────────────────────▶ open ─────────────────────────────────▶ half-open
//     ▲    ▲                                    ▲                                        │      │
//     │    └─ success: counts from 0            └─ failure, abandoned: a longer wait ────┘      │
//     └───────────────────────────────── success of the trial ──────────────────────────────────┘
//
// Whoever was admitted tells how it went: `succeeded`, `failed` or `abandoned`. Answers to commands that were admitted
// before it opened change nothing while it is open; one that comes during a trial speaks for the trial, which costs one
// wait at most. Sans-IO: `now` and randomness are handed in. Loop-confined.

package import Bytes

/// Lets commands through, or one trial at a time after a wait.
package struct CircuitBreaker: Sendable {
    private enum State: Equatable {
        case closed(refusals: Int)
        case open(until: MonotonicTime)
        case halfOpen
    }

    private let threshold: Int
    private var backoff: Backoff
    private var random: SeededRandom
    private var state = State.closed(refusals: 0)

    /// A closed breaker that opens after `threshold` refusals in a row. The waits are uniform between nothing and
    /// `base`, doubled with each failed trial up to `cap`.
    package init(
        threshold: Int = 5, base: Duration = .milliseconds(50), cap: Duration = .seconds(1), random: SeededRandom
    ) {
        precondition(threshold > 0)
        self.threshold = threshold
        backoff = Backoff(base: base, cap: cap)
        self.random = random
    }

    /// Whether a command may be sent. Open and the wait is over: true once, for the trial.
    package mutating func admits(now: MonotonicTime) -> Bool {
        switch state {
        case .closed: return true
        case .halfOpen: return false
        case .open(let until):
            guard now >= until else { return false }
            state = .halfOpen
            return true
        }
    }

    /// A command that was admitted was executed.
    package mutating func succeeded() {
        switch state {
        case .closed: state = .closed(refusals: 0)
        case .halfOpen:
            backoff.reset()
            state = .closed(refusals: 0)
        case .open: break
        }
    }

    /// A command that was admitted was refused.
    package mutating func failed(now: MonotonicTime) {
        switch state {
        case .closed(let refusals):
            if refusals + 1 >= threshold { open(now) } else { state = .closed(refusals: refusals + 1) }
        case .halfOpen: open(now)
        case .open: break
        }
    }

    /// A command that was admitted will never be answered: it was not sent, or its link is lost. That fails a trial and
    /// says nothing otherwise.
    package mutating func abandoned(now: MonotonicTime) {
        if state == .halfOpen { open(now) }
    }

    /// Whether commands are refused, but for one trial.
    package var isOpen: Bool {
        if case .closed = state { return false }
        return true
    }

    /// From when on a trial is let through; nil when closed and while a trial is under way.
    package var opensTrialAt: MonotonicTime? {
        guard case .open(let until) = state else { return nil }
        return until
    }

    private mutating func open(_ now: MonotonicTime) {
        state = .open(until: now + backoff.next(using: &random))
    }
}
