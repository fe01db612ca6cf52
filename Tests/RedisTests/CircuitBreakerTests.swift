// The breaker of refused commands: every (state, input) pair, the waits, and any order of admissions and answers.

import Bytes
import Redis
import Testing

/// A breaker that can be asked inside an expectation.
private final class Rig {
    private var breaker: CircuitBreaker
    var isOpen: Bool { breaker.isOpen }
    var opensTrialAt: MonotonicTime? { breaker.opensTrialAt }

    init(seed: UInt64) { breaker = CircuitBreaker(random: SeededRandom(seed: seed)) }

    func admits(now: MonotonicTime) -> Bool { breaker.admits(now: now) }
    func succeeded() { breaker.succeeded() }
    func failed(now: MonotonicTime) { breaker.failed(now: now) }
    func abandoned(now: MonotonicTime) { breaker.abandoned(now: now) }
}

struct CircuitBreakerTests {
    private func breaker(seed: UInt64 = 1) -> Rig { Rig(seed: seed) }

    private func opened(seed: UInt64 = 1, at time: Double = 1) -> Rig {
        let breaker = breaker(seed: seed)
        for _ in 0..<5 { breaker.failed(now: moment(time)) }
        return breaker
    }

    private func halfOpen() -> Rig {
        let breaker = opened()
        #expect(breaker.admits(now: moment(2)))
        return breaker
    }

    @Test("Five refusals in a row open it, one success between them begins anew")
    func opens() {
        let breaker = breaker()
        for _ in 0..<10 {
            for _ in 0..<4 { breaker.failed(now: moment(1)) }
            #expect(breaker.admits(now: moment(1)) && !breaker.isOpen && breaker.opensTrialAt == nil)
            breaker.succeeded()
        }
        for _ in 0..<4 { breaker.failed(now: moment(1)) }
        breaker.abandoned(now: moment(1))
        #expect(!breaker.isOpen, "what was never answered is no refusal")
        breaker.failed(now: moment(1))
        #expect(breaker.isOpen)
    }

    @Test("Open it admits nobody before the wait is over, then exactly one")
    func trial() throws {
        let breaker = opened()
        let until = try #require(breaker.opensTrialAt)
        #expect(until > moment(1) && until <= moment(1.05))
        #expect(!breaker.admits(now: moment(1)))
        #expect(!breaker.admits(now: MonotonicTime(nanoseconds: until.nanoseconds - 1)))
        #expect(breaker.opensTrialAt == until, "asking does not prolong the wait")
        #expect(breaker.admits(now: until))
        for _ in 0..<3 { #expect(!breaker.admits(now: moment(99))) }
        #expect(breaker.isOpen && breaker.opensTrialAt == nil)
    }

    @Test("A trial's success closes, its refusal and its loss open again")
    func trialOutcome() {
        let good = halfOpen()
        good.succeeded()
        #expect(!good.isOpen && good.admits(now: moment(2)) && good.admits(now: moment(2)))
        for _ in 0..<4 { good.failed(now: moment(2)) }
        #expect(!good.isOpen, "closed again it counts from nothing")

        let bad = halfOpen()
        bad.failed(now: moment(2))
        #expect(bad.isOpen && bad.opensTrialAt != nil)

        let lost = halfOpen()
        lost.abandoned(now: moment(2))
        #expect(lost.isOpen && lost.opensTrialAt != nil)
    }

    @Test("Late answers to commands from before change nothing while it is open")
    func lateAnswers() {
        let breaker = opened()
        let until = breaker.opensTrialAt
        breaker.succeeded()
        breaker.failed(now: moment(1.01))
        breaker.abandoned(now: moment(1.01))
        #expect(breaker.isOpen && breaker.opensTrialAt == until)
    }

    @Test("Waits double up to a second, with full jitter, and begin anew after a success")
    func waits() throws {
        let bounds = [0.05, 0.1, 0.2, 0.4, 0.8, 1, 1, 1]
        var longest = Array(repeating: 0.0, count: bounds.count)
        var shortest = Array(repeating: 9.0, count: bounds.count)
        for seed in 0..<300 {
            let breaker = opened(seed: UInt64(seed), at: 1)
            for attempt in bounds.indices {
                let until = try #require(breaker.opensTrialAt)
                let wait = Double(until.since(moment(1)).wholeNanoseconds) / 1e9
                longest[attempt] = max(longest[attempt], wait)
                shortest[attempt] = min(shortest[attempt], wait)
                #expect(breaker.admits(now: until))
                if attempt % 2 == 0 { breaker.failed(now: moment(1)) } else { breaker.abandoned(now: moment(1)) }
            }
            #expect(breaker.admits(now: moment(9)))
            breaker.succeeded()
            for _ in 0..<5 { breaker.failed(now: moment(9)) }
            #expect(try #require(breaker.opensTrialAt) <= moment(9.05))
        }
        for (attempt, bound) in bounds.enumerated() {
            #expect(longest[attempt] <= bound && longest[attempt] > bound * 0.9, "attempt \(attempt)")
            #expect(shortest[attempt] < bound * 0.1, "attempt \(attempt)")
        }
    }

    @Test("A server that refuses everything is asked a few times a second, and found again within one when it heals")
    func flood() {
        let seed = UInt64.random(in: 0 ... .max)
        print("breaker under a flood: seed \(seed)")
        let breaker = breaker(seed: seed)
        var asked = 0
        for millisecond in 0..<60_000 where breaker.admits(now: moment(1 + Double(millisecond) / 1000)) {
            asked += 1
            breaker.failed(now: moment(1 + Double(millisecond) / 1000))
        }
        #expect(asked > 60 && asked < 300, "\(asked) in a minute")
        var healed: Int?
        for millisecond in 60_000..<62_000 where breaker.admits(now: moment(1 + Double(millisecond) / 1000)) {
            breaker.succeeded()
            healed = healed ?? millisecond
        }
        #expect((healed ?? .max) <= 61_000 && !breaker.isOpen)
    }
}
