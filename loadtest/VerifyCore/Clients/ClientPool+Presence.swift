// Who is in the rooms: what subscribers are told of joins and leaves, and the watchers, one a gateway, which ask for
// the members of one room after the other. Part of ClientPool; on its loop. A list may have `listLimit` members.

import Bytes
import Reactor
import Wire

/// A room as a gateway shows it.
struct ListKey: Hashable {
    let gateway: Int
    let room: Int
}

extension ClientPool {
    private static let listLimit = 100_000
    /// Time between two questions of a watcher.
    private static let listInterval = Duration.milliseconds(200)

    /// A push tells that somebody joined or left.
    func memberChanged(_ client: VerifyClient, _ room: WireBytes, _ info: ClientInfo, isJoin: Bool) {
        guard let subscriber = client.subscriber, let number = RoomNames.number(room), number < plan.rooms,
            client.subscribed.contains(number)
        else {
            let name = String(decoding: room.prefix(40), as: UTF8.self)
            checker.report(
                .isolation, now: loop.now, "client \(client.number) was told of a member of \(name), where it is not")
            return
        }
        checker.told(subscriber, number, isJoin: isJoin, member(info), now: loop.now)
    }

    /// The member that `info` tells of. User `v12` is client 12, and subscribers are numbered first.
    private func member(_ info: ClientInfo) -> ListedMember {
        let user = String(decoding: info.user, as: UTF8.self)
        let number = user.hasPrefix("v") ? Int(user.dropFirst()) : nil
        return ListedMember(
            subscriber: number.flatMap { $0 < plan.subscribers ? $0 : nil },
            client: String(decoding: info.client, as: UTF8.self))
    }

    // MARK: Watchers

    /// Asks on and on, from the start of the run.
    func watchPresence() {
        let rooms = checker.plan.presence.keys.sorted()
        guard !rooms.isEmpty, !plan.isShare else { return }
        nextListed += 1
        let room = rooms[nextListed % rooms.count]
        for client in clients where client.role == .watcher && client.stage == .joined && client.listings.count < 8 {
            ask(client, room)
        }
        loop.schedule(after: ClientPool.listInterval) { [weak self] in self?.watchPresence() }
    }

    private func ask(_ client: VerifyClient, _ room: Int) {
        var name = RoomNames.name(room)
        name.withUTF8 { name in
            for request in [
                Request.presence(PresenceRequest(room: UnsafeRawBufferPointer(name))),
                .presenceStats(room: UnsafeRawBufferPointer(name)),
            ] {
                let command = client.makeCommand()
                client.listings[command] = (room, loop.now)
                send(client, Command(id: command, request: request))
            }
        }
    }

    /// The answer to a watcher's question. An error is the engine's trouble, and judged by what publishers get.
    func listCame(_ client: VerifyClient, _ room: Int, _ asked: MonotonicTime, _ reply: Reply) {
        let key = ListKey(gateway: client.connectedGateway, room: room)
        switch reply {
        case .presence(let result):
            var members: [ListedMember] = []
            var walk = JSONCodec.Members(result.members, limit: ClientPool.listLimit)
            do throws(WireError) {
                while let info = try walk.next(scratch: &entryScratch) { members.append(member(info)) }
            } catch {
                checker.report(.crash, room: room, now: loop.now, "a list of members is malformed: \(error)")
                return
            }
            lists[key] = members
            checker.listed(room, gateway: key.gateway, members, asked: asked, now: loop.now)
        case .presenceStats(let clients, let users): counts[key] = (Int(clients), Int(users))
        case .error(let error):
            guard !error.isTemporary else { return }
            checker.report(.presence, room: room, now: loop.now, "a question for members got error \(error.code)")
        default:
            checker.report(.isolation, room: room, now: loop.now, "a watcher got the reply to another command")
        }
    }

    /// Forgets what gateways showed, so that only newer lists count.
    func forgetLists() {
        lists = [:]
        counts = [:]
    }

    /// What gateways show otherwise than it is; nil when all lists have come and are exact.
    func presenceDifference() -> String? {
        for room in checker.plan.presence.keys.sorted() {
            let name = RoomNames.name(room)
            for gateway in 0..<directory.gatewayCount {
                let key = ListKey(gateway: gateway, room: room)
                guard let list = lists[key], let count = counts[key] else {
                    return "gateway \(gateway) does not show \(name)"
                }
                if let wrong = checker.difference(room, list) { return "\(name) at gateway \(gateway): \(wrong)" }
                let truth = checker.present(in: room)
                guard count == (truth, truth) else {
                    return "\(name) at gateway \(gateway) counts \(count.clients) clients and \(count.users) users"
                        + ", there are \(truth)"
                }
            }
        }
        return nil
    }
}
