// Walking the maps and lists that the parsers hand out as slices: subscriptions and headers of `connect`, publications,
// presence, tags. The entries are parsed one at a time, when the caller asks, and never more of them than it allows. A
// map's keys may repeat: remembering them would take memory that the peer decides on, so the caller judges.
//
// Each call empties the scratch buffer, so that what it returns is valid until the next one. It must not be the buffer
// in which the command or message itself has strings that are still needed.

package import Bytes

/// The position of a walk over encoded entries.
struct JSONEntries {
    private let entries: EncodedEntries
    private var position = 0
    private var left: Int

    init(_ entries: EncodedEntries, limit: Int) {
        self.entries = entries
        self.left = limit
    }

    /// Parses the next entry with `body`, which gets the key (empty in a list) and stands at the value; nil at the end.
    @inline(__always)
    mutating func next<Value>(
        keyed: Bool, scratch: inout ByteBuffer,
        _ body: (inout JSONScanner, WireBytes) throws(WireError) -> Value
    ) throws(WireError) -> Value? {
        guard position < entries.count, let base = entries.baseAddress else { return nil }
        guard left > 0 else { throw .tooManyEntries }
        left -= 1
        scratch.truncate(to: 0)
        let rest = entries.count - position
        var scanner = JSONScanner(base + position, rest, scratch: scratch.reserve(rest))
        scanner.skipWhitespace()
        var key = WireBytes.empty
        if keyed {
            key = try scanner.text()
            try scanner.colon()
        }
        let value = try body(&scanner, key)
        scanner.skipWhitespace()
        if scanner.index < scanner.end {
            try scanner.expect(UInt8(ascii: ","))
            guard scanner.index < scanner.end else { throw .unexpectedEnd }
        }
        position += scanner.index
        scratch.advance(by: scanner.scratchCount)
        return value
    }
}

extension JSONCodec {
    /// The subscriptions that a `connect` command wants to take up.
    package struct SubscriptionRequests {
        private var walk: JSONEntries

        /// Walks `ConnectRequest.subscriptions`; more than `limit` entries are an error.
        package init(_ entries: EncodedEntries, limit: Int) { walk = JSONEntries(entries, limit: limit) }

        /// The next request, its room taken from the map's key; nil at the end.
        package mutating func next(scratch: inout ByteBuffer) throws(WireError) -> SubscribeRequest? {
            try walk.next(keyed: true, scratch: &scratch) { scanner, room throws(WireError) in
                var request = try scanner.takeNull() ? SubscribeRequest() : try scanner.subscribeRequest()
                request.room = room
                return request
            }
        }
    }

    /// Pairs of strings: headers of a `connect` command, tags of a publication.
    package struct StringPairs {
        private var walk: JSONEntries

        /// Walks `entries`; more than `limit` of them are an error.
        package init(_ entries: EncodedEntries, limit: Int) { walk = JSONEntries(entries, limit: limit) }

        /// The next pair; nil at the end.
        package mutating func next(
            scratch: inout ByteBuffer
        ) throws(WireError) -> (name: WireBytes, value: WireBytes)? {
            try walk.next(keyed: true, scratch: &scratch) { scanner, name throws(WireError) in
                (name: name, value: try scanner.string())
            }
        }
    }

    /// Publications of a reply.
    package struct Publications {
        private var walk: JSONEntries

        /// Walks `entries`; more than `limit` of them are an error.
        package init(_ entries: EncodedEntries, limit: Int) { walk = JSONEntries(entries, limit: limit) }

        /// The next publication; nil at the end.
        package mutating func next(scratch: inout ByteBuffer) throws(WireError) -> Publication? {
            try walk.next(keyed: false, scratch: &scratch) { scanner, _ throws(WireError) in
                try scanner.publication()
            }
        }
    }

    /// Members of a room, from the reply to `presence`.
    package struct Members {
        private var walk: JSONEntries

        /// Walks `entries`; more than `limit` of them are an error.
        package init(_ entries: EncodedEntries, limit: Int) { walk = JSONEntries(entries, limit: limit) }

        /// The next member; nil at the end.
        package mutating func next(scratch: inout ByteBuffer) throws(WireError) -> ClientInfo? {
            try walk.next(keyed: true, scratch: &scratch) { scanner, client throws(WireError) in
                var info = try scanner.clientInfo()
                if info.client.count == 0 { info.client = client }
                return info
            }
        }
    }

    /// Server-side subscriptions of the reply to `connect`.
    package struct SubscriptionResults {
        private var walk: JSONEntries

        /// Walks `ConnectResult.subscriptions`; more than `limit` entries are an error.
        package init(_ entries: EncodedEntries, limit: Int) { walk = JSONEntries(entries, limit: limit) }

        /// The next room and the state of its subscription; nil at the end.
        package mutating func next(
            scratch: inout ByteBuffer
        ) throws(WireError) -> (room: WireBytes, result: SubscribeResult)? {
            try walk.next(keyed: true, scratch: &scratch) { scanner, room throws(WireError) in
                (room: room, result: try scanner.subscribeResult())
            }
        }
    }
}
