// `martlet-load presence`: members × rooms over gateways: they join at a rate, sit still while Redis' commands are
// counted, come and go, and leave; every list must be the truth and every join and leave be seen exactly once. Faults
// of gateways are in PresenceBench+Faults. The main thread turns the loop; every wait has a bound.

import Bytes
import LoadCore
import Reactor

/// What a presence bench does.
package struct PresencePlan: Sendable {
    /// Members, all rooms together.
    package var members = 3000
    package var rooms = 30
    /// Worker processes.
    package var processes = 1
    /// Rooms whose joins and leaves are observed.
    package var observed = 30
    /// Members that join a second.
    package var openRate = 1000.0
    /// Seconds of sitting still.
    package var idle = 10.0
    /// Client-issued Redis commands a second that are allowed meanwhile; 0 demands nothing.
    package var commandLimit = 10.0
    /// Members that come and go a second, and for how long.
    package var churn = 0.0
    package var churnSeconds = 10.0
    /// How they leave; nil is unsubscribing and closing in turn.
    package var way: Leaving?
    /// As what members count.
    package var scope = PresenceScope.client
    /// Seconds for which a dropped connection is kept.
    package var grace = 5.0
    /// Kills a gateway that has members.
    package var kills = false
    /// Seconds for which a gateway is frozen; 0 freezes none.
    package var freeze = 0.0
    /// Restarts of a gateway, one after the other.
    package var restarts = 0

    package init() {}
}

