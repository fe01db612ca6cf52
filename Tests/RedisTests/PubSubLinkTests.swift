// The pub/sub link without sockets: batches, confirmations, changes of mind, reconnections, deafness, and a property
// test that interleaves everything.

import Bytes
import Redis
import Testing

struct PubSubLinkTests {
    @Test("A room is subscribed, told once, receives, and is forgotten after its last unsubscribe")
    func lifecycle() throws {
        let rig = try PubSubRig()
        #expect(rig.subscribe("lobby") == .refused, "nothing is accepted without a connection")
        rig.open()
        #expect(rig.subscribe("lobby") == .pending)
        #expect(rig.subscribe("lobby") == .pending)
        rig.exchange()
        #expect(rig.subscribe("lobby") == .live)
        rig.server.publish(rig.channel("lobby"), bytes("one"))
        rig.server.publish(rig.channel("lobby"), bytes("two\r\n"))
        rig.exchange()
        rig.unsubscribe("lobby")
        rig.server.publish(rig.channel("lobby"), bytes("late"))
        rig.exchange()
        #expect(rig.told == ["ready", "subscribed lobby", "lobby: one", "lobby: two\r\n"])
        #expect(rig.link.roomCount == 0 && rig.server.rooms.isEmpty)
        #expect(rig.link.strayMessages == 1)
    }

    @Test("RC-10: unsubscribing and subscribing again while a command is in flight ends subscribed, and is answered")
    func changesOfMind() throws {
        let rig = try PubSubRig()
        rig.open()
        _ = rig.subscribe("r")
        rig.write()
        rig.unsubscribe("r")
        _ = rig.subscribe("r")
        rig.write()
        rig.unsubscribe("r")
        rig.read()
        #expect(rig.told == ["ready"], "what nobody wants any more is not told")
        rig.write()
        _ = rig.subscribe("r")
        rig.write()
        rig.read()
        rig.exchange()
        #expect(rig.told == ["ready", "subscribed r"])
        #expect(rig.server.rooms == [rig.channel("r")])
        rig.unsubscribe("r")
        rig.unsubscribe("r")
        rig.exchange()
        #expect(rig.server.rooms.isEmpty && rig.link.roomCount == 0)
    }

    @Test("Names are batched: at most 256 and 16 KiB a command, 4096 unconfirmed")
    func batches() throws {
        let rig = try PubSubRig()
        rig.open()
        for number in 0..<10_000 { _ = rig.subscribe("room-\(number)") }
        rig.link.writeSubscriptions(now: moment(1))
        let commands = parseCommands(Array(rig.link.output.bytes))
        #expect(commands.count == 16)
        #expect(commands.allSatisfy { $0[0] == "SUBSCRIBE" && $0.count == 257 })
        rig.exchange()
        #expect(rig.server.rooms.count == 10_000)
        #expect(rig.told.count == 10_001)

        let long = String(repeating: "x", count: 250)
        for number in 0..<200 { _ = rig.subscribe(long + String(1000 + number)) }
        rig.link.writeSubscriptions(now: moment(1))
        #expect(rig.link.output.count > 40_000)
        for command in parseCommands(Array(rig.link.output.bytes)) {
            #expect(command.dropFirst().reduce(0) { $0 + $1.utf8.count + 9 } <= 16 * 1024)
        }
    }

    @Test("After a reconnection every answered room is subscribed again in batches, without being told twice")
    func resubscription() throws {
        let rig = try PubSubRig()
        rig.open()
        for number in 0..<1000 { _ = rig.subscribe("room-\(number)") }
        rig.exchange()
        rig.told = []
        rig.link.fail(.closedByServer)
        rig.pull()
        #expect(rig.told.isEmpty, "rooms that were subscribed are kept through the loss")
        #expect(rig.link.roomCount == 1000)
        rig.unsubscribe("room-7")
        rig.open()
        #expect(rig.told == ["ready"])
        #expect(rig.isRestored)
        #expect(rig.server.rooms.count == 999)
        #expect(rig.server.subscribeCommands <= 5 && rig.server.largestBatch <= 256)
        rig.server.publish(rig.channel("room-1"), bytes("x"))
        rig.exchange()
        #expect(rig.told.last == "room-1: x")
    }

