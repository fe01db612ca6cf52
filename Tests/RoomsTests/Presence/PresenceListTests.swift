// Lists and counts of a room's members: whole, in pages, and in the form in which a client may ask for them.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct PresenceListTests {
    /// Where a reply says that the next page begins; empty: nowhere.
    static func cursor(_ reply: String) -> String {
        guard let range = reply.firstRange(of: #""cursor":""#) else { return "" }
        return String(reply[range.upperBound...].prefix { $0 != "\"" })
    }

    private func scene(_ count: Int, loops: Int = 1, replyBytes: Int = 512 * 1024) -> (house: House, clients: [Client])
    {
        let house = presenceHouse(loops: loops) { rules, _, _ in rules.replyBytes = replyBytes }
        let clients = (0..<count).map { house.connected(loop: $0 % loops, user: $0 % 2 == 0 ? "even" : "odd") }
        for client in clients { client.join("room") }
        return (house, clients)
    }

    @Test(arguments: [1, 3])
    func `a list has everybody in the order of coming, the counts clients and users`(loops: Int) {
        let (house, clients) = scene(4, loops: loops)
        let users = ["even", "odd", "even", "odd"]
        let all = users.enumerated().map { ($0 + 1, $1) }
        for client in clients {
            #expect(client.ask(#"{"id":7,"presence":{"channel":"room"}}"#) == [listed(7, all)])
            #expect(
                client.ask(#"{"id":7,"presence_stats":{"channel":"room"}}"#)
                    == [#"{"id":7,"presence_stats":{"num_clients":4,"num_users":2}}"#])
        }
        let outsider = house.connected()
        #expect(outsider.ask(#"{"id":7,"presence":{"channel":"room"}}"#) == [listed(7, all)])
        checkNobody(house, clients + [outsider], "listed")
    }

    @Test func `an empty room has an empty list`() {
        let house = presenceHouse()
        let client = house.connected()
        #expect(client.ask(#"{"id":7,"presence":{"channel":"room"}}"#) == [#"{"id":7,"presence":{}}"#])
        #expect(client.ask(#"{"id":7,"presence_stats":{"channel":"room"}}"#) == [#"{"id":7,"presence_stats":{}}"#])
        house.checkEmpty("asked only")
    }

    @Test(arguments: [1, 3, 7, 1000])
    func `pages hold what was asked for, and together everybody once`(limit: Int) {
        let (_, clients) = scene(25)
        var found: [String] = []
        var cursor = ""
        var pages = 0
        repeat {
            let at = cursor.isEmpty ? "" : #","cursor":"\#(cursor)""#
            let reply = clients[0].ask(#"{"id":7,"presence":{"channel":"room","limit":\#(limit)\#(at)}}"#).first ?? ""
            let page = named(in: reply)
            #expect(page.count <= limit && !page.isEmpty)
            found += page
            cursor = PresenceListTests.cursor(reply)
            pages += 1
        } while !cursor.isEmpty && pages < 100
        #expect(found == (1...25).map(clientText))
        #expect(pages == (25 + limit - 1) / limit)
    }

    @Test(arguments: [
        #""cursor":"5""#, #""limit":5,"cursor":"x""#, #""limit":5,"cursor":"-1""#,
        #""limit":5,"cursor":"18446744073709551616""#, #""limit":5,"cursor":"1 ""#,
    ])
    func `a cursor that is none, or without a limit, is refused with 107`(fields: String) {
        let (_, clients) = scene(3)
        #expect(
            clients[0].ask(#"{"id":7,"presence":{"channel":"room",\#(fields)}}"#) == [errorReply(7, .badRequest)])
    }

    @Test(arguments: ["18446744073709551615", "4", "9999"])
    func `a cursor behind the end is an empty page`(cursor: String) {
        let (_, clients) = scene(3)
        let reply = clients[0].ask(#"{"id":7,"presence":{"channel":"room","limit":5,"cursor":"\#(cursor)"}}"#)
        #expect(reply == [#"{"id":7,"presence":{}}"#])
    }

    @Test func `a list too large for one reply is refused with 106, a page of it is cut`() {
        let (_, clients) = scene(20, replyBytes: 500)
        #expect(
            clients[0].ask(#"{"id":7,"presence":{"channel":"room"}}"#) == [
                #"{"id":7,"error":{"code":106,"message":"too many members for one reply; ask with limit and cursor"}}"#
            ])
        let page = clients[0].ask(#"{"id":7,"presence":{"channel":"room","limit":20}}"#).first ?? ""
        #expect(named(in: page).count < 10 && !PresenceListTests.cursor(page).isEmpty)
        #expect(clients[0].rooms.session(clients[0].word)?.pointee.pendingCommands == 0)
    }

    @Test(arguments: [EngineFailure.unavailable, .outcomeUnknown])
    func `an engine that cannot be asked answers for the command`(failure: EngineFailure) {
        let (house, clients) = scene(1, loops: 2)
        for engine in house.engines { engine.readMode = .fail(failure) }
        for name in ["presence", "presence_stats"] {
            #expect(
                clients[0].ask(#"{"id":7,"\#(name)":{"channel":"room"}}"#) == [errorReply(7, ErrorCode(failure))])
        }
        #expect(clients[0].rooms.session(clients[0].word)?.pointee.pendingCommands == 0)
    }

    @Test func `questions that wait are counted, and nobody is told who has gone`() {
        let house = presenceHouse { rules, _, _ in rules.maxPendingCommands = 2 }
        house.engines[0].readMode = .later
        let client = house.connected()
        for id in 2...4 { client.say(#"{"id":\#(id),"presence":{"channel":"room"}}"#) }
        #expect(client.heard == [errorReply(4, .tooManyRequests)])
        house.engines[0].answerWaiting()
        #expect(client.heard.count == 2, "who asks while an answer is on its way gets the next one")
        house.engines[0].answerWaiting()
        #expect(client.heard.count == 3)
        client.say(#"{"id":5,"presence_stats":{"channel":"room"}}"#)
        client.close()
        house.engines[0].answerWaiting()
        #expect(client.heard.count == 3)
        house.checkEmpty("asked and gone")
    }

    @Test(arguments: ["presence", "presence_stats"])
    func `the room's name is looked at first`(command: String) {
        let house = presenceHouse { rules, _, _ in
            rules.isInsecure = false; rules.allowsAnonymous = true
        }
        let client = house.connected()
        #expect(client.ask(#"{"id":7,"\#(command)":{"channel":"x:a"}}"#) == [errorReply(7, .unknownRoom)])
        #expect(client.ask(#"{"id":7,"\#(command)":{"channel":"ä"}}"#) == [errorReply(7, .badRequest)])
        #expect(client.ask(#"{"id":7,"\#(command)":{"channel":""}}"#) == ["close 3501"])
    }
}
