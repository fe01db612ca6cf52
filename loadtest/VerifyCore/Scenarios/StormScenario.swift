// Very many clients drop one after the other, so that each misses another number of messages, and return all at once:
// everybody must recover wholly and soon, Redis must be read once a room and not once a client, and those who stayed
// must hardly notice. The clients live in processes of their own.

import Bytes
import Glibc
import LoadCore
import Reactor

final class StormScenario: Scenario, ConnectionHandler {
    private static let recoveryLimit = Duration.seconds(10)
    private static let absence = Duration.seconds(10)

    private final class Worker {
        let channel: LineChannel
        var progress = StormProgress()
        var isDone = false
        init(_ channel: LineChannel) { self.channel = channel }
    }

    private let clients: Int
    private let processes: Int
    private var loop: Loop?
    private var workers: [ConnectionID: Worker] = [:]
    private var children: [ChildProcess] = []
    private var complaints: [String] = []
    private var short = 0

    init(clients: Int, processes: Int) {
        self.clients = clients
        self.processes = processes
    }

    func adapt(_ plan: inout RunPlan) {
        plan.isRestless = false
        plan.rig.historySize = 300
        // Those who stay: their latency tells what the storm costs others.
        plan.clients.subscribers = 30
        plan.clients.publishers = 10
        plan.clients.rate = min(plan.clients.rate, 50)
        plan.clients.roomsPerSubscriber = 1
        plan.bounds.descriptors = 20_000
        plan.bounds.resident = 2 << 30
        plan.bounds.residentSlack = 1 << 30
        plan.bounds.descriptorSlack = clients + 64
    }

    func perform(_ run: VerifyRun) throws {
        defer { for child in children { child.end() } }
        try startWorkers(run)
        try run.until("the workers' clients to join", .seconds(120)) { self.sum.joined == self.clients }
        run.tell("\(clients) clients are in \(run.plan.clients.rooms) rooms")
        try run.spend(.seconds(2))
        let meter = FaultMeter(run, .reconnectStorm)
        tell("drop \(StormScenario.absence.wholeMilliseconds)")
        try run.spend(StormScenario.absence)
        try run.until("everybody to be gone", .seconds(20)) { self.sum.joined == 0 }
        try run.spend(.seconds(1))
        let before = try commandCalls(run)
        let positions = sum.positions
        run.tell("everybody returns, from \(positions) different positions")
        run.checker.enter(.fault, now: run.loop.now)
        let began = run.loop.now
        tell("return")
        let isBack = try run.untilSoft(.seconds(60) * run.plan.patience) { self.sum.joined == self.clients }
        let took = run.loop.now.since(began)
        let after = try commandCalls(run)
        meter.record.recovery = isBack ? took : nil
        meter.record.evidence = "\(clients) clients from \(positions) positions"
        try run.spend(.seconds(1))
        run.records.append(meter.finish())
        run.checker.enter(.calm, now: run.loop.now)
        judge(run, took: isBack ? took : nil, before, after, positions)
        try compare(run)
    }

    private func judge(
        _ run: VerifyRun, took: Duration?, _ before: [String: Int], _ after: [String: Int], _ positions: Int
    ) {
        let all = sum
        let limit = StormScenario.recoveryLimit * run.plan.patience
        run.must(
            "all clients have recovered within 10 s", took?.millisecondsText ?? "never",
            holds: took.map { $0 <= limit } ?? false)
        run.must(
            "every one of them with recovered: true", "\(all.recovered) of \(clients), \(all.refused) refused",
            holds: all.recovered == clients && all.refused == 0)
        run.must("they came from different offsets", "\(positions)", holds: positions > run.plan.clients.rooms * 10)
        let reads = calls("xrange", before, after) + calls("xrevrange", before, after)
        let bound = 10 * run.plan.clients.rooms
        run.must("Redis reads at most \(bound) ranges", "\(reads)", holds: reads <= bound)
        run.extras.append(("storm_evalsha_calls", .whole(UInt64(max(0, calls("evalsha", before, after))))))
        run.extras.append(("storm_backlog_publications", .whole(UInt64(all.backlog))))
        let established = run.checker.figures.deliveryLatency[Phase.fault.rawValue]
        run.must(
            "those who stayed get 99 % of the messages within 1 s", established.line,
            holds: established.count > 0 && established.percentile(99) <= UInt64(1_000_000 * run.plan.patience))
    }

