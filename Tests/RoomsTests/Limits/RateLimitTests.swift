// The arithmetic of limits: the exact boundary, clocks that jump, numbers at their ends, and what any window may admit.

import Bytes
import Testing

@testable import Rooms

/// A limit of a test; one that cannot be is a fault of the test.
func limit(
    _ count: Int, per period: Duration, burst: Int? = nil, location: SourceLocation = #_sourceLocation
) throws -> RateLimit {
    try #require(RateLimit(count: count, period: period, burst: burst ?? count), sourceLocation: location)
}

@Suite struct RateLimitTests {
    /// Publishes at `now`; whether it passes. `due` is what is kept.
    private func pass(_ limit: RateLimit, _ due: inout UInt64, at now: UInt64) -> Bool {
        guard case .admitted(let next, _) = limit.judge(due: due, now: now) else { return false }
        due = next
        return true
    }

    @Test(arguments: [
        (50, Duration.seconds(1), 50, 20_000, 980_000), (1, .seconds(5), 1, 5_000_000, 0),
        (3, .seconds(10), 3, 3_333_334, 6_666_668), (1_000_000, .seconds(1), 1, 1, 0),
        (1, .microseconds(1), 5, 1, 4), (3, .microseconds(4), 1, 2, 0),
        (1, .seconds(2_592_000), 1, 2_592_000_000_000, 0),
        (1, .nanoseconds(1001), 2, 2, 2),
    ])
    func `a rate becomes a spacing in whole microseconds, never a shorter one`(
        count: Int, period: Duration, burst: Int, interval: UInt64, tolerance: UInt64
    ) throws {
        let limit = try limit(count, per: period, burst: burst)
        #expect(limit.interval == interval && limit.tolerance == tolerance)
    }

    @Test(arguments: [
        (1_000_001, Duration.seconds(1), 1), (1, .nanoseconds(999), 1), (0, .seconds(1), 1), (-1, .seconds(1), 1),
        (1, .seconds(1), 0), (1, .seconds(1), -1), (1, .zero, 1), (1, .seconds(-1), 1),
        (1, .seconds(2_592_001), 1), (1, .seconds(1_296_001), 2), (.max, .seconds(1), 1), (1, .seconds(1), .max),
        (1, .seconds(Int64.max), .max), (.max, .seconds(Int64.max), .max), (1, .seconds(Int64.min), 1),
    ])
    func `a rate without measure is no limit, and nothing traps`(count: Int, period: Duration, burst: Int) {
        #expect(RateLimit(count: count, period: period, burst: burst) == nil)
    }

    @Test func `at the boundary itself a publication passes, one microsecond before it does not`() throws {
        let limit = try limit(1, per: .seconds(5))
        let start: UInt64 = 1_700_000_000_000_000
        #expect(limit.judge(due: 0, now: start) == .admitted(due: start + 5_000_000, wait: 5_000_000))
        #expect(limit.judge(due: start + 5_000_000, now: start) == .refused(wait: 5_000_000))
        #expect(limit.judge(due: start + 5_000_000, now: start + 4_999_999) == .refused(wait: 1))
        let after = start + 5_000_000
        #expect(limit.judge(due: after, now: after) == .admitted(due: after + 5_000_000, wait: 5_000_000))
    }

    @Test func `a burst passes at once, then one each spacing; unused time is not saved beyond the burst`() throws {
        let limit = try limit(10, per: .seconds(1), burst: 4)
        var due: UInt64 = 0
        var now: UInt64 = 1_000_000_000
        func passes(_ attempts: Int) -> Int { (0..<attempts).count { _ in pass(limit, &due, at: now) } }
        #expect(passes(100) == 4)
        now += 99_999
        #expect(passes(100) == 0)
        now += 1
        #expect(passes(100) == 1)
        now += 250_000
        #expect(passes(100) == 2)
        now += 49_999
        #expect(passes(100) == 0)
        now += 365 * 86_400 * 1_000_000 * 100
        #expect(passes(100) == 4, "a century of silence is worth one burst")
    }

    @Test func `what an admitted publication says of the next one is when it passes`() throws {
        let limit = try limit(10, per: .seconds(1), burst: 2)
        #expect(limit.judge(due: 0, now: 500) == .admitted(due: 100_500, wait: 0))
        #expect(limit.judge(due: 100_500, now: 500) == .admitted(due: 200_500, wait: 100_000))
        #expect(limit.judge(due: 200_500, now: 500) == .refused(wait: 100_000))
        #expect(limit.judge(due: 200_500, now: 100_500) == .admitted(due: 300_500, wait: 100_000))
    }

    @Test func `APP-04 a clock that goes back an hour blocks nobody, and gives away one publication`() throws {
        let limit = try limit(10, per: .seconds(1), burst: 5)
        var due: UInt64 = 0
        var now: UInt64 = 10_000_000_000
        for _ in 0..<5 { #expect(pass(limit, &due, at: now)) }
        #expect(!pass(limit, &due, at: now))
        now -= 3_600_000_000
        #expect(pass(limit, &due, at: now))
        for _ in 0..<20 { #expect(!pass(limit, &due, at: now), "no second burst") }
        now += 100_000
        #expect(pass(limit, &due, at: now))
        #expect(!pass(limit, &due, at: now))
    }

    @Test func `APP-04 a clock that goes back by less than a spacing gives nothing away`() throws {
        let limit = try limit(1, per: .seconds(1))
        var due: UInt64 = 0
        #expect(pass(limit, &due, at: 10_000_000))
        #expect(limit.judge(due: due, now: 9_100_000) == .refused(wait: 1_900_000))
    }

    @Test func `numbers at their ends neither trap nor admit twice`() throws {
        let limit = try limit(1, per: .seconds(86_400), burst: 30)
        for now: UInt64 in [0, 1, .max / 2, .max - 1, .max] {
            for due: UInt64 in [0, 1, .max / 2, .max - 1, .max] { _ = limit.judge(due: due, now: now) }
        }
        #expect(limit.judge(due: .max, now: 5) == .admitted(due: 5 + 30 * 86_400_000_000, wait: 86_400_000_000))
    }

    @Test func `APP-04 every window of any place and length admits at most the burst and its time`() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("rate windows: seed \(seed)")
        var random = SeededRandom(seed: seed)
        for _ in 0..<50 {
            let burst = Int.random(in: 1...20, using: &random)
            let limit = try limit(Int.random(in: 1...1000, using: &random), per: .seconds(1), burst: burst)
            var due: UInt64 = 0
            var now: UInt64 = 1_000_000
            var passed: [UInt64] = []
            for _ in 0..<2000 {
                if pass(limit, &due, at: now) { passed.append(now) }
                if Bool.random(using: &random) { now += .random(in: 0...(2 * limit.interval), using: &random) }
            }
            for first in passed.indices {
                let last = min(passed.count - 1, first + Int.random(in: 0...200, using: &random))
                let allowed = UInt64(burst) + (passed[last] - passed[first]) / limit.interval
                #expect(UInt64(last - first + 1) <= allowed, "seed \(seed)")
            }
        }
    }
}
