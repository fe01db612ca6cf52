// The engine of many processes: rooms are channels, streams and records of one Redis. One instance per loop, with a
// connection for commands and one for subscriptions; it serves the rooms whose home the loop is. The protocol is in the
// Redis module; here it meets the engine port.
//
// Available means: both links work, they are proven to reach the same server, its term is open and every room is
// subscribed again. A room with history can be published to and read as soon as commands pass in an open term: what
// its members miss meanwhile, the home mends from the stream. Otherwise each command is answered at once and nothing
// is kept for later. A command whose link breaks is answered `outcomeUnknown` if it may have been written wholly, else
// `unavailable`. State lies behind a pointer, since a class's `var` costs a check per access; events are pulled from
// the links, so that whoever hears a result may send the next command at once.
//
// Reading order: this file (the port), +Links (what comes from the connections), +Calls (answers), +Terms (which life
// of Redis counts, fencing), +Beat (probe and audit), +Presence (members), +Reaping (those of dead nodes).

import Bytes
package import Logging
package import Reactor
import Redis
package import Rooms
import Telemetry

/// What the engine of one loop knows.
struct RedisEngineState: ~Copyable {
    var commands: CommandLink
    var rooms: PubSubLink
    var check: PublicationCheck
    /// Rooms with history, and calls in flight.
    var table = EngineRooms()
    var calls = EngineCalls()
    var random = SeededRandom.system()
    /// Holds publishes back while Redis refuses every one of them.
    var breaker: CircuitBreaker
    var keeper: TermKeeper
    var fencing = Fencing()
    var beat = Beat()
    /// Members that this node has brought.
    var presence: NodePresence
    /// Scripts that are being loaded again.
    var scriptsLoading = 0
    var isAvailable = false
    /// The loss of the subscriptions' link was dealt with.
    var roomsAreLost = true
    /// The link for subscriptions was deaf, and its successor has not yet brought a regular probe.
    var provesHearing = false
    /// Why each link was lost last.
    var commandsFault: LinkFault?
    var roomsFault: LinkFault?
    var isWritingScheduled = false
    var timer = TimerToken.none
    var wake = MonotonicTime(nanoseconds: .max)
    /// Messages that were no sound publication.
    var skipped: UInt64 = 0
    var faults = LogSampler()
    var skips = LogSampler()
    var refusals = LogSampler()
}

