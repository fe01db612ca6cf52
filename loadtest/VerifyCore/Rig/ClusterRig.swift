// The cluster under test: one redis-server, N gateways, and a chaos proxy on each way (gateway to Redis, client to
// gateway). Real processes in a folder of the run, steered by process id. Start-up blocks with bounds; everything after
// it happens on the driver's loop. Whatever happens, `tearDown` leaves no process and no folder behind.

package import Bytes
import Glibc
import LoadCore
package import Reactor

/// Why a cluster cannot be set up.
package struct RigFailure: Error, CustomStringConvertible, Sendable {
    /// What went wrong.
    package let description: String
    init(_ text: String) { description = text }
}

/// What to start.
package struct RigPlan: Sendable {
    /// The martlet binary.
    package var binary = "martlet"
    /// The redis-server binary.
    package var redisServer = "redis-server"
    /// How many gateways.
    package var gateways = 3
    /// Whether Redis keeps its log of appends.
    package var appendOnly = true
    /// Publications that a room keeps.
    package var historySize = 200
    /// Seed of the proxies.
    package var seed: UInt64 = 1
    /// Keeps the folder with logs and configurations.
    package var keepsFolder = false
    /// Without Redis: one gateway with its embedded engine.
    package var isEmbedded = false
    /// Whether some rooms show their members and some limit their rate.
    package var hasPresence = true
    /// A configuration of the gateways in place of the rig's own.
    package var configuration: String?
    /// Without proxies before Redis: the driver is not in the way of what is measured.
    package var isDirect = false
    /// A gateway that is started again listens where it did before.
    package var keepsPorts = false
    /// Event loops of a gateway.
    package var loops = 1
    /// The defect that a gateway built with mutants is to have.
    package var gatewayMutant: Mutant?

    package init() {}
}

/// One gateway of the rig.
package final class GatewayNode {
    /// Its number from 0.
    package let number: Int
    /// Its process; nil before the start.
    package internal(set) var process: ChildProcess?
    /// Where it really listens, and its admin listener.
    package internal(set) var clientPort: UInt16 = 0
    /// Where its admin listener is; 0 while unknown.
    package internal(set) var adminPort: UInt16 = 0
    /// What stands before Redis for this gateway, and before this gateway for clients.
    package let redisProxy: ChaosProxy?
    /// What stands before this gateway for some clients.
    package let clientProxy: ChaosProxy
    /// Frozen by SIGSTOP since then; what it does not answer is excused.
    package var frozenSince: MonotonicTime?
    /// When it went on after it was frozen.
    package var thawedAt: MonotonicTime?
    /// How often it was started.
    package internal(set) var starts = 0
    /// When it said for the first time since this was cleared that it lost a link to Redis which was deaf.
    package var noticedDeafness: MonotonicTime?
    /// Whether it said that it has a defect on purpose.
    package internal(set) var isMutant = false

    init(number: Int, redisProxy: ChaosProxy?, clientProxy: ChaosProxy) {
        self.number = number
        self.redisProxy = redisProxy
        self.clientProxy = clientProxy
    }

    /// Whether a client may expect it to accept.
    package var isUp: Bool { process?.isRunning == true && clientPort > 0 && frozenSince == nil }

    /// Whether it was frozen at some time between `since` and now, or still is.
    package func wasFrozen(since: MonotonicTime) -> Bool {
        frozenSince != nil || thawedAt.map { $0 >= since } ?? false
    }
}

