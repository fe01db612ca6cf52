// Rooms with limits, from the command to error 111: what clients are told, and how often the engine is asked.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct LimitedRoomTests {
    private func house(
        _ loops: Int = 1, room: RateLimit? = nil, user: RateLimit? = nil, history: HistoryOptions? = nil
    ) -> House {
        House(loops: loops) { rules in
            rules.isInsecure = true
            var options = RoomOptions()
            options.history = history
            rules.setNamespace("slow", options, limits: RateLimits(room: room, user: user))
        }
    }

    private func say(_ client: Client, _ room: String, key: String = "") -> String {
        let key = key.isEmpty ? "" : #","idempotency_key":"\#(key)""#
        let heard = client.ask(#"{"id":5,"publish":{"channel":"\#(room)","data":1\#(key)}}"#)
        return heard.first { $0.hasPrefix(#"{"id":5"#) } ?? "\(heard)"
    }

    private func refused(_ milliseconds: Int) -> String {
        #"{"id":5,"error":{"code":111,"message":"too many requests","temporary":true,"retry_after":\#(milliseconds)}}"#
    }

    private let accepted = #"{"id":5,"publish":{}}"#

    /// A room of the namespace with limits whose home is a given loop.
    private func slowRoom(_ house: House, home: Int = 0) -> String {
        (0...).lazy.map { "slow:\($0)" }.first { house.home(of: $0) == home } ?? ""
    }

    @Test(arguments: [0, 1])
    func `a room's limit counts everybody together, and says when to come back`(home: Int) throws {
        let house = house(2, room: try limit(2, per: .seconds(1)))
        let room = slowRoom(house, home: home)
        let clients = [house.connected(loop: 0, user: "ada"), house.connected(loop: 1, user: "bob")]
        #expect(say(clients[0], room) == accepted)
        #expect(say(clients[1], room) == accepted)
        for client in clients { #expect(say(client, room) == refused(500)) }
        #expect(house.engines[home].publishCalls == 2, "what the second answer told need not be asked")
        house.pass(.milliseconds(499))
        #expect(say(clients[0], room) == refused(1))
        house.pass(.milliseconds(1))
        #expect(say(clients[1], room) == accepted)
        #expect(say(clients[0], room) == refused(500))
        #expect(say(clients[0], "free") == accepted, "another room has no limit")
        let refusals = house.outlets.reduce(0) { $0 + ($1.refusals[.room] ?? 0) }
        #expect(refusals == 4)
        #expect(house.outlets.reduce(0) { $0 + $1.publications } == 4, "refused ones are no publications")
        #expect(house.loops.allSatisfy { $0.rates.asking == 0 })
    }

    @Test(arguments: [0, 1])
    func `slow mode counts each user over all of its connections, and each anonymous client by itself`(
        home: Int
    ) throws {
        let house = house(2, user: try limit(1, per: .seconds(5)))
        let room = slowRoom(house, home: home)
        let ada = [house.connected(loop: 0, user: "ada"), house.connected(loop: 1, user: "ada")]
        let bob = house.connected(loop: 1, user: "bob")
        let nobody = [house.connected(loop: 0), house.connected(loop: 1)]
        #expect(say(ada[0], room) == accepted)
        #expect(say(ada[1], room) == refused(4995))
        #expect(say(bob, room) == accepted)
        for client in nobody {
            #expect(say(client, room) == accepted)
            #expect(say(client, room) == refused(4995))
        }
        #expect(house.engines[home].publishCalls == 4)
        house.pass(.milliseconds(4995))
        // The home asks again a little early; only the engine knows exactly.
        #expect(say(ada[0], room) == refused(5))
        house.pass(.milliseconds(5))
        #expect(say(ada[1], room) == accepted)
        let refusals = house.outlets.reduce(0) { $0 + ($1.refusals[.user] ?? 0) }
        #expect(refusals == 4)
    }

    @Test func `ids that agree in their first 255 bytes count as one, and longer ones do no harm`() throws {
        let house = house(user: try limit(1, per: .seconds(5)))
        let long = String(repeating: "x", count: 255)
        #expect(say(house.connected(user: long + "a"), "slow:r") == accepted)
        #expect(say(house.connected(user: long + String(repeating: "b", count: 8000)), "slow:r") == refused(4995))
        #expect(say(house.connected(user: String(long.dropLast())), "slow:r") == accepted)
    }

    @Test(arguments: [nil, HistoryOptions(size: 10, age: .seconds(60))])
    func `a repetition is never limited by the engine, and reaches it in spite of the home`(
        history: HistoryOptions?
    ) throws {
        let house = house(room: try limit(1, per: .seconds(5)), history: history)
        let ada = house.connected(user: "ada")
        let first = say(ada, "slow:r", key: "k")
        #expect(first.contains("publish"))
        #expect(say(ada, "slow:r", key: "k") == first, "the home lets one through")
        #expect(say(ada, "slow:r", key: "other") == refused(4995), "and not the next at once")
        house.pass(.milliseconds(250))
        #expect(say(ada, "slow:r", key: "other") == refused(4750), "a new one is refused by the engine")
        house.pass(.milliseconds(250))
        #expect(say(ada, "slow:r", key: "k") == first)
        #expect(house.engines[0].published.count == 1 && house.engines[0].publishCalls == 4)
    }

    @Test func `a flood costs the engine a call a window, and another room nothing`() throws {
        let house = house(room: try limit(50, per: .seconds(1), burst: 1))
        let clients = (0..<30).map { house.connected(user: "u\($0)") }
        var attempts = 0
        var passed = 0
        for step in 0..<2000 {
            // 500 a second: ten for each one that passes.
            house.pass(.milliseconds(2))
            attempts += 1
            if say(clients[step % clients.count], "slow:r") == accepted { passed += 1 }
        }
        #expect(passed == 200)
        #expect(house.engines[0].publishCalls <= attempts / 10 + 1, "\(house.engines[0].publishCalls) calls")
    }

    @Test func `a flood with keys in one iteration costs the engine no more than what can have become free`() throws {
        let house = house(room: try limit(50, per: .seconds(1), burst: 1))
        let clients = (0..<30).map { house.connected(user: "u\($0)") }
        #expect(say(clients[0], "slow:r", key: "first") != refused(20))
        _ = say(clients[1], "slow:r")
        let before = house.engines[0].publishCalls
        for step in 0..<40 {
            house.pass(.milliseconds(25))
            for (index, client) in clients.enumerated() { _ = say(client, "slow:r", key: "\(step) \(index)") }
        }
        // In each iteration one passes, one may be asked about, and every 250 ms one more.
        #expect(house.engines[0].publishCalls - before <= 40 * 2 + 5, "\(house.engines[0].publishCalls - before) calls")
    }

    @Test func `several commands that are on their way when the limit is reached are all answered`() throws {
        let house = house(2, room: try limit(1, per: .seconds(1)))
        let room = slowRoom(house, home: 1)
        house.engines[1].publishMode = .later
        let ada = house.connected(loop: 0, user: "ada")
        for id in 1...5 { ada.say(#"{"id":\#(id),"publish":{"channel":"\#(room)","data":\#(id)}}"#) }
        house.settle()
        #expect(house.loops[1].rates.asking == 5 && ada.heard.isEmpty)
        house.engines[1].answerWaiting()
        house.settle()
        #expect(ada.heard.count == 5 && ada.heard.count { $0.contains("retry_after\":1000") } == 4)
        #expect(house.loops[1].rates.asking == 0)
        #expect(house.loops[0].session(ada.word)?.pointee.pendingCommands == 0)
    }

    @Test(arguments: [0, 1])
    func `an engine that is away answers 120 in rooms with limits, too, and nothing is charged`(home: Int) throws {
        let house = house(2, room: try limit(1, per: .seconds(1)))
        let room = slowRoom(house, home: home)
        let ada = house.connected(loop: 0, user: "ada")
        house.engines[home].publishMode = .fail(.unavailable)
        for _ in 0..<3 { #expect(say(ada, room) == errorReply(5, .engineUnavailable)) }
        house.engines[home].publishMode = .fail(.outcomeUnknown)
        #expect(say(ada, room) == errorReply(5, .internalError))
        house.engines[home].publishMode = .now
        #expect(say(ada, room) == accepted)
    }

    @Test func `a client that has gone before its answer leaves nothing behind`() throws {
        let house = house(room: try limit(1, per: .seconds(1)))
        house.engines[0].publishMode = .later
        let ada = house.connected(user: "ada")
        ada.say(#"{"id":5,"publish":{"channel":"slow:r","data":1}}"#)
        ada.close()
        house.engines[0].answerWaiting()
        house.settle()
        #expect(house.loops[0].rates.asking == 0)
        #expect(say(house.connected(user: "bob"), "slow:r") == refused(999))
    }
}
