// The timer wheel against a plain list: never early, at most a tick late, nothing lost, nothing twice.

import Bytes
import Testing

@testable import Reactor

@Suite struct TimerWheelTests {
    private static let tick = TimerWheel.tick

    /// What a wheel must do, written as a list.
    private struct Model {
        struct Entry {
            let deadline: UInt64
            let token: TimerToken
        }
        var armed: [UInt64: Entry] = [:]

        var firstDeadline: UInt64? { armed.values.map(\.deadline).min() }
    }

    private func check(
        _ fired: [FiredTimer], _ model: inout Model, before: UInt64, now: UInt64, _ context: @autoclosure () -> String
    ) -> Bool {
        for timer in fired {
            guard let entry = model.armed.removeValue(forKey: timer.payload) else {
                Issue.record("a timer fired that was not armed; \(context())")
                return false
            }
            guard entry.token == timer.token, entry.deadline <= now else {
                Issue.record("fired early by \(Int64(entry.deadline) - Int64(now)) ns; \(context())")
                return false
            }
        }
        // Whatever is left may be overdue by less than a tick only.
        for entry in model.armed.values where entry.deadline + Self.tick <= now {
            // A deadline that had passed when it was armed counts from then.
            guard max(entry.deadline, before) + 2 * Self.tick > now else {
                Issue.record("a timer is late by \(now - entry.deadline) ns; \(context())")
                return false
            }
        }
        return true
    }

    @Test(arguments: [51, 52, 53, 54, 55] as [UInt64])
    func aHundredThousandRandomOperationsAgreeWithAList(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        // Starts just before, at and after the boundaries of the levels are all tried.
        var now = (random.next() % (1 << 33)) * Self.tick + random.next() % Self.tick
        if seed % 2 == 0 { now = now / (Self.tick << 24) * (Self.tick << 24) - Self.tick }
        var wheel = TimerWheel(now: MonotonicTime(nanoseconds: now))
        var model = Model()
        var tokens: [(TimerToken, UInt64)] = []
        var fired: [FiredTimer] = []
        var nextPayload: UInt64 = 1
        for step in 0..<20_000 {
            let context = "seed \(seed), step \(step)"
            switch Int.random(in: 0..<10, using: &random) {
            case 0...3 where model.armed.count < 200:
                // All magnitudes are equally likely, so that each level gets its share.
                let wait = random.next() >> UInt64.random(in: 10..<64, using: &random)
                let deadline = now + min(wait, Self.tick << 32)
                let token = wheel.schedule(at: MonotonicTime(nanoseconds: deadline), payload: nextPayload)
                model.armed[nextPayload] = .init(deadline: deadline, token: token)
                tokens.append((token, nextPayload))
                nextPayload += 1
            case 4, 5:
                // Often stale: fired, or cancelled before. A stale token must hit nobody.
                guard let (token, payload) = tokens.randomElement(using: &random) else { continue }
                wheel.cancel(token)
                if model.armed[payload]?.token == token { model.armed[payload] = nil }
            default:
                let before = now
                let jump = random.next() >> UInt64.random(in: 12..<64, using: &random)
                now += min(jump, Self.tick << 32)
                let wake = wheel.nextWake()
                fired = []
                wheel.advance(to: MonotonicTime(nanoseconds: now), fired: &fired)
                if let wake, let first = fired.first, wake.nanoseconds > now {
                    Issue.record("\(first) fired before nextWake; \(context)")
                    return
                }
                guard check(fired, &model, before: before, now: now, context) else { return }
            }
            guard wheel.count == model.armed.count else {
                Issue.record("\(wheel.count) are armed instead of \(model.armed.count); \(context)")
                return
            }
            if let first = model.firstDeadline {
                guard let wake = wheel.nextWake(), wake.nanoseconds < max(first, now) + 2 * Self.tick else {
                    Issue.record("nextWake lies behind the first deadline; \(context)")
                    return
                }
            } else {
                #expect(wheel.nextWake() == nil)
            }
            if tokens.count > 400 { tokens.removeFirst(200) }
        }
    }

    @Test(arguments: [1, 2, 255, 256, 257, 65_535, 65_536, 65_537, 0xFF_FFFF, 0x100_0000, 0x100_0001] as [UInt64])
    func aTimerOfAnyLevelFiresInItsOwnTick(ticks: UInt64) {
        for start in [0, 1, 255, 256, 65_535, 65_536, 0xFF_FFFF, 0xFFFF_FFFF, 0x1_0000_0000] as [UInt64] {
            var wheel = TimerWheel(now: MonotonicTime(nanoseconds: start * Self.tick))
            let deadline = (start + ticks) * Self.tick
            _ = wheel.schedule(at: MonotonicTime(nanoseconds: deadline), payload: 7)
            var fired: [FiredTimer] = []
            wheel.advance(to: MonotonicTime(nanoseconds: deadline - 1), fired: &fired)
            #expect(fired.isEmpty, "early from \(start)")
            wheel.advance(to: MonotonicTime(nanoseconds: deadline), fired: &fired)
            #expect(fired.map(\.payload) == [7], "late from \(start)")
            #expect(wheel.count == 0)
        }
    }

