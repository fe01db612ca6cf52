// What the store has to be told of this node's members again: what is in doubt after a link broke, and everything,
// under a new incarnation, after the node was taken for dead or the store has begun a new life. In batches, and
// paced. With it go the list of the node's rooms, by which others find its members should it die, and the touches
// that keep all of it from expiring. On the engine's loop; bounded by the calls in flight.

import Bytes
import Reactor
import Redis
import Rooms
import Telemetry
import Wire

extension RedisEngine {
    /// Members of one call of saying again, and calls of it that are in flight.
    private static let saidAtOnce = 64
    private static let sayingInFlight = 16
    /// Members of one call that empties a former incarnation's set.
    private static let sweptAtOnce = 500
    /// How often the keys of a room, and the list of this node's rooms, are given their time to live again, and how
    /// many rooms are looked at, and touched, with one beat.
    private static let touchInterval = Duration.seconds(8 * 3600)
    private static let roomsLookedAt: UInt32 = 256
    private static let roomsTouched = 4
    /// After so long a silence the registry may have forgotten that it took this node for dead.
    private static let longSilence = Duration.seconds(60)

    // MARK: The node's rooms

    /// Puts the room on the list by which the others find this node's members, should it die. In front of its first
    /// member, on the same link.
    func list(_ number: UInt32) {
        let incarnation = state.pointee.presence.incarnation
        guard state.pointee.presence.listedFor(number) != incarnation else { return }
        let isSent = send(.listed(number, incarnation), member: number) { output in
            output.beginCommand(3)
            output.appendArgument("SADD")
            settings.names.appendNodeRoomsArgument(state.pointee.presence.name, to: &output)
            output.appendArgument(state.pointee.presence.name(number))
        }
        guard isSent else { return }
        state.pointee.presence.update(number) { $0.listedFor = incarnation }
        state.pointee.presence.hasListed = true
        touchList()
    }

    private func touchList() {
        if let touched = state.pointee.presence.listTouched, touched + RedisEngine.touchInterval > loop.now { return }
        let isSent = send(.plain) { output in
            output.beginCommand(3)
            output.appendArgument("PEXPIRE")
            settings.names.appendNodeRoomsArgument(state.pointee.presence.name, to: &output)
            output.appendArgument(decimal: UInt64(clamping: PresenceScope.timeToLive.wholeMilliseconds))
        }
        if isSent { state.pointee.presence.listTouched = loop.now }
    }

    /// The room was put on the list, or was not.
    func listed(_ number: UInt32, _ incarnation: UInt32, _ outcome: CommandOutcome) {
        if case .reply = outcome { return }
        state.pointee.presence.update(number) { if $0.listedFor == incarnation { $0.listedFor = 0 } }
        state.pointee.presence.sayLater(number)
    }

    /// Forgets a room in which this node has nobody any more.
    func removeIfUnused(_ number: UInt32) {
        guard state.pointee.presence.isUnused(number) else { return }
        let listedFor = state.pointee.presence.listedFor(number)
        if listedFor != 0, canCall {
            _ = send(.plain) { output in
                output.beginCommand(3)
                output.appendArgument("SREM")
                settings.names.appendNodeRoomsArgument(state.pointee.presence.name(of: listedFor), to: &output)
                output.appendArgument(state.pointee.presence.name(number))
            }
            scheduleWriting()
            // It may have been the last one: then the list is made anew by the next, and needs its time to live again.
            state.pointee.presence.listTouched = nil
        }
        state.pointee.presence.removeRoom(number)
    }

    /// Keeps what is there from expiring, a few rooms with each beat.
    func touchSome() {
        var touched = 0
        let bound = state.pointee.presence.bound
        for _ in 0..<min(bound, RedisEngine.roomsLookedAt) where touched < RedisEngine.roomsTouched {
            let number = state.pointee.presence.touchFrom
            state.pointee.presence.touchFrom = number + 1 < bound ? number + 1 : 0
            guard let last = state.pointee.presence.touched(number), last + RedisEngine.touchInterval <= loop.now,
                let options = state.pointee.presence.options(number)
            else { continue }
            touched += 1
            state.pointee.presence.update(number) { $0.touched = loop.now }
            _ = send(.memberWord(number), member: number) { output in
                scope(number, options, incarnation: state.pointee.presence.incarnation)
                    .appendTouch(to: &output, names: settings.names)
            }
        }
        if state.pointee.presence.listTouched != nil { touchList() }
    }

    // MARK: Saying again

    /// A beat was answered: the registry knows this incarnation.
    func presenceConfirmed(after silence: Duration) {
        guard canCall else { return }
        if state.pointee.presence.memberCount > 0 || state.pointee.presence.hasListed {
            if silence > RedisEngine.longSilence {
                state.pointee.presence.beReborn(quietly: false)
            } else if state.pointee.presence.hasOtherStore {
                state.pointee.presence.beReborn(quietly: true)
            }
        }
        state.pointee.presence.hasOtherStore = false
        if state.pointee.presence.isReborn { return beatNow() }
        sayAgain()
    }

