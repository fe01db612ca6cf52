// The login of both kinds of link: what is said, and what is wrong with each answer. Replies are read from bytes, so
// they go through a link; which of the two it is matters only where they differ.

import Bytes
import Fuzz
import Redis
import Testing

/// How the login of a new command link ends after `replies`.
private func phase(
    after replies: [String], bytewise: Bool = false, _ change: (inout LinkSettings) -> Void = { _ in }
) -> CommandLink.Phase {
    var settings = LinkSettings()
    change(&settings)
    var link = CommandLink(settings: settings)
    link.open(now: moment(1))
    var events = 0
    func receive(_ text: some Sequence<UInt8>) {
        Array(text).withRaw { link.receive($0, now: moment(1)) }
        while link.next(now: moment(1)) != nil { events += 1 }
    }
    let text = bytes(replies.joined())
    if bytewise { for byte in text { receive([byte]) } } else { receive(text) }
    #expect(events == (link.phase == .ready ? 1 : 0) && (link.life != nil) == (link.phase == .ready))
    return link.phase
}

/// How the login of a new subscriber link ends after `replies` and the confirmation of its own channel.
private func subscriberPhase(after replies: [String]) throws -> CommandLink.Phase {
    let names = try #require(RedisNames(prefix: "m"))
    var link = PubSubLink(settings: LinkSettings(), names: names, ownChannel: bytes("m:node:a"))
    link.open(now: moment(1))
    bytes(replies.joined() + RedisLogin.confirmation("m:node:a")).withRaw { link.receive($0, now: moment(1)) }
    while link.next(now: moment(1)) != nil {}
    #expect((link.life != nil) == (link.phase == .ready))
    return link.phase
}

struct LinkHandshakeTests {
    @Test("The login sends user, password, database, name and questions in one write, then the scripts, then PING")
    func commands() {
        var settings = LinkSettings()
        settings.user = "u"
        settings.password = "p\r\nx"
        settings.database = 3
        settings.clientName = "martlet-node 1"
        let common = [
            ["AUTH", "u", "p\r\nx"], ["SELECT", "3"], ["CLIENT", "SETNAME", "martlet-node_1"], ["INFO", "server"],
            ["INFO", "replication"],
        ]
        for purpose in [LinkHandshake.Purpose.commands, .subscriptions] {
            var handshake = LinkHandshake(settings, for: purpose)
            var output = ByteBuffer()
            handshake.begin(in: &output)
            let scripts = purpose == .commands ? RedisScript.all.map { ["SCRIPT", "LOAD", $0.source] } : []
            #expect(parseCommands(Array(output.bytes)) == common + scripts + [["PING"]])
            #expect(handshake.steps.count == 6 + scripts.count)
        }
        #expect(RedisScript.all.count > 3)
    }

    @Test("A sound login ends ready, byte by byte too")
    func sound() throws {
        let replies = RedisLogin().replies(for: .commands)
        #expect(phase(after: replies) == .ready)
        #expect(phase(after: replies, bytewise: true) == .ready)
        #expect(phase(after: ["+OK\r\n"] + replies) { $0.password = "p" } == .ready)
        #expect(try subscriberPhase(after: RedisLogin().replies(for: .subscriptions)) == .ready)
    }

    @Test(
        "A server that refuses the login is told apart by its reason",
        arguments: [
            ("-WRONGPASS invalid\r\n", RedisErrorKind.wrongPassword), ("-NOAUTH needed\r\n", .noAuthentication),
            ("+OK\r\n+OK\r\n-LOADING x\r\n", .loading), ("+OK\r\n-MASTERDOWN x\r\n", .masterDown),
            ("+OK\r\n+OK\r\n-NOPERM no INFO\r\n", .noPermission), ("+OK\r\n+OK\r\n-BUSY script\r\n", .busy),
            ("-ERR max number of clients reached\r\n", .tooManyClients),
        ])
    func refusedLogin(_ text: String, _ kind: RedisErrorKind) {
        #expect(phase(after: [text]) { $0.password = "p" } == .poisoned(.refused(kind)))
    }

