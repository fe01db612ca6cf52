// Calls of the presence scripts and their answers: written into a command link's output, read out of its replies.
// Called by the engine on its loop. Names, infos and cursors only travel as arguments; nothing from the server traps.

package import Bytes

/// What every call of a presence script says of the room and of the node that speaks.
package struct PresenceScope {
    /// The room's name as clients write it.
    package var room: UnsafeRawBufferPointer
    /// The node's incarnation; no space or line break in it.
    package var node: [UInt8]
    /// Joins and leaves are those of users, not of connections.
    package var isByUser: Bool
    /// Members above which no single join or leave is told; 0: none ever is.
    package var mostTold: Int
    /// Whether the change is to be told at all.
    package var isTold: Bool

    /// How long presence is kept without a touch.
    package static let timeToLive = Duration.seconds(86_400)

    package init(
        room: UnsafeRawBufferPointer, node: [UInt8], isByUser: Bool, mostTold: Int, isTold: Bool = true
    ) {
        self.room = room
        self.node = node
        self.isByUser = isByUser
        self.mostTold = mostTold
        self.isTold = isTold
    }

    /// Begins a call of `script` with the four keys and the common arguments, followed by `others`.
    private func begin(_ script: RedisScript, _ others: Int, _ names: RedisNames, _ output: inout ByteBuffer) {
        script.begin(keys: 4, arguments: 5 + others, in: &output)
        names.appendPresenceKeys(room, node: node, to: &output)
        node.withUnsafeBytes { output.appendArgument($0) }
        output.appendArgument(isByUser ? "u" : "c")
        output.appendArgument(decimal: UInt64(clamping: mostTold))
        output.appendArgument(milliseconds: PresenceScope.timeToLive)
        output.appendArgument(isTold ? "1" : "0")
    }

    /// Appends `enter` for `members`, answered by an array (`EnterResult`). `mostMembers` 0: any number.
    package func appendEnter(
        _ members: [PresenceEntry], mostMembers: Int, to output: inout ByteBuffer, names: RedisNames
    ) {
        begin(.enter, 1 + 3 * members.count, names, &output)
        output.appendArgument(decimal: UInt64(clamping: mostMembers))
        for member in members {
            member.client.withUnsafeBytes { output.appendArgument($0) }
            output.appendArgument(member.user)
            output.appendArgument(member.info)
        }
    }

    /// Appends `exit` for `clients`, answered by an array that says how many were there.
    package func appendExit(_ clients: [[UInt8]], to output: inout ByteBuffer, names: RedisNames) {
        begin(.exit, clients.count, names, &output)
        for client in clients { client.withUnsafeBytes { output.appendArgument($0) } }
    }

    /// Appends `linger` for `clients`, answered by an array.
    package func appendLinger(_ clients: [[UInt8]], to output: inout ByteBuffer, names: RedisNames) {
        begin(.linger, clients.count, names, &output)
        for client in clients { client.withUnsafeBytes { output.appendArgument($0) } }
    }

    /// Appends `reap` for at most `most` members that the node brought, answered by an array (`ReapResult`).
    package func appendReap(most: Int, to output: inout ByteBuffer, names: RedisNames) {
        begin(.reap, 1, names, &output)
        output.appendArgument(decimal: UInt64(clamping: most))
    }

    /// Appends the call that keeps presence from expiring, answered by an array.
    package func appendTouch(to output: inout ByteBuffer, names: RedisNames) {
        begin(.touchPresence, 0, names, &output)
    }
}

/// A member as a call names it.
package struct PresenceEntry {
    /// The text of the client's id; no space in it.
    package var client: [UInt8]
    /// The user; empty for the anonymous one.
    package var user: UnsafeRawBufferPointer
    /// The member as others see it: one JSON object.
    package var info: UnsafeRawBufferPointer

    package init(client: [UInt8], user: UnsafeRawBufferPointer, info: UnsafeRawBufferPointer) {
        self.client = client
        self.user = user
        self.info = info
    }
}

/// What became of members that were to enter.
package struct EnterResult: Equatable, Sendable {
    /// What became of one of them.
    package enum State: Int64, Sendable {
        case entered = 0
        /// It was there already, perhaps under the node's former incarnation.
        case wasThere
        /// The room has all the members that it may have.
        case full
    }

    /// In the order of the call.
    package var states: [State] = []

    /// Reads the answer to a call with `members` members; nil when it is none.
    package init?(_ reply: RedisReply, members: Int) {
        guard reply.kind == .array, reply.count == members else { return nil }
        reply.forEach { if let state = $0.integer.flatMap(State.init(rawValue:)) { states.append(state) } }
        guard states.count == members else { return nil }
    }
}

/// How far the reaping of a room has come.
package struct ReapResult: Equatable, Sendable {
    /// Members removed by this call.
    package var removed: Int
    /// What is left in the dead node's set.
    package var left: Int

    /// Reads the answer; nil when it is none.
    package init?(_ reply: RedisReply) {
        guard reply.count == 2, let removed = reply[0]?.integer, let left = reply[1]?.integer, removed >= 0, left >= 0
        else { return nil }
        self.removed = Int(clamping: removed)
        self.left = Int(clamping: left)
    }
}

/// Asking for a page of a room's members.
package struct ListMembersCall {
    package var room: UnsafeRawBufferPointer
    /// Where the page begins; 0: at the beginning.
    package var cursor: UInt64
    /// Members and bytes after which the page ends.
    package var members: Int
    package var bytes: Int

    package init(room: UnsafeRawBufferPointer, cursor: UInt64, members: Int, bytes: Int) {
        self.room = room
        self.cursor = cursor
        self.members = members
        self.bytes = bytes
    }

    /// Appends the call, answered by an array (`ListMembersResult`).
    package func append(to output: inout ByteBuffer, names: RedisNames) {
        RedisScript.listMembers.begin(keys: 2, arguments: 3, in: &output)
        names.appendKeyArgument(.members, of: room, to: &output)
        names.appendKeyArgument(.users, of: room, to: &output)
        output.appendArgument(decimal: cursor)
        output.appendArgument(decimal: UInt64(clamping: members))
        output.appendArgument(decimal: UInt64(clamping: bytes))
    }
}

/// A page of a room's members; valid as long as its reply.
package struct ListMembersResult {
    /// Where the next page begins; 0: that was all.
    package let cursor: UInt64
    /// All members of the room, and how many users they are.
    package let members: Int
    package let users: Int
    private let reply: RedisReply

    /// Reads the answer; nil when it is none.
    package init?(_ reply: RedisReply) {
        guard reply.count >= 3, reply.count % 2 == 1, let cursor = reply[0], cursor.kind == .bulk,
            let position = UInt64(decimal: cursor.bytes), let members = reply[1]?.integer,
            let users = reply[2]?.integer, members >= 0, users >= 0
        else { return nil }
        self.cursor = position
        self.members = Int(clamping: members)
        self.users = Int(clamping: users)
        self.reply = reply
    }

    /// Hands each member's client and info to `body`.
    package func forEach(_ body: (_ client: UnsafeRawBufferPointer, _ info: UnsafeRawBufferPointer) -> Void) {
        var client: RedisReply?
        reply.forEach(from: 3) { element in
            guard let known = client else {
                client = element
                return
            }
            client = nil
            body(known.bytes, element.bytes)
        }
    }
}
