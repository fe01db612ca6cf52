// The list of members beside a room's messages: fetched when the room is entered, kept up to date by joins and leaves.
// Owned by `ChatRoom`; pure. What is fetched and when, the screen session decides (`isDue`).
//
// Some rooms tell each connection, others (scope "user") only a user's first and last one: then a user's further
// connections go without a word. Which kind a room is, is not on the wire; it is learnt (`Scope`) from the first leave
// of a user who, as far as we know, has other connections: one new list tells.
//
// Joins and leaves can be missed: large rooms send none, a busy server may drop some. So the list is fetched again now
// and then while it is on the screen (`freshness`).
//
// Bounded: `membersLimit` connections, `changesLimit` changes during a fetch; beyond them the list is incomplete, and
// says so. Names are cut at `nameLimit` bytes.

/// Who is in a room, as far as it is known.
package struct MemberRoster: Sendable {
    /// Connections that are kept.
    package static let membersLimit = 10_000
    /// Joins and leaves that are noted while a list is on its way.
    static let changesLimit = 1000
    /// Bytes of a name or of a connection's id.
    static let nameLimit = 256
    /// How long a list is good, in milliseconds.
    static let freshness: Int64 = 120_000
    /// The first wait after a fetch that failed; doubles up to `retryCap`.
    private static let retryBase: Int64 = 5000
    private static let retryCap: Int64 = 80_000

    /// How the list is.
    package enum State: Equatable, Sendable {
        /// To be fetched.
        case unknown
        case fetching
        /// `isCut`: with the first ones only.
        case listed(isCut: Bool)
        /// The room tracks nobody.
        case untracked
        case forbidden
        /// To be fetched again at this time.
        case unavailable(until: Int64)
    }

    /// Whom joins and leaves are about.
    private enum Scope { case unknown, client, user }

    /// A user with his connections.
    package struct Entry: Equatable, Sendable {
        /// The name as it may be shown.
        package let name: ShownText
        let key: String
        let folded: String
        fileprivate(set) var clients: Set<String>
        /// Connections.
        package var count: Int { clients.count }

        fileprivate func precedes(_ other: Entry) -> Bool {
            folded == other.folded ? key < other.key : folded < other.folded
        }
    }

    private enum Change {
        case joined(ChatMember)
        case left(ChatMember)
    }

    /// The users, in the order of their names.
    package private(set) var entries: [Entry] = []
    /// How the list is.
    package private(set) var state = State.unknown
    /// The server's own count, where the list is cut.
    package private(set) var counted: ChatMembers.Counts?
    private var clients = 0
    private var changes: [Change] = []
    private var scope = Scope.unknown
    /// A user who left with one connection and had others: the next list tells what that meant.
    private var suspect: Entry?
    private var retry = Self.retryBase
    /// When the list was fetched last.
    private var fetched: Int64 = 0

    /// Whether nobody is missing.
    private var isComplete: Bool { state == .listed(isCut: false) }

    /// Whether the list is to be fetched at `now`, in milliseconds.
    package func isDue(at now: Int64) -> Bool {
        state == .unknown || due.map { now >= $0 } ?? false
    }

    /// When the list is to be fetched again; nil when that depends on more than the time.
    package var due: Int64? {
        switch state {
        case .listed: fetched + Self.freshness
        case .unavailable(let until): until
        case .unknown, .fetching, .untracked, .forbidden: nil
        }
    }

    // MARK: Fetching

    /// The room was entered (again): what is known is out of date, but shown until there is better.
    mutating func restart() {
        state = .unknown
        changes = []
        suspect = nil
    }

    /// The list is being asked for.
    mutating func begin() {
        state = .fetching
        changes = []
    }

    /// The answer has come. Returns the name of a user who turned out to have left.
    mutating func take(_ answer: RosterAnswer, at now: Int64) -> ShownText? {
        switch answer {
        case .list(let list):
            fetched = now
            return replace(with: list)
        case .untracked: state = .untracked
        case .forbidden: state = .forbidden
        case .unavailable(let wait):
            let (until, over) = now.addingReportingOverflow(max(wait ?? 0, retry))
            state = .unavailable(until: over ? .max : until)
            retry = min(retry * 2, Self.retryCap)
            return nil
        }
        entries = []
        clients = 0
        return nil
    }

    private mutating func replace(with list: ChatMembers) -> ShownText? {
        entries = []
        clients = 0
        counted = list.counted
        retry = Self.retryBase
        var users: [String: Entry] = [:]
        for member in list.members.prefix(Self.membersLimit) {
            let (key, client) = Self.identity(member)
            if users[key, default: Self.entry(key)].clients.insert(client).inserted { clients += 1 }
        }
        entries = users.values.sorted { $0.precedes($1) }
        state = .listed(isCut: list.isCut || list.members.count > Self.membersLimit)
        if changes.count >= Self.changesLimit { state = .unknown }
        // The list may be older or newer than the changes that came meanwhile: for each connection the last one counts.
        let noted = changes
        changes = []
        for change in noted {
            switch change {
            case .joined(let member): _ = insert(member)
            case .left(let member): _ = remove(member)
            }
        }
        defer { suspect = nil }
        guard let suspect, isComplete else { return nil }
        scope = entries.contains { $0.key == suspect.key } ? .client : .user
        return scope == .user ? suspect.name : nil
    }

    // MARK: Changes

    /// Somebody came. Returns whether he was not there before.
    mutating func joined(_ member: ChatMember) -> Bool {
        note(.joined(member))
        let before = index(of: Self.identity(member).key).map { entries[$0].count }
        if isComplete, before != nil, suspect == nil, scope == .unknown { scope = .client }
        return insert(member) && before == nil
    }

    /// Somebody left. Returns whether he is not there any more.
    mutating func left(_ member: ChatMember) -> Bool {
        note(.left(member))
        let key = Self.identity(member).key
        guard let index = index(of: key) else { return !isComplete }
        if scope == .user {
            clients -= entries[index].count
            entries.remove(at: index)
            return true
        }
        let isLast = remove(member)
        if !isLast, isComplete, scope == .unknown, suspect == nil {
            suspect = Self.entry(key)
            state = .unknown
        }
        return isLast
    }

    private mutating func note(_ change: Change) {
        if state == .fetching, changes.count < Self.changesLimit { changes.append(change) }
    }

    private mutating func insert(_ member: ChatMember) -> Bool {
        let (key, client) = Self.identity(member)
        guard clients < Self.membersLimit else {
            if isComplete { state = .listed(isCut: true) }
            return true
        }
        if let index = index(of: key) {
            if entries[index].clients.insert(client).inserted { clients += 1 }
            return true
        }
        var entry = Self.entry(key)
        entry.clients = [client]
        clients += 1
        entries.insert(entry, at: place(of: entry))
        return true
    }

    /// Whether the user has no connection left.
    private mutating func remove(_ member: ChatMember) -> Bool {
        let (key, client) = Self.identity(member)
        guard let index = index(of: key) else { return true }
        if entries[index].clients.remove(client) != nil { clients -= 1 }
        guard entries[index].clients.isEmpty else { return false }
        entries.remove(at: index)
        return true
    }

    // MARK: Order

    private static func identity(_ member: ChatMember) -> (key: String, client: String) {
        (cut(member.name), cut(member.client))
    }

    private static func cut(_ text: String) -> String {
        text.utf8.count <= nameLimit ? text : String(decoding: text.utf8.prefix(nameLimit), as: UTF8.self)
    }

    private static func entry(_ key: String) -> Entry {
        Entry(name: ShownText(key), key: key, folded: key.lowercased(), clients: [])
    }

    private func index(of key: String) -> Int? {
        let place = place(of: Self.entry(key))
        return entries.indices.contains(place) && entries[place].key == key ? place : nil
    }

    /// Where `entry` is, or belongs.
    private func place(of entry: Entry) -> Int {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].precedes(entry) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
