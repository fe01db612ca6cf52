// `martlet-load flood --good`: attackers from source addresses of their own open connections at full speed, while good
// clients sit in rooms and talk, and new ones come in. How much slower do messages become for the good ones, and does
// everybody who means well get in? Everything on loopback, bounded in connections and in time.

import Bytes
import LoadCore
import Reactor

/// What an attack bench does.
package struct AttackBenchPlan: Sendable {
    /// Good clients, their rooms and their publications a second, all rooms together.
    package var good = 5000
    package var goodRooms = 50
    package var goodRate = 50.0
    package var goodProcesses = 1
    /// New good clients a second during calm and attack.
    package var newcomers = 20.0
    /// Kinds of attacks, one after the other.
    package var kinds: [AttackKind] = [.connect]
    /// Source addresses, connections held at a time, and connections a second (0: all that go) of the attackers.
    package var addresses = 20
    package var held = 2000
    package var attackRate = 0.0
    package var attackProcesses = 1
    /// Seconds of calm and of each attack.
    package var baseline = 10.0
    package var seconds = 20.0
    /// Good clients that a worker lets join a second.
    package var openRate = 1000.0
    /// What is demanded: the ratio of p99 and the percentage of newcomers who get in; 0 demands nothing.
    package var ratioLimit = 2.0
    package var admissionLimit = 99.9
    /// Settings of the gateway's `limits`, as JSON members.
    package var limits = ""

    package init() {}
}

