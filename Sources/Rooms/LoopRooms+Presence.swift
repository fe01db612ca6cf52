// Presence at home: subscribers enter before they are let in, departures are told to the engine (those of broken
// connections after their grace), joins and leaves go to every loop, lists and counts are read.
//
// The order of an entrance: the flow runs → the engine lets the member in and tells everybody → the subscriber is
// answered. So a list that is asked for after the reply holds whoever asks, and the own join is heard, too.

import Bytes
import WebSocket
package import Wire

extension LoopRooms {
    // MARK: Entering

    /// Brings a subscriber in, as soon as the room's flow runs.
    func enter(_ number: UInt32, _ presence: HomePresence, _ attendance: Attendance) {
        guard home.isLive(number) else {
            guard presence.waiting.count < rules.waitingRecoveries else { return turnAway(attendance, .unavailable) }
            return presence.hold(attendance)
        }
        guard let member = attendance.member else { return turnAway(attendance, .unavailable) }
        entranceCount = entranceCount == .max ? 1 : entranceCount + 1
        presence.begin(attendance, entrance: entranceCount)
        let ticket = Ticket(
            connection: attendance.connection, command: entranceCount, loop: UInt16(clamping: attendance.loop))
        engine.enter(
            room: attendance.name.bytes,
            member: Member(client: member.client, user: member.user.bytes, info: member.info.bytes),
            presence: presence.options, ticket: ticket)
    }

    /// The room's flow has begun.
    func enterWaiting(_ number: UInt32) {
        guard let presence = home.presence(number) else { return }
        for attendance in presence.takeWaiting() { enter(number, presence, attendance) }
    }

    package func entered(
        room: UnsafeRawBufferPointer, client: ClientID, ticket: Ticket, _ result: Result<Void, EntryRefusal>
    ) {
        guard let number = home.find(room), let presence = home.presence(number),
            let attendance = presence.end(ticket)
        else {
            // Given up meanwhile; who gives up says so to the engine itself.
            return
        }
        switch result {
        case .success: letIn(number, attendance)
        case .failure(.full): send(Errand(.turnedAway(attendance, .full)), to: attendance.loop)
        case .failure(.engine(let failure)): turnAway(attendance, failure)
        }
    }

    /// Lets a subscriber in who has entered.
    private func letIn(_ number: UInt32, _ attendance: Attendance) {
        if let stream = home.stream(number) { return admit(number, stream, .init(attendance: attendance), answer: nil) }
        // Its loop may have fallen behind since it came; those who were there then are told so before this.
        home.forgive(number, loop: attendance.loop)
        let welcome = Welcome(position: .none, isRecovered: false, publications: nil)
        send(Errand(.attended(attendance, welcome)), to: attendance.loop)
    }

    /// The room is not followed any more: who is on the way in is told.
    func abandonEntries(_ presence: HomePresence?, _ failure: EngineFailure) {
        for attendance in presence?.takeAll() ?? [] { turnAway(attendance, failure) }
    }

    // MARK: Leaving

    /// On the member's loop: it has left the room, or has given up waiting for it.
    func depart(_ session: UnsafeMutablePointer<Session>, _ number: UInt32, isAbrupt: Bool) {
        let words = session.pointee.client.words
        // The sender's loop needs no telling: nothing is answered.
        let message = LoopMessage(
            isAbrupt ? .breakOff : .depart, (session.pointee.connection, words.0, words.1, UInt64(loop)),
            object: Payload(copying: names.name(of: number)))
        let target = room(number).pointee.home
        if target == loop {
            receive(message)
        } else {
            // Urgent: a departure that is lost would leave a ghost; bounded by the rooms of the connections.
            _ = outlet.post(message, to: target, urgent: true)
        }
    }

    /// At home: somebody has left.
    func homeDepart(_ message: LoopMessage, isAbrupt: Bool) {
        guard let name = (message.object as? Payload) else { return }
        let client = ClientID(words: (message.words.1, message.words.2))
        if let number = home.find(name.bytes) {
            let comer = Attendance.Comer(connection: message.words.0, loop: Int(message.words.3))
            home.presence(number)?.forget(comer)
            home.stream(number)?.forget(comer)
        }
        guard let options = presence(of: name.bytes) else { return }
        guard isAbrupt, options.grace > .zero else {
            return engine.leave(room: name.bytes, client: client, presence: options, onlyIfLingering: false)
        }
        engine.linger(room: name.bytes, client: client, presence: options)
        graces.add(.init(name: name, client: client, until: outlet.now + options.grace), grace: options.grace)
        scheduleGraces()
    }

    private func scheduleGraces() {
        guard !graces.isScheduled, let next = graces.next else { return }
        graces.isScheduled = true
        outlet.schedule(after: max(GraceQueue.step, next.since(outlet.now))) { [weak self] in self?.endGraces() }
    }

    private func endGraces() {
        graces.isScheduled = false
        while let entry = graces.take(now: outlet.now) {
            guard let options = presence(of: entry.name.bytes) else { continue }
            engine.leave(room: entry.name.bytes, client: entry.client, presence: options, onlyIfLingering: true)
        }
        scheduleGraces()
    }

    package func presence(of room: UnsafeRawBufferPointer) -> PresenceOptions? {
        rules.options(namespace: RoomName.namespace(of: room))?.presence
    }

    // MARK: Joins and leaves

    package func memberChanged(room: UnsafeRawBufferPointer, _ event: MemberEvent) {
        guard let number = home.find(room), let presence = home.presence(number) else { return }
        outlet.record(.memberEvent(isJoin: event.isJoin))
        if presence.add(event, now: outlet.now) { return tellChanges(number, presence) }
        gather(number, presence)
    }

