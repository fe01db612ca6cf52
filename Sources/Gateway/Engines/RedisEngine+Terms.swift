// Which life of Redis counts, and fencing. When Redis comes back as another life than before (restarted, replaced), it
// may have forgotten what it acknowledged. Before anybody writes there, each node compares every room that it knows
// with what it has seen of it; what is missing gives the room another epoch, so that no offset has two contents.
//
// What was seen is taken down once, before anything of the new life can be heard: the link for publications is closed
// first, the link for commands is new. Bounded by the engine's rooms; fences go out in pieces.

import Bytes
import Logging
import Reactor
import Redis
import Rooms
import Telemetry

/// Comparing what was seen with what is there.
struct Fencing {
    /// One position of one room, as it was seen in the term before.
    struct Seen {
        var room: Payload
        var position: RoomPosition
        var historyTTL: Duration
        /// Members here were served up to it. Else this node has only published, which tells little of what others saw.
        var isServed: Bool
    }

    /// What was seen; nil: nothing has ended.
    var seen: [Seen]?
    var mayVouch = false
    /// Of `seen`, how many were sent and how many are answered.
    var sent = 0
    var answered = 0
    /// A fence was refused: all of them are sent again.
    var hasFailed = false
    var renewed = 0
    /// When to try again what Redis refused.
    var retryAt: MonotonicTime?
}

extension RedisEngine {
    private static let fencesInFlight = 512
    private static let retryInterval = Duration.milliseconds(200)
    static let pollInterval = Duration.milliseconds(20)

    /// The command link has logged in.
    func beganLife(_ life: RedisLife) {
        if state.pointee.keeper.linkReady(life: life.value) {
            // What this link still brings belongs to the life before.
            if state.pointee.rooms.isVerified {
                state.pointee.rooms.fail(.otherLife)
                pullRooms()
            }
            takeDownSeen()
        }
        announce()
    }

    /// Does what the keeper says.
    func step(_ step: TermKeeper.Step) {
        switch step {
        case .none: break
        case .announce:
            takeDownSeen()
            updateAvailability()
            announce()
        case .fence(let mayVouch):
            takeDownSeen()
            state.pointee.fencing.mayVouch = mayVouch
            beginFencing()
        case .poll:
            state.pointee.beat.next = loop.now + RedisEngine.pollInterval
            redisDeadlineChanged()
        case .open: opened()
        }
    }

    /// A room is in a later term than ours. Before the registry is asked, a beat has to tell that the server is still
    /// in the life that we know: announced by a link of an old life, that life would count again.
    func heard(of other: RedisTerm?) {
        guard let other, other.life != state.pointee.commands.life?.value else {
            return step(state.pointee.keeper.stale(other))
        }
        state.pointee.beat.rumour = other
        beatNow()
    }

    private func announce() {
        let keeper = state.pointee.keeper
        let call = AnnounceTermCall(
            registry: registry, life: state.pointee.commands.life?.value ?? 0, node: node,
            highestKnown: keeper.highestKnown, remembered: keeper.remembered, lease: settings.lease)
        guard call.life != 0, send(.announce, call.append) else { return }
        writeCommands()
        redisDeadlineChanged()
    }

    /// The registry has answered.
    func announced(_ outcome: CommandOutcome) {
        switch outcome {
        case .reply(let reply):
            guard let result = TermResult(reply) else { return distrust() }
            metrics.add(.engineCommands(.term, .ok))
            step(state.pointee.keeper.answered(result))
            beatNow()
        case .refused: retryLater()
        case .notSent, .outcomeUnknown: break
        }
    }

    private func retryLater() {
        state.pointee.fencing.retryAt = loop.now + RedisEngine.retryInterval
        redisDeadlineChanged()
    }

    /// When `tickTerm` is to be called at the latest.
    var termDeadline: MonotonicTime? {
        guard commandConnection.isReady else { return nil }
        let beat = state.pointee.beat
        let next = beat.sentAt.map { $0 + settings.link.probeTimeout } ?? beat.next
        guard let retryAt = state.pointee.fencing.retryAt else { return next }
        return min(retryAt, next)
    }

    /// Looks at the clock.
    func tickTerm() {
        guard commandConnection.isReady else { return }
        if let retryAt = state.pointee.fencing.retryAt, retryAt <= loop.now {
            state.pointee.fencing.retryAt = nil
            switch state.pointee.keeper.phase {
            case .announcing: announce()
            case .fencing: beginFencing()
            case .absent, .waiting, .open: break
            }
        }
        tickBeat()
    }

