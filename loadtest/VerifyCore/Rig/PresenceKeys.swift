// The keys of presence that a Redis has, by kind, found with SCAN: what rooms and nodes leave behind shows here. Only
// for a Redis of the test's own: SCAN walks all keys. On the driver's loop.

import Bytes

/// How many keys of each kind there are.
package struct PresenceKeys: Equatable, Sendable {
    /// `P:{room}:p`: members.
    package var members = 0
    /// `P:{room}:u`: users.
    package var users = 0
    /// `P:{room}:n:<node>`: members of one node.
    package var nodes = 0
    /// `P:node:<node>:rooms`: rooms of one node.
    package var nodeRooms = 0

    package init() {}

    /// Counts `keys`, which begin with `prefix` and a colon.
    package init(_ keys: Set<String>, prefix: String) {
        for key in keys { add(key.dropFirst(prefix.utf8.count + 1)) }
    }

    /// Whether nothing is left over.
    package var isEmpty: Bool { self == PresenceKeys() }

    /// The counts as words.
    package var text: String {
        "\(members) lists of members, \(users) of users, \(nodes) sets of nodes, \(nodeRooms) lists of rooms"
    }

    /// Counts the keys below `prefix`; `done` gets nil when Redis does not answer.
    package static func count(_ redis: RedisControl, prefix: String, _ done: @escaping (PresenceKeys?) -> Void) {
        step(redis, prefix, cursor: "0", [], done)
    }

    private static func step(
        _ redis: RedisControl, _ prefix: String, cursor: String, _ before: Set<String>,
        _ done: @escaping (PresenceKeys?) -> Void
    ) {
        redis.send(["SCAN", cursor, "MATCH", prefix + ":*", "COUNT", "1000"]) { reply in
            guard let reply, let (next, keys) = RESPFrames.scanned(reply) else { return done(nil) }
            // SCAN may show a key twice.
            let all = before.union(keys)
            guard next == "0" else { return step(redis, prefix, cursor: next, all, done) }
            done(PresenceKeys(all, prefix: prefix))
        }
    }

    private mutating func add(_ key: Substring) {
        if key.hasPrefix("node:") {
            if key.hasSuffix(":rooms") { nodeRooms += 1 }
            return
        }
        guard key.hasPrefix("{"), let end = key.firstIndex(of: "}") else { return }
        let kind = key[key.index(after: end)...]
        if kind == ":p" { members += 1 }
        if kind == ":u" { users += 1 }
        if kind.hasPrefix(":n:") { nodes += 1 }
    }
}

extension RESPFrames {
    /// Cursor and keys of a reply to SCAN; nil for anything else.
    static func scanned(_ reply: [UInt8]) -> (cursor: String, keys: [String])? {
        reply.withUnsafeBytes { bytes -> (String, [String])? in
            // `*2 $n cursor *m …`: the second array begins behind the cursor.
            guard reply.starts(with: Array("*2\r\n$".utf8)), let start = reply[4...].firstIndex(of: UInt8(ascii: "*"))
            else { return nil }
            let cursor = String(decoding: reply[4..<start], as: UTF8.self).split(separator: "\r\n")
            let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
            guard cursor.count == 2, let ranges = bulks(rest) else { return nil }
            return (String(cursor[1]), ranges.map { String(decoding: rest[$0], as: UTF8.self) })
        }
    }
}
