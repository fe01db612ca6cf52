// The options that presence, limits and attacks share: which cluster, and where the report goes.

import ArgumentParser
import Glibc
import LoadCore
import VerifyCore

extension AttackKind: ExpressibleByArgument {}
extension Leaving: ExpressibleByArgument {}

/// The cluster of a bench.
struct ClusterOptions: ParsableArguments {
    @Option(help: "Start gateways of this program, and a Redis, on free ports; end them afterwards.")
    var martlet: String?

    @Option(help: "The Redis to start.")
    var redisServer = "redis-server"

    @Option(help: "Gateways to start.")
    var gateways = 3

    @Option(help: "Event loops of each of them.")
    var loops = 1

    @Option(
        name: [.customShort("u"), .long],
        help: "A gateway that runs already, ADDRESS:PORT on this machine. May be given several times.")
    var url: [String] = []

    @Option(help: "The Redis of those, ADDRESS:PORT, to be looked at (INFO, MONITOR, SCAN).")
    var redis: String?

    @Option(help: "What its keys begin with.")
    var prefix = "martlet"

    @Option(help: "A process of those gateways to watch: its CPU time and memory. May be given several times.")
    var pid: [Int32] = []

    @Flag(help: "Keep the folder with configurations and logs.")
    var keep = false

    @Option(help: "Write the report as JSON to this file, or to stdout with -.")
    var json: String?

    @Option(help: "Seed of all randomness.")
    var seed: UInt64 = 1

    @Flag(name: .shortAndLong, help: "No lines while it runs.")
    var quiet = false

    func validate() throws {
        guard (1...16).contains(gateways) else { throw ValidationError("--gateways must be 1 to 16") }
        guard (1...64).contains(loops) else { throw ValidationError("--loops must be 1 to 64") }
        if let martlet, access(martlet, X_OK) != 0 {
            throw ValidationError("--martlet \(martlet): no such program; build it or name another")
        }
        guard martlet == nil || url.isEmpty else {
            throw ValidationError("--martlet starts gateways and --url names some: give one of them")
        }
    }

    /// The cluster; throws when no gateway is named.
    func cluster() throws -> BenchCluster {
        var cluster = BenchCluster()
        cluster.martlet = martlet ?? ""
        cluster.redisServer = redisServer
        cluster.gateways = gateways
        cluster.loops = loops
        cluster.addresses = try url.map(ClusterOptions.address)
        cluster.redis = try redis.map(ClusterOptions.address) ?? ""
        cluster.prefix = prefix
        cluster.pids = pid
        cluster.keepsFolder = keep
        cluster.seed = seed
        cluster.command = CommandLine.arguments.joined(separator: " ")
        if !CommandLine.arguments.contains("--seed") { cluster.command += " --seed \(seed)" }
        guard martlet != nil || !url.isEmpty else {
            throw ValidationError("no gateway: --martlet PROGRAM starts some, --url ADDRESS:PORT names one")
        }
        return cluster
    }

    /// `ADDRESS:PORT` of what may also be written as a URL.
    static func address(_ text: String) throws -> String {
        var rest = text[...]
        for scheme in ["redis://", "ws://", "http://"] where rest.hasPrefix(scheme) {
            rest = rest.dropFirst(scheme.count)
        }
        if let slash = rest.firstIndex(of: "/") { rest = rest[..<slash] }
        if rest.hasPrefix("localhost:") { rest = "127.0.0.1:" + rest.dropFirst(10) }
        guard let colon = rest.lastIndex(of: ":"), UInt16(rest[rest.index(after: colon)...]) ?? 0 > 0,
            Targets.isLoopback(String(rest[..<colon]))
        else {
            throw ValidationError("\(text) is not ADDRESS:PORT on this machine, for example 127.0.0.1:8000")
        }
        return String(rest)
    }

    /// Makes a run and reports; throws the exit code.
    func execute(_ make: (@escaping (String) -> Void) throws -> Bench) throws {
        Bench.prepareSignals()
        let isQuiet = quiet
        do {
            let report = try make { line in
                if !isQuiet { _ = SmallFile.writeAll("· \(line)\n", to: 2) }
            }.run()
            let machine = MachineFacts.current()
            let page = report.page(machine: machine)
            let document = report.json(machine: machine).rendered() + "\n"
            switch json {
            case "-":
                _ = SmallFile.writeAll(document, to: 1)
                _ = SmallFile.writeAll(page, to: 2)
            case let file?:
                guard SmallFile.write(document, to: file) else { throw RunFailure.plan("cannot write \(file)") }
                _ = SmallFile.writeAll(page, to: 1)
            case nil: _ = SmallFile.writeAll(page, to: 1)
            }
            throw ExitCode(report.exitCode)
        } catch let failure where !(failure is ExitCode) {
            _ = SmallFile.writeAll("martlet-load: \(failure)\n", to: 2)
            throw ExitCode(1)
        }
    }
}

/// How the program runs itself as a worker of a crowd.
struct CrowdWorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "crowd-worker", shouldDisplay: false)

    @Argument(help: "Port of the driver.")
    var port: UInt16

    func run() throws { try CrowdProcess.run(port: port) }
}
