// What the benches of presence, limits and attacks share: a loop that the main thread turns, a cluster (started here,
// or one that runs already), workers, samples of processor time, demands. Every wait has a bound; everything that was
// started is ended, whatever happens.

import Bytes
import Glibc
import LoadCore
import Reactor
import Telemetry

/// Which gateways a bench talks to.
package struct BenchCluster: Sendable {
    /// The program to start; empty to use `addresses`.
    package var martlet = ""
    /// The Redis to start with it.
    package var redisServer = "redis-server"
    /// Gateways to start.
    package var gateways = 3
    /// Event loops of each.
    package var loops = 1
    /// Without Redis: one gateway with its embedded engine.
    package var isEmbedded = false
    /// Gateways that run already, `ADDRESS:PORT`.
    package var addresses: [String] = []
    /// Their Redis, `ADDRESS:PORT`; empty when nobody may look at it.
    package var redis = ""
    /// What its keys begin with.
    package var prefix = "martlet"
    /// Processes to watch, of gateways that run already.
    package var pids: [Int32] = []
    /// Keeps the folder with configurations and logs.
    package var keepsFolder = false
    /// Seed of all choices.
    package var seed: UInt64 = 1
    /// The command that makes the run again.
    package var command = ""

    package init() {}

    /// Whether the tool starts the cluster itself.
    package var isOwn: Bool { !martlet.isEmpty }
}

/// A run of a bench.
package class Bench {
    let cluster: BenchCluster
    let loop: Loop
    private let registry: MetricRegistry
    let fleet: CrowdFleet
    private(set) var rig: ClusterRig?
    private(set) var redis: RedisControl?
    private(set) var redisAddress: SocketAddress?
    private let folder: String
    private var isInterrupted = false
    private let tellLine: (String) -> Void
    private let began = MonotonicTime.now()
    /// What it finds.
    var report: BenchReport
    private static let interrupts = [SIGINT, SIGTERM]

    /// A bench named `title` on `cluster`; `tell` gets a line for each step.
    init(_ title: String, _ cluster: BenchCluster, tell: @escaping (String) -> Void) throws {
        self.cluster = cluster
        tellLine = tell
        DescriptorLimit.raise()
        registry = MetricRegistry(loops: 1, version: "bench")
        var limits = LoopLimits()
        limits.writeTimeout = .seconds(3600)
        loop = try Loop(index: 0, limits: limits, metrics: registry.shard(0))
        fleet = CrowdFleet(loop)
        report = BenchReport(title: title, seed: cluster.seed, command: cluster.command)
        var template = Array("/tmp/martlet-bench-XXXXXX\0".utf8CString)
        guard let made = mkdtemp(&template) else { throw RigFailure("cannot make a folder in /tmp") }
        folder = String(cString: made)
    }

    /// Blocks the signals that end a run. Call on the main thread before anything else.
    package static func prepareSignals() {
        signal(SIGPIPE, SIG_IGN)
        Signals.prepare(interrupts)
    }

    /// Makes the run. Throws when the cluster cannot be set up, something takes too long, or it is interrupted.
    package func run() throws -> BenchReport {
        try loop.onSignals(Bench.interrupts) { [weak self] _ in self?.isInterrupted = true }
        defer {
            fleet.end()
            rig?.tearDown()
            redis?.drop()
            loop.turn(wait: false)
            loop.dismantle()
            if !cluster.keepsFolder { ClusterRig.remove(folder) }
        }
        try perform()
        report.seconds = MonotonicTime.now().since(began).inSeconds
        return report
    }

    /// The run itself.
    func perform() throws { preconditionFailure("a bench says what it does") }

    func tell(_ line: String) {
        let seconds = MonotonicTime.now().since(began).inSeconds
        tellLine("\(JSONText.short((seconds * 10).rounded() / 10)) s  \(line)")
    }

    /// Notes a demand and what was measured; a demand that is not held fails the run.
    func must(_ name: String, _ measured: String, holds: Bool) {
        report.musts.append(Must(name: name, measured: measured, isHeld: holds))
        tell("\(holds ? "held" : "NOT HELD")  \(name): \(measured)")
    }

    // MARK: The cluster

    /// Starts gateways with `configuration`, or looks for those that run.
    func startCluster(_ configuration: String) throws {
        if cluster.isOwn {
            var plan = RigPlan()
            plan.binary = cluster.martlet
            plan.redisServer = cluster.redisServer
            plan.gateways = cluster.gateways
            plan.loops = cluster.loops
            plan.isEmbedded = cluster.isEmbedded
            plan.isDirect = true
            plan.keepsPorts = true
            plan.appendOnly = false
            plan.seed = cluster.seed
            plan.keepsFolder = cluster.keepsFolder
            plan.configuration = configuration
            let rig = try ClusterRig(loop, plan)
            self.rig = rig
            try rig.start()
            redisAddress = cluster.isEmbedded ? nil : SocketAddress(host: "127.0.0.1", port: rig.redisPort)
            tell("\(rig.gateways.count) gateways are up" + (cluster.keepsFolder ? ", logs in \(rig.folder)" : ""))
        } else {
            guard !cluster.addresses.isEmpty else { throw RigFailure("no gateway: name one, or a program to start") }
            for address in cluster.addresses where Endpoint.address(address) == nil {
                throw RigFailure("\(address) is no address and port on this machine")
            }
            if !cluster.redis.isEmpty {
                redisAddress = Endpoint.address(cluster.redis)
                if redisAddress == nil { throw RigFailure("\(cluster.redis) is no address and port on this machine") }
            }
        }
        redis = redisAddress.map { RedisControl(loop, $0, patience: .seconds(5)) }
    }

    /// Where clients reach the gateways.
    var addresses: [String] {
        guard let rig else { return cluster.addresses }
        return rig.gateways.map { "127.0.0.1:\($0.clientPort)" }
    }

    /// The processes of the gateways.
    var gatewayPids: [Int32] {
        guard let rig else { return cluster.pids }
        return rig.gateways.compactMap { $0.process?.isRunning == true ? $0.process?.pid : nil }
    }

    /// Starts `count` workers.
    func startWorkers(_ count: Int) throws {
        try fleet.start(count, folder: folder)
        try until("the workers to start", .seconds(20)) { fleet.isComplete }
    }

    // MARK: Turning

    private var lastPoll = MonotonicTime(nanoseconds: 0)

    private func turn() throws {
        loop.schedule(after: .milliseconds(20)) {}
        loop.turn()
        if isInterrupted { throw RigFailure("interrupted") }
        if fleet.hasLost { throw RigFailure("a worker ended early; see its log with --keep") }
        guard let rig, loop.now.since(lastPoll) >= .milliseconds(100) else { return }
        lastPoll = loop.now
        rig.poll(
            bug: { what, line in report.problems.append("\(what) says: \(line.prefix(200))") },
            ended: { what, how in report.problems.append("\(what) ended by itself: \(how)") })
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
        guard try untilSoft(patience, condition) else { throw RigFailure("timed out waiting for \(what)") }
    }

    // MARK: Figures

    /// What Redis says to a question; nil without Redis or an answer.
    func ask(_ words: [String]) throws -> [UInt8]? {
        guard let redis else { return nil }
        var answer: [UInt8]?
        var isDone = false
        redis.send(words) {
            answer = $0
            isDone = true
        }
        _ = try untilSoft(.seconds(6)) { isDone }
        return answer
    }

    /// All that workers counted.
    func collectReports() throws -> WorkerResult {
        fleet.askReports()
        try until("the workers' reports", .seconds(30)) { fleet.hasReported }
        return fleet.result
    }
}