/// Carries out a presence bench.
package final class PresenceBench: Bench {
    let plan: PresencePlan
    var share = CrowdShare()
    var observers: PresenceObservers?
    /// Within this time everything that happened must be told and shown.
    private static let settleLimit = Duration.seconds(15)
    /// What members had done when events were last compared; nil before the first time.
    private var base: [Int: SeatTally]?

    /// A bench of `plan` on `cluster`; `tell` gets a line for each step.
    package init(_ plan: PresencePlan, _ cluster: BenchCluster, tell: @escaping (String) -> Void) throws {
        self.plan = plan
        try super.init("presence", cluster, tell: tell)
    }

    /// The configuration of gateways that the bench starts.
    static func configuration(_ plan: PresencePlan) -> String {
        let scope = plan.scope == .user ? "user" : "client"
        let most = max(1000, plan.members / max(1, plan.rooms) * 2 + 100)
        return """
            {"client": {"rate": "0"}, "shutdown": {"drainWindow": "2s"}, "rooms": {"default": {
              "presence": true, "joinLeave": true, "presenceScope": "\(scope)",
              "presenceGrace": "\(Int(plan.grace * 1000))ms", "joinLeaveMaxMembers": \(most)}}}

            """
    }

    override func perform() throws {
        try startCluster(PresenceBench.configuration(plan))
        try startWorkers(plan.processes)
        try join()
        if plan.idle > 0 { try sitStill() }
        if plan.churn > 0 { try comeAndGo() }
        if plan.freeze > 0 { try freezeOne() }
        if plan.restarts > 0 { try restartOften() }
        if plan.kills { try killOne() }
        try leave()
        try summarize()
    }

    // MARK: Phases

    private func join() throws {
        share.members = plan.members
        share.rooms = plan.rooms
        share.workers = plan.processes
        share.seed = cluster.seed
        share.prefix = "crowd-"
        share.gateways = addresses
        share.sources = 2
        let observers = PresenceObservers(loop, share, rooms: plan.observed)
        self.observers = observers
        try until("the observers to join", .seconds(20)) { observers.isComplete }
        for worker in 0..<plan.processes {
            var own = share
            own.worker = worker
            own.network = 2 + worker
            fleet.tell(worker, own.line)
        }
        let before = sample()
        let began = MonotonicTime.now()
        fleet.tell("open \(plan.openRate / Double(plan.processes))")
        tell("\(plan.members) members join \(plan.rooms) rooms at \(addresses.count) gateways")
        let limit = Duration.seconds(Int64(Double(plan.members) / max(1, plan.openRate)) + 120)
        _ = try untilSoft(limit) { self.fleet.progress.joined + self.fleet.progress.failed >= self.plan.members }
        let took = MonotonicTime.now().since(began)
        let progress = fleet.progress
        must(
            "all members join", "\(progress.joined) of \(plan.members) in \(took.millisecondsText)",
            holds: progress.joined == plan.members)
        report.add("members", "\(progress.joined)", "members", .whole(UInt64(progress.joined)))
        report.add("joining", sample().line(since: before), "joining", .number(took.inSeconds))
        try settle("after joining", isSteady: true)
    }

    private func sitStill() throws {
        guard let address = redisAddress else { return tell("no Redis to look at: the idle phase measures nothing") }
        try spend(.seconds(2))
        let before = sample()
        let processed = try commandsProcessed()
        let monitor = try RedisMonitor(loop, address)
        try until("MONITOR", .seconds(5)) { monitor.isOpen }
        let began = MonotonicTime.now()
        try spend(.milliseconds(Int64(plan.idle * 1000)))
        monitor.stop()
        let seconds = MonotonicTime.now().since(began).inSeconds
        let rate = Double(monitor.total) / seconds
        let processedNow = try commandsProcessed()
        let short = JSONText.short
        report.add(
            "idle Redis commands", "\(short((rate * 100).rounded() / 100)) a second: \(monitor.line(over: seconds))",
            "idle_commands_per_s", .number(rate))
        report.add(
            "  by INFO", "\(processedNow - processed) in \(short(seconds)) s, those of scripts among them",
            "idle_commands_processed", .whole(UInt64(max(0, processedNow - processed))))
        report.add("idle", sample().line(since: before), "idle_s", .number(seconds))
        guard plan.commandLimit > 0 else { return }
        must(
            "idle members cost at most \(short(plan.commandLimit)) client-issued Redis commands a second",
            short((rate * 100).rounded() / 100), holds: rate <= plan.commandLimit)
    }

    private func commandsProcessed() throws -> Int {
        RedisInfo.number("total_commands_processed:", in: try ask(["INFO", "stats"]) ?? []) ?? 0
    }

    private func comeAndGo() throws {
        let before = sample()
        let ways = plan.way.map { [$0] } ?? [.unsubscribe, .close]
        for way in ways {
            let time = Int64(plan.churnSeconds * 1000) / Int64(ways.count)
            // Whoever drops comes back at the next gateway: in user scope nobody may notice.
            let moves = way == .drop ? 1 : 0
            tell("\(JSONText.short(plan.churn)) members a second leave by \(way.rawValue) and come back")
            fleet.tell("churn \(plan.churn / Double(plan.processes)) \(time) \(way.rawValue) \(moves)")
            try spend(.milliseconds(time + 500))
            _ = try untilSoft(.seconds(20)) { self.fleet.progress.away == 0 }
            try settle("after leaving by \(way.rawValue) and coming back", isSteady: way != .drop, silent: way == .drop)
        }
        report.add("came and went", "churned", fleet.progress.churned)
        report.add("churn", sample().line(since: before), "churn_s", .number(plan.churnSeconds))
    }

    private func leave() throws {
        tell("everybody leaves")
        fleet.tell("leave close \(max(1, plan.openRate / Double(plan.processes)))")
        let limit = Duration.seconds(Int64(Double(plan.members) / max(1, plan.openRate)) + 60)
        try until("everybody to leave", limit) { self.fleet.progress.connected == 0 }
        try settle("after everybody has left", isSteady: true)
        observers?.leave()
        guard cluster.isOwn, let redis else { return }
        var left: PresenceKeys?
        var isDone = true
        var asked = MonotonicTime(nanoseconds: 0)
        let isClean = try untilSoft(PresenceBench.settleLimit) {
            if isDone, self.loop.now.since(asked) > .milliseconds(300) {
                isDone = false
                asked = self.loop.now
                PresenceKeys.count(redis, prefix: self.cluster.prefix) {
                    left = $0
                    isDone = true
                }
            }
            return left?.isEmpty == true
        }
        must("no key of presence is left over", left?.text ?? "no answer", holds: isClean)
    }

    private func summarize() throws {
        let result = try collectReports()
        if let join = result.latencies["join"] { report.add("joining a room", "join_latency", join) }
        report.add("pings answered", "pings", Int(result["pings"]))
        if result["retries"] > 0 { report.add("joins asked for again", "retries", Int(result["retries"])) }
        for (reason, times) in result.failures.sorted(by: { $0.value > $1.value }).prefix(10) {
            report.add("failure", "\(times) × \(reason)", "failure: \(reason)", .whole(times))
        }
        if let strangers = observers?.strangers, strangers > 0 {
            must("no event is of somebody who is not in the room", "\(strangers)", holds: false)
        }
    }

    // MARK: Truth

    /// What the members have done up to now.
    func tally() throws -> [Int: SeatTally] {
        fleet.askTallies()
        try until("the workers' tallies", .seconds(60)) { fleet.hasTallied }
        return fleet.tallies
    }

    /// Waits until observers have seen every join and leave since the last call exactly once, and every gateway shows
    /// exactly who is there. `isSteady`: events of a member must alternate. `silent`: in user scope whoever came back
    /// must not have been missed.
    func settle(_ when: String, isSteady: Bool, silent: Bool = false, gateways: [Int]? = nil) throws {
        guard let observers else { return }
        let wanted = gateways ?? Array(share.gateways.indices)
        let tallies = try tally()
        var events = EventBalance()
        let isQuietScope = silent && plan.scope == .user
        _ = try untilSoft(PresenceBench.settleLimit) {
            try? self.spend(.milliseconds(200))
            events = EventBalance(
                observers.sightings, self.share, rooms: self.plan.observed, since: self.base, tallies, wanted,
                isSilent: isQuietScope)
            return events.isExact
        }
        must(
            "\(when), observers have seen every join and leave exactly once",
            events.text, holds: events.isExact && (!isSteady || events.repetitions == 0))
        try compareLists(when, tallies, wanted)
        forget(tallies)
        if !isSteady { observers.forget(whoIsIn: true) }
    }

    /// From here on events count.
    func forget(_ tallies: [Int: SeatTally]) {
        observers?.forget()
        base = tallies
    }

    /// Waits until every gateway shows and counts exactly who is there.
    func compareLists(_ when: String, _ tallies: [Int: SeatTally], _ gateways: [Int]) throws {
        guard let observers else { return }
        var lists: PresenceLists?
        let isTrue = try untilSoft(PresenceBench.settleLimit) {
            let round = PresenceLists(observers, self.share, gateways: gateways, rooms: self.plan.rooms) { room in
                self.members(of: room, tallies, observers)
            }
            lists = round
            _ = try? self.untilSoft(.seconds(30)) { round.isDone }
            return round.isDone && round.wrong == 0
        }
        let text = lists.map { "\($0.lists - $0.wrong) of \($0.wanted) lists, \($0.pages) pages" } ?? "none"
        must("\(when), every gateway shows and counts exactly who is there", text, holds: isTrue)
        for complaint in lists?.complaints.prefix(5) ?? [] where !isTrue { report.problems.append(complaint) }
    }

    private var membersOfRooms: [[Int]] = []

    /// The users that are in `room` in truth.
    private func members(of room: Int, _ tallies: [Int: SeatTally], _ observers: PresenceObservers) -> Set<String> {
        if membersOfRooms.isEmpty {
            membersOfRooms = Array(repeating: [], count: plan.rooms)
            for number in 0..<plan.members { membersOfRooms[share.room(of: number)].append(number) }
        }
        var users = Set(observers.observers(in: room))
        for number in membersOfRooms[room] where (tallies[number] ?? .usual).isIn { users.insert("m\(number)") }
        return users
    }
}

