// What a checker has to know before a run: how many rooms, subscribers and publishers, and the limits to hold them to.

package import Bytes

/// The shape of a run and its limits.
package struct CheckerPlan: Sendable {
    package var rooms = 1
    package var subscribers = 1
    /// Publishers, numbered from 0. One more number, `marker`, belongs to the markers of the end.
    package var publishers = 1
    /// Rooms with history promise that nothing is lost; the others are at most once.
    package var hasHistory = true
    /// Publications that a room's history keeps, and that a recovery returns at most.
    package var historySize = 100
    package var recoveryLimit = 300
    /// Within this time a publish must be answered.
    package var answerLimit = Duration.seconds(6)
    /// Bound of the 99th percentile from publish to delivery while nothing is broken.
    package var calmLatencyLimit = Duration.seconds(1)
    /// Resident bytes and open descriptors that a gateway may have.
    package var residentLimit: UInt64 = 512 << 20
    package var descriptorLimit = 4096
    /// Descriptors above the baseline that a gateway may still have at the end.
    package var descriptorSlack = 64
    /// How long before and after a violation the room's events are shown.
    package var window = Duration.seconds(2)

    package init() {}

    /// The publisher number of the markers.
    package var marker: Int { publishers }
}

/// A place in a room's stream. Epochs are numbered by the checker in the order in which it met them.
package struct Position: Equatable, Sendable {
    package var epoch: Int32
    package var offset: UInt64

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
    package var position: Position
    package var recoverable = true
    package var recovered = false
    package var wasRecovering = false

    package init(position: Position, recovered: Bool = false, wasRecovering: Bool = false, recoverable: Bool = true) {
        self.position = position
        self.recovered = recovered
        self.wasRecovering = wasRecovering
        self.recoverable = recoverable
    }
}

/// A promise that was broken.
package struct ViolationRecord: Sendable {
    package let invariant: Invariant
    package let time: MonotonicTime
    package let room: Int
    package let text: String
    /// The room's events around it.
    package var window: [RunEvent] = []
}
