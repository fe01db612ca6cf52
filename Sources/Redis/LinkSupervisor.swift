// When a link connects, waits and gives up: the circuit breaker of one connection to Redis.
//
//     idle ──start──▶ connecting ──connected──▶ handshaking ──established──▶ ready
//                         ▲   │ failed, timeout      │ failed                  │ failed
//                         │   ▼                      ▼                         ▼
//                         └─ waiting(until) ◀────────┴─────────────────────────┘
//     any ──stop──▶ stopped
//
// Closed (commands pass) only while ready; open otherwise; an attempt is the half-open trial. Sans-IO: `now` and
// randomness are handed in, actions come out. Loop-confined.

package import Bytes

/// The life of one connection to Redis.
package struct LinkSupervisor: Sendable {
    /// Where the connection stands.
    package enum Phase: Equatable, Sendable {
        case idle
        case connecting(until: MonotonicTime)
        case handshaking
        case ready(since: MonotonicTime)
        case waiting(until: MonotonicTime)
        case stopped
    }

    /// What the shell is to do.
    package enum Action: Equatable, Sendable {
        case none
        /// Begin to connect.
        case connect
        /// Give the attempt up: close what there is, then report `failed`.
        case abandon
    }

    /// A link that lived this long was a good one: the next failure begins a new series of waits. One that is dropped
    /// right after its login would otherwise be opened again and again without a pause.
    package static let provenAfter = Duration.seconds(2)

    private let connectTimeout: Duration
    private var backoff: Backoff
    private var random: SeededRandom
    /// Where the connection stands.
    package private(set) var phase = Phase.idle
    /// How often the link became ready.
    package private(set) var establishments = 0

    /// A supervisor that does nothing before `start`.
    package init(settings: LinkSettings, random: SeededRandom) {
        connectTimeout = settings.connectTimeout
        backoff = Backoff(base: settings.backoffBase, cap: settings.backoffCap)
        self.random = random
    }

    /// Whether commands pass. While false they are refused at once.
    package var isReady: Bool {
        if case .ready = phase { return true }
        return false
    }

    /// Begins the first attempt.
    package mutating func start(now: MonotonicTime) -> Action {
        guard phase == .idle else { return .none }
        return attempt(now)
    }

    /// The connection is established; the login begins.
    package mutating func connected() {
        if case .connecting = phase { phase = .handshaking }
    }

    /// The login is done.
    package mutating func established(now: MonotonicTime) {
        guard phase == .handshaking else { return }
        phase = .ready(since: now)
        establishments += 1
    }

    /// The attempt or the connection is over, for whatever reason.
    package mutating func failed(now: MonotonicTime) {
        switch phase {
        case .ready(let since):
            if now.since(since) >= LinkSupervisor.provenAfter { backoff.reset() }
        case .connecting, .handshaking: break
        case .idle, .waiting, .stopped: return
        }
        phase = .waiting(until: now + backoff.next(using: &random))
    }

    /// Looks at the clock.
    package mutating func tick(now: MonotonicTime) -> Action {
        switch phase {
        case .connecting(let until): return now >= until ? .abandon : .none
        case .waiting(let until): return now >= until ? attempt(now) : .none
        case .idle, .handshaking, .ready, .stopped: return .none
        }
    }

    /// When `tick` is to be called at the latest; nil when nothing is due.
    package var deadline: MonotonicTime? {
        switch phase {
        case .connecting(let until), .waiting(let until): until
        case .idle, .handshaking, .ready, .stopped: nil
        }
    }

    /// Ends for good.
    package mutating func stop() { phase = .stopped }

    private mutating func attempt(_ now: MonotonicTime) -> Action {
        phase = .connecting(until: now + connectTimeout)
        return .connect
    }
}
