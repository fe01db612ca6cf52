// I12 by scripts: a limiter that is exact, generous, mean or silent.

import Bytes
import Testing
import VerifyCore

extension CheckerPlan {
    /// Room 0 takes ten a second and five at once.
    static var limited: CheckerPlan {
        var plan = small
        plan.limits = [0: RoomLimit(rate: 10, burst: 5)]
        return plan
    }
}

@Suite("I12: rates of rooms")
struct CheckerLimitTests {
    private let script = Script(.limited)
    private var offset: UInt64 { UInt64(script.checker.figures.acked) }

    /// Sends a publication, which is acknowledged after `wait` milliseconds.
    private func take(after wait: Int = 0) {
        let id = script.invoke()
        script.checker.attempted(0, now: script.now)
        script.tick(wait)
        script.ack(id, offset + 1)
    }

    private func refuse(retryAfter: UInt64 = 50) {
        let id = script.invoke()
        script.checker.attempted(0, now: script.now)
        script.tick()
        script.checker.rateRefused(0, retryAfter: retryAfter, now: script.now)
        script.checker.refused(0, id, now: script.now)
    }

    @Test("a burst and then ten a second for a minute, with refusals between, is what was agreed")
    func exact() {
        for _ in 0..<5 { take() }
        for _ in 0..<600 {
            refuse()
            script.tick(95)
            take()
        }
        #expect(script.checker.counts == [:], "\(script.checker.offenders.map(\.text))")
        #expect(script.checker.figures.rateRefusals == 600)
        #expect(script.checker.figures.limitedAcks == 605)
    }

    @Test("three gateways that each take their own ten a second are found out")
    func perNode() {
        for _ in 0..<90 {
            script.tick(30)
            take()
        }
        #expect(script.checker.counts == [.limiter: 1], "once for as long as it lasts")
    }

    @Test("half as much again over ten seconds is found, too")
    func slightly() {
        for _ in 0..<300 {
            script.tick(62)
            take()
        }
        #expect(script.checker.counts[.limiter, default: 0] >= 1)
    }

    @Test("acknowledgements that were held back and come together prove nothing")
    func late() {
        var ids: [MessageID] = []
        for _ in 0..<60 {
            script.tick(99)
            ids.append(script.invoke())
            script.checker.attempted(0, now: script.now)
        }
        for (index, id) in ids.enumerated() { script.ack(id, UInt64(index + 1)) }
        #expect(script.checker.counts == [:])
    }

    @Test("whoever lost its data may have forgotten how much it took")
    func forgotten() {
        for _ in 0..<5 { take() }
        script.checker.enter(.fault, losesData: true, now: script.now)
        for _ in 0..<5 { take() }
        script.checker.enter(.calm, now: script.now)
        for _ in 0..<5 { take() }
        #expect(script.checker.counts == [:])
    }

    @Test("a refusal though little was sent")
    func mean() {
        for _ in 0..<20 {
            script.tick(200)
            take()
        }
        refuse()
        #expect(script.checker.counts == [.limiter: 1])
    }

    @Test("a refusal that does not say when to come back")
    func silent() {
        for _ in 0..<30 { refuse() }
        let before = script.checker.counts[.limiter, default: 0]
        #expect(before > 0, "the first ones were no flood")
        refuse(retryAfter: 0)
        #expect(script.checker.counts == [.limiter: before + 1])
    }

    @Test("a room without a limit refuses nothing")
    func unlimited() {
        let id = script.invoke(room: 1)
        script.checker.rateRefused(1, retryAfter: 10, now: script.now)
        script.checker.refused(1, id, now: script.now)
        #expect(script.checker.counts == [.limiter: 1])
    }
}
