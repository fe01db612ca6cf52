// Who is in the rooms, as the run sees it: what excuses a gateway while something is broken, the lists that must be
// exact in the end, and the keys that must be gone when everybody has left. Part of VerifyRun.

import Bytes
import Reactor

extension VerifyRun {
    /// A node that was declared dead, or whose store was away, has so long to tell again who is there.
    private var reassertion: Duration { .seconds(12) * plan.patience }

    /// What is broken excuses what is not shown; called when a fault begins and when it has been healed.
    func excusePresence(_ fault: any Fault, _ troublesRedis: Bool) {
        guard rig.hasPresence else { return }
        let until = loop.now + fault.length + reassertion
        if troublesRedis {
            checker.excusePresence(until: until)
            checker.setEventsMayVanish(true)
        } else if let victim = fault.victimGateway {
            checker.excusePresence(of: victim.number, until: until)
        }
    }

    /// Waits until every gateway shows exactly who is there.
    func settlePresence() throws {
        guard rig.hasPresence else { return }
        let limit = checker.plan.presenceLag
        let isExact = try untilSoft(limit) { pool.presenceDifference() == nil }
        guard !isExact, let wrong = pool.presenceDifference() else { return try countPresenceKeys() }
        checker.report(.presence, now: loop.now, "\(wrong), \(limit.millisecondsText) after everything was healed")
    }

    /// As many keys as there must be: one list, one count of users, and one set for each gateway that has members.
    private func countPresenceKeys() throws {
        let rooms = checker.plan.presence.keys.count { checker.present(in: $0) > 0 }
        let most = rooms * rig.gateways.count
        for attempt in 1...10 {
            guard let census = try presenceKeys() else { return }
            if census.members == rooms, census.users == rooms, (rooms...most).contains(census.nodes) { return }
            try spend(.milliseconds(500))
            guard attempt == 10 else { continue }
            checker.report(
                .presence, now: loop.now,
                "Redis has \(census.text) for \(rooms) rooms with members and \(rig.gateways.count) gateways")
        }
    }

    /// Everybody leaves, and nothing may be left over.
    func sweepPresence() throws {
        guard rig.hasPresence else { return }
        pool.leave(Array(0..<plan.clients.subscribers))
        var left: PresenceKeys?
        let end = loop.now + checker.plan.presenceLag
        while loop.now < end {
            try spend(.milliseconds(500))
            guard let census = try presenceKeys() else { return }
            left = census
            if census.isEmpty { break }
        }
        if let left, !left.isEmpty {
            checker.report(.presence, now: loop.now, "everybody has left, and Redis still has \(left.text)")
        }
        checker.finishWindows(now: loop.now, all: true)
    }

    /// The keys of presence in Redis; nil without Redis, or when it does not answer.
    private func presenceKeys() throws -> PresenceKeys? {
        guard let control = rig.redisControl else { return nil }
        var found: PresenceKeys?
        var isDone = false
        PresenceKeys.count(control, prefix: "martlet") {
            found = $0
            isDone = true
        }
        _ = try untilSoft(.seconds(10)) { isDone }
        return found
    }
}
