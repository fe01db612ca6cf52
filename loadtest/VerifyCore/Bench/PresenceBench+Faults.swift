// What presence must survive: a gateway that dies with its members, one that stands still for longer than its lease,
// one that is restarted again and again. Only with a cluster that the bench has started. Part of PresenceBench.

import Bytes
import Glibc
import LoadCore
import Reactor

extension PresenceBench {
    /// Within this time everybody must have been told of the members of a dead gateway.
    private static let reapLimit = Duration.seconds(10)

    private func victim() throws -> GatewayNode {
        guard let rig else { throw RigFailure("faults need a cluster that the tool starts: --martlet") }
        guard let last = rig.gateways.last, rig.gateways.count > 1 else {
            throw RigFailure("faults need two gateways at least")
        }
        return last
    }

    /// kill -9 of a gateway: every leave of its members must be seen exactly once by the others.
    func killOne() throws {
        guard let observers else { return }
        let victim = try victim()
        let survivors = share.gateways.indices.filter { $0 != victim.number }
        let before = try tally()
        let doomed = (0..<plan.members).filter {
            share.gateway(of: $0) == victim.number && share.room(of: $0) < plan.observed
                && (before[$0] ?? .usual).isIn
        }
        let leaves = survivors.map { gateway in doomed.map { observers.sightings[gateway][$0]?.leaves ?? 0 } }
        tell("kill -9 of gateway \(victim.number), which has \(doomed.count) observed members")
        let killed = MonotonicTime.now()
        victim.process?.signal(SIGKILL)
        _ = try untilSoft(.seconds(30)) {
            survivors.allSatisfy { gateway in doomed.allSatisfy { observers.sightings[gateway][$0]?.isIn == false } }
        }
        // What comes twice comes soon after.
        try spend(.seconds(3))
        var late = LatencyHistogram()
        var counts: [Int: Int] = [:]
        for (place, gateway) in survivors.enumerated() {
            for (index, member) in doomed.enumerated() {
                let sighting = observers.sightings[gateway][member] ?? Sighting()
                let told = Int(sighting.leaves) - Int(leaves[place][index])
                counts[told, default: 0] += 1
                guard told > 0 else { continue }
                late.record(nanoseconds: UInt64(clamping: sighting.lastLeaveAt.since(killed).wholeNanoseconds))
            }
        }
        let all = doomed.count * survivors.count
        must(
            "after kill -9 each survivor is told of each leave exactly once",
            "\(counts[1] ?? 0) of \(all), \(counts[0] ?? 0) never, "
                + "\(all - (counts[0] ?? 0) - (counts[1] ?? 0)) more than once",
            holds: counts[1] == all && all > 0)
        let limit = UInt64(clamping: PresenceBench.reapLimit.wholeNanoseconds / 1000)
        must(
            "after kill -9 leaves are told within 10 s", late.line,
            holds: late.count > 0 && late.longestSeen <= limit)
        report.add("leaves after kill -9", "leaves_after_kill", late)
        try settle("after kill -9", isSteady: true, gateways: survivors)
        try start(victim)
        observers.rejoin()
        try until("the observers to come back", .seconds(20)) { observers.isComplete }
    }

    private func start(_ gateway: GatewayNode) throws {
        guard let rig else { return }
        try until("the gateway to end", .seconds(10)) { gateway.process?.isRunning != true }
        try rig.startGateway(gateway)
        try until("the gateway to come back", .seconds(20)) { gateway.isUp }
    }

    /// SIGSTOP of a gateway: when it goes on, its members are in, whoever had declared them dead.
    func freezeOne() throws {
        guard let observers else { return }
        let victim = try victim()
        observers.forget()
        tell("SIGSTOP of gateway \(victim.number) for \(JSONText.short(plan.freeze)) s")
        victim.process?.signal(SIGSTOP)
        victim.frozenSince = loop.now
        try spend(.milliseconds(Int64(plan.freeze * 1000)))
        victim.process?.signal(SIGCONT)
        victim.frozenSince = nil
        let thawed = MonotonicTime.now()
        let tallies = try tally()
        var odd = -1
        let isBack = try untilSoft(.seconds(15)) {
            try? self.spend(.milliseconds(200))
            odd = self.oddSightings(observers, tallies)
            return odd == 0
        }
        let back = MonotonicTime.now().since(thawed)
        try spend(.seconds(3))
        odd = oddSightings(observers, tallies)
        let events = observers.events
        must(
            "after SIGSTOP observers were told of a leave and a join for each member, or of neither",
            "\(odd) otherwise, \(events) events, settled in \(isBack ? back.millisecondsText : "no time")",
            holds: isBack && odd == 0)
        report.add("events of SIGSTOP", "freeze_events", events)
        try compareLists("after SIGSTOP", tallies, Array(share.gateways.indices))
        forget(tallies)
    }

    /// Members of observed rooms of which an observer was told an unequal number of leaves and joins, or a wrong end.
    private func oddSightings(_ observers: PresenceObservers, _ tallies: [Int: SeatTally]) -> Int {
        var odd = 0
        for sightings in observers.sightings {
            for (member, sighting) in sightings {
                let isIn = (tallies[member] ?? .usual).isIn
                if sighting.joins != sighting.leaves || sighting.joins > 1 || sighting.isIn != isIn
                    || sighting.repetitions > 0
                {
                    odd += 1
                }
            }
        }
        return odd
    }

    /// Restarts a gateway again and again, with SIGTERM and SIGKILL in turn; its members come back each time.
    func restartOften() throws {
        guard let observers else { return }
        let victim = try victim()
        fleet.tell("returns 1")
        for round in 1...plan.restarts {
            tell("restart \(round) of \(plan.restarts)")
            victim.process?.signal(round % 2 == 0 ? SIGKILL : SIGTERM)
            try start(victim)
            try until("the members to come back", .seconds(30)) { self.fleet.progress.joined == self.plan.members }
            observers.rejoin()
            try until("the observers to come back", .seconds(20)) { observers.isComplete }
        }
        fleet.tell("returns 0")
        tell("restarted \(plan.restarts) times; what is left of the lives before?")
        try spend(.seconds(10))
        let tallies = try tally()
        try compareLists("after \(plan.restarts) restarts", tallies, Array(share.gateways.indices))
        try countKeys()
        forget(tallies)
        observers.forget(whoIsIn: true)
    }

    /// No keys but those of the gateways that live.
    private func countKeys() throws {
        guard let redis, let rig else { return }
        var census: PresenceKeys?
        PresenceKeys.count(redis, prefix: cluster.prefix) { census = $0 }
        try until("SCAN", .seconds(10)) { census != nil }
        guard let census else { return }
        let nodes = rig.gateways.count
        must(
            "no key of an earlier life is left", census.text,
            holds: census.nodeRooms <= nodes && census.nodes <= nodes * plan.rooms && census.members == plan.rooms
                && census.users == plan.rooms)
    }
}
