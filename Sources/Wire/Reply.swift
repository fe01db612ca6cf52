// What the server answers, independent of how it is encoded. The session fills these to have them encoded, a client
// gets them from its parser; both at once, since the bytes belong to somebody else.
//
// Lists and maps inside a result (publications, presence, subscriptions, tags) are `EncodedEntries`: the entries in the
// codec's own form, appended one by one to a buffer by the codec, read by its iterators. No array is ever built.

/// Entries of a list or map in a codec's own form, without brackets; empty when there are none.
package typealias EncodedEntries = WireBytes

/// The answer to one command.
package enum Reply {
    case error(ErrorReply)
    case connect(ConnectResult)
    case subscribe(SubscribeResult)
    case unsubscribe
    case publish(PublishResult)
    case presence(PresenceResult)
    case presenceStats(clients: UInt32, users: UInt32)
    case history(HistoryResult)
    case ping
    case rpc(data: WireBytes)
    case refresh(RefreshResult)
    case subRefresh(expires: Bool, ttl: UInt32)
}

/// Why a command was not carried out.
package struct ErrorReply {
    /// An `ErrorCode`, or one that this version does not know.
    package var code: UInt32
    package var message: WireBytes
    package var isTemporary: Bool
    /// Milliseconds after which the same command may be tried again; 0 when nothing is known.
    package var retryAfter: UInt64 = 0

    /// An error with any code.
    package init(code: UInt32, message: WireBytes, isTemporary: Bool, retryAfter: UInt64 = 0) {
        self.code = code
        self.message = message
        self.isTemporary = isTemporary
        self.retryAfter = retryAfter
    }

    /// One of our errors; `message` in place of the code's own text where more can be said.
    package init(_ code: ErrorCode, message: StaticString? = nil, retryAfter: UInt64 = 0) {
        let text = message ?? code.message
        self.code = code.rawValue
        self.message = WireBytes(start: text.utf8Start, count: text.utf8CodeUnitCount)
        self.isTemporary = code.isTemporary
        self.retryAfter = retryAfter
    }
}

/// The connection is open for commands.
package struct ConnectResult {
    /// The id of this connection.
    package var client: WireBytes = .empty
    /// The server's version.
    package var version: WireBytes = .empty
    package var expires = false
    /// Seconds until the token expires.
    package var ttl: UInt32 = 0
    package var data: WireBytes = .empty
    /// Room → SubscribeResult: what the server has subscribed the client to.
    package var subscriptions: EncodedEntries = .empty
    /// Seconds between two pings of the server; 0: none come.
    package var ping: UInt32 = 0
    /// Whether pings are to be answered.
    package var pong = false
    package var session: WireBytes = .empty
    package var node: WireBytes = .empty
    /// The server's wall clock, in milliseconds since 1970.
    package var time: UInt64 = 0

    package init() {}
}

/// The client is in the room.
package struct SubscribeResult {
    package var expires = false
    /// Seconds until the subscription expires.
    package var ttl: UInt32 = 0
    package var recoverable = false
    package var epoch: WireBytes = .empty
    /// What was missed, in order, if it was recovered.
    package var publications: EncodedEntries = .empty
    package var recovered = false
    package var offset: UInt64 = 0
    package var positioned = false
    package var data: WireBytes = .empty
    /// Whether recovery had been asked for.
    package var wasRecovering = false
    /// Whether deltas were agreed.
    package var delta = false

    package init() {}
}

/// The publication is accepted; without offset in rooms that keep no history.
package struct PublishResult {
    package var offset: UInt64 = 0
    package var epoch: WireBytes = .empty

    package init(offset: UInt64 = 0, epoch: WireBytes = .empty) {
        self.offset = offset
        self.epoch = epoch
    }
}

/// Who is in a room: all of them, or a page.
package struct PresenceResult {
    /// Client id → ClientInfo.
    package var members: EncodedEntries = .empty
    /// Where the next page begins; empty: that was all.
    package var cursor: WireBytes = .empty

    package init() {}
}

/// A part of a room's stream and its top position.
package struct HistoryResult {
    package var publications: EncodedEntries = .empty
    package var epoch: WireBytes = .empty
    package var offset: UInt64 = 0

    package init() {}
}

/// The new token is accepted.
package struct RefreshResult {
    package var client: WireBytes = .empty
    package var version: WireBytes = .empty
    package var expires = false
    /// Seconds until the token expires.
    package var ttl: UInt32 = 0

    package init() {}
}
