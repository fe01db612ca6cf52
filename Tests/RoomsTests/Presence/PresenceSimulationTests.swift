// A deterministic run of several loops whose rooms keep track of their members: clients come, go, break and come back,
// engines answer late or fail, their words of joins and leaves come late, too, mailboxes overflow. At the end the
// engines hold exactly those who are subscribed; whoever watched a room, by the list that it got and the pushes since
// then, sees exactly who is there; nobody waits for ever, and nothing is left.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct PresenceSimulationTests {
    @Test(arguments: Array(UInt64(1)...32))
    func `the members are the subscriptions, and every watcher sees them`(seed: UInt64) {
        let simulation = PresenceSimulation(seed: seed)
        for _ in 0..<2000 { simulation.step() }
        simulation.finish()
    }

    @Test func `the runs come through everything that they are made for`() {
        var missing: Set<String> = [
            "join", "leave", "refused", "turned away", "expire", "linger", "mailbox", "list", "watched",
        ]
        for seed in UInt64(101)...140 where !missing.isEmpty {
            let simulation = PresenceSimulation(seed: seed)
            for _ in 0..<2000 { simulation.step() }
            simulation.finish()
            for (kind, count) in simulation.seen where count > 0 { missing.remove(kind) }
        }
        #expect(missing == [])
    }
}

private final class Guest {
    let client: Client
    let text: String
    let user: String
    var nextID: UInt32 = 2
    var asked: [UInt32: String] = [:]
    var leaving: [UInt32: String] = [:]
    var listing: [UInt32: String] = [:]
    /// What it has been told of the rooms that it is in since it asked for the list.
    var rooms: [String: [String]] = [:]
    /// Who it believes is there, once the list has come.
    var views: [String: Set<String>] = [:]
    var isClosed = false

    init(_ client: Client, text: String, user: String) {
        self.client = client
        self.text = text
        self.user = user
    }
}

private final class PresenceSimulation {
    private let seed: UInt64
    private var random: SeededRandom
    private let house: House
    private let scope: PresenceOptions.Scope
    /// A full mailbox loses pushes, so that views are only right if there is none.
    private let losesPushes: Bool
    private var guests: [ConnectionWord: Guest] = [:]
    private var everyone: [Guest] = []
    private let names: [String]
    /// Rooms whose list is to be asked for.
    private var toList: [(guest: Guest, room: String)] = []
    private var now = 0
    private var sinceEvents = Duration.zero
    private(set) var seen: [String: Int] = [:]

    init(seed: UInt64) {
        self.seed = seed
        var random = SeededRandom(seed: seed)
        let loops = Int.random(in: 1...3, using: &random)
        let batch = Int.random(in: 200...2000, using: &random)
        let scope: PresenceOptions.Scope = Bool.random(using: &random) ? .user : .client
        let grace = Duration.milliseconds([0, 500, 3000, 7000].randomElement(using: &random) ?? 0)
        let most = Bool.random(using: &random) ? 8 : 0
        let keepsHistory = Bool.random(using: &random)
        let isForced = Int.random(in: 0..<4, using: &random) == 0
        let losesPushes = Int.random(in: 0..<3, using: &random) == 0
        house = presenceHouse(loops: loops) {
            $0.fanOutBudget = 5
            $0.batchBytes = batch
            $0.waitingRecoveries = 6
            if keepsHistory { $1.history = HistoryOptions(size: 20, age: .seconds(300)) }
            $2.scope = scope
            $2.grace = grace
            $2.mostMembers = most
            $2.forcesPushes = isForced
        }
        self.scope = scope
        self.losesPushes = losesPushes
        if losesPushes { house.mailLimit = Int.random(in: 2...8, using: &random) }
        names = (0..<Int.random(in: 1...3, using: &random)).map { "room\($0)" }
        self.random = random
        for engine in house.engines { engine.holdsEvents = true }
        house.observer = { [unowned self] in hear($0, $1) }
    }

    deinit { house.observer = nil }

    private var context: Comment { "seed \(seed), step \(now)" }

    // MARK: What a client hears

