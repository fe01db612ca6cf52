// What a client may ask, independent of how it was encoded. A codec fills these views on the connection's loop, the
// session reads them at once. Fixed size, no references: the bytes stay in the frame or in the codec's scratch buffer.
//
// Absent, null, zero, false and empty are the same, as in the protocol's Protobuf form. What is missing is for the
// session to judge (a publish without data is error 107), except for what makes no command at all.

/// One command of a client.
package struct Command {
    /// The client's number for it, repeated in the reply; 0 only for `send` and the pong.
    package var id: UInt32
    /// What is asked.
    package var request: Request

    package init(id: UInt32, request: Request) {
        self.id = id
        self.request = request
    }
}

/// What a command asks. Rooms are called `channel` on the wire.
package enum Request {
    /// The empty command: the answer to the server's ping.
    case pong
    case connect(ConnectRequest)
    case subscribe(SubscribeRequest)
    case unsubscribe(room: WireBytes)
    case publish(PublishRequest)
    case presence(PresenceRequest)
    case presenceStats(room: WireBytes)
    case history(HistoryRequest)
    case ping
    /// Has no id and gets no reply.
    case send(data: WireBytes)
    case rpc(method: WireBytes, data: WireBytes)
    case refresh(token: WireBytes)
    case subRefresh(room: WireBytes, token: WireBytes)
}

/// The first command of a connection.
package struct ConnectRequest {
    package var token: WireBytes = .empty
    /// A value in the codec's form, validated.
    package var data: WireBytes = .empty
    /// Rooms to take up again, as the codec's encoded map: read it with the codec's iterator.
    package var subscriptions: WireBytes = .empty
    package var name: WireBytes = .empty
    package var version: WireBytes = .empty
    /// Header emulation, as the codec's encoded map of strings.
    package var headers: WireBytes = .empty

    package init() {}
}

/// Joins a room.
package struct SubscribeRequest {
    package var room: WireBytes = .empty
    package var token: WireBytes = .empty
    /// Whether what came after `epoch` and `offset` is asked for.
    package var recover = false
    package var positioned = false
    package var recoverable = false
    package var joinLeave = false
    package var offset: UInt64 = 0
    package var epoch: WireBytes = .empty
    package var data: WireBytes = .empty
    /// Name of the delta format that the client understands.
    package var delta: WireBytes = .empty

    package init() {}
}

/// Says something in a room.
package struct PublishRequest {
    package var room: WireBytes = .empty
    package var data: WireBytes = .empty
    /// A retry with the same key is not published twice.
    package var idempotencyKey: WireBytes = .empty

    package init() {}
}

/// Asks who is in a room.
package struct PresenceRequest {
    package var room: WireBytes = .empty
    /// Members of one page, about; 0: all at once.
    package var limit: UInt32 = 0
    /// Where the page before ended, as the reply to it said; empty: the first page.
    package var cursor: WireBytes = .empty

    package init() {}

    /// Asks for all members of `room`.
    package init(room: WireBytes) { self.room = room }
}

/// A position in a stream as a client writes it: epochs are opaque text to it.
package struct SincePosition {
    package var offset: UInt64
    package var epoch: WireBytes

    package init(offset: UInt64, epoch: WireBytes) {
        self.offset = offset
        self.epoch = epoch
    }
}

/// Reads a room's stream.
package struct HistoryRequest {
    package var room: WireBytes = .empty
    /// 0: only the top position; -1: as much as the server gives.
    package var limit: Int32 = 0
    package var since: SincePosition?
    package var reverse = false

    package init() {}
}
