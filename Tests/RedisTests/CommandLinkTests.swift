// The command link without sockets: login, pipelining, the order of answers, and what happens to commands when the link
// breaks.

import Bytes
import Fuzz
import Redis
import Testing

/// A link with a record of what it answered.
private final class Rig {
    var link: CommandLink
    var answers: [(tag: UInt64, outcome: String)] = []
    var readyCount = 0

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
        receive(RedisLogin().replies(for: .commands).joined())
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
    @Test("Commands are accepted, and the server's life is known, when the last step of the login is answered")
    func ready() {
        let rig = Rig()
        rig.link.open(now: moment(1))
        #expect(rig.link.life == nil)
        for reply in RedisLogin().replies(for: .commands).dropLast() {
            #expect(!rig.send(1), "nothing is accepted before the login is done")
            for byte in reply.utf8 { rig.receive(String(decoding: [byte], as: UTF8.self)) }
            #expect(rig.readyCount == 0 && rig.link.life == nil)
        }
        rig.receive("+PON")
        #expect(rig.link.phase == .handshaking)
        rig.receive("G\r\n")
        #expect(rig.readyCount == 1 && rig.link.phase == .ready)
        #expect(rig.link.life == life(of: RedisLogin()))
        #expect(rig.send(1))
    }

    @Test("Another connection tells another life; until its login is done, none")
    func lives() {
        let rig = Rig()
        rig.login()
        let first = rig.link.life
        rig.link.fail(.closedByServer)
        rig.pull()
        rig.link.open(now: moment(1))
        #expect(rig.link.life == nil)
        var login = RedisLogin()
        login.run = "00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff"
        rig.receive(login.replies(for: .commands).joined())
        #expect(rig.link.life == life(of: login) && rig.link.life != first)
    }

    @Test("A login that goes wrong ends the link; its cause is told")
    func refusedLogin() {
        let rig = Rig()
        rig.link.open(now: moment(1))
        rig.receive("+OK\r\n-NOPERM no INFO\r\n")
        #expect(rig.link.phase == .poisoned(.refused(.noPermission)))
        #expect(rig.readyCount == 0 && rig.link.life == nil && rig.link.deadline == nil)
    }

    @Test("A login that is not answered times out")
    func silentLogin() {
        let rig = Rig()
        rig.link.open(now: moment(1))
        #expect(rig.link.deadline == moment(3))
        rig.link.tick(now: moment(2.9))
        #expect(rig.link.phase == .handshaking)
        rig.link.tick(now: moment(3))
        #expect(rig.link.phase == .poisoned(.timeout))
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
            rig.receive(RedisLogin().replies(for: .commands).joined(), at: time)
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

    @Test("A link that has nothing in flight has no deadline: its silence is the engine's business")
    func idle() {
        let rig = Rig()
        rig.login()
        #expect(rig.link.deadline == nil)
        rig.link.tick(now: moment(3600))
        #expect(rig.link.phase == .ready && rig.link.output.isEmpty)
        rig.send(1, at: 3600)
        rig.send(2, at: 3601)
        #expect(rig.link.deadline == moment(3602))
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
