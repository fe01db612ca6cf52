// One run from beginning to end: cluster up, clients in, calm, faults one after the other, everything healed, markers,
// histories, verdict. Procedural: the main thread turns the loop itself until the next thing is due. Every wait has a
// bound; the cluster is torn down whatever happens.

package import Bytes
import Glibc
import LoadCore
import Reactor
import Telemetry

/// What to run.
package struct RunPlan: Sendable {
    /// What is broken.
    package var profile = Profile.smoke
    /// The cluster.
    package var rig = RigPlan()
    /// The clients.
    package var clients = ClientPlan()
    /// A defect to put in.
    package var mutant: Mutant?
    /// How long deliveries may take to come back after a fault has been healed.
    package var recoveryLimit = Duration.seconds(15)
    /// Calm before the first fault.
    package var calm = Duration.seconds(4)
    /// The command that makes this run again.
    package var command = ""

    package init() {}
}

/// What a fault did.
package struct FaultRecord: Sendable {
    /// Which fault.
    package let name: FaultName
    /// When it was injected.
    package let at: MonotonicTime
    /// What shows that it took effect.
    package var evidence: String?
    /// From the healing until 99 % of the subscriptions got something new; nil when that did not happen.
    package var recovery: Duration?
    /// From the injection until a client saw an error or an end.
    package var firstError: Duration?
    /// From the injection until a gateway said at /readyz that it is not ready.
    package var unready: Duration?
    /// From the healing until all said that they are.
    package var ready: Duration?
    /// Connections that the server ended meanwhile.
    package var disconnects = 0
    /// Subscriptions that were told to start anew.
    package var told = 0
    /// Error replies meanwhile.
    package var errors = 0
}

