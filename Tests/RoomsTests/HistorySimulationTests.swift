// A deterministic run of several loops whose rooms keep history: clients come, go and recover from where they were,
// pub/sub drops, doubles and reorders, the engine answers late or fails or loses everything, mailboxes overflow. Every
// client must see each offset once and in order between its reply and its end, a recovery is whole or refused, nobody
// waits for ever, and at the end nothing is left.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct HistorySimulationTests {
    @Test(arguments: Array(UInt64(1)...24))
    func `with history, every client sees each offset once and in order, whatever pub-sub does`(seed: UInt64) {
        let simulation = HistorySimulation(seed: seed)
        for _ in 0..<2000 { simulation.step() }
        simulation.finish()
    }

    @Test func `the runs come through everything that they are made for`() {
        var missing: Set<String> = [
            "otherEpoch", "trimmed", "mailbox", "gap", "former epoch", "recovered tail", "recovered engine",
            "lost tail", "lost engine", "fill", "position",
        ]
        for seed in UInt64(101)...140 where !missing.isEmpty {
            let simulation = HistorySimulation(seed: seed)
            for _ in 0..<2000 { simulation.step() }
            simulation.finish()
            for (kind, count) in simulation.seen where count > 0 { missing.remove(kind) }
        }
        #expect(missing == [])
    }
}

/// Where a client stands in a room.
private struct Place: Equatable {
    var epoch: UInt64
    var offset: UInt64
}

private final class Visitor {
    let client: Client
    var nextID: UInt32 = 2
    /// Rooms asked for and not answered, by command, with the place that recovery was asked from.
    var asked: [UInt32: (room: String, since: Place?)] = [:]
    var leaving: [UInt32: String] = [:]
    /// Publications on their way: room, and the key if it has one.
    var publishing: [UInt32: (room: String, data: Int, key: String?)] = [:]
    /// Rooms that it is in.
    var rooms: [String: Place] = [:]
    /// Where it was in rooms that it has left.
    var known: [String: Place]
    var isClosed = false

    init(_ client: Client, known: [String: Place]) {
        self.client = client
        self.known = known
    }
}

private final class HistorySimulation {
    private let seed: UInt64
    private var random: SeededRandom
    private let house: House
    private var visitors: [ConnectionWord: Visitor] = [:]
    private var everyone: [Visitor] = []
    private let names: [String]
    private let loseRarely: Bool
    private var now = 0
    private var nextPublication = 0
    /// Positions by key: a repeated one has the first one's.
    private var keys: [String: Place] = [:]
    private var recovered = 0
    private var continued = 0
    private var refused = 0
    private var deliveries = 0

    init(seed: UInt64) {
        self.seed = seed
        var random = SeededRandom(seed: seed)
        let loops = Int.random(in: 1...3, using: &random)
        let size = Int.random(in: 3...80, using: &random)
        let limit = Int.random(in: 3...80, using: &random)
        let budget = Int.random(in: 1...12, using: &random)
        let batch = Int.random(in: 100...2000, using: &random)
        let reply = Int.random(in: 500...8000, using: &random)
        house = House(loops: loops) {
            $0.isInsecure = true
            $0.fanOutBudget = budget
            $0.batchBytes = batch
            $0.replyBytes = reply
            $0.waitingRecoveries = 6
            var options = RoomOptions()
            options.history = HistoryOptions(size: size, age: .seconds(300))
            options.recoveryLimit = limit
            options.forcesRecovery = true
            $0.setDefault(options)
        }
        house.mailLimit = Int.random(in: 3...40, using: &random)
        names = (0..<Int.random(in: 1...4, using: &random)).map { "room\($0)" }
        loseRarely = Bool.random(using: &random)
        self.random = random
        for engine in house.engines { engine.holdsLive = true }
        house.observer = { [unowned self] in hear($0, $1) }
    }

    deinit { house.observer = nil }

    /// What happened, so that no run is empty.
    var seen: [String: Int] {
        var seen = ["former epoch": continued]
        for outlet in house.outlets {
            for loss in outlet.losses { seen[loss, default: 0] += 1 }
            seen["gap", default: 0] += outlet.gaps.repaired
            seen.merge(outlet.recoveries, uniquingKeysWith: +)
        }
        for read in house.engines.flatMap(\.reads) where read.purpose == .tail {
            seen[read.query.limit > 0 ? "fill" : "position", default: 0] += 1
        }
        return seen
    }

    private var context: Comment { "seed \(seed), step \(now)" }

    // MARK: What a client hears

