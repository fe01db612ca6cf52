// What the checker knows of a Redis that comes back with less: who must be told, who must not notice, and epochs that
// continue others.

import Bytes
import LoadCore
import Testing

@testable import VerifyCore

@Suite("The checker after a rollback")
struct CheckerRollbackTests {
    private func rollBack(_ script: Script, to top: UInt64, losesData: Bool = true) {
        script.checker.enter(.fault, losesData: losesData, now: script.now)
        script.checker.rolledBack(0, to: top, epoch: Array("e0".utf8), now: script.now)
    }

    private func outcome(ahead: Int = 0, told: Int = 0, behind: Int = 0, continued: Int = 0) -> RollbackOutcome {
        var outcome = RollbackOutcome()
        outcome.ahead = ahead
        outcome.told = told
        outcome.behind = behind
        outcome.continued = continued
        return outcome
    }

    @Test("whoever was ahead and is not told, or behind and cannot go on, is a violation")
    func census() {
        let script = Script()
        script.join(0, at: 0)
        script.join(1, at: 0)
        script.deliver(0, 1, script.publish(1))
        rollBack(script, to: 0)
        let census = script.checker.takeCensus()
        script.checker.told(1, 0, code: 2500, now: script.now)
        #expect(script.checker.judge(census, now: script.now) == outcome(ahead: 1, behind: 1))
        #expect(script.checker.counts == [.ackHonesty: 1, .lost: 1])
    }

    @Test("whoever still gets out of a gateway's memory what was lost has seen more, too")
    func fromMemory() {
        let script = Script()
        let first = script.publish(1)
        script.join(0, at: 0)
        script.drop()
        rollBack(script, to: 0)
        let census = script.checker.takeCensus()
        script.resume(since: script.position(0), at: script.position(1), recovered: true, backlog: [(1, first)])
        script.checker.told(0, 0, code: 2500, now: script.now)
        script.publish(1, 1, room: 0, "e1")
        script.resume(since: script.position(1), at: script.position(1, "e1"), recovered: false)
        #expect(script.checker.judge(census, now: script.now) == outcome(ahead: 1, told: 1))
        #expect(script.broken() == [])
    }

    @Test("whoever had seen no more goes on with recovered: true in the next epoch")
    func goesOn() {
        let script = Script()
        script.join(0, at: 0)
        let first = script.publish(1)
        script.deliver(0, 1, first)
        script.drop()
        script.publish(2)
        rollBack(script, to: 1)
        let census = script.checker.takeCensus()
        let next = script.publish(2, 1, room: 0, "e1")
        script.resume(since: script.position(1), at: script.position(2, "e1"), recovered: true, backlog: [(2, next)])
        #expect(script.checker.judge(census, now: script.now) == outcome(behind: 1, continued: 1))
        #expect(script.broken() == [])
    }

    @Test("what a rollback took away is not owed to those who go on")
    func takenAway() {
        for left in [UInt64(0), 1] {
            let script = Script()
            script.join(0, at: 0)
            script.drop()
            script.publish(1)
            rollBack(script, to: left)
            let next = script.publish(left + 1, 0, room: 0, "e1")
            var backlog: [(UInt64, MessageID)] = [(left + 1, next)]
            if left == 1 { backlog.insert((1, MessageID(0, 1)), at: 0) }
            script.resume(
                since: script.position(0), at: script.position(left + 1, "e1"), recovered: true, backlog: backlog)
            #expect(script.broken() == [])
        }
    }

    @Test("I9: recovered: true for somebody who had seen more than was left is a lie")
    func sawMore() {
        let script = Script()
        script.join(0, at: 0)
        script.deliver(0, 1, script.publish(1))
        script.deliver(0, 2, script.publish(2))
        script.drop()
        rollBack(script, to: 1)
        let next = script.publish(2, 1, room: 0, "e1")
        script.publish(3, 1, room: 0, "e1")
        _ = next
        script.resume(since: script.position(2), at: script.position(3, "e1"), recovered: true)
        #expect(script.checker.counts[.resumeHonesty] == 1)
    }

    @Test("I1: recovered: false for somebody whose position was left is a loss")
    func refused() {
        let script = Script()
        script.join(0, at: 0)
        script.deliver(0, 1, script.publish(1))
        script.drop()
        script.publish(2)
        rollBack(script, to: 1)
        script.publish(2, 1, room: 0, "e1")
        script.resume(since: script.position(1), at: script.position(2, "e1"), recovered: false)
        #expect(script.checker.counts == [.lost: 1])
    }

    @Test("recovered: false for somebody who had seen more is as it must be, and the census shows it")
    func told() {
        let script = Script()
        script.join(0, at: 0)
        script.deliver(0, 1, script.publish(1))
        script.deliver(0, 2, script.publish(2))
        rollBack(script, to: 1)
        let census = script.checker.takeCensus()
        script.checker.told(0, 0, code: 2500, now: script.now)
        script.publish(2, 1, room: 0, "e1")
        script.resume(since: script.position(2), at: script.position(2, "e1"), recovered: false)
        #expect(script.checker.judge(census, now: script.now) == outcome(ahead: 1, told: 1))
        #expect(script.broken() == [])
    }

