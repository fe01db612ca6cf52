// Rooms with history at home: the order is kept when pub/sub loses, repeats or delays something. Gaps are mended from
// the stream; where that cannot be, the members are told, and the flow begins anew.

import Bytes

extension LoopRooms {
    // MARK: The flow

    /// The engine's flow has begun, or begun anew, at `standing`.
    func streamBegan(_ number: UInt32, _ stream: HomeStream, _ standing: RoomStanding) {
        home.markLive(number)
        stream.adopt(standing, now: outlet.now)
        enterWaiting(number)
        admit(number, stream, all: stream.take { _ in true })
        pump(number, stream)
    }

    /// The flow could not begin.
    func streamRefused(_ number: UInt32, _ stream: HomeStream, _ failure: EngineFailure) {
        let served = loopsServed(number, stream)
        let name = stream.tail == nil ? nil : Payload(copying: home.names.name(of: number))
        let presence = home.presence(number)
        home.remove(number)
        abandonEntries(presence, failure)
        // A flow that was to begin anew may still run in the engine, and nobody is left to end it.
        if let name { engine.unsubscribe(room: name.bytes) }
        for subscriber in stream.take({ _ in true }) { turnAway(subscriber.attendance, failure) }
        // A flow that was to begin anew had members: they are told, and come back by subscribing.
        for (target, local) in served { tell(target, .behind, (local, 0, 0, 0)) }
    }

    /// A publication has come by pub/sub.
    func streamReceived(
        _ number: UInt32, _ stream: HomeStream, _ position: StreamPosition, _ fields: UnsafeRawBufferPointer
    ) {
        let verdict = stream.cursor.live(
            offset: position.offset, epoch: position.epoch, payload: Payload(copying: fields))
        if verdict == .deliver { letThrough(number, stream, position.offset, Payload(copying: fields)) }
        if !stream.cursor.isQuiet || verdict != .deliver || !stream.waiting.isEmpty { pump(number, stream) }
    }

    private func letThrough(_ number: UInt32, _ stream: HomeStream, _ offset: UInt64, _ fields: Payload) {
        stream.append(fields, at: offset, now: outlet.now)
        let position = StreamPosition(offset: offset, epoch: stream.cursor.epoch)
        deliverFromHome(number, position, fields.bytes)
    }

    /// Delivers what has become due, lets in who waited for it, and asks for what is missing.
    func pump(_ number: UInt32, _ stream: HomeStream) {
        guard home.stream(number) === stream else { return }
        while let entry = stream.cursor.next() { letThrough(number, stream, entry.offset, entry.payload) }
        if let loss = stream.cursor.loss {
            // Once: until the flow has begun anew, everything that comes only waits.
            if home.isLive(number) { loseContinuity(number, stream, loss) }
            return
        }
        if let from = stream.gapFrom, !stream.cursor.isBehind {
            stream.gapFrom = nil
            // Else somebody spoke of what was never published.
            if stream.cursor.delivered > from { outlet.record(.gap(isRepaired: true)) }
        }
        admit(number, stream, all: stream.takeArrived())
        guard home.stream(number) === stream, !stream.isRetrying, let request = stream.cursor.takeRequest() else {
            return
        }
        var query = HistoryQuery(direction: .forward, since: nil, limit: 0, maxBytes: StreamCursor.Limits().heldBytes)
        if case .range(let first, let last) = request.kind {
            query.since = StreamPosition(offset: first - 1, epoch: stream.cursor.epoch)
            query.limit = Int(clamping: last - first + 1)
            stream.gapFrom = stream.gapFrom ?? stream.cursor.delivered
        }
        let ticket = Ticket(connection: stream.id, command: request.number, loop: UInt16(loop))
        engine.read(
            room: home.names.name(of: number), history: stream.options, query,
            tag: ReadTag(purpose: .repair, ticket: ticket))
    }

    /// The stream cannot help: members are told 2500, and the flow begins anew where the stream stands now.
    private func loseContinuity(_ number: UInt32, _ stream: HomeStream, _ loss: ContinuityLoss) {
        if stream.gapFrom != nil { outlet.record(.gap(isRepaired: false)) }
        outlet.record(.continuityLoss(loss))
        home.markWaiting(number)
        stream.stop()
        for (target, local) in loopsServed(number, stream) { tell(target, .behind, (local, 0, 0, 0)) }
        guard home.stream(number) === stream else { return }
        engine.subscribe(room: home.names.name(of: number), history: stream.options)
    }

    /// The loops whose members expect to hear more; those that are behind are given up.
    private func loopsServed(_ number: UInt32, _ stream: HomeStream) -> [(Int, UInt64)] {
        var served = stream.lagging.map { ($0.loop, $0.local) }
        stream.lagging = []
        home.forEachLoop(number) { served.append(($0, $1)) }
        return served
    }

    /// The order of every room is doubted: what pub/sub brought in the meantime, or did not, is unknown.
    func doubtStreams() {
        var numbers: [UInt32] = []
        home.forEachStream { numbers.append($0) }
        for number in numbers {
            guard let stream = home.stream(number) else { continue }
            stream.cursor.doubt()
            pump(number, stream)
        }
    }

    package func observed(room: UnsafeRawBufferPointer, _ standing: RoomStanding) {
        guard let number = home.find(room), let stream = home.stream(number), home.isLive(number) else { return }
        noteFormer(stream, standing)
        guard standing.position != stream.position else { return }
        stream.cursor.doubt()
        pump(number, stream)
    }

    package func served(room: UnsafeRawBufferPointer) -> StreamPosition? {
        guard let number = home.find(room), let position = home.stream(number)?.position, position.epoch != 0 else {
            return nil
        }
        return position
    }

    // MARK: Answers of the engine

    package func read(room: UnsafeRawBufferPointer, tag: ReadTag, _ result: Result<HistoryAnswer, EngineFailure>) {
        if tag.purpose == .history { return answerHistory(tag.ticket, result) }
        // An answer to a former life of the room here is nobody's.
        guard let number = home.find(room), let stream = home.stream(number), tag.ticket.connection == stream.id else {
            return
        }
        if case .success(let answer) = result { noteFormer(stream, answer.standing) }
        switch (tag.purpose, result) {
        case (.repair, .success(let answer)):
            let start = answer.entries.isEmpty ? 0 : answer.start
            stream.cursor.answered(
                tag.ticket.command, position: answer.position, start: start, entries: answer.entries)
            pump(number, stream)
        case (.repair, .failure(let failure)):
            stream.cursor.failed(tag.ticket.command)
            // What they wait for does not come as long as the engine is away.
            for subscriber in stream.take({ $0.reason == .arrival }) { turnAway(subscriber.attendance, failure) }
            retryLater(number, stream)
        case (.tail, _): answerWaiting(number, stream, tag, result)
        case (.recovery, _), (.history, _): break
        }
    }

    /// An epoch keeps the former one that it began with, but not every answer has to name it.
    private func noteFormer(_ stream: HomeStream, _ standing: RoomStanding) {
        if let former = standing.former, standing.position.epoch == stream.cursor.epoch { stream.former = former }
    }

    /// Asks again in a while: the engine is away, and its return makes every order doubted anyway.
    private func retryLater(_ number: UInt32, _ stream: HomeStream) {
        guard !stream.isRetrying else { return }
        stream.isRetrying = true
        later(.milliseconds(200), number, stream) { rooms, number, stream in
            stream.isRetrying = false
            rooms.pump(number, stream)
        }
    }
}
