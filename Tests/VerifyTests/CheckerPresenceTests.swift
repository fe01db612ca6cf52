// I11 by scripts: runs in which presence is the truth, however odd they look, and runs that break it in one way each.

import Bytes
import Testing
import VerifyCore

extension CheckerPlan {
    /// Room 0 counts connections, room 1 users; four subscribers; whoever left may be shown for two seconds.
    static var shown: CheckerPlan {
        var plan = small
        plan.subscribers = 4
        plan.presence = [0: .client, 1: .user]
        plan.presenceLag = .seconds(2)
        return plan
    }
}

extension Script {
    /// The subscriber connects as `client` at `gateway`.
    func connect(_ subscriber: Int, as client: String, at gateway: Int = 0) {
        tick()
        checker.identified(subscriber, client: client, gateway: gateway)
    }

    /// Connects and joins `room`.
    func arrive(_ subscriber: Int, as client: String, room: Int = 0, at gateway: Int = 0) {
        connect(subscriber, as: client, at: gateway)
        join(subscriber, at: 0, room: room)
    }

    func list(_ members: [(Int, String)], room: Int = 0, gateway: Int = 0) {
        let asked = now
        tick()
        let list = members.map { ListedMember(subscriber: $0.0, client: $0.1) }
        checker.listed(room, gateway: gateway, list, asked: asked, now: now)
    }

    func event(_ observer: Int, isJoin: Bool, _ subscriber: Int?, _ client: String, room: Int = 0) {
        tick()
        checker.told(
            observer, room, isJoin: isJoin, ListedMember(subscriber: subscriber, client: client), now: now)
    }
}

@Suite("I11: the checker is silent about presence that is the truth")
struct CheckerPresenceCleanTests {
    @Test("members come, are shown, go, and are not shown any more")
    func plain() {
        let script = Script(.shown)
        script.arrive(0, as: "a")
        script.arrive(1, as: "b")
        script.event(0, isJoin: true, 1, "b")
        script.tick(5000)
        script.list([(0, "a"), (1, "b")])
        script.drop(1)
        script.list([(0, "a"), (1, "b")])
        script.event(0, isJoin: false, 1, "b")
        script.tick(5000)
        script.list([(0, "a")])
        script.arrive(1, as: "b2")
        script.event(0, isJoin: true, 1, "b2")
        #expect(script.broken() == [])
        #expect(script.checker.figures.presenceLists == 3)
        #expect(script.checker.figures.presenceEvents == 3)
    }

    @Test("in client scope the new connection may join before the old one leaves")
    func replaced() {
        let script = Script(.shown)
        script.arrive(0, as: "a")
        script.arrive(1, as: "b")
        script.event(0, isJoin: true, 1, "b")
        script.drop(1)
        script.arrive(1, as: "b2", at: 1)
        script.tick(4000)
        script.event(0, isJoin: true, 1, "b2")
        script.event(0, isJoin: false, 1, "b")
        script.list([(0, "a"), (1, "b2")])
        #expect(script.broken() == [])
    }

    @Test("in user scope whoever returns makes no event, and either connection may be shown for a while")
    func returned() {
        let script = Script(.shown)
        script.arrive(0, as: "a", room: 1)
        script.arrive(1, as: "b", room: 1)
        script.event(0, isJoin: true, 1, "b", room: 1)
        script.drop(1)
        script.arrive(1, as: "b2", room: 1, at: 1)
        script.list([(0, "a"), (1, "b")], room: 1)
        script.tick(4000)
        script.list([(0, "a"), (1, "b2")], room: 1)
        #expect(script.broken() == [])
    }

    @Test("whoever is on the way in may be shown or not")
    func arriving() {
        let script = Script(.shown)
        script.connect(0, as: "a")
        script.checker.subscribing(0, 0, since: nil, now: script.now)
        script.list([(0, "a")])
        script.list([])
        #expect(script.checker.counts == [:])
    }

    @Test("a sleeper, and the clients of a gateway that is broken, may be missing; so may all while Redis is")
    func excused() {
        for excuse in 0..<3 {
            let script = Script(.shown)
            script.arrive(0, as: "a", at: 1)
            script.arrive(1, as: "b")
            let until = script.now + .seconds(20)
            switch excuse {
            case 0: script.checker.doubt(0, until: until)
            case 1: script.checker.excusePresence(of: 1, until: until)
            default: script.checker.excusePresence(until: until)
            }
            script.tick(10_000)
            script.list([(1, "b")])
            script.event(1, isJoin: false, 0, "a")
            #expect(script.checker.counts == [:], "excuse \(excuse)")
            script.tick(15_000)
            script.list([(1, "b")])
            #expect(script.checker.counts == [.presence: 1], "excuse \(excuse)")
        }
    }

    @Test("events that got lost with a link are nobody's fault, and what follows is judged anew")
    func vanishing() {
        let script = Script(.shown)
        script.arrive(0, as: "a")
        script.arrive(1, as: "b")
        script.event(0, isJoin: true, 1, "b")
        script.checker.setEventsMayVanish(true)
        script.event(0, isJoin: true, 1, "b")
        script.checker.setEventsMayVanish(false)
        script.drop(1)
        script.event(0, isJoin: false, 1, "b")
        #expect(script.broken() == [.errorVisibility])
        #expect(script.checker.counts[.presence] == nil)
    }

