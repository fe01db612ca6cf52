// Clients and checker together against a server that keeps the contract, and against one that breaks it in one way at a
// time. Real sockets on loopback, one loop; ends by counts, with a deadline as the last resort.

import Bytes
import LoadCore
import Reactor
import Telemetry
import Testing

@testable import VerifyCore

/// Six subscribers, two publishers, three rooms and two gateways for some hundred publications.
final class PoolRun {
    let registry = MetricRegistry(loops: 1, version: "test")
    let loop: Loop
    let checker: Checker
    let pool: ClientPool
    let server: ReferenceServer
    private let defect: Defect
    /// Whether nothing stands between correct answers and the clients.
    private var isSound: Bool { defect == .none && server.proxies.isEmpty }

    init(_ defect: Defect, breaksEvery: Int = 0, historySize: Int = 100) throws {
        self.defect = defect
        loop = try Loop(index: 0, metrics: registry.shard(0))
        server = try ReferenceServer(loop, gateways: 2, store: ReferenceStore(historySize: historySize, defect: defect))
        server.breaksEvery = breaksEvery
        var plan = ClientPlan()
        plan.subscribers = 6
        plan.publishers = 2
        plan.rooms = 3
        plan.roomsPerSubscriber = 2
        plan.rate = 600
        // Short only where silence is what is looked for: a test machine may stall.
        plan.answerLimit = defect == .silent ? .milliseconds(700) : .seconds(20)
        var books = CheckerPlan()
        books.rooms = 3
        books.subscribers = 6
        books.publishers = 2
        books.historySize = historySize
        books.answerLimit = plan.answerLimit
        // The test machine may stall; latency has tests of its own.
        books.calmLatencyLimit = .seconds(60)
        checker = Checker(books, now: .now())
        pool = ClientPool(loop, directory: server, checker: checker, plan: plan)
    }

    deinit { loop.dismantle() }

    /// Turns the loop until `condition` holds; false after a minute.
    func turn(until condition: () -> Bool) -> Bool {
        let deadline = MonotonicTime.now() + .seconds(60)
        while !condition() {
            if MonotonicTime.now() > deadline { return false }
            loop.schedule(after: .milliseconds(10)) {}
            loop.turn()
        }
        return true
    }

    /// The whole run: join, publish, two storms with publications meanwhile, markers, histories.
    func perform() throws {
        pool.start()
        try #require(turn { pool.isComplete }, "clients do not join: \(pool.incomplete)")
        pool.startPublishing()
        for round in 1...3 {
            let wanted = checker.figures.acked + 120
            try #require(turn { checker.figures.acked >= wanted }, "publishing stands still")
            if round < 3 { _ = pool.storm() }
        }
        pool.stopPublishing()
        try #require(turn { pool.isComplete }, "clients do not come back: \(pool.incomplete)")
        pool.sendMarkers()
        let wanted = pool.figures.markersSeen + pool.expectedSubscriptions
        // With a defect they may never come.
        let deadline = MonotonicTime.now() + (isSound ? .seconds(30) : .seconds(1))
        _ = turn { pool.isComplete && pool.figures.markersSeen >= wanted || MonotonicTime.now() > deadline }
        pool.readHistories()
        try #require(turn { pool.historiesRead == pool.historiesWanted }, "histories do not come")
        checker.finish(now: .now())
    }
}

@Suite("Clients and checker judge servers with history")
struct ClientPoolTests {
    @Test("a server that keeps the contract is found clean through storms of reconnects")
    func clean() throws {
        let run = try PoolRun(.none)
        try run.perform()
        #expect(run.checker.counts == [:], "\(run.checker.offenders.map(\.text))")
        #expect(run.checker.figures.recovered >= 12)
        #expect(run.checker.figures.historiesRead == 6)
        #expect(run.checker.figures.deliveries > 300)
    }

    @Test("publications whose answer was lost are sent again elsewhere with the same key, and count once")
    func retries() throws {
        let run = try PoolRun(.none, breaksEvery: 25)
        try run.perform()
        #expect(run.checker.counts == [:], "\(run.checker.offenders.map(\.text))")
        #expect(run.checker.figures.retriesAcked > 3)
    }

    @Test("a history that is too short for a storm gives recovered: false without a complaint")
    func shortHistory() throws {
        let run = try PoolRun(.none, historySize: 1)
        try run.perform()
        #expect(run.checker.counts == [:], "\(run.checker.offenders.map(\.text))")
    }

    @Test(
        "a defect is found under its own name",
        arguments: [
            (Defect.dropsDeliveries, [Invariant.silentGap, .lost]), (.doublesDeliveries, [.duplicate]),
            (.emptyBacklog, [.resumeHonesty]), (.ignoresKeys, [.duplicate]),
            (.acksOnly, [.inconsistentOffset, .lost, .ackHonesty]), (.lying120, [.phantom]),
            (.silent, [.errorVisibility]),
        ])
    func defects(_ defect: Defect, _ expected: [Invariant]) throws {
        let run = try PoolRun(defect, breaksEvery: defect == .ignoresKeys ? 25 : 0)
        try run.perform()
        let found = expected.filter { run.checker.counts[$0, default: 0] > 0 }
        #expect(!found.isEmpty, "\(run.checker.counts)")
    }

    @Test(
        "a mutant on the way to a correct server is found under one of its names",
        arguments: Mutant.allCases.filter { $0.isOnClientLinks && $0 != .swallowsErrors })
    func mutants(_ mutant: Mutant) throws {
        let run = try PoolRun(.none)
        try run.server.mutate(mutant, rooms: 3)
        try run.perform()
        let found = mutant.expected.filter { run.checker.counts[$0, default: 0] > 0 }
        #expect(!found.isEmpty, "\(run.checker.counts)")
    }

    @Test("claims that no server may honour are made, and found out when one does")
    func lies() throws {
        let run = try PoolRun(.believesAnything)
        run.pool.start()
        try #require(run.turn { run.pool.isComplete })
        run.pool.startPublishing()
        try #require(run.turn { run.checker.figures.acked >= 30 })
        for client in run.pool.clients where client.subscriber != nil {
            client.claim = client.number % 2 == 0 ? .forgedEpoch : .futureOffset
        }
        _ = run.pool.storm()
        try #require(run.turn { run.checker.figures.resumes >= 12 })
        #expect(run.checker.counts[.resumeHonesty, default: 0] >= 12)
    }
}
