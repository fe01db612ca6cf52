// The single authority on the codes of unsubscribe pushes. Read by the session, the server API and the clients.

/// Why the server ended a subscription.
package enum UnsubscribeCode: UInt32, CaseIterable, Sendable {
    /// The server, or its API, wished so: final.
    case server = 2000
    /// Continuity is lost: an SDK subscribes again and learns what it missed.
    case insufficientState = 2500
    /// The subscription's token ran out and was not refreshed.
    case expired = 2501

    /// The text beside the code.
    package var reason: StaticString {
        switch self {
        case .server: "server unsubscribe"
        case .insufficientState: "insufficient state"
        case .expired: "subscription expired"
        }
    }

    /// Whether a client that gets `code` subscribes again by itself.
    package static func resubscribes(_ code: UInt32) -> Bool { code >= 2500 }
}
