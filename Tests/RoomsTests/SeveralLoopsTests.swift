// Rooms whose home is another loop: the same rules, with mailboxes in between; and what happens when one is full.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct SeveralLoopsTests {
    @Test(arguments: [0, 1])
    func `members on two loops hear each other in one order, wherever the home is`(home: Int) {
        let house = House(loops: 2)
        let room = house.room(home: home)
        let clients = [house.connected(loop: 0), house.connected(loop: 1), house.connected(loop: 1)]
        for client in clients { client.join(room) }
        #expect(house.engines[home].subscribeCalls == 1)
        #expect(house.engines[1 - home].subscribeCalls == 0)
        for round in 0..<20 {
            clients[round % 3].say(#"{"id":9,"publish":{"channel":"\#(room)","data":\#(round)}}"#)
        }
        house.settle()
        let order = clients.map { client in client.heard.filter { $0.contains("push") } }
        #expect(order[0].count == 20)
        #expect(order[0] == order[1] && order[1] == order[2])
        for client in clients {
            let acks = client.heard.filter { $0 == #"{"id":9,"publish":{}}"# }.count
            #expect(acks == (client === clients[2] ? 6 : 7))
        }
        for client in clients { client.close() }
        for _ in 0..<3 {
            house.pass(.seconds(10))
            house.settle()
        }
        house.checkEmpty("all left")
    }

    @Test func `errors of an engine elsewhere come back as they would here`() {
        let house = House(loops: 2)
        let room = house.room(home: 1)
        let client = house.connected(loop: 0)
        house.engines[1].subscribeMode = .fail(.unavailable)
        #expect(
            client.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#) == [errorReply(2, .engineUnavailable)])
        house.engines[1].publishMode = .fail(.outcomeUnknown)
        #expect(
            client.ask(#"{"id":3,"publish":{"channel":"\#(room)","data":1}}"#) == [errorReply(3, .internalError)])
        house.engines[1].publishMode = .fail(.unavailable)
        #expect(
            client.ask(#"{"id":3,"publish":{"channel":"\#(room)","data":1}}"#)
                == [errorReply(3, .engineUnavailable)])
        house.engines[1].subscribeMode = .now
        house.engines[1].publishMode = .now
        house.engines[1].offset = 5
        client.join(room)
        #expect(
            client.ask(#"{"id":4,"publish":{"channel":"\#(room)","data":1}}"#).contains(
                #"{"id":4,"publish":{"offset":5}}"#))
    }

    @Test func `a publication that the home's mailbox refuses is error 120 and reaches nobody`() {
        let house = House(loops: 2)
        let room = house.room(home: 1)
        let client = house.connected(loop: 0)
        client.join(room)
        house.mailLimit = 0
        #expect(
            client.ask(#"{"id":3,"publish":{"channel":"\#(room)","data":1}}"#)
                == [errorReply(3, .engineUnavailable)])
        house.mailLimit = .max
        #expect(client.ask(#"{"id":4,"publish":{"channel":"\#(room)","data":2}}"#).count == 2)
        #expect(house.engines[1].published.count == 1)
    }

    /// A room with its home on loop 1, a member there and three on loop 0.
    private func behindScene() -> (house: House, room: String, near: Client, far: [Client]) {
        let house = House(loops: 2)
        let room = house.room(home: 1)
        let near = house.connected(loop: 1)
        let far = (0..<3).map { _ in house.connected(loop: 0) }
        for client in far + [near] { client.join(room) }
        return (house, room, near, far)
    }

    private func told2500(_ room: String) -> String {
        #"{"push":{"channel":"\#(room)","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#
    }

    @Test func `a full mailbox costs the members behind it the room, with an unsubscribe push 2500, and nobody else`() {
        let (house, room, near, far) = behindScene()
        near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":1}}"#)
        house.mailLimit = 1
        near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":2}}"#)
        house.mailLimit = .max
        near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":3}}"#)
        house.settle()
        for client in far {
            #expect(client.heard.last == told2500(room))
            #expect(!client.heard.contains { $0.contains(#""data":3"#) }, "nothing behind a gap")
        }
        #expect(near.heard.filter { $0.contains("push") }.count == 3)
        #expect(house.loops[0].subscriptionCount == 0)
        // Whoever subscribes again is served again.
        far[0].join(room, id: 20)
        far[1].forget()
        near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":4}}"#)
        house.settle()
        #expect(far[0].heard == [push(room, "4", by: 1)])
        #expect(far[1].heard == [])
        house.checkInvariants("after the gap", far + [near])
    }

    @Test func `however many publications a full mailbox refuses, one letter says so`() {
        let (house, room, near, far) = behindScene()
        house.mailLimit = 0
        for data in 0..<1000 { near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":\#(data)}}"#) }
        #expect(house.mail[0].count == 1, "what cannot be delivered must not pile up in another form")
        house.mailLimit = .max
        house.settle()
        for client in far { #expect(client.heard == [told2500(room)]) }
    }

    @Test func `who joins behind a gap misses nothing from its reply on`() {
        let (house, room, near, far) = behindScene()
        house.mailLimit = 0
        near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":1}}"#)
        house.deliverMail(0)
        far[0].forget()
        // The loop has told its members; the home still thinks that it is behind.
        far[0].say(#"{"id":20,"subscribe":{"channel":"\#(room)"}}"#)
        #expect(far[0].heard == [], "the reply waits until the home sends again")
        near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":2}}"#)
        house.mailLimit = .max
        house.settleMail()
        #expect(far[0].heard == [#"{"id":20,"subscribe":{}}"#])
        near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":3}}"#)
        house.settle()
        #expect(far[0].heard == [#"{"id":20,"subscribe":{}}"#, push(room, "3", by: 1)])
    }

    @Test func `a loop that fell behind in a room which everybody has left leaks nothing`() {
        let (house, room, near, far) = behindScene()
        for client in far { client.close() }
        house.mailLimit = 0
        near.say(#"{"id":9,"publish":{"channel":"\#(room)","data":1}}"#)
        // The room ends on the loop before it reads that it is behind.
        house.pass(.seconds(10))
        house.pass(.seconds(10))
        house.settle()
        house.mailLimit = .max
        near.close()
        for _ in 0..<3 {
            house.pass(.seconds(10))
            house.settle()
        }
        house.checkEmpty("left behind")
    }

    @Test func `a message for a room that has ended does not reach the next room of its number`() {
        let house = House(loops: 2)
        let old = house.room(home: 1)
        let far = house.connected(loop: 0)
        far.join(old)
        let near = house.connected(loop: 1)
        near.say(#"{"id":9,"publish":{"channel":"\#(old)","data":1}}"#)
        #expect(house.mail[0].count == 1, "a delivery is on its way")
        far.say(#"{"id":3,"unsubscribe":{"channel":"\#(old)"}}"#)
        house.pass(.seconds(10))
        far.say(#"{"id":4,"subscribe":{"channel":"another"}}"#)
        far.forget()
        house.settle()
        #expect(!far.heard.contains { $0.contains("pub") })
    }
}
