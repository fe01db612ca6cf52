// One engine on a loop that the test turns by hand, and a record of what it told.

import Bytes
import Foundation
import Gateway
import Reactor
import Redis
import Rooms
import Telemetry
import Testing
import Wire

/// Hears an engine. What it does in return is up to the test.
final class EngineRecorder: EngineDelegate {
    enum Event: Equatable {
        case published(UInt64, EngineFailure?)
        case limited(UInt64, RateScope)
        case subscribed(String, EngineFailure?)
        case received(String, String)
        case read(String, ReadTag, EngineFailure?)
        case available(Bool)
        /// The ticket's connection, and why not.
        case entered(UInt64, EntryRefusal?)
        case membersRead(UInt64, EngineFailure?)
        /// `+user client` or `-user client`.
        case member(String, String)
    }

    var events: [Event] = []
    /// Positions of what was acknowledged and of what was received, in order.
    var acknowledged: [StreamPosition] = []
    var receivedAt: [StreamPosition] = []
    /// Both, in the order in which they were told.
    var positions: [StreamPosition] = []
    /// What reads were answered, in order.
    var answers: [HistoryAnswer] = []
    var tickets: [Ticket] = []
    /// How publishes ended, in order.
    var outcomes: [PublishOutcome] = []
    /// Called after each event, inside the engine's call.
    var reaction: ((Event) -> Void)?

    private func record(_ event: Event) {
        events.append(event)
        reaction?(event)
    }

    func published(_ ticket: Ticket, _ outcome: PublishOutcome) {
        tickets.append(ticket)
        outcomes.append(outcome)
        switch outcome {
        case .taken(let position, next: _):
            acknowledged.append(position)
            positions.append(position)
            record(.published(ticket.connection, nil))
        case .limited(let waits): record(.limited(ticket.connection, waits.scope))
        case .failed(let failure): record(.published(ticket.connection, failure))
        }
    }

    /// Where the rooms stood when they were subscribed, in order.
    var subscribedAt: [StreamPosition] = []

    func subscribed(room: UnsafeRawBufferPointer, _ result: Result<RoomStanding, EngineFailure>) {
        let name = String(decoding: room, as: UTF8.self)
        switch result {
        case .success(let standing):
            subscribedAt.append(standing.position)
            if isHome, standing.position.epoch != 0 { servedPositions[name] = standing.position }
            record(.subscribed(name, nil))
        case .failure(let failure): record(.subscribed(name, failure))
        }
    }

    func read(room: UnsafeRawBufferPointer, tag: ReadTag, _ result: Result<HistoryAnswer, EngineFailure>) {
        let name = String(decoding: room, as: UTF8.self)
        switch result {
        case .success(let answer):
            answers.append(answer)
            record(.read(name, tag, nil))
        case .failure(let failure): record(.read(name, tag, failure))
        }
    }

    func received(room: UnsafeRawBufferPointer, position: StreamPosition, fields: UnsafeRawBufferPointer) {
        let name = String(decoding: room, as: UTF8.self)
        receivedAt.append(position)
        positions.append(position)
        if isHome, position.epoch != 0 { serve(name, position) }
        record(.received(name, String(decoding: fields, as: UTF8.self)))
    }

    func availabilityChanged(_ isAvailable: Bool) { record(.available(isAvailable)) }

    /// Pages of members that were read, in order.
    var pages: [MemberPage] = []
    /// How presence works in every room, for whoever asks.
    var presence: PresenceOptions?

    func entered(
        room: UnsafeRawBufferPointer, client: ClientID, ticket: Ticket, _ result: Result<Void, EntryRefusal>
    ) {
        var refusal: EntryRefusal?
        if case .failure(let failure) = result { refusal = failure }
        record(.entered(ticket.connection, refusal))
    }

    func membersRead(_ ticket: Ticket, _ query: MemberQuery, _ result: Result<MemberPage, EngineFailure>) {
        switch result {
        case .success(let page):
            pages.append(page)
            record(.membersRead(ticket.connection, nil))
        case .failure(let failure): record(.membersRead(ticket.connection, failure))
        }
    }

    func memberChanged(room: UnsafeRawBufferPointer, _ event: MemberEvent) {
        let sign = event.isJoin ? "+" : "-"
        let who = "\(String(decoding: event.user, as: UTF8.self)) \(String(decoding: event.client, as: UTF8.self))"
        record(.member(String(decoding: room, as: UTF8.self), sign + who))
    }

