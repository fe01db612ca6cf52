// How presence works in a kind of room, and what passes between rooms and engines about members: the vocabulary of the
// engine port's second half. Plain values; views are valid during the call that hands them over.

package import Bytes
package import Wire

/// Presence of one namespace.
package struct PresenceOptions: Equatable, Sendable {
    /// Who joins and leaves.
    package enum Scope: UInt8, Sendable {
        /// Each connection.
        case client
        /// Each user: with its first connection and its last one. Anonymous connections count each for itself.
        case user
    }

    /// Whether clients may ask who is there.
    package var isListed = true
    /// Whether joins and leaves are told at all.
    package var tellsJoins = false
    /// Whether every member is told of them, asked for or not.
    package var forcesPushes = false
    /// Members above which no single join or leave is told.
    package var mostTold = 1000
    /// Members that the room may have; 0: any number.
    package var mostMembers = 0
    package var scope = Scope.client
    /// How long a broken connection stays a member.
    package var grace = Duration.seconds(5)

    package init() {}

    /// Members up to which an engine tells of joins and leaves; 0: it tells of none.
    package var toldUpTo: Int { tellsJoins ? mostTold : 0 }
}

/// A member as it enters.
package struct Member {
    package var client: ClientID
    /// The user's id; empty for the anonymous one.
    package var user: UnsafeRawBufferPointer
    /// The member as others see it, encoded.
    package var info: UnsafeRawBufferPointer

    /// Bytes of `info` at most: a list holds many of them.
    package static let longestInfo = 8 * 1024

    package init(client: ClientID, user: UnsafeRawBufferPointer, info: UnsafeRawBufferPointer) {
        self.client = client
        self.user = user
        self.info = info
    }
}

/// Why somebody was not let in.
package enum EntryRefusal: Error, Equatable, Sendable {
    /// The room has all the members that it may have. Wire error 106.
    case full
    case engine(EngineFailure)
}

/// A join or a leave that the engine tells.
package struct MemberEvent {
    package var isJoin: Bool
    /// The text of the client's id.
    package var client: UnsafeRawBufferPointer
    package var user: UnsafeRawBufferPointer
    /// The member as others see it, encoded.
    package var info: UnsafeRawBufferPointer

    package init(
        isJoin: Bool, client: UnsafeRawBufferPointer, user: UnsafeRawBufferPointer, info: UnsafeRawBufferPointer
    ) {
        self.isJoin = isJoin
        self.client = client
        self.user = user
        self.info = info
    }
}

/// What is asked of a room's members.
package struct MemberQuery: Sendable {
    /// Where to begin; 0: at the beginning. Opaque but to the engine that gave it.
    package var cursor: UInt64
    /// Members wanted, about; 0: only how many there are; nil: all of them.
    package var limit: Int?
    /// Bytes of the entries at most, about.
    package var maxBytes: Int

    package init(cursor: UInt64 = 0, limit: Int? = nil, maxBytes: Int) {
        self.cursor = cursor
        self.limit = limit
        self.maxBytes = maxBytes
    }

    /// Asks only how many there are.
    package static let count = MemberQuery(limit: 0, maxBytes: 0)
}

/// A page of a room's members. One that is there all the while is on one of the pages at least.
package struct MemberPage: Sendable {
    /// Entries of a `presence` reply, ready for the wire.
    package var entries: Payload
    /// Where the next page begins; 0: that was all.
    package var cursor: UInt64
    /// Members of the room, and how many users they are.
    package var members: Int
    package var users: Int

    package init(entries: Payload, cursor: UInt64, members: Int, users: Int) {
        self.entries = entries
        self.cursor = cursor
        self.members = members
        self.users = users
    }
}

/// Makes the entries of a page. Bounded by `maxBytes` and one member.
package struct MemberPageBuilder: ~Copyable {
    private var entries = ByteBuffer()
    private var clients: Set<[UInt8]> = []
    private let query: MemberQuery
    /// Members that were added.
    package private(set) var count = 0

    /// A page that answers `query`.
    package init(_ query: MemberQuery) { self.query = query }

    /// Whether nothing more is to be added.
    package var isFull: Bool { entries.count >= query.maxBytes || count >= query.limit ?? .max }

    /// Members that are still wanted.
    package var wanted: Int { (query.limit ?? .max) - count }

    /// Adds a member, unless it is there already.
    package mutating func add(client: UnsafeRawBufferPointer, info: UnsafeRawBufferPointer) {
        guard clients.insert(Array(client)).inserted else { return }
        JSONCodec.appendEntry(client: client, encodedInfo: info, to: &entries)
        count += 1
    }

    /// The page.
    package func page(cursor: UInt64, members: Int, users: Int) -> MemberPage {
        MemberPage(entries: Payload(copying: entries.bytes), cursor: cursor, members: members, users: users)
    }
}
