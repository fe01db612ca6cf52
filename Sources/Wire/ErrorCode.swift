// The single authority on the codes of error replies. Read by the session, the server API and the clients; the numbers
// and texts up to 112 are those that the public SDKs know.

/// Why a command failed. The connection goes on, except after a failed `connect`.
package enum ErrorCode: UInt32, Error, CaseIterable, Sendable {
    /// Something went wrong here, or the engine did not answer in time: the outcome is unknown.
    case internalError = 100
    case unauthorized = 101
    /// The room's namespace is not configured.
    case unknownRoom = 102
    case permissionDenied = 103
    case methodNotFound = 104
    case alreadySubscribed = 105
    case limitExceeded = 106
    case badRequest = 107
    /// The feature is off for this room.
    case notAvailable = 108
    case tokenExpired = 109
    case expired = 110
    case tooManyRequests = 111
    /// The position asked for belongs to another epoch.
    case unrecoverablePosition = 112
    /// Never written to the engine, or refused by it: nothing was published.
    case engineUnavailable = 120

    /// The text beside the code.
    package var message: StaticString {
        switch self {
        case .internalError: "internal server error"
        case .unauthorized: "unauthorized"
        case .unknownRoom: "unknown channel"
        case .permissionDenied: "permission denied"
        case .methodNotFound: "method not found"
        case .alreadySubscribed: "already subscribed"
        case .limitExceeded: "limit exceeded"
        case .badRequest: "bad request"
        case .notAvailable: "not available"
        case .tokenExpired: "token expired"
        case .expired: "expired"
        case .tooManyRequests: "too many requests"
        case .unrecoverablePosition: "unrecoverable position"
        case .engineUnavailable: "engine unavailable"
        }
    }

    /// Whether the same command may succeed later.
    package var isTemporary: Bool {
        switch self {
        case .internalError, .tooManyRequests, .engineUnavailable: true
        default: false
        }
    }
}
