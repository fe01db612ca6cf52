// Rooms with history when something fails: what pub/sub drops, doubles or reorders, questions without an answer, lost
// continuity, and mailboxes that are full.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct RoomRepairTests {
    @Test(arguments: [0, 1])
    func `what pub-sub drops, doubles or reorders reaches the members once and in order`(loop: Int) {
        let house = historyHouse(loops: 2, size: 50)
        let room = house.room(home: 0)
        let publisher = house.connected()
        let member = house.connected(loop: loop)
        _ = member.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#)
        member.forget()
        let engine = house.engines[0]
        engine.holdsLive = true
        publisher.publish(room, 1...8)
        // 1 and 2 swapped, 3 twice, 4 and 5 dropped.
        engine.live = [1, 0, 2, 2, 5, 6, 7].map { engine.live[$0] }
        engine.deliverLive()
        house.settle()
        #expect(member.pushes == (1...8).map { live(room, $0) })
        publisher.publish(room, 9...9)
        engine.live = []
        engine.delegate?.availabilityChanged(true)
        house.settle()
        #expect(member.pushes.last == live(room, 9), "a link that was restored is doubted")
    }

    @Test func `a repair whose question fails is asked again`() {
        let house = historyHouse(size: 50)
        let member = house.connected()
        _ = member.ask(#"{"id":2,"subscribe":{"channel":"room"}}"#)
        let engine = house.engines[0]
        engine.holdsLive = true
        member.publish("room", 1...3)
        engine.live.removeFirst()
        engine.readMode = .fail(.outcomeUnknown)
        member.forget()
        engine.deliverLive()
        house.settle()
        #expect(member.pushes == [])
        engine.readMode = .now
        house.pass(.milliseconds(200))
        house.settle()
        #expect(member.pushes == (1...3).map { live("room", $0) })
    }

    @Test func `lost continuity is told to all members of all loops, and whoever returns learns the new epoch`() {
        let house = historyHouse(loops: 3)
        let room = house.room(home: 1)
        let members = (0..<3).map { house.connected(loop: $0) }
        for member in members { _ = member.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#) }
        members[0].publish(room, 1...3)
        for member in members { member.forget() }
        let engine = house.engines[1]
        let calls = engine.subscribeCalls
        engine.beginAnew(room)
        engine.subscribeMode = .later
        members[0].publish(room, 4...6)
        for member in members { #expect(member.pushes == [told2500(room)]) }
        #expect(engine.subscribeCalls == calls + 1, "the flow begins anew once, however much comes meanwhile")
        for member in members { member.forget() }
        members[1].say(#"{"id":5,"subscribe":{"channel":"\#(room)","recover":true,"offset":3,"epoch":"\#(life1)"}}"#)
        house.settle()
        #expect(members[1].heard == [], "who returns waits for the flow")
        engine.subscribeMode = .now
        engine.answerWaiting()
        house.settle()
        let told = members[1].heard.first ?? ""
        #expect(told.contains(#""epoch":"0000000000000002""#) && told.contains(#""was_recovering":true"#))
        #expect(!told.contains(#""recovered":true"#) && !told.contains("publications"))
        #expect(members[2].recover(room, from: 3, id: 6).first?.contains(#""recovered":true"#) == false)
        members[1].forget()
        members[0].publish(room, 7...7)
        #expect(members[1].pushes.count == 1)
        checkLeaves(house, members, "after the loss")
    }

    @Test func `a flow that cannot begin anew ends in the engine, too`() {
        let house = historyHouse()
        let member = house.connected()
        _ = member.ask(#"{"id":2,"subscribe":{"channel":"room"}}"#)
        house.engines[0].beginAnew("room")
        house.engines[0].subscribeMode = .fail(.unavailable)
        member.publish("room", 1...1)
        #expect(member.pushes == [told2500("room")])
        #expect(house.engines[0].flows.isEmpty)
        house.engines[0].subscribeMode = .now
        #expect(member.ask(#"{"id":3,"subscribe":{"channel":"room"}}"#).first?.contains("epoch") == true)
        checkLeaves(house, [member], "after a refused beginning")
    }

    @Test func `members behind a full mailbox are told 2500 and recover all that they missed`() {
        let house = historyHouse(loops: 2, size: 50)
        let room = house.room(home: 1)
        let near = house.connected(loop: 1)
        let far = house.connected(loop: 0)
        for client in [near, far] { _ = client.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#) }
        house.mailLimit = 1
        for number in 1...4 { near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":\#(number)}}"#) }
        house.mailLimit = .max
        house.settle()
        #expect(far.heard.last == told2500(room))
        #expect(
            far.recover(room, from: 0, id: 4) == [recovery(4, offset: 4, recovered: true, (1...4).map { entry($0) })])
        near.publish(room, 5...5)
        #expect(far.heard.last == live(room, 5))
    }

    @Test func `a loop that falls behind while a subscriber waits is served again from its reply on`() {
        let house = historyHouse(loops: 2, size: 50)
        let room = house.room(home: 1)
        let near = house.connected(loop: 1)
        near.publish(room, 1...2)
        _ = near.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#)
        let far = house.connected(loop: 0)
        house.engines[1].readMode = .later
        far.say(#"{"id":3,"subscribe":{"channel":"\#(room)","recover":true,"offset":0,"epoch":"\#(life1)"}}"#)
        house.settle()
        house.mailLimit = 0
        near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":3}}"#)
        house.mailLimit = .max
        house.engines[1].answerWaiting()
        house.settle()
        near.publish(room, 4...4)
        #expect(
            far.heard == [recovery(3, offset: 3, recovered: true, (1...3).map { entry($0) }), live(room, 4)])
    }
}
