// Joining and leaving: from the `subscribe` command to the member list and back.
//
// A room is `idle` until its first member; then its home loop is asked, joiners wait, and when the flow runs they are
// answered and added. The reply goes out before the member is on the list, so no publication can overtake it. When the
// last member has left, the room lingers a while (people reload pages), then the home is told.

import Bytes
import Wire

extension LoopRooms {
    /// The room `name` on this loop, made if need be.
    func findOrMakeRoom(_ name: UnsafeRawBufferPointer, hash: UInt64, options: RoomOptions) -> UInt32 {
        if let number = names.find(name, hash: hash) { return number }
        let number = names.insert(name, hash: hash)
        let room = makeRoom(number)
        room.pointee.generation = room.pointee.generation == .max ? 1 : room.pointee.generation + 1
        room.pointee.home = LoopRooms.home(of: hash, loopCount: loopCount)
        room.pointee.options = options
        return number
    }

    /// Adds the session to the room, at once or when the flow runs; the reply to `command` follows.
    func join(
        _ session: UnsafeMutablePointer<Session>, _ number: UInt32, command: UInt32, asksRecovery: Bool
    ) {
        let room = room(number)
        session.pointee.add(Subscription(room: number, position: Subscription.pending))
        subscriptionCount += 1
        if room.pointee.phase == .live {
            complete(session, number, command, asksRecovery)
            return
        }
        session.pointee.pendingCommands += 1
        room.pointee.joiners.append(
            .init(connection: session.pointee.connection, command: command, asksRecovery: asksRecovery))
        guard room.pointee.phase == .idle else { return }
        room.pointee.phase = .joining
        tellHome(.join, number)
    }

    /// Answers a subscriber and puts it on the member list.
    private func complete(
        _ session: UnsafeMutablePointer<Session>, _ number: UInt32, _ command: UInt32, _ asksRecovery: Bool
    ) {
        guard let index = session.pointee.find(number) else { return }
        let room = room(number)
        seal(number, room)
        replySubscribed(session, number, command, wasRecovering: asksRecovery)
        session.pointee.setPosition(index, room.pointee.append(session.pointee.connection))
    }

    /// A subscription that the client gives up while it still waits: its `subscribe` is answered first, so that every
    /// command has its reply.
    func cancelPending(_ session: UnsafeMutablePointer<Session>, _ number: UInt32, _ index: Int) {
        let connection = session.pointee.connection
        guard session.pointee.subscription(index)?.position == Subscription.pending,
            let joiner = room(number).pointee.joiners.first(where: { $0.connection == connection })
        else { return }
        session.pointee.pendingCommands -= 1
        replySubscribed(session, number, joiner.command, wasRecovering: joiner.asksRecovery)
    }

    /// Takes the session out of its subscription number `index`; returns the room's number.
    /// `isAbrupt`: the client did not say goodbye to the room.
    func leave(_ session: UnsafeMutablePointer<Session>, _ index: Int, isAbrupt: Bool = false) -> UInt32? {
        guard let subscription = session.pointee.removeSubscription(index) else { return nil }
        subscriptionCount -= 1
        let number = subscription.room
        let room = room(number)
        if subscription.hearsJoins { room.pointee.listeners -= 1 }
        if room.pointee.options.presence != nil {
            depart(session, number, isAbrupt: isAbrupt && subscription.position != Subscription.pending)
        }
        if subscription.position == Subscription.pending {
            let connection = session.pointee.connection
            room.pointee.joiners.removeAll { $0.connection == connection }
        } else {
            room.pointee.remove(at: subscription.position) { moved, position in
                guard let other = self.session(moved), let place = other.pointee.find(number) else { return }
                other.pointee.setPosition(place, position)
            }
        }
        // In rooms with presence the home has forgotten it, and gives no answer that would say so.
        if room.pointee.options.presence != nil { settle(number, room) }
        if room.pointee.isUnused { linger(number, room) }
        return number
    }

    func linger(_ number: UInt32, _ room: UnsafeMutablePointer<LocalRoom>) {
        guard !room.pointee.isLingering else { return }
        room.pointee.isLingering = true
        if lingering.isEmpty { scheduleLingerCheck() }
        lingering.append((local(number), outlet.now + rules.roomLinger))
    }

