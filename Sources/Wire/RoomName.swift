// What a room's name may look like and what its parts are: pure syntax, no configuration. Called by the session and by
// the server API before a name is looked up anywhere. Names are bytes, printable ASCII only and never folded, so that
// what is authorised is byte for byte what the engine uses as key.

/// Rules of room names.
package enum RoomName {
    /// What a name is.
    package enum Check: Equatable, Sendable {
        /// May be used; what its parts mean is up to the configuration.
        case valid
        /// Close 3501.
        case empty
        /// Longer than the limit: error 107.
        case tooLong
        /// A byte outside printable ASCII (0x20…0x7E): error 107.
        case notPrintable
        /// Begins with `:`, so that its namespace has no name: error 102.
        case emptyNamespace
    }

    /// Bytes of the longest name unless configured otherwise.
    package static let defaultLengthLimit = 255

    /// Checks `name` against the rules; `limit` is in bytes.
    package static func check(_ name: WireBytes, limit: Int = defaultLengthLimit) -> Check {
        guard let first = name.first else { return .empty }
        guard name.count <= limit else { return .tooLong }
        guard isPrintable(name) else { return .notPrintable }
        let start = first == UInt8(ascii: "$") ? 1 : 0
        if start < name.count, name[start] == UInt8(ascii: ":") { return .emptyNamespace }
        return .valid
    }

    /// The namespace of `name`: what stands before the first `:`, without a leading `$`; empty for the default one.
    package static func namespace(of name: WireBytes) -> WireBytes {
        let start = isPrivate(name) ? 1 : 0
        guard let colon = name[start...].firstIndex(of: UInt8(ascii: ":")) else { return .empty }
        return WireBytes(rebasing: name[start..<colon])
    }

    /// Whether a subscription token is required: the name begins with `$`.
    package static func isPrivate(_ name: WireBytes) -> Bool { name.first == UInt8(ascii: "$") }

    /// Whether only certain users are admitted: the name has a `#`.
    package static func isUserLimited(_ name: WireBytes) -> Bool { users(of: name) != nil }

    /// What stands behind the first `#`, a list with commas, or nil when there is no `#`.
    package static func users(of name: WireBytes) -> WireBytes? {
        guard let mark = name.firstIndex(of: UInt8(ascii: "#")) else { return nil }
        return WireBytes(rebasing: name[(mark + 1)...])
    }

    /// Whether the part behind `#` names `user`. The anonymous user (empty) is never named, nor is a user whose id has
    /// a comma.
    package static func admits(_ user: WireBytes, to name: WireBytes) -> Bool {
        guard user.count > 0, let users = users(of: name) else { return false }
        var start = 0
        while start <= users.count {
            var end = start
            while end < users.count, users[end] != UInt8(ascii: ",") { end += 1 }
            if end - start == user.count, WireBytes(rebasing: users[start..<end]).elementsEqual(user) { return true }
            start = end + 1
        }
        return false
    }

    private static func isPrintable(_ name: WireBytes) -> Bool {
        var bad: UInt8 = 0
        for byte in name { bad |= (byte < 0x20 ? 1 : 0) | (byte > 0x7E ? 1 : 0) }
        return bad == 0
    }
}