    private func gather(_ number: UInt32, _ presence: HomePresence) {
        guard !presence.isGathering else { return }
        presence.isGathering = true
        outlet.schedule(after: HomePresence.gathering) { [weak self, weak presence] in
            guard let self, let presence else { return }
            presence.isGathering = false
            guard home.presence(number) === presence else { return }
            tellChanges(number, presence)
        }
    }

    /// Tells every loop, in frames of many pushes each.
    private func tellChanges(_ number: UInt32, _ presence: HomePresence) {
        let name = home.names.name(of: number)
        push.removeAll(keepingAtMost: 64 * 1024)
        let behind = home.stream(number)?.waiting.map(\.attendance) ?? []
        for change in presence.takeChanges(behind: behind) {
            if push.count > 0 { push.append(UInt8(ascii: "\n")) }
            JSONCodec.appendMemberPush(room: name, joins: change.isJoin, info: change.info.bytes, to: &push)
            if push.count >= rules.batchBytes { announce(number) }
        }
        if push.count > 0 { announce(number) }
        // Whoever they wait for is let in or gives up, and need not say so here.
        if presence.hasChanges { gather(number, presence) }
    }

    /// Sends the pushes gathered in `push` as one frame to every loop with members.
    private func announce(_ number: UInt32) {
        pushFrame.removeAll(keepingAtMost: 64 * 1024)
        pushFrame.appendFrame(.text, push.bytes)
        push.removeAll(keepingAtMost: 64 * 1024)
        let payload = Payload(copying: pushFrame.bytes)
        home.forEachLoop(number) { target, local in
            if target == loop {
                if let number = resolve(local) { tellMembers(number, payload.bytes) }
            } else {
                // What a full mailbox refuses is lost: whoever shows a list asks for it again now and then.
                _ = outlet.post(LoopMessage(.announce, (local, 0, 0, 0), object: payload), to: target, urgent: false)
            }
        }
    }

    /// On a member's loop: hands a frame of joins and leaves to those who want it.
    func tellMembers(_ number: UInt32, _ frame: UnsafeRawBufferPointer) {
        let room = room(number)
        guard let presence = room.pointee.options.presence else { return }
        if presence.forcesPushes { return deliver(number, frame, publications: 0) }
        guard room.pointee.listeners > 0 else { return }
        var listeners: [ConnectionWord] = []
        listeners.reserveCapacity(room.pointee.listeners)
        for connection in room.pointee.everyone {
            guard let session = session(connection), let index = session.pointee.find(number),
                session.pointee.subscription(index)?.hearsJoins == true
            else { continue }
            listeners.append(connection)
        }
        let broadcast = outlet.makeBroadcast(frame, messages: 0, since: outlet.now)
        listeners.withUnsafeBufferPointer { outlet.fanOut(broadcast, to: $0) }
        outlet.release(broadcast)
    }

    // MARK: Lists

    /// Sends a question about a room's members to its home.
    func readMembers(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ room: WireBytes, _ query: MemberQuery) {
        let ticket = Ticket(connection: session.pointee.connection, command: id, loop: UInt16(loop))
        session.pointee.pendingCommands += 1
        let order = MemberOrder(name: Payload(copying: room), ticket: ticket, query: query)
        send(Errand(.members(order)), to: LoopRooms.home(of: NameTable.hash(room), loopCount: loopCount))
    }

    /// At home: asks the engine, once for everybody who asks the same.
    func homeMembers(_ order: MemberOrder) {
        let question = MemberReads.Question(
            room: Array(order.name.bytes), cursor: order.query.cursor, limit: order.query.limit)
        guard memberReads.ask(question, order.ticket) else {
            return send(
                Errand(.membersRead(order.ticket, order.query, .failure(.unavailable))), to: Int(order.ticket.loop))
        }
        readMembers()
    }

    private func readMembers() {
        while let (number, question) = memberReads.begin() {
            let query = MemberQuery(cursor: question.cursor, limit: question.limit, maxBytes: rules.replyBytes)
            question.room.withUnsafeBytes { name in
                if question.limit != 0, let number = home.find(name) {
                    home.presence(number)?.noteList(now: outlet.now)
                }
                engine.members(room: name, query, ticket: Ticket(connection: number, command: 0, loop: UInt16(loop)))
            }
        }
    }

    package func membersRead(_ ticket: Ticket, _ query: MemberQuery, _ result: Result<MemberPage, EngineFailure>) {
        for waiting in memberReads.end(ticket.connection) {
            send(Errand(.membersRead(waiting, query, result)), to: Int(waiting.loop))
        }
        readMembers()
    }

    /// On the reader's loop: the reply.
    func finishMembers(_ ticket: Ticket, _ query: MemberQuery, _ result: Result<MemberPage, EngineFailure>) {
        guard let session = session(ticket.connection) else { return }
        session.pointee.pendingCommands -= 1
        let isCount = query.limit == 0
        switch result {
        case .failure(let failure):
            reply(session, ticket.command, isCount ? .presenceStats : .presence, error: ErrorCode(failure))
        case .success(let page) where isCount: replyPresenceCounts(session, ticket.command, page)
        case .success(let page):
            // All or nothing, unless pages were asked for: a part of a list would pass for the whole.
            guard query.limit != nil || page.cursor == 0, page.entries.count <= 2 * rules.replyBytes else {
                return reply(
                    session, ticket.command, .presence, error: .limitExceeded,
                    message: "too many members for one reply; ask with limit and cursor")
            }
            charge(session, page.entries.count)
            replyMembers(session, ticket.command, page)
        }
    }
}
