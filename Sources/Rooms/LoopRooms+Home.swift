// The home's side: between the engine and the loops that have members. Messages to the own loop are calls, messages to
// another go through its mailbox; both arrive in the order in which they were sent.

import Bytes
import Wire

extension LoopRooms {
    /// The home loop of a room by its name's hash. Taken from the upper half: the tables find their slots by the lower
    /// one, and names that agree in it would crowd a few of them.
    static func home(of hash: UInt64, loopCount: Int) -> Int { Int((hash >> 32) % UInt64(loopCount)) }

    /// Tells a local room's home that its first member came or its last one has gone.
    func tellHome(_ kind: LoopMessage.Kind, _ number: UInt32) {
        let room = room(number)
        let name = names.name(of: number)
        if room.pointee.home == loop {
            let hash = names.hash(of: number)
            if kind == .join {
                homeJoin(name, hash: hash, from: loop, local: local(number))
            } else {
                homeLeave(name, hash: hash, from: loop, local: local(number))
            }
            return
        }
        let words = (UInt64(loop), local(number), UInt64(0), UInt64(0))
        // Urgent: membership must not be lost, and it is bounded by the rooms of the connections.
        _ = outlet.post(LoopMessage(kind, words, object: Payload(copying: name)), to: room.pointee.home, urgent: true)
    }

    /// Takes a message from another loop.
    package func receive(_ message: LoopMessage) {
        let words = message.words
        switch message.kind {
        case .join, .leave:
            guard let name = (message.object as? Payload)?.bytes else { return }
            let hash = NameTable.hash(name)
            if message.kind == .join {
                homeJoin(name, hash: hash, from: Int(words.0), local: words.1)
            } else {
                homeLeave(name, hash: hash, from: Int(words.0), local: words.1)
            }
        case .joined: flowBegan(words.0)
        case .refused: flowRefused(words.0, EngineFailure(rawValue: UInt8(clamping: words.1)) ?? .unavailable)
        case .publish: homePublish(message)
        case .published: finishPublish(message)
        case .deliver:
            guard let number = resolve(words.0), let bytes = (message.object as? Payload)?.bytes else { return }
            deliver(number, bytes)
        case .behind: fellBehind(words.0)
        case .depart: homeDepart(message, isAbrupt: false)
        case .breakOff: homeDepart(message, isAbrupt: true)
        case .announce:
            guard let number = resolve(words.0), let frame = message.object as? Payload else { return }
            tellMembers(number, frame.bytes)
        case .errand: if let errand = message.object as? Errand { run(errand) }
        }
    }

    private func homeJoin(_ name: UnsafeRawBufferPointer, hash: UInt64, from origin: Int, local: UInt64) {
        switch home.join(name, hash: hash, loop: origin, local: local) {
        case .subscribe: engine.subscribe(room: name, history: nil)
        case .joined: tell(origin, .joined, (local, 0, 0, 0))
        case .none, .unsubscribe: break
        }
    }

    private func homeLeave(_ name: UnsafeRawBufferPointer, hash: UInt64, from origin: Int, local: UInt64) {
        if home.leave(name, hash: hash, loop: origin, local: local) == .unsubscribe {
            engine.unsubscribe(room: name)
        } else if let number = home.names.find(name, hash: hash), let stream = home.stream(number) {
            endLag(number, stream, origin, local)
        }
    }

    /// Sends an urgent message to a loop's rooms, this one's included.
    func tell(_ target: Int, _ kind: LoopMessage.Kind, _ words: (UInt64, UInt64, UInt64, UInt64)) {
        let message = LoopMessage(kind, words)
        if target == loop {
            receive(message)
        } else {
            _ = outlet.post(message, to: target, urgent: true)
        }
    }

    // MARK: Errands

    /// Hands an errand to a loop; to this one by a call. Urgent: each answers a command, and those are bounded.
    func send(_ errand: Errand, to target: Int) {
        if target == loop {
            run(errand)
        } else {
            _ = outlet.post(LoopMessage(.errand, object: errand), to: target, urgent: true)
        }
    }