    @Test(
        "Each step but naming and the PING must succeed", arguments: [LinkHandshake.Purpose.commands, .subscriptions])
    func eachStep(_ purpose: LinkHandshake.Purpose) throws {
        let sound = RedisLogin().replies(for: purpose)
        for step in sound.indices {
            var replies = sound
            func end() throws -> CommandLink.Phase {
                try purpose == .commands ? phase(after: replies) : subscriberPhase(after: replies)
            }
            let isLenient = step == 0 || step == sound.count - 1
            replies[step] = "-NOPERM x\r\n"
            #expect(try end() == (isLenient ? .ready : .poisoned(.refused(.noPermission))), "step \(step)")
            replies[step] = "-ERR unknown command\r\n"
            #expect(try end() == (isLenient ? .ready : .poisoned(.refused(.other))), "step \(step)")
            replies[step] = "-LOADING x\r\n"
            #expect(try end() == .poisoned(.refused(.loading)), "step \(step)")
            for odd in [":1\r\n", "$-1\r\n", "*0\r\n", "+HELLO\r\n", "$0\r\n\r\n", "*2\r\n$4\r\npong\r\n$0\r\n\r\n"] {
                replies[step] = odd
                #expect(try end() == .poisoned(.unexpectedReply), "step \(step) \(odd)")
            }
        }
    }

    @Test("A server that is no master is refused as a replica, whatever else it says")
    func roles() throws {
        for role in ["slave", "sentinel", "", "Master", "master "] {
            var login = RedisLogin()
            login.role = role
            #expect(phase(after: login.replies(for: .commands)) == .poisoned(.refused(.readOnly)))
            #expect(try subscriberPhase(after: login.replies(for: .subscriptions)) == .poisoned(.refused(.readOnly)))
        }
        var login = RedisLogin()
        login.role = "slave"
        login.replication = "?"
        #expect(phase(after: login.replies(for: .commands)) == .poisoned(.refused(.readOnly)))
    }

    @Test("A server that does not say which life it lives is not believed")
    func anonymous() throws {
        for part in 0..<4 {
            var login = RedisLogin()
            if part == 0 { login.run = "" }
            if part == 1 { login.run = "0123" }
            if part == 2 { login.replication = "not hexadecimal and far too long to be an id" }
            var replies = login.replies(for: .subscriptions)
            if part == 3 { replies[2] = RedisLogin.bulk("# Replication\r\nmaster_replid:\(login.replication)\r\n") }
            #expect(try subscriberPhase(after: replies) == .poisoned(.unexpectedReply), "part \(part)")
        }
    }

    @Test("Garbage instead of INFO, and INFO beyond its bound, end the login")
    func garbage() {
        var replies = RedisLogin().replies(for: .commands)
        let sound = replies
        for text in ["\0\u{1}\r\n:::\n", String(repeating: "run_id:\n", count: 1000)] {
            for step in [1, 2] {
                replies = sound
                replies[step] = RedisLogin.bulk(text)
                #expect(phase(after: replies) == .poisoned(.unexpectedReply))
            }
        }
        for step in [1, 2] {
            for excess in [0, 1] {
                replies = sound
                let text = step == 1 ? RedisLogin().server : RedisLogin().information
                let padding = LinkHandshake.informationBytes - text.utf8.count + excess
                replies[step] = RedisLogin.bulk(text + String(repeating: "x", count: padding))
                #expect(phase(after: replies) == (excess == 0 ? .ready : .poisoned(.unexpectedReply)))
            }
        }
        replies[1] = "$999999999\r\n"
        #expect(phase(after: replies) == .poisoned(.badReply(.bulkTooLong)))
    }

    @Test("A script counts as loaded only by its own SHA-1")
    func scripts() {
        var replies = RedisLogin().replies(for: .commands)
        replies.swapAt(3, 4)
        #expect(phase(after: replies) == .poisoned(.unexpectedReply))
    }

    @Test("The password does not come out by printing what holds it")
    func secrecy() {
        var settings = LinkSettings()
        settings.password = "s3cret"
        let handshake = LinkHandshake(settings, for: .commands)
        for text in ["\(settings)", String(reflecting: settings), "\(handshake)", String(reflecting: handshake)] {
            #expect(!text.contains("s3cret") && !text.contains("115, 51, 99"), "\(text)")
        }
    }

    @Test("A server whose disk is full is still a server")
    func misconfiguredPing() {
        var replies = RedisLogin().replies(for: .commands)
        replies[replies.count - 1] = "-MISCONF disk\r\n"
        #expect(phase(after: replies) == .ready)
    }
}
