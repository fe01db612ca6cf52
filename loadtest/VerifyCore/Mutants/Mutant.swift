// Defects that are put into a correct server from outside, to see that the checker is awake: on the way between client
// and gateway (MutantRewriter) or behind the gateways' back in Redis (Tampering). Each names the promises under whose
// name it must be found.

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
    case crossesRooms = "M12"
    case swallowsErrors = "M13"
    case staysDeaf = "M15"

    /// One line for reports.
    package var summary: String {
        switch self {
        case .dropsDeliveries: "one delivery of 500 is lost"
        case .doublesDeliveries: "one delivery of 500 comes twice"
        case .swapsDeliveries: "one delivery of 500 changes places with the next"
        case .acksTooEarly: "one publish of 100 is acknowledged and goes nowhere"
        case .publishesWithoutAppending: "published messages are missing in the history"
        case .skipsTheBacklog: "recovered: true without the publications"
        case .keepsTheEpoch: "the epoch survives the loss of the data"
        case .reusesOffsets: "offsets that were delivered are given again"
        case .doesNotDeduplicate: "a retry with a known key is published again"
        case .crossesRooms: "one delivery of 500 arrives under the name of another room"
        case .swallowsErrors: "errors are never answered"
        case .staysDeaf: "one gateway gets no messages of rooms, and its probe does not notice"
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
        case .crossesRooms: [.isolation]
        case .swallowsErrors: [.errorVisibility]
        case .staysDeaf: [.lost, .silentGap, .errorVisibility]
        }
    }

    /// Whether it sits between clients and gateways; the others sit in and before Redis.
    package var isOnClientLinks: Bool {
        switch self {
        case .dropsDeliveries, .doublesDeliveries, .swapsDeliveries, .acksTooEarly, .skipsTheBacklog, .crossesRooms,
            .swallowsErrors:
            true
        default: false
        }
    }

    /// Whether it can show only in rooms with history.
    package var needsHistory: Bool {
        switch self {
        case .publishesWithoutAppending, .skipsTheBacklog, .keepsTheEpoch, .reusesOffsets, .doesNotDeduplicate: true
        default: false
        }
    }

    /// The faults without which the defect would have no occasion.
    package var occasion: Profile {
        switch self {
        case .swallowsErrors: .single(.redisKilled, times: 2)
        case .doesNotDeduplicate: .single(.redisFrozen, times: 3)
        case .keepsTheEpoch: .single(.redisLosesData, times: 1)
        case .skipsTheBacklog: .single(.reconnectStorm, times: 3)
        default: .calm(seconds: 12)
        }
    }
}
