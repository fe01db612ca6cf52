// Redis with its log of appends is killed and comes back two seconds later: nothing acknowledged may be lost, no client
// disconnected, no subscription told anything, and publishing must work soon. With a gateway killed at the same moment
// the new term may open by lease without it; then rooms may go on in a new epoch, which continues the old one wholly.

import Bytes
import Glibc
import LoadCore
import Reactor

final class AppendLogScenario: Scenario {
    private let times: Int
    private let withGateway: Bool
    private var publishing: [Duration?] = []
    private var disconnects = 0
    private var told = 0

    init(times: Int, withGateway: Bool) {
        self.times = times
        self.withGateway = withGateway
    }

    func adapt(_ plan: inout RunPlan) {
        plan.rig.appendOnly = true
        plan.isRestless = false
        // The clients of a dead gateway must still be inside of the window when they come back.
        plan.rig.historySize = 300
        plan.clients.rate = min(plan.clients.rate, 120)
        // All of the dead gateway's clients come back to the others while Redis is away.
        if withGateway { plan.rig.gateways = max(2, plan.rig.gateways) }
    }

    func perform(_ run: VerifyRun) throws {
        var random = SeededRandom(seed: run.plan.clients.seed)
        for round in 0..<times { try perform(run, round, &random) }
        let limit = Duration.seconds(withGateway ? 6 : 3) * run.plan.patience
        run.must(
            "publishing works again within \(withGateway ? 6 : 3) s after Redis answers",
            publishing.map { $0?.millisecondsText ?? "never" }.joined(separator: ", "),
            holds: publishing.allSatisfy { $0.map { $0 <= limit } ?? false })
        run.must(
            "no client of a living gateway is disconnected", "\(disconnects) in \(times) restarts",
            holds: disconnects == 0)
        if withGateway {
            run.extras.append(("told_2500", .whole(UInt64(told))))
        } else {
            run.must("no subscription is told anything", "\(told)", holds: told == 0)
        }
        let refused = run.checker.figures.notRecovered
        run.must("everybody who resumes recovers wholly", "\(refused) were refused", holds: refused == 0)
    }

    private func perform(_ run: VerifyRun, _ round: Int, _ random: inout SeededRandom) throws {
        run.tell("round \(round + 1): kill -9 of Redis\(withGateway ? " and of a gateway" : "")")
        let meter = FaultMeter(run, .redisKilled)
        run.checker.enter(.fault, renewsEpochs: withGateway, now: run.loop.now)
        let closedBefore = run.pool.figures.closedByGateway
        let victim = run.rig.gateways[Int.random(in: 0..<run.rig.gateways.count, using: &random)]
        run.rig.redis?.signal(SIGKILL)
        if withGateway { victim.process?.signal(SIGKILL) }
        try run.spend(.seconds(2))
        var answeredAt: MonotonicTime?
        let scene = Scene(rig: run.rig, pool: run.pool, checker: run.checker, seed: 0)
        _ = RedisReturn.begin(scene) { answeredAt = run.loop.now }
        try run.until("Redis to answer", .seconds(20)) { answeredAt != nil }
        let since = answeredAt ?? run.loop.now
        run.pool.ackWatch = (since, [:])
        let living = run.rig.gateways.filter { !withGateway || $0.number != victim.number }
        let works = try run.untilSoft(.seconds(20) * run.plan.patience) {
            living.allSatisfy { run.pool.ackWatch.first[$0.number] != nil }
        }
        let last = run.pool.ackWatch.first.values.max() ?? since
        publishing.append(works ? last.since(since) : nil)
        try run.awaitRecovery(meter)
        if withGateway {
            scene.restart(victim)
            try run.until("the gateway to come back", .seconds(20)) { victim.isUp }
        }
        if try !run.untilSoft(.seconds(15) * run.plan.patience, { run.pool.areSubscribersComplete }) {
            run.checker.report(.errorVisibility, now: run.loop.now, "not all came back: \(run.pool.incomplete)")
        }
        for gateway in living {
            disconnects +=
                run.pool.figures.closedByGateway[gateway.number, default: 0]
                - closedBefore[gateway.number, default: 0]
        }
        meter.record.evidence = "published again after \(publishing.last??.millisecondsText ?? "never")"
        let record = meter.finish()
        told += record.told
        run.records.append(record)
        run.checker.enter(.calm, now: run.loop.now)
        try run.spend(.seconds(withGateway ? 6 : 2))
    }
}
