// I11: who is in a room, as clients know it themselves, against what gateways show and what observers are told. A list
// is judged only where nothing excuses it: whoever is on the way in or out, sleeps, or sits at a gateway that is broken
// may be shown or not. On the driver's loop; O(members of the room) a list, O(1) an event.

package import Bytes

extension Checker {
    /// A leave of somebody who has been in for so long is wrong, a shorter stay may be a return that crossed it.
    static let settledStay: UInt64 = 3_000_000_000

    // MARK: The truth

    /// The reply to `connect` has named the connection of `subscriber`.
    package func identified(_ subscriber: Int, client: String, gateway: Int) {
        presence.client[subscriber] = client
        presence.gateway[subscriber] = gateway
        presence.clients[client] = ClientRecord(subscriber: subscriber)
    }

    /// `subscriber` may not know of its own end until then: it sleeps, or its link is a fault's business.
    package func doubt(_ subscriber: Int, until time: MonotonicTime) {
        presence.doubtfulUntil[subscriber] = max(presence.doubtfulUntil[subscriber], time.nanoseconds)
    }

    /// Nothing follows from what is not shown until then: of the clients of `gateway`, or with nil of anybody.
    package func excusePresence(of gateway: Int? = nil, until time: MonotonicTime) {
        if let gateway {
            presence.excusedGateways[gateway] = max(presence.excusedGateways[gateway] ?? 0, time.nanoseconds)
        } else {
            presence.excusedUntil = max(presence.excusedUntil, time.nanoseconds)
        }
    }

    /// Whether joins and leaves may get lost: they are at most once, and so lost with the link that they come by.
    package func setEventsMayVanish(_ may: Bool) {
        presence.mayLoseEvents = may
        presence.views = [:]
    }

    func presenceAsked(_ subscriber: Int, _ room: Int, now: MonotonicTime) {
        guard plan.presence[room] != nil else { return }
        presence.views[cell(subscriber, room)] = ObserverView()
        presence.truth[cell(subscriber, room)] = MemberTruth(state: .asking, since: now.nanoseconds)
    }

    func presenceJoined(_ subscriber: Int, _ room: Int, now: MonotonicTime) {
        guard plan.presence[room] != nil else { return }
        presence.truth[cell(subscriber, room)] = MemberTruth(state: .present, since: now.nanoseconds)
    }

    func presenceLeft(_ subscriber: Int, _ room: Int, now: MonotonicTime) {
        guard plan.presence[room] != nil else { return }
        presence.views[cell(subscriber, room)] = nil
        guard presence.truth[cell(subscriber, room)].state != .absent else { return }
        presence.truth[cell(subscriber, room)] = MemberTruth(state: .absent, since: now.nanoseconds)
    }

    /// The subscribe command was refused.
    package func notSubscribed(_ subscriber: Int, _ room: Int, now: MonotonicTime) {
        presenceLeft(subscriber, room, now: now)
    }

    func presenceClosed(_ subscriber: Int, now: MonotonicTime) {
        for room in plan.presence.keys { presenceLeft(subscriber, room, now: now) }
        presence.clients[presence.client[subscriber]]?.endedAt = now.nanoseconds
        presence.client[subscriber] = ""
    }

    /// Whether nothing excuses a gateway that does not show `subscriber` in `room`, which was in before `time`.
    private func isOwed(_ subscriber: Int, _ room: Int, since time: UInt64, now: UInt64) -> Bool {
        let truth = presence.truth[cell(subscriber, room)]
        guard truth.state == .present, truth.since < time, presence.doubtfulUntil[subscriber] < now,
            presence.excusedUntil < now
        else { return false }
        return (presence.excusedGateways[presence.gateway[subscriber]] ?? 0) < now
    }

    /// Whether what ended at `time` must not be shown any more.
    private func isStale(_ time: UInt64, now: UInt64) -> Bool {
        let from = max(time, min(now, presence.excusedUntil))
        return now > from + UInt64(clamping: plan.presenceLag.wholeNanoseconds)
    }

    // MARK: Lists

    /// `gateway` showed the members of `room`; the question was sent at `asked`.
    package func listed(
        _ room: Int, gateway: Int, _ members: [ListedMember], asked: MonotonicTime, now: MonotonicTime
    ) {
        guard let scope = plan.presence[room] else { return }
        figures.presenceLists += 1
        var clients: Set<String> = []
        var users: Set<Int> = []
        for member in members {
            clients.insert(member.client)
            if let subscriber = member.subscriber { users.insert(subscriber) }
            judge(member, room, gateway, now: now)
        }
        guard (presence.excusedGateways[gateway] ?? 0) < asked.nanoseconds else { return }
        for subscriber in 0..<plan.subscribers
        where isOwed(subscriber, room, since: asked.nanoseconds, now: now.nanoseconds) {
            let isShown =
                scope == .user ? users.contains(subscriber) : clients.contains(presence.client[subscriber])
            guard !isShown else { continue }
            violate(
                .presence, room: room, now: now,
                "gateway \(gateway) does not show subscriber \(subscriber), which is in the room")
        }
    }

