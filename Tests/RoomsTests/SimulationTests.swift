// A deterministic run of several loops: clients join, leave, talk and vanish in random order, letters between the loops
// wait as long as chance will have it, mailboxes overflow, engines answer late, and fan-out goes in small slices.
// Whoever was subscribed throughout must have heard every acknowledged publication once, in the room's one order, and
// nobody else anything; at the end nothing may be left.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct SimulationTests {
    @Test(arguments: Array(UInt64(1)...24))
    func `any interleaving keeps one order without gaps, duplicates or leaks`(seed: UInt64) {
        let simulation = Simulation(seed: seed)
        for _ in 0..<2500 { simulation.step() }
        simulation.finish()
    }
}

/// What one client knows and what it must have heard of one room.
private struct Interval {
    /// The step at which the reply to subscribe came.
    let since: Int
    var heard: [Int] = []
}

private final class Member {
    let client: Client
    var nextID: UInt32 = 1
    /// Rooms asked for and not answered, by command.
    var asked: [UInt32: String] = [:]
    var leaving: [UInt32: String] = [:]
    var publishing: [UInt32: Int] = [:]
    var rooms: [String: Interval] = [:]
    var isClosed = false

    init(_ client: Client) { self.client = client }
}

private final class Simulation {
    private let seed: UInt64
    private var random: SeededRandom
    private let house: House
    private var members: [ConnectionWord: Member] = [:]
    private var everyone: [Client] = []
    private let names: [String]
    private var now = 0
    private var nextPublication = 0
    /// For each publication the step at which it was sent, and whether it was acknowledged.
    private var sent: [Int] = []
    private var acknowledged: Set<Int> = []
    private var refusedCount = 0
    private var gaps = 0

    init(seed: UInt64) {
        self.seed = seed
        var random = SeededRandom(seed: seed)
        let loops = Int.random(in: 1...3, using: &random)
        let budget = Int.random(in: 1...12, using: &random)
        let batch = Int.random(in: 100...2000, using: &random)
        house = House(loops: loops) {
            $0.isInsecure = true
            $0.fanOutBudget = budget
            $0.batchBytes = batch
        }
        house.mailLimit = Int.random(in: 3...40, using: &random)
        names = (0..<Int.random(in: 1...6, using: &random)).map { "room\($0)" }
        self.random = random
        house.observer = { [unowned self] in hear($0, $1) }
    }

    deinit { house.observer = nil }

    private var context: Comment { "seed \(seed), step \(now)" }

    // MARK: What a client hears

