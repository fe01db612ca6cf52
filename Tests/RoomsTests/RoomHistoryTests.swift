// Rooms with history as their members see them: what the reply to subscribe promises, recovery up to its edges, the
// history command, positions of publications and repeated publications.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct RoomHistoryTests {
    // MARK: The reply to subscribe

    @Test func `the reply to subscribe tells the position, and what was asked for`() {
        let house = historyHouse()
        let publisher = house.connected()
        let cases: [(String, String)] = [
            ("", #""epoch":"\#(life1)","offset":2"#),
            (#","positioned":true"#, #""epoch":"\#(life1)","offset":2,"positioned":true"#),
            (#","recoverable":true"#, #""recoverable":true,"epoch":"\#(life1)","offset":2,"positioned":true"#),
        ]
        publisher.publish("room", 1...2)
        for (asked, told) in cases {
            let client = house.connected()
            #expect(
                client.ask(#"{"id":2,"subscribe":{"channel":"room"\#(asked)}}"#)
                    == [#"{"id":2,"subscribe":{\#(told)}}"#])
        }
        let fresh = house.connected()
        #expect(
            fresh.ask(#"{"id":2,"subscribe":{"channel":"new"}}"#)
                == [#"{"id":2,"subscribe":{"epoch":"0000000000000002"}}"#])
    }

    @Test func `forced recovery makes every subscriber recoverable`() {
        let house = historyHouse { $1.forcesRecovery = true }
        let client = house.connected()
        let told = #"{"id":2,"subscribe":{"recoverable":true,"epoch":"\#(life1)","positioned":true}}"#
        #expect(client.ask(#"{"id":2,"subscribe":{"channel":"room"}}"#) == [told])
    }

    @Test func `a room without history promises nothing, and its publications have no position`() {
        let house = House()
        let client = house.connected()
        #expect(
            client.recover("room", from: 3) == [#"{"id":2,"subscribe":{"was_recovering":true}}"#])
        #expect(
            client.ask(#"{"id":3,"publish":{"channel":"room","data":1}}"#).contains(#"{"id":3,"publish":{}}"#))
        #expect(
            client.ask(#"{"id":4,"history":{"channel":"room","limit":1}}"#) == [errorReply(4, .notAvailable)])
    }

    // MARK: Recovery

    @Test(arguments: [0, 1])
    func `recovery is complete from every offset that is still followed, and refused from every other`(loop: Int) {
        let house = historyHouse(loops: 2)
        let room = house.room(home: 0)
        let publisher = house.connected()
        publisher.publish(room, 1...9)
        // 5 are kept: 5 … 9. Whoever saw 4 has missed nothing that is gone.
        for kept in [true, false] {
            // With a member there is a tail at home, which saw nothing of this; without one the engine is asked.
            if kept { _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"\#(room)"}}"#) }
            for offset in 0...9 {
                let client = house.connected(loop: loop)
                let isComplete = offset >= 4
                let missed = isComplete && offset < 9 ? (offset + 1...9).map { entry($0) } : []
                #expect(
                    client.recover(room, from: UInt64(offset))
                        == [recovery(2, offset: 9, recovered: isComplete, missed)], "from \(offset)")
                client.close()
            }
        }
        for offset in [10, 11, 1 << 53, UInt64.max] {
            let client = house.connected(loop: loop)
            #expect(client.recover(room, from: offset) == [], "as if it were on its way, from \(offset)")
            house.pass(LoopRooms.patience)
            house.settle()
            #expect(client.heard == [recovery(2, offset: 9, recovered: false)], "from \(offset)")
        }
        let questions = house.engines[0].readCalls
        let epochs = ["", "x", "0000000000000002", "000000000000000", "00000000000000011", "000000000000000G", "😀"]
        for epoch in epochs {
            let client = house.connected(loop: loop)
            #expect(
                client.recover(room, from: 8, epoch: epoch) == [recovery(2, offset: 9, recovered: false)], "\(epoch)")
        }
        #expect(house.engines[0].readCalls == questions, "an epoch that is none of the room's is no question")
    }

    @Test(arguments: [0, 1])
    func `the tail at home answers returning members without asking the engine, up to its edge`(loop: Int) {
        let house = historyHouse(loops: 2)
        let room = house.room(home: 0)
        let publisher = house.connected()
        _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"\#(room)"}}"#)
        publisher.publish(room, 1...9)
        for offset in 4...9 {
            let client = house.connected(loop: loop)
            let missed = offset < 9 ? (offset + 1...9).map { entry($0) } : []
            #expect(client.recover(room, from: UInt64(offset)) == [recovery(2, offset: 9, recovered: true, missed)])
        }
        #expect(house.engines[0].readCalls == 0)
        let late = house.connected(loop: loop)
        #expect(late.recover(room, from: 3) == [recovery(2, offset: 9, recovered: false)])
    }

    @Test func `what is too old cannot be recovered, whether the engine or the tail has it`() {
        let house = historyHouse()
        let publisher = house.connected()
        _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"room"}}"#)
        publisher.publish("room", 1...1)
        house.now = house.now + .seconds(40)
        publisher.publish("room", 2...3)
        house.now = house.now + .seconds(20)
        #expect(house.connected().recover("room", from: 0) == [recovery(2, offset: 3, recovered: false)])
        #expect(
            house.connected().recover("room", from: 1)
                == [recovery(2, offset: 3, recovered: true, [entry(2), entry(3)])])
    }

    @Test(arguments: [true, false])
    func `more than the recovery limit is not recovered, and never in part`(hasTail: Bool) {
        let house = historyHouse(size: 100, limit: 3)
        let publisher = house.connected()
        if hasTail { _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"room"}}"#) }
        publisher.publish("room", 1...9)
        #expect(house.connected().recover("room", from: 5) == [recovery(2, offset: 9, recovered: false)])
        let missed = (7...9).map { entry($0) }
        #expect(house.connected().recover("room", from: 6) == [recovery(2, offset: 9, recovered: true, missed)])
    }

    @Test(arguments: [true, false])
    func `more than fits into a reply is not recovered; what just fits is`(hasTail: Bool) {
        let bytes = (1...3).map { entry($0) }.joined(separator: ",").utf8.count
        for room in [bytes, bytes - 1] {
            let house = historyHouse(size: 100) { rules, _ in rules.replyBytes = room }
            let publisher = house.connected()
            if hasTail { _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"room"}}"#) }
            publisher.publish("room", 1...3)
            let isFitting = room == bytes
            #expect(
                house.connected().recover("room", from: 0)
                    == [recovery(2, offset: 3, recovered: isFitting, isFitting ? (1...3).map { entry($0) } : [])])
        }
    }

    @Test(arguments: [0, 1], [true, false])
    func `publications that arrive while the reply is made are neither lost nor doubled`(loop: Int, later: Bool) {
        let house = historyHouse(loops: 2, size: 50)
        let room = house.room(home: 0)
        let publisher = house.connected()
        publisher.publish(room, 1...3)
        // The tail at home begins at 4, so that the engine has to be asked for what a client at 0 has missed.
        _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"\#(room)"}}"#)
        let client = house.connected(loop: loop)
        if later { house.engines[0].readMode = .later }
        client.say(#"{"id":2,"subscribe":{"channel":"\#(room)","recover":true,"offset":0,"epoch":"\#(life1)"}}"#)
        publisher.say(#"{"id":9,"publish":{"channel":"\#(room)","data":4}}"#)
        house.settleMail()
        publisher.say(#"{"id":9,"publish":{"channel":"\#(room)","data":5}}"#)
        house.engines[0].answerWaiting()
        publisher.say(#"{"id":9,"publish":{"channel":"\#(room)","data":6}}"#)
        house.settle()
        publisher.publish(room, 7...7)
        let reply = client.heard.first ?? ""
        #expect(reply.contains(#""recovered":true"#))
        let recovered = (1...7).filter { reply.contains(entry($0)) }
        #expect(recovered == Array(1...(recovered.last ?? 0)), "a reply without a hole")
        #expect(client.heard.dropFirst() == (recovered.count + 1...7).map { live(room, $0) }[...])
    }

    @Test func `a subscriber at a flow that begins late is told what came in between`() {
        let house = historyHouse(size: 50)
        let publisher = house.connected()
        publisher.publish("room", 1...2)
        house.engines[0].subscribeMode = .later
        let client = house.connected()
        client.say(#"{"id":2,"subscribe":{"channel":"room","recover":true,"offset":1,"epoch":"\#(life1)"}}"#)
        publisher.publish("room", 3...4)
        #expect(client.heard == [])
        house.engines[0].answerWaiting()
        house.settle()
        #expect(client.heard == [recovery(2, offset: 4, recovered: true, (2...4).map { entry($0) })])
        publisher.publish("room", 5...5)
        #expect(client.heard.last == live("room", 5))
    }

    @Test func `whoever waits for a flow or an answer that fails is told error 120, and may try again`() {
        let house = historyHouse(loops: 2)
        let room = house.room(home: 1)
        let client = house.connected()
        client.publish(room, 1...2)
        house.engines[1].subscribeMode = .fail(.unavailable)
        #expect(client.recover(room, from: 1) == [errorReply(2, .engineUnavailable)])
        house.engines[1].subscribeMode = .now
        house.engines[1].readMode = .fail(.unavailable)
        #expect(client.recover(room, from: 1) == [errorReply(2, .engineUnavailable)])
        #expect(
            client.ask(#"{"id":3,"history":{"channel":"\#(room)"}}"#) == [errorReply(3, .engineUnavailable)])
        house.engines[1].readMode = .now
        #expect(client.recover(room, from: 1) == [recovery(2, offset: 2, recovered: true, [entry(2)])])
        checkLeaves(house, [client], "after failures")
    }

    @Test func `a loop whose only subscriber was turned away keeps nothing of the room`() {
        let house = historyHouse(loops: 2)
        let room = house.room(home: 1)
        let client = house.connected()
        client.publish(room, 1...2)
        house.engines[1].readMode = .fail(.unavailable)
        #expect(client.recover(room, from: 1) == [errorReply(2, .engineUnavailable)])
        checkLeaves(house, [client], "turned away")
    }

    @Test(arguments: [0, 1])
    func `more subscribers than may wait are told error 120, and the others are served`(loop: Int) {
        let house = historyHouse(loops: 2) { rules, _ in rules.waitingRecoveries = 2 }
        let room = house.room(home: 1)
        house.engines[1].subscribeMode = .later
        let clients = (0..<4).map { _ in house.connected(loop: loop) }
        for client in clients { _ = client.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#) }
        house.engines[1].answerWaiting()
        house.settle()
        let welcome = [#"{"id":2,"subscribe":{"epoch":"\#(life1)"}}"#]
        let refusal = [errorReply(2, .engineUnavailable)]
        #expect(clients.map(\.heard) == [welcome, welcome, refusal, refusal])
        checkLeaves(house, clients, "after too many")
    }

    @Test(arguments: [0, 1], [true, false])
    func `who unsubscribes or vanishes while the engine is asked leaves nothing behind`(loop: Int, vanishes: Bool) {
        let house = historyHouse(loops: 2)
        let room = house.room(home: 1)
        let client = house.connected(loop: loop)
        client.publish(room, 1...2)
        house.engines[1].readMode = .later
        client.forget()
        client.say(#"{"id":2,"subscribe":{"channel":"\#(room)","recover":true,"offset":0,"epoch":"\#(life1)"}}"#)
        house.settle()
        #expect(client.heard == [])
        if vanishes {
            client.close()
        } else {
            client.say(#"{"id":3,"unsubscribe":{"channel":"\#(room)"}}"#)
            #expect(client.heard == [#"{"id":2,"subscribe":{"was_recovering":true}}"#, #"{"id":3,"unsubscribe":{}}"#])
        }
        let before = client.heard
        house.engines[1].answerWaiting()
        house.settle()
        #expect(client.heard == before, "an answer that nobody waits for is dropped")
        let witness = house.connected(loop: loop)
        house.engines[1].readMode = .now
        #expect(
            witness.recover(room, from: 0).first?.contains(#""recovered":true"#) == true)
        checkLeaves(house, [client, witness], "gone while waiting")
    }

    // MARK: The history command

    @Test(arguments: [0, 1])
    func `history answers limits, positions and directions`(loop: Int) {
        let house = historyHouse(loops: 2, size: 6, limit: 4)
        let room = house.room(home: 0)
        let publisher = house.connected()
        publisher.publish(room, 1...9)
        let client = house.connected(loop: loop)
        let here = #""epoch":"\#(life1)""#
        let cases: [(String, [Int])] = [
            ("", []), (#","limit":0"#, []), (#","limit":2"#, [4, 5]), (#","limit":-1"#, [4, 5, 6, 7]),
            (#","limit":1000"#, [4, 5, 6, 7]), (#","limit":2,"reverse":true"#, [9, 8]),
            (#","limit":9,"reverse":true"#, [9, 8, 7, 6]), (#","limit":2,"since":{"offset":6,\#(here)}"#, [7, 8]),
            (#","limit":9,"since":{"offset":9,\#(here)}"#, []), (#","limit":9,"since":{"offset":99,\#(here)}"#, []),
            (#","limit":2,"since":{"offset":6,\#(here)},"reverse":true"#, [5, 4]),
            (#","limit":2,"since":{"offset":1,\#(here)}"#, [4, 5]),
        ]
        for (asked, offsets) in cases {
            let list = offsets.isEmpty ? "" : #""publications":[\#(offsets.map { entry($0) }.joined(separator: ","))],"#
            #expect(
                client.ask(#"{"id":3,"history":{"channel":"\#(room)"\#(asked)}}"#)
                    == [#"{"id":3,"history":{\#(list)"epoch":"\#(life1)","offset":9}}"#], "\(asked)")
        }
        for limit in [0, 5] {
            #expect(
                client.ask(
                    #"{"id":4,"history":{"channel":"\#(room)","limit":\#(limit),"since":{"offset":1,"epoch":"x"}}}"#)
                    == [errorReply(4, .unrecoverablePosition)])
        }
        #expect(
            client.ask(#"{"id":5,"history":{"channel":"\#(room)","limit":-2}}"#) == [errorReply(5, .badRequest)])
        checkLeaves(house, [client, publisher], "after reading")
    }

    @Test func `a history reply is cut where it would become too large, and goes on from there`() {
        let house = historyHouse(size: 50) { rules, _ in rules.replyBytes = 3 * entry(10).utf8.count + 2 }
        let client = house.connected()
        client.publish("room", 1...20)
        var seen: [Int] = []
        var position = 9
        while position < 20 {
            let since = #"{"offset":\#(position),"epoch":"\#(life1)"}"#
            let told = client.ask(#"{"id":3,"history":{"channel":"room","limit":-1,"since":\#(since)}}"#)
            let text = told.first ?? ""
            let offsets = (1...20).filter { text.contains(entry($0)) }
            #expect(offsets.count <= 3 && !offsets.isEmpty)
            guard let last = offsets.last else { return }
            seen += offsets
            position = last
        }
        #expect(seen == Array(10...20))
    }

    @Test func `history is for those whom the options permit`() {
        let permissions: [(RoomPermissions, anonymous: Bool, stranger: Bool, member: Bool)] = [
            ([], false, false, false), (.historyForAnonymous, true, false, false),
            (.historyForClient, false, true, true), (.historyForSubscriber, false, false, true),
        ]
        for (granted, anonymous, stranger, member) in permissions {
            let house = House {
                $0.allowsAnonymous = true
                var options = RoomOptions(permissions: granted.union([.subscribeForClient, .publishForClient]))
                options.history = HistoryOptions(size: 5, age: .seconds(60))
                $0.setDefault(options)
            }
            let inside = house.connected(user: "ada")
            _ = inside.ask(#"{"id":2,"subscribe":{"channel":"room"}}"#)
            let clients = [(house.connected(), anonymous), (house.connected(user: "bob"), stranger), (inside, member)]
            for (client, isPermitted) in clients {
                let told = isPermitted ? #"{"id":3,"history":{"epoch":"\#(life1)"}}"# : errorReply(3, .permissionDenied)
                #expect(client.ask(#"{"id":3,"history":{"channel":"room"}}"#) == [told], "\(granted)")
            }
        }
    }

    // MARK: Publishing

    @Test(arguments: [0, 1])
    func `a publication is answered with its position`(loop: Int) {
        let house = historyHouse(loops: 2)
        let room = house.room(home: 0)
        let client = house.connected(loop: loop)
        for number in 1...7 {
            #expect(
                client.ask(#"{"id":3,"publish":{"channel":"\#(room)","data":1}}"#)
                    == [#"{"id":3,"publish":{"offset":\#(number),"epoch":"\#(life1)"}}"#])
        }
    }

    @Test(arguments: [0, 1])
    func `a repeated key is answered with the first one's position and published once`(loop: Int) {
        let house = historyHouse(loops: 2)
        let room = house.room(home: 0)
        let ada = house.connected(loop: loop, user: "ada")
        let bob = house.connected(loop: 0, user: "bob")
        _ = bob.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#)
        bob.forget()
        let command = #"{"id":3,"publish":{"channel":"\#(room)","data":1,"idempotency_key":"k"}}"#
        for _ in 0..<3 {
            #expect(ada.ask(command) == [#"{"id":3,"publish":{"offset":1,"epoch":"\#(life1)"}}"#])
        }
        #expect(bob.pushes.count == 1)
        #expect(
            bob.ask(command).contains(#"{"id":3,"publish":{"offset":2,"epoch":"\#(life1)"}}"#),
            "keys are a sender's own")
        #expect(house.engines[0].published.count == 2)
    }
}