    private func hear(_ connection: ConnectionWord, _ told: Told) {
        guard let visitor = visitors[connection] else { return }
        #expect(!visitor.isClosed, "nobody hears anything after its end: \(context)")
        guard case .message(let text) = told else {
            Issue.record("\(told) in \(context)")
            return
        }
        if text.hasPrefix(#"{"push":{"channel":""#) { return hearPush(visitor, text) }
        guard let id = number(text, after: #"{"id":"#).map({ UInt32($0) }) else {
            Issue.record("\(text) in \(context)")
            return
        }
        let failed = text.contains(#""error""#)
        if let (room, since) = visitor.asked.removeValue(forKey: id) {
            if failed { refused += 1 } else { admitted(visitor, room, since, text) }
        } else if let room = visitor.leaving.removeValue(forKey: id) {
            if let place = visitor.rooms.removeValue(forKey: room) { visitor.known[room] = place }
        } else if let publication = visitor.publishing.removeValue(forKey: id) {
            if !failed { acknowledged(publication, text) }
        } else {
            Issue.record("an answer that nobody asked for: \(text), \(context)")
        }
    }

    private func admitted(_ visitor: Visitor, _ room: String, _ since: Place?, _ text: String) {
        // A subscription that was given up while it waited has no position.
        guard let epoch = epoch(text) else { return }
        let place = Place(epoch: epoch, offset: UInt64(lastOffset(text)))
        let entries = entries(text)
        #expect(text.contains(#""was_recovering":true"#) == (since != nil), "\(text), \(context)")
        if text.contains(#""recovered":true"#), let since {
            recovered += 1
            #expect(since.offset <= place.offset, "never behind what the client has seen: \(text), \(context)")
            let missed = since.offset < place.offset ? Array(since.offset + 1...place.offset) : []
            #expect(entries.map { UInt64($0.offset) } == missed, "complete and once: \(text), \(context)")
            if since.epoch != epoch {
                // The former epoch, at most at the last offset that both share.
                let shared = house.engines[house.home(of: room)].shared["\(room) \(epoch)"]
                #expect(shared?.epoch == since.epoch && since.offset <= shared?.offset ?? 0, "\(text), \(context)")
                continued += 1
            }
        } else {
            #expect(entries.isEmpty, "never a partial replay: \(text), \(context)")
        }
        for entry in entries { check(room, epoch, entry) }
        visitor.rooms[room] = place
    }

    private func hearPush(_ visitor: Visitor, _ text: String) {
        let room = String(text.dropFirst(20).prefix { $0 != "\"" })
        guard let place = visitor.rooms[room] else {
            Issue.record("a push of a room that the client is not in: \(text), \(context)")
            return
        }
        if text.contains(#""unsubscribe":{"code":2500"#) {
            visitor.rooms[room] = nil
            visitor.known[room] = place
            return
        }
        guard let entry = entries(text).first else {
            Issue.record("\(text) in \(context)")
            return
        }
        #expect(UInt64(entry.offset) == place.offset + 1, "the next one: \(text), \(context)")
        check(room, place.epoch, entry)
        visitor.rooms[room] = Place(epoch: place.epoch, offset: UInt64(entry.offset))
        deliveries += 1
    }

    /// A position never means two things.
    private func check(_ room: String, _ epoch: UInt64, _ entry: (data: Int, offset: Int)) {
        let truth = house.engines[house.home(of: room)].truth["\(room) \(epoch) \(entry.offset)"]
        #expect(truth?.hasPrefix(#""data":\#(entry.data),"#) == true, "\(room) \(epoch) \(entry), \(context)")
    }

    private func acknowledged(_ publication: (room: String, data: Int, key: String?), _ text: String) {
        guard let epoch = epoch(text) else {
            Issue.record("an acknowledgement without a position: \(text), \(context)")
            return
        }
        let place = Place(epoch: epoch, offset: UInt64(lastOffset(text)))
        guard let key = publication.key else {
            return check(publication.room, epoch, (publication.data, Int(place.offset)))
        }
        #expect((keys[key] ?? place) == place, "one position for one key, \(context)")
        keys[key] = place
    }

    // MARK: Reading messages

    private func number(_ text: Substring, after mark: String) -> Int? {
        guard let range = text.firstRange(of: mark) else { return nil }
        return Int(text[range.upperBound...].prefix { $0.isNumber })
    }

    private func number(_ text: String, after mark: String) -> Int? { number(text[...], after: mark) }

    private func epoch(_ text: String) -> UInt64? {
        guard let range = text.firstRange(of: #""epoch":""#) else { return nil }
        return UInt64(text[range.upperBound...].prefix(16), radix: 16)
    }

    private func lastOffset(_ text: String) -> Int {
        text.split(separator: #""offset":"#, omittingEmptySubsequences: false).dropFirst().last
            .flatMap { Int($0.prefix { $0.isNumber }) } ?? 0
    }

    private func entries(_ text: String) -> [(data: Int, offset: Int)] {
        text.split(separator: #""data":"#, omittingEmptySubsequences: false).dropFirst().compactMap { part in
            guard let data = Int(part.prefix { $0.isNumber }), let offset = number(part, after: #""offset":"#) else {
                return nil
            }
            return (data, offset)
        }
    }

    // MARK: What happens

    func step() {
        now += 1
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<5: connect()
        case 5..<20: if let visitor = pick() { subscribe(visitor) }
        case 20..<25: if let visitor = pick() { unsubscribe(visitor, room()) }
        case 25..<46: if let visitor = pick() { publish(visitor) }
        case 46..<49: if let visitor = pick() { close(visitor) }
        case 49..<62: deliverLive()
        case 62..<80:
            let loop = Int.random(in: 0..<house.loops.count, using: &random)
            house.deliverMail(loop, most: Int.random(in: 1...8, using: &random))
        case 80..<91: _ = house.loops[Int.random(in: 0..<house.loops.count, using: &random)].beforeFlush()
        case 91..<95: for engine in house.engines { engine.answerWaiting() }
        case 95..<97: house.pass(.milliseconds(Int64.random(in: 0...2000, using: &random)))
        case 97: loseOrDoubt()
        default: changeEngine()
        }
        if now % 20 == 0 { house.checkInvariants("\(context)", everyone.map(\.client)) }
    }

    /// Some live messages arrive, in nearly their order, some of them twice or not at all.
    private func deliverLive() {
        let engine = house.engines[Int.random(in: 0..<house.engines.count, using: &random)]
        for _ in 0..<Int.random(in: 1...5, using: &random) where !engine.live.isEmpty {
            let message = engine.live.remove(at: Int.random(in: 0..<min(3, engine.live.count), using: &random))
            switch Int.random(in: 0..<20, using: &random) {
            case 0: break
            case 1: for _ in 0..<2 { engine.deliver(message.room, message.fields, message.position) }
            default: engine.deliver(message.room, message.fields, message.position)
            }
        }
    }

    private func loseOrDoubt() {
        let name = room()
        let engine = house.engines[house.home(of: name)]
        switch Int.random(in: 0..<6, using: &random) {
        case 0, 1:
            if loseRarely, Int.random(in: 0..<6, using: &random) > 0 { return engine.audit(name) }
            // Everything, some of the newest, or nothing but the epoch.
            let top = engine.streams[name]?.top ?? 0
            switch Int.random(in: 0..<3, using: &random) {
            case 0: engine.beginAnew(name)
            case 1: engine.renewEpoch(name, sharing: top - min(top, UInt64.random(in: 0...3, using: &random)))
            default: engine.renewEpoch(name)
            }
            if Bool.random(using: &random) { engine.audit(name) }
        case 2, 3: engine.audit(name)
        case 4: emptyRooms()
        default: engine.delegate?.availabilityChanged(true)
        }
    }

    /// Everybody leaves for so long that the homes end; what is said later is there when the first one comes back.
    private func emptyRooms() {
        for visitor in everyone where !visitor.isClosed {
            for name in names { unsubscribe(visitor, name) }
        }
        for _ in 0..<4 {
            for engine in house.engines { engine.answerWaiting() }
            house.settle()
            house.pass(.seconds(2))
        }
        for _ in 0..<20 { if let visitor = pick() { publish(visitor) } }
    }

    private func changeEngine() {
        let modes: [FakeEngine.Mode] = [.now, .now, .later, .later, .fail(.unavailable)]
        for engine in house.engines {
            // An engine keeps its order: what waits is answered before the mode changes.
            engine.answerWaiting()
            engine.subscribeMode = modes[Int.random(in: 0..<5, using: &random)]
            engine.publishMode = modes[Int.random(in: 0..<5, using: &random)]
            engine.readMode = modes[Int.random(in: 0..<5, using: &random)]
        }
    }

    private func pick() -> Visitor? { everyone.filter { !$0.isClosed }.randomElement(using: &random) }

    /// A new client, or one that was here and knows how far it came.
    private func connect() {
        guard everyone.count(where: { !$0.isClosed }) < 25 else { return }
        let former = everyone.filter(\.isClosed).randomElement(using: &random)
        let client = house.open(loop: Int.random(in: 0..<house.loops.count, using: &random))
        client.say(#"{"id":1,"connect":{}}"#)
        let visitor = Visitor(client, known: Bool.random(using: &random) ? former?.known ?? [:] : [:])
        visitors[client.word] = visitor
        everyone.append(visitor)
    }

    private func command(_ visitor: Visitor) -> UInt32 {
        visitor.nextID += 1
        return visitor.nextID - 1
    }

    private func room() -> String { names[Int.random(in: 0..<names.count, using: &random)] }

    /// Where a visitor says that it stands: where it was, or where only another node can have brought it, or nobody.
    private func place(_ visitor: Visitor, _ name: String) -> Place? {
        guard Int.random(in: 0..<8, using: &random) == 0,
            let stream = house.engines[house.home(of: name)].streams[name]
        else { return visitor.known[name] }
        let ahead = Int.random(in: 0..<3, using: &random) == 0 ? UInt64.random(in: 1...3, using: &random) : 0
        return Place(epoch: stream.epoch, offset: stream.top + ahead)
    }

    private func subscribe(_ visitor: Visitor) {
        let name = room()
        guard visitor.rooms[name] == nil, !visitor.asked.values.contains(where: { $0.room == name }) else { return }
        let id = command(visitor)
        let since = place(visitor, name)
        visitor.asked[id] = (name, since)
        var recover = ""
        if let since {
            let digits = String(since.epoch, radix: 16)
            let epoch = String(repeating: "0", count: 16 - digits.count) + digits
            recover = #","recover":true,"epoch":"\#(epoch)","offset":\#(since.offset)"#
        }
        visitor.client.say(#"{"id":\#(id),"subscribe":{"channel":"\#(name)"\#(recover)}}"#)
    }

    private func unsubscribe(_ visitor: Visitor, _ name: String) {
        let id = command(visitor)
        visitor.leaving[id] = name
        visitor.client.say(#"{"id":\#(id),"unsubscribe":{"channel":"\#(name)"}}"#)
        #expect(visitor.leaving.isEmpty, "unsubscribe is answered at once, \(context)")
    }

    private func publish(_ visitor: Visitor) {
        let id = command(visitor)
        let name = room()
        // Few keys, so that they are repeated.
        let key = Int.random(in: 0..<4, using: &random) == 0 ? "\(name)-\(now / 100)" : nil
        let publication = nextPublication
        nextPublication += 1
        visitor.publishing[id] = (name, publication, key)
        let member = key.map { #","idempotency_key":"\#($0)""# } ?? ""
        visitor.client.say(#"{"id":\#(id),"publish":{"channel":"\#(name)","data":\#(publication)\#(member)}}"#)
    }

    private func close(_ visitor: Visitor) {
        visitor.isClosed = true
        visitor.known.merge(visitor.rooms) { $1 }
        visitor.client.close()
    }

    // MARK: The end

    func finish() {
        house.mailLimit = .max
        for _ in 0..<6 {
            for engine in house.engines {
                engine.subscribeMode = .now
                engine.publishMode = .now
                engine.readMode = .now
                engine.answerWaiting()
                engine.deliverLive()
                engine.delegate?.availabilityChanged(true)
            }
            house.pass(.milliseconds(250))
            house.settle()
        }
        house.checkInvariants("\(context)", everyone.map(\.client))
        let open = everyone.filter { !$0.isClosed }
        for visitor in open {
            #expect(visitor.asked.isEmpty && visitor.publishing.isEmpty, "every command was answered, \(context)")
            let session = visitor.client.rooms.session(visitor.client.word)
            #expect(session?.pointee.pendingCommands == 0, "nothing is counted as waiting, \(context)")
            for (room, place) in visitor.rooms {
                let top = house.engines[house.home(of: room)].streams[room]?.position
                #expect(
                    top == StreamPosition(offset: place.offset, epoch: place.epoch),
                    "a member of \(room) has seen everything, \(context)")
            }
        }
        for rooms in house.loops {
            rooms.home.forEachStream {
                #expect(rooms.home.stream($0)?.waiting.isEmpty == true, "nobody waits, \(context)")
            }
        }
        for visitor in open { close(visitor) }
        for _ in 0..<4 {
            house.pass(.seconds(10))
            house.settle()
        }
        house.checkEmpty("\(context)")
        #expect(recovered > 0 && deliveries > 0, "the run did something, \(context)")
    }
}