    private func hear(_ connection: ConnectionWord, _ told: Told) {
        guard let guest = guests[connection] else { return }
        #expect(!guest.isClosed, "nobody hears anything after its end: \(context)")
        guard case .message(let frame) = told else {
            Issue.record("\(told) in \(context)")
            return
        }
        for line in frame.split(separator: "\n").map(String.init) {
            if line.hasPrefix(#"{"push":{"channel":""#) { hearPush(guest, line) } else { hearReply(guest, line) }
        }
    }

    private func hearReply(_ guest: Guest, _ text: String) {
        let failed = text.contains(#""error""#)
        guard let id = UInt32(text.dropFirst(6).prefix { $0.isNumber }) else {
            Issue.record("\(text) in \(context)")
            return
        }
        if let room = guest.asked.removeValue(forKey: id) {
            if failed {
                seen[text.contains("106") ? "refused" : "turned away", default: 0] += 1
            } else {
                guest.rooms[room] = []
                toList.append((guest, room))
            }
        } else if let room = guest.leaving.removeValue(forKey: id) {
            guest.rooms[room] = nil
            guest.views[room] = nil
        } else if let room = guest.listing.removeValue(forKey: id) {
            guard let told = guest.rooms[room] else { return }
            guard !failed else { return toList.append((guest, room)) }
            seen["list", default: 0] += 1
            guest.views[room] = Set(entries(text))
            for push in told { apply(push, to: &guest.views[room, default: []]) }
        } else if id != 1, !text.contains(#""publish""#), !failed {
            Issue.record("an answer that nobody asked for: \(text), \(context)")
        }
    }

    private func hearPush(_ guest: Guest, _ text: String) {
        let room = String(text.dropFirst(20).prefix { $0 != "\"" })
        guard guest.rooms[room] != nil else {
            Issue.record("a push of a room that the client is not in: \(text), \(context)")
            return
        }
        if text.contains(#""unsubscribe":{"code":2500"#) {
            guest.rooms[room] = nil
            guest.views[room] = nil
            seen["mailbox", default: 0] += 1
        } else if text.contains(#""join":"#) || text.contains(#""leave":"#) {
            seen[text.contains(#""join":"#) ? "join" : "leave", default: 0] += 1
            guest.rooms[room]?.append(text)
            if guest.views[room] != nil { apply(text, to: &guest.views[room, default: []]) }
        }
    }

    private func apply(_ push: String, to view: inout Set<String>) {
        if push.contains(#""join":"#) { view.formUnion(entries(push)) } else { view.subtract(entries(push)) }
    }

    /// Whom a text names: users where they are what joins and leaves, else clients.
    private func entries(_ text: String) -> [String] {
        text.split(separator: "{").compactMap { part in
            guard let client = named(in: String(part)).first else { return nil }
            guard scope == .user, let range = part.firstRange(of: #""user":""#) else { return client }
            return String(part[range.upperBound...].prefix { $0 != "\"" })
        }
    }

    private func key(_ guest: Guest) -> String { scope == .user && !guest.user.isEmpty ? guest.user : guest.text }

    // MARK: What happens

    func step() {
        now += 1
        listNewcomers()
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<8: connect()
        case 8..<28: if let guest = pick() { subscribe(guest) }
        case 28..<38: if let guest = pick() { unsubscribe(guest) }
        case 38..<44: if let guest = pick() { close(guest) }
        case 44..<48: if let guest = pick() { publish(guest) }
        case 48..<72:
            let loop = Int.random(in: 0..<house.loops.count, using: &random)
            house.deliverMail(loop, most: Int.random(in: 1...8, using: &random))
        case 72..<80: _ = house.loops[Int.random(in: 0..<house.loops.count, using: &random)].beforeFlush()
        case 80..<85: deliverEvents()
        case 85..<90: for engine in house.engines { engine.answerWaiting() }
        case 90..<97: pass(.milliseconds(Int64.random(in: 0...250, using: &random)))
        default: changeEngine()
        }
        if now % 20 == 0 { house.checkInvariants("\(context)", everyone.map(\.client)) }
    }

    private func deliverEvents() {
        for engine in house.engines { engine.deliverEvents() }
        sinceEvents = .zero
    }

    /// Words of joins and leaves may be late, but not by more than is allowed for.
    private func pass(_ duration: Duration) {
        sinceEvents += duration
        if sinceEvents > .milliseconds(600) { deliverEvents() }
        house.pass(duration)
    }

    private func changeEngine() {
        let modes: [FakeEngine.Mode] = [.now, .now, .later, .later, .fail(.unavailable)]
        for engine in house.engines {
            if Int.random(in: 0..<5, using: &random) == 0 { engine.failWaiting(.outcomeUnknown) }
            engine.answerWaiting()
            engine.subscribeMode = modes[Int.random(in: 0..<5, using: &random)]
            engine.enterMode = modes[Int.random(in: 0..<5, using: &random)]
            engine.readMode = modes[Int.random(in: 0..<5, using: &random)]
            engine.isStoreKnown = Int.random(in: 0..<6, using: &random) > 0
        }
    }

    private func pick() -> Guest? { everyone.filter { !$0.isClosed }.randomElement(using: &random) }

    private func room() -> String { names[Int.random(in: 0..<names.count, using: &random)] }

    private func command(_ guest: Guest) -> UInt32 {
        guest.nextID += 1
        return guest.nextID - 1
    }

    private func connect() {
        guard everyone.count(where: { !$0.isClosed }) < 15 else { return }
        let user = ["", "ann", "bob", "cy", "dora"][Int.random(in: 0..<5, using: &random)]
        let client = house.open(loop: Int.random(in: 0..<house.loops.count, using: &random), user: user)
        let guest = Guest(client, text: clientText(everyone.count + 1), user: user)
        guests[client.word] = guest
        everyone.append(guest)
        client.say(#"{"id":1,"connect":{}}"#)
    }

    private func subscribe(_ guest: Guest) {
        let name = room()
        guard guest.rooms[name] == nil, !guest.asked.values.contains(name) else { return }
        let id = command(guest)
        guest.asked[id] = name
        guest.client.sayEnter(name, id: id)
    }

    private func unsubscribe(_ guest: Guest) {
        let id = command(guest)
        let name = room()
        guest.leaving[id] = name
        guest.client.sayLeave(name, id: id)
        #expect(guest.leaving.isEmpty, "unsubscribe is answered at once, \(context)")
    }

    private func list(_ guest: Guest, _ name: String) {
        guard !guest.isClosed, guest.rooms[name] != nil else { return }
        let id = command(guest)
        guest.listing[id] = name
        guest.rooms[name] = []
        guest.client.say(#"{"id":\#(id),"presence":{"channel":"\#(name)"}}"#)
    }

    /// Once for each: an engine that is away refuses at once.
    private func listNewcomers() {
        let due = toList
        toList = []
        for (guest, room) in due { list(guest, room) }
    }

    private func publish(_ guest: Guest) {
        guest.client.say(#"{"id":\#(command(guest)),"publish":{"channel":"\#(room())","data":1}}"#)
    }

    private func close(_ guest: Guest) {
        guest.isClosed = true
        guest.client.close(isAbrupt: Bool.random(using: &random))
    }

    // MARK: The end

    private func calm() {
        for engine in house.engines {
            engine.subscribeMode = .now
            engine.enterMode = .now
            engine.readMode = .now
            engine.isStoreKnown = true
            engine.answerWaiting()
        }
        for _ in 0..<100 {
            listNewcomers()
            for engine in house.engines {
                engine.answerWaiting()
                engine.deliverEvents()
            }
            house.wait()
        }
    }

    func finish() {
        calm()
        house.mailLimit = .max
        calm()
        house.checkInvariants("\(context)", everyone.map(\.client))
        let open = everyone.filter { !$0.isClosed }
        for guest in open {
            #expect(guest.asked.isEmpty && guest.listing.isEmpty, "every command was answered, \(context)")
            let session = guest.client.rooms.session(guest.client.word)
            #expect(session?.pointee.pendingCommands == 0, "nothing is counted as waiting, \(context)")
        }
        for name in names {
            let inside = open.filter { $0.rooms[name] != nil }
            let engine = house.engines[house.home(of: name)]
            let page = engine.members[name]?.page(MemberQuery(maxBytes: .max))
            let held = named(in: text(page?.entries) ?? "")
            #expect(held.sorted() == inside.map(\.text).sorted(), "members of \(name), \(context)")
            let truth = Set(inside.map(key))
            for guest in inside where !losesPushes {
                #expect(guest.views[name] == truth, "\(name) as \(guest.text) sees it, \(context)")
                seen["watched", default: 0] += 1
            }
        }
        for call in house.engines.flatMap(\.presenceCalls) { seen[String(call.prefix { $0 != " " }), default: 0] += 1 }
        for guest in open {
            guest.isClosed = true
            guest.client.close(isAbrupt: Bool.random(using: &random))
        }
        checkNobody(house, [], "\(context)")
        for rooms in house.loops { #expect(rooms.graces.next == nil, "graces are left, \(context)") }
        #expect(seen["list", default: 0] > 0 && seen["enter", default: 0] > 0, "the run did something, \(context)")
    }
}
