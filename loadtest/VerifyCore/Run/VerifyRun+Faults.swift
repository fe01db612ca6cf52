// Injecting faults one after the other: each is measured from its injection over its healing to the recovery, and what
// it did to clients is counted. Part of VerifyRun.

import Bytes
import Reactor

extension VerifyRun {
    func performSchedule() throws {
        let begin = MonotonicTime.now()
        for entry in Schedule.make(plan.profile, seed: plan.clients.seed, hasRedis: !plan.rig.isEmbedded) {
            let early = (begin + entry.at).since(.now())
            if early > .zero { try spend(early) }
            try perform(entry)
        }
    }

    private func perform(_ entry: ScheduledFault) throws {
        let fault = Schedule.fault(entry.name, seed: entry.seed, isDurable: plan.rig.appendOnly)
        let scene = Scene(rig: rig, pool: pool, checker: checker, seed: entry.seed)
        tell("\(entry.name.rawValue) \(entry.name.summary)")
        let meter = FaultMeter(self, entry.name)
        checker.enter(.fault, losesData: fault.losesData, now: loop.now)
        fault.inject(scene)
        let troublesRedis = Schedule.needsRedis(entry.name)
        excusePresence(fault, troublesRedis)
        try spend(fault.length)
        meter.record.unready = readiness.firstUnready.map { $0.since(meter.record.at) }
        fault.heal(scene)
        let healed = try untilSoft(.seconds(15) * plan.patience) { fault.isHealed(scene) }
        excusePresence(fault, troublesRedis)
        if !healed { checker.report(.errorVisibility, now: loop.now, "\(entry.name.rawValue) could not be healed") }
        try awaitRecovery(meter)
        meter.record.evidence = fault.evidence(scene)
        judge(fault, meter.record)
        try spend(.seconds(1))
        records.append(meter.finish())
        if pool.rebalance() > 0 {
            try spend(.milliseconds(300))
            _ = try untilSoft(.seconds(5) * plan.patience) { pool.areSubscribersComplete }
        }
        checker.enter(.calm, now: loop.now)
        if troublesRedis { checker.setEventsMayVanish(false) }
        try spend(plan.profile == .std ? .seconds(10) : .milliseconds(1200))
    }

    /// Waits until 99 % of the subscriptions got something that was sent from now on, and all gateways are ready.
    func awaitRecovery(_ meter: FaultMeter) throws {
        checker.enter(.recovery, now: loop.now)
        checker.beginRecovery(now: loop.now)
        let since = loop.now
        let isBack = try untilSoft(plan.recoveryLimit) {
            let expected = pool.expectedSubscriptions
            return expected == 0 || checker.recoveredSubscriptions * 100 >= expected * 99
        }
        if isBack {
            meter.record.recovery = loop.now.since(since)
        } else {
            checker.report(
                .errorVisibility, now: loop.now,
                "after \(meter.record.name.rawValue) only \(checker.recoveredSubscriptions) of "
                    + "\(pool.expectedSubscriptions) subscriptions got anything within \(plan.recoveryLimit)")
        }
        if try untilSoft(.seconds(5) * plan.patience, { readiness.isAllReady }) {
            meter.record.ready = loop.now.since(since)
        }
    }

    /// What the fault's own terms demand beside the invariants. A martlet without history has no probe yet.
    private func judge(_ fault: any Fault, _ record: FaultRecord) {
        guard rig.hasHistory, let limit = fault.mustNoticeWithin.map({ $0 * plan.patience }) else { return }
        let noticed = fault.victimGateway?.noticedDeafness.map { $0.since(record.at) } ?? record.unready
        // Its log is read and /readyz asked some times a second.
        if let noticed, noticed <= limit + .milliseconds(300) { return }
        checker.report(
            .errorVisibility, now: loop.now,
            "\(record.name.rawValue) was noticed after \(noticed?.millisecondsText ?? "no time at all")")
    }
}

/// Counts what a fault does to clients, from its making to `finish`.
final class FaultMeter {
    private let run: VerifyRun
    private let before: (disconnects: Int, told: Int, errors: Int)
    private var firstTrouble: MonotonicTime?
    var record: FaultRecord

    init(_ run: VerifyRun, _ name: FaultName) {
        self.run = run
        record = FaultRecord(name: name, at: run.loop.now)
        before = (run.pool.figures.steadyDisconnects, run.checker.figures.told, run.pool.figures.errorReplies)
        run.readiness.reset()
        run.pool.slowestAnswer = .zero
        run.pool.onTrouble = { [weak self] in
            guard let self, firstTrouble == nil else { return }
            firstTrouble = self.run.loop.now
        }
    }

    /// The record with all that happened meanwhile.
    func finish() -> FaultRecord {
        run.pool.onTrouble = nil
        record.firstError = firstTrouble.map { $0.since(record.at) }
        record.slowestAnswer = run.pool.slowestAnswer
        record.unready = run.readiness.firstUnready.map { $0.since(record.at) }
        record.reason = run.readiness.reason
        record.disconnects = run.pool.figures.steadyDisconnects - before.disconnects
        record.told = run.checker.figures.told - before.told
        record.errors = run.pool.figures.errorReplies - before.errors
        return record
    }
}
