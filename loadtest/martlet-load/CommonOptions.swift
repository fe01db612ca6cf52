// The options that all loads share, and what they become: a plan that was checked, or one line that says what to mend.

import ArgumentParser
import Glibc
import LoadCore

extension LoadProtocol: ExpressibleByArgument {}

/// Options of every subcommand.
struct CommonOptions: ParsableArguments {
    @Option(name: [.customShort("t"), .long], help: "Numeric address and port of the server.")
    var target = "127.0.0.1:8000"

    @Flag(help: "Allow a target that is not on this machine. Ask its owner first.")
    var allowRemote = false

    @Option(name: .customLong("protocol"), help: "What is spoken: martlet, or floor (loadtest/floor).")
    var language = LoadProtocol.martlet

    @Option(help: "Path of the endpoint; %i is the connection's number. Default: the protocol's own.")
    var path: String?

    @Option(help: "Worker processes; connections are dealt out to them in turn.")
    var procs = 1

    @Option(help: "Source addresses 127.0.0.1 and up, needed above 28,000 connections. Default: as many as needed.")
    var sources: Int?

    @Option(help: "Connections that each worker may be opening at a time.")
    var concurrency = 128

    @Option(help: "Seconds in which a connection must have joined.")
    var openTimeout = 10.0

    @Option(help: "A server process to watch: its CPU time and memory. May be given several times.")
    var pid: [Int32] = []

    @Option(help: "Write the report as JSON to this file, or to stdout with -.")
    var json: String?

    @Option(help: "Seed of all randomness (masking keys).")
    var seed: UInt64 = 1

    @Flag(name: .shortAndLong, help: "No progress line.")
    var quiet = false

    func validate() throws {
        guard procs >= 1, procs <= 64 else { throw ValidationError("--procs must be 1 to 64") }
        guard concurrency >= 1, concurrency <= 65_536 else { throw ValidationError("--concurrency must be 1 to 65536") }
        guard (0.1...3600).contains(openTimeout) else { throw ValidationError("--open-timeout must be 0.1 to 3600 s") }
        guard (sources ?? 0) >= 0, (sources ?? 0) <= 1000 else { throw ValidationError("--sources must be 0 to 1000") }
        for one in pid where ProcessProbe.sample([one]) == nil {
            throw ValidationError("--pid \(one): no such process, or /proc/\(one) may not be read")
        }
        let (host, _) = try address()
        guard Targets.isLoopback(host) || allowRemote else {
            throw ValidationError("\(host) is not on this machine; --allow-remote loads it all the same")
        }
    }

    /// The target taken apart.
    func address() throws -> (host: String, port: UInt16) {
        guard let colon = target.lastIndex(of: ":"), let port = UInt16(target[target.index(after: colon)...]) else {
            throw ValidationError("--target must be ADDRESS:PORT, for example 127.0.0.1:8000")
        }
        var host = String(target[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        if host == "localhost" { host = "127.0.0.1" }
        var plan = LoadPlan()
        plan.host = host
        guard port > 0, Targets(plan: plan) != nil else {
            throw ValidationError("--target \(target): '\(host)' is not a numeric address; names are not resolved")
        }
        return (host, port)
    }

    /// A plan with everything that is common to all loads.
    func plan(_ mode: LoadPlan.Mode, connections: Int) throws -> LoadPlan {
        guard connections >= 1, connections <= 1_000_000 else {
            throw ValidationError("\(connections) connections: must be 1 to 1000000")
        }
        var plan = LoadPlan()
        plan.mode = mode
        (plan.host, plan.port) = try address()
        plan.language = language
        plan.path = path ?? (mode == .echo ? language.echoPath : language.roomPath)
        plan.connections = connections
        plan.processes = min(procs, connections)
        plan.sources = sources ?? (connections > 20_000 ? (connections + 19_999) / 20_000 : 0)
        plan.concurrency = concurrency
        plan.openTimeout = Int(openTimeout * 1000)
        plan.seed = seed
        return plan
    }

    /// Carries `plan` out and reports; throws the exit code.
    func execute(_ plan: LoadPlan) throws {
        do {
            let outcome = try Coordinator(plan: plan, pids: pid, progress: ProgressLine(isQuiet: quiet)).run()
            let machine = MachineFacts.current()
            let page = outcome.page(machine: machine)
            let document = outcome.json(machine: machine).rendered() + "\n"
            switch json {
            case "-":
                _ = SmallFile.writeAll(document, to: 1)
                _ = SmallFile.writeAll(page, to: 2)
            case let file?:
                guard SmallFile.write(document, to: file) else {
                    throw RunFailure.plan("cannot write \(file): \(String(cString: strerror(errno)))")
                }
                _ = SmallFile.writeAll(page, to: 1)
            case nil: _ = SmallFile.writeAll(page, to: 1)
            }
            throw ExitCode(outcome.exitCode)
        } catch let failure as RunFailure {
            _ = SmallFile.writeAll("martlet-load: \(failure)\n", to: 2)
            throw ExitCode(1)
        }
    }
}

/// A number of seconds from the command line in whole milliseconds.
func milliseconds(_ seconds: Double, _ option: String) throws -> Int {
    guard (0...86_400).contains(seconds) else { throw ValidationError("\(option) must be 0 to 86400 s") }
    return Int((seconds * 1000).rounded())
}

/// Refuses a room that would have to be escaped in one of the protocols.
func checkRoom(_ room: String) throws {
    let isPlain = room.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != 34 && $0 != 92 && $0 != 124 }
    guard !room.isEmpty, isPlain else {
        throw ValidationError("--room: letters, digits and punctuation without quotes, backslash and |")
    }
}
