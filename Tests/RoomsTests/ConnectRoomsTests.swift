// Rooms that a client names in `connect`: one reply tells all of them, nothing overtakes it, nothing is missed.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct ConnectRoomsTests {
    private func connect(_ subs: String, id: Int = 1) -> String { #"{"id":\#(id),"connect":{"subs":{\#(subs)}}}"# }

    /// The rooms of a reply to `connect`, as text; nil when it has none.
    private func rooms(_ reply: String?) -> String? {
        let parts = reply?.split(separator: #""subs":{"#) ?? []
        guard parts.count == 2 else { return nil }
        return parts[1].split(separator: #"},"ping":"#).first.map(String.init)
    }

    private func isClosed(_ client: Client, _ code: DisconnectCode) -> Bool { client.told.last == .close(code) }

    private let asked = #"{"recover":true,"offset":2,"epoch":"0000000000000001"}"#

    @Test func `the reply names every room, and their publications follow it`() {
        let house = House(loops: 2)
        let names = [house.room(home: 0), house.room(home: 1)]
        let client = house.open()
        let told = client.ask(connect(names.map { #""\#($0)":{}"# }.joined(separator: ",")))
        #expect(told.count == 1)
        #expect(
            rooms(told.first).map { Set($0.split(separator: ",").map(String.init)) }
                == Set(names.map { #""\#($0)":{}"# }))
        let other = house.connected(loop: 1)
        for name in names { other.publish(name, 1...1) }
        #expect(client.pushes.count == 2)
        #expect(client.ask(#"{"id":5,"subscribe":{"channel":"\#(names[0])"}}"#) == [errorReply(5, .alreadySubscribed)])
        checkLeaves(house, [client, other], "after leaving")
    }

    @Test(arguments: [0, 1])
    func `what was missed is in the reply, and what comes while it is made follows it`(loop: Int) {
        let house = historyHouse(loops: 2)
        let room = house.room(home: 0)
        let slow = house.room(home: 1)
        let publisher = house.connected()
        publisher.publish(room, 1...4)
        house.engines[1].subscribeMode = .later
        let client = house.open(loop: loop)
        #expect(client.ask(connect(#""\#(room)":\#(asked),"\#(slow)":{}"#)).isEmpty, "the slow room has not answered")
        publisher.publish(room, 5...6)
        #expect(client.heard.isEmpty, "nothing overtakes the reply")
        house.engines[1].answerWaiting()
        house.settle()
        let entries = [entry(3), entry(4)].joined(separator: ",")
        let recovered =
            #""\#(room)":{"recoverable":true,"epoch":"\#(life1)","publications":[\#(entries)],"recovered":true,"#
            + #""offset":4,"positioned":true,"was_recovering":true}"#
        #expect(rooms(client.heard.first)?.contains(recovered) == true, "\(client.heard)")
        #expect(Array(client.heard.dropFirst()) == [live(room, 5), live(room, 6)])
        publisher.publish(room, 7...7)
        #expect(client.heard.last == live(room, 7))
        house.checkInvariants("connected", [client, publisher])
        checkLeaves(house, [client, publisher], "after leaving")
    }

    @Test func `a room that refuses or cannot answer is not named, and can be subscribed later`() {
        let house = House {
            $0.allowsAnonymous = true
            var options = RoomOptions(permissions: [.subscribeForAnonymous])
            $0.setDefault(options)
            options.permissions = []
            $0.setNamespace("closed", options)
        }
        house.engines[0].subscribeMode = .fail(.unavailable)
        let client = house.open()
        let told = client.ask(connect(#""a":{},"closed:b":{},"unknown:c":{}"#))
        #expect(told.count == 1 && rooms(told.first) == nil && told[0].contains(#""connect":{"#), "\(told)")
        house.engines[0].subscribeMode = .now
        #expect(client.ask(#"{"id":2,"subscribe":{"channel":"a"}}"#) == [#"{"id":2,"subscribe":{}}"#])
        checkLeaves(house, [client], "after leaving")
    }

    @Test func `too many rooms, and what is no map of requests, close with 3501; a room named twice is in once`() {
        for subs in [#""a":{},"b":{},"c":{}"#, #""a":5"#, #""a":{"recover":"x"}"#, #""":{}"#] {
            let house = House {
                $0.isInsecure = true
                $0.maxRooms = 2
            }
            let client = house.open()
            client.say(connect(subs))
            house.settle()
            #expect(isClosed(client, .badRequest), "\(subs): \(client.heard)")
            checkLeaves(house, [client], subs)
        }
        let house = House()
        let client = house.open()
        #expect(rooms(client.ask(connect(#""a":{},"a":{}"#)).first) == #""a":{}"#)
        checkLeaves(house, [client], "twice")
    }

    @Test func `leaving a room, or the connection, while the reply is being made leaves nothing behind`() {
        for ends in [true, false] {
            let house = House()
            house.engines[0].subscribeMode = .later
            let client = house.open()
            client.say(connect(#""a":{},"b":{}"#))
            if ends {
                client.close()
            } else {
                client.say(#"{"id":2,"unsubscribe":{"channel":"a"}}"#)
            }
            house.engines[0].answerWaiting()
            house.settle()
            if !ends {
                #expect(client.heard.count == 2 && client.heard.first?.contains(#""b":{}"#) == true, "\(client.heard)")
                #expect(client.heard.last == #"{"id":2,"unsubscribe":{}}"#)
            }
            #expect(house.loops[0].connecting.isEmpty && house.outlets[0].held.isEmpty)
            checkLeaves(house, [client], "ends \(ends)")
        }
    }

    @Test func `a connect whose rooms never answer ends as stale`() {
        let house = House()
        house.engines[0].subscribeMode = .later
        let client = house.open()
        client.say(connect(#""a":{}"#))
        house.loops[0].timerFired(client.word)
        house.settle()
        #expect(isClosed(client, .stale))
        checkLeaves(house, [client], "stale")
    }

    @Test func `recoveries that are too much together for one reply are told as not recovered`() {
        let house = historyHouse { rules, _ in rules.replyBytes = 250 }
        let publisher = house.connected()
        publisher.publish("a", 1...4)
        publisher.publish("b", 1...4)
        let client = house.open()
        let since = #"{"recover":true,"offset":2,"epoch":"\#(life1)"}"#
        let other = #"{"recover":true,"offset":2,"epoch":"\#(life2)"}"#
        let told = rooms(client.ask(connect(#""a":\#(since),"b":\#(other)"#)).first) ?? ""
        #expect(told.split(separator: #""recovered":true"#).count == 2, "one of the two: \(told)")
        #expect(told.split(separator: #""was_recovering":true"#, omittingEmptySubsequences: false).count == 3)
    }
}
