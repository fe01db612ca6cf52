// A room's members while they are asked for, page by page. Used by the session alone; no I/O and no clock.
//
// A server decides how long a list gets, so it is bounded in members (`wanted`), in bytes (of all lists that are being
// made, `ClientOptions.presenceBytes`) and in pages; where a bound cuts it, the list says so.

/// Who is in a room.
package struct RoomMembers: Equatable, Sendable {
    /// One entry for each connection; each connection once.
    package var members: [PeerInfo] = []
    /// Whether there are, or may be, more than these.
    package var isCut = false

    /// A list.
    package init(members: [PeerInfo] = [], isCut: Bool = false) {
        self.members = members
        self.isCut = isCut
    }
}

/// One reply to `presence`.
struct MemberPage: Equatable {
    var members: [PeerInfo] = []
    /// Where the next page begins; empty when this was the last one.
    var cursor = ""
    /// The page itself had more entries than are taken from one.
    var isCut = false
}

/// A list that grows.
struct PresenceList {
    /// Replies that one list may take. Pages may be short, even empty, but not for ever.
    static let pagesLimit = 256
    /// Bytes of a cursor; it goes back to the server as it came.
    static let cursorLimit = 1024

    let room: String
    let wanted: Int
    private(set) var result = RoomMembers()
    /// The bytes that the members hold, about.
    private(set) var bytes = 0
    private var seen: Set<String> = []
    private var pages = 0
    private var cursor = ""

    /// An empty list of which `wanted` members are to be kept.
    init(room: String, wanted: Int) {
        self.room = room
        self.wanted = wanted
    }

    /// Takes a page in, as far as `space` bytes go. Returns where to ask on; nil when the list is complete, or cut.
    mutating func add(_ page: MemberPage, space: Int) -> String? {
        pages += 1
        let ceiling = bytes + max(space, 0)
        result.isCut = page.isCut
        for member in page.members {
            // A list that changes while it is paged can show somebody twice.
            guard seen.insert(member.client).inserted else { continue }
            let size = member.size
            guard result.members.count < wanted, bytes + size <= ceiling else {
                result.isCut = true
                return nil
            }
            result.members.append(member)
            bytes += size
        }
        guard !page.isCut, !page.cursor.isEmpty else { return nil }
        guard page.cursor != cursor, page.cursor.utf8.count <= Self.cursorLimit, pages < Self.pagesLimit,
            result.members.count < wanted
        else {
            result.isCut = true
            return nil
        }
        cursor = page.cursor
        return cursor
    }
}

extension PeerInfo {
    /// The memory that it takes, about.
    fileprivate var size: Int {
        MemoryLayout<PeerInfo>.size + 2 * client.utf8.count + user.utf8.count + connectionInfo.count + roomInfo.count
    }
}
