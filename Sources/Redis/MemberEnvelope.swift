// Joins and leaves as they travel in a room's channel, beside publications (PublicationEnvelope): `2\n`, then for each
// `+ clientLength userLength infoLength\n` client user info; a leave has `-`. Written by the presence scripts, read
// here.
//
// Anybody who may publish to Redis may put anything there: what does not parse is skipped, never believed (F39).
// Whether an info is well-formed JSON is judged by who passes it on. Called on the loops.

/// Joins and leaves of one message, handed out one by one.
package struct MemberEnvelope {
    /// A join or a leave; its bytes lie in the message.
    package struct Entry {
        package let isJoin: Bool
        package let client: UnsafeRawBufferPointer
        package let user: UnsafeRawBufferPointer
        package let info: UnsafeRawBufferPointer
    }

    /// What every such message begins with.
    private static let head: StaticString = "2\n"
    /// Longest line in front of an entry: sign, three lengths, separators.
    private static let longestLine = 40

    private let bytes: UnsafeRawBufferPointer
    private var position: Int
    /// An entry made no sense; what is behind it is lost.
    package private(set) var isBroken = false

    /// The entries of `payload`; nil when it is something else.
    package init?(_ payload: UnsafeRawBufferPointer) {
        let head = MemberEnvelope.head
        guard head.withUTF8Buffer({ payload.starts(with: $0) }) else { return nil }
        bytes = payload
        position = head.utf8CodeUnitCount
    }

    /// The next one; nil at the end.
    package mutating func next() -> Entry? {
        guard position < bytes.count, !isBroken else { return nil }
        guard let entry = parse() else {
            isBroken = true
            return nil
        }
        return entry
    }

    private mutating func parse() -> Entry? {
        let sign = bytes[position]
        guard sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") else { return nil }
        var cursor = position + 1
        let end = min(bytes.count, position + MemberEnvelope.longestLine)
        guard let client = number(&cursor, end), let user = number(&cursor, end), let info = number(&cursor, end),
            cursor < end, bytes[cursor] == UInt8(ascii: "\n")
        else { return nil }
        cursor += 1
        guard client > 0, info > 0, client + user + info <= bytes.count - cursor else { return nil }
        position = cursor + client + user + info
        return Entry(
            isJoin: sign == UInt8(ascii: "+"), client: part(cursor, client), user: part(cursor + client, user),
            info: part(cursor + client + user, info))
    }

    private func part(_ start: Int, _ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[start..<(start + count)])
    }

    /// A space and a number of at most nine digits, so that no sum of three overflows.
    private func number(_ cursor: inout Int, _ end: Int) -> Int? {
        guard cursor < end, bytes[cursor] == UInt8(ascii: " ") else { return nil }
        cursor += 1
        var value = 0
        let start = cursor
        while cursor < end, bytes[cursor] >= UInt8(ascii: "0"), bytes[cursor] <= UInt8(ascii: "9") {
            guard cursor - start < 9 else { return nil }
            value = value * 10 + Int(bytes[cursor] - UInt8(ascii: "0"))
            cursor += 1
        }
        return cursor > start ? value : nil
    }
}