    @Test("A restoration is complete only when the last room is back")
    func restored() throws {
        let rig = try PubSubRig()
        rig.open()
        #expect(rig.isRestored, "nothing to restore")
        _ = rig.subscribe("a")
        _ = rig.subscribe("b")
        rig.exchange()
        rig.link.fail(.timeout)
        rig.pull()
        rig.open(verified: false)
        #expect(rig.told.last == "ready" && !rig.isRestored)
        rig.link.verify()
        #expect(!rig.isRestored)
        rig.write()
        let half = rig.server.output.count / 2
        rig.read(half)
        #expect(!rig.isRestored)
        rig.read()
        #expect(rig.isRestored)
    }

    @Test("When the link breaks, who waits for an answer is told: unknown when it was written, else not sent")
    func broken() throws {
        let rig = try PubSubRig()
        rig.open()
        _ = rig.subscribe("old")
        rig.exchange()
        _ = rig.subscribe("written")
        rig.write()
        _ = rig.subscribe("queued")
        _ = rig.subscribe("given up")
        rig.unsubscribe("given up")
        rig.link.fail(.socket(104))
        rig.told = []
        rig.pull()
        #expect(Set(rig.told) == ["failed written: unknown", "failed queued: not sent"])
        #expect(rig.subscribe("other") == .refused)
        #expect(rig.link.roomCount == 1)
    }

    @Test("A channel that the server forbids is refused alone; the rest of its batch is subscribed")
    func forbidden() throws {
        let rig = try PubSubRig()
        rig.open()
        rig.server.forbidden = [rig.channel("secret")]
        for room in ["a", "secret", "b"] { _ = rig.subscribe(room) }
        rig.exchange()
        #expect(rig.told.sorted() == ["failed secret: noPermission", "ready", "subscribed a", "subscribed b"])
        #expect(rig.link.phase == .ready && rig.link.roomCount == 2)
    }

    @Test(
        "Confirmations out of order, of other rooms, or that nobody asked for poison the link",
        arguments: [
            "*3\r\n$9\r\nsubscribe\r\n$5\r\nm:{b}\r\n:1\r\n", "*3\r\n$11\r\nunsubscribe\r\n$5\r\nm:{a}\r\n:1\r\n",
            "*3\r\n$9\r\nsubscribe\r\n$5\r\nm:{a}\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$5\r\nm:{a}\r\n:1\r\n", "+OK\r\n",
            ":1\r\n",
            "*2\r\n$4\r\npong\r\n$0\r\n\r\n",
        ])
    func unexpected(_ text: String) throws {
        let rig = try PubSubRig()
        rig.open()
        _ = rig.subscribe("a")
        rig.write()
        bytes(text).withRaw { rig.link.receive($0, now: moment(1)) }
        rig.pull()
        #expect(rig.link.phase == .poisoned(.unexpectedReply))
    }

    @Test("Messages of unknown channels and of odd kinds are counted and skipped")
    func strays() throws {
        let rig = try PubSubRig()
        rig.open()
        let text =
            "*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$1\r\nx\r\n*3\r\n$7\r\nmessage\r\n:1\r\n$1\r\nx\r\n"
            + "*3\r\n$7\r\nmessage\r\n$5\r\nm:{a}\r\n$-1\r\n"
        bytes(text).withRaw { rig.link.receive($0, now: moment(1)) }
        rig.pull()
        #expect(rig.link.strayMessages == 3)
        #expect(rig.link.phase == .ready)
    }