/// Carries out an attack bench.
package final class AttackBench: Bench {
    let plan: AttackBenchPlan

    /// A bench of `plan` on `cluster`; `tell` gets a line for each step.
    package init(_ plan: AttackBenchPlan, _ cluster: BenchCluster, tell: @escaping (String) -> Void) throws {
        self.plan = plan
        try super.init("flood", cluster, tell: tell)
    }

    override func perform() throws {
        let limits = plan.limits.isEmpty ? "" : ", \"limits\": {\(plan.limits)}"
        try startCluster("{\"client\": {\"rate\": \"0\"}, \"shutdown\": {\"drainWindow\": \"2s\"}\(limits)}\n")
        try startWorkers(plan.goodProcesses + plan.attackProcesses + 1)
        try gather()
        let newcomers = plan.goodProcesses
        let calm = try measure("baseline", seconds: plan.baseline, newcomers: newcomers) {}
        report.add("calm", calm.usage, "calm_s", .number(plan.baseline))
        var phases: [(AttackKind, Phase)] = []
        for kind in plan.kinds {
            tell("attack: \(kind.rawValue) from \(plan.addresses) addresses")
            let phase = try measure(kind.rawValue, seconds: plan.seconds, newcomers: newcomers) {
                self.attack(kind)
            }
            fleet.tell("attack-end")
            phases.append((kind, phase))
            try spend(.seconds(2))
        }
        fleet.tell("stop")
        try spend(.milliseconds(500))
        try judge(calm, phases)
    }

    private func gather() throws {
        for worker in 0...plan.goodProcesses {
            var share = CrowdShare()
            share.worker = worker
            // The last one has no members of its own: its clients come and go.
            share.workers = plan.goodProcesses + 1
            share.members = plan.good * (plan.goodProcesses + 1) / plan.goodProcesses
            if worker == plan.goodProcesses { share.members = 0 }
            share.rooms = plan.goodRooms
            share.seed = cluster.seed
            share.network = 2 + worker
            share.sources = 10
            share.gateways = addresses
            fleet.tell(worker, share.line)
        }
        // Whoever is refused for the moment comes again, as an SDK does.
        fleet.tell("returns 1")
        fleet.tell("open \(plan.openRate)")
        let wanted = (0..<plan.goodProcesses).reduce(0) { $0 + members(of: $1) }
        try until("the good clients to join", .seconds(Int64(60 + Double(plan.good) / plan.openRate))) {
            self.fleet.progress.joined == wanted
        }
        tell("\(wanted) good clients are in \(plan.goodRooms) rooms")
        report.add("good clients", "good", wanted)
        for worker in 0..<plan.goodProcesses {
            fleet.tell(worker, "publish \(plan.goodRate / Double(plan.goodProcesses))")
        }
        fleet.tell("phase warmup")
        try spend(.seconds(2))
    }

    private func members(of worker: Int) -> Int {
        var share = CrowdShare()
        share.worker = worker
        share.workers = plan.goodProcesses + 1
        share.members = plan.good * (plan.goodProcesses + 1) / plan.goodProcesses
        return share.own.count
    }

    private func attack(_ kind: AttackKind) {
        let each = max(1, plan.addresses / plan.attackProcesses)
        for number in 0..<plan.attackProcesses {
            var attack = AttackPlan()
            attack.kind = kind
            attack.held = max(1, plan.held / plan.attackProcesses)
            attack.rate = plan.attackRate / Double(plan.attackProcesses)
            attack.firstAddress = 1 + number * each
            attack.addresses = each
            attack.seed = cluster.seed &+ UInt64(number)
            attack.target = addresses[number % addresses.count]
            fleet.tell(plan.goodProcesses + 1 + number, attack.line)
        }
    }

    private struct Phase {
        var usage = ""
        var newcomers = (tried: 0, admitted: 0)
        var attempts = 0
        var lost = 0
    }

    private func measure(_ name: String, seconds: Double, newcomers: Int, _ begin: () -> Void) throws -> Phase {
        let before = sample()
        let lost = fleet.progress.lost
        fleet.tell("phase \(name)")
        if plan.newcomers > 0 { fleet.tell(newcomers, "newcomers \(plan.newcomers) 2000") }
        begin()
        try spend(.milliseconds(Int64(seconds * 1000)))
        var phase = Phase()
        phase.usage = sample().line(since: before)
        // Who came last gets the time that everybody has.
        fleet.tell(newcomers, "newcomers 0 1")
        try spend(.milliseconds(1500))
        let result = try collectReports()
        phase.newcomers = (Int(result["newcomers.tried"]), Int(result["newcomers.admitted"]))
        phase.attempts = Int(result["attack.attempts"])
        phase.lost = fleet.progress.lost - lost
        report.add("newcomers, \(name)", "newcomers_\(name)", result.latencies["newcomers"] ?? LatencyHistogram())
        for key in ["attempts", "connected", "thrown_out", "answers", "not_begun"] where phase.attempts > 0 {
            report.add("  \(key), \(name)", "attack_\(name)_\(key)", Int(result["attack.\(key)"]))
        }
        for (reason, times) in result.failures.sorted(by: { $0.value > $1.value }).prefix(5) {
            report.add("  failure, \(name)", "\(times) × \(reason)", "failure_\(name): \(reason)", .whole(times))
        }
        return phase
    }

    private func judge(_ calm: Phase, _ phases: [(AttackKind, Phase)]) throws {
        let result = try collectReports()
        let quiet = result.latencies["delivery.baseline"] ?? LatencyHistogram()
        report.add("delivery, calm", "delivery_baseline", quiet)
        must("messages flow in calm", "\(quiet.count) deliveries", holds: quiet.count > 0)
        for (kind, phase) in phases {
            let name = kind.rawValue
            let under = result.latencies["delivery.\(name)"] ?? LatencyHistogram()
            report.add("delivery, \(name)", "delivery_\(name)", under)
            report.add("usage, \(name)", phase.usage, "usage_\(name)", .text(phase.usage))
            let ratio = Double(under.percentile(99)) / Double(max(1, quiet.percentile(99)))
            let shown = JSONText.short((ratio * 100).rounded() / 100)
            report.add("p99 ratio, \(name)", shown, "p99_ratio_\(name)", .number(ratio))
            if plan.ratioLimit > 0 {
                must(
                    "\(name): p99 of the good clients is at most \(JSONText.short(plan.ratioLimit)) × its calm value",
                    shown, holds: under.count > 0 && ratio <= plan.ratioLimit)
            }
            must("\(name): no good client is turned out", "\(phase.lost)", holds: phase.lost == 0)
            must("\(name): the attack took place", "\(phase.attempts) connections", holds: phase.attempts > 0)
            guard plan.admissionLimit > 0, plan.newcomers > 0 else { continue }
            let (tried, admitted) = phase.newcomers
            let part = Double(admitted) / Double(max(1, tried)) * 100
            must(
                "\(name): \(JSONText.short(plan.admissionLimit)) % of the new good clients get in",
                "\(admitted) of \(tried)", holds: tried > 0 && part >= plan.admissionLimit)
        }
        report.add("send lag", "send_lag", result.latencies["send_lag"] ?? LatencyHistogram())
    }
}
