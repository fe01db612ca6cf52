// `martlet-load limits`: how fast a room may talk, all gateways together.

import ArgumentParser
import LoadCore
import VerifyCore

struct Limits: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Senders at several gateways offer a room several times its rate; what passes, and at what price?",
        discussion: """
            Accepted must be rate × time + burst over all gateways together, observers must get exactly the accepted
            ones, a refusal must cost Redis little, and another room must hardly notice.

              martlet-load limits --martlet .build/release/martlet
              martlet-load limits --martlet .build/release/martlet --senders 30 --rate 100 --times 5 --seconds 20
              martlet-load limits -u 127.0.0.1:8000 -u 127.0.0.1:8001 --redis 127.0.0.1:6379 --rate 50
            Gateways that run already need {"client": {"rate": "0"}} and the room's rate in rooms.namespaces.limits.
            Exit codes: 0 all demands were met, 1 not, 2 usage.
            """)

    @OptionGroup var cluster: ClusterOptions

    @Option(help: "Senders, all gateways together.")
    var senders = 300

    @Option(help: "What the room takes: publications a second.")
    var rate = 50

    @Option(help: "And at once. Default: as many as a second.")
    var burst: Int?

    @Option(help: "Offered is so many times the rate.")
    var times = 10.0

    @Option(help: "Seconds of the flood.")
    var seconds = 60.0

    @Option(help: "Seconds of calm before it.")
    var baseline = 10.0

    @Option(help: "Members of the quiet room.")
    var quietMembers = 60

    @Option(help: "Publications a second in it.")
    var quietRate = 20.0

    @Option(help: "Percent by which the accepted ones may differ.")
    var tolerance = 2.0

    @Option(help: "Redis scripts that an attempt may cost; 0 demands nothing.")
    var scriptLimit = 0.4

    @Option(help: "How many times its calm value the quiet room's p99 may be; 0 demands nothing.")
    var ratioLimit = 2.0

    @Flag(help: "Rooms keep no history.")
    var noHistory = false

    func validate() throws {
        guard (1...15_000).contains(senders) else { throw ValidationError("--senders must be 1 to 15000") }
        guard (1...10_000).contains(rate), (1...100_000).contains(burst ?? 1) else {
            throw ValidationError("--rate must be 1 to 10000, --burst 1 to 100000")
        }
        guard (0.1...1000).contains(times) else { throw ValidationError("--times must be 0.1 to 1000") }
        guard (1...3600).contains(seconds), (1...3600).contains(baseline) else {
            throw ValidationError("--seconds and --baseline must be 1 to 3600")
        }
        guard (0...3000).contains(quietMembers), (0.1...1000).contains(quietRate) else {
            throw ValidationError("--quiet-members must be 0 to 3000, --quiet-rate 0.1 to 1000")
        }
        _ = try cluster.cluster()
    }

    func run() throws {
        var plan = LimitsPlan()
        plan.senders = senders
        plan.rate = Double(rate)
        plan.burst = burst ?? rate
        plan.times = times
        plan.seconds = seconds
        plan.baseline = baseline
        plan.quietMembers = quietMembers
        plan.quietRate = quietRate
        plan.tolerance = tolerance / 100
        plan.scriptLimit = scriptLimit
        plan.ratioLimit = ratioLimit
        plan.hasHistory = !noHistory
        let own = try cluster.cluster()
        try cluster.execute { try LimitsBench(plan, own, tell: $0) }
    }
}
