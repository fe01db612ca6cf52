// Randomness as the sans-IO modules see it: a generator that is handed in. Production seeds it from the system, tests
// from a printed number, so that every jitter and every fuzz run can be repeated.

/// A small, fast generator (xoshiro256**, Blackman and Vigna) for jitter, hashing seeds and tests. Not for secrets.
package struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    /// A generator whose whole sequence follows from `seed`.
    package init(seed: UInt64) {
        var mixer = seed
        func next() -> UInt64 {
            mixer &+= 0x9E37_79B9_7F4A_7C15
            var z = mixer
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        state = (next(), next(), next(), next())
    }

    /// A generator seeded by the system.
    package static func system() -> SeededRandom {
        var system = SystemRandomNumberGenerator()
        return SeededRandom(seed: system.next())
    }

    package mutating func next() -> UInt64 {
        let scaled = state.1 &* 5
        let result = ((scaled << 7) | (scaled >> 57)) &* 9
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = (state.3 << 45) | (state.3 >> 19)
        return result
    }
}

/// Exponential back-off with full jitter: each wait is uniform in [0, min(cap, base × 2ⁿ)], so that peers which failed
/// together do not come back together.
package struct Backoff: Sendable {
    /// Upper bound of the first wait.
    package let base: Duration
    /// Upper bound of every wait.
    package let cap: Duration
    /// Failures in a row so far.
    package private(set) var attempts = 0

    package init(base: Duration, cap: Duration) {
        self.base = base
        self.cap = cap
    }

    /// Counts a failure and returns how long to wait before the next attempt.
    package mutating func next(using random: inout some RandomNumberGenerator) -> Duration {
        let ceiling = min(cap, base * (1 << min(attempts, 20)))
        attempts += 1
        return .nanoseconds(Int64.random(in: 0...max(0, ceiling.wholeNanoseconds), using: &random))
    }

    /// Forgets the failures after a success.
    package mutating func reset() { attempts = 0 }
}
