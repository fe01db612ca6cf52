// Lists and counts of a room's members out of Redis, page by page, so that no call holds the server up however many
// there are. On the engine's loop; a list ends with its room's members, its limit, or its bytes.

import Bytes
import Reactor
import Redis
package import Rooms
import Telemetry

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
    /// Bytes and members of one page of a list: so much of Redis' time is taken at once.
    private static let pageBytes = 128 * 1024
    private static let pageMembers = 1024

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
}
