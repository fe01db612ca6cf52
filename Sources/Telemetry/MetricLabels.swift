// The words that may stand in a metric's label: the single authority on label values. A peer cannot make a new one,
// since every value is a case here; so the number of series of a process is known before it starts.
//
// Called on the loops (as array indexes) and by the exposition (as names). Order is free, names are not: dashboards
// and alert rules use them.

/// A closed set of label values; the raw value is the position among the cells of a metric.
package protocol LabelValue: CaseIterable, Sendable {
    /// The value as it stands in the exposition.
    var name: String { get }
}

/// The closed sets of label values, one enum for each label.
public enum Labels {
    /// Class of the code with which a connection ended (`code_class`).
    public enum CloseClass: Int, LabelValue {
        case none, websocket, unassigned, reconnect, terminal, applicationReconnect, applicationTerminal

        /// The class of a close code; nil when the connection broke without a Close frame.
        package init(code: UInt16?) {
            switch code {
            case .none: self = .none
            case .some(1000...1999): self = .websocket
            case .some(3000...3499): self = .reconnect
            case .some(3500...3999): self = .terminal
            case .some(4000...4499): self = .applicationReconnect
            case .some(4500...4999): self = .applicationTerminal
            default: self = .unassigned
            }
        }

        package var name: String {
            switch self {
            case .none: "none"
            case .websocket: "1000-1999"
            case .unassigned: "other"
            case .reconnect: "3000-3499"
            case .terminal: "3500-3999"
            case .applicationReconnect: "4000-4499"
            case .applicationTerminal: "4500-4999"
            }
        }
    }

    /// How an opening handshake ended.
    public enum Handshake: Int, LabelValue {
        case accepted, badRequest, forbidden, notFound, methodNotAllowed, tooLarge, upgradeRequired, timeout
        case unavailable, aborted, proxyHeader

        package var name: String {
            switch self {
            case .accepted: "accepted"
            case .badRequest: "bad_request"
            case .forbidden: "forbidden"
            case .notFound: "not_found"
            case .methodNotAllowed: "method_not_allowed"
            case .tooLarge: "too_large"
            case .upgradeRequired: "upgrade_required"
            case .timeout: "timeout"
            case .unavailable: "unavailable"
            case .aborted: "aborted"
            case .proxyHeader: "proxy_header"
            }
        }
    }

    /// Opcode of a WebSocket frame (RFC 6455, 5.2).
    public enum Opcode: Int, LabelValue {
        case continuation, text, binary, close, ping, pong

        package var name: String { String(describing: self) }
    }

    /// A command of the client protocol; `pong` is the empty command.
    public enum Command: Int, LabelValue {
        case connect, subscribe, unsubscribe, publish, presence, presenceStats, history, ping, send, rpc, refresh
        case subRefresh, pong

        package var name: String {
            switch self {
            case .presenceStats: "presence_stats"
            case .subRefresh: "sub_refresh"
            default: String(describing: self)
            }
        }
    }

    /// How a command was answered: `ok`, the error's name, or `closed` when it ended the connection.
    public enum Result: Int, LabelValue {
        case ok, closed, internalError, unauthorized, unknownRoom, permissionDenied, methodNotFound
        case alreadySubscribed, limitExceeded, badRequest, notAvailable, tokenExpired, expired, tooManyRequests
        case unrecoverablePosition, engineUnavailable, other

        /// The result that stands for an error code of the client protocol.
        package init(errorCode: UInt32) {
            switch errorCode {
            case 100: self = .internalError
            case 101: self = .unauthorized
            case 102: self = .unknownRoom
            case 103: self = .permissionDenied
            case 104: self = .methodNotFound
            case 105: self = .alreadySubscribed
            case 106: self = .limitExceeded
            case 107: self = .badRequest
            case 108: self = .notAvailable
            case 109: self = .tokenExpired
            case 110: self = .expired
            case 111: self = .tooManyRequests
            case 112: self = .unrecoverablePosition
            case 120: self = .engineUnavailable
            default: self = .other
            }
        }

        package var name: String {
            switch self {
            case .internalError: "internal"
            case .unknownRoom: "unknown_room"
            case .permissionDenied: "permission_denied"
            case .methodNotFound: "method_not_found"
            case .alreadySubscribed: "already_subscribed"
            case .limitExceeded: "limit_exceeded"
            case .badRequest: "bad_request"
            case .notAvailable: "not_available"
            case .tokenExpired: "token_expired"
            case .tooManyRequests: "too_many_requests"
            case .unrecoverablePosition: "unrecoverable_position"
            case .engineUnavailable: "engine_unavailable"
            default: String(describing: self)
            }
        }
    }