    private func hear(_ connection: ConnectionWord, _ told: Told) {
        guard let member = members[connection] else { return }
        #expect(!member.isClosed, "nobody hears anything after its end: \(context)")
        guard case .message(let text) = told else {
            Issue.record("\(told) in \(context)")
            return
        }
        if text.hasPrefix(#"{"push":{"channel":""#) { return hearPush(member, text) }
        guard let id = number(text, after: #"{"id":"#).map(UInt32.init) else {
            Issue.record("\(text) in \(context)")
            return
        }
        let failed = text.contains(#""error""#)
        if let room = member.asked.removeValue(forKey: id) {
            if !failed { member.rooms[room] = Interval(since: now) }
        } else if let room = member.leaving.removeValue(forKey: id) {
            if let interval = member.rooms.removeValue(forKey: room) { check(interval, room) }
        } else if let publication = member.publishing.removeValue(forKey: id) {
            if failed { refusedCount += 1 } else { acknowledged.insert(publication) }
        } else if id != 1 {
            Issue.record("an answer that nobody asked for: \(text), \(context)")
        }
    }

    private func hearPush(_ member: Member, _ text: String) {
        let room = String(text.dropFirst(20).prefix { $0 != "\"" })
        guard member.rooms[room] != nil else {
            Issue.record("a push of a room that the client is not in: \(text), \(context)")
            return
        }
        if text.contains(#""unsubscribe":{"code":2500"#) {
            gaps += 1
            if let interval = member.rooms.removeValue(forKey: room) { check(interval, room) }
        } else if let publication = number(text, after: #""data":"#) {
            member.rooms[room]?.heard.append(publication)
        } else {
            Issue.record("\(text) in \(context)")
        }
    }

    private func number(_ text: String, after mark: String) -> Int? {
        guard let range = text.firstRange(of: mark) else { return nil }
        return Int(text[range.upperBound...].prefix { $0.isNumber })
    }

    /// The order that the room's engine made.
    private func order(_ room: String) -> [Int] {
        house.engines[house.home(of: room)].published.compactMap { entry in
            entry.room == room ? number(entry.fields, after: #""data":"#) : nil
        }
    }

    /// What a client heard while it was in a room is a run of the room's order, without a gap inside.
    private func check(_ interval: Interval, _ room: String) {
        guard let first = interval.heard.first else { return }
        let all = order(room)
        guard let start = all.firstIndex(of: first) else {
            Issue.record("\(first) was never published to \(room), \(context)")
            return
        }
        let run = Array(all[start...].prefix(interval.heard.count))
        #expect(run == interval.heard, "a run of the order of \(room), \(context)")
    }

    // MARK: What happens

    func step() {
        now += 1
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<4: connect()
        case 4..<18: if let member = pick() { subscribe(member) }
        case 18..<26: if let member = pick() { unsubscribe(member) }
        case 26..<56: if let member = pick() { publish(member) }
        case 56..<58: if let member = pick() { close(member) }
        case 58..<78:
            let loop = Int.random(in: 0..<house.loops.count, using: &random)
            house.deliverMail(loop, most: Int.random(in: 1...8, using: &random))
        case 78..<92: _ = house.loops[Int.random(in: 0..<house.loops.count, using: &random)].beforeFlush()
        case 92..<95: for engine in house.engines { engine.answerWaiting() }
        case 95..<97: house.pass(.milliseconds(Int64.random(in: 0...2000, using: &random)))
        default: changeEngine()
        }
        if now % 20 == 0 { house.checkInvariants("\(context)", everyone) }
    }

    private func changeEngine() {
        let modes: [FakeEngine.Mode] = [.now, .now, .later, .fail(.unavailable)]
        for engine in house.engines {
            // An engine keeps its order: what waits is answered before the mode changes.
            engine.answerWaiting()
            engine.subscribeMode = modes[Int.random(in: 0..<4, using: &random)]
            engine.publishMode = modes[Int.random(in: 0..<4, using: &random)]
        }
    }

    private func pick() -> Member? {
        // By age, since the order of a dictionary is not repeated by a seed.
        let open = everyone.filter { members[$0.word]?.isClosed == false }
        return open.randomElement(using: &random).flatMap { members[$0.word] }
    }

    private func connect() {
        guard members.values.count(where: { !$0.isClosed }) < 25 else { return }
        let client = house.open(loop: Int.random(in: 0..<house.loops.count, using: &random))
        let member = Member(client)
        members[client.word] = member
        everyone.append(client)
        member.client.say(#"{"id":1,"connect":{}}"#)
        member.nextID = 2
    }

    private func command(_ member: Member) -> UInt32 {
        member.nextID += 1
        return member.nextID - 1
    }

    private func room() -> String { names[Int.random(in: 0..<names.count, using: &random)] }

    private func subscribe(_ member: Member) {
        let name = room()
        guard member.rooms[name] == nil, !member.asked.values.contains(name) else { return }
        let id = command(member)
        member.asked[id] = name
        member.client.say(#"{"id":\#(id),"subscribe":{"channel":"\#(name)"}}"#)
    }

    private func unsubscribe(_ member: Member) {
        let name = room()
        let id = command(member)
        member.leaving[id] = name
        member.client.say(#"{"id":\#(id),"unsubscribe":{"channel":"\#(name)"}}"#)
        #expect(member.leaving.isEmpty, "unsubscribe is answered at once, \(context)")
    }

    private func publish(_ member: Member) {
        let id = command(member)
        let publication = nextPublication
        nextPublication += 1
        sent.append(now)
        member.publishing[id] = publication
        member.client.say(#"{"id":\#(id),"publish":{"channel":"\#(room())","data":\#(publication)}}"#)
    }

    private func close(_ member: Member) {
        member.isClosed = true
        for (name, interval) in member.rooms { check(interval, name) }
        member.client.close()
    }

    // MARK: The end

    func finish() {
        let context = context
        house.mailLimit = .max
        for _ in 0..<3 {
            for engine in house.engines {
                engine.subscribeMode = .now
                engine.publishMode = .now
                engine.answerWaiting()
            }
            house.settle()
        }
        house.checkInvariants("\(context)", everyone)
        let open = everyone.compactMap { members[$0.word] }.filter { !$0.isClosed }
        for member in open {
            #expect(member.asked.isEmpty && member.publishing.isEmpty, "every command was answered, \(context)")
            for (room, interval) in member.rooms {
                check(interval, room)
                let heard = Set(interval.heard)
                for publication in order(room) where sent[publication] > interval.since {
                    #expect(heard.contains(publication), "\(publication) of \(room) was missed, \(context)")
                }
            }
        }
        let orders = names.flatMap { order($0) }
        #expect(Set(orders).count == orders.count, "nothing is published twice, \(context)")
        #expect(acknowledged.isSubset(of: orders), "what was acknowledged was published, \(context)")
        for member in open { close(member) }
        for _ in 0..<4 {
            house.pass(.seconds(10))
            house.settle()
        }
        house.checkEmpty("\(context)")
        #expect(!acknowledged.isEmpty, "the run did something, \(context)")
    }
}
