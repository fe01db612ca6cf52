// Presence on Redis: members enter and leave by one script each, which changes the lists and tells the room in one
// step. What was said and not confirmed is said again until the store agrees: NodePresence has the states,
// RedisEngine+Saying the saying, RedisEngine+Reaping what others have left. On the engine's loop.

import Bytes
import Reactor
import Redis
package import Rooms
import Telemetry
package import Wire

extension RedisEngine {
    package var memberCount: Int { state.pointee.presence.memberCount }

    // MARK: Entering

    package func enter(
        room: UnsafeRawBufferPointer, member: Member, presence: PresenceOptions, ticket: Ticket
    ) {
        guard canCall, commandConnection.queuedBytes <= settings.link.limits.outputBytes else {
            return refuseEntry(room, member.client, ticket, .unavailable)
        }
        let number = state.pointee.presence.make(room, presence, now: loop.now)
        state.pointee.presence.add(number, member)
        state.pointee.presence.update(number, member.client) {
            $0.isLeaving = false
            $0.lingers = false
        }
        list(number)
        guard sendEntry(number, member.client, ticket) else {
            if state.pointee.presence.member(number, member.client)?.isIn == false {
                state.pointee.presence.remove(number, member.client)
            }
            removeIfUnused(number)
            return refuseEntry(room, member.client, ticket, .unavailable)
        }
        wrote()
    }

    private func refuseEntry(
        _ room: UnsafeRawBufferPointer, _ client: ClientID, _ ticket: Ticket, _ failure: EngineFailure
    ) {
        metrics.add(.engineCommands(.presence, .unavailable))
        delegate?.entered(room: room, client: client, ticket: ticket, .failure(.engine(failure)))
    }

    private func sendEntry(_ number: UInt32, _ client: ClientID, _ ticket: Ticket) -> Bool {
        let incarnation = state.pointee.presence.incarnation
        var serial: UInt32 = 0
        state.pointee.presence.update(number, client) {
            $0.serial &+= 1
            $0.incarnation = incarnation
            serial = $0.serial
        }
        guard let options = state.pointee.presence.options(number),
            let member = state.pointee.presence.member(number, client)
        else { return false }
        let entry = PresenceEntry(client: client.bytes, user: member.user.bytes, info: member.info.bytes)
        return send(.enter(ticket, number, client, serial: serial), member: number) { output in
            scope(number, options, incarnation: incarnation)
                .appendEnter([entry], mostMembers: options.mostMembers, to: &output, names: settings.names)
        }
    }

    /// An entrance was answered.
    func entered(_ ticket: Ticket, _ number: UInt32, _ client: ClientID, _ serial: UInt32, _ outcome: CommandOutcome) {
        let member = state.pointee.presence.member(number, client)
        let isLast = member?.serial == serial
        var result: Result<Void, EntryRefusal> = .failure(.engine(.unavailable))
        var stays = member?.isIn ?? false
        switch outcome {
        case .reply(let reply):
            guard let entrance = EnterResult(reply, members: 1)?.states.first else {
                distrust()
                result = .failure(.engine(.outcomeUnknown))
                doubt(number, client, isLast)
                stays = true
                break
            }
            metrics.add(.engineCommands(.presence, .ok))
            stays = entrance != .full
            result = entrance == .full ? .failure(.full) : .success(())
            if isLast, stays { state.pointee.presence.update(number, client) { $0.isIn = true } }
        case .refused, .notSent: break
        case .outcomeUnknown:
            metrics.add(.engineCommands(.presence, lossResult))
            result = .failure(.engine(.outcomeUnknown))
            doubt(number, client, isLast)
            stays = true
        }
        if isLast, !stays { state.pointee.presence.remove(number, client) }
        delegate?.entered(room: state.pointee.presence.name(number), client: client, ticket: ticket, result)
    }

