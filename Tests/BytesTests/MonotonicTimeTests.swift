// Arithmetic on moments: exact in the middle, saturating at the ends, never a trap.

import Bytes
import Testing

@Suite struct MonotonicTimeTests {
    private let start = MonotonicTime(nanoseconds: 0)
    private let end = MonotonicTime(nanoseconds: .max)

    @Test func addingMovesByExactlyTheDuration() {
        let moment = MonotonicTime(nanoseconds: 5_000_000_000)
        #expect(moment + .nanoseconds(1) == MonotonicTime(nanoseconds: 5_000_000_001))
        #expect(moment + .seconds(-5) == start)
        #expect(moment + .zero == moment)
        #expect(moment + .milliseconds(-1) < moment)
    }

    @Test func addingSaturatesAtBothEnds() {
        #expect(end + .nanoseconds(1) == end)
        #expect(end + .seconds(Int64.max) == end)
        #expect(start + .nanoseconds(-1) == start)
        #expect(start + .seconds(Int64.min) == start)
        #expect(MonotonicTime(nanoseconds: 7) + .nanoseconds(Int64.min) == start)
        #expect(start + .seconds(Int64.max) == MonotonicTime(nanoseconds: UInt64(Int64.max)))
        #expect(end + .nanoseconds(Int64.min) == MonotonicTime(nanoseconds: UInt64.max - (1 << 63)))
    }

    @Test func differencesAreSignedAndClamped() {
        let a = MonotonicTime(nanoseconds: 10)
        let b = MonotonicTime(nanoseconds: 25)
        #expect(b.since(a) == .nanoseconds(15))
        #expect(a.since(b) == .nanoseconds(-15))
        #expect(a.since(a) == .zero)
        #expect(end.since(start) == .nanoseconds(Int64.max))
        #expect(start.since(end) == .nanoseconds(-Int64.max))
    }

    @Test(arguments: [11, 12] as [UInt64])
    func addingADifferenceLeadsBack(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<1000 {
            let a = MonotonicTime(nanoseconds: random.next() >> 2)
            let b = MonotonicTime(nanoseconds: random.next() >> 2)
            #expect(a + b.since(a) == b, "seed \(seed)")
        }
    }

    @Test func wholeNanosecondsClampInsteadOfTrapping() {
        #expect(Duration.seconds(1).wholeNanoseconds == 1_000_000_000)
        #expect(Duration.milliseconds(-1500).wholeNanoseconds == -1_500_000_000)
        #expect(Duration.seconds(Int64.max).wholeNanoseconds == .max)
        #expect(Duration.seconds(Int64.min).wholeNanoseconds == .min)
        #expect(Duration.nanoseconds(Int64.max).wholeNanoseconds == .max)
        #expect(Duration.nanoseconds(Int64.min).wholeNanoseconds == .min)
        #expect((Duration.nanoseconds(Int64.max) + .nanoseconds(1)).wholeNanoseconds == .max)
        #expect((Duration.nanoseconds(Int64.min) - .nanoseconds(1)).wholeNanoseconds == .min)
    }

    @Test func millisecondsAreRoundedTowardsZero() {
        #expect(Duration.nanoseconds(1_999_999).wholeMilliseconds == 1)
        #expect(Duration.nanoseconds(-1_999_999).wholeMilliseconds == -1)
        #expect(Duration.zero.wholeMilliseconds == 0)
    }
}
