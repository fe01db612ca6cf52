// What members are told of joins and leaves: they gather, cancel each other out where nobody can have noticed, go out
// as one frame, and cost a bounded number of frames however busy the room is. And what a list shows and a push then
// says agree.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct PresenceTellingTests {
    /// A house with a watcher that has heard all there was.
    private func watched(
        loops: Int = 1, _ adjust: (inout RoomRules, inout RoomOptions, inout PresenceOptions) -> Void = { _, _, _ in }
    ) -> (house: House, room: String, watcher: Client) {
        let house = presenceHouse(loops: loops, adjust)
        let room = house.room(home: loops - 1)
        let watcher = house.connected(user: "watcher")
        watcher.enter(room)
        house.wait()
        watcher.forget()
        return (house, room, watcher)
    }

    // MARK: Gathering

    @Test func `joins and leaves of a tenth of a second are one frame, a line each, in order`() {
        let (house, room, watcher) = watched()
        let clients = (0..<4).map { house.connected(user: "u\($0)") }
        for client in clients.prefix(3) { client.join(room) }
        house.pass(.milliseconds(99))
        house.settle()
        #expect(watcher.heard == [])
        house.pass(.milliseconds(1))
        house.settle()
        #expect(watcher.heard == [(0..<3).map { joined(room, $0 + 2, "u\($0)") }.joined(separator: "\n")])
        watcher.forget()
        clients[1].close()
        clients[3].join(room)
        house.wait()
        #expect(watcher.heard == [left(room, 3, "u1") + "\n" + joined(room, 5, "u3")])
    }

    @Test func `a frame holds no more than a batch`() {
        let (house, room, watcher) = watched { rules, _, _ in rules.batchBytes = 500 }
        let clients = (0..<20).map { house.connected(user: "u\($0)") }
        for client in clients { client.join(room) }
        house.wait()
        #expect(watcher.changes == (0..<20).map { joined(room, $0 + 2, "u\($0)") })
        #expect(watcher.heard.count > 3)
        for frame in watcher.heard { #expect(frame.utf8.count < 700) }
    }

    @Test(arguments: [PresenceOptions.Scope.client, .user])
    func `a leave and a join that meet cancel each other out`(scope: PresenceOptions.Scope) {
        let (house, room, watcher) = watched { $2.scope = scope }
        let ann = house.connected(user: "ann")
        ann.join(room)
        house.wait()
        watcher.forget()
        ann.sayLeave(room)
        house.pass(.milliseconds(60))
        if scope == .client {
            ann.join(room)
        } else {
            // A page that was loaded again: another connection of the same user.
            house.connected(user: "ann").join(room)
        }
        house.wait(.seconds(1))
        #expect(watcher.heard == [])
        #expect(house.outlets[0].memberEvents == ["join", "join", "leave", "join"], "they are counted before")
        let bob = house.connected(user: "bob")
        bob.join(room)
        bob.sayLeave(room)
        house.wait(.seconds(1))
        #expect(watcher.heard == [])
    }

    @Test(arguments: [0, 500, 999], [false, true])
    func `what a list has shown is not cancelled silently`(before: Int64, isLeave: Bool) {
        let (house, room, watcher) = watched()
        let ann = house.connected(user: "ann")
        if isLeave { ann.join(room) }
        house.wait()
        watcher.forget()
        // The engine's word comes up to a second behind the list that it answered.
        house.engines[0].holdsEvents = true
        if isLeave { ann.sayLeave(room) } else { ann.join(room) }
        #expect(watcher.list(room).count == (isLeave ? 1 : 2))
        watcher.forget()
        house.pass(.milliseconds(before))
        house.engines[0].deliverEvents()
        if isLeave { ann.join(room) } else { ann.sayLeave(room) }
        house.engines[0].deliverEvents()
        house.wait()
        let both = [joined(room, 2, "ann"), left(room, 2, "ann")]
        #expect(watcher.changes == (isLeave ? both.reversed() : both), "never a second join of one who is there")
    }

    @Test func `a count shows nobody, so it spoils no silence`() {
        let (house, room, watcher) = watched()
        let ann = house.connected(user: "ann")
        ann.join(room)
        _ = watcher.ask(#"{"id":7,"presence_stats":{"channel":"\#(room)"}}"#)
        watcher.forget()
        ann.sayLeave(room)
        house.wait()
        #expect(watcher.heard == [])
    }

    @Test func `a join that waits for its own member is told when that one gives up and its user is still there`() {
        let (house, room, watcher) = watched { $2.scope = .user }
        let engine = house.engines[0]
        engine.enterMode = .later
        let first = house.connected(user: "ann")
        first.sayEnter(room)
        let second = house.connected(user: "ann")
        second.sayEnter(room)
        house.wait(.milliseconds(300))
        first.close()
        house.wait()
        #expect(watcher.changes == [joined(room, 2, "ann")])
        engine.answerWaiting()
        checkNobody(house, [watcher, second], "gave up")
    }

    // MARK: Several loops

    @Test func `every loop hears of everybody, and what its full mailbox refuses is lost without harm`() {
        let (house, room, watcher) = watched(loops: 3)
        let other = house.connected(loop: 2, user: "near")
        other.enter(room)
        house.wait()
        for client in [watcher, other] { client.forget() }
        let ann = house.connected(loop: 1, user: "ann")
        ann.join(room)
        house.wait()
        for client in [watcher, other] { #expect(client.heard == [joined(room, 3, "ann")]) }
        house.settle()
        house.mailLimit = 0
        ann.close()
        house.settleMail()
        house.pass(HomePresence.gathering)
        house.settle()
        house.mailLimit = .max
        #expect(other.heard.last == left(room, 3, "ann"))
        #expect(watcher.heard == [joined(room, 3, "ann")], "a push is lost, the subscription is not")
        #expect(watcher.list(room).sorted() == [clientText(1), clientText(2)], "a list mends it")
        other.sayLeave(room)
        watcher.forget()
        house.wait()
        #expect(watcher.heard == [left(room, 2, "near")])
        checkNobody(house, [watcher, other], "three loops")
    }

    @Test func `a user of many connections on many loops joins with the first and leaves with the last`() {
        let (house, room, watcher) = watched(loops: 3) { $2.scope = .user }
        let clients = (0..<6).map { house.connected(loop: $0 % 3, user: "ann") }
        for client in clients {
            client.join(room)
            house.wait()
        }
        for client in clients.dropLast() {
            client.close()
            house.wait()
        }
        #expect(watcher.heard == [joined(room, 2, "ann")])
        clients[5].close()
        house.wait()
        #expect(watcher.heard.last == left(room, 7, "ann") && watcher.heard.count == 2)
    }

    // MARK: Hostile

    @Test(arguments: [PresenceOptions.Scope.client, .user])
    func `APP-02: ten thousand quick turns end in the right state, and events alternate`(
        scope: PresenceOptions.Scope
    ) {
        let seed = UInt64.random(in: 0 ... .max)
        print("APP-02: seed \(seed)")
        var random = SeededRandom(seed: seed)
        let (house, room, watcher) = watched(loops: 2) { $2.scope = scope }
        let connections = (0..<3).map { house.connected(loop: $0 % 2, user: "ann") }
        var isThere = [false, false, false]
        var told: [String] = []
        for turn in 0..<10_000 {
            let index = Int.random(in: 0..<3, using: &random)
            if isThere[index] { connections[index].sayLeave(room) } else { connections[index].sayEnter(room) }
            isThere[index].toggle()
            house.settleMail()
            if turn % 7 == 0 { house.pass(.milliseconds(Int64.random(in: 0...40, using: &random))) }
            if turn % 500 == 0 {
                house.wait()
                told += watcher.changes
                watcher.forget()
            }
        }
        house.wait()
        told += watcher.changes
        // By what joins and leaves: the user, or each connection.
        var isIn: [String: Bool] = [:]
        for change in told {
            let key = scope == .user ? "ann" : named(in: change)[0]
            let isJoin = change.contains(#""join""#)
            #expect(isIn[key, default: false] != isJoin, "seed \(seed): joins and leaves alternate")
            isIn[key] = isJoin
        }
        #expect(told.count > 10 && told.count < 8000, "most of them met their opposite")
        if scope == .user {
            #expect(isIn["ann", default: false] == isThere.contains(true))
        } else {
            for index in 0..<3 { #expect(isIn[clientText(index + 2), default: false] == isThere[index]) }
        }
        #expect(house.memberCount == 1 + isThere.count(where: \.self))
        checkNobody(house, connections + [watcher], "seed \(seed)")
    }

    @Test func `APP-03: fifty thousand members are listed in pages, and their joins are few frames`() {
        let (house, room, watcher) = watched {
            $2.mostTold = 100_000
            $2.forcesPushes = false
        }
        for number in 0..<50_000 {
            house.connected(user: "user-\(number)").say(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#)
            // 50,000 in ten seconds.
            if number % 500 == 499 { house.pass(HomePresence.gathering) }
        }
        house.wait()
        let frames = watcher.heard
        #expect(Set(watcher.changes).count == 50_000)
        #expect(frames.count <= 101 && (frames.map(\.utf8.count).max() ?? 0) < 128 * 1024)
        let whole = watcher.ask(#"{"id":7,"presence":{"channel":"\#(room)"}}"#)
        #expect(
            whole == [
                #"{"id":7,"error":{"code":106,"message":"too many members for one reply; ask with limit and cursor"}}"#
            ])
        var found: [String] = []
        var cursor = ""
        repeat {
            let ask = #"{"id":7,"presence":{"channel":"\#(room)","limit":1000,"cursor":"\#(cursor)"}}"#
            let reply = watcher.ask(ask).first ?? ""
            #expect(reply.utf8.count < 512 * 1024 && reply.hasPrefix(#"{"id":7,"presence":"#))
            found += named(in: reply)
            cursor = PresenceListTests.cursor(reply)
        } while !cursor.isEmpty && found.count < 100_000
        #expect(found.count == 50_001 && Set(found).count == 50_001)
        let counts = watcher.ask(#"{"id":7,"presence_stats":{"channel":"\#(room)"}}"#)
        #expect(counts == [#"{"id":7,"presence_stats":{"num_clients":50001,"num_users":50001}}"#])
    }

    @Test func `F34: a thousand joins and leaves a second are ten frames a second`() {
        let (house, room, watcher) = watched { $2.mostTold = 10_000 }
        var inside: [Client] = []
        for number in 0..<2000 {
            if number % 2 == 0 || inside.count < 200 {
                let client = house.connected(user: "u\(number)")
                client.join(room)
                inside.append(client)
            } else {
                inside.removeFirst().close()
            }
            house.pass(.milliseconds(1))
        }
        #expect(watcher.heard.count <= 20 && watcher.heard.count >= 18, "two seconds")
        #expect(watcher.changes.count > 1700)
        house.wait()
        var there: Set<String> = []
        for change in watcher.changes {
            if change.contains(#""join""#) {
                there.formUnion(named(in: change))
            } else {
                there.subtract(named(in: change))
            }
        }
        #expect(there == Set(watcher.list(room)).subtracting([clientText(1)]))
    }

    @Test func `above joinLeaveMaxMembers nobody is told, below it again`() {
        let (house, room, watcher) = watched { $2.mostTold = 3 }
        let clients = (0..<4).map { house.connected(user: "u\($0)") }
        for client in clients {
            client.join(room)
            house.wait()
        }
        #expect(watcher.heard == [joined(room, 2, "u0"), joined(room, 3, "u1")])
        for client in clients {
            client.close()
            house.wait()
        }
        #expect(watcher.heard.suffix(2) == [left(room, 4, "u2"), left(room, 5, "u3")])
        #expect(watcher.heard.count == 4)
    }
}
