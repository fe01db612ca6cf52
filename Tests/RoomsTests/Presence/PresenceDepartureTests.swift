// Leaving rooms with presence: while the entrance is in flight, by a goodbye, by a connection that breaks and comes
// back or does not, and over several loops. Whatever happens, no member stays of whom no connection is left.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct PresenceDepartureTests {
    private let subscribed = #"{"id":2,"subscribe":{}}"#
    private let unsubscribed = #"{"id":8,"unsubscribe":{}}"#

    // MARK: While the entrance is in flight

    enum Stage: CaseIterable { case flow, entrance }

    /// A client whose subscription waits for the flow, or for its entrance.
    private func pending(_ house: House, _ stage: Stage, _ client: Client, id: UInt32 = 2) {
        for engine in house.engines {
            engine.subscribeMode = stage == .flow ? .later : .now
            engine.enterMode = .later
        }
        client.sayEnter("room", id: id)
        house.settle()
        #expect(client.heard == [])
    }

    @Test(arguments: Stage.allCases, [1, 2])
    func `who unsubscribes while it enters is answered and is not there`(_ stage: Stage, loops: Int) {
        let house = presenceHouse(loops: loops)
        let ann = house.connected(loop: (house.home(of: "room") + 1) % loops, user: "ann")
        pending(house, stage, ann)
        ann.sayLeave("room")
        house.settle()
        #expect(ann.heard == [subscribed, unsubscribed])
        for engine in house.engines { engine.answerWaiting() }
        house.wait(.seconds(1))
        for engine in house.engines { engine.answerWaiting() }
        house.wait(.seconds(1))
        #expect(ann.heard == [subscribed, unsubscribed])
        #expect(house.memberCount == 0)
        checkNobody(house, [ann], "\(stage)")
    }

    @Test(arguments: Stage.allCases, [false, true])
    func `who closes while it enters leaves no ghost and no room`(_ stage: Stage, isAbrupt: Bool) {
        let house = presenceHouse(loops: 2)
        let ann = house.connected(loop: 1 - house.home(of: "room"), user: "ann")
        pending(house, stage, ann)
        ann.close(isAbrupt: isAbrupt)
        // Also when nobody answers for longer than the room lingers.
        for _ in 0..<3 {
            house.settle()
            house.pass(.seconds(4))
        }
        for engine in house.engines { engine.answerWaiting() }
        house.settle()
        #expect(house.memberCount == 0, "it was not in: no grace")
        checkNobody(house, [], "\(stage)")
    }

    @Test(arguments: Stage.allCases)
    func `who gives up and asks again with the same id is let in by the answer to the second`(_ stage: Stage) {
        let house = presenceHouse()
        let ann = house.connected(user: "ann")
        pending(house, stage, ann)
        ann.sayLeave("room")
        ann.sayEnter("room")
        #expect(ann.heard == [subscribed, unsubscribed])
        if stage == .entrance {
            // The first one is answered, the second one fails.
            house.engines[0].answerFirst()
            house.settle()
            #expect(ann.heard == [subscribed, unsubscribed], "an answer to what was given up says nothing")
            house.engines[0].failWaiting(.unavailable)
            house.settle()
            #expect(ann.heard.last == errorReply(2, .engineUnavailable))
            #expect(house.memberCount == 0)
        } else {
            house.engines[0].answerWaiting()
            house.engines[0].answerWaiting()
            #expect(ann.heard.last == subscribed && house.memberCount == 1)
        }
        checkNobody(house, [ann], "asked twice")
    }

    @Test func `a room that nobody has entered in the end is let go of, flow and all`() {
        for keepsHistory in [false, true] {
            let house = presenceHouse {
                if keepsHistory { $1.history = HistoryOptions(size: 5, age: .seconds(60)) }
                _ = $2
            }
            let ann = house.connected(user: "ann")
            for name in 0..<20 {
                house.engines[0].subscribeMode = name % 2 == 0 ? .now : .later
                house.engines[0].enterMode = .later
                ann.sayEnter("room\(name)")
                ann.sayLeave("room\(name)")
            }
            house.engines[0].answerWaiting()
            for _ in 0..<4 { house.wait(.seconds(4)) }
            #expect(house.loops[0].names.count == 0 && house.loops[0].home.names.count == 0)
            #expect(house.engines[0].flows.isEmpty, "else rooms pile up in Redis, too")
            checkNobody(house, [ann], "history: \(keepsHistory)")
        }
    }

    // MARK: By a goodbye, or not

    @Test func `a goodbye leaves at once, a break after its grace`() {
        let house = presenceHouse()
        let watcher = house.connected(user: "watcher")
        let polite = house.connected(user: "polite")
        let broken = house.connected(user: "broken")
        for client in [watcher, polite, broken] { client.enter("room") }
        house.wait()
        watcher.forget()
        polite.close()
        broken.close(isAbrupt: true)
        house.wait()
        #expect(watcher.heard == [left("room", 2, "polite")])
        #expect(watcher.list("room") == [clientText(1), clientText(3)], "its grace runs")
        watcher.forget()
        house.wait(.milliseconds(4700))
        #expect(watcher.heard == [] && house.engines[0].presenceCalls.last == "linger room")
        house.wait(.milliseconds(400))
        #expect(watcher.heard == [left("room", 3, "broken")])
        #expect(house.engines[0].presenceCalls.last == "expire room")
        checkNobody(house, [watcher], "left")
    }

    @Test func `without a grace a break is a goodbye`() {
        let house = presenceHouse { $2.grace = .zero }
        let ann = house.connected(user: "ann")
        ann.enter("room")
        ann.close(isAbrupt: true)
        #expect(house.memberCount == 0 && house.engines[0].presenceCalls == ["enter room", "leave room"])
        checkNobody(house, [], "left")
    }

    @Test func `graces end for each room after its own time, however many there are`() {
        let house = House {
            $0.isInsecure = true
            for (name, seconds) in [("short", 1), ("long", 7)] {
                var options = RoomOptions()
                var presence = PresenceOptions()
                presence.grace = .seconds(seconds)
                options.presence = presence
                $0.setNamespace(name, options)
            }
        }
        let clients = (0..<50).map { _ in house.connected() }
        for client in clients {
            client.join("long:a")
            client.join("short:a", id: 3)
        }
        for client in clients { client.close(isAbrupt: true) }
        house.wait(.milliseconds(900))
        #expect(house.memberCount == 100)
        house.wait(.milliseconds(200))
        #expect(house.engines[0].members["short:a"] == nil && house.memberCount == 50)
        house.wait(.milliseconds(5700))
        #expect(house.memberCount == 50)
        house.wait(.milliseconds(300))
        #expect(house.memberCount == 0)
        checkNobody(house, [], "graces")
    }

    @Test(arguments: [PresenceOptions.Scope.client, .user])
    func `the same user's next connection within the grace`(scope: PresenceOptions.Scope) {
        let house = presenceHouse { $2.scope = scope }
        let watcher = house.connected(user: "watcher")
        watcher.enter("room")
        let first = house.connected(user: "ann")
        first.enter("room")
        house.wait()
        watcher.forget()
        first.close(isAbrupt: true)
        house.wait(.seconds(1))
        let second = house.connected(user: "ann")
        second.enter("room")
        house.wait(.seconds(10))
        let told = scope == .user ? [] : [left("room", 2, "ann"), joined("room", 3, "ann")]
        #expect(watcher.changes == told)
        #expect(watcher.list("room") == [clientText(1), clientText(3)])
        checkNobody(house, [watcher, second], "replaced")
    }

    @Test func `a connection that comes back to the room within its grace has not left`() {
        let house = presenceHouse(loops: 2)
        let room = house.room(home: 1)
        let near = house.connected(loop: 1, user: "near")
        let far = house.connected(loop: 0, user: "far")
        for client in [near, far] { client.enter(room) }
        house.wait()
        for client in [near, far] { client.forget() }
        // The far loop misses a publication: its members are told 2500 and come back.
        house.mailLimit = 0
        near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":1}}"#)
        house.mailLimit = .max
        house.settle()
        #expect(far.heard == [told2500(room)])
        #expect(house.memberCount == 2)
        house.wait(.seconds(2))
        far.enter(room)
        house.wait(.seconds(10))
        #expect(near.changes == [] && far.changes == [], "nobody has noticed")
        #expect(near.list(room) == [clientText(1), clientText(2)])
        checkNobody(house, [near, far], "behind")
    }

    @Test func `whoever enters while its loop falls behind misses nothing from its reply on`() {
        let house = presenceHouse(loops: 2)
        let room = house.room(home: 1)
        let near = house.connected(loop: 1, user: "near")
        let member = house.connected(loop: 0, user: "member")
        for client in [near, member] { client.enter(room) }
        house.engines[1].enterMode = .later
        let late = house.connected(loop: 0, user: "late")
        late.sayEnter(room)
        house.settle()
        house.mailLimit = 0
        near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":1}}"#)
        house.mailLimit = .max
        house.settle()
        #expect(member.heard.last == told2500(room) && late.heard == [])
        house.engines[1].answerWaiting()
        house.settle()
        #expect(late.heard == [subscribed])
        late.forget()
        near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":2}}"#)
        house.settle()
        #expect(late.heard.count == 1 && late.heard[0].contains(#""data":2"#))
        checkNobody(house, [near, member, late], "behind while entering")
    }

    // MARK: Several loops

    @Test func `two connections with the same word on different loops are not mixed up`() {
        let house = presenceHouse(loops: 2)
        let room = house.room(home: 0)
        let engine = house.engines[0]
        engine.enterMode = .later
        let twins = [0, 1].map { house.connected(loop: $0, word: 7 << 32, user: "u\($0)") }
        for twin in twins { twin.sayEnter(room) }
        house.settle()
        twins[0].sayLeave(room)
        house.settle()
        #expect(twins[0].heard == [subscribed, unsubscribed])
        engine.answerWaiting()
        house.settle()
        #expect(twins[1].heard == [subscribed])
        #expect(twins[0].heard == [subscribed, unsubscribed])
        #expect(engine.memberCount == 1)
        #expect(twins[1].list(room) == [clientText(2)])
        twins[1].close(isAbrupt: true)
        checkNobody(house, [twins[0]], "twins")
    }

    @Test func `who asks while the home is refused its flow is answered by what comes next, not twice`() {
        let house = presenceHouse(loops: 2)
        let room = house.room(home: 1)
        let engine = house.engines[1]
        engine.subscribeMode = .later
        let first = house.connected(loop: 0, user: "first")
        first.sayEnter(room)
        house.settle()
        engine.failWaiting(.unavailable)
        engine.subscribeMode = .now
        // The home's word is on its way to this loop while another subscriber is on its way to the home.
        let second = house.connected(loop: 0, user: "second")
        second.sayEnter(room)
        house.settle()
        #expect(first.heard == [errorReply(2, .engineUnavailable)])
        #expect(second.heard == [subscribed], "it is in, and was not told otherwise")
        #expect(house.memberCount == 1 && house.loops[0].subscriptionCount == 1)
        checkNobody(house, [first, second], "refused on the way")
    }
}
