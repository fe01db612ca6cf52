// martlet-load: puts load on a WebSocket server on this machine and says what it cost and whether every message came.
// Only the command line is here; LoadCore does the work. The hidden `worker` subcommand is how the program runs itself.

import ArgumentParser
import Glibc
import LoadCore

@main
struct MartletLoad: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet-load",
        abstract: "Loads a Martlet (or the bare C floor) on this machine and counts every message.",
        discussion: """
            Start with a server to load:
              martlet serve --insecure &
            15,000 connections, each in a room of its own, and their memory:
              martlet-load flood -n 15000 --hold 30 --room 'lobby-%i' \\
                --pid $(pgrep -x martlet)
            one room of 1,000, one message at a time, then 16 in flight:
              martlet-load fanout --members 1000 --pid $(pgrep -x martlet)
              martlet-load fanout --members 1000 --window 16
            100 rooms of 100, 800 publications a second, come what may:
              martlet-load fanout --rooms 100 --members 100 --rate 800 \\
                --seconds 20 --json report.json
            presence, rates and attacks, each with a cluster of its own:
              martlet-load presence --martlet .build/release/martlet --churn 50
              martlet-load limits --martlet .build/release/martlet
              martlet-load flood --martlet .build/release/martlet --good 1000

            Exit codes: 0 clean; 1 something failed, was lost, came twice or out
            of order; 2 usage; 4 no connection.
            """,
        subcommands: [
            Flood.self, Echo.self, Fanout.self, Presence.self, Limits.self, Verify.self, WorkerCommand.self,
            CrowdWorkerCommand.self,
        ])

    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let code as ExitCode {
            Glibc.exit(code.rawValue)
        } catch {
            let code = exitCode(for: error)
            let text = fullMessage(for: error)
            if !text.isEmpty { _ = SmallFile.writeAll(text + "\n", to: code == .success ? 1 : 2) }
            Glibc.exit(code == .validationFailure ? 2 : code.rawValue)
        }
    }
}

/// Runs as a worker of a coordinator; see LoadCore/Worker.swift for what they say to each other.
struct WorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "worker", shouldDisplay: false)

    func run() throws { throw ExitCode(Worker.run()) }
}