/// Runs a plan.
package final class VerifyRun {
    private let plan: RunPlan
    private let loop: Loop
    private let registry: MetricRegistry
    private let rig: ClusterRig
    private let checker: Checker
    private let pool: ClientPool
    private var records: [FaultRecord] = []
    private var lastSample = MonotonicTime(nanoseconds: 0)
    private var lastPoll = MonotonicTime(nanoseconds: 0)
    private var isInterrupted = false
    private let tell: (String) -> Void
    private let began = MonotonicTime.now()
    private var tampering: Tampering?
    private let readiness: ReadinessWatch

    /// A run of `plan`; `tell` gets a line for each step.
    package init(_ plan: RunPlan, tell: @escaping (String) -> Void = { _ in }) throws {
        self.plan = plan
        let began = began
        self.tell = { line in
            let seconds = Double(MonotonicTime.now().since(began).wholeMilliseconds) / 1000
            tell("\(JSONText.short(seconds)) s  \(line)")
        }
        registry = MetricRegistry(loops: 1, version: "verify")
        var limits = LoopLimits()
        // Links that a fault holds back are the fault's business.
        limits.writeTimeout = .seconds(3600)
        loop = try Loop(index: 0, limits: limits, metrics: registry.shard(0))
        var rigPlan = plan.rig
        rigPlan.seed = plan.clients.seed
        rig = try ClusterRig(loop, rigPlan)
        var clients = plan.clients
        clients.hasHistory = rig.hasHistory
        var books = CheckerPlan()
        books.rooms = clients.rooms
        books.subscribers = clients.subscribers
        books.publishers = clients.publishers
        books.hasHistory = rig.hasHistory
        books.historySize = rigPlan.historySize
        books.answerLimit = clients.answerLimit
        checker = Checker(books, now: began)
        pool = ClientPool(loop, directory: rig, checker: checker, plan: clients)
        readiness = ReadinessWatch(loop, rig: rig)
    }

    private static let interrupts = [SIGINT, SIGTERM]

    /// Blocks the signals that end a run. Call on the main thread before anything else.
    package static func prepareSignals() { Signals.prepare(interrupts) }

    /// Ends the run at its next step, and with it every process, when it is interrupted.
    package func endWhenInterrupted() throws {
        try loop.onSignals(VerifyRun.interrupts) { [weak self] _ in self?.isInterrupted = true }
    }

    /// Makes the run. Throws when the cluster cannot be set up or the run is interrupted.
    package func run() throws -> RunReport {
        defer {
            rig.tearDown()
            loop.turn(wait: false)
            loop.dismantle()
        }
        try prepare()
        try settleIn()
        let begin = MonotonicTime.now()
        for entry in Schedule.make(plan.profile, seed: plan.clients.seed, hasRedis: !plan.rig.isEmbedded) {
            let early = (begin + entry.at).since(.now())
            if early > .zero { try spend(early) }
            try perform(entry)
        }
        if case .calm(let seconds) = plan.profile { try spend(.seconds(Int64(seconds))) }
        try conclude()
        return report()
    }

    // MARK: Steps

    private func prepare() throws {
        try rig.start()
        tell("gateways are up, rooms \(rig.hasHistory ? "with" : "without") history")
        if let mutant = plan.mutant { arm(mutant) }
    }

    private func settleIn() throws {
        pool.start()
        readiness.start()
        try until("clients to join", .seconds(20)) { pool.isComplete }
        pool.startPublishing()
        try spend(plan.calm)
        for gateway in rig.gateways {
            if let sample = gateway.process?.sample() {
                checker.setBaseline(gateway.number, descriptors: sample.descriptors)
            }
        }
        pool.isRestless = true
    }

    private func perform(_ entry: ScheduledFault) throws {
        let fault = Schedule.fault(entry.name, seed: entry.seed, isDurable: plan.rig.appendOnly)
        let scene = Scene(rig: rig, pool: pool, checker: checker, seed: entry.seed)
        var record = FaultRecord(name: entry.name, at: loop.now)
        tell("\(entry.name.rawValue) \(entry.name.summary)")
        let before = (pool.figures.disconnects, checker.figures.told, pool.figures.errorReplies)
        var firstError: MonotonicTime?
        pool.onTrouble = { [loop] in if firstError == nil { firstError = loop.now } }
        checker.enter(.fault, losesData: fault.losesData, now: loop.now)
        readiness.reset()
        fault.inject(scene)
        try spend(fault.length)
        record.unready = readiness.firstUnready.map { $0.since(record.at) }
        fault.heal(scene)
        let healed = try untilSoft(.seconds(15)) { fault.isHealed(scene) }
        if !healed { checker.report(.errorVisibility, now: loop.now, "\(entry.name.rawValue) could not be healed") }
        checker.enter(.recovery, now: loop.now)
        checker.beginRecovery(now: loop.now)
        let since = loop.now
        let isBack = try untilSoft(plan.recoveryLimit) { [self] in
            let expected = pool.expectedSubscriptions
            return expected == 0 || checker.recoveredSubscriptions * 100 >= expected * 99
        }
        if isBack {
            record.recovery = loop.now.since(since)
        } else {
            checker.report(
                .errorVisibility, now: loop.now,
                "after \(entry.name.rawValue) only \(checker.recoveredSubscriptions) of \(pool.expectedSubscriptions) "
                    + "subscriptions got anything within \(plan.recoveryLimit)")
        }
        if try untilSoft(.seconds(5), { readiness.isAllReady }) { record.ready = loop.now.since(since) }
        record.evidence = fault.evidence(scene)
        judge(fault, record)
        try spend(.seconds(1))
        pool.onTrouble = nil
        record.firstError = firstError.map { $0.since(record.at) }
        record.disconnects = pool.figures.disconnects - before.0
        record.told = checker.figures.told - before.1
        record.errors = pool.figures.errorReplies - before.2
        records.append(record)
        checker.enter(.calm, now: loop.now)
        try spend(plan.profile == .std ? .seconds(10) : .milliseconds(1200))
    }

    /// What the fault's own terms demand beside the invariants. A martlet without history has no probe yet.
    private func judge(_ fault: any Fault, _ record: FaultRecord) {
        guard rig.hasHistory, let limit = fault.mustShowWithin else { return }
        if let unready = record.unready, unready <= limit + .milliseconds(300) { return }
        checker.report(
            .errorVisibility, now: loop.now, "\(record.name.rawValue) was not shown by /readyz within \(limit)")
    }

    private func conclude() throws {
        tell("healing, markers, histories")
        tampering?.stop()
        for gateway in rig.gateways {
            // Deafness is to last: healed, it would be repaired with the next message.
            if plan.mutant != .staysDeaf { gateway.redisProxy?.clear() }
            gateway.clientProxy.clear()
        }
        pool.isRestless = false
        pool.wakeEverybody()
        pool.stopPublishing()
        // Whoever was frozen reads now, and may find that it was turned out meanwhile.
        try spend(.milliseconds(700))
        if try !untilSoft(.seconds(25), { pool.isComplete }) {
            checker.report(.errorVisibility, now: loop.now, "not all clients came back: \(pool.incomplete)")
        }
        pool.sendMarkers()
        let wanted = pool.figures.markersSeen + pool.expectedSubscriptions
        _ = try untilSoft(.seconds(10)) { pool.isComplete && pool.figures.markersSeen >= wanted }
        try spend(.milliseconds(300))
        if rig.hasHistory {
            pool.readHistories()
            if try !untilSoft(.seconds(15), { pool.historiesRead >= pool.historiesWanted }) {
                checker.report(
                    .errorVisibility, now: loop.now,
                    "only \(pool.historiesRead) of \(pool.historiesWanted) histories could be read")
            }
        }
        checker.finish(now: loop.now)
    }

    // MARK: Turning

    private func turn() throws {
        loop.schedule(after: .milliseconds(20)) {}
        loop.turn()
        if isInterrupted { throw RigFailure("interrupted") }
        let now = loop.now
        guard now.since(lastPoll) >= .milliseconds(50) else { return }
        lastPoll = now
        rig.poll(
            bug: { [checker] what, line in checker.complained(what, line, now: now) },
            ended: { [checker] what, how in checker.exited(what, how, now: now) })
        guard now.since(lastSample) >= .seconds(1) else { return }
        lastSample = now
        for gateway in rig.gateways where gateway.isUp {
            guard let sample = gateway.process?.sample() else { continue }
            checker.sampled(gateway.number, resident: sample.resident, descriptors: sample.descriptors, now: now)
        }
    }

    private func spend(_ time: Duration) throws {
        let end = MonotonicTime.now() + time
        while MonotonicTime.now() < end { try turn() }
    }

    private func untilSoft(_ patience: Duration, _ condition: () -> Bool) throws -> Bool {
        let end = MonotonicTime.now() + patience
        while !condition() {
            guard MonotonicTime.now() < end else { return false }
            try turn()
        }
        return true
    }

    private func until(_ what: String, _ patience: Duration, _ condition: () -> Bool) throws {
        guard try untilSoft(patience, condition) else {
            throw RigFailure("timed out waiting for \(what): \(pool.incomplete)")
        }
    }

    // MARK: Mutants

    private func arm(_ mutant: Mutant) {
        tell("mutant \(mutant.rawValue): \(mutant.summary)")
        if mutant.isOnClientLinks {
            var number: UInt64 = 0
            let (seed, rooms) = (plan.clients.seed, plan.clients.rooms)
            for gateway in rig.gateways {
                gateway.clientProxy.makeRewriter = {
                    number += 1
                    return MutantRewriter(mutant, rooms: rooms, seed: seed &* 7919 &+ number)
                }
            }
            pool.proxyEverybody()
        } else {
            tampering = Tampering(mutant, rig: rig, rooms: plan.clients.rooms)
            tampering?.start()
        }
    }

    // MARK: Report

    private func report() -> RunReport {
        RunReport(
            plan: plan, hasHistory: rig.hasHistory, checker: checker, clients: pool.figures, faults: records,
            duration: MonotonicTime.now().since(began),
            peaks: rig.gateways.map { checker.peak($0.number) })
    }
}
