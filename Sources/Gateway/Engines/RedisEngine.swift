// The engine of many processes: rooms are channels of one Redis. One instance per loop, with a connection for commands
// and one for subscriptions; it serves the rooms whose home the loop is. The protocol is in the Redis module; here it
// meets the engine port.
//
// Available means: both links work and every room is subscribed again. Until then each command is answered at once and
// nothing is kept for later. A command whose link breaks is answered `outcomeUnknown` if it may have been written
// wholly, else `unavailable`. State lies behind a pointer, since a class's `var` costs a check per access; events are
// pulled from the links, so that whoever hears a result may send the next command at once.

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
    var isAvailable = false
    /// The loss of the subscriptions' link was dealt with.
    var roomsAreLost = true
    var isWritingScheduled = false
    var timer = TimerToken.none
    var wake = MonotonicTime(nanoseconds: .max)
    /// Messages that were no sound publication.
    var skipped: UInt64 = 0
    var faults = LogSampler()
    var skips = LogSampler()
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
    private let settings: RedisEngineSettings
    private let logger: Logger?

    /// An engine that begins to connect as soon as its loop runs.
    package init(loop: Loop, settings: RedisEngineSettings, logger: Logger?) {
        self.loop = loop
        self.settings = settings
        self.logger = logger
        metrics = loop.metrics
        state = .allocate(capacity: 1)
        state.initialize(
            to: RedisEngineState(
                commands: CommandLink(settings: settings.link),
                rooms: PubSubLink(settings: settings.link, names: settings.names),
                check: PublicationCheck(limit: settings.publicationBytes)))
        commandConnection = RedisConnection(
            loop: loop, endpoint: settings.endpoint, settings: settings.link, random: .system())
        roomConnection = RedisConnection(
            loop: loop, endpoint: settings.endpoint, settings: settings.link, random: .system())
        metrics.set(.engine(.commands), up: false)
        metrics.set(.engine(.subscriptions), up: false)
        for connection in [commandConnection, roomConnection] {
            connection.owner = self
            connection.start()
        }
    }

    deinit {
        state.deinitialize(count: 1)
        state.deallocate()
    }

    /// Messages out of Redis that were skipped because they were no sound publication.
    package var skippedMessages: UInt64 { state.pointee.skipped }

    // MARK: Engine

    package var isAvailable: Bool { state.pointee.isAvailable }

    // Rooms keep no history on Redis yet (the configuration refuses it), so keys and options have nothing to act on.
    package func publish(
        room: UnsafeRawBufferPointer, fields: UnsafeRawBufferPointer, options: PublishOptions, ticket: Ticket
    ) {
        let backlog = commandConnection.queuedBytes + fields.count
        guard state.pointee.isAvailable, fields.count <= settings.publicationBytes,
            backlog <= settings.link.limits.outputBytes
        else { return refusePublish(ticket) }
        let now = loop.now
        let sent = state.pointee.commands.send(CommandTag(ticket), expecting: .integer, now: now) { output in
            output.beginCommand(3)
            output.appendArgument("PUBLISH")
            settings.names.appendChannelArgument(room, to: &output)
            output.appendArgumentLength(RedisEngine.headerLength + fields.count)
            output.append(PublicationEnvelope.plainHeader)
            output.append(fields)
            output.endArgument()
        }
        guard sent else { return refusePublish(ticket) }
        writeCommands()
        if state.pointee.wake > now + settings.link.commandTimeout { redisDeadlineChanged() }
    }

    private static let headerLength = PublicationEnvelope.plainHeader.utf8CodeUnitCount

    private func refusePublish(_ ticket: Ticket) {
        metrics.add(.engineCommands(.publish, .unavailable))
        delegate?.published(ticket, .failure(.unavailable))
    }

    package func subscribe(room: UnsafeRawBufferPointer, history: HistoryOptions?) {
        // A refusal ends whatever there was: the caller takes the room for not subscribed.
        let admission = state.pointee.isAvailable ? state.pointee.rooms.subscribe(room: room) : .refused
        switch admission {
        case .live:
            metrics.add(.engineCommands(.subscribe, .ok))
            delegate?.subscribed(room: room, .success(.none))
        case .pending: scheduleWriting()
        case .refused:
            state.pointee.rooms.unsubscribe(room: room)
            metrics.add(.engineCommands(.subscribe, .unavailable))
            delegate?.subscribed(room: room, .failure(.unavailable))
        }
    }

    package func unsubscribe(room: UnsafeRawBufferPointer) {
        state.pointee.rooms.unsubscribe(room: room)
        // While away, a room less may be the last one that was missing.
        if state.pointee.rooms.hasSubscriptionsToWrite || !state.pointee.isAvailable { scheduleWriting() }
    }

    package func read(room: UnsafeRawBufferPointer, history: HistoryOptions, _ query: HistoryQuery, tag: ReadTag) {
        delegate?.read(room: room, tag: tag, .failure(.unavailable))
    }

    package func shutdown() {
        delegate = nil
        commandConnection.stop()
        roomConnection.stop()
        state.pointee.commands.close()
        state.pointee.rooms.close()
        state.pointee.isAvailable = false
        loop.cancel(state.pointee.timer)
    }

    // MARK: Writing

    /// Hands the commands to the connection; the loop sends all of an iteration in one write.
    func writeCommands() {
        commandConnection.write(state.pointee.commands.output.bytes)
        state.pointee.commands.output.removeAll(keepingAtMost: 64 * 1024)
    }

    /// Makes commands of the rooms whose subscription changed; what was asked for within one iteration goes together.
    private func scheduleWriting() {
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

    // MARK: Availability

    /// Tells when the engine went away or came back.
    func updateAvailability() {
        let areRoomsReady = roomConnection.isReady && state.pointee.rooms.isRestored
        let isAvailable = commandConnection.isReady && areRoomsReady
        metrics.set(.engine(.commands), up: commandConnection.isReady)
        metrics.set(.engine(.subscriptions), up: areRoomsReady)
        guard isAvailable != state.pointee.isAvailable else { return }
        state.pointee.isAvailable = isAvailable
        if isAvailable { logger?.notice("redis is available", metadata: metadata()) }
        delegate?.availabilityChanged(isAvailable)
    }

    /// Logs a failed attempt or a lost link; many in a row are sampled.
    func logFault(_ connection: RedisConnection, _ fault: LinkFault, isLoss: Bool) {
        guard let logger, let left = state.pointee.faults.admit(at: loop.now) else { return }
        var metadata = metadata()
        metadata["error.type"] = .string(fault.name)
        metadata["martlet.engine.link"] = .string(connection === commandConnection ? "commands" : "subscriptions")
        if left > 0 { metadata["martlet.log.suppressed"] = .stringConvertible(left) }
        if isLoss {
            logger.warning("lost a redis link; reconnecting", metadata: metadata)
        } else {
            logger.warning("cannot connect to redis; trying again", metadata: metadata)
        }
    }

    /// Counts a message that was skipped and says so, sampled; its content stays out of the log.
    func skip(room: UnsafeRawBufferPointer, _ reason: StaticString) {
        state.pointee.skipped += 1
        metrics.add(.engineMessagesSkipped)
        guard let logger, let left = state.pointee.skips.admit(at: loop.now) else { return }
        var metadata = metadata()
        metadata["martlet.room"] = .string(String(decoding: room, as: UTF8.self))
        metadata["error.type"] = .stringConvertible(reason)
        if left > 0 { metadata["martlet.log.suppressed"] = .stringConvertible(left) }
        logger.warning("skipped a message from redis that is no publication", metadata: metadata)
    }

    private func metadata() -> Logger.Metadata { ["martlet.loop": .stringConvertible(loop.index)] }
}

extension CommandTag {
    /// The words that stand for `ticket`.
    init(_ ticket: Ticket) {
        self.init(ticket.connection, UInt64(ticket.command) << 16 | UInt64(ticket.loop))
    }
}

extension Ticket {
    /// The ticket that `tag` stands for.
    init(_ tag: CommandTag) {
        self.init(
            connection: tag.first, command: UInt32(clamping: tag.second >> 16), loop: UInt16(tag.second & 0xFFFF))
    }
}