    func presence(of room: UnsafeRawBufferPointer) -> PresenceOptions? { presence }

    /// What `observed` told, in order.
    var observations: [RoomStanding] = []
    /// What `served` answers, by room.
    var servedPositions: [String: StreamPosition] = [:]
    /// Whether `served` answers like a home's that mends every gap at once. Else the test says what was served.
    var isHome = false

    func observed(room: UnsafeRawBufferPointer, _ standing: RoomStanding) {
        observations.append(standing)
        if isHome, standing.position.epoch != 0 { serve(String(decoding: room, as: UTF8.self), standing.position) }
    }

    private func serve(_ room: String, _ position: StreamPosition) {
        if let known = servedPositions[room], known.epoch == position.epoch, known.offset >= position.offset { return }
        servedPositions[room] = position
    }

    func served(room: UnsafeRawBufferPointer) -> StreamPosition? {
        servedPositions[String(decoding: room, as: UTF8.self)]
    }
}

/// An engine, its loop and its recorder.
final class EngineRig {
    let loop: Loop
    let engine: any Engine
    let recorder = EngineRecorder()
    let registry: MetricRegistry
    /// What handles connections on the loop, too, and so has to outlive it.
    var relay: FaultyRelay?

    init(_ make: (Loop) throws -> any Engine) throws {
        registry = MetricRegistry(loops: 1, version: "test")
        loop = try Loop(metrics: registry.shard(0))
        engine = try make(loop)
        engine.delegate = recorder
        loop.turn(wait: false)
    }

    deinit {
        engine.shutdown()
        loop.turn(wait: false)
        loop.dismantle()
    }

    /// Turns the loop until `condition` holds. The bound is only there so that a failing test ends.
    func run(
        _ what: Comment, within bound: Duration = .seconds(20), sourceLocation: SourceLocation = #_sourceLocation,
        until condition: () throws -> Bool
    ) throws {
        let clock = ContinuousClock()
        let deadline = clock.now + bound
        while try !condition() {
            if clock.now > deadline {
                Issue.record(
                    "did not happen: \(what); events: \(recorder.events.suffix(20))", sourceLocation: sourceLocation)
                throw EngineRigTimeout()
            }
            // Bounded waiting, so that the bound is looked at even if nothing happens.
            loop.turn()
        }
    }

    func runUntilAvailable() throws { try run("the engine is available") { engine.isAvailable } }

    /// The engine, which is one on Redis.
    var redis: RedisEngine? { engine as? RedisEngine }

    func publish(_ room: String, _ fields: String, _ connection: UInt64 = 1) {
        publish(room, fields, Ticket(connection: connection, command: 1, loop: 0))
    }

    func publish(_ room: String, _ fields: String, _ ticket: Ticket) {
        publish(room, fields, ticket, history: nil)
    }

    /// Publishes to a room with history, or with a key, or both.
    func publish(
        _ room: String, _ fields: String, _ ticket: Ticket = Ticket(connection: 1, command: 1, loop: 0),
        history: HistoryOptions?, sender: String = "", key: String = "", limits: RateLimits? = nil,
        talker: String = ""
    ) {
        raw(room) { room in
            raw(fields) { fields in
                raw(sender) { sender in
                    raw(key) { key in
                        raw(talker) {
                            engine.publish(
                                room: room, fields: fields,
                                options: PublishOptions(
                                    history: history, sender: sender, key: key, limits: limits, talker: $0),
                                ticket: ticket)
                        }
                    }
                }
            }
        }
    }

