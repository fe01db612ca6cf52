// What both kinds of link need to know of the server and of themselves, and the named bounds of a link: the single
// authority on Redis timings. Made once from the configuration, then immutable and shared by all loops.

/// Bounds of one link and what happens at each.
package struct LinkLimits: Sendable {
    /// Commands that wait for their replies; one more is refused (error 120).
    package var commandsInFlight = 16_384
    /// Bytes of commands that wait to be written; a command that would exceed it is refused (error 120).
    package var outputBytes = 16 * 1024 * 1024
    /// Names of one SUBSCRIBE or UNSUBSCRIBE; the rest goes into the next one.
    package var namesPerCommand = 256
    /// Bytes of one SUBSCRIBE or UNSUBSCRIBE.
    package var bytesPerCommand = 16 * 1024
    /// Names whose confirmation is awaited; the rest waits, so that a resubscription cannot fill the server's buffer.
    package var namesInFlight = 4096
    /// Replies of the server.
    package var replies = RESPLimits()

    package init() {}
}

/// How a link logs in and how patient it is.
package struct LinkSettings: Sendable {
    /// ACL user; nil: the default user.
    package var user: String?
    /// Password; nil: no AUTH.
    package var password: String?
    /// Number for SELECT.
    package var database = 0
    /// Name for CLIENT SETNAME; bytes that Redis does not allow in it are replaced.
    package var clientName = "martlet"
    /// Time that a connection may take to be established.
    package var connectTimeout = Duration.seconds(1)
    /// Time that a command may go unanswered. Then its link is closed, since later replies would shift (RC-03).
    package var commandTimeout = Duration.seconds(2)
    /// Time without any byte, after this node's probe was published, until a subscriber link that has not received it
    /// is deaf (RC-04). Whatever else arrives, three times as long is the end.
    package var probeTimeout = Duration.milliseconds(1500)
    /// Upper bounds of the first wait and of every wait between two attempts to connect.
    package var backoffBase = Duration.milliseconds(50)
    package var backoffCap = Duration.seconds(1)
    /// Bounds.
    package var limits = LinkLimits()

    package init() {}
}

extension LinkSettings: CustomStringConvertible, CustomReflectable {
    /// User, database and name; never the password, so that it cannot reach a log by accident.
    package var description: String { "\(clientName): user \(user ?? "default"), database \(database)" }

    package var customMirror: Mirror { Mirror(self, children: ["settings": description]) }
}

/// Why a link is not to be used any more.
package enum LinkFault: Error, Equatable, Sendable {
    /// The server sent what is not RESP2 or beyond the limits.
    case badReply(RESPFault)
    /// A well-formed reply of another shape than the command's, or one that nobody asked for.
    case unexpectedReply
    /// A command was not answered in time.
    case timeout
    /// A probe that was published did not arrive in time.
    case deaf
    /// The server refused the login, or a command in a way that concerns the whole link.
    case refused(RedisErrorKind)
    /// The connection could not be established in time.
    case connectTimeout
    /// The socket failed with this errno.
    case socket(Int32)
    /// The server closed the connection.
    case closedByServer
    /// The host's name could not be resolved.
    case unresolved
    /// The server has begun another life: what this link brings belongs to the one before.
    case otherLife
    /// This side ended it.
    case shutdown
}

extension LinkFault {
    /// A short name without spaces, for logs.
    package var name: String {
        switch self {
        case .badReply(let fault): "bad_reply_\(fault)"
        case .unexpectedReply: "unexpected_reply"
        case .timeout: "timeout"
        case .deaf: "deaf"
        case .refused(let kind): "refused_\(kind)"
        case .connectTimeout: "connect_timeout"
        case .socket(let code): "socket_errno_\(code)"
        case .closedByServer: "closed_by_server"
        case .unresolved: "unresolved"
        case .otherLife: "other_life"
        case .shutdown: "shutdown"
        }
    }
}
