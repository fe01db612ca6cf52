// Subscribers: joining rooms with what they know, reporting what they get, coming back after errors. And the readers of
// histories at the end. Part of ClientPool; on its loop.

import Bytes
import LoadCore
import Reactor
import Wire

extension ClientPool {
    /// The connection is open for commands.
    func greeted(_ client: VerifyClient) {
        switch client.role {
        case .subscriber: for room in client.rooms { subscribe(client, room) }
        case .publisher: break
        case .reader: for room in 0..<plan.rooms { askHistory(client, room) }
        case .watcher: break
        }
    }

    func subscribe(_ client: VerifyClient, _ room: Int) {
        guard let subscriber = client.subscriber, client.stage == .joined else { return }
        let command = client.makeCommand()
        client.subscribing[command] = room
        client.stageSince = loop.now
        var request = SubscribeRequest()
        let known = plan.hasHistory ? checker.position(subscriber, room) : nil
        var since = known
        var epoch: [UInt8] = []
        if let known {
            epoch = checker.epochName(room, known.epoch) ?? []
            switch client.claim {
            case .honest: break
            case .forgedEpoch:
                epoch = Array("forged".utf8)
                since = Position(epoch: -1, offset: known.offset)
            case .futureOffset: since = Position(epoch: known.epoch, offset: known.offset + 100_000)
            }
        }
        checker.subscribing(subscriber, room, since: since, now: loop.now)
        var name = RoomNames.name(room)
        name.withUTF8 { name in
            epoch.withUnsafeBytes { epoch in
                request.room = UnsafeRawBufferPointer(name)
                request.joinLeave = checker.plan.presence[room] != nil
                if let since {
                    request.recover = true
                    request.epoch = epoch
                    request.offset = since.offset
                }
                send(client, Command(id: command, request: .subscribe(request)))
            }
        }
    }

    /// The reply to a subscribe command.
    func joined(_ client: VerifyClient, _ room: Int, _ reply: Reply) {
        guard let subscriber = client.subscriber else { return }
        switch reply {
        case .subscribe(let result):
            client.subscribed.insert(room)
            if client.subscribed.count == client.rooms.count {
                client.backoff.reset()
                client.claim = .honest
            }
            let position = Position(epoch: checker.epoch(room, result.epoch), offset: result.offset)
            let outcome = SubscribeOutcome(
                position: position, recovered: result.recovered, wasRecovering: result.wasRecovering,
                recoverable: result.recoverable || !plan.hasHistory)
            checker.subscribed(subscriber, room, outcome, now: loop.now)
            replay(client, room, result.publications)
            checker.caughtUp(subscriber, room, now: loop.now)
        case .error(let error):
            guard error.isTemporary else {
                checker.report(
                    .crash, room: room, now: loop.now,
                    "subscriber \(subscriber) got error \(error.code) for a room that it may join")
                return
            }
            checker.notSubscribed(subscriber, room, now: loop.now)
            client.retryRooms.append((room, loop.now + client.backoff.next(using: &client.random)))
        default:
            checker.report(
                .isolation, room: room, now: loop.now, "subscriber \(subscriber) got the reply to another command")
        }
    }

    private func replay(_ client: VerifyClient, _ room: Int, _ entries: EncodedEntries) {
        var walk = JSONCodec.Publications(entries, limit: 100_000)
        do throws(WireError) {
            while let publication = try walk.next(scratch: &entryScratch) {
                report(client, room, publication, isBacklog: true)
            }
        } catch {
            checker.report(.crash, room: room, now: loop.now, "a backlog is malformed: \(error)")
        }
    }

    /// A live publication.
    func deliver(_ client: VerifyClient, _ room: WireBytes, _ publication: Publication) {
        guard let subscriber = client.subscriber else {
            checker.report(.isolation, now: loop.now, "client \(client.number), which is in no room, got a publication")
            return
        }
        guard let number = RoomNames.number(room), number < plan.rooms else {
            let name = String(decoding: room.prefix(40), as: UTF8.self)
            checker.report(.isolation, now: loop.now, "subscriber \(subscriber) got a publication of \(name)")
            return
        }
        report(client, number, publication, isBacklog: false)
    }

    private func report(_ client: VerifyClient, _ room: Int, _ publication: Publication, isBacklog: Bool) {
        guard let subscriber = client.subscriber else { return }
        let isTimed = client.life == .live && loop.now > client.untimedUntil
        guard let mark = mark(of: publication) else {
            checker.report(.phantom, room: room, now: loop.now, "subscriber \(subscriber) got what nobody sent")
            return
        }
        if mark.publisher == checker.plan.marker { figures.markersSeen += 1 }
        checker.delivered(
            subscriber, room, offset: publication.offset, mark, isBacklog: isBacklog, isTimed: isTimed, now: loop.now)
    }

    private func mark(of publication: Publication) -> Marker? {
        var found: Marker?
        // The mark opens the string; what follows it is padding.
        Marker.forEach(in: UnsafeRawBufferPointer(rebasing: publication.data.prefix(Marker.length + 2))) { found = $0 }
        return found
    }

    /// The server ended a subscription.
    func ended(_ client: VerifyClient, _ room: WireBytes, _ code: UInt32) {
        guard let subscriber = client.subscriber, let number = RoomNames.number(room), number < plan.rooms else {
            return
        }
        client.subscribed.remove(number)
        checker.told(subscriber, number, code: code, now: loop.now)
        if isSteady(client) { onTrouble?() }
        if code >= 2500 {
            subscribe(client, number)
        } else {
            checker.report(
                .crash, room: number, now: loop.now, "subscriber \(subscriber) was unsubscribed with \(code)")
        }
    }

    // MARK: Histories

    /// Connects the readers, which then ask for all rooms.
    package func readHistories() {
        isFinishing = true
        histories = []
        for client in clients where client.role == .reader { connect(client) }
    }

    /// Histories that have come.
    package var historiesRead: Int { histories.count }
    /// Histories that there are to come.
    package var historiesWanted: Int { directory.gatewayCount * plan.rooms }

    private func askHistory(_ client: VerifyClient, _ room: Int) {
        guard !histories.contains(where: { $0 == (client.gateway, room) }) else { return }
        let command = client.makeCommand()
        client.histories[command] = room
        var request = HistoryRequest()
        request.limit = -1
        var name = RoomNames.name(room)
        name.withUTF8 { name in
            request.room = UnsafeRawBufferPointer(name)
            send(client, Command(id: command, request: .history(request)))
        }
    }

    func historyCame(_ client: VerifyClient, _ room: Int, _ reply: Reply) {
        guard case .history(let result) = reply else {
            // Temporary: asked again.
            if case .error(let error) = reply, error.isTemporary {
                loop.schedule(after: .milliseconds(200)) { [weak self, weak client] in
                    if let self, let client, client.stage == .joined { askHistory(client, room) }
                }
            }
            return
        }
        let position = Position(epoch: checker.epoch(room, result.epoch), offset: result.offset)
        var entries: [(offset: UInt64, mark: Marker?)] = []
        var walk = JSONCodec.Publications(result.publications, limit: 100_000)
        do throws(WireError) {
            while let publication = try walk.next(scratch: &entryScratch) {
                entries.append((publication.offset, mark(of: publication)))
            }
        } catch {
            checker.report(.crash, room: room, now: loop.now, "a history is malformed: \(error)")
        }
        checker.historyRead(room, gateway: client.gateway, position, entries, now: loop.now)
        histories.append((client.gateway, room))
    }
}
