// The beat: once a second one call that renews the node's place in the registry, asks whether the term still counts,
// and publishes to the node's own channel. Its answer proves the command link, its arrival proves the subscription
// link, and that both reach the same server. With it goes the audit: do the rooms stand where they were served up to?
// A publication that the store has and pub/sub lost in a quiet room is found by nothing else.

import Bytes
import Logging
import Reactor
import Redis
import Rooms
import Telemetry

/// The beat of one engine.
struct Beat {
    /// Beats between two audits: 256 rooms in two seconds.
    static let auditEvery: UInt64 = 2
    /// Beats between two sweeps of rooms that are remembered.
    static let sweepEvery: UInt64 = 16

    /// Number of the last one.
    var sequence: UInt64 = 0
    /// When the next one is due.
    var next = MonotonicTime(nanoseconds: 0)
    /// When the one was sent that is not answered.
    var sentAt: MonotonicTime?
    /// When the last one was sent, for the probe's duration.
    var lastSentAt = MonotonicTime(nanoseconds: 0)
    /// The incarnation that the last one named.
    var incarnation: UInt32 = 0
    /// When the registry last took this node for alive.
    var confirmedAt: MonotonicTime?
    /// A later term that a room told of, until a beat has confirmed the server's life.
    var rumour: RedisTerm?
    /// Rooms of the audit that is not answered.
    var audited: [UInt32] = []
    /// Where the next audit begins.
    var auditFrom: UInt32 = 0
}

extension RedisEngine {
    /// Rooms of one audit.
    static let auditedRooms = 256

    /// Sends a beat, unless one is on its way.
    func beatNow() {
        guard commandConnection.isReady, state.pointee.beat.sentAt == nil, let term = state.pointee.keeper.term,
            state.pointee.keeper.phase != .announcing
        else { return }
        let sequence = state.pointee.beat.sequence + 1
        var call = BeatCall(
            registry: registry, term: term, node: node, hasFenced: state.pointee.keeper.hasFenced,
            channel: ownChannel, sequence: sequence, lease: settings.lease,
            incarnation: state.pointee.presence.name)
        call.isReborn = state.pointee.presence.isReborn
        call.replacesQuietly = state.pointee.presence.replacesQuietly
        call.mayReap = state.pointee.presence.reaping == nil
        call.reaped = state.pointee.presence.reaped
        guard send(.beat(sequence: sequence), call.append) else { return }
        state.pointee.beat.sequence = sequence
        state.pointee.beat.incarnation = state.pointee.presence.incarnation
        state.pointee.beat.sentAt = loop.now
        state.pointee.beat.lastSentAt = loop.now
        state.pointee.rooms.highestProbe = sequence
        writeCommands()
        redisDeadlineChanged()
    }

    /// Looks at the clock.
    func tickBeat() {
        if let sentAt = state.pointee.beat.sentAt {
            guard sentAt + settings.link.probeTimeout <= loop.now else { return }
            metrics.add(.engineProbeTimeouts)
            state.pointee.commands.fail(.deaf)
            return pullCommands()
        }
        guard state.pointee.beat.next <= loop.now else { return }
        state.pointee.beat.next = loop.now + settings.beatInterval
        beatNow()
        guard state.pointee.isAvailable else { return }
        touchSome()
        if state.pointee.beat.sequence % Beat.auditEvery == 0 { audit() }
        if state.pointee.beat.sequence % Beat.sweepEvery == 0 { state.pointee.table.sweep(now: loop.now) }
    }

