// Presence on Redis: members enter and leave by one script each, which changes the lists and tells the room in one
// step. What was said and not confirmed is said again until the store agrees (NodePresence has the states); after the
// node was taken for dead, or the store has begun a new life, all of it is said again under a new incarnation, in
// batches and paced. Everything here runs on the engine's loop.

import Bytes
import Reactor
import Redis
package import Rooms
import Telemetry
package import Wire

/// A list of members that is being read, page by page.
final class MemberListing {
    let ticket: Ticket
    let query: MemberQuery
    let room: Payload
    // Reached by its engine only, and copied never.
    private let builder: UnsafeMutablePointer<MemberPageBuilder>

    init(ticket: Ticket, query: MemberQuery, room: Payload) {
        self.ticket = ticket
        self.query = query
        self.room = room
        builder = .allocate(capacity: 1)
        builder.initialize(to: MemberPageBuilder(query))
    }

    deinit {
        builder.deinitialize(count: 1)
        builder.deallocate()
    }

    var wanted: Int { builder.pointee.wanted }
    var isFull: Bool { builder.pointee.isFull }

    func add(client: UnsafeRawBufferPointer, info: UnsafeRawBufferPointer) {
        builder.pointee.add(client: client, info: info)
    }

    func page(_ result: ListMembersResult) -> MemberPage {
        builder.pointee.page(cursor: result.cursor, members: result.members, users: result.users)
    }
}

extension RedisEngine {
    /// Members of one call of saying again, and calls of it that are in flight.
    private static let saidAtOnce = 64
    private static let sayingInFlight = 16
    /// Members of one call that empties a former incarnation's set.
    private static let sweptAtOnce = 500
    /// Bytes and members of one page of a list: so much of Redis' time is taken at once.
    private static let pageBytes = 128 * 1024
    private static let pageMembers = 1024
    /// How often the keys of a room, and the list of this node's rooms, are given their time to live again, and how
    /// many rooms are looked at, and touched, with one beat.
    private static let touchInterval = Duration.seconds(8 * 3600)
    private static let roomsLookedAt: UInt32 = 256
    private static let roomsTouched = 4
    /// After so long a silence the registry may have forgotten that it took this node for dead.
    private static let longSilence = Duration.seconds(60)

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

    private func sendExit(_ number: UInt32, _ client: ClientID) -> Bool {
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

    // MARK: The node's rooms

    /// Puts the room on the list by which the others find this node's members, should it die. In front of its first
    /// member, on the same link.
    private func list(_ number: UInt32) {
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
        state.pointee.presence.unsaid.append(number)
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
        if state.pointee.presence.memberCount > 0 {
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
        state.pointee.presence.unsaid.append(number)
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
        if !isSent { state.pointee.presence.unsaid.append(number) }
    }

    /// A former incarnation's set in a room was emptied, or a part of it.
    func swept(_ number: UInt32, _ incarnation: UInt32, _ outcome: CommandOutcome) {
        guard case .reply(let reply) = outcome else { return state.pointee.presence.unsaid.append(number) }
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

    // MARK: Lists

    package func members(room: UnsafeRawBufferPointer, _ query: MemberQuery, ticket: Ticket) {
        let listing = MemberListing(ticket: ticket, query: query, room: Payload(copying: room))
        guard canCall, ask(listing, from: query.cursor) else {
            metrics.add(.engineCommands(.members, .unavailable))
            delegate?.membersRead(ticket, query, .failure(.unavailable))
            return
        }
        wrote()
    }

    private func ask(_ listing: MemberListing, from cursor: UInt64) -> Bool {
        send(.members(listing)) { output in
            ListMembersCall(
                room: listing.room.bytes, cursor: cursor, members: min(listing.wanted, RedisEngine.pageMembers),
                bytes: min(max(1, listing.query.maxBytes), RedisEngine.pageBytes)
            ).append(to: &output, names: settings.names)
        }
    }

    /// A page was answered.
    func membersRead(_ listing: MemberListing, _ outcome: CommandOutcome) {
        var result: Result<MemberPage, EngineFailure> = .failure(.unavailable)
        switch outcome {
        case .reply(let reply):
            guard let page = ListMembersResult(reply) else {
                distrust()
                break
            }
            metrics.add(.engineCommands(.members, .ok))
            page.forEach { client, info in
                guard state.pointee.check.isSound(object: info) else {
                    return skip(room: listing.room.bytes, "unsound_member")
                }
                listing.add(client: client, info: info)
            }
            if page.cursor != 0, !listing.isFull {
                guard ask(listing, from: page.cursor) else { break }
                return wrote()
            }
            result = .success(listing.page(page))
        case .refused, .notSent: break
        case .outcomeUnknown: metrics.add(.engineCommands(.members, lossResult))
        }
        delegate?.membersRead(listing.ticket, listing.query, result)
    }

    // MARK: Calls

    /// What every call says of the room numbered `number`.
    private func scope(
        _ number: UInt32, _ options: PresenceOptions, incarnation: UInt32, isTold: Bool = true
    ) -> PresenceScope {
        PresenceScope(
            room: state.pointee.presence.name(number), node: state.pointee.presence.name(of: incarnation),
            isByUser: options.scope == .user, mostTold: options.toldUpTo, isTold: isTold)
    }

    /// Sends a call that names the room numbered `number`, which stays until it is answered.
    private func send(_ call: EngineCall, member number: UInt32, _ write: (inout ByteBuffer) -> Void) -> Bool {
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