    @Test("RC-10: any interleaving of subscribe, unsubscribe, publish, loss and reconnection ends in what was wanted")
    func interleavings() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("pub/sub interleavings: seed \(seed)")
        var random = SeededRandom(seed: seed)
        for _ in 0..<60 {
            let rig = try PubSubRig {
                $0.limits.namesPerCommand = 3
                $0.limits.namesInFlight = 5
            }
            let rooms = (0..<8).map { "r\($0)" }
            var model = Model()
            rig.open()
            model.hear(rig)
            var serial = 0
            for _ in 0..<400 {
                let room = rooms[Int.random(in: 0..<rooms.count, using: &random)]
                switch UInt8.random(in: 0..<14, using: &random) {
                case 0, 1, 2: model.subscribe(rig, room)
                case 3, 4:
                    rig.unsubscribe(room)
                    model.unsubscribed(room)
                case 5, 6:
                    rig.write()
                case 7, 8:
                    rig.read(Int.random(in: 1...80, using: &random))
                    model.hear(rig)
                case 9, 10:
                    serial += 1
                    rig.server.publish(rig.channel(room), bytes("\(serial)"))
                case 11: rig.link.verify()
                case 12:
                    serial += 1
                    model.probe(rig, UInt64(serial), isAnnounced: UInt8.random(in: 0..<4, using: &random) > 0)
                default:
                    guard UInt8.random(in: 0..<6, using: &random) == 0 else { break }
                    rig.link.fail(.socket(104))
                    rig.pull()
                    model.hear(rig)
                    model.lost()
                    rig.connect()
                }
            }
            rig.exchange()
            rig.link.verify()
            rig.exchange()
            model.hear(rig)
            model.settled(rig, rooms)
        }
    }
}

/// What must hold, kept beside the link.
private struct Model {
    var waiting: Set<String> = []
    var live: Set<String> = []
    var lastSeen: [String: Int] = [:]
    var probes: Set<UInt64> = []

    mutating func subscribe(_ rig: PubSubRig, _ room: String) {
        switch rig.subscribe(room) {
        case .live: live.insert(room)
        case .pending: if !live.contains(room) { waiting.insert(room) }
        case .refused: #expect(!rig.isVerified, "a proved link refuses nobody")
        }
    }

    /// A probe, or a forged one that claims to be later than any.
    mutating func probe(_ rig: PubSubRig, _ sequence: UInt64, isAnnounced: Bool) {
        guard isAnnounced else { return rig.server.publish(rig.ownChannel, bytes("\(sequence + 1_000_000)")) }
        rig.probe(sequence)
        probes.insert(sequence)
    }

    mutating func unsubscribed(_ room: String) {
        waiting.remove(room)
        live.remove(room)
    }

    mutating func lost() { #expect(waiting.isEmpty, "everybody who waits is told of the loss") }

    mutating func hear(_ rig: PubSubRig) {
        for line in rig.told where line != "ready" {
            if line.hasPrefix("probed ") {
                let sequence = UInt64(line.dropFirst(7)) ?? 0
                #expect(probes.remove(sequence) != nil, "a probe that was not sent, or twice: \(line)")
            } else if line.hasPrefix("subscribed ") {
                let room = String(line.dropFirst(11))
                #expect(waiting.remove(room) != nil, "an answer that nobody waits for: \(line)")
                live.insert(room)
            } else if line.hasPrefix("failed ") {
                #expect(
                    waiting.remove(String(line.dropFirst(7).prefix(2))) != nil,
                    "a failure that nobody waits for: \(line)")
            } else {
                let parts = line.split(separator: ":")
                let serial = Int(parts[1].dropFirst()) ?? 0
                #expect(live.contains(String(parts[0])), "a message for a room that is not subscribed: \(line)")
                #expect(serial > lastSeen[String(parts[0]), default: 0], "each message once and in order")
                lastSeen[String(parts[0])] = serial
            }
        }
        rig.told = []
    }

    mutating func settled(_ rig: PubSubRig, _ rooms: [String]) {
        #expect(waiting.isEmpty, "everybody is answered in the end")
        #expect(rig.link.phase == .ready && rig.isRestored)
        #expect(rig.server.rooms == Set(live.map(rig.channel)), "the server knows exactly what is wanted")
        #expect(rig.link.roomCount == live.count)
        for room in rooms {
            rig.server.publish(rig.channel(room), bytes("1000000"))
            rig.exchange()
            #expect(rig.told == (live.contains(room) ? ["\(room): 1000000"] : []))
            rig.told = []
        }
    }
}
