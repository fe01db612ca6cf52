// Joining, leaving and publishing on one loop: the order of replies and pushes, engines that answer late or fail, rooms
// that linger, and slices of large rooms.

import Bytes
import Testing
import Wire

@testable import Rooms

/// The push of a publication that a connection made, by the number of its id.
func push(_ room: String, _ data: String, by client: Int) -> String {
    let digits = String(client, radix: 16)
    let id = "00000000-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
    return #"{"push":{"channel":"\#(room)","pub":{"data":\#(data),"info":{"client":"\#(id)"}}}}"#
}

@Suite struct MembershipTests {
    @Test func `the reply to subscribe comes before any push of the room`() {
        let house = House()
        house.engines[0].subscribeMode = .later
        let talker = house.connected()
        let listener = house.connected()
        listener.say(#"{"id":2,"subscribe":{"channel":"a"}}"#)
        talker.say(#"{"id":3,"publish":{"channel":"a","data":"early"}}"#)
        house.engines[0].answerWaiting()
        talker.say(#"{"id":4,"publish":{"channel":"a","data":"late"}}"#)
        house.settle()
        #expect(listener.heard == [#"{"id":2,"subscribe":{}}"#, push("a", #""late""#, by: 1)])
    }

    @Test func `what was said in the same iteration before a client came is not sent to it`() {
        let house = House()
        let first = house.connected()
        first.join("a")
        let second = house.connected()
        first.say(#"{"id":3,"publish":{"channel":"a","data":1}}"#)
        second.say(#"{"id":2,"subscribe":{"channel":"a"}}"#)
        first.say(#"{"id":4,"publish":{"channel":"a","data":2}}"#)
        house.settle()
        #expect(second.heard == [#"{"id":2,"subscribe":{}}"#, push("a", "2", by: 1)])
        #expect(
            first.heard == [
                #"{"id":3,"publish":{}}"#, #"{"id":4,"publish":{}}"#, push("a", "1", by: 1), push("a", "2", by: 1),
            ])
    }

    @Test func `after the reply to unsubscribe no push of the room comes`() {
        let house = House()
        let client = house.connected()
        client.join("a")
        client.say(#"{"id":3,"publish":{"channel":"a","data":1}}"#)
        client.say(#"{"id":4,"unsubscribe":{"channel":"a"}}"#)
        client.say(#"{"id":5,"publish":{"channel":"a","data":2}}"#)
        house.settle()
        #expect(client.heard.last == #"{"id":5,"publish":{}}"#)
        let reply = client.heard.firstIndex(of: #"{"id":4,"unsubscribe":{}}"#)
        #expect(reply != nil && client.heard.lastIndex { $0.contains("push") } ?? -1 < reply ?? -1)
    }

    @Test func `one may leave and come back in one frame`() {
        let house = House()
        let client = house.connected()
        client.join("a")
        let heard = client.ask(
            #"{"id":3,"unsubscribe":{"channel":"a"}}"# + "\n" + #"{"id":4,"subscribe":{"channel":"a"}}"# + "\n"
                + #"{"id":5,"publish":{"channel":"a","data":1}}"#)
        #expect(
            heard == [
                #"{"id":3,"unsubscribe":{}}"#, #"{"id":4,"subscribe":{}}"#, #"{"id":5,"publish":{}}"#,
                push("a", "1", by: 1),
            ])
        #expect(house.engines[0].subscribeCalls == 1, "the room lingered")
    }

    @Test func `joiners wait while the engine subscribes, and it is asked once`() {
        let house = House()
        house.engines[0].subscribeMode = .later
        let clients = (0..<5).map { _ in house.connected() }
        for client in clients { #expect(client.ask(#"{"id":2,"subscribe":{"channel":"a"}}"#) == []) }
        #expect(clients[0].ask(#"{"id":3,"subscribe":{"channel":"a"}}"#) == [errorReply(3, .alreadySubscribed)])
        clients[0].forget()
        clients[3].close()
        house.engines[0].answerWaiting()
        for client in clients where client !== clients[3] {
            #expect(client.heard == [#"{"id":2,"subscribe":{}}"#])
        }
        #expect(clients[3].heard == [], "whoever is gone is told nothing")
        #expect(house.engines[0].subscribeCalls == 1)
        house.checkInvariants("after the flow began", clients)
        for client in clients { client.close() }
        house.pass(.seconds(10))
        house.pass(.seconds(10))
        house.checkEmpty("all left")
    }

    @Test func `a room that everybody gave up before its flow began is let go again`() {
        let house = House()
        house.engines[0].subscribeMode = .later
        let client = house.connected()
        client.ask(#"{"id":2,"subscribe":{"channel":"a"}}"#)
        client.close()
        for _ in 0..<5 { house.pass(.seconds(10)) }
        #expect(house.engines[0].unsubscribeCalls == 0, "the engine has not answered yet")
        house.engines[0].answerWaiting()
        for _ in 0..<2 { house.pass(.seconds(10)) }
        #expect(house.engines[0].unsubscribeCalls == 1)
        house.checkEmpty("the flow came too late")
    }

    @Test func `a subscription that is given up while it waits is answered first`() {
        let house = House()
        house.engines[0].subscribeMode = .later
        let client = house.connected()
        client.ask(#"{"id":2,"subscribe":{"channel":"a"}}"#)
        #expect(
            client.ask(#"{"id":3,"unsubscribe":{"channel":"a"}}"#) == [
                #"{"id":2,"subscribe":{}}"#, #"{"id":3,"unsubscribe":{}}"#,
            ])
        #expect(client.ask(#"{"id":4,"subscribe":{"channel":"a"}}"#) == [])
        house.engines[0].answerWaiting()
        #expect(client.heard == [#"{"id":4,"subscribe":{}}"#])
        #expect(client.ask(#"{"id":5,"publish":{"channel":"a","data":1}}"#).last == push("a", "1", by: 1))
    }

    @Test(arguments: [
        (EngineFailure.unavailable, ErrorCode.engineUnavailable), (.outcomeUnknown, .internalError),
    ])
    func `an engine that cannot subscribe is told to everyone who waited, and may be tried again`(
        failure: EngineFailure, code: ErrorCode
    ) {
        let house = House()
        house.engines[0].subscribeMode = .fail(failure)
        let client = house.connected()
        let other = house.connected()
        #expect(client.ask(#"{"id":2,"subscribe":{"channel":"a"}}"#) == [errorReply(2, code)])
        #expect(other.ask(#"{"id":2,"subscribe":{"channel":"a"}}"#) == [errorReply(2, code)])
        house.checkInvariants("refused", [client, other])
        house.engines[0].subscribeMode = .now
        client.join("a")
        client.close()
        other.close()
        house.pass(.seconds(10))
        house.pass(.seconds(10))
        house.checkEmpty("refused and tried again")
    }

    @Test(arguments: [
        (EngineFailure.unavailable, ErrorCode.engineUnavailable), (.outcomeUnknown, .internalError),
    ])
    func `an engine that cannot publish is told to the sender, and nobody else hears anything`(
        failure: EngineFailure, code: ErrorCode
    ) {
        let house = House()
        let client = house.connected()
        client.join("a")
        house.engines[0].publishMode = .fail(failure)
        #expect(client.ask(#"{"id":3,"publish":{"channel":"a","data":1}}"#) == [errorReply(3, code)])
        #expect(client.ask(#"{"id":4,"ping":{}}"#) == [#"{"id":4,"ping":{}}"#])
    }

    @Test func `an answer for a connection that is gone reaches nobody, not even its slot's next tenant`() {
        let house = House()
        house.engines[0].publishMode = .later
        let gone = house.open(slot: 40)
        gone.say(#"{"id":1,"connect":{}}"#)
        gone.say(#"{"id":2,"publish":{"channel":"a","data":1}}"#)
        gone.close()
        let tenant = house.open(slot: 40)
        tenant.say(#"{"id":1,"connect":{}}"#)
        tenant.forget()
        gone.forget()
        house.engines[0].answerWaiting()
        house.settle()
        #expect(tenant.heard == [] && gone.heard == [])
        gone.say(#"{"id":3,"ping":{}}"#)
        #expect(tenant.heard == [])
    }

    @Test func `offsets of the engine are passed on to the sender and the members`() {
        let house = House()
        house.engines[0].offset = 17
        let client = house.connected()
        client.join("a")
        #expect(
            client.ask(#"{"id":3,"publish":{"channel":"a","data":1}}"#) == [
                #"{"id":3,"publish":{"offset":17}}"#,
                push("a", "1", by: 1).replacing("}}}}", with: #"},"offset":17}}}"#),
            ])
    }

    @Test func `a room without members stays for a while, then its flow ends`() {
        let house = House()
        let client = house.connected()
        client.join("a")
        #expect(client.rooms.roomCount == 1)
        client.ask(#"{"id":3,"unsubscribe":{"channel":"a"}}"#)
        #expect(client.rooms.roomCount == 0)
        house.pass(.seconds(2))
        #expect(house.engines[0].flows == ["a"])
        client.join("a", id: 4)
        #expect(client.rooms.roomCount == 1, "a room that somebody came back to counts again")
        #expect(house.engines[0].subscribeCalls == 1)
        house.pass(.seconds(5))
        #expect(house.engines[0].flows == ["a"], "it has a member")
        client.ask(#"{"id":5,"unsubscribe":{"channel":"a"}}"#)
        house.pass(.seconds(3))
        house.checkEmpty("lingered long enough")
        client.join("a", id: 6)
        #expect(house.engines[0].subscribeCalls == 2)
    }

    @Test func `publications to a room without members reach the engine and nobody else`() {
        let house = House()
        let client = house.connected()
        #expect(client.ask(#"{"id":2,"publish":{"channel":"a","data":1}}"#) == [#"{"id":2,"publish":{}}"#])
        client.join("a")
        client.ask(#"{"id":3,"unsubscribe":{"channel":"a"}}"#)
        #expect(client.ask(#"{"id":4,"publish":{"channel":"a","data":2}}"#) == [#"{"id":4,"publish":{}}"#])
        #expect(house.engines[0].published.count == 2)
        #expect(house.outlets[0].liveBroadcasts == 0)
        #expect(client.ask(#"{"id":5,"subscribe":{"channel":"a"}}"#) == [#"{"id":5,"subscribe":{}}"#])
    }
}

@Suite struct FanOutTests {
    @Test func `a room larger than the budget is served in slices, everyone exactly once and in order`() {
        let house = House {
            $0.isInsecure = true
            $0.fanOutBudget = 10
        }
        let members = (0..<95).map { _ in house.connected() }
        for member in members { member.join("a") }
        house.outlets[0].slices = []
        for data in 1...3 { members[0].say(#"{"id":9,"publish":{"channel":"a","data":\#(data)}}"#) }
        #expect(house.loops[0].beforeFlush(), "more is left")
        #expect(house.outlets[0].slices == [10])
        members[0].say(#"{"id":9,"publish":{"channel":"a","data":4}}"#)
        while house.loops[0].beforeFlush() {}
        #expect(house.outlets[0].slices.allSatisfy { $0 <= 10 })
        for member in members {
            let pushes = member.heard.filter { $0.contains("push") }
            #expect(pushes == (1...4).map { push("a", "\($0)", by: 1) })
        }
        #expect(house.outlets[0].liveBroadcasts == 0)
    }

    @Test func `a large room does not hold up a small one`() {
        let house = House {
            $0.isInsecure = true
            $0.fanOutBudget = 10
        }
        let crowd = (0..<100).map { _ in house.connected() }
        for member in crowd { member.join("large") }
        let small = house.connected()
        small.join("small")
        crowd[0].say(#"{"id":9,"publish":{"channel":"large","data":1}}"#)
        small.say(#"{"id":9,"publish":{"channel":"small","data":2}}"#)
        _ = house.loops[0].beforeFlush()
        _ = house.loops[0].beforeFlush()
        #expect(small.heard.last == push("small", "2", by: 101), "its turn comes with the next iteration")
        house.settle()
    }

    @Test func `messages of one iteration go out as one block, and a full block at once`() {
        let house = House {
            $0.isInsecure = true
            $0.batchBytes = 1000
        }
        let client = house.connected()
        client.join("a")
        let long = String(repeating: "x", count: 300)
        for _ in 0..<10 { client.say(#"{"id":9,"publish":{"channel":"a","data":"\#(long)"}}"#) }
        _ = house.loops[0].beforeFlush()
        #expect(client.heard.filter { $0 == push("a", "\"\(long)\"", by: 1) }.count == 10)
        #expect(house.outlets[0].slices.count >= 4 && house.outlets[0].slices.count < 10)
        #expect(house.outlets[0].liveBroadcasts == 0)
    }

    @Test func `who leaves in the middle of a hand-out gets nothing more, and nobody is missed for it`() {
        let house = House {
            $0.isInsecure = true
            $0.fanOutBudget = 7
        }
        let members = (0..<60).map { _ in house.connected() }
        for member in members { member.join("a") }
        for member in members { member.forget() }
        members[0].say(#"{"id":9,"publish":{"channel":"a","data":1}}"#)
        var left: Set<ConnectionWord> = []
        var index = 0
        while house.loops[0].beforeFlush() {
            let leaver = members[index * 7 % 60]
            leaver.close()
            left.insert(leaver.word)
            index += 1
        }
        for member in members {
            let count = member.heard.filter { $0.contains("push") }.count
            if left.contains(member.word) { #expect(count <= 1) } else { #expect(count == 1) }
        }
        house.checkInvariants("after the hand-out", members)
    }

    @Test func `commands and publications are counted`() {
        let house = House()
        let client = house.connected()
        client.join("a")
        client.ask(#"{"id":3,"publish":{"channel":"a","data":1}}"#)
        client.ask(#"{"id":4,"rpc":{}}"#)
        client.ask(#"{"send":{"data":1}}"#)
        let outlet = house.outlets[0]
        #expect(outlet.publications == 1)
        #expect(
            outlet.commands.map { "\($0.0) \($0.1.map { String($0.rawValue) } ?? "ok")" } == [
                "connect ok", "subscribe ok", "publish ok", "rpc 104", "send ok",
            ])
    }
}
