// The options of `martlet-load flood --good`: good clients, attackers, and what is demanded.

import ArgumentParser
import Glibc
import LoadCore
import VerifyCore

/// Good clients and those who mean no good.
struct AttackOptions: ParsableArguments {
    @Option(help: "Good clients, in rooms with publications. Above 0 this is an attack.")
    var good = 0

    @Option(help: "Their rooms.")
    var goodRooms = 50

    @Option(help: "Publications a second, all their rooms together.")
    var goodRate = 50.0

    @Option(help: "New good clients a second.")
    var newcomers = 20.0

    @Option(
        help: """
            What attackers do once connected: connect (gone at once), silent, slowloris, bad-upgrade, garbage or \
            churn. May be given several times: one after the other.
            """)
    var attack: [AttackKind] = []

    @Option(help: "Source addresses of the attackers, 127.0.1.1 and up.")
    var attackAddresses = 20

    @Option(help: "Connections that they hold at a time.")
    var attackHeld = 2000

    @Option(help: "Connections that they begin a second; 0 is as many as go.")
    var attackRate = 0.0

    @Option(help: "Processes of attackers.")
    var attackProcs = 1

    @Option(help: "Seconds of calm before.")
    var baseline = 10.0

    @Option(help: "Seconds of each attack.")
    var attackSeconds = 20.0

    @Option(help: "How many times its calm value the good clients' p99 may be; 0 demands nothing.")
    var ratioLimit = 2.0

    @Option(help: "Percent of the newcomers that must get in; 0 demands nothing.")
    var admissionLimit = 99.9

    @Option(help: "Start a gateway of this program on a free port, with its embedded engine.")
    var martlet: String?

    @Option(help: "Event loops of that gateway.")
    var loops = 1

    @Option(help: "Its limits.acceptRatePerIP.")
    var acceptRatePerIp: Int?

    @Option(help: "Its limits.maxConnectionsPerIP. The good clients of a process come from 10 addresses.")
    var maxConnectionsPerIp: Int?

    @Option(help: "Its limits.acceptRate.")
    var acceptRate: Int?

    @Flag(help: "Keep the folder with configurations and logs.")
    var keep = false

    /// Refuses what cannot be carried out.
    func check() throws {
        guard (1...72_000).contains(good) else { throw ValidationError("--good must be 1 to 72000") }
        guard (1...10_000).contains(goodRooms), (0.1...10_000).contains(goodRate) else {
            throw ValidationError("--good-rooms must be 1 to 10000, --good-rate 0.1 to 10000")
        }
        guard (0...1000).contains(newcomers) else { throw ValidationError("--newcomers must be 0 to 1000") }
        guard (1...200).contains(attackAddresses), (1...8).contains(attackProcs) else {
            throw ValidationError("--attack-addresses must be 1 to 200, --attack-procs 1 to 8")
        }
        guard (1...15_000 * attackProcs).contains(attackHeld), (0...1e6).contains(attackRate) else {
            throw ValidationError("--attack-held must be 1 to 15,000 a process, --attack-rate 0 to 1000000")
        }
        guard (1...3600).contains(baseline), (1...3600).contains(attackSeconds) else {
            throw ValidationError("--baseline and --attack-seconds must be 1 to 3600")
        }
        if let martlet, access(martlet, X_OK) != 0 {
            throw ValidationError("--martlet \(martlet): no such program; build it or name another")
        }
    }

    private var limits: String {
        [
            ("acceptRatePerIP", acceptRatePerIp), ("maxConnectionsPerIP", maxConnectionsPerIp),
            ("acceptRate", acceptRate),
        ].compactMap { name, value in value.map { "\"\(name)\": \($0)" } }.joined(separator: ", ")
    }

    /// Makes the run and reports; throws the exit code.
    func execute(_ common: CommonOptions) throws {
        var plan = AttackBenchPlan()
        plan.good = good
        plan.goodRooms = goodRooms
        plan.goodRate = goodRate
        plan.goodProcesses = max(common.procs, (good + 17_999) / 18_000)
        plan.newcomers = newcomers
        plan.kinds = attack.isEmpty ? [.connect] : attack
        plan.addresses = attackAddresses
        plan.held = attackHeld
        plan.attackRate = attackRate
        plan.attackProcesses = attackProcs
        plan.baseline = baseline
        plan.seconds = attackSeconds
        plan.ratioLimit = ratioLimit
        plan.admissionLimit = admissionLimit
        plan.limits = limits
        // Each worker of good clients has ten addresses; they stay below what is granted to one.
        if let most = acceptRatePerIp { plan.openRate = min(1000, Double(most) * 8) }
        if let most = acceptRate { plan.openRate = min(plan.openRate, Double(most) * 0.8 / Double(plan.goodProcesses)) }
        plan.openRate = max(1, plan.openRate)
        var output = ClusterOptions()
        output.martlet = martlet
        output.redisServer = "redis-server"
        output.gateways = 1
        output.loops = loops
        output.url = martlet == nil ? [common.target] : []
        output.redis = nil
        output.prefix = "martlet"
        output.pid = common.pid
        output.keep = keep
        output.json = common.json
        output.seed = common.seed
        output.quiet = common.quiet
        var cluster = try output.cluster()
        cluster.isEmbedded = true
        let own = cluster
        try output.execute { try AttackBench(plan, own, tell: $0) }
    }
}
