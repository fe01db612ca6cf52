// What returning members cost: storms into a room that has just begun are answered with one question to the engine,
// members of a former epoch with the same, and whoever is ahead of this node is let in when it has caught up or is told
// plainly. Numbers of questions are exact.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct RoomRecoveryTests {
    // MARK: Storms

    @Test(arguments: [1, 3], [FakeEngine.Mode.now, .later])
    func `a thousand clients that return to ten new rooms cost a question a room`(loops: Int, mode: FakeEngine.Mode) {
        let house = historyHouse(loops: loops, size: 120, limit: 100)
        let rooms = (0..<10).map { "room\($0)" }
        let publisher = house.connected()
        for room in rooms { publisher.publish(room, 1...150) }
        for engine in house.engines { engine.readMode = mode }
        var clients: [(client: Client, room: String, since: Int)] = []
        func come(_ numbers: Range<Int>) {
            for number in numbers {
                let client = house.connected(loop: number % loops)
                // Some are too far behind.
                let (room, since) = (rooms[number % 10], number / 10 * 3 / 2)
                let epoch = house.engines[house.home(of: room)].streams[room]?.epoch ?? 0
                let digits = epoch < 16 ? "000000000000000" + String(epoch, radix: 16) : ""
                client.forget()
                client.say(
                    #"{"id":2,"subscribe":{"channel":"\#(room)","recover":true,"offset":\#(since),"#
                        + #""epoch":"\#(digits)"}}"#)
                clients.append((client, room, since))
            }
            house.settle()
        }
        come(0..<500)
        for room in rooms { publisher.publish(room, 151...152) }
        for engine in house.engines { engine.answerWaiting() }
        come(500..<1000)
        for room in rooms { publisher.publish(room, 153...153) }
        house.settle()
        for (client, room, since) in clients {
            let reply = client.heard.first ?? ""
            let offset = [150, 152].first { reply.contains(#","offset":\#($0),"positioned""#) } ?? 0
            let isRecovered = offset - since <= 100
            #expect(reply.contains(#""recovered":true"#) == isRecovered, "\(room) from \(since): \(reply)")
            let missed = isRecovered && since < offset ? (since + 1...offset).map { entry($0) } : []
            #expect(reply.contains(missed.joined(separator: ",")) && reply.contains("publications") == !missed.isEmpty)
            let rest = (offset + 1...153).map { live(room, $0) }
            #expect(Array(client.heard.dropFirst()) == rest, "\(room) from \(since)")
        }
        let reads = house.engines.flatMap(\.reads)
        #expect(reads.count == 10 && Set(reads.map(\.room)).count == 10)
        for read in reads {
            #expect(read.purpose == .tail && read.query.direction == .reverse && read.query.since == nil)
            #expect(read.query.limit == 100 && read.query.maxBytes == HomeStream.tailBytes)
        }
        let counted = house.outlets.reduce(into: [:]) { $0.merge($1.recoveries, uniquingKeysWith: +) }
        #expect(counted.values.reduce(0, +) == 1000)
        #expect((counted["recovered engine"] ?? 0) + (counted["lost engine"] ?? 0) >= 10)
        #expect((counted["recovered tail"] ?? 0) > 300 && (counted["lost tail"] ?? 0) > 300)
    }

    @Test func `an answer is used for a while, then another one is asked for, until the tail has everything`() {
        let house = historyHouse(size: 50)
        let publisher = house.connected()
        publisher.publish("room", 1...9)
        _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"room"}}"#)
        let all = { (top: Int) in [recovery(2, offset: top, recovered: true, (6...top).map { entry($0) })] }
        for _ in 0..<3 { #expect(house.connected().recover("room", from: 5) == all(9)) }
        #expect(house.engines[0].readCalls == 1)
        // An eighth of what the history's age is.
        house.pass(.milliseconds(7499))
        publisher.publish("room", 10...11)
        #expect(house.connected().recover("room", from: 5) == all(11))
        #expect(house.engines[0].readCalls == 1)
        house.pass(.milliseconds(1))
        #expect(house.loops[0].home.stream(0)?.past == nil)
        #expect(house.connected().recover("room", from: 9).first?.contains(#""recovered":true"#) == true)
        #expect(house.engines[0].readCalls == 1, "the tail has that")
        #expect(house.connected().recover("room", from: 5) == all(11))
        #expect(house.engines[0].readCalls == 2)
        house.pass(.milliseconds(52_500))
        #expect(house.connected().recover("room", from: 8) == [recovery(2, offset: 11, recovered: false)])
        #expect(house.connected().recover("room", from: 9).first?.contains(#""recovered":true"#) == true)
        #expect(house.engines[0].readCalls == 2, "what was there before the home is too old, and the home knows it")
    }

    @Test(arguments: [FakeEngine.Mode.now, .later])
    func `who is too far behind is refused without a question, as far as that is known`(mode: FakeEngine.Mode) {
        let house = historyHouse(size: 8, limit: 5)
        let publisher = house.connected()
        publisher.publish("room", 1...20)
        _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"room"}}"#)
        #expect(house.connected().recover("room", from: 14) == [recovery(2, offset: 20, recovered: false)])
        #expect(house.engines[0].readCalls == 0, "more than may be recovered")
        house.engines[0].streams["room"]?.limits.entries = 3
        house.engines[0].streams["room"]?.trim(now: house.now)
        house.engines[0].readMode = mode
        let clients = (0..<3).map { _ in house.connected() }
        for client in clients { _ = client.recover("room", from: 16) }
        house.engines[0].answerWaiting()
        house.settle()
        for client in clients { #expect(client.heard == [recovery(2, offset: 20, recovered: false)]) }
        #expect(house.connected().recover("room", from: 16) == [recovery(2, offset: 20, recovered: false)])
        #expect(
            house.connected().recover("room", from: 17)
                == [recovery(2, offset: 20, recovered: true, (18...20).map { entry($0) })])
        #expect(house.engines[0].readCalls == 1, "what the answer does not reach is gone")
    }

    @Test func `an answer that bytes have cut serves whom it reaches and refuses the others`() {
        let house = historyHouse(size: 50) { rules, _ in rules.replyBytes = 3 << 20 }
        let publisher = house.connected()
        let long = String(repeating: "x", count: 1 << 20)
        for _ in 1...6 { publisher.say(#"{"id":9,"publish":{"channel":"room","data":"\#(long)"}}"#) }
        _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"room"}}"#)
        for (since, isRecovered) in [(3, false), (4, true), (5, true), (3, false)] as [(UInt64, Bool)] {
            let reply = house.connected().recover("room", from: since).first ?? ""
            #expect(reply.contains(#""recovered":true"#) == isRecovered, "from \(since)")
            #expect(reply.utf8.count > (isRecovered ? Int(6 - since) << 20 : 0))
        }
        #expect(house.engines[0].readCalls == 1 && house.engines[0].reads.first?.query.maxBytes == 3 << 20)
        // A tail that holds less than a reply may be is no proof: the engine is asked again.
        for _ in 7...8 { publisher.say(#"{"id":9,"publish":{"channel":"room","data":"\#(long)"}}"#) }
        house.settle()
        #expect(house.connected().recover("room", from: 6).first?.contains(#""recovered":true"#) == true)
        #expect(house.engines[0].readCalls == 2)
    }

    @Test(arguments: [0, 1], [FakeEngine.Mode.now, .later])
    func `what the answer has and this home has not delivered yet comes live, once`(loop: Int, mode: FakeEngine.Mode) {
        let house = historyHouse(loops: 2, size: 50)
        let room = house.room(home: 0)
        let publisher = house.connected()
        publisher.publish(room, 1...5)
        _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"\#(room)"}}"#)
        let engine = house.engines[0]
        engine.holdsLive = true
        publisher.publish(room, 6...8)
        engine.readMode = mode
        let clients = (0..<3).map { _ in house.connected(loop: loop) }
        for (index, client) in clients.enumerated() { _ = client.recover(room, from: UInt64(index)) }
        engine.answerWaiting()
        house.settle()
        for (index, client) in clients.enumerated() {
            #expect(client.heard == [recovery(2, offset: 5, recovered: true, (index + 1...5).map { entry($0) })])
        }
        engine.deliver(room, engine.live[0].fields, engine.live[0].position)
        #expect(
            house.connected(loop: loop).recover(room, from: 1)
                == [recovery(2, offset: 6, recovered: true, (2...6).map { entry($0) })])
        engine.deliverLive()
        house.settle()
        for client in clients { #expect(client.pushes == (6...8).map { live(room, $0) }) }
        #expect(engine.readCalls == 1)
    }

    @Test func `all who waited for an answer that failed are told error 120, and the next one asks anew`() {
        let house = historyHouse(loops: 2, size: 50)
        let room = house.room(home: 1)
        let publisher = house.connected()
        publisher.publish(room, 1...9)
        let engine = house.engines[1]
        _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"\#(room)"}}"#)
        engine.readMode = .later
        let clients = (0..<20).map { house.connected(loop: $0 % 2) }
        for client in clients { _ = client.recover(room, from: 4) }
        #expect(engine.readCalls == 1)
        engine.failWaiting(.outcomeUnknown)
        house.settle()
        for client in clients { #expect(client.heard == [errorReply(2, .internalError)]) }
        engine.readMode = .now
        #expect(
            clients[0].recover(room, from: 4) == [recovery(2, offset: 9, recovered: true, (5...9).map { entry($0) })])
        #expect(engine.readCalls == 2)
        checkLeaves(house, clients + [publisher], "after a failed answer")
    }

    @Test func `an answer of another epoch is a reason to doubt, and whoever waits for it returns to the new one`() {
        let house = historyHouse(size: 50)
        let publisher = house.connected()
        publisher.publish("room", 1...9)
        _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"room"}}"#)
        publisher.forget()
        house.engines[0].renewEpoch("room", sharing: 7)
        let client = house.connected()
        let late = house.connected()
        #expect(
            client.recover("room", from: 4)
                == [recovery(2, offset: 7, epoch: life2, recovered: true, (5...7).map { entry($0) })])
        #expect(publisher.heard == [told2500("room")])
        #expect(late.recover("room", from: 8) == [recovery(2, offset: 7, epoch: life2, recovered: false)])
    }

    // MARK: Epochs

    @Test(arguments: [FakeEngine.Mode.now, .later])
    func `when an epoch is renewed all members return at the cost of one question`(mode: FakeEngine.Mode) {
        let house = historyHouse(loops: 3, size: 200)
        let room = house.room(home: 1)
        let publisher = house.connected()
        publisher.publish(room, 1...60)
        let members = (0..<90).map { house.connected(loop: $0 % 3) }
        for member in members { _ = member.ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#) }
        for member in members { member.forget() }
        let engine = house.engines[1]
        engine.renewEpoch(room, sharing: 50)
        engine.readMode = mode
        for _ in 0..<3 {
            publisher.publish(room, 51...52)
            engine.answerWaiting()
            house.settle()
        }
        let questions = engine.readCalls
        #expect(house.outlets[1].losses == ["otherEpoch"])
        for (number, member) in members.enumerated() {
            #expect(member.heard == [told2500(room)])
            // As clients with different places of that epoch, up to the last that both share, and above.
            _ = member.recover(room, from: UInt64(number))
        }
        engine.answerWaiting()
        house.settle()
        for (number, member) in members.enumerated() {
            let reply = member.heard.first ?? ""
            #expect(reply.contains(#""epoch":"\#(life2)""#) && reply.contains(#""offset":56,"positioned""#))
            #expect(reply.contains(#""recovered":true"#) == (number <= 50), "from \(number)")
            let offsets = reply.split(separator: #""offset":"#).dropFirst().compactMap {
                Int($0.prefix { $0.isNumber })
            }
            #expect(offsets == (number <= 50 ? Array(number + 1...56) : []) + [56])
        }
        #expect(engine.readCalls == questions + 1)
        publisher.publish(room, 57...57)
        for member in members { #expect(member.pushes == [live(room, 57)]) }
        #expect(
            house.connected().recover(room, from: 3, epoch: "0000000000000009").first?.contains("true,\"off") == false)
        #expect(engine.readCalls == questions + 1, "no question about an epoch that is none of the room's")
    }

    // MARK: Ahead

    /// A room of ten publications with a subscriber, whose live messages wait.
    private func aheadScene(_ loops: Int = 2) -> (house: House, room: String, publisher: Client, engine: FakeEngine) {
        let house = historyHouse(loops: loops, size: 50)
        let room = house.room(home: 0)
        let publisher = house.connected()
        _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"\#(room)"}}"#)
        publisher.publish(room, 1...10)
        house.engines[0].holdsLive = true
        return (house, room, publisher, house.engines[0])
    }

    @Test(arguments: [0, 1])
    func `who saw elsewhere what is on its way here is let in when it comes, without a question`(loop: Int) {
        let (house, room, publisher, engine) = aheadScene()
        publisher.publish(room, 11...12)
        let clients = (0..<3).map { _ in house.connected(loop: loop) }
        for (index, client) in clients.enumerated() {
            #expect(client.recover(room, from: UInt64(10 + index)).count == (index == 0 ? 1 : 0))
        }
        engine.deliver(room, engine.live[0].fields, engine.live[0].position)
        house.settle()
        #expect(clients[0].heard == [recovery(2, offset: 10, recovered: true), live(room, 11)])
        #expect(clients[1].heard == [recovery(2, offset: 11, recovered: true)])
        #expect(clients[2].heard == [])
        engine.deliver(room, engine.live[1].fields, engine.live[1].position)
        house.settle()
        #expect(clients[2].heard == [recovery(2, offset: 12, recovered: true)])
        engine.live = []
        publisher.publish(room, 13...13)
        engine.deliverLive()
        house.settle()
        for client in clients { #expect(client.heard.last == live(room, 13)) }
        #expect(clients.map(\.heard.count) == [4, 3, 2])
        #expect(engine.readCalls == 0)
        house.pass(LoopRooms.patience)
        #expect(engine.readCalls == 0)
    }

    @Test(arguments: [0, 1], [FakeEngine.Mode.now, .later])
    func `who saw elsewhere what was lost on its way here has it mended`(loop: Int, mode: FakeEngine.Mode) {
        let (house, room, publisher, engine) = aheadScene()
        publisher.forget()
        publisher.publish(room, 11...12)
        engine.live = []
        let client = house.connected(loop: loop)
        engine.readMode = mode
        #expect(client.recover(room, from: 11) == [])
        house.pass(LoopRooms.patience)
        for _ in 0..<3 { engine.answerWaiting() }
        house.settle()
        #expect(client.heard == [recovery(2, offset: 12, recovered: true, [entry(12)])])
        #expect(publisher.pushes == [live(room, 11), live(room, 12)])
        #expect(engine.reads.map(\.purpose) == [.tail, .repair] && engine.reads.first?.query.limit == 0)
        publisher.publish(room, 13...13)
        engine.deliverLive()
        house.settle()
        #expect(client.heard.dropFirst() == [live(room, 13)])
    }

    @Test(arguments: [0, 1], [FakeEngine.Mode.now, .later])
    func `who claims what nobody has seen costs a question together with others, and hears the truth`(
        loop: Int, mode: FakeEngine.Mode
    ) {
        let (house, room, publisher, engine) = aheadScene()
        let offsets: [UInt64] = [11, 12, 1 << 40, 1 << 53, (1 << 53) + 1, .max - 1, .max]
        let clients = (0..<70).map { _ in house.connected(loop: loop) }
        for (index, client) in clients.enumerated() { #expect(client.recover(room, from: offsets[index % 7]) == []) }
        engine.readMode = mode
        house.pass(LoopRooms.patience)
        let late = house.connected(loop: loop)
        _ = late.recover(room, from: 11)
        engine.answerWaiting()
        house.settle()
        for client in clients { #expect(client.heard == [recovery(2, offset: 10, recovered: false)]) }
        #expect(engine.reads.count == 1 && engine.reads.first?.query.limit == 0)
        #expect(late.heard == [], "that answer may be older than what this one has seen")
        // The next one comes once, to everybody; and it is what the last one was waiting for, for all we know.
        publisher.publish(room, 11...11)
        engine.deliverLive()
        house.settle()
        for client in clients { #expect(client.heard.dropFirst() == [live(room, 11)]) }
        #expect(late.heard == [recovery(2, offset: 11, recovered: true)])
        house.pass(LoopRooms.patience)
        #expect(engine.reads.count == 1)
        checkLeaves(house, clients + [late, publisher], "after forged places")
    }

    @Test(arguments: [true, false])
    func `who is ahead while the engine is asked for others has its own question next`(fails: Bool) {
        let house = historyHouse(size: 50)
        let publisher = house.connected()
        publisher.publish("room", 1...9)
        _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"room"}}"#)
        let engine = house.engines[0]
        engine.readMode = .later
        let behind = house.connected()
        let ahead = house.connected()
        _ = behind.recover("room", from: 7)
        _ = ahead.recover("room", from: 1 << 40)
        house.pass(LoopRooms.patience)
        #expect(engine.readCalls == 1)
        if fails { engine.failWaiting(.unavailable) } else { engine.answerWaiting() }
        #expect(behind.heard.count == 1 && ahead.heard == [])
        #expect(engine.reads.map(\.query.limit) == [50, 0])
        engine.answerWaiting()
        house.settle()
        #expect(ahead.heard == [recovery(2, offset: 9, recovered: false)])
    }

    @Test func `who comes and goes again and again takes nobody else's place among those who wait`() {
        let house = historyHouse(loops: 2, size: 50) { rules, _ in rules.waitingRecoveries = 3 }
        let room = house.room(home: 0)
        let publisher = house.connected()
        publisher.publish(room, 1...9)
        _ = publisher.ask(#"{"id":7,"subscribe":{"channel":"\#(room)"}}"#)
        house.engines[0].readMode = .later
        let restless = house.connected(loop: 1)
        for _ in 0..<20 {
            _ = restless.recover(room, from: 5)
            restless.say(#"{"id":3,"unsubscribe":{"channel":"\#(room)"}}"#)
        }
        let others = (0..<2).map { house.connected(loop: $0) }
        for client in others { _ = client.recover(room, from: 5) }
        house.engines[0].answerWaiting()
        house.settle()
        let all = recovery(2, offset: 9, recovered: true, (6...9).map { entry($0) })
        for client in others { #expect(client.heard == [all]) }
        #expect(restless.recover(room, from: 5) == [all], "and it may come back itself")
        checkLeaves(house, others + [restless, publisher], "after comings and goings")
    }

    @Test func `whoever is ahead of a gap that is not mended in time is sent away, never let in below its own place`() {
        let (house, room, publisher, engine) = aheadScene()
        publisher.publish(room, 11...11)
        engine.live = []
        let client = house.connected()
        #expect(client.recover(room, from: 11) == [])
        // Positions are answered, the range is not.
        engine.readMode = .later
        for _ in 0..<LoopRooms.mostQuestions {
            #expect(client.heard == [])
            house.pass(LoopRooms.patience)
            engine.answerWaiting { $0 == .tail }
            house.settle()
        }
        #expect(client.heard == [errorReply(2, .engineUnavailable)])
        let more = Array(repeating: ReadTag.Purpose.tail, count: LoopRooms.mostQuestions - 1)
        #expect(engine.reads.map(\.purpose) == [.tail, .repair] + more)
        engine.readMode = .now
        engine.answerWaiting()
        house.settle()
        #expect(client.recover(room, from: 11, id: 3) == [recovery(3, offset: 11, recovered: true)])
    }

    @Test(arguments: [true, false])
    func `who is ahead when the engine goes away is told error 120`(isMending: Bool) {
        let (house, room, publisher, engine) = aheadScene()
        publisher.publish(room, 11...11)
        engine.live = []
        let client = house.connected()
        #expect(client.recover(room, from: 11) == [])
        engine.readMode = .later
        house.pass(LoopRooms.patience)
        if isMending { engine.answerWaiting { $0 == .tail } }
        engine.failWaiting(.unavailable)
        house.settle()
        #expect(client.heard == [errorReply(2, .engineUnavailable)])
        engine.readMode = .now
        engine.audit(room)
        house.pass(.milliseconds(200))
        #expect(client.recover(room, from: 11) == [recovery(2, offset: 11, recovered: true)])
    }

    @Test func `while the store is away or in doubt nobody is let in from memory, and members stay`() {
        let house = historyHouse(loops: 2)
        let room = house.room(home: 0)
        let member = house.connected()
        member.say(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#)
        house.settle()
        member.publish(room, 1...3)
        house.engines[0].isStoreKnown = false
        for loop in [0, 1] {
            let client = house.connected(loop: loop)
            #expect(client.recover(room, from: 1) == [errorReply(2, .engineUnavailable)])
            client.close()
        }
        house.engines[0].isStoreKnown = true
        member.publish(room, 4...4)
        #expect(member.pushes.last == live(room, 4))
        let client = house.connected(loop: 1)
        #expect(client.recover(room, from: 3) == [recovery(2, offset: 4, recovered: true, [entry(4)])])
        checkLeaves(house, [member, client], "after leaving")
    }
}
