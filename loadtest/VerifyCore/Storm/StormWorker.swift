// A process that holds its share of a storm's clients: it connects back to the driver, does what the lines say and
// reports. The clients and the checker are those of every run; only publications are others' business here.
//
//   in   share … | drop MILLISECONDS | return | tops OFFSET… | end of the connection: exit
//   out  progress … | violation TEXT | short ROOM CLIENTS | done

import Bytes
import LoadCore
package import Reactor
import Telemetry

/// Runs a worker.
package final class StormWorker: ConnectionHandler {
    private let loop: Loop
    private var kind: UInt8 = 0
    private var channel: LineChannel?
    private var pool: ClientPool?
    private var checker: Checker?
    private var directory: FixedGateways?
    private var random = SeededRandom(seed: 1)
    private(set) var hasEnded = false
    private var positions: Set<UInt64> = []
    private var told = 0

    /// A worker on `loop` for the driver that listens on `port`.
    init(_ loop: Loop, port: UInt16) throws {
        self.loop = loop
        kind = loop.register(self)
        guard let driver = SocketAddress(host: "127.0.0.1", port: port) else { throw RigFailure("address") }
        channel = LineChannel(loop, try loop.connect(to: driver, handler: kind))
    }

    /// Serves the driver that listens on `port` until it ends the connection.
    package static func run(port: UInt16) throws {
        DescriptorLimit.raise()
        let registry = MetricRegistry(loops: 1, version: "verify")
        let loop = try Loop(index: 0, metrics: registry.shard(0))
        let worker = try StormWorker(loop, port: port)
        while !worker.hasEnded {
            loop.schedule(after: .milliseconds(20)) {}
            loop.turn()
        }
        loop.dismantle()
    }

    package func opened(_ id: ConnectionID) { report() }

    package func closed(_ id: ConnectionID, _ reason: CloseReason) { hasEnded = true }

    package func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        for words in channel?.take(bytes) ?? [] {
            switch words.first {
            case "share": if let share = StormShare(words) { begin(share) }
            case "drop": if words.count == 2, let time = Int64(words[1]) { drop(over: .milliseconds(time)) }
            case "return": comeBack()
            case "tops": finish(words.dropFirst().compactMap { UInt64($0) })
            default: break
            }
        }
    }

    private func begin(_ share: StormShare) {
        var plan = ClientPlan()
        plan.isShare = true
        plan.subscribers = share.clients
        plan.rooms = share.rooms
        plan.roomsPerSubscriber = 1
        plan.seed = share.seed &* 7919 &+ UInt64(share.worker)
        plan.answerLimit = .milliseconds(share.answerLimitMilliseconds)
        plan.openingLimit = 256
        // Each worker has source addresses of its own.
        plan.sources = (0..<4).compactMap { SocketAddress(host: "127.0.\(share.worker + 1).\($0 + 1)", port: 0) }
        var books = CheckerPlan()
        books.learnsPublications = true
        books.rooms = share.rooms
        books.subscribers = share.clients
        books.publishers = share.publishers
        books.historySize = share.historySize
        books.answerLimit = plan.answerLimit
        // How fast is the driver's question.
        books.calmLatencyLimit = .seconds(600)
        random = SeededRandom(seed: plan.seed)
        let checker = Checker(books, now: .now())
        let directory = FixedGateways(ports: share.ports)
        let pool = ClientPool(loop, directory: directory, checker: checker, plan: plan)
        self.checker = checker
        self.directory = directory
        self.pool = pool
        pool.start()
    }

    /// All clients leave, one after the other in a random order, so that each misses another number of messages.
    private func drop(over time: Duration) {
        guard let pool else { return }
        let order = Array(0..<pool.clients.count).shuffled(using: &random)
        for (index, number) in order.enumerated() {
            let delay = Duration.nanoseconds(time.wholeNanoseconds / Int64(max(1, order.count)) * Int64(index))
            loop.schedule(after: delay) { [weak self] in
                self?.pool?.leave([number])
                if let place = self?.checker?.position(number, number % (self?.checker?.plan.rooms ?? 1)) {
                    self?.positions.insert(place.offset << 16 | UInt64(number % (self?.checker?.plan.rooms ?? 1)))
                }
            }
        }
    }

    private func comeBack() {
        guard let pool else { return }
        pool.comeBack(Array(0..<pool.clients.count))
    }

    private func report() {
        var progress = StormProgress()
        if let pool, let checker {
            progress.joined = checker.liveSubscriptions
            progress.recovered = checker.figures.recovered
            progress.refused = checker.figures.notRecovered
            progress.backlog = checker.figures.backlogDeliveries
            progress.positions = positions.count
            progress.violations = checker.counts.values.reduce(0, +)
            progress.disconnects = pool.figures.disconnects
            progress.errors = pool.figures.errorReplies
            for violation in checker.offenders.dropFirst(told) {
                channel?.send("violation \(violation.invariant.rawValue): \(violation.text)")
            }
            told = checker.offenders.count
        }
        channel?.send(progress.line)
        loop.schedule(after: .milliseconds(100)) { [weak self] in self?.report() }
    }

    /// Whether every client in `room` has got up to `top`.
    func isUpToDate(_ room: Int, _ top: UInt64) -> Bool { checker?.subscriptions(of: room, below: top) == 0 }

    /// Compares what clients got with what was acknowledged.
    private func finish(_ tops: [UInt64]) {
        guard let checker else { return }
        for (room, top) in tops.enumerated() where room < checker.plan.rooms {
            let short = checker.subscriptions(of: room, below: top)
            if short > 0 { channel?.send("short \(room) \(short)") }
        }
        checker.finish(now: loop.now)
        channel?.send("done")
    }
}

/// Gateways that stay where they are.
final class FixedGateways: GatewayDirectory {
    private let ports: [UInt16]
    init(ports: [UInt16]) { self.ports = ports }
    var gatewayCount: Int { ports.count }
    func address(_ gateway: Int, proxied: Bool) -> SocketAddress? {
        SocketAddress(host: "127.0.0.1", port: ports[gateway])
    }
    func mustAnswer(_ gateway: Int, since time: MonotonicTime) -> Bool { true }
}