    private func scheduleLingerCheck() {
        outlet.schedule(after: rules.roomLinger) { [weak self] in self?.endLingering() }
    }

    private func endLingering() {
        var kept: [(room: UInt64, until: MonotonicTime)] = []
        for entry in lingering {
            let number = entry.room.lowHalf
            let room = room(number)
            guard room.pointee.isUnused else {
                room.pointee.isLingering = false
                continue
            }
            if entry.until > outlet.now || room.pointee.phase == .joining {
                kept.append(entry)
            } else {
                forget(number, room)
            }
        }
        lingering = kept
        if !kept.isEmpty { scheduleLingerCheck() }
    }

    private func forget(_ number: UInt32, _ room: UnsafeMutablePointer<LocalRoom>) {
        // In rooms that are attended the home knows this loop from the first request on, granted or not.
        if room.pointee.phase == .live || room.pointee.options.isAttended { tellHome(.leave, number) }
        if let broadcast = room.pointee.end() { outlet.release(broadcast) }
        let generation = room.pointee.generation
        dirtyRooms.removeAll { $0 == number }
        room.pointee = LocalRoom()
        // At once, not with the next room: answers may still come for a subscriber who gave up in the meantime.
        room.pointee.generation = generation == .max ? 1 : generation + 1
        names.remove(number)
    }

    // MARK: What the home says

    /// The flow runs: everyone who waited is answered and added.
    func flowBegan(_ local: UInt64) {
        guard let number = resolve(local) else { return }
        let room = room(number)
        room.pointee.phase = .live
        // There the home answers each of them.
        if room.pointee.options.isAttended { return }
        let joiners = room.pointee.joiners
        room.pointee.joiners = []
        for joiner in joiners {
            guard let session = session(joiner.connection) else { continue }
            session.pointee.pendingCommands -= 1
            complete(session, number, joiner.command, joiner.asksRecovery)
        }
        if room.pointee.isUnused { linger(number, room) }
    }

    /// The flow could not begin: everyone who waited is told, and may try again.
    func flowRefused(_ local: UInt64, _ failure: EngineFailure) {
        guard let number = resolve(local) else { return }
        let room = room(number)
        // There the home answers each of them, also whoever is still on the way to it.
        if room.pointee.options.isAttended { return settle(number, room) }
        room.pointee.phase = .idle
        let joiners = room.pointee.joiners
        room.pointee.joiners = []
        for joiner in joiners {
            guard let session = session(joiner.connection) else { continue }
            session.pointee.pendingCommands -= 1
            if let index = session.pointee.find(number), session.pointee.removeSubscription(index) != nil {
                subscriptionCount -= 1
            }
            reply(session, joiner.command, .subscribe, error: ErrorCode(failure))
        }
        if room.pointee.isUnused { linger(number, room) }
    }

    /// This loop missed publications of the room: its members are told that continuity is lost, so that they subscribe
    /// again. Never a silent gap: whoever comes now waits until the home sends again.
    func fellBehind(_ local: UInt64) {
        guard let number = resolve(local), room(number).pointee.phase == .live else { return }
        if !room(number).pointee.options.isAttended {
            room(number).pointee.phase = .joining
            tellHome(.join, number)
        }
        let everyone = Array(room(number).pointee.everyone)
        scratch.removeAll()
        JSONCodec.appendUnsubscribePush(room: names.name(of: number), .insufficientState, to: &scratch)
        for connection in everyone {
            guard let session = session(connection), let index = session.pointee.find(number) else { continue }
            outlet.send(connection, scratch.bytes)
            // It comes back at once.
            _ = leave(session, index, isAbrupt: true)
        }
    }

    /// Names a local room for other loops: its number, and which room of that number it is.
    func local(_ number: UInt32) -> UInt64 { UInt64(high: room(number).pointee.generation, low: number) }

    /// The number of a room that another loop names; nil if it is a former one.
    func resolve(_ local: UInt64) -> UInt32? {
        let number = local.lowHalf
        guard Int(number) < roomCapacity, room(number).pointee.generation == local.highHalf else { return nil }
        return number
    }
}