    @Test func aDeadlineInsideATickIsRoundedUpNeverDown() {
        var wheel = TimerWheel(now: MonotonicTime(nanoseconds: 0))
        _ = wheel.schedule(at: MonotonicTime(nanoseconds: Self.tick + 1), payload: 1)
        var fired: [FiredTimer] = []
        wheel.advance(to: MonotonicTime(nanoseconds: 2 * Self.tick - 1), fired: &fired)
        #expect(fired.isEmpty)
        wheel.advance(to: MonotonicTime(nanoseconds: 2 * Self.tick), fired: &fired)
        #expect(fired.count == 1)
    }

    @Test func timersOfOneJumpComeInTheOrderOfTheirTicks() {
        var wheel = TimerWheel(now: MonotonicTime(nanoseconds: 0))
        let ticks: [UInt64] = [70_000, 3, 300, 20_000_000, 255, 256, 1, 65_536]
        for value in ticks { _ = wheel.schedule(at: MonotonicTime(nanoseconds: value * Self.tick), payload: value) }
        var fired: [FiredTimer] = []
        wheel.advance(to: MonotonicTime(nanoseconds: 30_000_000 * Self.tick), fired: &fired)
        #expect(fired.map(\.payload) == ticks.sorted())
    }

    @Test func walkingFromWakeToWakeMissesNothing() {
        // As the loop does it: sleep until nextWake, advance, again.
        var wheel = TimerWheel(now: MonotonicTime(nanoseconds: 0))
        var random = SeededRandom(seed: 61)
        var due: [UInt64] = []
        for payload in 1...300 as ClosedRange<UInt64> {
            let deadline = UInt64.random(in: 0...(Self.tick * 200_000), using: &random)
            due.append(deadline)
            _ = wheel.schedule(at: MonotonicTime(nanoseconds: deadline), payload: payload)
        }
        var fired: [FiredTimer] = []
        var wakes = 0
        while let wake = wheel.nextWake() {
            wakes += 1
            let already = fired.count
            wheel.advance(to: wake, fired: &fired)
            for timer in fired[already...] {
                let late = Int64(wake.nanoseconds) - Int64(due[Int(timer.payload) - 1])
                #expect(late >= 0 && late < Int64(2 * Self.tick), "late by \(late) ns")
            }
        }
        #expect(fired.count == 300)
        #expect(wakes <= 300 + 200_000 / 256 + 1)
    }

    @Test func tokensOfFiredAndCancelledTimersAreStaleForGood() {
        var wheel = TimerWheel(now: MonotonicTime(nanoseconds: 0))
        let first = wheel.schedule(at: MonotonicTime(nanoseconds: Self.tick), payload: 1)
        var fired: [FiredTimer] = []
        wheel.advance(to: MonotonicTime(nanoseconds: Self.tick), fired: &fired)
        let second = wheel.schedule(at: MonotonicTime(nanoseconds: 5 * Self.tick), payload: 2)
        #expect(first != second)
        wheel.cancel(first)
        wheel.cancel(.none)
        wheel.cancel(TimerToken(index: 999, generation: 1))
        #expect(wheel.count == 1)
        wheel.cancel(second)
        wheel.cancel(second)
        #expect(wheel.count == 0)
        wheel.advance(to: MonotonicTime(nanoseconds: 10 * Self.tick), fired: &fired)
        #expect(fired.map(\.payload) == [1])
    }

    @Test func theEndsOfTheClockDoNotTrap() {
        var wheel = TimerWheel(now: MonotonicTime(nanoseconds: 0))
        _ = wheel.schedule(at: MonotonicTime(nanoseconds: .max), payload: 1)
        _ = wheel.schedule(at: MonotonicTime(nanoseconds: 0), payload: 2)
        var fired: [FiredTimer] = []
        wheel.advance(to: MonotonicTime(nanoseconds: Self.tick), fired: &fired)
        #expect(fired.map(\.payload) == [2])
        #expect(wheel.nextWake() != nil)
        // The longest wait is clamped: it comes after 2³² ticks, not never.
        wheel.advance(to: MonotonicTime(nanoseconds: (1 << 32) * Self.tick), fired: &fired)
        #expect(fired.map(\.payload) == [2, 1])
    }
}