    private func judge(_ member: ListedMember, _ room: Int, _ gateway: Int, now: MonotonicTime) {
        guard let record = presence.clients[member.client] else {
            violate(.presence, room: room, now: now, "gateway \(gateway) shows a connection that nobody has")
            return
        }
        guard member.subscriber == record.subscriber else {
            violate(
                .presence, room: room, now: now,
                "gateway \(gateway) shows the connection of subscriber \(record.subscriber) under another name")
            return
        }
        guard let endedAt = record.endedAt, isStale(endedAt, now: now.nanoseconds), !record.reported.contains(room)
        else { return }
        presence.clients[member.client]?.reported.insert(room)
        let age = (now.nanoseconds - endedAt) / 1_000_000
        violate(
            .presence, room: room, now: now,
            "gateway \(gateway) shows a ghost: a connection of subscriber \(record.subscriber) that ended \(age) ms ago"
        )
    }

    /// What is wrong with a list when everything has settled; nil when it is exactly the truth.
    package func difference(_ room: Int, _ members: [ListedMember]) -> String? {
        var wanted: [String: Int] = [:]
        for subscriber in 0..<plan.subscribers where presence.truth[cell(subscriber, room)].state == .present {
            wanted[presence.client[subscriber]] = subscriber
        }
        let shown = members.map(\.client)
        let ghosts = shown.filter { wanted[$0] == nil }.count
        let missing = Set(wanted.keys).subtracting(shown).count
        let doubled = shown.count - Set(shown).count
        guard ghosts + missing + doubled > 0 else { return nil }
        return
            "\(shown.count) of \(wanted.count) members, \(ghosts) of them ghosts, \(doubled) twice, \(missing) missing"
    }

    /// Members and users that a room has in truth.
    package func present(in room: Int) -> Int {
        (0..<plan.subscribers).count { presence.truth[cell($0, room)].state == .present }
    }

    // MARK: Events

    /// `observer` was told that somebody joined or left `room`.
    package func told(_ observer: Int, _ room: Int, isJoin: Bool, _ member: ListedMember, now: MonotonicTime) {
        guard let scope = plan.presence[room] else {
            violate(.presence, room: room, now: now, "a room without presence tells of joins and leaves")
            return
        }
        figures.presenceEvents += 1
        let verb = isJoin ? "join" : "leave"
        guard let record = presence.clients[member.client], record.subscriber == member.subscriber else {
            violate(.presence, room: room, now: now, "observer \(observer) was told of the \(verb) of nobody")
            return
        }
        let who = record.subscriber
        log(isJoin ? .joined : .left, room: room, who: who, now: now)
        let key = scope == .user ? who : number(of: member.client)
        let before = presence.views[cell(observer, room), default: ObserverView()].members.updateValue(
            isJoin, forKey: key)
        guard !presence.mayLoseEvents else { return }
        if before == isJoin {
            violate(
                .presence, room: room, now: now,
                "observer \(observer) was told twice of the \(verb) of subscriber \(who)")
            return
        }
        if isJoin {
            if let endedAt = record.endedAt, isStale(endedAt, now: now.nanoseconds) {
                violate(
                    .presence, room: room, now: now,
                    "observer \(observer) was told that subscriber \(who) joined by a connection that had long ended")
            }
        } else {
            judgeLeave(observer, room, scope, who, member.client, now: now)
        }
    }

    private func judgeLeave(
        _ observer: Int, _ room: Int, _ scope: PresenceScope, _ who: Int, _ client: String, now: MonotonicTime
    ) {
        guard scope == .user || presence.client[who] == client else { return }
        let settled = now.nanoseconds - min(now.nanoseconds, Checker.settledStay)
        guard isOwed(who, room, since: settled, now: now.nanoseconds) else { return }
        violate(
            .presence, room: room, now: now,
            "observer \(observer) was told that subscriber \(who) left, which is in the room")
    }

    private func number(of client: String) -> Int {
        if let known = presence.numbers[client] { return known }
        presence.numbers[client] = presence.numbers.count
        return presence.numbers.count - 1
    }

    /// When everything has settled, what an observer was told last of somebody must be the truth.
    func finishPresence(now: MonotonicTime) {
        guard !presence.mayLoseEvents else { return }
        for (room, scope) in plan.presence {
            var numbers: [Int: Int] = [:]
            for subscriber in 0..<plan.subscribers where presence.truth[cell(subscriber, room)].state == .present {
                let client = presence.client[subscriber]
                numbers[scope == .user ? subscriber : number(of: client)] = subscriber
            }
            for observer in 0..<plan.subscribers {
                let view = presence.views[cell(observer, room)]?.members ?? [:]
                let wrong = view.filter { numbers[$0.key] != nil ? !$0.value : $0.value }
                guard !wrong.isEmpty else { continue }
                let ghosts = wrong.count { $0.value }
                violate(
                    .presence, room: room, now: now,
                    "observer \(observer) was not told of \(ghosts) leaves and \(wrong.count - ghosts) joins")
            }
        }
    }
}
