// Who is in a room: lists that come in pages, and counts. Pages are asked for one after the other, each with the time
// of a request of its own.

package import Bytes
import Wire

extension ClientSession {
    /// Asks who is in a room, page by page until the list is complete, or has `limit` members (at most
    /// `ClientOptions.presenceMembers`); then it says that it is cut. The answer comes as one event. Servers that know
    /// no pages refuse the list of a large room (106): ask for the counts then.
    package mutating func presence(_ room: String, limit: Int = .max, now: MonotonicTime) -> RequestID {
        let (request, id) = admit(now) { .presence($0) }
        guard let id else { return request }
        let list = PresenceList(room: room, wanted: min(max(limit, 1), options.presenceMembers))
        presences[request] = list
        askPage(of: list, id: id, cursor: "")
        return request
    }

    /// Asks how many are in a room.
    package mutating func presenceStats(_ room: String, now: MonotonicTime) -> RequestID {
        let (request, id) = admit(now) { .presenceStats($0) }
        guard let id else { return request }
        CommandWriter.presenceStats(id: id, room: room, to: &scratch)
        sendScratch()
        return request
    }

    /// A page has come.
    mutating func add(_ page: MemberPage, to request: RequestID, _ now: MonotonicTime) {
        let held = presences.values.reduce(0) { $0 + $1.bytes }
        guard let next = presences[request]?.add(page, space: options.presenceBytes - held) else {
            guard let list = presences.removeValue(forKey: request) else { return }
            events.append(.answered(request, .success(.presence(list.result))))
            return
        }
        guard let list = presences[request] else { return }
        askPage(of: list, id: register(.presence(request), now), cursor: next)
    }

    private mutating func askPage(of list: PresenceList, id: UInt32, cursor: String) {
        let limit = UInt32(clamping: min(options.presencePage, list.wanted))
        CommandWriter.presence(id: id, room: list.room, limit: limit, cursor: cursor, to: &scratch)
        sendScratch()
    }
}
