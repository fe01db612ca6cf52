// When the engine serves, and what it says when it does not: availability for the rooms, a reason for readiness, lines
// for the log. Many faults in a row are sampled.

import Bytes
import Logging
import Reactor
import Redis
import Rooms
import Telemetry

extension RedisEngine {
    /// Tells when the engine went away or came back.
    func updateAvailability() {
        let areCommandsReady = commandConnection.isReady
        let isTermOpen = state.pointee.keeper.isOpen
        let areRoomsReady = roomConnection.isReady && state.pointee.rooms.isRestored
        metrics.set(.engine(.commands), up: areCommandsReady)
        metrics.set(.engine(.term), up: isTermOpen)
        metrics.set(.engine(.subscriptions), up: areRoomsReady)
        let isAvailable = areCommandsReady && isTermOpen && areRoomsReady
        // A deaf link is replaced within milliseconds. Readiness says so until the next regular probe has come, so that
        // whoever looks once a second sees it and sends nobody to a node whose new link is no better.
        let served: EngineTrouble = state.pointee.provesHearing ? .subscriptionDeaf : .none
        status.trouble = isAvailable ? served : trouble()
        guard isAvailable != state.pointee.isAvailable else { return }
        state.pointee.isAvailable = isAvailable
        if isAvailable { logger?.notice("redis is available", metadata: metadata()) }
        delegate?.availabilityChanged(isAvailable)
    }

    private func trouble() -> EngineTrouble {
        if !commandConnection.isReady { return isDeaf(state.pointee.commandsFault) ? .commandsDeaf : .commandLink }
        if !state.pointee.keeper.isOpen { return .termClosed }
        if !roomConnection.isReady { return isDeaf(state.pointee.roomsFault) ? .subscriptionDeaf : .subscriptionLink }
        return .restoring
    }

    private func isDeaf(_ fault: LinkFault?) -> Bool { fault == .deaf || fault == .timeout }

    // MARK: Log

    /// Logs a failed attempt or a lost link.
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

    /// Counts an error reply of Redis and says so.
    func logRefusal(_ kind: RedisErrorKind, of command: StaticString) {
        metrics.add(.engineErrors(Labels.EngineError(kind)))
        guard let logger, let left = state.pointee.refusals.admit(at: loop.now) else { return }
        var metadata = metadata()
        metadata["error.type"] = .string("\(kind)")
        metadata["martlet.engine.command"] = .stringConvertible(command)
        if left > 0 { metadata["martlet.log.suppressed"] = .stringConvertible(left) }
        logger.warning("redis refused a command: \(kind.advice)", metadata: metadata)
    }

    /// Counts a message that was skipped and says so; its content stays out of the log.
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

    func metadata() -> Logger.Metadata { ["martlet.loop": .stringConvertible(loop.index)] }
}

extension RedisErrorKind {
    /// What an operator can do about it.
    fileprivate var advice: StaticString {
        switch self {
        case .noScript: "its script cache was flushed; the scripts are being loaded again"
        case .loading: "it is loading its data set; wait, or look at its log"
        case .readOnly: "it is a replica; engine.redis.url must name the master"
        case .misconfigured: "it cannot persist to disk (MISCONF); see its log"
        case .outOfMemory: "it is at maxmemory; raise it or keep less history"
        case .busy: "a script of somebody else blocks it; see SCRIPT KILL"
        case .noAuthentication, .wrongPassword: "login refused; check engine.redis.url"
        case .noPermission: "its ACL forbids it; see docs/operations.md for what the user needs"
        case .masterDown: "its master is gone"
        case .tooManyClients: "it is at maxclients"
        case .other: "see its log"
        }
    }
}

extension Labels.EngineError {
    /// What an error of Redis is called in the metrics.
    init(_ kind: RedisErrorKind) {
        switch kind {
        case .noScript: self = .noScript
        case .loading: self = .loading
        case .readOnly: self = .readOnly
        case .misconfigured: self = .misconfigured
        case .outOfMemory: self = .outOfMemory
        case .busy: self = .busy
        case .noAuthentication: self = .noAuth
        case .wrongPassword: self = .wrongPassword
        case .noPermission: self = .noPermission
        case .masterDown: self = .masterDown
        case .tooManyClients: self = .tooManyClients
        case .other: self = .other
        }
    }
}

extension Labels.EngineResult {
    /// What a fault is called in the metrics.
    init(_ fault: LinkFault) {
        switch fault {
        case .timeout, .deaf, .connectTimeout: self = .timeout
        case .refused: self = .refused
        case .badReply, .unexpectedReply, .otherLife, .socket, .closedByServer: self = .lost
        case .unresolved, .shutdown: self = .unavailable
        }
    }
}
