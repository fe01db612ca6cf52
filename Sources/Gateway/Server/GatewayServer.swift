// The gateway as a whole: loops, listeners, engines, admin, signals, drain. Composition only; every decision is made in
// the modules that it puts together.
//
// Start: claim the ports, make the loops, listen, say so in the log. End: SIGTERM or SIGINT drains, a second one ends
// at once. Drain: /readyz says 503 first, listeners accept what waits and close, connections are closed with 3001 in
// paced batches over the drain window.

import Bytes
import Glibc
package import Logging
package import Reactor
import Rooms
import Synchronization
package import Telemetry

/// A gateway process.
package final class GatewayServer: @unchecked Sendable {
    // Sendable is sound: built and waited for by one thread; what loops call is either atomic or runs on loop 0.
    private let configuration: GatewayConfiguration
    private let logger: Logger
    private let registry: MetricRegistry
    private var loops: [GatewayLoop] = []
    private var pulses: [LoopPulse] = []
    private var engineStatuses: [EngineStatus] = []
    private var claims: [PortClaim] = []
    private var threads: [LoopThread] = []
    private let isDraining = Atomic<Bool>(false)
    private var descriptorLimit: UInt64 = 0
    private var admission = Admission(AdmissionLimits())
    private var memoryWatch: MemoryWatch?
    /// Where the client listener is bound; nil without one.
    package private(set) var clientAddress: SocketAddress?
    /// Where the admin listener is bound; nil without one.
    package private(set) var adminAddress: SocketAddress?

    /// Runs a gateway until it is told to end. Throws `GatewayFailure` when it cannot start.
    package static func run(configuration: GatewayConfiguration, logger: Logger, logWriter: LogWriter) throws {
        let server = GatewayServer(configuration: configuration, logger: logger) { logWriter.droppedLines }
        try server.start()
        server.wait()
    }

    /// A gateway that is not started yet.
    package init(
        configuration: GatewayConfiguration, logger: Logger,
        droppedLogLines: @escaping @Sendable () -> UInt64 = { 0 }
    ) {
        self.configuration = configuration
        self.logger = logger
        registry = MetricRegistry(
            loops: configuration.loops, version: MartletVersion.current, droppedLogLines: droppedLogLines)
    }

    /// Binds, starts the loops' threads and returns. Throws `GatewayFailure`; nothing runs and no port is held then.
    package func start() throws {
        do {
            try launch()
        } catch {
            for loop in loops { loop.stop() }
            end()
            throw error
        }
    }

    private func launch() throws {
        Signals.prepare([SIGTERM, SIGINT, SIGHUP])
        descriptorLimit = DescriptorLimit.raise()
        try makeLoops()
        try listenForClients()
        try listenForAdmin()
        guard let first = loops.first else { return }
        try first.loop.onSignals([SIGTERM, SIGINT, SIGHUP]) { [unowned self] in signalled($0) }
        for (index, loop) in loops.enumerated() {
            pulses[index].start(on: loop.loop)
            loop.startHousekeeping()
        }
        announce()
        watchMemory(on: first.loop)
        for loop in loops { threads.append(try LoopThread(loop.loop, name: "loop-\(loop.loop.index)")) }
    }

    /// Waits until the gateway has ended. Call once, after `start`.
    package func wait() {
        end()
        logger.info("stopped")
    }

    private func end() {
        for thread in threads { thread.join() }
        threads = []
        for loop in loops { loop.dismantle() }
        loops = []
        claims = []
    }

    /// Drains and ends, as SIGTERM does. Any thread.
    package func stop() { loops.first?.loop.execute { [weak self] in self?.signalled(SIGTERM) } }

    // MARK: Start

    private func makeLoops() throws {
        var limits = LoopLimits()
        limits.writeTimeout = configuration.client.writeTimeout
        let bare = try (0..<configuration.loops).map {
            try Loop(index: $0, limits: limits, metrics: registry.shard($0))
        }
        let node = NodeName.make()
        admission = Admission(AdmissionLimits(configuration, descriptors: descriptorLimit))
        if configuration.limits.maxConnections > admission.limits.connections {
            logger.warning(
                "limits.maxConnections is more than the descriptors allow; raise LimitNOFILE",
                metadata: ["connections.limit": .stringConvertible(admission.limits.connections)])
        }
        let rules = RoomRules(configuration, node: node, version: MartletVersion.current)
        let settings = try ClientSettings(configuration)
        for loop in bare {
            loops.append(
                GatewayLoop(
                    loop: loop, loops: bare, settings: settings, rules: rules,
                    engine: try makeEngine(loop: loop, node: node), logger: logger, admission: admission))
            pulses.append(LoopPulse())
        }
    }

    private func makeEngine(loop: Loop, node: String) throws -> any Engine {
        guard let url = configuration.engine.redis.url else {
            for role in Labels.EngineRole.allCases { loop.metrics.set(.engine(role), up: true) }
            return MemoryEngine(now: { loop.now })
        }
        let engine = try RedisEngine(
            loop: loop, settings: RedisEngineSettings(configuration, url: url, node: node), logger: logger)
        engineStatuses.append(engine.status)
        return engine
    }

    private func listenForClients() throws {
        guard configuration.port >= 0, let first = loops.first else { return }
        var listener = try bind(configuration.host, configuration.port, handler: first.clientKind)
        clientAddress = listener.address
        try first.loop.add(listener)
        // The other loops share the port that the first one got.
        for loop in loops.dropFirst() {
            listener = try Listener.bind(listener.address, shared: true, handler: loop.clientKind)
            try loop.loop.add(listener)
        }
    }

    private func listenForAdmin() throws {
        guard configuration.admin.port >= 0, let first = loops.first else { return }
        let handler = AdminHandler(
            loop: first.loop, registry: registry, live: { [unowned self] in liveness() },
            ready: { [unowned self] in readiness() })
        let listener = try bind(
            configuration.admin.host, configuration.admin.port, handler: first.loop.register(handler))
        adminAddress = listener.address
        try first.loop.add(listener)
    }

    /// Binds with a claim on the port, so that a second gateway on it fails instead of sharing it.
    private func bind(_ host: String, _ port: Int, handler: UInt8) throws -> Listener {
        let numeric = host == "localhost" ? "127.0.0.1" : host
        guard let number = UInt16(exactly: port), let address = SocketAddress(host: numeric, port: number) else {
            throw GatewayFailure(
                .network, "cannot listen on \(host): give a numeric address such as 127.0.0.1 or ::")
        }
        // A bind without SO_REUSEPORT fails if anybody listens on the port, on this address or on all of them; with it
        // the kernel would let both go on and split the clients between them.
        if port != 0 { try probe(address, host, port) }
        var attempts = 0
        while true {
            do throws(SystemError) {
                let listener = try Listener.bind(address, shared: true, handler: handler)
                do throws(SystemError) {
                    claims.append(try PortClaim(listener.address))
                    return listener
                } catch {
                    listener.discard()
                    throw error
                }
            } catch {
                attempts += 1
                // A free port that another process shares without a word: take another one.
                if port == 0, error.isAddressInUse, attempts < 16 { continue }
                let advice = error.isAddressInUse ? "; stop the other process or choose another port" : ""
                throw GatewayFailure(.network, "cannot listen on \(host):\(port): \(error)\(advice)")
            }
        }
    }

    private func probe(_ address: SocketAddress, _ host: String, _ port: Int) throws {
        do throws(SystemError) {
            try Listener.bind(address, shared: false, handler: 0).discard()
        } catch {
            let advice = error.isAddressInUse ? "; stop the other process or choose another port" : ""
            throw GatewayFailure(.network, "cannot listen on \(host):\(port): \(error)\(advice)")
        }
    }

    private func announce() {
        var metadata: Logger.Metadata = [
            "loops": .stringConvertible(loops.count), "descriptors.limit": .stringConvertible(descriptorLimit),
            "connections.limit": .stringConvertible(admission.limits.connections),
        ]
        if let port = adminAddress?.port { metadata["admin.port"] = .stringConvertible(port) }
        guard let address = clientAddress, let port = address.port else {
            logger.info("no client listener", metadata: metadata)
            return
        }
        metadata["listen.address"] = .string(address.host)
        metadata["listen.port"] = .stringConvertible(port)
        metadata["engine"] = .string(configuration.engine.redis.url == nil ? "memory" : "redis")
        logger.notice("listening on \(address)", metadata: metadata)
    }

    private func watchMemory(on loop: Loop) {
        let configured = configuration.limits.maxMemory
        let group = configured > 0 ? nil : MemoryLimit.ofControlGroup()
        guard let limit = MemoryWatch.limit(configured: configured, controlGroup: group) else { return }
        logger.info(
            "watching memory",
            metadata: [
                "memory.limit": .stringConvertible(limit),
                "memory.limit.source": .string(configured > 0 ? "limits.maxMemory" : "control group"),
            ])
        let watch = MemoryWatch(limit: limit, admission: admission, logger: logger)
        memoryWatch = watch
        watch.start(on: loop)
    }

    // MARK: Health

    private func liveness() -> HealthReport {
        HealthReport(
            checks: pulses.enumerated().map { index, pulse in
                let silence = pulse.silence
                let failure = silence > LoopPulse.patience ? "silent for \(silence.wholeMilliseconds) ms" : nil
                return .init(name: "loop \(index)", failure: failure)
            })
    }

    private func readiness() -> HealthReport {
        var checks = liveness().checks
        checks.append(
            .init(name: "draining", failure: isDraining.load(ordering: .relaxed) ? "shutting down" : nil))
        checks.append(.init(name: "memory", failure: admission.isShedding ? "short; no more connections" : nil))
        // The first loop's trouble stands for all: they share one Redis.
        checks.append(.init(name: "engine", failure: engineStatuses.lazy.compactMap(\.reason).first))
        return HealthReport(checks: checks)
    }

    // MARK: End

    private func signalled(_ number: Int32) {
        if number == SIGHUP {
            logger.notice("SIGHUP: reloading the configuration is not available; restart to apply changes")
            return
        }
        guard isDraining.exchange(true, ordering: .relaxed) else {
            let window = configuration.shutdown.drainWindow
            logger.notice("draining", metadata: ["window_ms": .stringConvertible(window.wholeMilliseconds)])
            let all = loops
            let remaining = Countdown(loops.count) { for loop in all { loop.stop() } }
            for loop in loops { loop.beginDrain(within: window, remaining) }
            return
        }
        logger.notice("second signal: ending now")
        for loop in loops { loop.stop() }
    }
}
