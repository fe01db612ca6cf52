// The life of a connection: every (phase, input) pair, the waits and their jitter.

import Bytes
import Redis
import Testing

struct LinkSupervisorTests {
    private func supervisor(seed: UInt64 = 1) -> LinkSupervisor {
        LinkSupervisor(settings: LinkSettings(), random: SeededRandom(seed: seed))
    }

    @Test("Connecting, login, ready, loss, wait, next attempt")
    func life() {
        var link = supervisor()
        #expect(link.tick(now: moment(1)) == .none)
        #expect(link.start(now: moment(1)) == .connect)
        #expect(link.start(now: moment(1)) == .none)
        #expect(link.deadline == moment(2) && !link.isReady)
        link.connected()
        #expect(link.phase == .handshaking && link.deadline == nil && !link.isReady)
        link.established(now: moment(1.5))
        #expect(link.isReady && link.establishments == 1)
        link.failed(now: moment(9))
        #expect(!link.isReady)
        guard case .waiting(let until) = link.phase else {
            Issue.record("after a loss it waits")
            return
        }
        #expect(until >= moment(9) && until <= moment(9.05))
        #expect(link.deadline == until)
        #expect(link.tick(now: until) == .connect)
    }

    @Test("An attempt that takes too long is abandoned")
    func connectTimeout() {
        var link = supervisor()
        _ = link.start(now: moment(1))
        #expect(link.tick(now: moment(1.99)) == .none)
        #expect(link.tick(now: moment(2)) == .abandon)
        link.failed(now: moment(2))
        #expect(link.tick(now: moment(2)) == .none || link.tick(now: moment(3)) == .connect)
    }

    @Test("Inputs that do not belong to the phase change nothing")
    func table() {
        var idle = supervisor()
        idle.connected()
        idle.established(now: moment(1))
        idle.failed(now: moment(1))
        #expect(idle.phase == .idle)

        var connecting = supervisor()
        _ = connecting.start(now: moment(1))
        connecting.established(now: moment(1))
        #expect(connecting.phase == .connecting(until: moment(2)))

        var ready = supervisor()
        _ = ready.start(now: moment(1))
        ready.connected()
        ready.established(now: moment(1))
        ready.connected()
        ready.established(now: moment(5))
        #expect(ready.phase == .ready(since: moment(1)) && ready.tick(now: moment(99)) == .none)

        var waiting = ready
        waiting.failed(now: moment(6))
        let phase = waiting.phase
        waiting.failed(now: moment(6.01))
        waiting.connected()
        waiting.established(now: moment(6.01))
        #expect(waiting.phase == phase)

        var stopped = ready
        stopped.stop()
        stopped.failed(now: moment(7))
        #expect(
            stopped.phase == .stopped && stopped.start(now: moment(7)) == .none
                && stopped.tick(now: moment(99)) == .none)
    }

    @Test("Waits double up to a second, with full jitter, and begin anew only after a link that lived")
    func backoff() {
        var longest: [Double] = Array(repeating: 0, count: 8)
        var shortest: [Double] = Array(repeating: 9, count: 8)
        for seed in 0..<300 {
            var link = supervisor(seed: UInt64(seed))
            _ = link.start(now: moment(1))
            for attempt in 0..<8 {
                if attempt % 2 == 1 {
                    // Ready for a moment only: still the same series.
                    link.connected()
                    link.established(now: moment(1))
                }
                link.failed(now: moment(1))
                guard case .waiting(let until) = link.phase else { continue }
                let wait = Double(until.since(moment(1)).wholeNanoseconds) / 1e9
                longest[attempt] = max(longest[attempt], wait)
                shortest[attempt] = min(shortest[attempt], wait)
                _ = link.tick(now: moment(9))
            }
            link.connected()
            link.established(now: moment(1))
            link.failed(now: moment(3))
            guard case .waiting(let until) = link.phase else { continue }
            #expect(until <= moment(3.05), "a link that lived for two seconds begins a new series")
        }
        for (attempt, bound) in [0.05, 0.1, 0.2, 0.4, 0.8, 1, 1, 1].enumerated() {
            #expect(longest[attempt] <= bound && longest[attempt] > bound * 0.9, "attempt \(attempt)")
            #expect(shortest[attempt] < bound * 0.1, "attempt \(attempt)")
        }
    }
}
