// What the server says unasked, independent of how it is encoded, and the publications and members that it speaks of.

/// What a push says. The room stands beside it; it is empty where the push is not about a room.
package enum Push {
    case publication(Publication)
    case join(ClientInfo)
    case leave(ClientInfo)
    /// The server has ended the subscription.
    case unsubscribe(code: UInt32, reason: WireBytes)
    /// Data for this connection alone.
    case message(data: WireBytes)
    /// The server has subscribed the client to the room.
    case subscribe(SubscribePush)
    case connect(ConnectResult)
    case disconnect(code: UInt32, reason: WireBytes, reconnect: Bool)
    case refresh(expires: Bool, ttl: UInt32)
}

/// A subscription that the server made.
package struct SubscribePush {
    package var recoverable = false
    package var epoch: WireBytes = .empty
    package var offset: UInt64 = 0
    package var positioned = false
    package var data: WireBytes = .empty

    package init() {}
}

/// A message of a room.
package struct Publication {
    /// A value in the codec's form.
    package var data: WireBytes = .empty
    /// Who said it; nil for the server.
    package var info: ClientInfo?
    /// Its place in the room's stream, from 1; 0 in rooms without history.
    package var offset: UInt64 = 0
    /// String → string.
    package var tags: EncodedEntries = .empty
    /// Whether `data` is a delta against the publication before.
    package var isDelta = false
    /// When it was published, in milliseconds since 1970; 0 when not told.
    package var time: UInt64 = 0
    /// The room where it was published, if that is not the one it is delivered in.
    package var room: WireBytes = .empty

    package init() {}

    /// A publication with data and, where a client made it, its author.
    package init(data: WireBytes, info: ClientInfo? = nil, offset: UInt64 = 0, time: UInt64 = 0) {
        self.data = data
        self.info = info
        self.offset = offset
        self.time = time
    }
}

/// A member as the others see it.
package struct ClientInfo {
    /// Empty for the anonymous user.
    package var user: WireBytes
    /// The id of the connection.
    package var client: WireBytes
    /// What the connection token says about the user: a value in the codec's form, or empty.
    package var connectionInfo: WireBytes
    /// What the subscription token says about the user: a value in the codec's form, or empty.
    package var roomInfo: WireBytes

    package init(
        user: WireBytes, client: WireBytes, connectionInfo: WireBytes = .empty, roomInfo: WireBytes = .empty
    ) {
        self.user = user
        self.client = client
        self.connectionInfo = connectionInfo
        self.roomInfo = roomInfo
    }
}