    /// A beat was answered.
    func beaten(_ sequence: UInt64, _ outcome: CommandOutcome) {
        let sentAt = state.pointee.beat.sentAt ?? loop.now
        state.pointee.beat.sentAt = nil
        defer { redisDeadlineChanged() }
        switch outcome {
        case .reply(let reply):
            guard let result = BeatResult(reply) else { return distrust() }
            metrics.add(.engineCommands(.beat, .ok))
            guard result.replication == state.pointee.commands.life?.replication else {
                // The same server, and yet another history: it was made a replica and a master again.
                state.pointee.commands.fail(.otherLife)
                return pullCommands()
            }
            #if MARTLET_MUTANTS
            if !PlantedDefect.staysDeaf.isOn {
                state.pointee.rooms.awaitProbe(sequence, sentAt: sentAt, answeredAt: loop.now)
            }
            #else
            state.pointee.rooms.awaitProbe(sequence, sentAt: sentAt, answeredAt: loop.now)
            #endif
            if let rumour = state.pointee.beat.rumour {
                state.pointee.beat.rumour = nil
                step(state.pointee.keeper.stale(rumour))
            }
            guard let registered = result.result else { return died() }
            if state.pointee.keeper.phase != .announcing { step(state.pointee.keeper.answered(registered)) }
            if case .staleTerm = registered { break }
            confirmed(result.order)
            if roomConnection.isReady, !state.pointee.rooms.isVerified {
                // This one was sent before the link was there: its rooms need not wait for the next interval.
                state.pointee.beat.next = min(state.pointee.beat.next, loop.now + RedisEngine.pollInterval)
            }
        case .refused, .notSent, .outcomeUnknown: break
        }
    }

    /// The others have taken this node for dead: what it brought is being taken out, and is brought again.
    private func died() {
        logger?.warning("this node was taken for dead; its members enter again", metadata: metadata())
        state.pointee.presence.beReborn(quietly: false)
        beatNow()
    }

    /// The registry knows this incarnation, and may have a dead one for it.
    private func confirmed(_ order: ReapOrder?) {
        let silence = state.pointee.beat.confirmedAt.map { loop.now.since($0) } ?? .zero
        state.pointee.beat.confirmedAt = loop.now
        guard state.pointee.beat.incarnation == state.pointee.presence.incarnation else { return }
        state.pointee.presence.isReborn = false
        state.pointee.presence.replacesQuietly = false
        state.pointee.presence.reaped = []
        presenceConfirmed(after: silence)
        if let order { reap(order) } else { continueReaping() }
    }

    /// A beat has come back through the link for subscriptions.
    func probed(_ sequence: UInt64) {
        if sequence == state.pointee.beat.sequence {
            metrics.observe(.engineProbe, loop.now.since(state.pointee.beat.lastSentAt))
        }
        guard !state.pointee.rooms.isVerified else {
            guard state.pointee.provesHearing else { return }
            state.pointee.provesHearing = false
            return updateAvailability()
        }
        state.pointee.rooms.verify()
        writeSubscriptions()
        updateAvailability()
    }

    // MARK: Audit

    private func audit() {
        #if MARTLET_MUTANTS
        if PlantedDefect.staysDeaf.isOn { return }
        #endif
        guard state.pointee.beat.audited.isEmpty else { return }
        let bound = state.pointee.table.bound
        var number = state.pointee.beat.auditFrom
        var rooms: [UInt32] = []
        for _ in 0..<bound where rooms.count < RedisEngine.auditedRooms {
            if number >= bound { number = 0 }
            if let entry = state.pointee.table[number], entry.isWanted, !entry.owesAnswer { rooms.append(number) }
            number += 1
        }
        state.pointee.beat.auditFrom = number
        guard !rooms.isEmpty else { return }
        let call = AuditCall(rooms: rooms.map { state.pointee.table.name($0) })
        guard send(.audit, { call.append(to: &$0, names: settings.names) }) else { return }
        for number in rooms { state.pointee.table.retain(number) }
        state.pointee.beat.audited = rooms
        writeCommands()
    }

    /// The audit was answered.
    func audited(_ outcome: CommandOutcome) {
        let rooms = state.pointee.beat.audited
        state.pointee.beat.audited = []
        defer { for number in rooms { state.pointee.table.release(number) } }
        guard case .reply(let reply) = outcome else { return }
        guard let result = AuditResult(reply, rooms: rooms.count) else { return distrust() }
        metrics.add(.engineCommands(.audit, .ok))
        result.forEach { index, record in
            let number = rooms[index]
            guard state.pointee.table[number]?.isWanted == true else { return }
            // Without a record the room has lost everything: it stands nowhere.
            let standing = record.map { RoomStanding($0) } ?? .none
            delegate?.observed(room: state.pointee.table.name(number), standing)
        }
    }
}
