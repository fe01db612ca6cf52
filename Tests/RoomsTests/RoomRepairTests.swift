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

    @Test func `an answer to a question of the room's former life is nobody's`() {
        let house = historyHouse(loops: 2, size: 50)
        let room = house.room(home: 1)
        let publisher = house.connected()
        let engine = house.engines[1]
        let gone = house.connected()
        _ = gone.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#)
        engine.holdsLive = true
        publisher.publish(room, 1...3)
        engine.readMode = .later
        engine.audit(room)
        gone.close()
        for _ in 0..<2 {
            house.pass(.seconds(4))
            house.settle()
        }
        #expect(engine.flows.isEmpty, "the room has ended")
        publisher.publish(room, 4...9)
        let member = house.connected()
        _ = member.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#)
        member.forget()
        publisher.publish(room, 10...11)
        engine.audit(room)
        #expect(engine.readCalls == 2)
        for _ in 0..<2 { engine.answerWaiting() }
        house.settle()
        #expect(member.pushes == [live(room, 10), live(room, 11)])
        #expect(house.outlets[1].losses == [])
    }

    // MARK: Audits

    @Test(arguments: [0, 1])
    func `an audit heals a quiet room whose publication was lost, and costs nothing where all is well`(loop: Int) {
        let house = historyHouse(loops: 2, size: 50)
        let room = house.room(home: 0)
        let publisher = house.connected()
        let member = house.connected(loop: loop)
        _ = member.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#)
        let engine = house.engines[0]
        engine.holdsLive = true
        publisher.publish(room, 1...3)
        engine.deliverLive()
        house.settle()
        member.forget()
        engine.audit(room)
        house.settle()
        #expect(engine.readCalls == 0 && member.heard == [])
        publisher.publish(room, 4...5)
        engine.live = []
        engine.audit(room)
        house.settle()
        #expect(member.pushes == (4...5).map { live(room, $0) })
        #expect(house.outlets[0].gaps == (1, 0))
        let questions = engine.readCalls
        engine.audit(room)
        engine.audit("another")
        #expect(engine.readCalls == questions)
        #expect(engine.served(room) == StreamPosition(offset: 5, epoch: 1))
        #expect(engine.served("another") == nil)
    }

    @Test func `what was never published is no gap, whoever speaks of it`() {
        let house = historyHouse(size: 50)
        let member = house.connected()
        _ = member.ask(#"{"id":2,"subscribe":{"channel":"room"}}"#)
        member.publish("room", 1...3)
        member.forget()
        let engine = house.engines[0]
        for offset in [5, 1 << 50, .max] as [UInt64] {
            engine.deliver("room", "\"data\":0", StreamPosition(offset: offset, epoch: 1))
            engine.deliver("room", "\"data\":0", StreamPosition(offset: offset, epoch: 77))
        }
        house.settle()
        #expect(member.heard == [] && house.outlets[0].gaps == (0, 0) && house.outlets[0].losses == [])
        member.publish("room", 4...4)
        #expect(member.pushes == [live("room", 4)])
    }

    @Test func `an audit that sees another epoch has the members told, and they recover what both epochs share`() {
        let house = historyHouse(loops: 2, size: 50)
        let room = house.room(home: 1)
        let members = (0..<2).map { house.connected(loop: $0) }
        for member in members { _ = member.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#) }
        members[0].publish(room, 1...4)
        let engine = house.engines[1]
        for member in members { member.forget() }
        engine.renewEpoch(room)
        engine.audit(room)
        house.settle()
        for member in members {
            #expect(member.heard == [told2500(room)])
            #expect(
                member.recover(room, from: 4) == [recovery(2, offset: 4, epoch: life2, recovered: true)])
        }
        #expect(house.outlets[1].losses == ["otherEpoch"])
        engine.audit(room)
        house.settle()
        members[0].publish(room, 5...5)
        for member in members { #expect(member.pushes == [live(room, 5)]) }
        checkLeaves(house, members, "after an audit")
    }

    @Test func `what the store lost within an epoch is told, and so is a gap that the stream no longer has`() {
        let house = historyHouse(size: 3)
        let member = house.connected()
        _ = member.ask(#"{"id":2,"subscribe":{"channel":"room"}}"#)
        let engine = house.engines[0]
        engine.holdsLive = true
        member.publish("room", 1...9)
        engine.live.removeFirst(5)
        engine.deliverLive()
        house.settle()
        #expect(house.outlets[0].losses == ["trimmed"] && house.outlets[0].gaps == (0, 1))
        engine.holdsLive = false
        _ = member.ask(#"{"id":3,"subscribe":{"channel":"room"}}"#)
        engine.streams["room"]?.reset(epoch: 1, top: 2)
        engine.audit("room")
        house.settle()
        #expect(house.outlets[0].losses == ["trimmed", "regressed"])
        #expect(member.heard.last == told2500("room"))
    }

    // MARK: Mailboxes

    /// A room with its home on loop 1, a member there and two on loop 0, whose mailbox is full.
    private func lagging(_ adjust: (inout RoomRules, inout RoomOptions) -> Void = { _, _ in }) -> (
        house: House, room: String, near: Client, far: [Client]
    ) {
        let house = historyHouse(loops: 2, size: 20, adjust)
        let room = house.room(home: 1)
        let near = house.connected(loop: 1)
        let far = (0..<2).map { _ in house.connected(loop: 0) }
        for client in [near] + far { _ = client.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#) }
        for client in [near] + far { client.forget() }
        house.mailLimit = 1
        return (house, room, near, far)
    }

    private func say(_ client: Client, _ room: String, _ numbers: ClosedRange<Int>) {
        for number in numbers { client.say(#"{"id":9,"publish":{"channel":"\#(room)","data":\#(number)}}"#) }
    }

    @Test(arguments: [(0, 0), (9, 0), (1 << 53, 1), (.max, 1)] as [(UInt64, UInt64)])
    func `a flow that claims to begin where no stream can is none`(offset: UInt64, epoch: UInt64) {
        let house = historyHouse()
        let client = house.connected()
        house.engines[0].subscribeMode = .later
        _ = client.recover("room", from: 1)
        house.engines[0].begin("room", at: StreamPosition(offset: offset, epoch: epoch))
        #expect(client.heard == [errorReply(2, .engineUnavailable)] && house.engines[0].flows.isEmpty)
        checkLeaves(house, [client], "after nonsense")
    }

    @Test func `members behind a full mailbox get everything, in order and once, when it has room again`() {
        let (house, room, near, far) = lagging()
        say(near, room, 1...4)
        house.pass(LoopRooms.catchUpInterval)
        #expect(house.mail[0].count == 1, "a mailbox that is still full is left alone")
        house.mailLimit = 3
        house.deliverMail(0)
        say(near, room, 5...5)
        house.pass(LoopRooms.catchUpInterval)
        #expect(house.mail[0].count == 3, "as much as there is room for")
        house.mailLimit = .max
        house.pass(LoopRooms.catchUpInterval)
        say(near, room, 6...6)
        house.settle()
        for client in far { #expect(client.heard == (1...6).map { live(room, $0) }) }
        #expect(house.outlets[1].losses == [])
        checkLeaves(house, [near] + far, "after catching up")
    }

    @Test func `members whose loop is behind more than the tail has are told 2500 and may come back`() {
        let (house, room, near, far) = lagging()
        say(near, room, 1...30)
        house.mailLimit = .max
        house.pass(LoopRooms.catchUpInterval)
        house.settle()
        #expect(house.outlets[1].losses == ["mailbox"])
        for client in far { #expect(client.heard == [told2500(room)]) }
        say(near, room, 31...31)
        #expect(
            far[0].recover(room, from: 11)
                == [recovery(2, offset: 31, recovered: true, (12...31).map { entry($0) })])
        say(near, room, 32...32)
        house.settle()
        #expect(far[0].heard.last == live(room, 32) && far[1].heard.count == 1)
        checkLeaves(house, [near] + far, "after too much")
    }

    @Test func `who comes to a loop that is behind is let in when it has caught up, and gets nothing twice`() {
        let (house, room, near, far) = lagging()
        say(near, room, 1...3)
        let late = house.connected(loop: 0)
        #expect(late.recover(room, from: 1) == [], "members of its loop have not had 2 and 3 yet")
        house.mailLimit = .max
        house.pass(LoopRooms.catchUpInterval)
        house.settle()
        say(near, room, 4...4)
        house.settle()
        #expect(late.heard == [recovery(2, offset: 3, recovered: true, [entry(2), entry(3)]), live(room, 4)])
        for client in far { #expect(client.heard == (1...4).map { live(room, $0) }) }
    }

    @Test(arguments: [true, false])
    func `a loop that is behind when its members leave, or when continuity is lost, leaks nothing`(leaves: Bool) {
        let (house, room, near, far) = lagging()
        say(near, room, 1...3)
        if leaves {
            for client in far { client.close() }
            for _ in 0..<2 {
                // Too short for the mailbox to be tried: the room ends on the loop first.
                house.now = house.now + .seconds(10)
                house.outlets[0].runDue()
            }
            house.settleMail()
            var lagging: [Int] = []
            house.loops[1].home.forEachStream { lagging.append(house.loops[1].home.stream($0)?.lagging.count ?? 0) }
            #expect(lagging == [0])
        } else {
            house.engines[1].beginAnew(room)
            say(near, room, 4...4)
            house.mailLimit = .max
            house.settle()
            for client in far { #expect(client.heard == [told2500(room)]) }
        }
        house.mailLimit = .max
        checkLeaves(house, [near] + far, "behind")
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
        #expect(far.heard == [], "its loop has still to be sent what was published")
        house.pass(LoopRooms.catchUpInterval)
        house.settle()
        near.publish(room, 4...4)
        #expect(
            far.heard == [recovery(3, offset: 3, recovered: true, (1...3).map { entry($0) }), live(room, 4)])
    }
}
