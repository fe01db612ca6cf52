// Defects that a server is given to see that the checker is awake. Those of the way to the clients are made by the
// tool's own proxy (MutantRewriter) before a correct server. The others are in the server itself, in a build with
// MARTLET_MUTANTS, chosen by the environment variable of that build. Each names the promises by which it must be found.

/// A defect of a server.
package enum Mutant: String, CaseIterable, Sendable {
    case dropsDeliveries = "M1"
    case doublesDeliveries = "M2"
    case swapsDeliveries = "M3"
    case acksTooEarly = "M4"
    case publishesWithoutAppending = "M5"
    case skipsTheBacklog = "M6"
    case keepsTheEpoch = "M7"
    case reusesOffsets = "M8"
    case doesNotDeduplicate = "M9"
    case neverReaps = "M10"
    case limitsPerNode = "M11"
    case crossesRooms = "M12"
    case swallowsErrors = "M13"
    case staysDeaf = "M15"

    /// One line for reports.
    package var summary: String {
        switch self {
        case .dropsDeliveries: "one delivery of 500 is lost"
        case .doublesDeliveries: "one delivery of 500 comes twice"
        case .swapsDeliveries: "one delivery of 500 changes places with the next"
        case .acksTooEarly: "acknowledged before Redis has answered"
        case .publishesWithoutAppending: "published, but not appended to the stream"
        case .skipsTheBacklog: "recovered: true without the publications"
        case .keepsTheEpoch: "the epoch survives the loss of the data"
        case .reusesOffsets: "no fencing: delivered offsets are given again"
        case .doesNotDeduplicate: "a retry with a known key is published again"
        case .neverReaps: "the members of a dead gateway stay for ever"
        case .limitsPerNode: "each gateway limits a room by itself"
        case .crossesRooms: "one delivery of 500 arrives under the name of another room"
        case .swallowsErrors: "errors are never answered"
        case .staysDeaf: "no probe and no audit: a deaf link is not noticed"
        }
    }

    /// The names under which it may be found; one of them must be.
    package var expected: [Invariant] {
        switch self {
        case .dropsDeliveries: [.silentGap, .lost]
        case .doublesDeliveries: [.duplicate]
        case .swapsDeliveries: [.silentGap, .publisherOrder]
        case .acksTooEarly: [.lost, .ackHonesty, .inconsistentOffset]
        case .publishesWithoutAppending: [.ackHonesty, .resumeHonesty]
        case .skipsTheBacklog: [.resumeHonesty]
        case .keepsTheEpoch, .reusesOffsets: [.inconsistentOffset, .ackHonesty, .realTimeOrder]
        case .doesNotDeduplicate: [.duplicate]
        case .neverReaps: [.presence]
        case .limitsPerNode: [.limiter]
        case .crossesRooms: [.isolation]
        case .swallowsErrors: [.errorVisibility]
        case .staysDeaf: [.lost]
        }
    }

    /// Whether it was found, and under one of its own names.
    func isCaught(by counts: [Invariant: Int]) -> Bool { expected.contains { counts[$0, default: 0] > 0 } }

    /// Whether the proxy makes it; the others are in the server.
    package var isOnClientLinks: Bool {
        switch self {
        case .dropsDeliveries, .doublesDeliveries, .swapsDeliveries, .crossesRooms, .swallowsErrors: true
        default: false
        }
    }

    /// What must happen for the defect to show.
    package var occasion: Profile {
        switch self {
        case .swallowsErrors: .single(.redisKilled, times: 1)
        case .acksTooEarly: .single(.redisKilled, times: 1)
        case .publishesWithoutAppending, .skipsTheBacklog: .single(.reconnectStorm, times: 1)
        case .keepsTheEpoch: .single(.redisLosesData, times: 1)
        case .reusesOffsets: .scenario(.snapshot(times: 1))
        case .doesNotDeduplicate: .single(.redisFrozen, times: 2)
        case .limitsPerNode: .calm(seconds: 15)
        case .neverReaps: .single(.gatewayKilled, times: 1)
        case .staysDeaf: .single(.subscriptionsDeaf, times: 1)
        default: .calm(seconds: 8)
        }
    }
}
