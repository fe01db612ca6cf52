// `martlet-load verify`: a cluster of its own, faults, and a checker that knows every message.

import ArgumentParser
import Glibc
import LoadCore
import VerifyCore

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start gateways and Redis, break them, and check that no message is lost, doubled or out of order.",
        discussion: """
            Everything runs on this machine: the tool starts redis-server and the gateways itself, on free ports, and
            ends them whatever happens. One seed decides about the faults and about the life of the clients.

              martlet-load verify --martlet .build/release/martlet
              martlet-load verify --profile std --seed 7 --json report.json
              martlet-load verify --fault F05 --times 5
              martlet-load verify --scenario snapshot --times 20
              martlet-load verify --mutant M1
            Exit codes: 0 all promises were kept (with --mutant: it was caught), 1 not, or the run showed nothing.
            """)

    @Option(help: "smoke (at most 90 s), std (10 min), or calm (nothing is broken).")
    var profile = "smoke"

    @Option(help: "Only this fault: F01 to F37, see docs/reliability.md.")
    var fault: String?

    @Option(help: "One promise against exact limits: deaf, drops, snapshot, aof or storm.")
    var scenario: String?

    @Option(help: "How often the fault of --fault or --scenario is injected.")
    var times: Int?

    @Option(help: "Seconds of the calm profile and of the scenario drops.")
    var seconds: Int?

    @Flag(help: "aof: a gateway is killed at the same moment as Redis.")
    var withGateway = false

    @Option(help: "storm: clients that drop and return.")
    var clients = 15_000

    @Option(help: "storm: processes that hold them; each may have 20,000 descriptors.")
    var procs = 2

    @Option(help: "Every bound of time is multiplied by this, for machines that do other work, too.")
    var patience = 1

    @Option(help: "The program to test.")
    var martlet = ".build/release/martlet"

    @Option(help: "The Redis to use.")
    var redisServer = "redis-server"

    @Option(help: "Gateways.")
    var gateways = 3

    @Option(help: "Subscribers.")
    var subscribers = 90

    @Option(help: "Rooms (9, storm: 10); each subscriber is in three of them.")
    var rooms: Int?

    @Option(help: "Publishers.")
    var publishers = 9

    @Option(help: "Publications a second of all publishers together.")
    var rate = 180.0

    @Option(help: "Publications that a room's history keeps.")
    var history = 200

    @Option(help: "Seed of faults, choices and lives.")
    var seed: UInt64 = 1

    @Flag(help: "One gateway with its embedded engine and no Redis.")
    var embedded = false

    @Flag(help: "Redis without its log of appends: it may lose data, and all must be told.")
    var volatile = false

    @Option(help: "Put a defect into the server and see that it is found: M1 to M15, or all, one after the other.")
    var mutant: String?

    @Flag(help: "Keep the folder with configurations and logs.")
    var keep = false

    @Option(help: "Write the report as JSON to this file, or to stdout with -.")
    var json: String?

    @Option(help: "Write the figures as Markdown tables to this file.")
    var markdown: String?

    @Option(help: .hidden)
    var stormWorker: UInt16?

    @Flag(name: .shortAndLong, help: "No lines while it runs.")
    var quiet = false

    func validate() throws {
        guard stormWorker == nil else { return }
        guard (1...16).contains(gateways) else { throw ValidationError("--gateways must be 1 to 16") }
        guard (1...2000).contains(subscribers) else { throw ValidationError("--subscribers must be 1 to 2000") }
        guard (3...500).contains(rooms ?? 9) else { throw ValidationError("--rooms must be 3 to 500") }
        guard (1...100).contains(publishers) else { throw ValidationError("--publishers must be 1 to 100") }
        guard (1...5000).contains(rate) else { throw ValidationError("--rate must be 1 to 5000") }
        guard (1...300).contains(history) else { throw ValidationError("--history must be 1 to 300") }
        guard (1...1000).contains(times ?? 1) else { throw ValidationError("--times must be 1 to 1000") }
        guard (1...86_400).contains(seconds ?? 1) else { throw ValidationError("--seconds must be 1 to 86400") }
        guard (1...20).contains(patience) else { throw ValidationError("--patience must be 1 to 20") }
        guard (1...8).contains(procs) else { throw ValidationError("--procs must be 1 to 8") }
        guard (1...18_000 * procs).contains(clients) else {
            throw ValidationError("--clients must be 1 to 18,000 a process")
        }
        guard fault == nil || scenario == nil else {
            throw ValidationError("--fault and --scenario exclude each other")
        }
        guard scenario == nil || !embedded else { throw ValidationError("scenarios need Redis") }
        guard access(martlet, X_OK) == 0 else {
            throw ValidationError("--martlet \(martlet): no such program; build it or name another")
        }
        _ = try plan(mutant == "all" ? nil : mutant)
    }

    private func plan(_ mutant: String?) throws -> RunPlan {
        var plan = RunPlan()
        plan.rig.binary = martlet
        plan.rig.redisServer = redisServer
        plan.rig.gateways = gateways
        plan.rig.appendOnly = !volatile
        plan.rig.isEmbedded = embedded
        plan.rig.historySize = history
        plan.rig.keepsFolder = keep
        plan.clients.subscribers = subscribers
        plan.clients.rooms = rooms ?? (scenario == "storm" ? 10 : 9)
        plan.clients.publishers = publishers
        plan.clients.rate = rate
        plan.clients.seed = seed
        plan.patience = patience
        plan.profile = try chosenProfile()
        if let mutant {
            guard let known = Mutant(rawValue: mutant) else {
                let all = Mutant.allCases.map(\.rawValue).joined(separator: " ")
                throw ValidationError("--mutant must be one of \(all)")
            }
            plan.mutant = known
            if fault == nil, scenario == nil { plan.profile = known.occasion }
        }
        plan.command = CommandLine.arguments.joined(separator: " ")
        if !CommandLine.arguments.contains("--seed") { plan.command += " --seed \(seed)" }
        return plan
    }

    private func chosenProfile() throws -> Profile {
        if let fault {
            guard let name = FaultName(rawValue: fault) else {
                let all = FaultName.allCases.map(\.rawValue).joined(separator: " ")
                throw ValidationError("--fault must be one of \(all)")
            }
            if embedded, Schedule.needsRedis(name) { throw ValidationError("--fault \(fault) needs Redis") }
            return .single(name, times: times ?? 1)
        }
        if let scenario { return .scenario(try chosenScenario(scenario)) }
        switch profile {
        case "smoke": return .smoke
        case "std": return .std
        case "calm": return .calm(seconds: seconds ?? 20)
        default: throw ValidationError("--profile must be smoke, std or calm")
        }
    }

    private func chosenScenario(_ name: String) throws -> ScenarioPlan {
        switch name {
        case "deaf": .deaf(times: times ?? 3)
        case "drops": .drops(seconds: seconds ?? 60)
        case "snapshot": .snapshot(times: times ?? 20)
        case "aof": .appendLog(times: times ?? 5, withGateway: withGateway)
        case "storm": .storm(clients: clients, processes: procs)
        default: throw ValidationError("--scenario must be deaf, drops, snapshot, aof or storm")
        }
    }

    func run() throws {
        if let stormWorker { return try StormWorker.run(port: stormWorker) }
        VerifyRun.prepareSignals()
        do {
            if mutant == "all" { return try runMutants() }
            let report = try report(mutant)
            if let markdown, !SmallFile.write(report.markdown, to: markdown) {
                throw RunFailure.plan("cannot write \(markdown)")
            }
            let document = report.json.rendered() + "\n"
            switch json {
            case "-":
                _ = SmallFile.writeAll(document, to: 1)
                _ = SmallFile.writeAll(report.page, to: 2)
            case let file?:
                guard SmallFile.write(document, to: file) else { throw RunFailure.plan("cannot write \(file)") }
                _ = SmallFile.writeAll(report.page, to: 1)
            case nil: _ = SmallFile.writeAll(report.page, to: 1)
            }
            throw ExitCode(report.exitCode)
        } catch let failure where !(failure is ExitCode) {
            _ = SmallFile.writeAll("martlet-load: \(failure)\n", to: 2)
            throw ExitCode(1)
        }
    }

    private func report(_ mutant: String?) throws -> RunReport {
        let isQuiet = quiet
        let run = try VerifyRun(try plan(mutant)) { line in
            if !isQuiet { _ = SmallFile.writeAll("· \(line)\n", to: 2) }
        }
        try run.endWhenInterrupted()
        return try run.run()
    }

    /// One run a mutant; each must be found by a promise of its own.
    private func runMutants() throws {
        var lines = [RunReport.mutantHead]
        var hasEscaped = false
        for mutant in Mutant.allCases {
            let report = try report(mutant.rawValue)
            lines.append(report.mutantLine)
            if report.isMutantCaught != true {
                hasEscaped = true
                _ = SmallFile.writeAll(report.page, to: 2)
            }
        }
        let table = lines.joined(separator: "\n") + "\n"
        _ = SmallFile.writeAll(table, to: 1)
        if let markdown, !SmallFile.write(table, to: markdown) {
            throw RunFailure.plan("cannot write \(markdown)")
        }
        if hasEscaped { throw ExitCode(1) }
    }
}
