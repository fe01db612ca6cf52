// What the tests of the rooms share: an outlet made of arrays, an engine that answers as a test says, and a house of
// one or more loops that are joined by bounded queues instead of mailboxes. Everything on the test's thread; the time
// stands still until a test moves it.

import Bytes
import Testing
import Wire

@testable import Rooms

/// What a connection was told.
enum Told: Equatable, CustomStringConvertible {
    case message(String)
    case pingFrame
    case close(DisconnectCode)

    var description: String {
        switch self {
        case .message(let text): text
        case .pingFrame: "ping frame"
        case .close(let code): "close \(code.rawValue)"
        }
    }
}

/// A broadcast of the fake outlet: the messages of its frames.
final class Block {
    let messages: [String]
    init(_ messages: [String]) { self.messages = messages }
}

/// The shell of one loop, without sockets.
final class FakeOutlet: Outlet {
    let loop: Int
    unowned let house: House
    var told: [ConnectionWord: [Told]] = [:]
    /// What is held back, by connection.
    var held: [ConnectionWord: [Told]] = [:]
    var timers: [ConnectionWord: Duration] = [:]
    var scheduled: [(at: MonotonicTime, body: () -> Void)] = []
    var liveBroadcasts = 0
    /// Sizes of the slices in which broadcasts went out.
    var slices: [Int] = []
    var commands: [(CommandName, ErrorCode?)] = []
    var publications = 0
    /// Commands that a limit refused.
    var refusals: [RateScope: Int] = [:]
    /// Recoveries by what was counted: "recovered tail", "lost engine" and so on.
    var recoveries: [String: Int] = [:]
    var gaps: (repaired: Int, lost: Int) = (0, 0)
    /// Joins and leaves that were counted.
    var memberEvents: [String] = []
    /// What was counted as lost continuity.
    var losses: [String] = []

    init(loop: Int, house: House) {
        self.loop = loop
        self.house = house
    }

    var now: MonotonicTime { house.now }

    func send(_ connection: ConnectionWord, _ message: UnsafeRawBufferPointer) {
        append(connection, .message(String(decoding: message, as: UTF8.self)))
    }

    func hold(_ connection: ConnectionWord) { held[connection] = [] }

    func release(_ connection: ConnectionWord, first message: UnsafeRawBufferPointer) {
        let kept = held.removeValue(forKey: connection) ?? []
        if !message.isEmpty { send(connection, message) }
        for item in kept { append(connection, item) }
    }

    func sendPingFrame(_ connection: ConnectionWord) { append(connection, .pingFrame) }

    func close(_ connection: ConnectionWord, _ code: DisconnectCode) { append(connection, .close(code)) }

    func setTimer(_ connection: ConnectionWord, after delay: Duration) { timers[connection] = delay }

    func schedule(after delay: Duration, _ body: @escaping () -> Void) { scheduled.append((now + delay, body)) }

    /// Runs what was scheduled for this moment or before.
    func runDue() {
        let due = scheduled.filter { $0.at <= now }
        scheduled.removeAll { $0.at <= now }
        for item in due { item.body() }
    }

    func makeBroadcast(_ frames: UnsafeRawBufferPointer, messages: Int, since: MonotonicTime) -> Broadcast {
        #expect(since <= now)
        let texts = FakeOutlet.messages(of: frames)
        #expect(texts.count >= messages, "a broadcast holds at least as many frames as publications")
        liveBroadcasts += 1
        return Broadcast(handle: Unmanaged.passRetained(Block(texts)).toOpaque(), messages: messages, since: since)
    }

    func fanOut(_ broadcast: Broadcast, to members: UnsafeBufferPointer<ConnectionWord>) {
        let block = Unmanaged<Block>.fromOpaque(broadcast.handle).takeUnretainedValue()
        slices.append(members.count)
        for member in members {
            for text in block.messages { append(member, .message(text)) }
        }
    }

    func release(_ broadcast: Broadcast) {
        liveBroadcasts -= 1
        Unmanaged<Block>.fromOpaque(broadcast.handle).release()
    }

    func post(_ message: LoopMessage, to target: Int, urgent: Bool) -> Bool {
        house.post(message, to: target, urgent: urgent)
    }

    func record(_ event: RoomEvent) {
        switch event {
        case .command(let name, let error): commands.append((name, error))
        case .publication: publications += 1
        case .limited(let scope): refusals[scope, default: 0] += 1
        case .gap(isRepaired: true): gaps.repaired += 1
        case .gap(isRepaired: false): gaps.lost += 1
        case .recovery(let isRecovered, let fromEngine):
            recoveries["\(isRecovered ? "recovered" : "lost") \(fromEngine ? "engine" : "tail")", default: 0] += 1
        case .continuityLoss(let loss): losses.append("\(loss)")
        case .memberEvent(let isJoin): memberEvents.append(isJoin ? "join" : "leave")
        case .mailboxLoss: losses.append("mailbox")
        }
    }

