// What a checker has to know before a run: how many rooms, subscribers and publishers, and the limits to hold them to.

package import Bytes

/// The shape of a run and its limits.
package struct CheckerPlan: Sendable {
    /// Rooms, numbered from 0.
    package var rooms = 1
    /// Subscribers, numbered from 0.
    package var subscribers = 1
    /// Publishers, numbered from 0. One more number, `marker`, belongs to the markers of the end.
    package var publishers = 1
    /// Rooms with history promise that nothing is lost; the others are at most once.
    package var hasHistory = true
    /// Publications that a room's history keeps, and that a recovery returns at most.
    package var historySize = 100
    /// Publications that one recovery returns at most.
    package var recoveryLimit = 300
    /// Within this time a publish must be answered.
    package var answerLimit = Duration.seconds(6)
    /// Bound of the 99th percentile from publish to delivery while nothing is broken.
    package var calmLatencyLimit = Duration.seconds(1)
    /// Others publish, too, so that a message is no phantom because nobody here sent it.
    package var learnsPublications = false
    /// Rooms whose members are shown, and as what they count there.
    package var presence: [Int: PresenceScope] = [:]
    /// Rooms that limit how many publications they take.
    package var limits: [Int: RoomLimit] = [:]
    /// So long after somebody left nobody may be shown him any more: grace, lease and reaping together.
    package var presenceLag = Duration.seconds(15)
    /// What processes may use.
    package var bounds = ResourceBounds()
    /// How long before and after a violation the room's events are shown.
    package var window = Duration.seconds(2)

    package init() {}

    /// The publisher number of the markers.
    package var marker: Int { publishers }
}

/// A place in a room's stream. Epochs are numbered by the checker in the order in which it met them.
package struct Position: Equatable, Sendable {
    /// The epoch by its number.
    package var epoch: Int32
    /// The offset in it.
    package var offset: UInt64

    /// All parts.
    package init(epoch: Int32, offset: UInt64) {
        self.epoch = epoch
        self.offset = offset
    }
}

/// What the run does at the moment; latencies are kept apart by it.
package enum Phase: Int, CaseIterable, Sendable {
    case calm, fault, recovery
}

/// What the reply to a subscription said.
package struct SubscribeOutcome: Sendable {
    /// The room's position.
    package var position: Position
    /// Whether the room keeps history.
    package var recoverable = true
    /// Whether the backlog is complete.
    package var recovered = false
    /// Whether the server says that recovery had been asked for.
    package var wasRecovering = false

    /// All parts.
    package init(position: Position, recovered: Bool = false, wasRecovering: Bool = false, recoverable: Bool = true) {
        self.position = position
        self.recovered = recovered
        self.wasRecovering = wasRecovering
        self.recoverable = recoverable
    }
}

/// A promise that was broken.
package struct ViolationRecord: Sendable {
    /// Which promise.
    package let invariant: Invariant
    /// When it was noticed.
    package let time: MonotonicTime
    /// In which room; -1 for none.
    package let room: Int
    /// What was wrong.
    package let text: String
    /// The room's events around it.
    package var window: [RunEvent] = []
}