/// What observers were told, against what members did.
struct EventBalance {
    var expected = 0
    var seen = 0
    /// Joins and leaves that were not told, and that were told too often.
    var missing = 0
    var surplus = 0
    var repetitions = 0

    var isExact: Bool { missing == 0 && surplus == 0 }
    var text: String {
        "\(seen) of \(expected) at all gateways together, \(missing) missing, \(surplus) too many, "
            + "\(repetitions) twice in a row"
    }

    init() {}

    init(
        _ sightings: [[Int: Sighting]], _ share: CrowdShare, rooms: Int, since base: [Int: SeatTally]?,
        _ tallies: [Int: SeatTally], _ gateways: [Int], isSilent: Bool
    ) {
        for number in 0..<share.members where share.room(of: number) < rooms {
            var tally = tallies[number] ?? .usual
            let before = base.map { $0[number] ?? .usual } ?? SeatTally()
            tally.joins -= before.joins
            tally.leaves -= before.leaves
            // In user scope whoever drops and returns has never been away.
            if isSilent, tally.isIn, before.isIn {
                tally.joins = 0
                tally.leaves = 0
            }
            for gateway in gateways {
                let sighting = sightings[gateway][number] ?? Sighting()
                expected += tally.joins + tally.leaves
                seen += Int(sighting.joins) + Int(sighting.leaves)
                missing += max(0, tally.joins - Int(sighting.joins)) + max(0, tally.leaves - Int(sighting.leaves))
                surplus += max(0, Int(sighting.joins) - tally.joins) + max(0, Int(sighting.leaves) - tally.leaves)
                repetitions += Int(sighting.repetitions)
            }
        }
    }
}
