// What the checker knows of presence and of rates: the truth as clients know it, what each observer was told, and the
// publications that a limited room took in the last half minute. Plain values that the checker owns; bounded by
// clients × rooms, and by the connections of the run.

/// As what the members of a room count.
package enum PresenceScope: Sendable {
    /// Each connection by itself.
    case client
    /// All connections of a user together; whoever returns within the grace has not been away.
    case user
}

/// How many publications a room takes, all gateways together.
package struct RoomLimit: Sendable {
    /// Publications a second.
    package var rate: Double
    /// Publications that may come at once.
    package var burst: Double

    /// `rate` a second, `burst` at once.
    package init(rate: Double, burst: Double) {
        self.rate = rate
        self.burst = burst
    }
}

/// One member of a list of members as a gateway showed it.
package struct ListedMember: Sendable {
    /// The subscriber that the user's name tells; nil for a name that nobody here has.
    package var subscriber: Int?
    /// The id of its connection.
    package var client: String

    /// Both parts.
    package init(subscriber: Int?, client: String) {
        self.subscriber = subscriber
        self.client = client
    }
}

/// How a subscriber stands in a room, as it knows itself.
struct MemberTruth {
    enum State: UInt8 {
        case absent
        /// It has asked; it may be in already.
        case asking
        /// The reply has come, and nothing has ended it.
        case present
    }
    var state = State.absent
    /// Since when.
    var since: UInt64 = 0
}

/// One connection of a subscriber.
struct ClientRecord {
    let subscriber: Int
    /// When it ended; nil while it lives.
    var endedAt: UInt64?
    /// Rooms for which it was reported as a ghost: once is enough.
    var reported: Set<Int> = []
}

/// What one observer was told in one room since it joined it: whoever it has not heard of is not in here.
struct ObserverView {
    var members: [Int: Bool] = [:]
}

/// All that is known of presence.
struct PresenceBooks {
    /// By subscriber × rooms + room.
    var truth: [MemberTruth]
    /// The connection of each subscriber that is open, by its id.
    var client: [String]
    var gateway: [Int]
    /// Every connection that a server ever named.
    var clients: [String: ClientRecord] = [:]
    /// Numbers for the names of connections, so that views are small.
    var numbers: [String: Int] = [:]
    /// By subscriber × rooms + room.
    var views: [Int: ObserverView] = [:]
    /// Until then nothing follows from the absence of a subscriber: it may be gone without knowing it.
    var doubtfulUntil: [UInt64]
    /// The same for all clients of a gateway, and for everybody.
    var excusedGateways: [Int: UInt64] = [:]
    var excusedUntil: UInt64 = 0
    /// Whether joins and leaves may get lost at the moment.
    var mayLoseEvents = false

    init(subscribers: Int, rooms: Int) {
        truth = Array(repeating: MemberTruth(), count: subscribers * rooms)
        client = Array(repeating: "", count: subscribers)
        gateway = Array(repeating: -1, count: subscribers)
        doubtfulUntil = Array(repeating: 0, count: subscribers)
    }
}

/// What a limited room did.
struct LimitBooks {
    /// When each publication was sent that was acknowledged in the last `Checker.limitWindows.max` seconds, in the
    /// order of acknowledgement.
    var accepted: [(sentAt: UInt64, ackedAt: UInt64)] = []
    /// A bucket that is filled at 0.8 of the rate: attempts that it does not cover were too many.
    var level = 0.0
    var levelAt: UInt64 = 0
    /// When attempts were too many for the last time; nil when they never were.
    var overAt: UInt64?
    var isTold = false
}
