// Who is in a room: joins and leaves, lists in pages, counts, and servers that lie about all of them.

import Bytes
import Testing

@testable import Client

@Suite("Client presence")
struct ClientPresenceTests {
    private func bench(_ change: (inout ClientOptions) -> Void = { _ in }) throws -> Bench {
        var bench = try Bench(1, change)
        bench.connect()
        _ = (bench.takeCommands(), bench.takeEvents())
        return bench
    }

    private func entry(_ number: Int) -> String { #""c\#(number)":{"user":"u\#(number)","client":"c\#(number)"}"# }

    /// The reply to `id` with members `range`.
    private func page(_ id: Int, _ range: Range<Int>, cursor: String = "") -> String {
        let next = cursor.isEmpty ? "" : #","cursor":"\#(cursor)""#
        return #"{"id":\#(id),"presence":{"presence":{\#(range.map(entry).joined(separator: ","))}\#(next)}}"#
    }

    private func list(_ bench: borrowing Bench) -> RoomMembers? {
        guard case .success(.presence(let list))? = bench.answers.last else { return nil }
        return list
    }

    @Test("Joins and leaves are asked for when wanted, on every connection, and told with the member")
    func joinLeave() throws {
        var bench = try bench()
        _ = bench.act { $0.subscribe("quiet", now: $1) }
        _ = bench.act { $0.subscribe("r", joinLeave: true, now: $1) }
        let wish = #""subscribe":{"channel":"r","recoverable":true,"join_leave":true}}"#
        #expect(
            bench.takeCommands() == [
                #"{"id":2,"subscribe":{"channel":"quiet","recoverable":true}}"#, #"{"id":3,"# + wish,
            ])
        bench.say(#"{"id":3,"subscribe":{}}"#)
        _ = bench.takeEvents()
        let info = #"{"info":{"user":"ada","client":"me","conn_info":{"a":1}}}"#
        bench.say(
            #"{"push":{"channel":"r","join":\#(info)}}"# + "\n" + #"{"push":{"channel":"r","leave":\#(info)}}"#)
        let ada = PeerInfo(user: "ada", client: "me", connectionInfo: data(#"{"a":1}"#))
        #expect(bench.takeEvents() == [.joined(room: "r", ada), .left(room: "r", ada)])
        bench.say(#"{"push":{"channel":"elsewhere","join":\#(info)}}"#)
        bench.say(#"{"push":{"channel":"quiet","join":\#(info)}}"#)
        #expect(bench.takeEvents().isEmpty, "of rooms that we are not in nothing is told")
        bench.again()
        #expect(bench.takeCommands().contains { $0.hasSuffix(wish) })
    }

    @Test("A list comes in pages of the size that is asked for, and is told whole")
    func pages() throws {
        var bench = try bench { $0.presencePage = 3 }
        let request = bench.act { $0.presence("r", now: $1) }
        _ = bench.act { $0.ping(now: $1) }
        #expect(bench.takeCommands().first == #"{"id":2,"presence":{"channel":"r","limit":3}}"#)
        bench.say(page(2, 0..<3, cursor: "a\\u00e9"))
        #expect(bench.takeCommands() == [#"{"id":4,"presence":{"channel":"r","limit":3,"cursor":"aé"}}"#])
        // A scan may show somebody twice, and may give an empty page.
        bench.say(page(4, 2..<5, cursor: "b"))
        bench.say(page(5, 0..<0, cursor: "c"))
        #expect(bench.takeEvents().isEmpty)
        bench.say(page(6, 5..<6))
        let members = (0..<6).map { PeerInfo(user: "u\($0)", client: "c\($0)") }
        #expect(bench.takeEvents() == [.answered(request, .success(.presence(RoomMembers(members: members))))])
        _ = bench.act { $0.presence("r", now: $1) }
        bench.say(#"{"id":7,"presence":{}}"#)
        _ = bench.act { $0.presence("r", now: $1) }
        bench.say(#"{"id":8}"# + "\n")
        #expect(bench.answers.allSatisfy { $0 == .success(.presence(RoomMembers())) })
    }

    @Test("A list is cut at the wish and at the bound, says so, and asks no further")
    func cut() throws {
        var bench = try bench { $0.presenceMembers = 4 }
        _ = bench.act { $0.presence("r", limit: 2, now: $1) }
        #expect(bench.takeCommands() == [#"{"id":2,"presence":{"channel":"r","limit":2}}"#])
        bench.say(page(2, 0..<2, cursor: "more"))
        #expect(list(bench)?.members.count == 2 && list(bench)?.isCut == true)
        _ = bench.act { $0.presence("r", now: $1) }
        bench.say(page(3, 0..<5))
        #expect(list(bench)?.members.count == 4 && list(bench)?.isCut == true)
        _ = bench.act { $0.presence("r", now: $1) }
        bench.say(page(4, 0..<4))
        #expect(list(bench)?.members.count == 4 && list(bench)?.isCut == false)
        #expect(bench.takeCommands().count == 2)
    }

    @Test("Counts are answered; refusals are told with their code, also of a later page")
    func countsAndRefusals() throws {
        var bench = try bench()
        let stats = bench.act { $0.presenceStats("r", now: $1) }
        #expect(bench.takeCommands() == [#"{"id":2,"presence_stats":{"channel":"r"}}"#])
        bench.say(#"{"id":2,"presence_stats":{"num_clients":7,"num_users":5}}"#)
        #expect(bench.takeEvents() == [.answered(stats, .success(.presenceStats(clients: 7, users: 5)))])
        var id = 3
        for (code, message) in [(108, "not available"), (103, "permission denied"), (106, "limit exceeded")] {
            _ = bench.act { $0.presence("r", now: $1) }
            bench.say(#"{"id":\#(id),"error":{"code":\#(code),"message":"\#(message)"}}"#)
            let error = ServerError(code: UInt32(code), message: message)
            #expect(bench.answers.last == .failure(.refused(error)))
            id += 1
        }
        _ = bench.act { $0.presence("r", now: $1) }
        bench.say(page(id, 0..<2, cursor: "x"))
        bench.say(#"{"id":\#(id + 1),"error":{"code":112,"message":"unrecoverable position"}}"#)
        #expect(bench.answers.last == .failure(.refused(ServerError(code: 112, message: "unrecoverable position"))))
        #expect(bench.session.presences.isEmpty)
    }

    @Test("A list whose connection ends, or whose next page does not come, fails and leaves nothing behind")
    func interruption() throws {
        var bench = try bench()
        _ = bench.act { $0.presence("r", now: $1) }
        bench.say(page(2, 0..<2, cursor: "x"))
        bench.act { $0.linkLost("gone", now: $1) }
        #expect(bench.answers == [.failure(.connectionLost)] && bench.session.presences.isEmpty)
        bench.passToDeadline()
        bench.establish()
        _ = bench.takeEvents()
        _ = bench.act { $0.presence("r", now: $1) }
        bench.say(page(2, 0..<2, cursor: "x"))
        bench.pass(.seconds(10))
        #expect(bench.answers == [.failure(.timeout)] && bench.session.presences.isEmpty)
        bench.say(page(3, 2..<4))
        #expect(bench.answers.count == 1, "a page that comes too late belongs to nobody")
        let after = bench.act { $0.presenceStats("r", now: $1) }
        bench.act { $0.close(now: $1) }
        #expect(bench.events.contains(.answered(after, .failure(.connectionLost))))
    }

    @Test("A server that never ends a list, repeats its cursor or sends a huge one is asked no further")
    func endless() throws {
        var bench = try bench()
        _ = bench.act { $0.presence("r", now: $1) }
        var id = 2
        while bench.answers.isEmpty, id < 10_000 {
            bench.say(page(id, 0..<0, cursor: "c\(id)"))
            id += 1
        }
        #expect(list(bench)?.isCut == true && id - 2 == PresenceList.pagesLimit)
        for cursor in ["same", String(repeating: "x", count: 1025)] {
            bench.events = []
            _ = bench.act { $0.presence("r", now: $1) }
            bench.say(page(id, 0..<1, cursor: cursor))
            if cursor == "same" {
                id += 1
                bench.say(page(id, 1..<2, cursor: cursor))
            }
            id += 1
            #expect(list(bench)?.isCut == true, "\(cursor.prefix(10))")
        }
    }

    @Test("A million members in one reply: the client keeps its bounds and the connection")
    func million() throws {
        var bench = try bench { $0.messageBytes = 64 << 20 }
        _ = bench.act { $0.presence("r", now: $1) }
        var text = #"{"id":2,"presence":{"presence":{"#
        text.reserveCapacity(12 << 20)
        for number in 0..<1_000_000 { text += number == 0 ? #""0":{}"# : #","\#(number)":{}"# }
        bench.say(text + #"},"cursor":"on"}}"#)
        #expect(list(bench)?.members.count == 10_000 && list(bench)?.isCut == true && bench.lastEnd == nil)
    }

    @Test("Members with huge infos are held within the bytes that are allowed for all lists together")
    func bytes() throws {
        var bench = try bench { $0.presenceBytes = 20_000 }
        let info = "\"" + String(repeating: "x", count: 900) + "\""
        func fat(_ id: Int, _ base: Int) -> String {
            let entries = (base..<base + 10).map { #""\#($0)":{"conn_info":\#(info)}"# }.joined(separator: ",")
            return #"{"id":\#(id),"presence":{"presence":{\#(entries)},"cursor":"c\#(id)"}}"#
        }
        for _ in 0..<2 { _ = bench.act { $0.presence("r", now: $1) } }
        bench.say(fat(2, 0))
        bench.say(fat(3, 0))
        let id = 4
        for step in 0..<8 where bench.answers.count < 2 { bench.say(fat(id + step, 10 + step * 10)) }
        let sizes = bench.answers.compactMap { answer -> Int? in
            guard case .success(.presence(let list)) = answer, list.isCut else { return nil }
            return list.members.count
        }
        #expect(sizes.count == 2 && bench.lastEnd == nil)
        #expect(sizes.reduce(0, +) < 40)
        #expect(bench.session.presences.isEmpty)
    }

    @Test(
        "Broken infos end the connection in an orderly way, odd ones are taken as they are",
        arguments: [
            (#"{"c":5}"#, false), (#"{"c":{"user":7}}"#, false), (#"{"c":{"conn_info":}}"#, false), (#"[1]"#, false),
            (#"{"c"}"#, false), (#"{"c":{},}"#, false), (#"{"c":{"unknown":[1,{}]}}"#, true), (#"{"":{}}"#, true),
            (#"{"c":{"user":"","client":"other"}}"#, true), (#"{"\u001b[2J":{"user":"\u001b]0;x\u0007"}}"#, true),
            (#"null"#, true),
        ] as [(String, Bool)])
    func infos(_ presence: String, _ isFine: Bool) throws {
        var bench = try bench()
        _ = bench.act { $0.presence("r", now: $1) }
        bench.say(#"{"id":2,"presence":{"presence":\#(presence)}}"#)
        if isFine {
            #expect(bench.lastEnd == nil && list(bench) != nil)
        } else {
            #expect(bench.lastEnd?.cause == .protocolViolation && bench.answers == [.failure(.connectionLost)])
        }
    }

    @Test("A reply to another question, or to none, does no harm")
    func mixedUp() throws {
        var bench = try bench()
        _ = bench.act { $0.ping(now: $1) }
        bench.say(page(2, 0..<2, cursor: "x"))
        bench.say(page(99, 0..<2, cursor: "x"))
        _ = bench.act { $0.presence("r", now: $1) }
        bench.say(#"{"id":3,"presence_stats":{"num_clients":4294967295}}"#)
        #expect(bench.lastEnd == nil && bench.takeCommands().count == 2)
    }
}
