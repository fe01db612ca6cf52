// The session's life: connecting, heartbeats, losing the connection and coming back.

import Bytes
import Testing
import WebSocket

@testable import Client

@Suite("Client session")
struct ClientSessionTests {
    @Test("Connecting opens a link, shakes hands, sends connect and tells when it is in", arguments: [false, true])
    func connecting(_ isSplit: Bool) throws {
        var bench = try Bench {
            $0.token = "t\"k"
            $0.version = "1"
            $0.data = data("{\"a\":\n1}")
        }
        bench.isSplit = isSplit
        bench.connect(ping: 25, pong: true)
        #expect(bench.links == [.open])
        #expect(bench.request == "/connection/websocket")
        let commands = bench.takeCommands()
        #expect(
            commands == [
                #"{"id":1,"connect":{"token":"t\"k","data":{"a":1},"name":"test","version":"1","#
                    + #""headers":{"martlet-close-hints":"1"}}}"#
            ])
        #expect(
            bench.takeEvents() == [
                .connecting(attempt: 1, url: try ClientURL("ws://server:8000/connection/websocket")),
                .connected(client: "me", version: "v", node: ""),
            ])
    }

    @Test("A ping of the server is answered when it asks for pongs, and only then")
    func pongs() throws {
        var bench = try Bench()
        bench.connect(ping: 25, pong: true)
        _ = bench.takeCommands()
        bench.say("{}")
        #expect(bench.takeCommands() == ["{}"])
        bench.frame(.ping, [1, 2])
        #expect(bench.pongs == [[1, 2]])
        var quiet = try Bench()
        quiet.connect(ping: 25, pong: false)
        _ = quiet.takeCommands()
        quiet.say("{}")
        #expect(quiet.takeCommands().isEmpty)
    }

    @Test("Silence longer than the ping interval and the slack ends the connection; anything heard prolongs it")
    func silence() throws {
        var bench = try Bench()
        bench.connect(ping: 25, pong: true)
        bench.pass(.seconds(34))
        bench.say("{}")
        bench.pass(.seconds(34))
        #expect(bench.lastEnd == nil)
        bench.pass(.seconds(1))
        #expect(bench.lastEnd?.cause == .network)
        #expect(bench.lastEnd?.retryIn != nil)
        #expect(bench.closes == [1000])
    }

    @Test("Every stage of connecting has a time limit", arguments: 0..<3)
    func timeouts(_ stage: Int) throws {
        var bench = try Bench()
        bench.act { $0.connect(now: $1) }
        if stage == 1 { bench.act { $0.linkOpened(now: $1) } }
        if stage == 2 { bench.accept() }
        bench.pass(.seconds(9))
        #expect(bench.lastEnd == nil)
        bench.pass(.seconds(1))
        #expect(bench.lastEnd?.cause == .network)
        #expect(bench.links.count == 2 && bench.links[1] == (stage == 2 ? .close : .abort))
    }

    @Test("Waits grow to the cap with full jitter, and start small again after a stable connection")
    func backoff() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var bench = try Bench(seed)
        bench.act { $0.connect(now: $1) }
        var waits: [Duration] = []
        for _ in 0..<40 {
            bench.act { $0.linkLost("refused", now: $1) }
            let wait = try #require(try bench.end().retryIn, "seed \(seed)")
            waits.append(wait)
            bench.passToDeadline()
        }
        for (index, wait) in waits.enumerated() {
            #expect(
                wait >= .zero && wait <= min(.seconds(20), .milliseconds(500) * (1 << min(index, 20))), "seed \(seed)")
        }
        #expect(waits.max() ?? .zero > .seconds(5), "seed \(seed)")
        #expect(Set(waits).count > 30, "seed \(seed)")
        bench.establish()
        bench.pass(.seconds(6))
        bench.act { $0.linkLost("reset", now: $1) }
        #expect(bench.lastEnd?.retryIn ?? .seconds(99) <= .milliseconds(500), "seed \(seed)")
        let attempts = bench.events.compactMap { if case .connecting(let attempt, _) = $0 { attempt } else { nil } }
        #expect(attempts == Array(1...41))
    }

    @Test("A connection that breaks at once after connecting does not reset the wait")
    func flapping() throws {
        var bench = try Bench(7)
        bench.connect()
        var longest = Duration.zero
        for _ in 0..<20 {
            bench.sayClose(3000, "connection closed")
            longest = max(longest, bench.lastEnd?.retryIn ?? .zero)
            bench.passToDeadline()
            bench.establish()
        }
        #expect(longest > .seconds(3))
    }

    static let codes: [(UInt16, Bool)] = [
        (1000, true), (1001, true), (1009, false), (1011, true), (3000, true), (3001, true), (3499, true),
        (3500, false),
        (3501, false), (3999, false), (4000, true), (4499, true), (4500, false), (4999, false),
    ]

    @Test("Close codes decide whether to come back, as Close frames and as pushes", arguments: codes)
    func closeCodes(_ code: UInt16, _ returns: Bool) throws {
        for isPush in [false, true] {
            var bench = try Bench()
            bench.connect()
            if isPush {
                bench.say(#"{"push":{"disconnect":{"code":\#(code),"reason":"why"}}}"#)
                #expect(bench.closes == [1000])
            } else {
                bench.sayClose(code, "why")
                #expect(bench.closes == [code], "the Close frame is echoed")
            }
            let end = try bench.end()
            #expect(end.cause == .server && end.code == UInt32(code) && end.reason == "why")
            #expect((end.retryIn != nil) == returns)
            #expect(bench.links == [.open, .close])
            #expect((bench.session.deadline != nil) == returns)
        }
    }

    @Test("The server's hint says when to come back, within its cap, and only with its codes")
    func hints() throws {
        func end(_ code: UInt16, _ reason: String) throws -> Disconnection {
            var bench = try Bench()
            bench.connect()
            bench.pass(.seconds(60))
            bench.sayClose(code, reason)
            return try bench.end()
        }
        let hinted = try end(3001, #"{"reason":"shutdown","reconnect_in":7250}"#)
        #expect(hinted.reason == "shutdown" && hinted.retryIn == .milliseconds(7250))
        #expect(try end(3011, #"{"reconnect_in":99999999999}"#).retryIn == .seconds(300))
        for (code, reason) in [(3000, #"{"reconnect_in":7250}"#), (3001, "shutdown"), (3001, #"{"reconnect_in":-1}"#)] {
            let wait = try #require(try end(UInt16(code), reason).retryIn)
            #expect(wait <= .milliseconds(500), "\(reason)")
        }
    }

    @Test("A refused connect is final unless it is temporary, and tells whether it is about who we are")
    func refusals() throws {
        var bench = try Bench()
        bench.act { $0.connect(now: $1) }
        bench.accept()
        bench.say(#"{"id":1,"error":{"code":109,"message":"token expired"}}"#)
        #expect(bench.lastEnd?.isAuthentication == true && bench.lastEnd?.retryIn == nil)
        #expect(bench.session.deadline == nil)

        var again = try Bench()
        again.act { $0.connect(now: $1) }
        again.accept()
        again.say(#"{"id":1,"error":{"code":111,"message":"slow down","temporary":true,"retry_after":4000}}"#)
        #expect(again.lastEnd?.isAuthentication == false && again.lastEnd?.retryIn == .seconds(4))
    }

    @Test("An HTTP refusal is final for 4xx except those that mean later, and others are tried again")
    func httpRefusals() throws {
        for (status, returns, isAuthentication) in [
            (401, false, true), (403, false, true), (404, false, false), (429, true, false), (503, true, false),
        ] {
            var bench = try Bench()
            bench.act { $0.connect(now: $1) }
            bench.act { $0.linkOpened(now: $1) }
            bench.feed(Array("HTTP/1.1 \(status) No\r\nContent-Length: 0\r\n\r\n".utf8))
            let end = try bench.end()
            #expect(end.cause == .handshake(status: status))
            #expect((end.retryIn != nil) == returns && end.isAuthentication == isAuthentication)
        }
        var garbage = try Bench()
        garbage.act { $0.connect(now: $1) }
        garbage.act { $0.linkOpened(now: $1) }
        garbage.feed(Array("220 mail.example ESMTP\r\n".utf8))
        #expect(garbage.lastEnd?.cause == .handshake(status: 0))
    }

    @Test(
        "Malformed messages end the connection without harm",
        arguments: [
            "nonsense", "[]", "{", #"{"id":1"#, #"{"id":-1,"connect":{}}"#, #"{"push":{"pub":{"offset":1e400}}}"#,
            "{}{}",
            #"{"push":{"pub":{"data":}}}"#, #"{"push":[]}"#, #"{"id":99999999999999999999,"ping":{}}"#,
            #"{"push":{"message":{"data":"# + String(repeating: "[", count: 10_000) + "}}}",
        ])
    func malformed(_ text: String) throws {
        var bench = try Bench()
        bench.connect()
        bench.say(text)
        #expect(bench.lastEnd?.cause == .protocolViolation && bench.lastEnd?.retryIn != nil)
        #expect(bench.closes == [1002])
    }

    @Test("Unknown members, unknown pushes and late replies are ignored")
    func unknown() throws {
        var bench = try Bench()
        bench.connect()
        _ = bench.takeEvents()
        bench.say(
            #"{"push":{"channel":"x","novelty":{"a":[1,{"b":null}]}},"more":-1.5e3}"# + "\n"
                + #"{"id":77,"rpc":{"data":1}}"#)
        bench.say(#"{"id":78,"error":{"code":100,"message":"late"}}"#)
        bench.say(#"{"push":{"message":{"data":{"a":1}}}}"#)
        #expect(bench.takeEvents() == [.message(data(#"{"a":1}"#))])
    }

    @Test("Broken framing is answered with its close code, and a binary message with 1003")
    func framing() throws {
        var bench = try Bench()
        bench.connect()
        bench.feed([0xF1, 0x00])
        #expect(bench.closes == [1002] && bench.lastEnd?.cause == .protocolViolation)
        var binary = try Bench()
        binary.connect()
        binary.frame(.binary, [1])
        #expect(binary.closes == [1003])
        var large = try Bench { $0.messageBytes = 1000 }
        large.connect()
        large.say(String(repeating: " ", count: 1001))
        #expect(large.closes == [1009] && large.lastEnd?.retryIn == nil)
    }

    @Test("Closing says goodbye, fails what waits, and nothing happens afterwards")
    func closing() throws {
        var bench = try Bench()
        bench.connect()
        _ = bench.act { $0.publish(data("1"), to: "room", now: $1) }
        _ = bench.act { $0.ping(now: $1) }
        bench.act { $0.close(now: $1) }
        #expect(bench.closes == [1000] && bench.links == [.open, .close])
        #expect(bench.lastEnd?.cause == .local && bench.lastEnd?.retryIn == nil)
        #expect(bench.answers == [.failure(.connectionLost), .failure(.closed)])
        #expect(bench.session.deadline == nil && bench.session.unanswered == 0)
        _ = bench.takeEvents()
        _ = bench.act { $0.publish(data("1"), to: "room", now: $1) }
        let subscribed = bench.act { $0.subscribe("room", now: $1) }
        #expect(!subscribed && bench.answers == [.failure(.closed)])
        bench.act { $0.reconnect(now: $1) }
        bench.act { $0.linkLost("late", now: $1) }
        #expect(bench.takeEvents().count == 1)
    }

    @Test("Reconnecting on request is immediate, from a living connection and from a wait")
    func reconnecting() throws {
        var bench = try Bench()
        bench.connect()
        bench.act { $0.reconnect(now: $1) }
        #expect(bench.lastEnd?.retryIn == .zero)
        bench.pass(.zero)
        #expect(bench.links == [.open, .close, .open])
        bench.act { $0.linkLost("refused", now: $1) }
        bench.act { $0.reconnect(now: $1) }
        #expect(bench.session.deadline == bench.now)
    }

    @Test("Requests have their answers, their time limit, and fail at once without a connection")
    func requests() throws {
        var bench = try Bench()
        _ = bench.act { $0.ping(now: $1) }
        #expect(bench.answers == [.failure(.notConnected)])
        _ = bench.takeEvents()
        bench.connect()
        _ = bench.takeCommands()
        _ = bench.act { $0.ping(now: $1) }
        _ = bench.act { $0.presence("r", now: $1) }
        _ = bench.act { $0.history("r", limit: 5, now: $1) }
        #expect(
            bench.takeCommands() == [
                #"{"id":2,"ping":{}}"#, #"{"id":3,"presence":{"channel":"r","limit":500}}"#,
                #"{"id":4,"history":{"channel":"r","limit":5,"reverse":true}}"#,
            ])
        bench.pass(.milliseconds(30))
        bench.say(#"{"id":2,"ping":{}}"#)
        bench.say(#"{"id":3,"error":{"code":108,"message":"not available"}}"#)
        bench.say(#"{"id":4,"history":{"publications":[{"data":1,"offset":7}],"epoch":"e","offset":7}}"#)
        let publication = RoomPublication(room: "r", data: data("1"), offset: 7)
        #expect(
            bench.answers == [
                .success(.pong(.milliseconds(30))),
                .failure(.refused(ServerError(code: 108, message: "not available"))),
                .success(.history([publication], StreamMark(epoch: "e", offset: 7))),
            ])
        _ = bench.takeEvents()
        _ = bench.act { $0.ping(now: $1) }
        bench.pass(.seconds(10))
        #expect(bench.answers == [.failure(.timeout)])
        let sent = bench.act { session, _ in session.send(data("{}")) }
        #expect(sent && bench.takeCommands().last == #"{"send":{"data":{}}}"#)
    }

    @Test("URLs are parsed, and mistakes in them are told")
    func urls() throws {
        let plain = try ClientURL("ws://example.org")
        #expect(
            plain.host == "example.org" && plain.port == 80 && plain.target == "/" && plain.hostField == "example.org")
        var six = try ClientURL("WS://[::1]:8000?a=b")
        #expect(six.host == "::1" && six.port == 8000 && six.target == "/?a=b" && six.hostField == "[::1]:8000")
        six.append(query: "user", "ä b&c")
        #expect(six.target == "/?a=b&user=%C3%A4%20b%26c")
        let mistakes: [(String, ClientURLFailure)] = [
            ("http://x", .scheme), ("", .scheme), ("wss://x", .tlsUnavailable), ("ws://", .host), ("ws://a b", .host),
            ("ws://user@x", .host), ("ws://x:0", .port), ("ws://x:65536", .port), ("ws://x:", .port),
            ("ws://x:+1", .port),
            ("ws://[::1", .host), ("ws://[::1]x", .port), ("ws://x/a b", .target), ("ws://x/\r\nHost:", .target),
            ("ws://x/#f", .target),
        ]
        for (text, failure) in mistakes { #expect(throws: failure, "\(text)") { try ClientURL(text) } }
    }
}
