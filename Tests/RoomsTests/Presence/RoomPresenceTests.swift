// Entering rooms with presence on one loop: in what order a subscriber, the list and the others learn of it, who may,
// and what becomes of somebody who is refused.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct RoomPresenceTests {
    private let subscribed = #"{"id":2,"subscribe":{}}"#

    // MARK: Entering

    @Test func `subscribe is answered after the entrance, and the list asked right after holds oneself`() {
        let house = presenceHouse()
        house.engines[0].enterMode = .later
        let ann = house.connected(user: "ann")
        ann.sayEnter("room")
        ann.say(#"{"id":3,"presence":{"channel":"room"}}"#)
        house.settle()
        #expect(ann.heard.count == 1 && ann.heard[0].contains(#""id":3"#), "the entrance is not answered yet")
        house.engines[0].answerWaiting()
        house.settle()
        #expect(ann.heard.last == subscribed)
        #expect(ann.ask(#"{"id":7,"presence":{"channel":"room"}}"#) == [listed(7, [(1, "ann")])])
        // Both in one frame.
        let bob = house.connected(user: "bob")
        house.engines[0].enterMode = .now
        let both = [#"{"id":2,"subscribe":{"channel":"room"}}"#, #"{"id":3,"presence":{"channel":"room"}}"#]
        #expect(bob.ask(both.joined(separator: "\n")) == [subscribed, listed(3, [(1, "ann"), (2, "bob")])])
        checkNobody(house, [ann, bob], "all left")
    }

    @Test(arguments: [false, true], [false, true])
    func `one's own join is heard once and after the reply, whichever comes first`(isEventFirst: Bool, isSlow: Bool) {
        let house = presenceHouse()
        let engine = house.engines[0]
        let other = house.connected(user: "other")
        other.enter("room")
        house.wait()
        other.forget()
        engine.enterMode = .later
        engine.holdsEvents = true
        let ann = house.connected(user: "ann")
        ann.sayEnter("room")
        if isEventFirst { engine.deliverEvents() }
        if isSlow { house.wait(.milliseconds(500)) }
        #expect(ann.heard == [])
        engine.answerWaiting()
        if !isEventFirst { engine.deliverEvents() }
        house.wait(.milliseconds(300))
        #expect(ann.heard == [subscribed, joined("room", 2, "ann")])
        #expect(other.heard == [joined("room", 2, "ann")])
    }

    @Test func `one's own join is heard although a recovery takes its time`() {
        let house = presenceHouse { _, options, _ in options.history = HistoryOptions(size: 5, age: .seconds(60)) }
        let publisher = house.connected()
        publisher.publish("room", 1...3)
        house.engines[0].readMode = .later
        let ann = house.connected(user: "ann")
        ann.say(
            #"{"id":2,"subscribe":{"channel":"room","join_leave":true,"recover":true,"offset":1,"epoch":"\#(life1)"}}"#)
        house.wait(.milliseconds(500))
        #expect(ann.heard == [], "the past is being read")
        house.engines[0].answerWaiting()
        house.wait(.milliseconds(300))
        #expect(ann.heard.first == recovery(2, offset: 3, recovered: true, [entry(2), entry(3)]))
        #expect(Array(ann.heard.dropFirst()) == [joined("room", 2, "ann")])
        checkNobody(house, [ann, publisher], "recovered and left")
    }

    @Test func `rooms of connect are entered, too`() {
        let house = presenceHouse()
        let ann = house.open(user: "ann")
        let subs = #"{"id":1,"connect":{"subs":{"a":{"join_leave":true},"b":{}}}}"#
        let reply = ann.ask(subs).first ?? ""
        #expect(reply.contains(#""subs":{"a":{},"b":{}}"#))
        #expect(house.memberCount == 2)
        house.wait()
        #expect(ann.changes == [joined("a", 1, "ann")], "of b it did not ask")
        checkNobody(house, [ann], "connected and gone")
    }

    @Test func `an info too long for a list is refused with 107 and leaves nothing behind`() {
        let house = presenceHouse()
        // Control characters are written as six bytes each.
        let ann = house.connected(user: String(repeating: "\u{1}", count: 1400))
        #expect(ann.ask(#"{"id":2,"subscribe":{"channel":"room"}}"#) == [errorReply(2, .badRequest)])
        let bob = house.connected(user: String(repeating: "\u{1}", count: 1300))
        bob.enter("other")
        checkNobody(house, [ann, bob], "refused")
    }

    // MARK: Pushes

    @Test(arguments: [false, true])
    func `joins and leaves go to who asked for them, or to everybody`(isForced: Bool) {
        let house = presenceHouse { $2.forcesPushes = isForced }
        let asked = house.connected(user: "asked")
        let quiet = house.connected(user: "quiet")
        asked.enter("room")
        quiet.join("room")
        house.wait()
        for client in [asked, quiet] { client.forget() }
        let ann = house.connected(user: "ann")
        ann.join("room")
        house.wait()
        ann.sayLeave("room")
        house.wait()
        let both = [joined("room", 3, "ann"), left("room", 3, "ann")]
        #expect(asked.heard == both)
        #expect(quiet.heard == (isForced ? both : []))
        #expect(house.outlets[0].memberEvents == ["join", "join", "join", "leave"])
    }

    @Test func `without joinLeave nothing is told, whatever is asked for`() {
        let house = presenceHouse { $2.tellsJoins = false }
        let ann = house.connected(user: "ann")
        ann.enter("room")
        let bob = house.connected(user: "bob")
        bob.enter("room")
        bob.close()
        house.wait(.seconds(1))
        #expect(ann.heard == [] && house.outlets[0].memberEvents == [])
        #expect(ann.list("room") == [clientText(1)])
    }

    @Test func `anonymous members are members, each for itself`() {
        let house = presenceHouse { $2.scope = .user }
        let first = house.connected()
        first.enter("room")
        house.wait()
        first.forget()
        let second = house.connected()
        second.join("room")
        house.wait()
        second.close()
        house.wait()
        #expect(first.heard == [joined("room", 2), left("room", 2)])
    }

    // MARK: Who may

    @Test func `a room without presence answers 108, and is joined as ever`() {
        let house = presenceHouse { $2.isListed = false }
        let ann = house.connected(user: "ann")
        ann.enter("room")
        #expect(ann.ask(#"{"id":3,"presence":{"channel":"room"}}"#) == [errorReply(3, .notAvailable)])
        #expect(ann.ask(#"{"id":3,"presence_stats":{"channel":"room"}}"#) == [errorReply(3, .notAvailable)])
        let plain = House()
        let bob = plain.connected()
        #expect(bob.ask(#"{"id":3,"presence":{"channel":"room"}}"#) == [errorReply(3, .notAvailable)])
    }

    struct Case: CustomTestStringConvertible {
        let permissions: RoomPermissions
        let isAnonymous, isMember, isAllowed: Bool
        var testDescription: String { "\(permissions.rawValue) \(isAnonymous) \(isMember)" }
    }

    @Test(arguments: [
        Case(permissions: [], isAnonymous: false, isMember: true, isAllowed: false),
        Case(permissions: .presenceForSubscriber, isAnonymous: false, isMember: false, isAllowed: false),
        Case(permissions: .presenceForSubscriber, isAnonymous: false, isMember: true, isAllowed: true),
        Case(permissions: .presenceForSubscriber, isAnonymous: true, isMember: true, isAllowed: true),
        Case(permissions: .presenceForClient, isAnonymous: false, isMember: false, isAllowed: true),
        Case(permissions: .presenceForClient, isAnonymous: true, isMember: true, isAllowed: false),
        Case(permissions: .presenceForAnonymous, isAnonymous: true, isMember: false, isAllowed: true),
        Case(permissions: .presenceForAnonymous, isAnonymous: false, isMember: true, isAllowed: false),
    ])
    func `list, counts and pushes are for those who are permitted`(_ item: Case) {
        let house = presenceHouse {
            $0.isInsecure = false
            $0.allowsAnonymous = true
            $1.permissions = item.permissions.union([.subscribeForClient, .subscribeForAnonymous])
            $2.tellsJoins = true
        }
        let asker = house.connected(user: item.isAnonymous ? "" : "asker")
        if item.isMember { asker.enter("room") }
        for command in ["presence", "presence_stats"] {
            let answer = asker.ask(#"{"id":3,"\#(command)":{"channel":"room"}}"#)
            #expect((answer == [errorReply(3, .permissionDenied)]) == !item.isAllowed, "\(command): \(answer)")
        }
        house.wait()
        asker.forget()
        let other = house.connected(user: "other")
        other.join("room")
        house.wait()
        #expect(asker.changes.isEmpty == !(item.isAllowed && item.isMember))
        checkNobody(house, [asker, other], "asked and left")
    }

    // MARK: Refusals

    @Test func `a full room refuses with 106, and lets the next one in when somebody has left`() {
        let house = presenceHouse { $2.mostMembers = 2 }
        let clients = (0..<3).map { house.connected(user: "u\($0)") }
        clients[0].enter("room")
        clients[1].enter("room")
        let ask = #"{"id":2,"subscribe":{"channel":"room"}}"#
        #expect(clients[2].ask(ask) == [errorReply(2, .limitExceeded)])
        #expect(house.memberCount == 2 && house.loops[0].subscriptionCount == 2)
        clients[0].sayLeave("room")
        clients[2].enter("room")
        // The one whose grace runs still counts, but for its own user.
        clients[1].close(isAbrupt: true)
        #expect(clients[0].ask(ask) == [errorReply(2, .limitExceeded)])
        let back = house.connected(user: "u1")
        back.enter("room")
        checkNobody(house, clients + [back], "full")
    }

    @Test(arguments: [true, false], [EngineFailure.unavailable, .outcomeUnknown])
    func `an engine that fails leaves no member and no subscription behind`(isAtOnce: Bool, failure: EngineFailure) {
        let house = presenceHouse()
        let engine = house.engines[0]
        engine.enterMode = isAtOnce ? .fail(failure) : .later
        let ann = house.connected(user: "ann")
        ann.sayEnter("room")
        if !isAtOnce { engine.failWaiting(failure) }
        house.settle()
        #expect(ann.heard == [errorReply(2, ErrorCode(failure))])
        #expect(house.memberCount == 0 && house.loops[0].subscriptionCount == 0)
        engine.enterMode = .now
        ann.enter("room")
        #expect(ann.list("room") == [clientText(1)])
        checkNobody(house, [ann], "failed once")
    }

    @Test func `whoever waits for a flow that cannot begin is told, and may try again`() {
        let house = presenceHouse()
        let engine = house.engines[0]
        engine.subscribeMode = .later
        let clients = (0..<3).map { house.connected(user: "u\($0)") }
        for client in clients { client.sayEnter("room") }
        engine.failWaiting(.unavailable)
        house.settle()
        for client in clients { #expect(client.heard == [errorReply(2, .engineUnavailable)]) }
        #expect(house.memberCount == 0 && house.loops[0].subscriptionCount == 0)
        engine.subscribeMode = .now
        for client in clients { client.enter("room") }
        #expect(house.memberCount == 3)
        checkNobody(house, clients, "refused once")
    }

    @Test func `more than may wait for a flow are told so at once`() {
        let house = presenceHouse { rules, _, _ in rules.waitingRecoveries = 2 }
        house.engines[0].subscribeMode = .later
        let clients = (0..<3).map { house.connected(user: "u\($0)") }
        for client in clients { client.sayEnter("room") }
        #expect(clients[2].heard == [errorReply(2, .engineUnavailable)])
        house.engines[0].answerWaiting()
        for client in clients.prefix(2) { #expect(client.heard == [subscribed]) }
        checkNobody(house, clients, "too many")
    }

    @Test func `with history, whoever entered and cannot be let in is taken out again`() {
        let house = presenceHouse { _, options, _ in options.history = HistoryOptions(size: 5, age: .seconds(60)) }
        let engine = house.engines[0]
        let publisher = house.connected(user: "publisher")
        publisher.enter(room: "room")
        house.wait()
        publisher.forget()
        engine.isStoreKnown = false
        let ann = house.connected(user: "ann")
        ann.sayEnter("room")
        house.settle()
        #expect(ann.heard == [errorReply(2, .engineUnavailable)])
        #expect(engine.memberCount == 1 && engine.presenceCalls.suffix(2) == ["enter room", "leave room"])
        house.wait()
        #expect(publisher.changes == [], "join and leave have cancelled each other out")
        engine.isStoreKnown = true
        checkNobody(house, [publisher, ann], "turned away")
    }
}

extension Client {
    /// Subscribes to a room whose reply has more to say.
    fileprivate func enter(room: String) {
        let reply = ask(#"{"id":2,"subscribe":{"channel":"\#(room)","join_leave":true}}"#)
        #expect(reply.count == 1 && reply[0].hasPrefix(#"{"id":2,"subscribe":{"#))
        forget()
    }
}
