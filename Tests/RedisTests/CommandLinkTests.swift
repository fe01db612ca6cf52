// The command link without sockets: login, pipelining, the order of answers, and what happens to commands when the link
// breaks.

import Bytes
import Redis
import Testing

/// A link with a record of what it answered.
private final class Rig {
    var link: CommandLink
    var answers: [(tag: UInt64, outcome: String)] = []
    var readyCount = 0
    var probeCount = 0

    init(_ change: (inout LinkSettings) -> Void = { _ in }) {
        var settings = LinkSettings()
        change(&settings)
        link = CommandLink(settings: settings)
    }

    func receive(_ text: String, at time: Double = 1) {
        bytes(text).withRaw { link.receive($0, now: moment(time)) }
        pull(at: time)
    }

    func pull(at time: Double = 1) {
        while let event = link.next(now: moment(time)) {
            switch event {
            case .ready: readyCount += 1
            case .probed: probeCount += 1
            case .completed(let tag, .reply(let reply), _):
                answers.append(
                    (tag.first, reply.integer.map(String.init) ?? String(decoding: reply.bytes, as: UTF8.self)))
            case .completed(let tag, .refused(let kind), _): answers.append((tag.first, "\(kind)"))
            case .completed(let tag, .outcomeUnknown, _): answers.append((tag.first, "unknown"))
            case .completed(let tag, .notSent, _): answers.append((tag.first, "not sent"))
            }
        }
    }

    func login() {
        link.open(now: moment(1))
        link.output.removeAll()
        receive("+OK\r\n+PONG\r\n")
    }

    @discardableResult
    func send(_ tag: UInt64, at time: Double = 1, expecting shape: ReplyShape = .integer) -> Bool {
        link.send(CommandTag(tag, 0), expecting: shape, now: moment(time)) {
            $0.beginCommand(2)
            $0.appendArgument("ECHO")
            $0.appendArgument(text: String(tag))
        }
    }

    func expect(_ expected: [(UInt64, String)], _ comment: Comment? = nil) {
        #expect(answers.map { "\($0.tag)=\($0.outcome)" } == expected.map { "\($0.0)=\($0.1)" }, comment)
    }
}