    /// Does an errand, on the loop that it was meant for.
    func run(_ errand: Errand) {
        switch errand.kind {
        case .attend(let attendance):
            let namespace = RoomName.namespace(of: attendance.name.bytes)
            homeAttend(attendance, rules.options(namespace: namespace) ?? RoomOptions())
        case .attended(let attendance, let welcome): finishAttendance(attendance, .success(welcome))
        case .turnedAway(let attendance, let failure): finishAttendance(attendance, .failure(failure))
        case .members(let order): homeMembers(order)
        case .membersRead(let ticket, let query, let result): finishMembers(ticket, query, result)
        case .history(let order): homeHistory(order)
        case .historyRead(let ticket, let result): finishHistory(ticket, result)
        }
    }

    // MARK: EngineDelegate

    package func subscribed(room: UnsafeRawBufferPointer, _ result: Result<RoomStanding, EngineFailure>) {
        guard let number = home.find(room) else { return }
        let stream = home.stream(number)
        switch (result, stream) {
        case (.success(let standing), .some(let stream)):
            guard !home.isLive(number) else { return }
            // What no stream can say is no beginning.
            guard standing.position.epoch != 0, standing.position.offset <= StreamCursor.largestOffset else {
                engine.unsubscribe(room: room)
                return streamRefused(number, stream, .unavailable)
            }
            streamBegan(number, stream, standing)
        case (.failure(let failure), .some(let stream)): streamRefused(number, stream, failure)
        case (.success, .none):
            guard !home.isLive(number) else { return }
            home.markLive(number)
            home.forEachLoop(number) { target, local in tell(target, .joined, (local, 0, 0, 0)) }
            enterWaiting(number)
        case (.failure(let failure), .none):
            var waiting: [(Int, UInt64)] = []
            home.forEachLoop(number) { waiting.append(($0, $1)) }
            let presence = home.presence(number)
            home.remove(number)
            abandonEntries(presence, failure)
            for (target, local) in waiting { tell(target, .refused, (local, UInt64(failure.rawValue), 0, 0)) }
        }
    }

    package func received(room: UnsafeRawBufferPointer, position: StreamPosition, fields: UnsafeRawBufferPointer) {
        guard let number = home.find(room) else { return }
        if let stream = home.stream(number) { return streamReceived(number, stream, position, fields) }
        // Before the flow has begun nobody has been let in, and a loop must not fall behind in a room that it waits
        // for.
        guard home.isLive(number) else { return }
        deliverFromHome(number, position, fields)
    }

    /// Sends a publication to every loop with members, encoded once.
    func deliverFromHome(_ number: UInt32, _ position: StreamPosition, _ fields: UnsafeRawBufferPointer) {
        appendPublicationFrame(room: home.names.name(of: number), position: position, fields: fields)
        // Other loops share one immutable copy, made only if there are any.
        var shared: Payload?
        var refused: [(Int, UInt64)] = []
        home.forEachLoop(number) { target, local in
            if target == loop {
                if let number = resolve(local) { deliver(number, pushFrame.bytes) }
                return
            }
            let payload = shared ?? Payload(copying: pushFrame.bytes)
            shared = payload
            let message = LoopMessage(.deliver, (local, 0, 0, 0), object: payload)
            if !outlet.post(message, to: target, urgent: false) { refused.append((target, local)) }
        }
        for (target, local) in refused {
            home.markBehind(number, loop: target)
            if let stream = home.stream(number) {
                beginLag(number, stream, .init(loop: target, local: local, next: position.offset))
            } else {
                outlet.record(.mailboxLoss)
                tell(target, .behind, (local, 0, 0, 0))
            }
        }
    }

    package func availabilityChanged(_ isAvailable: Bool) {
        if isAvailable { doubtStreams() }
    }
}
