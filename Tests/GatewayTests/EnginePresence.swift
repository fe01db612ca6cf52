// What every engine must do with members, whatever is behind it: the second half of the conformance suite.

import Bytes
import Gateway
import Rooms
import Testing
import Wire

@Suite(.serialized)
struct EnginePresence {
    /// Lets clients in and waits until each is answered.
    private func enter(_ rig: EngineRig, _ room: String, _ numbers: [Int], user: String, _ options: PresenceOptions)
        throws
    {
        let before = rig.entries.count
        for number in numbers { rig.askEntry(room, number, user: user, options) }
        try rig.run("all are answered") { rig.entries.count == before + numbers.count }
    }

    /// Reads the members, by pages of `limit` if one is given.
    private func members(_ rig: EngineRig, _ room: String, limit: Int? = nil) throws -> [Int] {
        var found: Set<Int> = []
        var cursor: UInt64 = 0
        repeat {
            let before = rig.recorder.pages.count
            rig.askMembers(room, MemberQuery(cursor: cursor, limit: limit, maxBytes: 1 << 20))
            try rig.run("a page is read") { rig.recorder.pages.count > before }
            let page = try #require(rig.recorder.pages.last)
            found.formUnion(page.clients)
            cursor = page.cursor
        } while cursor != 0
        return found.sorted()
    }

    private func counts(_ rig: EngineRig, _ room: String) throws -> [Int] {
        let before = rig.recorder.pages.count
        rig.askMembers(room, .count)
        try rig.run("they are counted") { rig.recorder.pages.count > before }
        let page = try #require(rig.recorder.pages.last)
        #expect(page.entries.count == 0 && page.cursor == 0, "a count lists nobody")
        return [page.members, page.users]
    }

    /// Waits until everything that was asked for has been done: what comes behind it has been answered.
    private func settle(_ rig: EngineRig, _ room: String) throws {
        _ = try counts(rig, room)
        let marker = rig.recorder.receivedAt.count
        rig.publish(room, "\"data\":0")
        try rig.run("the channel is empty") { rig.recorder.receivedAt.count > marker }
    }

