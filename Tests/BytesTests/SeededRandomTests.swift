// The generator repeats itself for a seed and agrees with an independent implementation of xoshiro256**.

import Bytes
import Testing

@Suite struct SeededRandomTests {
    @Test func theSequenceIsXoshiro256StarStarSeededBySplitMix() {
        var zero = SeededRandom(seed: 0)
        #expect(
            (0..<4).map { _ in zero.next() } == [
                0x99EC_5F36_CB75_F2B4, 0xBF6E_1F78_4956_452A, 0x1A5F_849D_4933_E6E0, 0x6AA5_94F1_262D_2D2C,
            ])
        var fortyTwo = SeededRandom(seed: 42)
        #expect(
            (0..<4).map { _ in fortyTwo.next() } == [
                0x1578_0B2E_0C2E_C716, 0x6104_D986_6D11_3A7E, 0xAE17_5332_39E4_99A1, 0xECB8_AD47_03B3_60A1,
            ])
    }

    @Test func aSeedGivesTheSameSequenceAgainAndAnotherSeedAnother() {
        var a = SeededRandom(seed: 5)
        var b = SeededRandom(seed: 5)
        var c = SeededRandom(seed: 6)
        let first = (0..<100).map { _ in a.next() }
        #expect(first == (0..<100).map { _ in b.next() })
        #expect(first != (0..<100).map { _ in c.next() })
    }

    @Test func twoGeneratorsSeededByTheSystemDiffer() {
        var a = SeededRandom.system()
        var b = SeededRandom.system()
        #expect((a.next(), a.next()) != (b.next(), b.next()))
    }
}

@Suite struct BackoffTests {
    @Test(arguments: [31, 32, 33, 34] as [UInt64])
    func everyWaitLiesBetweenZeroAndTheDoublingCeiling(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var backoff = Backoff(base: .milliseconds(500), cap: .seconds(20))
        for attempt in 0..<200 {
            let ceiling = attempt < 6 ? Duration.milliseconds(500 << attempt) : .seconds(20)
            #expect(backoff.attempts == attempt)
            let wait = backoff.next(using: &random)
            #expect(wait >= .zero && wait <= min(ceiling, .seconds(20)), "seed \(seed), attempt \(attempt): \(wait)")
        }
    }

    @Test func theJitterIsFull() {
        // Both ends of the interval are reached: the generator's smallest and largest word decide which. (A constant 0
        // would be rejected for ever, since it cannot be spread evenly over the interval.)
        struct Constant: RandomNumberGenerator {
            let word: UInt64
            mutating func next() -> UInt64 { word }
        }
        var lowest = Constant(word: 1)
        var highest = Constant(word: .max)
        var backoff = Backoff(base: .seconds(1), cap: .seconds(8))
        #expect(backoff.next(using: &lowest) == .zero)
        backoff.reset()
        #expect((0..<6).map { _ in backoff.next(using: &highest) } == [1, 2, 4, 8, 8, 8].map { Duration.seconds($0) })
    }

    @Test(arguments: [35, 36] as [UInt64])
    func waitsAreSpreadOverTheWholeInterval(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var tenths = Array(repeating: 0, count: 10)
        for _ in 0..<10_000 {
            var backoff = Backoff(base: .seconds(1), cap: .seconds(1))
            let wait = backoff.next(using: &random).wholeNanoseconds
            tenths[min(9, Int(wait / 100_000_000))] += 1
        }
        // 1000 expected, standard deviation 30.
        #expect(tenths.allSatisfy { (800...1200).contains($0) }, "seed \(seed): \(tenths)")
    }

    @Test func aSuccessStartsOver() {
        var random = SeededRandom(seed: 37)
        var backoff = Backoff(base: .seconds(1), cap: .seconds(60))
        for _ in 0..<10 { _ = backoff.next(using: &random) }
        backoff.reset()
        #expect(backoff.attempts == 0)
        #expect(backoff.next(using: &random) <= .seconds(1))
    }

    @Test func manyFailuresAndHugeBoundsDoNotTrap() {
        var random = SeededRandom(seed: 38)
        var backoff = Backoff(base: .seconds(86_400 * 365), cap: .seconds(Int64.max))
        for _ in 0..<100 { #expect(backoff.next(using: &random) >= .zero) }
        var none = Backoff(base: .seconds(-1), cap: .seconds(1))
        #expect(none.next(using: &random) == .zero)
    }
}