    /// Whether each client has got all that was acknowledged, and none saw a broken promise.
    private func compare(_ run: VerifyRun) throws {
        run.pool.stopPublishing()
        try run.until("publications to complete", .seconds(10)) { run.pool.isComplete }
        try run.spend(.seconds(1))
        let tops = (0..<run.plan.clients.rooms).map { run.checker.ackedTop($0) }
        tell("tops " + tops.map(String.init).joined(separator: " "))
        try run.until("the workers' reports", .seconds(30)) { self.workers.values.allSatisfy(\.isDone) }
        run.must("everybody has got everything", "\(short) have not", holds: short == 0)
        run.must(
            "no promise was broken for any of them",
            complaints.isEmpty ? "none" : complaints.prefix(3).joined(separator: "; "),
            holds: sum.violations == 0 && complaints.isEmpty)
    }

    private var sum: StormProgress { workers.values.reduce(StormProgress()) { $0 + $1.progress } }

    private func tell(_ line: String) { for worker in workers.values { worker.channel.send(line) } }

    // MARK: Redis

    private func commandCalls(_ run: VerifyRun) throws -> [String: Int] {
        var found: [String: Int]?
        run.rig.redisControl?.send(["INFO", "commandstats"]) { reply in
            found = Dictionary(
                uniqueKeysWithValues: ["xrange", "xrevrange", "evalsha"].map {
                    ($0, RedisInfo.calls($0, in: reply ?? []))
                })
        }
        try run.until("INFO", .seconds(10)) { found != nil }
        return found ?? [:]
    }

    private func calls(_ name: String, _ before: [String: Int], _ after: [String: Int]) -> Int {
        (after[name] ?? 0) - (before[name] ?? 0)
    }

    // MARK: Workers

    private func startWorkers(_ run: VerifyRun) throws {
        loop = run.loop
        let kind = run.loop.register(self)
        guard let any = SocketAddress(host: "127.0.0.1", port: 0) else { throw RigFailure("address") }
        let listener = try Listener.bind(any, shared: false, handler: kind)
        let port = listener.address.port ?? 0
        try run.loop.add(listener)
        for number in 0..<processes {
            children.append(
                try ChildProcess(
                    "storm worker \(number)", [try StormScenario.ownPath(), "verify", "--storm-worker", "\(port)"],
                    logPath: "\(run.rig.folder)/storm-\(number).log"))
        }
        try run.until("the workers to start", .seconds(20)) { self.workers.count == self.processes }
        for (number, worker) in workers.values.enumerated() {
            var share = StormShare()
            share.worker = number
            share.workers = processes
            share.clients = clients / processes + (number < clients % processes ? 1 : 0)
            share.rooms = run.plan.clients.rooms
            share.publishers = run.plan.clients.publishers
            share.historySize = run.plan.rig.historySize
            share.answerLimitMilliseconds = Int(run.plan.clients.answerLimit.wholeMilliseconds) + 20_000
            share.seed = run.plan.clients.seed
            share.ports = run.rig.gateways.map(\.clientPort)
            worker.channel.send(share.line)
        }
    }

    private static func ownPath() throws -> String {
        var bytes = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink("/proc/self/exe", &bytes, bytes.count - 1)
        guard count > 0 else { throw RigFailure("cannot find the path of this program") }
        return String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func opened(_ id: ConnectionID) { if let loop { workers[id] = Worker(LineChannel(loop, id)) } }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let worker = workers[id] else { return }
        for words in worker.channel.take(bytes) {
            switch words.first {
            case "progress": if let progress = StormProgress(words) { worker.progress = progress }
            case "violation": complaints.append(words.dropFirst().joined(separator: " "))
            case "short": short += words.count == 3 ? Int(words[2]) ?? 0 : 0
            case "done": worker.isDone = true
            default: break
            }
        }
    }

    func closed(_ id: ConnectionID, _ reason: CloseReason) {
        guard let worker = workers[id], !worker.isDone else { return }
        complaints.append("a worker ended early")
    }
}