/// The processes of a run.
package final class ClusterRig {
    /// The driver's loop.
    package let loop: Loop
    /// What was to be started.
    package let plan: RigPlan
    /// The run's folder.
    package let folder: String
    /// The process of Redis.
    package private(set) var redis: ChildProcess?
    /// Where Redis listens.
    package let redisPort: UInt16
    /// The rig's own line to Redis.
    package let redisControl: RedisControl?
    /// How many gateways.
    package private(set) var gateways: [GatewayNode] = []
    /// Whether this martlet keeps history at all.
    package private(set) var hasHistory = false
    /// Whether some rooms show their members.
    package private(set) var hasPresence = false
    /// Whether some rooms limit their rate.
    package private(set) var hasLimits = false
    private let configPath: String
    private var redisStarts = 0

    /// Prepares folder, proxies and configuration, and asks the binary whether it knows history; starts nothing.
    package init(_ loop: Loop, _ plan: RigPlan) throws {
        self.loop = loop
        self.plan = plan
        var template = Array("/tmp/martlet-verify-XXXXXX\0".utf8CString)
        guard let made = mkdtemp(&template) else { throw RigFailure("cannot make a folder in /tmp") }
        folder = String(cString: made)
        configPath = folder + "/gateway.json"
        redisPort = try ClusterRig.freePort()
        guard let redisAddress = SocketAddress(host: "127.0.0.1", port: redisPort) else { throw RigFailure("address") }
        redisControl = plan.isEmbedded ? nil : RedisControl(loop, redisAddress)
        guard let nowhere = SocketAddress(host: "127.0.0.1", port: 1) else { throw RigFailure("address") }
        for number in 0..<(plan.isEmbedded ? 1 : plan.gateways) {
            let seed = plan.seed &* 1000 &+ UInt64(number)
            let toRedis =
                plan.isEmbedded || plan.isDirect
                ? nil : try ChaosProxy(loop, target: redisAddress, speaksRESP: true, seed: seed)
            let toClients = try ChaosProxy(loop, target: nowhere, speaksRESP: false, seed: seed &+ 500)
            gateways.append(GatewayNode(number: number, redisProxy: toRedis, clientProxy: toClients))
        }
        do {
            try writeConfig()
        } catch {
            tearDown()
            throw error
        }
    }

    private static func freePort() throws -> UInt16 {
        guard let any = SocketAddress(host: "127.0.0.1", port: 0) else { throw RigFailure("address") }
        let listener = try Listener.bind(any, shared: false, handler: 0)
        defer { listener.discard() }
        return listener.address.port ?? 0
    }

    // MARK: Start

    /// Starts everything; blocks, at most about 20 seconds. The loop is turned meanwhile.
    package func start() throws {
        if !plan.isEmbedded { try startRedis() }
        for gateway in gateways { try startGateway(gateway) }
        try wait("gateways to listen", .seconds(10)) { [self] in
            for gateway in gateways { readLog(gateway) }
            if let dead = gateways.first(where: { $0.process?.isRunning == false }) {
                throw RigFailure("gateway \(dead.number) did not start: \(tail(dead.process))")
            }
            return gateways.allSatisfy { $0.clientPort > 0 }
        }
    }

    /// Turns the loop until `condition` holds.
    package func wait(_ what: String, _ patience: Duration, _ condition: () throws -> Bool) throws {
        let deadline = MonotonicTime.now() + patience
        while try !condition() {
            guard MonotonicTime.now() < deadline else { throw RigFailure("timed out waiting for \(what)") }
            // A timer keeps the turn from sleeping for a second.
            loop.schedule(after: .milliseconds(10)) {}
            loop.turn()
        }
    }

    /// Writes the configuration, with as much of what is wanted as this martlet knows.
    private func writeConfig() throws {
        if let text = plan.configuration {
            guard try isAccepted(text) else { throw RigFailure("check-config: a setting is not built yet") }
            return
        }
        for features in RigFeatures.all where plan.hasPresence || !(features.hasPresence || features.hasLimits) {
            guard try isAccepted(features.text(plan)) else { continue }
            hasHistory = features.hasHistory
            hasPresence = features.hasPresence
            hasLimits = features.hasLimits
            return
        }
        throw RigFailure("check-config: even the shortest configuration is not built yet")
    }

    /// Whether the gateway knows everything in `text`; throws when it calls it wrong.
    private func isAccepted(_ text: String) throws -> Bool {
        guard SmallFile.write(text, to: configPath) else { throw RigFailure("cannot write \(configPath)") }
        let check = try ChildProcess(
            "check-config", [plan.binary, "check-config", "--config", configPath], logPath: folder + "/check.log")
        try wait("check-config", .seconds(10)) { !check.isRunning }
        if check.ending == .code(0) { return true }
        let complaint = check.newLines().joined(separator: " ")
        guard complaint.contains("not built yet") else {
            throw RigFailure("check-config: \(check.ending.map { "\($0)" } ?? "") \(complaint)")
        }
        unlink(folder + "/check.log")
        return false
    }

    /// Starts Redis, again after an end; its data stay in the folder.
    package func startRedis() throws {
        redisStarts += 1
        var arguments = [
            plan.redisServer, "--port", String(redisPort), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
            "--daemonize", "no", "--enable-debug-command", "yes", "--busy-reply-threshold", "200",
        ]
        arguments += ["--appendonly", plan.appendOnly ? "yes" : "no", "--appendfsync", "everysec"]
        let log = "\(folder)/redis-\(redisStarts).log"
        let process = try ChildProcess("redis", arguments, logPath: log)
        redis = process
        redisControl?.drop()
        if redisStarts == 1 {
            var isReady = false
            try wait("redis-server", .seconds(10)) {
                guard process.isRunning else { throw RigFailure("redis-server did not start: \(tail(process))") }
                redisControl?.send(["PING"]) { if $0?.first == UInt8(ascii: "+") { isReady = true } }
                return isReady
            }
        }
    }

    /// Starts a gateway, again after an end. `poll` finds out where it listens.
    package func startGateway(_ gateway: GatewayNode) throws {
        gateway.starts += 1
        let port = plan.keepsPorts ? gateway.clientPort : 0
        gateway.clientPort = 0
        gateway.adminPort = 0
        gateway.frozenSince = nil
        var arguments = [
            plan.binary, "serve", "--insecure", "--port", String(port), "--admin-port", "0", "--config", configPath,
        ]
        arguments += ["--loops", "\(plan.loops)", "--log-format", "json"]
        if let port = gateway.redisProxy?.address.port ?? (plan.isEmbedded ? nil : redisPort) {
            arguments += ["--redis", "redis://127.0.0.1:\(port)"]
        }
        if let mutant = plan.gatewayMutant {
            arguments = ["/usr/bin/env", "MARTLET_MUTANT=\(mutant.rawValue)"] + arguments
        }
        let log = "\(folder)/gateway-\(gateway.number)-\(gateway.starts).log"
        gateway.process = try ChildProcess("gateway \(gateway.number)", arguments, logPath: log)
    }

    // MARK: While it runs

    /// Reads logs and collects ends: to be called a few times a second. Calls `bug` for lines that speak of one and
    /// `ended` for processes that ended by themselves.
    package func poll(bug: (String, String) -> Void, ended: (String, String) -> Void) {
        for gateway in gateways {
            for line in readLog(gateway) where ClusterRig.isBug(line) { bug("gateway \(gateway.number)", line) }
        }
        for process in gateways.compactMap(\.process) + [redis].compactMap({ $0 }) where !process.isExpectedToEnd {
            if let ending = process.ending {
                process.isExpectedToEnd = true
                ended(process.name, "\(ending); \(tail(process))")
            }
        }
    }

    @discardableResult
    private func readLog(_ gateway: GatewayNode) -> [String] {
        guard let lines = gateway.process?.newLines() else { return [] }
        if plan.gatewayMutant != nil, lines.contains(where: { $0.contains("MARTLET_MUTANT") }) {
            gateway.isMutant = true
        }
        if gateway.noticedDeafness == nil, lines.contains(where: ClusterRig.tellsOfDeafness) {
            gateway.noticedDeafness = loop.now
        }
        for line in lines where gateway.clientPort == 0 {
            guard line.contains("listening on"), let port = ClusterRig.number("\"listen.port\":", in: line),
                let admin = ClusterRig.number("\"admin.port\":", in: line)
            else { continue }
            gateway.clientPort = port
            gateway.adminPort = admin
            if let target = SocketAddress(host: "127.0.0.1", port: port) { gateway.clientProxy.target = target }
        }
        return lines
    }

    /// Whether a line of a gateway's output speaks of a defect of the program.
    static func isBug(_ line: String) -> Bool {
        let signs = [
            "Fatal error", "BUG", "AddressSanitizer", "ThreadSanitizer", "UndefinedBehaviorSanitizer", "Crashed",
            "runtime error",
        ]
        return signs.contains { line.contains($0) }
    }

    /// Whether a line says that a link to Redis was given up because nothing came through it.
    static func tellsOfDeafness(_ line: String) -> Bool {
        line.contains("lost a redis link")
            && (line.contains("\"error.type\":\"deaf\"") || line.contains("\"error.type\":\"timeout\""))
    }

    static func number(_ key: String, in line: String) -> UInt16? {
        let bytes = Array(line.utf8)
        let pattern = Array(key.utf8)
        guard bytes.count > pattern.count else { return nil }
        for start in 0...(bytes.count - pattern.count) where bytes[start..<start + pattern.count].elementsEqual(pattern)
        {
            let digits = bytes[(start + pattern.count)...].prefix { (48...57).contains($0) }
            return UInt16(String(decoding: digits, as: UTF8.self))
        }
        return nil
    }

    private func tail(_ process: ChildProcess?) -> String {
        guard let process, let text = SmallFile.read(process.logPath) else { return "" }
        return text.split(separator: "\n").suffix(3).joined(separator: " | ")
    }

    /// The address by which a client reaches `gateway`, through its proxy or directly; nil while it is down.
    package func address(_ gateway: Int, proxied: Bool) -> SocketAddress? {
        let node = gateways[gateway]
        guard node.clientPort > 0 else { return nil }
        return proxied ? node.clientProxy.address : SocketAddress(host: "127.0.0.1", port: node.clientPort)
    }

    /// Ends every process and removes the folder.
    package func tearDown() {
        redisControl?.drop()
        for gateway in gateways { gateway.process?.end() }
        redis?.end()
        guard !plan.keepsFolder else { return }
        ClusterRig.remove(folder)
    }

    /// Removes a folder of the rig, one level of folders deep (Redis keeps its log of appends in one).
    static func remove(_ folder: String, depth: Int = 0) {
        guard let handle = opendir(folder) else { return }
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard name != ".", name != ".." else { continue }
            let path = folder + "/" + name
            if unlink(path) != 0, depth < 2 { remove(path, depth: depth + 1) }
        }
        closedir(handle)
        rmdir(folder)
    }

    /// Where each room stands in Redis now, past all proxies: top and epoch; nil for a room without a record, or when
    /// Redis does not answer.
    package func readTops(rooms: Int, _ done: @escaping ([(top: UInt64, epoch: [UInt8])?]) -> Void) {
        guard let redisControl else { return done([]) }
        var tops: [(top: UInt64, epoch: [UInt8])?] = []
        for room in 0..<rooms {
            redisControl.send(["HMGET", RoomNames.key(room, "m"), "o", "e"]) { reply in
                let words = (reply ?? []).withUnsafeBytes { all in
                    (RESPFrames.bulks(all) ?? []).map { Array(all[$0]) }
                }
                let top = words.count == 2 ? UInt64(String(decoding: words[0], as: UTF8.self)) : nil
                tops.append(top.map { ($0, words[1]) })
                if tops.count == rooms { done(tops) }
            }
        }
    }

    /// Copies Redis' snapshot away (`restore` false) or back, for a restart with older data.
    package func snapshot(restore: Bool) -> Bool {
        let live = folder + "/dump.rdb"
        let kept = folder + "/older.rdb"
        unlink(restore ? live : kept)
        return link(restore ? kept : live, restore ? live : kept) == 0
    }

    /// Removes what Redis has on disk, so that it starts empty.
    package func removeRedisData() {
        unlink(folder + "/dump.rdb")
        ClusterRig.remove(folder + "/appendonlydir")
    }
}