    @Test("a list that is the truth differs in nothing")
    func exact() {
        let script = Script(.shown)
        script.arrive(0, as: "a")
        script.arrive(1, as: "b")
        let both = [ListedMember(subscriber: 0, client: "a"), ListedMember(subscriber: 1, client: "b")]
        #expect(script.checker.difference(0, both) == nil)
        #expect(script.checker.difference(0, [both[0]]) == "1 of 2 members, 0 of them ghosts, 0 twice, 1 missing")
        #expect(
            script.checker.difference(0, both + [both[0]]) == "3 of 2 members, 0 of them ghosts, 1 twice, 0 missing")
        script.drop(1)
        #expect(script.checker.difference(0, both) == "2 of 1 members, 1 of them ghosts, 0 twice, 0 missing")
    }
}

@Suite("I11: every way to break presence is found under its name")
struct CheckerPresenceViolationTests {
    private let script = Script(.shown)

    private func arrivals(room: Int = 0) {
        script.arrive(0, as: "a", room: room)
        script.arrive(1, as: "b", room: room)
        script.tick(5000)
    }

    private func expectOnlyPresence(_ times: Int = 1) { #expect(script.checker.counts == [.presence: times]) }

    @Test("a ghost: shown long after it left, and told of once")
    func ghost() {
        arrivals()
        script.drop(1)
        script.tick(2500)
        script.list([(0, "a"), (1, "b")])
        script.list([(0, "a"), (1, "b")])
        expectOnlyPresence()
    }

    @Test("in user scope the old connection of somebody who returned is a ghost, too")
    func staleConnection() {
        arrivals(room: 1)
        script.drop(1)
        script.arrive(1, as: "b2", room: 1)
        script.tick(2500)
        script.list([(0, "a"), (1, "b"), (1, "b2")], room: 1)
        expectOnlyPresence()
    }

    @Test("somebody who is there is not shown")
    func missing() {
        arrivals()
        script.list([(0, "a")])
        expectOnlyPresence()
    }

    @Test("in client scope another connection of the same user is not the one that is there")
    func otherConnection() {
        script.connect(1, as: "old")
        script.drop(1)
        arrivals()
        script.list([(0, "a"), (1, "old")])
        #expect(script.checker.counts[.presence] == 2, "missing and a ghost")
    }

    @Test("somebody is shown whom nobody knows, or under another name")
    func stranger() {
        arrivals()
        script.list([(0, "a"), (1, "b"), (2, "x")])
        expectOnlyPresence()
        script.list([(0, "a"), (1, "b"), (3, "b")])
        expectOnlyPresence(2)
    }

    @Test("a leave, or a join, comes twice")
    func twice() {
        for isJoin in [true, false] {
            let script = Script(.shown)
            script.arrive(0, as: "a")
            script.arrive(1, as: "b")
            if !isJoin { script.drop(1) }
            script.event(0, isJoin: isJoin, 1, "b")
            script.event(0, isJoin: isJoin, 1, "b")
            #expect(script.checker.counts == [.presence: 1])
        }
    }

    @Test("a leave of somebody who is there")
    func falseLeave() {
        for room in [0, 1] {
            let script = Script(.shown)
            script.arrive(0, as: "a", room: room)
            script.arrive(1, as: "b", room: room)
            script.tick(5000)
            script.event(0, isJoin: false, 1, "b", room: room)
            #expect(script.checker.counts == [.presence: 1], "room \(room)")
        }
    }

    @Test("a connection that ended long ago joins again")
    func revived() {
        arrivals()
        script.drop(1)
        script.event(0, isJoin: false, 1, "b")
        script.tick(5000)
        script.event(0, isJoin: true, 1, "b")
        expectOnlyPresence()
    }

    @Test("an event of nobody, and one in a room without presence")
    func nobody() {
        arrivals()
        script.event(0, isJoin: true, nil, "nobody")
        script.event(0, isJoin: true, 0, "b")
        expectOnlyPresence(2)
        let plain = Script()
        plain.arrive(0, as: "a")
        plain.event(0, isJoin: true, 0, "a")
        #expect(plain.checker.counts == [.presence: 1])
    }

    @Test("a leave that an observer was never told")
    func untold() {
        arrivals()
        script.event(0, isJoin: true, 1, "b")
        script.checker.told(1, 0, code: 2500, now: script.now)
        script.checker.forgot(1, 0)
        #expect(script.broken() == [.presence])
    }

    @Test("a join that an observer was never told, after a leave that it was told")
    func untoldJoin() {
        arrivals()
        script.drop(1)
        script.event(0, isJoin: false, 1, "b")
        script.connect(1, as: "b")
        script.resume(1, since: script.position(0), at: script.position(0), recovered: true)
        #expect(script.broken() == [.presence])
    }
}

@Suite("Keys of presence")
struct PresenceKeysTests {
    @Test("are counted by kind, whatever names rooms have")
    func kinds() {
        let keys: Set<String> = [
            "p:{a}:p", "p:{b:p}:p", "p:{a}:u", "p:{a}:n:node-1", "p:{a}:n:node-2", "p:node:node-1:rooms", "p:nodes",
            "p:{a}:s", "p:{a}:m", "p:{x%7d:p}:m",
        ]
        let census = PresenceKeys(keys, prefix: "p")
        #expect(census.text == "2 lists of members, 1 of users, 2 sets of nodes, 1 lists of rooms")
        #expect(!census.isEmpty)
        #expect(PresenceKeys(["p:nodes", "p:{a}:s"], prefix: "p").isEmpty)
    }
}
