// `martlet-load flood`: many connections, held.

import ArgumentParser
import LoadCore

struct Flood: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Open many connections as fast as allowed or at a rate, then hold them and answer pings.",
        discussion: """
            Fails (exit code 1) when a connection cannot be opened, or ends while
            it is held. Reasons are counted.

              martlet-load flood -n 15000 --hold 30 --pid $(pgrep -x martlet)
              martlet-load flood -n 50000 --rate 2000 --procs 2 --room 'r-%i'
            %i in --room is the connection's number, %r its room's (with --rooms
            R, rooms 0 to R-1 in turn).

            With --good it is an attack: good clients sit in rooms and talk while
            attackers from 127.0.1.x open connections at full speed, and newcomers
            try to get in. What messages cost the good ones, and who gets in, is
            held to limits. --martlet starts the gateway, too.

              martlet-load flood --martlet .build/release/martlet --good 5000
              martlet-load flood --martlet .build/release/martlet --good 1000 \\
                --attack slowloris --attack churn --accept-rate-per-ip 50
              martlet-load flood -t 127.0.0.1:8000 --good 500 --attack silent
            """)

    @OptionGroup var common: CommonOptions

    @Option(name: [.customShort("n"), .long], help: "Connections.")
    var connections = 1000

    @Option(help: "Connections opened a second; 0 is as fast as allowed.")
    var rate = 0.0

    @Option(help: "Seconds to hold them.")
    var hold = 10.0

    @Option(help: "Room that each connection joins, a template; without it they only connect.")
    var room: String?

    @Option(help: "Rooms that %r counts through.")
    var rooms = 1

    @OptionGroup(title: "Attacks") var attacks: AttackOptions

    func validate() throws {
        if attacks.good > 0 { return try attacks.check() }
        guard rooms >= 1 else { throw ValidationError("--rooms must be at least 1") }
        guard rate >= 0, rate <= 1e6 else { throw ValidationError("--rate must be 0 to 1000000") }
        if let room { try checkRoom(room) }
        _ = try plan()
    }

    private func plan() throws -> LoadPlan {
        var plan = try common.plan(.flood, connections: connections)
        plan.openRate = rate
        plan.room = room ?? ""
        plan.rooms = rooms
        plan.warmup = 0
        plan.duration = try milliseconds(hold, "--hold")
        plan.drain = 0
        return plan
    }

    func run() throws {
        guard attacks.good > 0 else { return try common.execute(try plan()) }
        try attacks.execute(common)
    }
}