    @Test("an epoch may be renewed where a fault allows it, and then continues the old one wholly")
    func renewed() {
        for recovers in [true, false] {
            let script = Script()
            script.join(0, at: 0)
            script.deliver(0, 1, script.publish(1))
            script.checker.enter(.fault, renewsEpochs: true, now: script.now)
            script.checker.told(0, 0, code: 2500, now: script.now)
            let next = script.publish(2, 1, room: 0, "e1")
            script.resume(
                since: script.position(1), at: script.position(2, "e1"), recovered: recovers,
                backlog: recovers ? [(UInt64(2), next)] : [])
            #expect(script.broken() == (recovers ? [] : [.lost]))
        }
    }

    @Test("a new epoch where no fault allows one is a broken promise as before")
    func needless() {
        let script = Script()
        script.publish(1)
        script.checker.enter(.fault, renewsEpochs: true, now: script.now)
        script.checker.enter(.fault, now: script.now)
        script.publish(2, 1, room: 0, "e1")
        #expect(script.broken() == [.ackHonesty])
    }

    @Test("what others publish is no phantom where they are expected, but offsets must still be whole")
    func learning() {
        var plan = CheckerPlan.small
        plan.learnsPublications = true
        let script = Script(plan)
        script.join(at: 0)
        script.deliver(0, 1, MessageID(0, 1))
        script.deliver(0, 2, MessageID(1, 7))
        #expect(script.broken() == [])
        script.deliver(0, 4, MessageID(0, 2))
        #expect(script.checker.counts == [.silentGap: 1])
        #expect(script.checker.subscriptions(of: 0, below: 4) == 0)
        #expect(script.checker.subscriptions(of: 0, below: 5) == 1)
        script.deliver(0, 5, MessageID(0, 1 << 30))
        #expect(script.checker.counts[.phantom] == 1)
    }
}

@Suite("I13: the checker holds what processes use to its bounds")
struct CheckerBoundsTests {
    private func gauges(_ change: (inout GatewayGauges) -> Void) -> GatewayGauges {
        var gauges = GatewayGauges()
        gauges.resident = 1 << 20
        gauges.descriptors = 10
        gauges.queuedBytes = 0
        gauges.connections = 3
        gauges.series = 50
        change(&gauges)
        return gauges
    }

    @Test(
        "each number above its bound is one violation, however long it lasts",
        arguments: [
            { (gauges: inout GatewayGauges) in gauges.resident = 1 << 40 }, { $0.descriptors = 100_000 },
            { $0.queuedBytes = 1 << 30 }, { $0.series = 51 },
        ] as [@Sendable (inout GatewayGauges) -> Void])
    func bounds(_ change: @Sendable (inout GatewayGauges) -> Void) {
        let script = Script()
        script.checker.sampled(0, gauges { _ in }, now: script.now)
        script.checker.setBaseline()
        for _ in 0..<3 { script.checker.sampled(0, gauges(change), now: script.now) }
        #expect(script.checker.counts == [.bounds: 1])
    }

    @Test("what does not come back to where it was in calm is seen at the end")
    func baseline() {
        for change in [
            { (gauges: inout GatewayGauges) in gauges.descriptors = 500 }, { $0.queuedBytes = 2 << 20 },
            { $0.resident = 300 << 20 },
        ] as [(inout GatewayGauges) -> Void] {
            let script = Script()
            script.checker.sampled(0, gauges { _ in }, now: script.now)
            script.checker.setBaseline()
            script.checker.sampled(0, gauges(change), now: script.now)
            #expect(script.checker.counts == [:])
            #expect(script.broken() == [.bounds])
        }
    }

    @Test("what comes back is no violation, nor is a gateway that could not be asked")
    func comesBack() {
        let script = Script()
        script.checker.sampled(0, gauges { _ in }, now: script.now)
        script.checker.sampledRedis(connections: 7, gateways: 1, now: script.now)
        script.checker.setBaseline()
        script.checker.sampled(0, gauges { $0.descriptors = 500 }, now: script.now)
        script.checker.sampled(0, GatewayGauges(), now: script.now)
        script.checker.sampledRedis(connections: 12, gateways: 1, now: script.now)
        script.checker.sampled(0, gauges { _ in }, now: script.now)
        script.checker.sampledRedis(connections: 8, gateways: 1, now: script.now)
        #expect(script.broken() == [])
    }

    @Test("connections to Redis are bounded, and come back")
    func redis() {
        for (last, kinds) in [(40, 2), (12, 1)] {
            let script = Script()
            script.checker.sampledRedis(connections: 7, gateways: 1, now: script.now)
            script.checker.setBaseline()
            script.checker.sampledRedis(connections: last, gateways: 1, now: script.now)
            _ = script.broken()
            #expect(script.checker.counts[.bounds] == kinds)
        }
    }

    @Test("queue, connections and series are read from a metrics page")
    func page() {
        let page = """
            # HELP martlet_connections Open client connections.
            # TYPE martlet_connections gauge
            martlet_connections 42
            martlet_connections_opened_total 77
            martlet_outbound_queue_bytes 1.5e3
            """
        var gauges = GatewayGauges()
        GaugeWatch.read(Array(page.utf8), into: &gauges)
        #expect(gauges.connections == 42 && gauges.queuedBytes == 1500 && gauges.series == 3)
    }

    @Test("counts are read from Redis' INFO")
    func info() {
        let text = "$99\r\n# Commandstats\r\ncmdstat_xrange:calls=12,usec=3\r\nconnected_clients:9\r\n"
        #expect(RedisInfo.calls("xrange", in: Array(text.utf8)) == 12)
        #expect(RedisInfo.calls("xrevrange", in: Array(text.utf8)) == 0)
        #expect(RedisInfo.number("connected_clients:", in: Array(text.utf8)) == 9)
    }
}
