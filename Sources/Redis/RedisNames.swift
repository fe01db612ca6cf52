// Names of keys and channels: the single authority on what Martlet calls things in Redis.
//
// Every key of one room carries the hash tag `{room}`, so that one script touches one slot. `%`, `{` and `}` in room
// names are percent-encoded, which is injective: no name can end the tag or look like another room's (RC-07). Names
// only ever travel as arguments. Called on the loops; writes into buffers, makes no Strings.

package import Bytes

/// Makes and reads the names of one prefix.
package struct RedisNames: Sendable {
    /// The keys that one room may have, by the letter behind its tag.
    package enum RoomKey: Sendable {
        /// Stream with the room's history.
        case stream
        /// Hash with top offset, epoch, term and previous epoch.
        case position
        /// Hash with the state of the room's rate limits.
        case rate
        /// Hash: member (client id) to ClientInfo and node.
        case members
        /// Hash: user to number of members.
        case users
        /// Hash: user to clients whose connection broke and whose grace runs.
        case lingering
        /// Set: members that a node brought.
        case nodeMembers(node: [UInt8])
    }

    private let prefix: [UInt8]

    /// The names behind `prefix`; nil when it is empty or would break the hash tag (braces) or a command line (control
    /// characters, spaces).
    package init?(prefix: String) {
        let bytes = Array(prefix.utf8)
        let allowed = bytes.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "{") && $0 != UInt8(ascii: "}") }
        guard !bytes.isEmpty, allowed else { return nil }
        self.prefix = bytes
    }

    // MARK: Rooms

    /// Bytes of the room's channel name.
    package func channelLength(_ room: UnsafeRawBufferPointer) -> Int {
        var length = prefix.count + 3 + room.count
        for byte in room where RedisNames.isSpecial(byte) { length += 2 }
        return length
    }

    /// Appends the room's channel, `P:{room}`, which is also how its keys begin.
    package func appendChannel(_ room: UnsafeRawBufferPointer, to output: inout ByteBuffer) {
        prefix.withUnsafeBytes { output.append($0) }
        output.append(":{")
        RedisNames.appendEncoded(room, to: &output)
        output.append("}")
    }

    /// Appends the room's channel as one argument of a command.
    package func appendChannelArgument(_ room: UnsafeRawBufferPointer, to output: inout ByteBuffer) {
        output.appendArgumentLength(channelLength(room))
        appendChannel(room, to: &output)
        output.endArgument()
    }

    /// Appends the room's name that `channel` stands for; false, and nothing is appended, when it is no room's channel.
    package func appendRoom(ofChannel channel: UnsafeRawBufferPointer, to output: inout ByteBuffer) -> Bool {
        guard channel.count >= prefix.count + 3, channel.prefix(prefix.count).elementsEqual(prefix),
            channel[prefix.count] == UInt8(ascii: ":"), channel[prefix.count + 1] == UInt8(ascii: "{"),
            channel[channel.count - 1] == UInt8(ascii: "}")
        else { return false }
        let before = output.count
        var index = prefix.count + 2
        let end = channel.count - 1
        while index < end {
            var byte = channel[index]
            index += 1
            if byte == UInt8(ascii: "%") {
                guard end - index >= 2, let decoded = RedisNames.decoded(channel[index], channel[index + 1]) else {
                    output.truncate(to: before)
                    return false
                }
                byte = decoded
                index += 2
            } else if RedisNames.isSpecial(byte) {
                output.truncate(to: before)
                return false
            }
            output.append(byte)
        }
        return true
    }

    /// Appends one of the room's keys.
    package func appendKey(_ key: RoomKey, of room: UnsafeRawBufferPointer, to output: inout ByteBuffer) {
        appendChannel(room, to: &output)
        switch key {
        case .stream: output.append(":s")
        case .position: output.append(":m")
        case .rate: output.append(":r")
        case .members: output.append(":p")
        case .users: output.append(":u")
        case .lingering: output.append(":g")
        case .nodeMembers(let node):
            output.append(":n:")
            node.withUnsafeBytes { RedisNames.appendPart($0, to: &output) }
        }
    }

    /// Appends one of the room's keys as one argument of a command.
    package func appendKeyArgument(_ key: RoomKey, of room: UnsafeRawBufferPointer, to output: inout ByteBuffer) {
        var length = channelLength(room) + 2
        if case .nodeMembers(let node) = key { length += 1 + node.withUnsafeBytes(RedisNames.partLength) }
        output.appendArgumentLength(length)
        appendKey(key, of: room, to: &output)
        output.endArgument()
    }

    /// Appends the four keys of the presence scripts as arguments: members, users, lingering, what `node` brought.
    package func appendPresenceKeys(_ room: UnsafeRawBufferPointer, node: [UInt8], to output: inout ByteBuffer) {
        appendKeyArgument(.members, of: room, to: &output)
        appendKeyArgument(.users, of: room, to: &output)
        appendKeyArgument(.lingering, of: room, to: &output)
        appendKeyArgument(.nodeMembers(node: node), of: room, to: &output)
    }

    /// Appends the key of an idempotent publish (string: its result), `P:{room}:i:sender:key`.
    package func appendIdempotencyKey(
        sender: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer, of room: UnsafeRawBufferPointer,
        to output: inout ByteBuffer
    ) {
        appendChannel(room, to: &output)
        output.append(":i:")
        // The sender may hold a colon; encoded, it cannot be cut elsewhere. The key is the last part.
        RedisNames.appendPart(sender, to: &output)
        output.append(":")
        output.append(key)
    }

    /// Appends the key of an idempotent publish as one argument of a command.
    package func appendIdempotencyArgument(
        sender: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer, of room: UnsafeRawBufferPointer,
        to output: inout ByteBuffer
    ) {
        output.appendArgumentLength(channelLength(room) + 4 + RedisNames.partLength(sender) + key.count)
        appendIdempotencyKey(sender: sender, key: key, of: room, to: &output)
        output.endArgument()
    }

    // MARK: Nodes

    /// Appends the key of the registry of terms (hash): which life of the master counts, and the nodes that know it.
    package func appendTerm(to output: inout ByteBuffer) { append(":term", to: &output) }

    /// Appends the channel of cluster commands.
    package func appendControl(to output: inout ByteBuffer) { append(":control", to: &output) }

    /// Appends a node's own channel, which its probe uses, too.
    package func appendNodeChannel(_ node: [UInt8], to output: inout ByteBuffer) {
        append(":node:", to: &output)
        node.withUnsafeBytes { RedisNames.appendPart($0, to: &output) }
    }

    /// Appends a node's own channel as one argument of a command.
    package func appendNodeChannelArgument(_ node: [UInt8], to output: inout ByteBuffer) {
        output.appendArgumentLength(prefix.count + 6 + node.withUnsafeBytes(RedisNames.partLength))
        appendNodeChannel(node, to: &output)
        output.endArgument()
    }

    /// Appends the key of the rooms in which the node has members.
    package func appendNodeRooms(_ node: [UInt8], to output: inout ByteBuffer) {
        appendNodeChannel(node, to: &output)
        output.append(":rooms")
    }

    /// Appends the key of the rooms in which the node has members as one argument of a command.
    package func appendNodeRoomsArgument(_ node: [UInt8], to output: inout ByteBuffer) {
        output.appendArgumentLength(prefix.count + 12 + node.withUnsafeBytes(RedisNames.partLength))
        appendNodeRooms(node, to: &output)
        output.endArgument()
    }

    // MARK: Encoding

    private func append(_ suffix: StaticString, to output: inout ByteBuffer) {
        prefix.withUnsafeBytes { output.append($0) }
        output.append(suffix)
    }

    private static func isSpecial(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "%") || byte == UInt8(ascii: "{") || byte == UInt8(ascii: "}")
    }

    private static func appendEncoded(_ name: UnsafeRawBufferPointer, to output: inout ByteBuffer) {
        // Nearly no name holds any of the three: then it is one copy.
        guard name.contains(where: isSpecial) else { return output.append(name) }
        for byte in name { append(byte, encoded: isSpecial(byte), to: &output) }
    }

    /// Encodes the colon, too, for parts that stand between colons.
    private static func appendPart(_ part: UnsafeRawBufferPointer, to output: inout ByteBuffer) {
        guard part.contains(where: isSpecialInPart) else { return output.append(part) }
        for byte in part { append(byte, encoded: isSpecialInPart(byte), to: &output) }
    }

    /// Bytes that `appendPart` appends.
    private static func partLength(_ part: UnsafeRawBufferPointer) -> Int {
        var length = part.count
        for byte in part where isSpecialInPart(byte) { length += 2 }
        return length
    }

    private static func isSpecialInPart(_ byte: UInt8) -> Bool { isSpecial(byte) || byte == UInt8(ascii: ":") }

    private static func append(_ byte: UInt8, encoded: Bool, to output: inout ByteBuffer) {
        guard encoded else { return output.append(byte) }
        output.append(UInt8(ascii: "%"))
        output.append(hexDigit(byte >> 4))
        output.append(hexDigit(byte & 15))
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
    }

    /// The byte that two hexadecimal digits stand for, if it is one that is encoded, in the form in which it is.
    private static func decoded(_ high: UInt8, _ low: UInt8) -> UInt8? {
        for byte in [UInt8(ascii: "%"), UInt8(ascii: "{"), UInt8(ascii: "}")]
        where hexDigit(byte >> 4) == high && hexDigit(byte & 15) == low { return byte }
        return nil
    }
}