    @Test("Who enters is told and listed, who leaves is told and gone", arguments: EngineKind.allCases)
    func enterAndLeave(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            let options = PresenceOptions.told()
            try rig.join("r")
            try enter(rig, "r", [1, 2], user: "ada", options)
            try enter(rig, "r", [3], user: "", options)
            #expect(rig.entries.allSatisfy { $0.1 == nil })
            #expect(try members(rig, "r") == [1, 2, 3])
            #expect(try counts(rig, "r") == [3, 2])
            #expect(rig.engine.memberCount == 3)
            rig.leave("r", 1, options)
            rig.leave("r", 1, options)
            rig.leave("r", 99, options)
            rig.leave("never", 1, options)
            try settle(rig, "r")
            #expect(rig.told("r") == ["+ada 1", "+ada 2", "+ 3", "-ada 1"])
            #expect(try members(rig, "r") == [2, 3])
            for number in [2, 3] { rig.leave("r", number, options) }
            try settle(rig, "r")
            #expect(try counts(rig, "r") == [0, 0])
            #expect(rig.engine.memberCount == 0)
        }
    }

    @Test(
        "In user scope a user joins with the first connection and leaves with the last", arguments: EngineKind.allCases)
    func userScope(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            let options = PresenceOptions.told(.user)
            try rig.join("r")
            try enter(rig, "r", [1, 2, 3], user: "ada", options)
            try enter(rig, "r", [4, 5], user: "", options)
            for number in [2, 1, 4, 3] { rig.leave("r", number, options) }
            try settle(rig, "r")
            #expect(rig.told("r") == ["+ada 1", "+ 4", "+ 5", "- 4", "-ada 3"], "anonymous ones each for itself")
            #expect(try members(rig, "r") == [5])
        }
    }

    @Test("The same user's next connection takes the place of a broken one", arguments: EngineKind.allCases)
    func replacement(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            for (scope, told) in [
                (PresenceOptions.Scope.client, ["+ada 1", "-ada 1", "+ada 2"]), (.user, ["+ada 1"]),
            ] {
                let options = PresenceOptions.told(scope, members: 1)
                let room = "\(scope)"
                try rig.join(room)
                try enter(rig, room, [1], user: "ada", options)
                rig.linger(room, 1, options)
                try enter(rig, room, [2], user: "ada", options)
                #expect(rig.entries.allSatisfy { $0.1 == nil }, "the place of the broken one is free for it")
                // The grace of the first one ends.
                rig.leave(room, 1, options, onlyIfLingering: true)
                try settle(rig, room)
                #expect(rig.told(room) == told)
                #expect(try members(rig, room) == [2])
                #expect(try counts(rig, room) == [1, 1])
                rig.leave(room, 2, options)
            }
        }
    }

    @Test(
        "Whose connection broke and who does not come back leaves when the grace ends", arguments: EngineKind.allCases)
    func expiry(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            let options = PresenceOptions.told()
            try rig.join("r")
            try enter(rig, "r", [1, 2], user: "ada", options)
            try enter(rig, "r", [3], user: "", options)
            for number in [1, 3] { rig.linger("r", number, options) }
            // Another user's connection, and an anonymous one, take nobody's place.
            try enter(rig, "r", [4], user: "bob", options)
            try enter(rig, "r", [5], user: "", options)
            // The same connection comes back: it stays, and is not told.
            try enter(rig, "r", [1], user: "ada", options)
            for number in [1, 2, 3] { rig.leave("r", number, options, onlyIfLingering: true) }
            try settle(rig, "r")
            #expect(rig.told("r") == ["+ada 1", "+ada 2", "+ 3", "+bob 4", "+ 5", "- 3"])
            #expect(try members(rig, "r") == [1, 2, 4, 5])
        }
    }

    @Test("A full room lets nobody in, exactly", arguments: EngineKind.allCases)
    func full(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            let options = PresenceOptions.told(members: 3)
            try rig.join("r")
            try enter(rig, "r", Array(1...5), user: "ada", options)
            #expect(rig.entries.map(\.1) == [nil, nil, nil, .full, .full])
            rig.leave("r", 4, options)
            try enter(rig, "r", [2], user: "ada", options)
            #expect(rig.entries.last?.1 == nil, "who is there stays")
            rig.leave("r", 2, options)
            try enter(rig, "r", [5, 6], user: "ada", options)
            #expect(rig.entries.suffix(2).map(\.1) == [nil, .full])
            #expect(try members(rig, "r") == [1, 3, 5])
            #expect(rig.engine.memberCount == 3, "who was refused is forgotten")
        }
    }

    @Test("A large room tells no single joins and leaves, but counts", arguments: EngineKind.allCases)
    func large(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            let options = PresenceOptions.told(upTo: 2)
            var silent = options
            silent.tellsJoins = false
            try rig.join("r")
            try enter(rig, "r", [1, 2, 3, 4], user: "", options)
            rig.leave("r", 1, options)
            rig.leave("r", 2, options)
            rig.leave("r", 3, options)
            try enter(rig, "silent", [5], user: "", silent)
            try settle(rig, "r")
            #expect(rig.told("r") == ["+ 1", "+ 2", "- 3"])
            #expect(try counts(rig, "r") == [1, 1])
            #expect(rig.told("silent").isEmpty)
        }
    }

    @Test("Whoever is there all the while is on a page, however the list is read", arguments: EngineKind.allCases)
    func pages(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            let options = PresenceOptions.told(upTo: 0)
            try enter(rig, "r", Array(1...700), user: "ada", options)
            for limit in [1, 50, 699, 5000] { #expect(try members(rig, "r", limit: limit) == Array(1...700)) }
            #expect(try members(rig, "r") == Array(1...700))
            #expect(try members(rig, "nobody's") == [])
            // More than fits: it says where it goes on.
            rig.askMembers("r", MemberQuery(maxBytes: 1000))
            let before = rig.recorder.pages.count
            try rig.run("a page is read") { rig.recorder.pages.count > before || rig.recorder.pages.last?.cursor != 0 }
            let page = try #require(rig.recorder.pages.last)
            #expect(page.cursor != 0 && page.members == 700 && page.entries.count < 64_000)
        }
    }

    @Test("Names, users and infos are bytes to the engine", arguments: EngineKind.allCases)
    func bytes(_ kind: EngineKind) throws {
        try kind.withEngine { rig in
            let options = PresenceOptions.told(.user)
            for (number, user) in ["a b", "%", "{}", "-1", "0", "✓ ü", "c:d"].enumerated() {
                let room = "odd:{\(user)}%"
                try rig.join(room)
                try enter(rig, room, [number * 2 + 1, number * 2 + 2], user: user, options)
                rig.leave(room, number * 2 + 1, options)
                rig.leave(room, number * 2 + 2, options)
                try settle(rig, room)
                #expect(try counts(rig, room) == [0, 0])
                let events = rig.recorder.events.filter { if case .member(room, _) = $0 { true } else { false } }
                #expect(events.count == 2, "\(user)")
            }
        }
    }

    @Test(
        "APP-02: any turns of entering, breaking and leaving are told and listed as the rules say",
        arguments: EngineKind.allCases, [PresenceOptions.Scope.client, .user])
    func turns(_ kind: EngineKind, _ scope: PresenceOptions.Scope) throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("engine presence turns: seed \(seed)")
        var random = SeededRandom(seed: seed)
        try kind.withEngine { rig in
            let options = PresenceOptions.told(scope, upTo: 11, members: 12)
            try rig.join("r")
            var model = PresenceSet()
            var expected: [String] = []
            let users = ["", "ada", "bob", "eve"]
            var asked = 0
            func note(_ event: MemberEvent) {
                let number = Int(String(decoding: event.client, as: UTF8.self).suffix(12), radix: 16) ?? -1
                expected.append((event.isJoin ? "+" : "-") + "\(String(decoding: event.user, as: UTF8.self)) \(number)")
            }
            for _ in 0..<10_000 {
                let number = Int.random(in: 1...20, using: &random)
                let user = users[number % users.count]
                switch UInt8.random(in: 0..<4, using: &random) {
                case 0, 1:
                    asked += 1
                    rig.askEntry("r", number, user: user, options)
                    let info = Payload(copying: .init(start: nil, count: 0))
                    Array(user.utf8).withUnsafeBytes {
                        let member = Member(client: client(number), user: $0, info: info.bytes)
                        _ = model.enter(member, options, tell: note)
                    }
                case 2:
                    rig.linger("r", number, options)
                    model.linger(client(number))
                default:
                    let onlyIfLingering = Bool.random(using: &random)
                    rig.leave("r", number, options, onlyIfLingering: onlyIfLingering)
                    if !onlyIfLingering || model.lingers(client(number)) {
                        model.leave(client(number), options, tell: note)
                    }
                }
                // An engine may not know yet who was refused, and what it was told behind that is about somebody else.
                try rig.run("it is answered") { rig.entries.count == asked }
            }
            try settle(rig, "r")
            #expect(rig.told("r") == expected)
            #expect(try members(rig, "r") == model.page(MemberQuery(maxBytes: .max)).clients)
            #expect(try counts(rig, "r") == [model.count, model.userCount])
        }
    }
}
