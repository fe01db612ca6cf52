// What a client tells its owner: events, answers and typed failures. Plain values; the strings and bytes in them come
// from a server and are not to be trusted further than that.

import Wire

/// Names a request of this client; never repeats within its life.
package struct RequestID: Hashable, Sendable {
    /// Counts up from 1.
    package let number: UInt64
}

/// An error reply of the server.
package struct ServerError: Error, Equatable, Sendable {
    /// The code, as docs/protocol.md lists them.
    package var code: UInt32
    /// The server's words.
    package var message: String
    /// Whether the same request may succeed later.
    package var isTemporary = false
    /// When the server wants to be asked again.
    package var retryAfter: Duration?

    /// Whether it says that we are not who we have to be (unauthorized, permission denied, token expired).
    package var isAuthentication: Bool {
        switch ErrorCode(rawValue: code) {
        case .unauthorized, .permissionDenied, .tokenExpired, .expired: true
        default: false
        }
    }

    /// Whether too much was asked of the server, or of the room (111).
    package var isLimit: Bool { code == ErrorCode.tooManyRequests.rawValue }

    /// Whether the same publish, sent again with the same key, may succeed: the engine is away (120), or it did not
    /// answer in time (100). A rate limit (111) is repeated as well, by a rule of its own (`PublishQueue`).
    var isWorthRepeating: Bool {
        isTemporary && (code == ErrorCode.engineUnavailable.rawValue || code == ErrorCode.internalError.rawValue)
    }
}

/// Why a request failed.
package enum ClientError: Error, Equatable, Sendable {
    /// The server refused it.
    case refused(ServerError)
    /// No answer came in time.
    case timeout
    /// The connection ended before the answer; whether the request took effect is unknown.
    case connectionLost
    /// There is no connection now, and this kind of request does not wait for one.
    case notConnected
    /// What was to be published is not one JSON value.
    case notJSON
    /// Too much waits already.
    case queueFull
    /// It was taken back before it was sent.
    case cancelled
    /// The client is closed for good.
    case closed

    /// Whether the request may have taken effect all the same.
    package var isOutcomeUnknown: Bool {
        switch self {
        case .timeout, .connectionLost: true
        case .refused(let error): error.code == ErrorCode.internalError.rawValue
        case .notConnected, .notJSON, .queueFull, .cancelled, .closed: false
        }
    }
}

/// A position in a room's stream.
package struct StreamMark: Equatable, Sendable {
    /// Names the stream's life; offsets of another epoch mean nothing.
    package var epoch: String
    /// The last publication that was seen.
    package var offset: UInt64
}

/// Who published, joined or left.
package struct PeerInfo: Equatable, Sendable {
    /// The user id; empty for anonymous people.
    package var user = ""
    /// The id of the connection.
    package var client = ""
    /// JSON; empty when there is none.
    package var connectionInfo: [UInt8] = []
    /// JSON; empty when there is none.
    package var roomInfo: [UInt8] = []
}

/// A message in a room.
package struct RoomPublication: Equatable, Sendable {
    /// Where it was said.
    package var room: String
    /// The published JSON value, one line.
    package var data: [UInt8] = []
    /// Nil for what the server published.
    package var info: PeerInfo?
    /// Nil in rooms without history.
    package var offset: UInt64?
    /// Milliseconds since 1970, where the server tells.
    package var time: UInt64?
}

/// How a subscription began.
package struct RoomSubscription: Equatable, Sendable {
    /// Whether missed publications were asked for.
    package var wasRecovering = false
    /// Whether all of them follow. False after asking: some may be missing, so whoever shows the room loads it anew
    /// (`Client.history`).
    package var isRecovered = false
    /// Publications that follow this event and belong to it: missed ones, none of them seen before.
    package var publications = 0
    /// Whether the next subscription can recover.
    package var isRecoverable = false
    /// Where the room stands after these publications; nil when it cannot recover.
    package var mark: StreamMark?
    /// Whether the server subscribed us on its own.
    package var isServerSide = false
    /// JSON; empty when there is none.
    package var data: [UInt8] = []
}

/// The end of a connection, or of an attempt to make one.
package struct Disconnection: Equatable, Sendable {
    /// What ended it.
    package enum Cause: Equatable, Sendable {
        /// This side asked for it.
        case local
        /// The server said goodbye with a close code.
        case server
        /// The network: refused, reset, silence.
        case network
        /// The server answered the opening handshake with this status, or (0) not in the WebSocket way.
        case handshake(status: Int)
        /// The server refused `connect`.
        case refused
        /// The server broke the protocol.
        case protocolViolation
    }

    /// What ended it.
    package var cause: Cause
    /// Close code, or the code of the error reply; 0 where there is none.
    package var code: UInt32
    /// The reason in words, the server's or ours.
    package var reason: String
    /// When the next attempt begins; nil when there will be none.
    package var retryIn: Duration?

    /// Whether it says that we are not who we have to be.
    package var isAuthentication: Bool {
        switch cause {
        case .handshake(let status): status == 401 || status == 403
        case .refused: ServerError(code: code, message: "").isAuthentication
        case .server:
            code == DisconnectCode.invalidToken.rawValue || code == DisconnectCode.permissionDenied.rawValue
        default: false
        }
    }
}

/// An answer to a request.
package enum ClientReply: Equatable, Sendable {
    /// The server keeps the message; the mark is nil in rooms without history.
    case published(StreamMark?)
    /// The way there and back.
    case pong(Duration)
    /// Who is in the room.
    case presence(RoomMembers)
    /// How many connections are in the room, and how many users.
    case presenceStats(clients: UInt32, users: UInt32)
    /// What was said, and the stream's position.
    case history([RoomPublication], StreamMark?)
}

/// What happens to a client.
package enum ClientEvent: Equatable, Sendable {
    /// An attempt begins, at this gateway; counts up from 1 since the last success.
    case connecting(attempt: Int, url: ClientURL)
    /// `node` names the server process, where it tells.
    case connected(client: String, version: String, node: String)
    case disconnected(Disconnection)
    case subscribed(room: String, RoomSubscription)
    /// Not in the room any more, and not coming back by itself; code 0 when it was our wish.
    case unsubscribed(room: String, code: UInt32, reason: String)
    /// The room cannot be subscribed. With `willRetry` it is tried again later.
    case subscribeFailed(room: String, ClientError, willRetry: Bool)
    case publication(RoomPublication)
    /// Somebody came: this client itself too, after `subscribed`. Where the server counts users, only a user's first
    /// connection comes and only the last one leaves.
    case joined(room: String, PeerInfo)
    case left(room: String, PeerInfo)
    /// The server's own message to this client: one JSON value.
    case message([UInt8])
    /// The server takes no more publishes into the room for now. This one waits and is sent again after `retryAfter`
    /// or a little later, those behind it after it; it has its answer then.
    case limited(room: String, RequestID, retryAfter: Duration)
    case answered(RequestID, Result<ClientReply, ClientError>)
}
