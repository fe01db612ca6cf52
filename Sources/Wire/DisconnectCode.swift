// The single authority on the WebSocket close codes of the client protocol. Read by the session, the drain, the server
// API and the clients. Faults of WebSocket itself use RFC 6455's own codes and are the WebSocket module's business.

/// Why a connection is closed by the server. The hundreds decide what an SDK does: see `reconnects(_:)`.
package enum DisconnectCode: UInt16, Error, CaseIterable, Sendable {
    case connectionClosed = 3000
    case shutdown = 3001
    case internalServerError = 3004
    /// The connection's token ran out and was not refreshed.
    case connectionExpired = 3005
    case subscriptionExpired = 3006
    /// The client does not read as fast as its rooms talk.
    case slow = 3008
    case writeError = 3009
    /// Continuity of a server-side subscription is lost: reconnecting recovers it.
    case insufficientState = 3010
    case forceReconnect = 3011
    case noPong = 3012
    case tooManyRequests = 3013
    case invalidToken = 3500
    case badRequest = 3501
    /// No `connect` in time.
    case stale = 3502
    case forceDisconnect = 3503
    case connectionLimit = 3504
    case roomLimit = 3505
    case inappropriateProtocol = 3506
    case permissionDenied = 3507
    case notAvailable = 3508
    case tooManyErrors = 3509

    /// The close reason; shorter than the 124 bytes that a Close frame has for it.
    package var reason: StaticString {
        switch self {
        case .connectionClosed: "connection closed"
        case .shutdown: "shutdown"
        case .internalServerError: "internal server error"
        case .connectionExpired: "connection expired"
        case .subscriptionExpired: "subscription expired"
        case .slow: "slow"
        case .writeError: "write error"
        case .insufficientState: "insufficient state"
        case .forceReconnect: "force reconnect"
        case .noPong: "no pong"
        case .tooManyRequests: "too many requests"
        case .invalidToken: "invalid token"
        case .badRequest: "bad request"
        case .stale: "stale"
        case .forceDisconnect: "force disconnect"
        case .connectionLimit: "connection limit"
        case .roomLimit: "channel limit"
        case .inappropriateProtocol: "inappropriate protocol"
        case .permissionDenied: "permission denied"
        case .notAvailable: "not available"
        case .tooManyErrors: "too many errors"
        }
    }

    /// Whether a client that is closed with this code comes back by itself.
    package var reconnects: Bool { DisconnectCode.reconnects(rawValue) }

    /// Whether a client comes back after a close with `code`, also one that is not in the list: only 3500–3999 and
    /// 4500–4999 are final.
    package static func reconnects(_ code: UInt16) -> Bool {
        !(3500...3999).contains(code) && !(4500...4999).contains(code)
    }
}
