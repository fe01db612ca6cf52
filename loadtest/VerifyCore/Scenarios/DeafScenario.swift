// A subscriber link that lives and delivers nothing: the messages of rooms and probes vanish, or not one byte comes any
// more, or every new link is deaf, too, for a while. A gateway must notice it and mend it, and no client may notice
// anything but a delay. That a gateway has noticed shows in its log, and at /readyz as long as it is not mended: a link
// that can be replaced at once leaves nothing to be shown there.

import Bytes
import LoadCore
import Reactor

final class DeafScenario: Scenario {
    private static let shownLimit = Duration.seconds(3)
    private static let healedLimit = Duration.seconds(5)
    /// How long the way to Redis stays deaf in the third way.
    private static let outage = Duration.seconds(6)

    private enum Way: Int, CaseIterable {
        case messagesVanish, linkSilent, waySilent
        var text: String {
            switch self {
            case .messagesVanish: "the link's messages vanish"
            case .linkSilent: "the link delivers no byte"
            case .waySilent: "every link delivers no byte for 6 s"
            }
        }
    }

    private let times: Int
    private var noticed: [Duration?] = []
    private var shown: [Duration?] = []
    private var healed: [Duration?] = []

    init(times: Int) { self.times = times }

    func adapt(_ plan: inout RunPlan) {
        plan.isRestless = false
        // What comes while every link is deaf must still be there afterwards.
        plan.rig.historySize = 300
    }

    func perform(_ run: VerifyRun) throws {
        run.readiness.interval = .milliseconds(20)
        let disconnects = run.pool.figures.disconnects
        let told = run.checker.figures.told
        var random = SeededRandom(seed: run.plan.clients.seed)
        for round in 0..<times {
            let gateway = run.rig.gateways[Int.random(in: 0..<run.rig.gateways.count, using: &random)]
            try perform(run, round, gateway, Way.allCases[round % Way.allCases.count])
        }
        let patience = run.plan.patience
        run.must(
            "a gateway notices a deaf link within 3 s", DeafScenario.text(noticed),
            holds: noticed.allSatisfy { $0.map { $0 <= DeafScenario.shownLimit * patience } ?? false })
        run.must(
            "/readyz shows within 3 s a link that cannot be replaced", DeafScenario.text(shown),
            holds: !shown.isEmpty && shown.allSatisfy { $0.map { $0 <= DeafScenario.shownLimit * patience } ?? false })
        run.must(
            "it is healed within 5 s", DeafScenario.text(healed),
            holds: healed.allSatisfy { $0.map { $0 <= DeafScenario.healedLimit * patience } ?? false })
        let lost = run.pool.figures.disconnects - disconnects
        run.must("no client is disconnected", "\(lost) of \(run.plan.clients.subscribers)", holds: lost == 0)
        let toldNow = run.checker.figures.told - told
        run.must("no subscription is told anything", "\(toldNow)", holds: toldNow == 0)
        let whole = run.checker.uninterruptedSubscriptions
        let all = run.pool.expectedSubscriptions
        run.must("no offset is missing in any subscription", "\(whole) of \(all) without a break", holds: whole == all)
    }

    private func perform(_ run: VerifyRun, _ round: Int, _ gateway: GatewayNode, _ way: Way) throws {
        run.tell("round \(round + 1): gateway \(gateway.number), \(way.text)")
        let meter = FaultMeter(run, .subscriptionsDeaf)
        run.checker.enter(.fault, now: run.loop.now)
        var rule = LinkRule.blackhole
        if way == .messagesVanish {
            rule = LinkRule()
            rule.dropMessagesPer10000 = 10_000
        }
        gateway.noticedDeafness = nil
        gateway.redisProxy?.set(rule, for: [.subscriptions], [.down], sparingNew: way != .waySilent)
        var end = run.loop.now
        run.checker.beginRecovery(now: end)
        if way == .waySilent {
            try run.spend(DeafScenario.outage)
            gateway.redisProxy?.clear()
            end = run.loop.now
        }
        let isHealed = try run.untilSoft(.seconds(15) * run.plan.patience) {
            run.checker.recoveredSubscriptions >= run.pool.expectedSubscriptions && run.readiness.isAllReady
        }
        let recovery = isHealed ? run.loop.now.since(end) : nil
        // The audit may mend the rooms before the link is found out.
        _ = try run.untilSoft(.seconds(5) * run.plan.patience) { gateway.noticedDeafness != nil }
        noticed.append(gateway.noticedDeafness.map { $0.since(meter.record.at) })
        if way == .waySilent {
            shown.append(run.readiness.records[gateway.number].firstUnready.map { $0.since(meter.record.at) })
        }
        healed.append(recovery)
        meter.record.recovery = recovery
        meter.record.evidence = "gateway \(gateway.number), \(way.text)"
        gateway.redisProxy?.clear()
        try run.spend(.seconds(1))
        run.records.append(meter.finish())
        run.checker.enter(.calm, now: run.loop.now)
        try run.spend(.seconds(2))
    }

    private static func text(_ times: [Duration?]) -> String {
        times.map { $0?.millisecondsText ?? "never" }.joined(separator: ", ")
    }
}