/// The engine of one loop, on Redis.
package final class RedisEngine: Engine, @unchecked Sendable {
    // Sendable is sound: confined to its loop; it crosses threads only as a reference inside the loop's own closures.
    package var delegate: (any EngineDelegate)?
    let loop: Loop
    let metrics: MetricShard
    let state: UnsafeMutablePointer<RedisEngineState>
    let commandConnection: RedisConnection
    let roomConnection: RedisConnection
    let settings: RedisEngineSettings
    let logger: Logger?
    /// Names of this incarnation in the registry, and its own channel.
    let node: [UInt8]
    let registry: [UInt8]
    let ownChannel: [UInt8]
    /// Why it cannot serve, for readiness.
    package let status = EngineStatus()

    /// An engine that begins to connect as soon as its loop runs.
    package init(loop: Loop, settings: RedisEngineSettings, logger: Logger?) {
        self.loop = loop
        self.settings = settings
        self.logger = logger
        metrics = loop.metrics
        var random = SeededRandom.system()
        // Random, so that a restarted process is another node, and each loop's engine is one of its own.
        node = Array("\(settings.link.clientName)-\(String(random.next(), radix: 16)).\(loop.index)".utf8)
        registry = RedisEngine.name { settings.names.appendTerm(to: &$0) }
        let node = node
        ownChannel = RedisEngine.name { settings.names.appendNodeChannel(node, to: &$0) }
        state = .allocate(capacity: 1)
        state.initialize(
            to: RedisEngineState(
                commands: CommandLink(settings: settings.link),
                rooms: PubSubLink(settings: settings.link, names: settings.names, ownChannel: ownChannel),
                check: PublicationCheck(limit: settings.publicationBytes),
                breaker: CircuitBreaker(random: .system()), keeper: TermKeeper(node: node),
                presence: NodePresence(node: node)))
        commandConnection = RedisConnection(
            loop: loop, endpoint: settings.endpoint, settings: settings.link, random: .system())
        roomConnection = RedisConnection(
            loop: loop, endpoint: settings.endpoint, settings: settings.link, random: .system())
        for role in Labels.EngineRole.allCases { metrics.set(.engine(role), up: false) }
        for connection in [commandConnection, roomConnection] {
            connection.owner = self
            connection.start()
        }
    }

    private static func name(_ append: (inout ByteBuffer) -> Void) -> [UInt8] {
        var buffer = ByteBuffer()
        append(&buffer)
        return Array(buffer.bytes)
    }

    deinit {
        state.deinitialize(count: 1)
        state.deallocate()
    }

    /// Messages out of Redis that were skipped because they were no sound publication.
    package var skippedMessages: UInt64 { state.pointee.skipped }

    // MARK: Engine

    package var isAvailable: Bool { state.pointee.isAvailable }
    package var isStoreKnown: Bool { canCall }

    package func publish(
        room: UnsafeRawBufferPointer, fields: UnsafeRawBufferPointer, options: PublishOptions, ticket: Ticket
    ) {
        let backlog = commandConnection.queuedBytes + fields.count
        let isUsable = options.history == nil ? state.pointee.isAvailable : canCall
        guard isUsable, fields.count <= settings.publicationBytes, backlog <= settings.link.limits.outputBytes,
            state.pointee.breaker.admits(now: loop.now)
        else { return refusePublish(ticket) }
        let isSent =
            if let history = options.history {
                publish(room, fields, options, history, ticket)
            } else if let limits = options.limits {
                passLimited(room, fields, options, limits, ticket)
            } else if options.key.isEmpty {
                publishPlainly(room, fields, ticket)
            } else {
                publishOnce(room, fields, options, ticket)
            }
        guard isSent else {
            state.pointee.breaker.abandoned(now: loop.now)
            return refusePublish(ticket)
        }
        wrote()
    }

    private func publishPlainly(
        _ room: UnsafeRawBufferPointer, _ fields: UnsafeRawBufferPointer, _ ticket: Ticket
    ) -> Bool {
        state.pointee.commands.send(CommandTag(ticket), expecting: .integer, now: loop.now) { output in
            output.beginCommand(3)
            output.appendArgument("PUBLISH")
            settings.names.appendChannelArgument(room, to: &output)
            output.appendArgumentLength(RedisEngine.headerLength + fields.count)
            output.append(PublicationEnvelope.plainHeader)
            output.append(fields)
            output.endArgument()
        }
    }

    private func publishOnce(
        _ room: UnsafeRawBufferPointer, _ fields: UnsafeRawBufferPointer, _ options: PublishOptions, _ ticket: Ticket
    ) -> Bool {
        send(.publishOnce(ticket)) { output in
            PublishOnceCall(room: room, fields: fields, sender: options.sender, key: options.key)
                .append(to: &output, names: settings.names)
        }
    }

    private func passLimited(
        _ room: UnsafeRawBufferPointer, _ fields: UnsafeRawBufferPointer, _ options: PublishOptions,
        _ limits: RateLimits, _ ticket: Ticket
    ) -> Bool {
        let call = PassLimitedCall(
            room: room, fields: fields, limits: ScriptLimits(limits, options.talker),
            idempotency: options.key.isEmpty ? nil : (sender: options.sender, key: options.key))
        return send(.passLimited(ticket)) { call.append(to: &$0, names: settings.names) }
    }

    private func publish(
        _ room: UnsafeRawBufferPointer, _ fields: UnsafeRawBufferPointer, _ options: PublishOptions,
        _ history: HistoryOptions, _ ticket: Ticket
    ) -> Bool {
        guard let term = state.pointee.keeper.term else { return false }
        let number = state.pointee.table.make(room, history)
        let call = PublishCall(
            room: room, fields: fields, term: term, freshEpoch: freshEpoch(), historySize: history.size,
            historyTTL: history.age, seen: seen(number),
            idempotency: options.key.isEmpty ? nil : (sender: options.sender, key: options.key),
            limits: options.limits.map { ScriptLimits($0, options.talker) })
        let isSent = send(.publish(ticket, number), naming: number) { call.append(to: &$0, names: settings.names) }
        #if MARTLET_MUTANTS
        if isSent, PlantedDefect.acksTooEarly.isOn {
            let guess = seen(number).map { StreamPosition(offset: $0.offset + 1, epoch: $0.epoch) }
            delegate?.published(ticket, .taken(guess ?? .none))
        }
        #endif
        return isSent
    }

    private static let headerLength = PublicationEnvelope.plainHeader.utf8CodeUnitCount

    private func refusePublish(_ ticket: Ticket) {
        metrics.add(.engineCommands(.publish, .unavailable))
        delegate?.published(ticket, .failed(.unavailable))
    }

    package func subscribe(room: UnsafeRawBufferPointer, history: HistoryOptions?) {
        // A refusal ends whatever there was: the caller takes the room for not subscribed.
        let admission = state.pointee.isAvailable ? state.pointee.rooms.subscribe(room: room) : .refused
        if let history, admission != .refused {
            let number = state.pointee.table.make(room, history)
            state.pointee.table.update(number) {
                $0.isWanted = true
                $0.owesAnswer = true
            }
        }
        switch admission {
        case .live: flows(room)
        case .pending: scheduleWriting()
        case .refused: refuseSubscribe(room, .unavailable)
        }
    }

    package func unsubscribe(room: UnsafeRawBufferPointer) {
        state.pointee.rooms.unsubscribe(room: room)
        forget(room)
        // While away, a room less may be the last one that was missing.
        if state.pointee.rooms.hasSubscriptionsToWrite || !state.pointee.isAvailable { scheduleWriting() }
    }

    package func read(room: UnsafeRawBufferPointer, history: HistoryOptions, _ query: HistoryQuery, tag: ReadTag) {
        guard canCall, let term = state.pointee.keeper.term else { return refuseRead(room, tag) }
        let number = state.pointee.table.make(room, history)
        // No stream has epoch 0; the script would take it for "whichever it is".
        let isForeign = query.since?.epoch == 0
        let mode: HistoryMode =
            switch query.direction {
            case .forward: .forward
            case .reverse: .reverse
            case .recover: isForeign ? .forward : .recover
            }
        let call = HistoryCall(
            room: room, term: term, freshEpoch: freshEpoch(), historySize: history.size, historyTTL: history.age,
            mode: mode, since: isForeign ? nil : query.since.map { RoomPosition(offset: $0.offset, epoch: $0.epoch) },
            limit: isForeign ? 0 : query.limit, maxBytes: min(query.maxBytes, RedisEngine.longestRead))
        let isSent = send(.read(tag, number, mode, isForeign: isForeign), naming: number) {
            call.append(to: &$0, names: settings.names)
        }
        guard isSent else {
            state.pointee.table.removeIfUnused(number)
            return refuseRead(room, tag)
        }
        wrote()
    }

    /// Bytes of one answer's entries: more would hold Redis and the link up.
    private static let longestRead = 1 << 20

    private func refuseRead(_ room: UnsafeRawBufferPointer, _ tag: ReadTag) {
        metrics.add(.engineCommands(.read, .unavailable))
        delegate?.read(room: room, tag: tag, .failure(.unavailable))
    }

    package func shutdown() {
        delegate = nil
        if canCall, let term = state.pointee.keeper.term {
            // So that nobody waits for this node, should Redis begin a new life soon.
            let call = LeaveCall(
                registry: registry, term: term, node: node, lease: settings.lease,
                leavesMembers: state.pointee.presence.memberCount > 0 || state.pointee.presence.isReborn)
            _ = send(.leave, call.append)
            writeCommands()
        }
        commandConnection.stopAfterFlush()
        roomConnection.stop()
        state.pointee.commands.close()
        state.pointee.rooms.close()
        state.pointee.isAvailable = false
        loop.cancel(state.pointee.timer)
    }

    // MARK: Rooms

    /// Whether calls that name a term pass.
    var canCall: Bool { commandConnection.isReady && state.pointee.keeper.isOpen }

    /// The furthest position that this node has seen of a room: served to members, or acknowledged to publishers.
    private func seen(_ number: UInt32) -> RoomPosition? {
        let served = delegate?.served(room: state.pointee.table.name(number))
        guard let acknowledged = state.pointee.table[number]?.acknowledged else {
            return served.map { RoomPosition($0) }
        }
        guard let served, served.epoch == acknowledged.epoch, served.offset > acknowledged.offset else {
            // Of another epoch, then it is the newer one: the answers of calls are in order.
            return RoomPosition(acknowledged)
        }
        return RoomPosition(served)
    }

    /// The room's publications flow: its members can be told from where, or that they do.
    func flows(_ room: UnsafeRawBufferPointer) {
        metrics.add(.engineCommands(.subscribe, .ok))
        guard let number = state.pointee.table.find(room), let entry = state.pointee.table[number], entry.isWanted
        else {
            delegate?.subscribed(room: room, .success(.none))
            return
        }
        guard entry.owesAnswer, !entry.asksPosition else { return }
        guard canCall, let term = state.pointee.keeper.term else { return refuseSubscribe(room, .unavailable) }
        let call = PositionCall(
            room: room, term: term, freshEpoch: freshEpoch(), historyTTL: entry.history.age)
        let isSent = send(.position(number), naming: number) { call.append(to: &$0, names: settings.names) }
        guard isSent else { return refuseSubscribe(room, .unavailable) }
        state.pointee.table.update(number) { $0.asksPosition = true }
        wrote()
    }

    /// The room is not subscribed any more, and whoever asked is told.
    func refuseSubscribe(_ room: UnsafeRawBufferPointer, _ failure: EngineFailure) {
        state.pointee.rooms.unsubscribe(room: room)
        forget(room)
        scheduleWriting()
        metrics.add(.engineCommands(.subscribe, .unavailable))
        delegate?.subscribed(room: room, .failure(failure))
    }

    /// The room has no members here any more; what was acknowledged is remembered for a while.
    func forget(_ room: UnsafeRawBufferPointer) {
        guard let number = state.pointee.table.find(room) else { return }
        state.pointee.table.update(number) {
            $0.isWanted = false
            $0.owesAnswer = false
            if $0.asksPosition { $0.overtaken += 1 }
            $0.asksPosition = false
        }
        if state.pointee.table[number]?.acknowledged == nil { state.pointee.table.removeIfUnused(number) }
    }

    // MARK: Writing

    /// A random epoch in case a script needs one; 0 is none.
    func freshEpoch() -> UInt64 {
        #if MARTLET_MUTANTS
        if PlantedDefect.keepsTheEpoch.isOn { return 1 }
        #endif
        return state.pointee.random.next() | 1
    }

    /// Sends a call that is answered by an array; `number` is the room that it names, if any. False: nothing was sent.
    func send(_ call: EngineCall, naming number: UInt32? = nil, _ write: (inout ByteBuffer) -> Void) -> Bool {
        let slot = state.pointee.calls.add(call)
        let shape: ReplyShape =
            switch call {
            case .loadScript: .bulkOrNull
            case .listed, .plain: .integer
            default: .array
            }
        guard state.pointee.commands.send(CommandTag(call: slot), expecting: shape, now: loop.now, write) else {
            _ = state.pointee.calls.take(UInt64(slot))
            return false
        }
        if let number { state.pointee.table.retain(number) }
        return true
    }

    /// Something was written to the command link.
    func wrote() {
        writeCommands()
        if state.pointee.wake > loop.now + settings.link.commandTimeout { redisDeadlineChanged() }
    }

    /// Hands the commands to the connection; the loop sends all of an iteration in one write.
    func writeCommands() {
        commandConnection.write(state.pointee.commands.output.bytes)
        state.pointee.commands.output.removeAll(keepingAtMost: 64 * 1024)
    }

    /// Makes commands of the rooms whose subscription changed; what was asked for within one iteration goes together.
    func scheduleWriting() {
        guard !state.pointee.isWritingScheduled else { return }
        state.pointee.isWritingScheduled = true
        loop.execute { [weak self] in
            guard let self else { return }
            state.pointee.isWritingScheduled = false
            writeSubscriptions()
            if !state.pointee.isAvailable { updateAvailability() }
        }
    }

    func writeSubscriptions() {
        state.pointee.rooms.writeSubscriptions(now: loop.now)
        roomConnection.write(state.pointee.rooms.output.bytes)
        state.pointee.rooms.output.removeAll(keepingAtMost: 64 * 1024)
    }
}