    // MARK: Fencing

    /// Takes down what was seen, unless that was done and no term was open since.
    private func takeDownSeen() {
        guard state.pointee.fencing.seen == nil else { return }
        var seen: [Fencing.Seen] = []
        for number in 0..<state.pointee.table.bound {
            guard let entry = state.pointee.table[number] else { continue }
            let name = state.pointee.table.name(number)
            let served = delegate?.served(room: name)
            let room = Payload(copying: name)
            func add(_ position: StreamPosition, isServed: Bool) {
                seen.append(
                    .init(
                        room: room, position: RoomPosition(position), historyTTL: entry.history.age,
                        isServed: isServed))
            }
            if let served { add(served, isServed: true) }
            if let own = entry.acknowledged, own.epoch != served?.epoch || own.offset > served?.offset ?? 0 {
                add(own, isServed: false)
            }
        }
        state.pointee.fencing.seen = seen
    }

    private func beginFencing() {
        state.pointee.fencing.sent = 0
        state.pointee.fencing.answered = 0
        state.pointee.fencing.hasFailed = false
        continueFencing()
    }

    private func continueFencing() {
        let fencing = state.pointee.fencing
        let keeper = state.pointee.keeper
        guard let seen = fencing.seen, let term = keeper.term, let lived = keeper.lived else {
            // Nothing was seen in any term.
            return step(state.pointee.keeper.fenced())
        }
        var sent = fencing.sent
        while sent < seen.count, sent - fencing.answered < RedisEngine.fencesInFlight {
            let entry = seen[sent]
            let call = FenceCall(
                room: entry.room.bytes, term: term, freshEpoch: freshEpoch(), historyTTL: entry.historyTTL,
                seen: entry.position, seenTerm: lived, mayVouch: fencing.mayVouch, isServed: entry.isServed)
            guard send(.fence, { call.append(to: &$0, names: settings.names) }) else { break }
            sent += 1
        }
        state.pointee.fencing.sent = sent
        writeCommands()
        guard sent == seen.count, fencing.answered == sent else {
            // The link takes nothing although nothing is on its way: full of other commands.
            if sent == fencing.answered { retryLater() }
            return
        }
        logger?.notice(
            "compared the rooms with what was seen of them",
            metadata: metadata().merging([
                "martlet.rooms": .stringConvertible(seen.count),
                "martlet.rooms.renewed": .stringConvertible(fencing.renewed),
            ]) { $1 })
        step(state.pointee.keeper.fenced())
    }

    /// A fence was answered.
    func fenced(_ outcome: CommandOutcome) {
        guard case .fencing = state.pointee.keeper.phase else { return }
        state.pointee.fencing.answered += 1
        switch outcome {
        case .reply(let reply):
            guard let result = FenceResult(reply) else { return distrust() }
            metrics.add(.engineCommands(.fence, .ok))
            switch result {
            case .kept: metrics.add(.engineFences(.kept))
            case .renewed:
                metrics.add(.engineFences(.renewed))
                state.pointee.fencing.renewed += 1
            case .otherEpoch: metrics.add(.engineFences(.otherEpoch))
            case .staleTerm(let other): return heard(of: other)
            }
        case .refused(let kind):
            metrics.add(.engineFences(.refused))
            // What concerns this room alone, as an ACL does, must not keep the others shut: it is vouched for by
            // nobody.
            if kind != .noPermission, kind != .other { state.pointee.fencing.hasFailed = true }
        case .notSent, .outcomeUnknown: return
        }
        guard state.pointee.fencing.hasFailed else { return continueFencing() }
        if state.pointee.fencing.answered == state.pointee.fencing.sent { retryLater() }
    }

    private func opened() {
        state.pointee.fencing = Fencing()
        logger?.info(
            "redis term is open",
            metadata: metadata().merging([
                "martlet.term": .stringConvertible(state.pointee.keeper.term?.number ?? 0)
            ]) { $1 })
        // What the store has of this node's members is unknown; the next beat tells first whether it is taken for dead.
        if state.pointee.presence.lived != state.pointee.keeper.term { state.pointee.presence.hasOtherStore = true }
        state.pointee.presence.lived = state.pointee.keeper.term
        beatNow()
        updateAvailability()
        if state.pointee.rooms.isVerified { writeSubscriptions() }
    }
}