struct CommandLinkTests {
    @Test("The login sends user, password, database and name in one write")
    func loginCommands() {
        let rig = Rig {
            $0.user = "u"
            $0.password = "p\r\nx"
            $0.database = 3
            $0.clientName = "martlet-node 1"
        }
        rig.link.open(now: moment(1))
        #expect(
            parseCommands(Array(rig.link.output.bytes)) == [
                ["AUTH", "u", "p\r\nx"], ["SELECT", "3"], ["CLIENT", "SETNAME", "martlet-node_1"], ["PING"],
            ])
        #expect(!rig.send(1), "nothing is accepted before the login is done")
        rig.receive("+OK\r\n+OK\r\n-ERR unknown command\r\n+PON")
        #expect(rig.readyCount == 0)
        rig.receive("G\r\n")
        #expect(rig.readyCount == 1 && rig.link.phase == .ready)
    }

    @Test(
        "A server that refuses the login is told apart by its reason",
        arguments: [
            ("-WRONGPASS invalid\r\n", RedisErrorKind.wrongPassword), ("-NOAUTH needed\r\n", .noAuthentication),
            ("+OK\r\n+OK\r\n-LOADING x\r\n", .loading), ("+OK\r\n+OK\r\n-MASTERDOWN x\r\n", .masterDown),
            ("-ERR max number of clients reached\r\n", .tooManyClients),
        ])
    func refusedLogin(_ text: String, _ kind: RedisErrorKind) {
        let rig = Rig { $0.password = "p" }
        rig.link.open(now: moment(1))
        rig.receive(text)
        #expect(rig.link.phase == .poisoned(.refused(kind)))
        #expect(rig.readyCount == 0)
    }

    @Test("The password does not come out by printing what holds it")
    func secrecy() {
        var settings = LinkSettings()
        settings.password = "s3cret"
        for text in ["\(settings)", String(reflecting: settings), "\(LinkHandshake(settings))"] {
            #expect(!text.contains("s3cret") && !text.contains("115, 51, 99"), "\(text)")
        }
    }

    @Test("A server whose disk is full is still a server")
    func misconfiguredPing() {
        let rig = Rig()
        rig.link.open(now: moment(1))
        rig.receive("+OK\r\n-MISCONF disk\r\n")
        #expect(rig.link.phase == .ready)
    }

    @Test("Pipelined commands are answered in order, byte by byte too")
    func pipelining() {
        let rig = Rig()
        rig.login()
        for tag in 1...5 { rig.send(UInt64(tag)) }
        #expect(parseCommands(Array(rig.link.output.bytes)).count == 5)
        for byte in ":10\r\n:20\r\n-OOM x\r\n:40\r\n:50\r\n" { rig.receive(String(byte)) }
        rig.expect([(1, "10"), (2, "20"), (3, "outOfMemory"), (4, "40"), (5, "50")])
        #expect(rig.link.commandsInFlight == 0 && rig.link.phase == .ready)
    }

    @Test("RC-03: a command that times out poisons the link, and its late reply reaches nobody")
    func timeout() {
        let rig = Rig()
        rig.login()
        rig.send(1, at: 1)
        rig.send(2, at: 2.5)
        rig.link.output.removeAll()
        rig.receive(":10\r\n", at: 2.6)
        rig.link.tick(now: moment(4.4))
        #expect(rig.link.phase == .ready)
        rig.link.tick(now: moment(4.5))
        #expect(rig.link.phase == .poisoned(.timeout))
        rig.receive(":20\r\n", at: 4.6)
        #expect(!rig.send(3, at: 4.7), "a poisoned link takes nothing")
        rig.expect([(1, "10"), (2, "unknown")])
    }

    @Test("RC-03: replies delayed at random never reach another command")
    func delayedReplies() {
        let seed = UInt64.random(in: 0 ... .max)
        print("delayed replies: seed \(seed)")
        var random = SeededRandom(seed: seed)
        let rig = Rig()
        var time = 1.0
        var next: UInt64 = 1
        var pending: [UInt64] = []
        var answered = 0
        for _ in 0..<300 {
            rig.link.open(now: moment(time))
            rig.link.output.removeAll()
            rig.receive("+OK\r\n+PONG\r\n", at: time)
            pending = []
            while rig.link.phase == .ready {
                for _ in 0..<Int.random(in: 0...5, using: &random) {
                    rig.send(next, at: time)
                    pending.append(next)
                    next += 1
                }
                rig.link.output.removeAll()
                // Now and then the proxy sits on the replies for longer than the timeout, then sends them all the same.
                let stalls = UInt8.random(in: 0..<8, using: &random) == 0
                time += stalls ? 3 : 0.01
                rig.link.tick(now: moment(time))
                let ready = stalls ? pending.count : Int.random(in: 0...pending.count, using: &random)
                let text = pending.prefix(ready).map { ":\($0)\r\n" }.joined()
                pending.removeFirst(ready)
                rig.receive(text, at: time)
            }
            rig.pull(at: time)
        }
        for answer in rig.answers where answer.outcome != "unknown" {
            #expect(answer.outcome == String(answer.tag), "a reply carries its own command's value")
            answered += 1
        }
        #expect(rig.answers.map(\.tag) == Array(1..<next), "each command is answered once, in order")
        #expect(answered > 0)
    }

    @Test("A reply of another shape, or one that nobody asked for, poisons the link")
    func unexpected() {
        let rig = Rig()
        rig.login()
        rig.send(1)
        rig.send(2)
        rig.link.output.removeAll()
        rig.receive("+surprise\r\n:5\r\n")
        #expect(rig.link.phase == .poisoned(.unexpectedReply))
        rig.expect([(1, "unknown"), (2, "unknown")])
        rig.link.close()
        rig.login()
        rig.receive(":1\r\n")
        #expect(rig.link.phase == .poisoned(.unexpectedReply))
    }

    @Test("What was never written is told apart from what was written and not answered")
    func unwritten() {
        let rig = Rig()
        rig.login()
        rig.send(1)
        let first = rig.link.output.count
        rig.send(2)
        let second = rig.link.output.count - first
        rig.link.output.removeAll()
        rig.send(3)
        // Of the second command all but its last byte went out.
        rig.link.unsentByTransport = 1
        rig.link.fail(.socket(104))
        rig.pull()
        #expect(second > 1)
        rig.expect([(1, "unknown"), (2, "not sent"), (3, "not sent")])
    }

    @Test("An error that concerns every command closes the link; one that concerns a command does not")
    func condemningErrors() {
        let rig = Rig()
        rig.login()
        rig.send(1)
        rig.send(2)
        rig.link.output.removeAll()
        rig.receive("-NOSCRIPT x\r\n")
        #expect(rig.link.phase == .ready)
        rig.receive("-READONLY x\r\n")
        #expect(rig.link.phase == .poisoned(.refused(.readOnly)))
        rig.expect([(1, "noScript"), (2, "readOnly")])
    }

    @Test("RC-04: a silent link is found by its PING within three seconds")
    func probe() {
        let rig = Rig()
        rig.login()
        #expect(rig.link.deadline == moment(2))
        rig.link.tick(now: moment(2))
        #expect(parseCommands(Array(rig.link.output.bytes)) == [["PING"]])
        rig.link.output.removeAll()
        rig.receive("+PONG\r\n", at: 2.1)
        #expect(rig.probeCount == 1)
        #expect(rig.link.deadline == moment(3))
        rig.link.tick(now: moment(3))
        rig.link.tick(now: moment(4.9))
        #expect(rig.link.phase == .ready)
        rig.link.tick(now: moment(5))
        #expect(rig.link.phase == .poisoned(.timeout) || rig.link.phase == .poisoned(.deaf))
    }

    @Test("Commands in flight and bytes in the output are bounded")
    func bounds() {
        let rig = Rig {
            $0.limits.commandsInFlight = 3
            $0.limits.outputBytes = 1000
        }
        rig.login()
        #expect([rig.send(1), rig.send(2), rig.send(3), rig.send(4)] == [true, true, true, false])
        rig.link.output.removeAll()
        rig.receive(":1\r\n:2\r\n:3\r\n")
        let sent = rig.link.send(CommandTag(5, 0), expecting: .integer, now: moment(1)) {
            $0.beginCommand(1)
            $0.appendArgument(text: String(repeating: "x", count: 1200))
        }
        #expect(sent, "one command may be larger than what waits")
        #expect(!rig.send(6), "behind it nothing is accepted until it was written")
    }

    @Test("RC-05: arguments travel byte for byte", arguments: ["a\r\nFLUSHALL\r\n", "%s%s%n", "", "\0", " ", "$5\r\n"])
    func arguments(_ text: String) {
        var output = ByteBuffer()
        output.beginCommand(3)
        output.appendArgument("PUBLISH")
        output.appendArgument(text: text)
        bytes(text).withRaw { output.appendArgument($0) }
        #expect(parseCommands(Array(output.bytes)) == [["PUBLISH", text, text]])
        // hiredis reads it as the same array of strings.
        var reader = ReplyReader()
        reader.feed(output.bytes)
        let reply = reader.next()
        #expect(reply?.count == 3)
        #expect(reply?[1].map { Array($0.bytes) } == bytes(text))
        #expect(reply?[2].map { Array($0.bytes) } == bytes(text))
    }
}
