// Redis is killed and comes back from a snapshot that is a hundred acknowledged messages old, under load, again and
// again: no offset may get a second content, whoever had seen more is told, and everybody else goes on as if nothing
// had been. Some subscribers are away from before the snapshot until after the restart, so that there is somebody else:
// half of them return at once, while gateways have not connected again, half when all gateways say that they are ready.

import Bytes
import Glibc
import LoadCore
import Reactor

final class SnapshotScenario: Scenario {
    private let times: Int
    private var outcome = RollbackOutcome()
    private var lost = 0

    init(times: Int) { self.times = times }

    func adapt(_ plan: inout RunPlan) {
        plan.rig.appendOnly = false
        plan.isRestless = false
        // Whoever is away for a round must still be inside of the window when it comes back.
        plan.rig.historySize = 300
        plan.clients.rate = min(plan.clients.rate, 90)
    }

    func perform(_ run: VerifyRun) throws {
        for round in 0..<times { try perform(run, round) }
        let twice = run.checker.counts[.inconsistentOffset, default: 0]
        run.must("no offset has two contents", "\(twice) in \(times) restarts", holds: twice == 0)
        run.must(
            "every subscription that had seen more is told", "\(outcome.told) of \(outcome.ahead)",
            holds: outcome.told == outcome.ahead && outcome.ahead > 0)
        run.must(
            "everybody else recovers wholly", "\(outcome.continued) of \(outcome.behind)",
            holds: outcome.continued == outcome.behind && outcome.behind > 0)
        run.extras.append(("acknowledged_and_lost", .whole(UInt64(lost))))
    }

    private func perform(_ run: VerifyRun, _ round: Int) throws {
        let away = run.pool.victims(from: round)
        run.pool.leave(away)
        try run.spend(.milliseconds(300))
        var isSaved = false
        run.rig.redisControl?.send(["SAVE"]) { isSaved = $0?.first == UInt8(ascii: "+") }
        try run.until("SAVE", .seconds(5)) { isSaved }
        guard run.rig.snapshot(restore: false) else { throw RigFailure("cannot keep a copy of the snapshot") }
        let wanted = run.checker.figures.acked + 110
        try run.until("a hundred acknowledgements", .seconds(30)) { run.checker.figures.acked >= wanted }
        run.tell("round \(round + 1): back to a snapshot that is 100 messages old")
        let meter = FaultMeter(run, .redisLosesData)
        run.checker.enter(.fault, losesData: true, now: run.loop.now)
        let back = RedisRollback(run.rig, run.checker)
        back.kill()
        try run.spend(.milliseconds(1000))
        try back.start()
        try run.until("Redis to come back", .seconds(20)) { back.isOpen }
        lost += back.lost
        let census = run.checker.takeCensus()
        run.pool.comeBack(away.filter { $0 % 2 == 0 })
        _ = try run.untilSoft(.seconds(10) * run.plan.patience) { run.readiness.isAllReady }
        run.pool.comeBack(away)
        try run.awaitRecovery(meter)
        // Subscriptions that are refused for the moment ask again within two seconds.
        let isBack = try run.untilSoft(.seconds(15) * run.plan.patience) { run.pool.areSubscribersComplete }
        if !isBack {
            run.checker.report(.errorVisibility, now: run.loop.now, "not all came back: \(run.pool.incomplete)")
        }
        let result = run.checker.judge(census, now: run.loop.now)
        outcome += result
        meter.record.evidence =
            "\(back.lost) acknowledged messages gone; told \(result.told) of \(result.ahead), "
            + "went on \(result.continued) of \(result.behind)"
        run.records.append(meter.finish())
        run.checker.enter(.calm, now: run.loop.now)
        try run.spend(.milliseconds(1500))
    }
}

/// A restart of Redis from the snapshot that was kept, with the gateways kept out until it is known what is left.
final class RedisRollback {
    private let rig: ClusterRig
    private let checker: Checker
    private(set) var isOpen = false
    /// Acknowledged messages that are gone.
    private(set) var lost = 0

    init(_ rig: ClusterRig, _ checker: Checker) {
        self.rig = rig
        self.checker = checker
    }

    /// Ends Redis without a word and puts the older snapshot in its place.
    func kill() {
        for gateway in rig.gateways { gateway.redisProxy?.isRefusing = true }
        rig.redis?.end()
        _ = rig.snapshot(restore: true)
    }

    /// Starts Redis; `isOpen` when it answers, the checker knows what it has, and gateways may connect.
    func start() throws {
        try rig.startRedis()
        ask(attempts: 200)
    }

    private func ask(attempts: Int) {
        rig.redisControl?.send(["PING"]) { [self] reply in
            if reply?.first == UInt8(ascii: "+") { return read() }
            guard attempts > 0 else { return }
            rig.loop.schedule(after: .milliseconds(50)) { self.ask(attempts: attempts - 1) }
        }
    }

    private func read() {
        rig.readTops(rooms: checker.plan.rooms) { [self] tops in
            for (room, left) in tops.enumerated() {
                guard let left else { continue }
                let acked = checker.ackedTop(room)
                lost += Int(clamping: acked - min(acked, left.top))
                checker.rolledBack(room, to: left.top, epoch: left.epoch, now: rig.loop.now)
            }
            for gateway in rig.gateways { gateway.redisProxy?.isRefusing = false }
            isOpen = true
        }
    }
}
