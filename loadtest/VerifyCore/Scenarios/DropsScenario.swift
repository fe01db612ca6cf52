// One of a hundred pub/sub messages vanishes on its way to the gateways, chosen at random, while the same proxies cut
// links and refuse new ones for a while: pub/sub is only a hint, so every client must see everything once, in order.

import Bytes
import LoadCore
import Reactor

final class DropsScenario: Scenario {
    private let seconds: Int
    private var cuts = 0

    init(seconds: Int) { self.seconds = seconds }

    func adapt(_ plan: inout RunPlan) { plan.isRestless = false }

    func perform(_ run: VerifyRun) throws {
        var random = SeededRandom(seed: run.plan.clients.seed)
        let (closes, told) = (run.pool.figures.disconnects, run.checker.figures.told)
        let before = messages(run)
        let meter = FaultMeter(run, .subscriptionsLossy)
        run.checker.enter(.fault, now: run.loop.now)
        var rule = LinkRule()
        rule.dropMessagesPer10000 = 100
        for gateway in run.rig.gateways { gateway.redisProxy?.set(rule, for: [.subscriptions], [.down]) }
        let end = run.loop.now + .seconds(Int64(seconds))
        while run.loop.now < end {
            try run.spend(.milliseconds(Int64.random(in: 2000...5000, using: &random)))
            let gateway = run.rig.gateways[Int.random(in: 0..<run.rig.gateways.count, using: &random)]
            guard let proxy = gateway.redisProxy else { continue }
            cuts += 1
            proxy.isRefusing = true
            proxy.cut([.subscriptions], reset: Bool.random(using: &random))
            try run.spend(.milliseconds(Int64.random(in: 0...1000, using: &random)))
            proxy.isRefusing = false
        }
        for gateway in run.rig.gateways { gateway.redisProxy?.clear() }
        try run.awaitRecovery(meter)
        let after = messages(run)
        meter.record.evidence = "\(after.dropped - before.dropped) of \(after.all - before.all) messages, \(cuts) cuts"
        try run.spend(.seconds(1))
        run.records.append(meter.finish())
        run.checker.enter(.calm, now: run.loop.now)
        let dropped = after.dropped - before.dropped
        run.must(
            "one of a hundred messages vanished", "\(dropped) of \(after.all - before.all)",
            holds: dropped * 200 >= after.all - before.all && dropped > 0)
        run.must("links were cut and restored", "\(cuts) times", holds: cuts > 0)
        let whole = run.checker.uninterruptedSubscriptions
        let all = run.pool.expectedSubscriptions
        run.must("every client sees 1 to N in order, without a break", "\(whole) of \(all)", holds: whole == all)
        run.must(
            "no client is disconnected, none is told anything",
            "\(run.pool.figures.disconnects - closes), \(run.checker.figures.told - told)",
            holds: run.pool.figures.disconnects == closes && run.checker.figures.told == told)
    }

    private func messages(_ run: VerifyRun) -> (all: Int, dropped: Int) {
        run.rig.gateways.reduce(into: (0, 0)) { sum, gateway in
            sum.0 += gateway.redisProxy?.figures.messages ?? 0
            sum.1 += gateway.redisProxy?.figures.droppedMessages ?? 0
        }
    }
}
