// The proof that a subscriber link hears what the command link publishes: the own channel first and alone, probes that
// arrive, are lost, come late or are forged.

import Bytes
import Fuzz
import Redis
import Testing

struct PubSubProbeTests {
    @Test("The login and the own channel go out in one write; ready is told when the channel is confirmed")
    func ready() throws {
        let rig = try PubSubRig()
        rig.connect()
        #expect(
            parseCommands(Array(rig.link.output.bytes)) == [
                ["CLIENT", "SETNAME", "martlet"], ["INFO", "server"], ["INFO", "replication"], ["PING"],
                ["SUBSCRIBE", "m:node:a"],
            ])
        rig.write()
        while !rig.server.output.isEmpty {
            #expect(rig.told.isEmpty && rig.link.phase == .handshaking && rig.link.life == nil)
            rig.read(1)
        }
        #expect(rig.told == ["ready"] && rig.link.phase == .ready && rig.link.life == life(of: rig.server.login))
        #expect(!rig.isVerified && !rig.isRestored)
    }

    @Test("A link that is ready and not proved writes no room, neither an old nor a new one")
    func unverified() throws {
        let rig = try PubSubRig()
        rig.open()
        _ = rig.subscribe("old")
        rig.exchange()
        let former = rig.link.life
        rig.link.fail(.closedByServer)
        rig.pull()
        #expect(!rig.isVerified && rig.link.life == former)
        rig.open(verified: false)
        #expect(rig.link.phase == .ready && rig.subscribe("new") == .refused)
        for second in 1...100 {
            rig.time = Double(second)
            rig.probe(UInt64(second))
            rig.exchange()
            rig.link.tick(now: moment(rig.time))
        }
        #expect(rig.link.phase == .ready && rig.server.rooms.isEmpty && rig.server.subscribeCommands == 1)
        #expect(!rig.link.hasSubscriptionsToWrite && !rig.isRestored)
        rig.link.verify()
        #expect(rig.link.hasSubscriptionsToWrite && rig.subscribe("new") == .pending)
        rig.exchange()
        #expect(rig.isRestored && rig.server.rooms == [rig.channel("old"), rig.channel("new")])
    }

    @Test("Only a ready link can be proved, and no connection inherits the proof")
    func verify() throws {
        let rig = try PubSubRig()
        rig.link.verify()
        #expect(!rig.isVerified)
        rig.connect()
        rig.link.verify()
        #expect(!rig.isVerified && rig.link.life == nil)
        rig.exchange()
        rig.link.verify()
        #expect(rig.isVerified && rig.isRestored)
        rig.link.fail(.timeout)
        #expect(!rig.isVerified)
        rig.pull()
        rig.connect()
        #expect(!rig.isVerified && rig.link.life == nil)
        rig.exchange()
        rig.link.verify()
        rig.link.close()
        #expect(!rig.isVerified)
    }

    @Test("An own channel that is refused, or another one that is confirmed, ends the link")
    func ownChannelRefused() throws {
        for (text, fault) in [
            ("-NOPERM channel\r\n", LinkFault.refused(.noPermission)), (":1\r\n", .unexpectedReply),
            (RedisLogin.confirmation("m:{r}"), .unexpectedReply), (RedisLogin.confirmation(""), .unexpectedReply),
            ("*3\r\n$9\r\nsubscribe\r\n:1\r\n:1\r\n", .unexpectedReply), ("+OK\r\n", .unexpectedReply),
            ("*3\r\n$11\r\nunsubscribe\r\n$8\r\nm:node:a\r\n:0\r\n", .unexpectedReply),
        ] {
            let rig = try PubSubRig()
            rig.connect()
            let login = RedisLogin().replies(for: .subscriptions).joined()
            bytes(login + text).withRaw { rig.link.receive($0, now: moment(1)) }
            rig.pull()
            #expect(rig.link.phase == .poisoned(fault) && rig.told.isEmpty, "\(text)")
        }
        let rig = try PubSubRig()
        rig.connect()
        bytes(RedisLogin.confirmation("m:node:a")).withRaw { rig.link.receive($0, now: moment(1)) }
        rig.pull()
        #expect(rig.link.phase == .poisoned(.unexpectedReply), "a confirmation before the login")
    }

    @Test("An own channel that is never confirmed times out")
    func ownChannelSilent() throws {
        let rig = try PubSubRig()
        rig.connect()
        bytes(RedisLogin().replies(for: .subscriptions).joined()).withRaw { rig.link.receive($0, now: moment(2)) }
        rig.pull()
        #expect(rig.link.phase == .handshaking && rig.link.deadline == moment(4))
        rig.link.tick(now: moment(4))
        #expect(rig.link.phase == .poisoned(.timeout))
    }

    @Test("RC-04: a probe that does not arrive makes the link deaf after 1.5 s", arguments: [true, false])
    func deaf(verified: Bool) throws {
        let rig = try PubSubRig()
        rig.open(verified: verified)
        #expect(rig.link.deadline == nil)
        for second in 2...4 {
            rig.time = Double(second)
            rig.probe(UInt64(second))
            #expect(rig.link.deadline == moment(rig.time + 1.5))
            rig.exchange()
            #expect(rig.told.last == "probed \(second)" && rig.link.deadline == nil)
        }
        rig.time = 5
        rig.probe(5, arrives: false)
        rig.time = 6
        rig.probe(6, arrives: false)
        #expect(rig.link.deadline == moment(6.5), "the oldest counts")
        rig.link.tick(now: moment(6.4))
        #expect(rig.link.phase == .ready)
        rig.link.tick(now: moment(6.5))
        #expect(rig.link.phase == .poisoned(.deaf) && rig.link.deadline == nil)
    }

    @Test("A later probe stands for the earlier ones; an earlier one does not stand for a later")
    func order() throws {
        let rig = try PubSubRig()
        rig.open()
        for sequence in 2...4 {
            rig.time = Double(sequence) / 10 + 1
            rig.probe(UInt64(sequence), arrives: false)
        }
        rig.server.publish(rig.ownChannel, bytes("3"))
        rig.exchange()
        #expect(rig.link.deadline == moment(1.4 + 1.5), "the fourth is still awaited")
        rig.link.highestProbe = 9
        rig.server.publish(rig.ownChannel, bytes("9"))
        rig.exchange()
        #expect(rig.link.deadline == nil)
        for sequence in [4, 8, 9] as [UInt64] { rig.link.awaitProbe(sequence, sentAt: moment(1.4)) }
        #expect(rig.link.deadline == nil, "what has arrived before its answer is not awaited")
        rig.server.publish(rig.ownChannel, bytes("5"))
        rig.exchange()
        rig.link.awaitProbe(9, sentAt: moment(1.4))
        #expect(rig.link.deadline == nil, "one that is late takes nothing back")
        #expect(rig.told == ["ready", "probed 3", "probed 9", "probed 5"])
    }

    @Test("A probe that was sent before the own channel was confirmed is not awaited")
    func sentBefore() throws {
        let rig = try PubSubRig()
        rig.time = 2
        rig.open()
        rig.link.highestProbe = 2
        rig.link.awaitProbe(1, sentAt: moment(1.9))
        #expect(rig.link.deadline == nil)
        rig.link.awaitProbe(2, sentAt: moment(2))
        #expect(rig.link.deadline == moment(3.5))
    }

    @Test("A probe that the server was slow to publish gets its time from the answer on")
    func slowAnswer() throws {
        let rig = try PubSubRig()
        rig.open()
        rig.link.highestProbe = 1
        rig.link.awaitProbe(1, sentAt: moment(2), answeredAt: moment(3.9))
        rig.link.tick(now: moment(3.9))
        #expect(rig.link.phase == .ready && rig.link.deadline == moment(5.4))
        rig.link.awaitProbe(2, sentAt: moment(3), answeredAt: moment(3.9))
        rig.server.publish(rig.ownChannel, bytes("1"))
        rig.time = 9
        rig.exchange()
        #expect(rig.link.deadline == moment(7.5), "three timeouts after it was sent are the end")
    }

    @Test("What was awaited or had arrived on the former connection counts for nothing on the next")
    func reconnection() throws {
        let rig = try PubSubRig()
        rig.open()
        rig.probe(7)
        rig.exchange()
        rig.probe(8, arrives: false)
        rig.link.fail(.closedByServer)
        rig.pull()
        rig.link.awaitProbe(9, sentAt: moment(1))
        #expect(rig.link.deadline == nil, "a broken link awaits nothing")
        rig.open(verified: false)
        #expect(rig.link.deadline == nil)
        rig.link.awaitProbe(7, sentAt: moment(1))
        #expect(rig.link.deadline == moment(2.5))
    }

    @Test("RC-04: a server that sends a backlog in front of the probe is not deaf, up to three times the timeout")
    func busyIsNotDeaf() throws {
        let rig = try PubSubRig()
        rig.open()
        _ = rig.subscribe("r")
        rig.exchange()
        for late in [4.4, 4.5] {
            let start = rig.time
            rig.probe(UInt64(late * 10), arrives: false)
            while rig.time + 0.1 < start + late {
                rig.time += 0.1
                rig.server.publish(rig.channel("r"), bytes("x"))
                rig.read()
                rig.link.tick(now: moment(rig.time))
                #expect(rig.link.phase == .ready)
            }
            rig.time = start + late
            rig.link.tick(now: moment(rig.time))
            #expect(rig.link.phase == (late < 4.5 ? .ready : .poisoned(.deaf)))
            rig.server.publish(rig.ownChannel, bytes("\(UInt64(late * 10))"))
            rig.read()
        }
    }

    @Test("What is no number on the own channel, or one that was never sent, is a stray and proves nothing")
    func forged() throws {
        let rig = try PubSubRig()
        rig.open()
        rig.probe(5, arrives: false)
        let payloads = [
            "", "6", "18446744073709551615", "18446744073709551616", "99999999999999999999999", "-1", "+5", "05", "5 ",
            " 5", "0x5", "5\r\n", "five", "1 0 0\n\"data\":1", "\0", "5.0",
        ]
        for payload in payloads { rig.server.publish(rig.ownChannel, bytes(payload)) }
        rig.server.output += bytes("*3\r\n$7\r\nmessage\r\n$8\r\nm:node:a\r\n$-1\r\n")
        rig.server.output += bytes("*3\r\n$7\r\nmessage\r\n$8\r\nm:node:a\r\n:5\r\n")
        rig.server.output += bytes("*3\r\n$7\r\nmessage\r\n$8\r\nm:node:b\r\n$1\r\n5\r\n")
        rig.exchange()
        #expect(rig.told == ["ready"])
        #expect(rig.link.strayMessages == UInt64(payloads.count + 3))
        #expect(rig.link.deadline == moment(2.5), "the fifth is still awaited")
        rig.link.tick(now: moment(2.5))
        #expect(rig.link.phase == .poisoned(.deaf))
    }

    @Test("The own channel never reaches a room, and no room's name reaches it")
    func channels() throws {
        let rig = try PubSubRig()
        rig.open()
        for room in ["node:a", "m:node:a", "}", "a"] { _ = rig.subscribe(room) }
        rig.exchange()
        #expect(rig.server.rooms.count == 4)
        rig.told = []
        rig.probe(1)
        rig.exchange()
        #expect(rig.told == ["probed 1"] && rig.link.strayMessages == 0)
    }

    @Test("Probes that nobody answers do not pile up")
    func bounded() throws {
        let rig = try PubSubRig()
        rig.open()
        for sequence in 1...1000 { rig.probe(UInt64(sequence), arrives: false) }
        #expect(rig.link.deadline == moment(2.5))
        rig.server.publish(rig.ownChannel, bytes("16"))
        rig.exchange()
        #expect(rig.link.deadline == nil, "sixteen are awaited at once, and the sixteenth has come")
    }
}