    func random(_ bytes: UnsafeMutableRawBufferPointer) { house.fillRandom(bytes) }

    private func append(_ connection: ConnectionWord, _ what: Told) {
        if held[connection] != nil {
            held[connection]?.append(what)
            return
        }
        told[connection, default: []].append(what)
        house.observer?(connection, what)
    }

    /// Takes unmasked text frames apart.
    private static func messages(of frames: UnsafeRawBufferPointer) -> [String] {
        var texts: [String] = []
        var index = 0
        while index + 2 <= frames.count {
            #expect(frames[index] == 0x81, "every frame is a whole text message")
            var length = Int(frames[index + 1])
            index += 2
            if length == 126 {
                length = Int(frames[index]) << 8 | Int(frames[index + 1])
                index += 2
            } else if length == 127 {
                length = frames[index..<(index + 8)].reduce(0) { $0 << 8 | Int($1) }
                index += 8
            }
            texts.append(String(decoding: frames[index..<(index + length)], as: UTF8.self))
            index += length
        }
        #expect(index == frames.count)
        return texts
    }
}

/// One or more loops of rooms.
final class House {
    let rules: RoomRules
    private(set) var loops: [LoopRooms] = []
    private(set) var outlets: [FakeOutlet] = []
    private(set) var engines: [FakeEngine] = []
    /// Messages on their way to each loop.
    private(set) var mail: [[LoopMessage]] = []
    /// Messages that wait for one loop before those that are not urgent are refused.
    var mailLimit = Int.max
    /// The most messages that ever waited for one loop.
    private(set) var longestMail = 0
    var now = MonotonicTime(nanoseconds: 1_000_000_000_000)
    var observer: ((ConnectionWord, Told) -> Void)?
    private var nextSlot: [UInt32] = []
    private var generation: UInt32 = 0
    private var identifiers: UInt64 = 0

    init(loops count: Int = 1, _ adjust: (inout RoomRules) -> Void = { $0.isInsecure = true }) {
        var rules = RoomRules()
        rules.version = "1.2"
        rules.node = "n1"
        adjust(&rules)
        self.rules = rules
        mail = Array(repeating: [], count: count)
        nextSlot = Array(repeating: 0, count: count)
        for index in 0..<count {
            let outlet = FakeOutlet(loop: index, house: self)
            let engine = FakeEngine { [unowned self] in self.now }
            outlets.append(outlet)
            engines.append(engine)
            loops.append(
                LoopRooms(
                    loop: index, loopCount: count, rules: rules, outlet: outlet, engine: engine,
                    random: SeededRandom(seed: UInt64(index))))
        }
    }

    // Rooms and engine hold each other.
    deinit { for engine in engines { engine.shutdown() } }

    // MARK: Connections

    /// A new connection on a loop. The word's upper half counts up, so that no two connections ever have the same.
    func open(loop: Int = 0, user: String = "", pingFrames: Bool = false, slot: UInt32? = nil) -> Client {
        generation += 1
        let word = UInt64(generation) << 32 | UInt64(slot ?? nextSlot[loop])
        if slot == nil { nextSlot[loop] += 1 }
        loops[loop].opened(word, user: user, usesPingFrames: pingFrames)
        return Client(house: self, loop: loop, word: word)
    }

