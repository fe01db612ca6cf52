// One run from beginning to end: cluster up, clients in, calm, then faults one after the other or a scenario,
// everything healed, markers, histories, verdict. Procedural: the main thread turns the loop itself until the next
// thing is due. Every wait has a bound; the cluster is torn down whatever happens. Injecting faults is in
// VerifyRun+Faults.

import Bytes
import Glibc
import LoadCore
import Reactor
import Telemetry

/// Runs a plan.
package final class VerifyRun {
    let plan: RunPlan
    let loop: Loop
    private let registry: MetricRegistry
    let rig: ClusterRig
    let checker: Checker
    let pool: ClientPool
    let readiness: ReadinessWatch
    private let gauges: GaugeWatch
    var records: [FaultRecord] = []
    private(set) var musts: [Must] = []
    /// Further numbers of a scenario for the report.
    var extras: [(String, JSONText)] = []
    private var lastSample = MonotonicTime(nanoseconds: 0)
    private var lastPoll = MonotonicTime(nanoseconds: 0)
    private var isInterrupted = false
    let tell: (String) -> Void
    private let began = MonotonicTime.now()

    /// A run of `plan`; `tell` gets a line for each step.
    package init(_ plan: RunPlan, tell: @escaping (String) -> Void = { _ in }) throws {
        var plan = plan
        if case .scenario(let scenario) = plan.profile {
            // Exact limits are for rooms that do nothing else.
            plan.rig.hasPresence = false
            scenario.make().adapt(&plan)
        }
        plan.recoveryLimit = plan.recoveryLimit * plan.patience
        plan.clients.answerLimit = plan.clients.answerLimit * plan.patience
        if let mutant = plan.mutant, !mutant.isOnClientLinks { plan.rig.gatewayMutant = mutant }
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
        books.calmLatencyLimit = books.calmLatencyLimit * plan.patience
        books.bounds = plan.bounds
        if rig.hasPresence {
            books.presence = RigRooms.presence(clients.rooms)
            books.presenceLag = books.presenceLag * plan.patience
        }
        if rig.hasLimits { books.limits = RigRooms.limits(clients.rooms) }
        checker = Checker(books, now: began)
        pool = ClientPool(loop, directory: rig, checker: checker, plan: clients)
        readiness = ReadinessWatch(loop, rig: rig)
        gauges = GaugeWatch(loop, rig: rig, checker: checker)
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
            gauges.stop()
            rig.tearDown()
            loop.turn(wait: false)
            loop.dismantle()
        }
        do {
            try perform()
        } catch is MutantFound {
            // That is all that was asked.
        }
        return RunReport(self, duration: MonotonicTime.now().since(began))
    }

    /// The mutant has shown under one of its names.
    private struct MutantFound: Error {}

    private func perform() throws {
        try prepare()
        try settleIn()
        switch plan.profile {
        case .scenario(let scenario):
            guard rig.hasHistory else { throw RigFailure("scenarios need rooms with history on Redis") }
            try scenario.make().perform(self)
        case .calm(let seconds): try spend(.seconds(Int64(seconds)))
        default: try performSchedule()
        }
        try conclude()
    }

    // MARK: Steps

    private func prepare() throws {
        try rig.start()
        tell(
            "gateways are up, rooms \(rig.hasHistory ? "with" : "without") history, "
                + "\(rig.hasPresence ? "some" : "none") with members, \(rig.hasLimits ? "some" : "none") with a rate")
        guard let mutant = plan.mutant else { return }
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
        } else if !rig.gateways.allSatisfy(\.isMutant) {
            throw RigFailure("\(plan.rig.binary) was not built with MARTLET_MUTANTS; make test-mutants builds one")
        }
    }

    private func settleIn() throws {
        pool.start()
        readiness.start()
        try until("clients to join", .seconds(20) * plan.patience) { pool.isComplete }
        pool.startPublishing()
        try spend(plan.calm)
        try sampleAll()
        checker.setBaseline()
        pool.isRestless = plan.isRestless
    }

    private func conclude() throws {
        tell("healing, markers, histories")
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
        if try !untilSoft(.seconds(25) * plan.patience, { pool.isComplete }) {
            checker.report(.errorVisibility, now: loop.now, "not all clients came back: \(pool.incomplete)")
        }
        pool.sendMarkers()
        let wanted = pool.figures.markersSeen + pool.expectedSubscriptions
        _ = try untilSoft(.seconds(10) * plan.patience) { pool.isComplete && pool.figures.markersSeen >= wanted }
        try spend(.milliseconds(300))
        if rig.hasHistory {
            pool.readHistories()
            if try !untilSoft(.seconds(15) * plan.patience, { pool.historiesRead >= pool.historiesWanted }) {
                checker.report(
                    .errorVisibility, now: loop.now,
                    "only \(pool.historiesRead) of \(pool.historiesWanted) histories could be read")
            }
        }
        try sampleAll()
        try settlePresence()
        checker.finish(now: loop.now)
        try sweepPresence()
    }

    /// A sample of everything, with all its answers.
    private func sampleAll() throws {
        _ = try untilSoft(.seconds(3)) { gauges.isIdle }
        gauges.sample(now: loop.now)
        _ = try untilSoft(.seconds(3)) { gauges.isIdle }
    }

    /// Notes a demand and what was measured; a demand that is not held fails the run.
    func must(_ name: String, _ measured: String, holds: Bool) {
        musts.append(Must(name: name, measured: measured, isHeld: holds))
        tell("\(holds ? "held" : "NOT HELD")  \(name): \(measured)")
    }

    // MARK: Turning

    private func turn() throws {
        loop.schedule(after: .milliseconds(20)) {}
        loop.turn()
        if isInterrupted { throw RigFailure("interrupted") }
        if let mutant = plan.mutant, mutant.isCaught(by: checker.counts) { throw MutantFound() }
        let now = loop.now
        guard now.since(lastPoll) >= .milliseconds(50) else { return }
        lastPoll = now
        rig.poll(
            bug: { [checker] what, line in checker.complained(what, line, now: now) },
            ended: { [checker] what, how in checker.exited(what, how, now: now) })
        guard now.since(lastSample) >= .seconds(1) else { return }
        lastSample = now
        gauges.sample(now: now)
    }

    func spend(_ time: Duration) throws {
        let end = MonotonicTime.now() + time
        while MonotonicTime.now() < end { try turn() }
    }

    /// Turns until `condition` holds; false when it does not within `patience`.
    func untilSoft(_ patience: Duration, _ condition: () -> Bool) throws -> Bool {
        let end = MonotonicTime.now() + patience
        while !condition() {
            guard MonotonicTime.now() < end else { return false }
            try turn()
        }
        return true
    }

    func until(_ what: String, _ patience: Duration, _ condition: () -> Bool) throws {
        guard try untilSoft(patience, condition) else {
            throw RigFailure("timed out waiting for \(what): \(pool.incomplete)")
        }
    }
}
