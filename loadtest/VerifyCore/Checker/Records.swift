// The checker's books: one record a publication, one table an epoch, one line a subscription. Plain structs in arrays
// that the checker owns; a delivery touches one of each. Bounded by the number of publications of the run.

/// How a publication stands.
enum PublishState: UInt8 {
    /// Sent, no outcome yet.
    case pending
    /// Acknowledged.
    case acked
    /// Definitely not published.
    case refused
    /// Given up: it may be in or not.
    case unknown
}

struct PublishRecord {
    var state = PublishState.pending
    /// Was given up at some time, so that its place among later ones is not promised.
    var wasUnknown = false
    var wasDelivered = false
    /// Where it is, once an acknowledgement or a delivery has told.
    var epoch: Int32 = -1
    var offset: UInt64 = 0
    /// The highest acknowledged place of the room when it was sent.
    var floor = Position(epoch: -1, offset: 0)
    /// What the run did when it was sent.
    var phase: Phase
    var invokedAt: UInt64
    var completedAt: UInt64 = 0
}

/// What is known of one epoch of a room.
struct EpochRecord {
    let name: [UInt8]
    /// The message at each offset, 0 where nothing is known.
    var table: [UInt64] = []
    /// Highest offset that was acknowledged.
    var ackedTop: UInt64 = 0
    /// Highest offset that anybody was told of.
    var seenTop: UInt64 = 0
    /// Up to this offset what follows holds the same messages; nil where nobody knows what a fault has left.
    var survivors: UInt64?

    func message(_ offset: UInt64) -> UInt64 { offset < UInt64(table.count) ? table[Int(offset)] : 0 }
}

struct RoomRecord {
    /// Records of each publisher, by sequence number less one.
    var publications: [[PublishRecord]]
    var epochs: [EpochRecord] = []
    /// The epoch that was told last; -1 before the first.
    var current: Int32 = -1
    var invoked: UInt64 = 0
}

/// One subscriber in one room.
struct SubscriptionRecord {
    enum State: UInt8 {
        /// Not subscribed, and no continuity to keep.
        case none
        /// Subscribed.
        case live
        /// Cut off, may come back with what it knows.
        case suspended
    }
    var state = State.none
    var epoch: Int32 = -1
    var last: UInt64 = 0
    /// The interval's number: what was seen in an earlier one is no baseline for gaps.
    var interval: UInt32 = 0
    /// Offsets that were passed over by the newest silent gap.
    var hole: Range<UInt64> = 0..<0
    /// Live deliveries up to here repeat a backlog; that is allowed once, right after it.
    var overlap: UInt64 = 0
    var liveSince: UInt64 = 0
    /// What the running subscribe asked for and what was acknowledged before.
    var since: Position?
    var floor = Position(epoch: -1, offset: 0)
    var isResuming = false
    /// Since the last rollback: it got something that Redis had lost, out of a gateway's memory.
    var sawLost = false
    /// The number of the recovery measurement that it has answered.
    var recoveryMark: Int32 = 0
    var seen: [PublisherView]
}

/// What a subscription saw of one publisher.
struct PublisherView {
    var last = 0
    /// Bit n: the message `last - n` was seen.
    var bits: UInt64 = 0
    var interval: UInt32 = 0

    /// Nothing was seen.
    init() {}

    /// `first` is the first one of `interval`.
    init(first: Int, interval: UInt32) {
        last = first
        bits = 1
        self.interval = interval
    }

    /// Whether `sequence`, not above `last`, was seen. Older than 64 counts as seen: only a duplicate can be that late.
    func has(_ sequence: Int) -> Bool {
        let age = last - sequence
        return age >= 64 || bits & (1 << UInt64(max(0, age))) != 0
    }

    mutating func note(_ sequence: Int) {
        if sequence > last {
            let step = sequence - last
            bits = step >= 64 ? 1 : bits << UInt64(step) | 1
            last = sequence
        } else if last - sequence < 64 {
            bits |= 1 << UInt64(last - sequence)
        }
    }
}