    /// Reads and returns the answer.
    func read(
        _ room: String, _ history: HistoryOptions, _ query: HistoryQuery,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> HistoryAnswer {
        let before = recorder.answers.count
        let tag = ReadTag(purpose: .history, ticket: Ticket(connection: 1, command: UInt32(before), loop: 0))
        raw(room) { engine.read(room: $0, history: history, query, tag: tag) }
        try run("\(room) is read", sourceLocation: sourceLocation) { recorder.answers.count > before }
        #expect(recorder.events.contains(.read(room, tag, nil)), "the tag comes back", sourceLocation: sourceLocation)
        return try #require(recorder.answers.last, sourceLocation: sourceLocation)
    }

    func subscribe(_ room: String, history: HistoryOptions? = nil) {
        raw(room) { engine.subscribe(room: $0, history: history) }
    }

    /// Subscribes and waits for the answer.
    func join(_ room: String, history: HistoryOptions? = nil) throws {
        let before = count { $0 == .subscribed(room, nil) }
        subscribe(room, history: history)
        try run("\(room) is subscribed") { count { $0 == .subscribed(room, nil) } > before }
    }

    func unsubscribe(_ room: String) { raw(room) { engine.unsubscribe(room: $0) } }

    func count(_ matches: (EngineRecorder.Event) -> Bool) -> Int { recorder.events.count(where: matches) }

    /// Everything received, in order, as `room: fields`.
    var received: [String] {
        recorder.events.compactMap {
            guard case .received(let room, let fields) = $0 else { return nil }
            return "\(room): \(fields)"
        }
    }

    private func raw(_ text: String, _ body: (UnsafeRawBufferPointer) -> Void) {
        Array(text.utf8).withUnsafeBytes(body)
    }
}

struct EngineRigTimeout: Error {}

/// Settings for tests: quick to notice that Redis is away.
func redisSettings(
    _ endpoint: RedisEndpoint, publicationBytes: Int = 1 << 20, lease: Duration = .seconds(5),
    beatInterval: Duration = .seconds(1), _ change: (inout LinkSettings) -> Void = { _ in }
) throws -> RedisEngineSettings {
    var link = LinkSettings()
    link.clientName = "martlet-test"
    change(&link)
    return RedisEngineSettings(
        endpoint: endpoint, link: link, names: try #require(RedisNames(prefix: "martlet")),
        publicationBytes: publicationBytes, lease: lease, beatInterval: beatInterval)
}

func redisRig(
    _ endpoint: RedisEndpoint, beatInterval: Duration = .seconds(1),
    _ change: (inout LinkSettings) -> Void = { _ in }
) throws -> EngineRig {
    let settings = try redisSettings(endpoint, beatInterval: beatInterval, change)
    return try EngineRig { RedisEngine(loop: $0, settings: settings, logger: nil) }
}

/// Several nodes on one Redis, and what they were told: no position may ever stand for two publications, and every
/// publish is answered once.
final class EngineCluster {
    let server: RedisServer
    private(set) var rigs: [EngineRig] = []
    /// Nodes whose loops are not turned.
    var frozen: Set<Int> = []
    /// What the publications hold by number, and how often each was answered.
    private var contents: [String] = []
    private var answers: [Int] = []
    private var rooms: [String] = []
    private var ledger: [Place: String] = [:]
    private(set) var contradictions: [String] = []
    private let settings: RedisEngineSettings

    private struct Place: Hashable {
        var room: String
        var epoch: UInt64
        var offset: UInt64
    }

    /// Nodes that are available and know each other. A long `lease` shows who waits for one in vain.
    init(_ nodes: Int, options: [String] = [], lease: Duration = .seconds(60)) throws {
        server = try RedisServer(options: options)
        settings = try redisSettings(server.endpoint, lease: lease, beatInterval: .milliseconds(50)) {
            $0.backoffCap = .milliseconds(50)
        }
        for _ in 0..<nodes { try add() }
        try runUntilAvailable()
        try beat(2)
    }

    /// Adds a node.
    @discardableResult
    func add() throws -> EngineRig {
        let settings = settings
        let rig = try EngineRig { RedisEngine(loop: $0, settings: settings, logger: nil) }
        rig.recorder.isHome = true
        rig.recorder.reaction = { [unowned self, unowned rig] in note($0, rig.recorder) }
        rigs.append(rig)
        return rig
    }

    /// The others.
    var awake: [Int] { rigs.indices.filter { !frozen.contains($0) } }

    /// Turns every loop that is not frozen once. Waits a little on the last one, so that nothing spins.
    func turn() {
        for node in awake.dropLast() { rigs[node].loop.turn(wait: false) }
        guard let last = awake.last else { return }
        let loop = rigs[last].loop
        let timer = loop.schedule(after: .milliseconds(1)) {}
        loop.turn()
        loop.cancel(timer)
    }

    /// Turns the loops until `condition` holds. The bound is only there so that a failing test ends.
    func run(
        _ what: Comment, within bound: Duration = .seconds(20), sourceLocation: SourceLocation = #_sourceLocation,
        until condition: () throws -> Bool
    ) throws {
        let deadline = ContinuousClock.now + bound
        while try !condition() {
            if ContinuousClock.now > deadline {
                let states = rigs.map { $0.redis?.status.reason ?? "available" }
                Issue.record("did not happen: \(what); \(states)", sourceLocation: sourceLocation)
                throw EngineRigTimeout()
            }
            turn()
        }
    }

