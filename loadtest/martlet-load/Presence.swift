// `martlet-load presence`: who is here, at what price.

import ArgumentParser
import LoadCore
import VerifyCore

extension PresenceScope: ExpressibleByArgument {
    /// The scope that `argument` names, as a namespace option names it; nil for anything else.
    public init?(argument: String) {
        switch argument {
        case "client": self = .client
        case "user": self = .user
        default: return nil
        }
    }
}

struct Presence: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Members of many rooms over several gateways: lists, joins, leaves, and what they cost Redis.",
        discussion: """
            Members join at a rate, sit still while the commands that clients give to Redis are counted (MONITOR), come
            and go, and leave. Observers at every gateway write down each join and leave; every gateway is asked for the
            members of every room; in the end no key may be left over.

              martlet-load presence --martlet .build/release/martlet
              martlet-load presence --martlet .build/release/martlet --members 52500 --rooms 1000 --procs 3
              martlet-load presence --martlet .build/release/martlet --churn 100
              martlet-load presence --martlet .build/release/martlet --scope user --churn 50 --way drop
              martlet-load presence --martlet .build/release/martlet --members 30000 --rooms 100 --procs 2 --kill
              martlet-load presence --martlet .build/release/martlet --freeze 6 --restarts 20
              martlet-load presence -u 127.0.0.1:8000 -u 127.0.0.1:8001 --redis 127.0.0.1:6379
            A gateway and a process of this tool hold 17,500 members each, as far as 20,000 descriptors go. Gateways
            that run already need rooms with presence and joinLeave, and {"client": {"rate": "0"}}.
            Exit codes: 0 all demands were met, 1 not, 2 usage.
            """)

    @OptionGroup var cluster: ClusterOptions

    @Option(help: "Members, all rooms together.")
    var members = 3000

    @Option(help: "Rooms.")
    var rooms = 30

    @Option(help: "Processes of this tool that hold them.")
    var procs = 1

    @Option(help: "Rooms whose joins and leaves are observed at every gateway. Default: all, at most 100.")
    var observed: Int?

    @Option(help: "Members that join, and in the end leave, a second.")
    var openRate = 1000.0

    @Option(help: "Seconds of sitting still, in which the commands of Redis are counted.")
    var idle = 10.0

    @Option(help: "Client-issued Redis commands a second that are allowed meanwhile; 0 demands nothing.")
    var commandLimit = 10.0

    @Option(help: "Members that leave and come back a second.")
    var churn = 0.0

    @Option(help: "Seconds of that.")
    var churnSeconds = 10.0

    @Option(help: "How they leave: unsubscribe, close (1000) or drop. Default: the first two in turn.")
    var way: Leaving?

    @Option(help: "presenceScope of the rooms: client or user.")
    var scope = PresenceScope.client

    @Option(help: "Seconds for which a dropped connection is kept (presenceGrace).")
    var grace = 5.0

    @Flag(help: "kill -9 of a gateway with its members.")
    var kill = false

    @Option(help: "SIGSTOP of a gateway for so many seconds.")
    var freeze = 0.0

    @Option(help: "Restart a gateway so many times.")
    var restarts = 0

    func validate() throws {
        guard (1...1_000_000).contains(members) else { throw ValidationError("--members must be 1 to 1000000") }
        guard (1...100_000).contains(rooms) else { throw ValidationError("--rooms must be 1 to 100000") }
        guard (1...64).contains(procs) else { throw ValidationError("--procs must be 1 to 64") }
        guard members <= procs * 17_500 else {
            throw ValidationError("--procs \(procs): a process holds 17,500 members, so \(members) need more")
        }
        guard (0...rooms).contains(observed ?? 0) else { throw ValidationError("--observed must be 0 to --rooms") }
        guard (1...100_000).contains(openRate) else { throw ValidationError("--open-rate must be 1 to 100000") }
        guard (0...3600).contains(idle), (0...3600).contains(churnSeconds), (0...60).contains(freeze),
            (0...3600).contains(grace)
        else { throw ValidationError("seconds must be 0 to 3600, of --freeze 60") }
        guard (0...10_000).contains(churn) else { throw ValidationError("--churn must be 0 to 10000") }
        guard (0...1000).contains(restarts) else { throw ValidationError("--restarts must be 0 to 1000") }
        guard cluster.martlet != nil || !(kill || freeze > 0 || restarts > 0) else {
            throw ValidationError("--kill, --freeze and --restarts need gateways of the tool's own: --martlet")
        }
        guard cluster.martlet == nil || members <= cluster.gateways * 17_500 else {
            throw ValidationError("--gateways \(cluster.gateways): each holds 17,500 members")
        }
        _ = try cluster.cluster()
    }

    func run() throws {
        var plan = PresencePlan()
        plan.members = members
        plan.rooms = rooms
        plan.processes = procs
        plan.observed = observed ?? min(rooms, 100)
        plan.openRate = openRate
        plan.idle = idle
        plan.commandLimit = commandLimit
        plan.churn = churn
        plan.churnSeconds = churnSeconds
        plan.way = way
        plan.scope = scope
        plan.grace = grace
        plan.kills = kill
        plan.freeze = freeze
        plan.restarts = restarts
        let own = try cluster.cluster()
        try cluster.execute { try PresenceBench(plan, own, tell: $0) }
    }
}