    /// Nobody knows whether the member entered, and whoever asked is told so: it is to be taken out.
    private func doubt(_ number: UInt32, _ client: ClientID, _ isLast: Bool) {
        guard isLast else { return }
        state.pointee.presence.update(number, client) { $0.isLeaving = true }
        state.pointee.presence.doubts.append(.init(room: number, client: client))
    }

    // MARK: Leaving

    package func linger(room: UnsafeRawBufferPointer, client: ClientID, presence: PresenceOptions) {
        guard let number = state.pointee.presence.find(room),
            let member = state.pointee.presence.member(number, client), !member.isLeaving, !member.lingers
        else { return }
        state.pointee.presence.update(number, client) { $0.lingers = true }
        // The store has to know only whose place the next connection may take. If it does not hear of it, that
        // connection is one more for the time of the grace.
        guard canCall, member.user.count > 0 else { return }
        let isSent = send(.memberWord(number), member: number) { output in
            scope(number, presence, incarnation: member.incarnation)
                .appendLinger([client.bytes], to: &output, names: settings.names)
        }
        if isSent { wrote() }
    }

    package func leave(
        room: UnsafeRawBufferPointer, client: ClientID, presence: PresenceOptions, onlyIfLingering: Bool
    ) {
        guard let number = state.pointee.presence.find(room),
            let member = state.pointee.presence.member(number, client), !member.isLeaving,
            !onlyIfLingering || member.lingers
        else { return }
        state.pointee.presence.update(number, client) { $0.isLeaving = true }
        if !sendExit(number, client) { state.pointee.presence.doubts.append(.init(room: number, client: client)) }
    }

    func sendExit(_ number: UInt32, _ client: ClientID) -> Bool {
        var serial: UInt32 = 0
        state.pointee.presence.update(number, client) {
            $0.serial &+= 1
            serial = $0.serial
        }
        guard canCall, let options = state.pointee.presence.options(number),
            let member = state.pointee.presence.member(number, client)
        else { return false }
        let isSent = send(.exit(number, client, serial: serial), member: number) { output in
            scope(number, options, incarnation: member.incarnation)
                .appendExit([client.bytes], to: &output, names: settings.names)
        }
        if isSent { wrote() }
        return isSent
    }

    /// A leave was answered.
    func exited(_ number: UInt32, _ client: ClientID, _ serial: UInt32, _ outcome: CommandOutcome) {
        guard state.pointee.presence.member(number, client)?.serial == serial else { return }
        if case .reply = outcome {
            metrics.add(.engineCommands(.presence, .ok))
            state.pointee.presence.remove(number, client)
        } else {
            if case .outcomeUnknown = outcome { metrics.add(.engineCommands(.presence, lossResult)) }
            state.pointee.presence.doubts.append(.init(room: number, client: client))
        }
    }

    // MARK: Calls

    /// What every call says of the room numbered `number`.
    func scope(
        _ number: UInt32, _ options: PresenceOptions, incarnation: UInt32, isTold: Bool = true
    ) -> PresenceScope {
        PresenceScope(
            room: state.pointee.presence.name(number), node: state.pointee.presence.name(of: incarnation),
            isByUser: options.scope == .user, mostTold: options.toldUpTo, isTold: isTold)
    }

    /// Sends a call that names the room numbered `number`, which stays until it is answered.
    func send(_ call: EngineCall, member number: UInt32, _ write: (inout ByteBuffer) -> Void) -> Bool {
        guard send(call, write) else { return false }
        state.pointee.presence.update(number) { $0.calls += 1 }
        return true
    }

    /// A call that named the room was answered.
    func releaseMembers(_ number: UInt32) {
        state.pointee.presence.update(number) { $0.calls -= 1 }
        removeIfUnused(number)
    }
}

extension ClientID {
    /// The text form.
    var bytes: [UInt8] {
        var text = ByteBuffer(capacity: ClientID.textLength)
        append(to: &text)
        return Array(text.bytes)
    }
}
