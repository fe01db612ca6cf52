// Timers of a loop with a clock that the tests turn: arming, re-arming and cancelling inside the calls that they cause.

import Bytes
import Testing

@testable import Reactor

@Suite struct LoopTimerTests {
    private func pipe() throws -> (ManualClock, Loop, Recorder, ConnectionID, ConnectionID) {
        let clock = ManualClock()
        let loop = try makeLoop(clock: clock)
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind)
        return (clock, loop, recorder, a, b)
    }

    private func step(_ loop: Loop, _ clock: ManualClock, _ duration: Duration) {
        clock.advance(duration)
        loop.turn(wait: false)
    }

    @Test func aConnectionHasOneTimerAndArmingReplacesIt() throws {
        let (clock, loop, recorder, a, _) = try pipe()
        loop.setTimer(a, after: .milliseconds(10))
        loop.setTimer(a, after: .milliseconds(100))
        step(loop, clock, .milliseconds(96))
        #expect(recorder.timers.isEmpty)
        step(loop, clock, .milliseconds(8))
        #expect(recorder.timers == [a])
        step(loop, clock, .seconds(10))
        #expect(recorder.timers == [a], "it fires once")
        loop.setTimer(a, after: .milliseconds(10))
        loop.cancelTimer(a)
        step(loop, clock, .seconds(1))
        #expect(recorder.timers == [a])
        dismantleForTest(loop)
    }

    @Test func aTimerReArmedInsideItsOwnCallFiresAgainLater() throws {
        let (clock, loop, recorder, a, _) = try pipe()
        recorder.onTimer = { loop.setTimer($0, after: .zero) }
        loop.setTimer(a, after: .zero)
        for round in 1...5 {
            step(loop, clock, .milliseconds(8))
            #expect(recorder.timers.count == round, "once per iteration, however short the delay")
        }
        dismantleForTest(loop)
    }

    @Test func ofTwoTimersDueTogetherTheFirstMayCancelOrReArmTheSecond() throws {
        for way in 0..<4 {
            let (clock, loop, recorder, a, b) = try pipe()
            recorder.onTimer = { id in
                guard recorder.timers.count == 1 else { return }
                let other = id == a ? b : a
                switch way {
                case 0: loop.cancelTimer(other)
                case 1: loop.setTimer(other, after: .milliseconds(40))
                case 2: loop.close(other)
                default:
                    loop.cancelTimer(other)
                    loop.schedule(after: .zero) {}
                    loop.setTimer(other, after: .milliseconds(40))
                }
            }
            loop.setTimer(a, after: .milliseconds(8))
            loop.setTimer(b, after: .milliseconds(8))
            step(loop, clock, .milliseconds(20))
            #expect(recorder.timers.count == 1, "way \(way)")
            step(loop, clock, .milliseconds(60))
            #expect(recorder.timers.count == (way == 1 || way == 3 ? 2 : 1), "way \(way)")
            dismantleForTest(loop)
        }
    }

    @Test func closuresRunOnceAndCanBeTakenBackUntilTheyRan() throws {
        let clock = ManualClock()
        let loop = try makeLoop(clock: clock)
        var log: [String] = []
        let kept = loop.schedule(after: .milliseconds(10)) { log.append("kept") }
        let cancelled = loop.schedule(after: .milliseconds(10)) { log.append("cancelled") }
        loop.cancel(cancelled)
        loop.turn(wait: false)
        #expect(log.isEmpty)
        step(loop, clock, .milliseconds(20))
        #expect(log == ["kept"])
        // The stale token must not hit the timer that took its place.
        loop.schedule(after: .milliseconds(10)) { log.append("successor") }
        loop.cancel(kept)
        loop.cancel(cancelled)
        step(loop, clock, .milliseconds(20))
        #expect(log == ["kept", "successor"])
        #expect(loop.state.pointee.closures.isEmpty)
    }

    @Test func aClosureMayCancelAnotherThatIsDueInTheSameIteration() throws {
        let clock = ManualClock()
        let loop = try makeLoop(clock: clock)
        var ran = 0
        var tokens: [TimerToken] = []
        for _ in 0..<2 {
            tokens.append(
                loop.schedule(after: .milliseconds(4)) {
                    ran += 1
                    for token in tokens { loop.cancel(token) }
                })
        }
        step(loop, clock, .milliseconds(20))
        #expect(ran == 1)
    }

    @Test func schedulingInsideAClosureIsForALaterIteration() throws {
        let clock = ManualClock()
        let loop = try makeLoop(clock: clock)
        var ran = 0
        func again() {
            ran += 1
            loop.schedule(after: .seconds(-1), again)
        }
        loop.schedule(after: .zero, again)
        step(loop, clock, .milliseconds(4))
        #expect(ran == 1)
        step(loop, clock, .milliseconds(4))
        #expect(ran == 2)
        loop.dismantle()
    }

    @Test func aTimerThatIsDueCutsTheSleepShort() throws {
        let loop = try makeLoop()
        var fired = false
        loop.schedule(after: .milliseconds(10)) { fired = true }
        var turns = 0
        while !fired, turns < 1000 {
            loop.turn()
            turns += 1
        }
        #expect(fired)
        #expect(turns <= 4, "the loop sleeps until the timer instead of spinning")
    }

    @Test func aTimerOfAClosedConnectionDoesNotFireForItsSuccessor() throws {
        let (clock, loop, recorder, a, _) = try pipe()
        loop.setTimer(a, after: .milliseconds(40))
        loop.close(a)
        loop.turn(times: 3)
        let (c, _) = loop.makePipe(0, 0)
        #expect(c.slot == a.slot)
        step(loop, clock, .seconds(1))
        #expect(recorder.timers.isEmpty)
        #expect(loop.state.pointee.wheel.count == 0)
        dismantleForTest(loop)
    }

    @Test func absurdDelaysNeitherTrapNorFire() throws {
        let (clock, loop, recorder, a, b) = try pipe()
        loop.setTimer(a, after: .seconds(Int64.max))
        loop.setTimer(b, after: .seconds(Int64.min))
        step(loop, clock, .milliseconds(8))
        #expect(recorder.timers == [b])
        loop.turn(wait: false)
        dismantleForTest(loop)
    }
}