    /// Runs until every node that is not frozen is available, and publishing with history works there.
    func runUntilAvailable(sourceLocation: SourceLocation = #_sourceLocation) throws {
        try run("the nodes are available", sourceLocation: sourceLocation) {
            awake.allSatisfy { rigs[$0].engine.isAvailable }
        }
    }

    /// Runs until every node that is not frozen has had `count` more beats answered.
    func beat(_ count: UInt64, sourceLocation: SourceLocation = #_sourceLocation) throws {
        func beats() -> [UInt64] { awake.map { rigs[$0].registry.total(.engineCommands(.beat, .ok)) } }
        let before = beats()
        try run("\(count) beats", sourceLocation: sourceLocation) {
            zip(before, beats()).allSatisfy { $0 + count <= $1 }
        }
    }

    /// Subscribes and waits for the answer.
    func join(_ room: String, on nodes: [Int], _ history: HistoryOptions = EngineCluster.kept) throws {
        for node in nodes {
            let before = rigs[node].count { $0 == .subscribed(room, nil) }
            rigs[node].subscribe(room, history: history)
            try run("\(room) is subscribed") { rigs[node].count { $0 == .subscribed(room, nil) } > before }
        }
    }

    static let kept = HistoryOptions(size: 1000, age: .seconds(60))

    /// Publishes `count` publications from `node`, each of its own content, unless `content` is given.
    func publish(
        _ room: String, from node: Int, count: Int = 1, history: HistoryOptions? = EngineCluster.kept,
        sender: String = "", key: String = "", content: String? = nil, limits: RateLimits? = nil,
        talker: String = ""
    ) {
        for _ in 0..<count {
            let number = contents.count
            contents.append(content ?? "\"data\":\(number)")
            rooms.append(room)
            answers.append(0)
            rigs[node].publish(
                room, contents[number], Ticket(connection: UInt64(number), command: 1, loop: 0), history: history,
                sender: sender, key: key, limits: limits, talker: talker)
        }
    }

    /// Publishes and waits until all of it is acknowledged; the positions.
    @discardableResult
    func publishAll(
        _ room: String, from node: Int, count: Int = 1, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> [StreamPosition] {
        let before = rigs[node].recorder.acknowledged.count
        publish(room, from: node, count: count)
        try run("\(count) are acknowledged", sourceLocation: sourceLocation) {
            rigs[node].recorder.acknowledged.count == before + count
        }
        return Array(rigs[node].recorder.acknowledged[before...])
    }

    /// Where the room stands, asked of `node`.
    func standing(_ room: String, on node: Int) throws -> RoomStanding {
        let query = HistoryQuery(direction: .forward, since: nil, limit: 0, maxBytes: 0)
        return try rigs[node].read(room, EngineCluster.kept, query).standing
    }

    /// Checks what must hold at every end: all is answered, once, and no position stands for two publications.
    func check(sourceLocation: SourceLocation = #_sourceLocation) throws {
        try run("everything is answered", sourceLocation: sourceLocation) { answers.allSatisfy { $0 > 0 } }
        for _ in 0..<5 { turn() }
        #expect(answers.allSatisfy { $0 == 1 }, "each publish is answered once", sourceLocation: sourceLocation)
        #expect(contradictions == [], "a position stands for one publication", sourceLocation: sourceLocation)
    }

    private func note(_ event: EngineRecorder.Event, _ recorder: EngineRecorder) {
        switch event {
        case .published(let number, let failure):
            answers[Int(number)] += 1
            guard failure == nil, let position = recorder.acknowledged.last else { return }
            claim(rooms[Int(number)], position, contents[Int(number)])
        case .received(let room, let fields):
            if let position = recorder.receivedAt.last { claim(room, position, fields) }
        case .limited(let number, _): answers[Int(number)] += 1
        case .subscribed, .read, .available, .entered, .membersRead, .member: break
        }
    }

    private func claim(_ room: String, _ position: StreamPosition, _ content: String) {
        guard position.epoch != 0 else { return }
        let place = Place(room: room, epoch: position.epoch, offset: position.offset)
        if let other = ledger[place], other != content {
            contradictions.append("\(room) \(position.offset)/\(position.epoch): \(other) and \(content)")
        }
        ledger[place] = content
    }
}