    /// A connection that has been through `connect`. `word`: if it is to have the same as one on another loop.
    func connected(
        loop: Int = 0, word: ConnectionWord? = nil, user: String = "", pingFrames: Bool = false
    ) -> Client {
        var client = open(loop: loop, user: user, pingFrames: pingFrames)
        if let word {
            client.close()
            loops[loop].opened(word, user: user, usesPingFrames: pingFrames)
            client = Client(house: self, loop: loop, word: word)
        }
        client.say(#"{"id":1,"connect":{}}"#)
        client.forget()
        return client
    }

    // MARK: Between the loops

    func post(_ message: LoopMessage, to target: Int, urgent: Bool) -> Bool {
        guard urgent || mail[target].count < mailLimit else { return false }
        mail[target].append(message)
        longestMail = max(longestMail, mail[target].count)
        return true
    }

    /// Delivers the oldest messages for a loop, at most `most`; what they cause waits.
    func deliverMail(_ loop: Int, most: Int = .max) {
        let batch = Array(mail[loop].prefix(most))
        mail[loop].removeFirst(batch.count)
        for message in batch { loops[loop].receive(message) }
    }

    /// Delivers messages until none is left.
    func settleMail() {
        while let loop = mail.firstIndex(where: { !$0.isEmpty }) { deliverMail(loop) }
    }

    /// Everything that can happen without time passing: mail and fan-out.
    func settle() {
        var more = true
        while more {
            settleMail()
            more = loops.reduce(false) { $1.beforeFlush() || $0 }
            more = more || mail.contains { !$0.isEmpty }
        }
    }

    /// Lets time pass and runs what was scheduled; the connections' timers are fired by tests.
    func pass(_ duration: Duration) {
        now = now + duration
        for outlet in outlets { outlet.runDue() }
    }

    /// Identifiers that are easy to tell: 0…01, 0…02.
    func fillRandom(_ bytes: UnsafeMutableRawBufferPointer) {
        for index in bytes.indices { bytes[index] = 0 }
        identifiers += 1
        if bytes.count >= 16 { bytes.storeBytes(of: identifiers, toByteOffset: 8, as: UInt64.self) }
    }

    /// The loop that is home to a room.
    func home(of room: String) -> Int {
        var room = room
        return room.withUTF8 {
            LoopRooms.home(of: NameTable.hash(UnsafeRawBufferPointer($0)), loopCount: loops.count)
        }
    }

    /// A name whose home is the given loop.
    func room(home: Int) -> String {
        for index in 0... where self.home(of: "room-\(index)") == home { return "room-\(index)" }
        return ""
    }

    /// Checks that positions, member lists and counts agree on every loop.
    func checkInvariants(_ context: @autoclosure () -> String, _ clients: [Client]) {
        for (index, rooms) in loops.enumerated() {
            var subscriptions = 0
            for client in clients where client.loop == index {
                guard let session = rooms.session(client.word) else { continue }
                for number in 0..<session.pointee.subscriptionCount {
                    guard let subscription = session.pointee.subscription(number) else { continue }
                    subscriptions += 1
                    if subscription.position == Subscription.pending { continue }
                    let members = rooms.room(subscription.room).pointee.everyone
                    let isThere =
                        Int(subscription.position) < members.count
                        && members[Int(subscription.position)] == client.word
                    #expect(isThere, "a subscription's position is the client's own: \(context())")
                }
            }
            #expect(subscriptions == rooms.subscriptionCount, "subscriptions are counted: \(context())")
        }
    }

    /// Checks that nothing is left of rooms, members and flows.
    func checkEmpty(_ context: String) {
        for (index, rooms) in loops.enumerated() {
            #expect(rooms.names.count == 0, "rooms are left on loop \(index): \(context)")
            #expect(rooms.roomCount == 0, "rooms are counted on loop \(index): \(context)")
            #expect(rooms.subscriptionCount == 0, "subscriptions are left on loop \(index): \(context)")
            #expect(rooms.home.names.count == 0, "homes are left on loop \(index): \(context)")
            var streams = 0
            rooms.home.forEachStream { _ in streams += 1 }
            #expect(streams == 0, "streams are left on loop \(index): \(context)")
            #expect(rooms.lingering.isEmpty && rooms.dirtyRooms.isEmpty, "lists are empty on loop \(index): \(context)")
            #expect(engines[index].flows.isEmpty, "flows are left on loop \(index): \(context)")
            #expect(outlets[index].liveBroadcasts == 0, "broadcasts are left on loop \(index): \(context)")
            #expect(mail[index].isEmpty, "mail is left for loop \(index): \(context)")
        }
    }
}

/// A client connection of the house.
final class Client {
    let house: House
    let loop: Int
    let word: ConnectionWord

    init(house: House, loop: Int, word: ConnectionWord) {
        self.house = house
        self.loop = loop
        self.word = word
    }

    var rooms: LoopRooms { house.loops[loop] }

    /// What the connection was told since the last `forget`.
    var told: [Told] { house.outlets[loop].told[word] ?? [] }

    /// The texts of what it was told.
    var heard: [String] { told.map(\.description) }

    func forget() { house.outlets[loop].told[word] = [] }

    /// Sends one frame; nothing else happens.
    func say(_ text: String) {
        var text = text
        text.withUTF8 { rooms.received(word, UnsafeRawBufferPointer($0)) }
    }

    /// Sends one frame, lets everything settle and returns what this client was told.
    @discardableResult
    func ask(_ text: String) -> [String] {
        forget()
        say(text)
        house.settle()
        return heard
    }

    /// Subscribes and expects that it works.
    func join(_ room: String, id: UInt32 = 2, location: SourceLocation = #_sourceLocation) {
        #expect(
            ask(#"{"id":\#(id),"subscribe":{"channel":"\#(room)"}}"#) == [#"{"id":\#(id),"subscribe":{}}"#],
            sourceLocation: location)
        forget()
    }

    /// The connection ends: by a goodbye, or by breaking.
    func close(isAbrupt: Bool = false) { rooms.closed(word, isAbrupt: isAbrupt) }

    func fireTimer() { rooms.timerFired(word) }

    var timer: Duration? { house.outlets[loop].timers[word] }
}

/// The text of the error reply to command `id`.
func errorReply(_ id: UInt32, _ code: ErrorCode) -> String {
    let temporary = code.isTemporary ? #","temporary":true"# : ""
    return #"{"id":\#(id),"error":{"code":\#(code.rawValue),"message":"\#(code.message)"\#(temporary)}}"#
}