    /// Who published.
    public enum Origin: Int, LabelValue {
        case client, api

        package var name: String { String(describing: self) }
    }

    /// The way a publication took to its member: inside this process, or through the cluster engine.
    public enum Path: Int, LabelValue {
        case local, engine

        package var name: String { String(describing: self) }
    }

    /// Why a slow consumer was closed: its queue was full, or its socket took nothing for too long.
    public enum SlowReason: Int, LabelValue {
        case bytes, time

        package var name: String { String(describing: self) }
    }

    /// What of the engine is up: a kind of link, or the term (the store is the one that we know, so that publishing is
    /// safe).
    public enum EngineRole: Int, LabelValue {
        case commands, subscriptions, term

        package var name: String { String(describing: self) }
    }

    /// What the engine was asked for.
    public enum EngineCommand: Int, LabelValue {
        case publish, subscribe, unsubscribe, script, probe, read, position, fence, term, beat, audit, setup
        case presence, members

        package var name: String { String(describing: self) }
    }

    /// How the engine answered: `refused` = an error reply, `lost` = the link went down before the answer.
    public enum EngineResult: Int, LabelValue {
        case ok, refused, timeout, lost, unavailable

        package var name: String { String(describing: self) }
    }

    /// What an error reply of Redis says.
    public enum EngineError: Int, LabelValue {
        case noScript, loading, readOnly, misconfigured, outOfMemory, busy, noAuth, wrongPassword, noPermission
        case masterDown, tooManyClients, other

        package var name: String {
            switch self {
            case .noScript: "no_script"
            case .loading: "loading"
            case .readOnly: "read_only"
            case .misconfigured: "misconfigured"
            case .outOfMemory: "out_of_memory"
            case .busy: "busy"
            case .noAuth: "no_auth"
            case .wrongPassword: "wrong_password"
            case .noPermission: "no_permission"
            case .masterDown: "master_down"
            case .tooManyClients: "too_many_clients"
            case .other: "other"
            }
        }
    }

    /// What became of a room's epoch when its fence was set: it was kept, it was renewed, another node had renewed it
    /// before, or the fence was refused.
    public enum Fence: Int, LabelValue {
        case kept, renewed, otherEpoch, refused

        package var name: String { self == .otherEpoch ? "other_epoch" : String(describing: self) }
    }

    /// What happened to a member of a room.
    public enum MemberEvent: Int, LabelValue {
        case join, leave

        package var name: String { String(describing: self) }
    }

    /// Whether a gap in a room's flow was mended from its stream.
    public enum GapRepair: Int, LabelValue {
        case repaired, lost

        package var name: String { String(describing: self) }
    }

    /// Whether a returning member got everything that it missed.
    public enum Recovery: Int, LabelValue {
        case recovered, lost

        package var name: String { String(describing: self) }
    }

    /// From what a returning member's recovery was decided: what the home loop has in memory, or the engine's answer.
    public enum RecoverySource: Int, LabelValue {
        case tail, engine

        package var name: String { String(describing: self) }
    }

    /// Why a room's members were told that continuity is lost.
    public enum ContinuityLoss: Int, LabelValue {
        case otherEpoch, trimmed, regressed, mailbox

        package var name: String { self == .otherEpoch ? "other_epoch" : String(describing: self) }
    }

    /// What was limited: a room's publications, a user's in a room, a connection's commands, or its subscribes and
    /// unsubscribes.
    public enum RateScope: Int, LabelValue {
        case room, user, connection, churn

        package var name: String { String(describing: self) }
    }

    /// Why a connection was refused right after it was accepted.
    public enum Refusal: Int, LabelValue {
        case connections, address, rate, addressRate, memory, descriptors, untrusted

        package var name: String { self == .addressRate ? "address_rate" : String(describing: self) }
    }

    /// Why accepting a connection failed.
    public enum AcceptError: Int, LabelValue {
        case processDescriptors, systemDescriptors, memory, aborted, other

        package var name: String {
            switch self {
            case .processDescriptors: "emfile"
            case .systemDescriptors: "enfile"
            case .memory: "nomem"
            case .aborted: "aborted"
            case .other: "other"
            }
        }
    }
}
