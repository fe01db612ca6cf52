// Who is in a room, in the words of the user interface: members as the client library tells them, and the sentence that
// answers `/who`. Strings are untrusted here, as in `ChatEvent`.

/// A connection that is in a room.
package struct ChatMember: Equatable, Sendable {
    /// The user id; empty for anonymous people.
    package var user: String
    /// The connection.
    package var client: String
    /// What the server adds about the connection, as JSON; empty for nothing.
    package var info: [UInt8]

    /// Collects the parts.
    package init(user: String, client: String, info: [UInt8] = []) {
        self.user = user
        self.client = client
        self.info = info
    }

    /// What to call the member: the user id, else a short form of the connection.
    package var name: String { user.isEmpty ? "guest-" + client.prefix(8) : user }
}

/// The answer to the question who is in a room.
package struct ChatMembers: Equatable, Sendable {
    /// How many there are.
    package struct Counts: Equatable, Sendable {
        /// Connections.
        package var clients: UInt64
        /// Users.
        package var users: UInt64

        /// Collects the parts.
        package init(clients: UInt64, users: UInt64) {
            self.clients = clients
            self.users = users
        }
    }

    /// One entry for each connection.
    package var members: [ChatMember]
    /// Whether there are, or may be, more.
    package var isCut: Bool
    /// The server's own count, where it was asked for because the list is cut.
    package var counted: Counts?

    /// Collects the parts.
    package init(members: [ChatMember], isCut: Bool = false, counted: Counts? = nil) {
        self.members = members
        self.isCut = isCut
        self.counted = counted
    }

    /// The best count there is; nil when the list is cut and nobody has counted.
    package var counts: Counts? {
        if let counted { return counted }
        guard !isCut else { return nil }
        return Counts(clients: UInt64(members.count), users: UInt64(Set(members.map(\.name)).count))
    }

    /// The sentence for people, with at most `limit` names.
    package func sentence(in room: String, limit: Int) -> String {
        var clients: [String: Int] = [:]
        for member in members { clients[member.name, default: 0] += 1 }
        let names = clients.keys.sorted(by: Self.precedes)
        var words = names.prefix(limit).map { name in
            let count = clients[name] ?? 1
            return count > 1 ? "\(name) (\(count))" : name
        }
        if names.count > limit { words.append("… and \(names.count - limit) more") }
        if isCut { words.append(words.isEmpty ? "too many to list" : "… the list goes on") }
        let total = counts.map { counts -> String in
            let users = counts.users == 1 ? "1 user" : "\(counts.users) users"
            return counts.clients == counts.users ? " (\(users))" : " (\(users), \(counts.clients) connections)"
        }
        return "in \(room)\(total ?? ""): " + (words.isEmpty ? "nobody" : words.joined(separator: ", "))
    }

    /// The order of names, in the panel too: letters count alike in both cases.
    static func precedes(_ a: String, _ b: String) -> Bool {
        let (first, second) = (a.lowercased(), b.lowercased())
        return first == second ? a < b : first < second
    }
}

/// What came of asking for the list that stands beside the messages.
package enum RosterAnswer: Equatable, Sendable {
    case list(ChatMembers)
    /// The room tracks nobody.
    case untracked
    /// The list is not for us.
    case forbidden
    /// Not now; the server may have said when.
    case unavailable(retryMilliseconds: Int64?)
}