    /// Says what the store may not know: first what is in doubt, then what no call of this incarnation has said.
    func sayAgain() {
        guard canCall, !state.pointee.presence.isReborn else { return }
        while state.pointee.presence.saying < RedisEngine.sayingInFlight {
            if let doubt = state.pointee.presence.doubts.popLast() {
                guard settle(doubt) else { return state.pointee.presence.doubts.append(doubt) }
            } else if let number = state.pointee.presence.unsaid.last {
                let clients = state.pointee.presence.unsaidMembers(number, most: RedisEngine.saidAtOnce)
                if clients.isEmpty {
                    state.pointee.presence.unsaid.removeLast()
                    if state.pointee.presence.options(number) != nil { list(number) }
                    sweep(number)
                    if state.pointee.presence.unsaid.isEmpty { state.pointee.presence.allSaid() }
                } else if !say(number, clients, isTold: !state.pointee.presence.isQuiet) {
                    return
                }
            } else {
                break
            }
        }
        writeCommands()
    }

    /// Whether nothing hinders it.
    private func settle(_ doubt: NodePresence.Doubt) -> Bool {
        guard let member = state.pointee.presence.member(doubt.room, doubt.client) else { return true }
        return member.isLeaving
            ? sendExit(doubt.room, doubt.client) : say(doubt.room, [doubt.client], isTold: true)
    }

    private func say(_ number: UInt32, _ clients: [ClientID], isTold: Bool) -> Bool {
        guard let options = state.pointee.presence.options(number) else { return true }
        list(number)
        let incarnation = state.pointee.presence.incarnation
        var serials: [UInt32] = []
        var entries: [PresenceEntry] = []
        var kept: [BroughtMember] = []
        for client in clients {
            guard let member = state.pointee.presence.member(number, client) else { continue }
            kept.append(member)
            serials.append(member.serial &+ 1)
            entries.append(PresenceEntry(client: client.bytes, user: member.user.bytes, info: member.info.bytes))
        }
        let isSent = withExtendedLifetime(kept) {
            send(.say(number, clients, serials), member: number) { output in
                // Whoever is in is in: the room's size was looked at when it entered.
                scope(number, options, incarnation: incarnation, isTold: isTold)
                    .appendEnter(entries, mostMembers: 0, to: &output, names: settings.names)
            }
        }
        guard isSent else { return false }
        state.pointee.presence.saying += 1
        for (client, serial) in zip(clients, serials) {
            state.pointee.presence.update(number, client) {
                $0.serial = serial
                $0.incarnation = incarnation
                $0.isDoubtful = false
            }
        }
        return true
    }

    /// What was said again was answered.
    func said(_ number: UInt32, _ clients: [ClientID], _ serials: [UInt32], _ outcome: CommandOutcome) {
        state.pointee.presence.saying -= 1
        if case .reply(let reply) = outcome {
            guard EnterResult(reply, members: clients.count) != nil else { return distrust() }
            metrics.add(.engineCommands(.presence, .ok))
            lingerAgain(number, clients)
            return sayAgain()
        }
        for (client, serial) in zip(clients, serials) {
            state.pointee.presence.update(number, client) { if $0.serial == serial { $0.isDoubtful = true } }
        }
        state.pointee.presence.sayLater(number)
    }

    /// Empties what former incarnations left in a room, after the store has lost something: their lists of rooms, by
    /// which a survivor would find it, may be among what is lost.
    private func sweep(_ number: UInt32) {
        guard state.pointee.presence.isQuiet else { return }
        for incarnation in state.pointee.presence.sweptUpTo..<state.pointee.presence.incarnation {
            sweep(number, incarnation)
        }
    }

    private func sweep(_ number: UInt32, _ incarnation: UInt32) {
        guard let options = state.pointee.presence.options(number) else { return }
        let isSent = send(.sweep(number, incarnation), member: number) { output in
            scope(number, options, incarnation: incarnation, isTold: false)
                .appendReap(most: RedisEngine.sweptAtOnce, to: &output, names: settings.names)
        }
        if !isSent { state.pointee.presence.sayLater(number) }
    }

    /// A former incarnation's set in a room was emptied, or a part of it.
    func swept(_ number: UInt32, _ incarnation: UInt32, _ outcome: CommandOutcome) {
        guard case .reply(let reply) = outcome else { return state.pointee.presence.sayLater(number) }
        guard let result = ReapResult(reply) else { return distrust() }
        if result.left > 0 { sweep(number, incarnation) }
    }

    /// Whoever is said again stays; those whose connection broke are marked once more.
    private func lingerAgain(_ number: UInt32, _ clients: [ClientID]) {
        let lingering = clients.filter { client in
            guard let member = state.pointee.presence.member(number, client) else { return false }
            return member.lingers && !member.isLeaving && member.user.count > 0
        }
        guard !lingering.isEmpty, let options = state.pointee.presence.options(number) else { return }
        _ = send(.memberWord(number), member: number) { output in
            scope(number, options, incarnation: state.pointee.presence.incarnation)
                .appendLinger(lingering.map(\.bytes), to: &output, names: settings.names)
        }
    }
}
