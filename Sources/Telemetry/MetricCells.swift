// Where each metric's numbers lie in a shard. A metric begins where the one before it ends, so no index is written by
// hand; all of it is computed properties that fold into constants, so that counting is one indexed load and store.
//
// Called by the static constructors of Counter, Gauge, UpState and Histogram (hot paths) and by MetricCatalogue. A test
// checks that the catalogue covers every cell exactly once.

/// A number that only grows; summed over the loops.
public struct Counter: Sendable {
    /// Index of the cell in a shard.
    public let cell: Int

    /// Made by the static members only.
    @inlinable public init(cell: Int) { self.cell = cell }
}

/// A number that goes up and down; each loop adds its share, the exposition sums them.
public struct Gauge: Sendable {
    /// Index of the cell in a shard.
    public let cell: Int

    /// Made by the static members only.
    @inlinable public init(cell: Int) { self.cell = cell }
}

/// Something that is up or down on each loop; the process reports 1 only when no loop says down.
public struct UpState: Sendable {
    /// Index of the cell in a shard.
    public let cell: Int

    /// Made by the static members only.
    @inlinable public init(cell: Int) { self.cell = cell }
}

/// A distribution over fixed buckets.
public struct Histogram: Sendable {
    /// Index of the first bucket's cell in a shard; the sum follows the last bucket.
    public let cell: Int
    /// Which bucket bounds are used.
    public let ladder: BucketLadder

    /// Made by the static members only.
    @inlinable public init(cell: Int, ladder: BucketLadder) {
        self.cell = cell
        self.ladder = ladder
    }
}

/// The two sets of bucket bounds.
public enum BucketLadder: Int, CaseIterable, Sendable {
    /// Nanoseconds, 0.25 ms to 10 s.
    case latency
    /// Members reached by one publication, 0 to 100,000.
    case recipients

    /// Upper bounds, inclusive, in the unit that is observed; one more bucket takes what is above the last.
    package var bounds: [UInt64] {
        switch self {
        case .latency:
            [
                250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 100_000_000,
                250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000,
            ]
        case .recipients:
            [0, 1, 2, 5, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000]
        }
    }

    /// Number of bounds; `bounds.count` as a constant.
    @inlinable public var boundCount: Int { self == .latency ? 15 : 13 }
    /// Cells of one histogram: the buckets, the one above the last bound, and the sum.
    @inlinable public var cellCount: Int { boundCount + 2 }
    /// Where the bounds begin in the table that all shards share.
    @inlinable public var tableOffset: Int { self == .latency ? 0 : BucketLadder.latency.boundCount }
}

/// First cell of each metric. The chain is the layout.
public enum CellLayout {
    /// Open connections of the loop.
    @inlinable public static var loopConnections: Int { 0 }
    /// Connections accepted.
    @inlinable public static var opened: Int { loopConnections + 1 }
    /// Connections closed, one cell a class.
    @inlinable public static var closed: Int { opened + 1 }
    /// Handshakes, one cell a result.
    @inlinable public static var handshakes: Int { closed + 7 }
    /// Bytes read.
    @inlinable public static var receivedBytes: Int { handshakes + 11 }
    /// Bytes written.
    @inlinable public static var sentBytes: Int { receivedBytes + 1 }
    /// Frames received, one cell an opcode.
    @inlinable public static var frames: Int { sentBytes + 1 }
    /// Publications, one cell an origin.
    @inlinable public static var publications: Int { frames + 6 }
    /// Publications queued to members.
    @inlinable public static var deliveries: Int { publications + 2 }
    /// Buckets and sum of recipients.
    @inlinable public static var fanout: Int { deliveries + 1 }
    /// Buckets and sum for each path.
    @inlinable public static var deliveryLatency: Int { fanout + BucketLadder.recipients.cellCount }
    /// Bytes queued.
    @inlinable public static var outboundQueue: Int { deliveryLatency + 2 * BucketLadder.latency.cellCount }
    /// Slow consumers, one cell a reason.
    @inlinable public static var slowConsumers: Int { outboundQueue + 1 }
    /// Rooms.
    @inlinable public static var rooms: Int { slowConsumers + 2 }
    /// Subscriptions.
    @inlinable public static var subscriptions: Int { rooms + 1 }
    /// Buckets and sum of iterations.
    @inlinable public static var iteration: Int { subscriptions + 1 }
    /// Buckets and sum of lag.
    @inlinable public static var lag: Int { iteration + BucketLadder.latency.cellCount }
    /// One cell a role.
    @inlinable public static var engineUp: Int { lag + BucketLadder.latency.cellCount }
    /// Commands times results.
    @inlinable public static var engineCommands: Int { engineUp + 3 }
    /// Buckets and sum for each command.
    @inlinable public static var engineDuration: Int { engineCommands + 14 * 5 }
    /// Links opened again.
    @inlinable public static var engineReconnects: Int { engineDuration + 14 * BucketLadder.latency.cellCount }
    /// Messages out of the engine that were skipped.
    @inlinable public static var engineMessagesSkipped: Int { engineReconnects + 1 }
    /// Error replies, one cell a kind.
    @inlinable public static var engineErrors: Int { engineMessagesSkipped + 1 }
    /// Buckets and sum of probes.
    @inlinable public static var engineProbe: Int { engineErrors + 12 }
    /// Probes that did not come back.
    @inlinable public static var engineProbeTimeouts: Int { engineProbe + BucketLadder.latency.cellCount }
    /// Fences, one cell a result.
    @inlinable public static var engineFences: Int { engineProbeTimeouts + 1 }
    /// 1 while the loop's breaker is open.
    @inlinable public static var engineBreakerOpen: Int { engineFences + 4 }
    /// Gaps, one cell a result.
    @inlinable public static var gapRepairs: Int { engineBreakerOpen + 1 }
    /// Results times sources.
    @inlinable public static var recoveries: Int { gapRepairs + 2 }
    /// One cell a reason.
    @inlinable public static var continuityLosses: Int { recoveries + 2 * 2 }
    /// Members that this process brought.
    @inlinable public static var members: Int { continuityLosses + 4 }
    /// Dead nodes reaped.
    @inlinable public static var nodeReaps: Int { members + 1 }
    /// One cell a join and a leave.
    @inlinable public static var memberEvents: Int { nodeReaps + 1 }
    /// One cell a reason.
    @inlinable public static var acceptErrors: Int { memberEvents + 2 }
    /// Refusals by limits, one cell a scope.
    @inlinable public static var rateLimited: Int { acceptErrors + 5 }
    /// Refused connections, one cell a reason.
    @inlinable public static var connectionsRefused: Int { rateLimited + 4 }
    /// Commands times results.
    @inlinable public static var commands: Int { connectionsRefused + 7 }
    /// Cells of one shard.
    @inlinable public static var count: Int { commands + 13 * 17 }
}

extension Counter {
    /// Connections accepted.
    @inlinable public static var connectionsOpened: Counter { Counter(cell: CellLayout.opened) }
    /// Connections closed, by class of the code.
    @inlinable public static func connectionsClosed(_ code: Labels.CloseClass) -> Counter {
        Counter(cell: CellLayout.closed + code.rawValue)
    }
    /// Opening handshakes by result.
    @inlinable public static func handshakes(_ result: Labels.Handshake) -> Counter {
        Counter(cell: CellLayout.handshakes + result.rawValue)
    }
    /// Bytes read from clients' sockets.
    @inlinable public static var receivedBytes: Counter { Counter(cell: CellLayout.receivedBytes) }
    /// Bytes written to clients' sockets.
    @inlinable public static var sentBytes: Counter { Counter(cell: CellLayout.sentBytes) }
    /// WebSocket frames received.
    @inlinable public static func framesReceived(_ opcode: Labels.Opcode) -> Counter {
        Counter(cell: CellLayout.frames + opcode.rawValue)
    }
    /// Commands of clients by kind and result.
    @inlinable public static func commands(_ command: Labels.Command, _ result: Labels.Result) -> Counter {
        Counter(cell: CellLayout.commands + command.rawValue * 17 + result.rawValue)
    }
    /// Publications accepted by this process.
    @inlinable public static func publications(_ origin: Labels.Origin) -> Counter {
        Counter(cell: CellLayout.publications + origin.rawValue)
    }
    /// Publications queued to members.
    @inlinable public static var deliveries: Counter { Counter(cell: CellLayout.deliveries) }
    /// Connections closed because they read too slowly.
    @inlinable public static func slowConsumers(_ reason: Labels.SlowReason) -> Counter {
        Counter(cell: CellLayout.slowConsumers + reason.rawValue)
    }
    /// Commands to the engine by kind and result.
    @inlinable public static func engineCommands(
        _ command: Labels.EngineCommand, _ result: Labels.EngineResult
    ) -> Counter {
        Counter(cell: CellLayout.engineCommands + command.rawValue * 5 + result.rawValue)
    }
    /// Links to the engine that were opened again.
    @inlinable public static var engineReconnects: Counter { Counter(cell: CellLayout.engineReconnects) }
    /// `martlet_engine_messages_skipped_total`
    @inlinable public static var engineMessagesSkipped: Counter { Counter(cell: CellLayout.engineMessagesSkipped) }
    /// Error replies of the engine by kind.
    @inlinable public static func engineErrors(_ error: Labels.EngineError) -> Counter {
        Counter(cell: CellLayout.engineErrors + error.rawValue)
    }
    /// Probes that did not come back in time.
    @inlinable public static var engineProbeTimeouts: Counter { Counter(cell: CellLayout.engineProbeTimeouts) }
    /// Fences that were set for rooms, by result.
    @inlinable public static func engineFences(_ result: Labels.Fence) -> Counter {
        Counter(cell: CellLayout.engineFences + result.rawValue)
    }
    /// Gaps in rooms' flows, by what became of them.
    @inlinable public static func gapRepairs(_ result: Labels.GapRepair) -> Counter {
        Counter(cell: CellLayout.gapRepairs + result.rawValue)
    }
    /// Members who came back and asked to recover.
    @inlinable public static func recoveries(_ result: Labels.Recovery, _ source: Labels.RecoverySource) -> Counter {
        Counter(cell: CellLayout.recoveries + result.rawValue * 2 + source.rawValue)
    }
    /// Rooms whose members were told that continuity is lost.
    @inlinable public static func continuityLosses(_ reason: Labels.ContinuityLoss) -> Counter {
        Counter(cell: CellLayout.continuityLosses + reason.rawValue)
    }
    /// Joins and leaves that were told to rooms here.
    @inlinable public static func memberEvents(_ event: Labels.MemberEvent) -> Counter {
        Counter(cell: CellLayout.memberEvents + event.rawValue)
    }
    /// Dead nodes whose members were taken out.
    @inlinable public static var nodeReaps: Counter { Counter(cell: CellLayout.nodeReaps) }
    /// Commands that a rate limit refused.
    @inlinable public static func rateLimited(_ scope: Labels.RateScope) -> Counter {
        Counter(cell: CellLayout.rateLimited + scope.rawValue)
    }
    /// accept() calls that failed.
    @inlinable public static func acceptErrors(_ reason: Labels.AcceptError) -> Counter {
        Counter(cell: CellLayout.acceptErrors + reason.rawValue)
    }
    /// Connections refused right after they were accepted, or when a proxy had named the client.
    @inlinable public static func connectionsRefused(_ reason: Labels.Refusal) -> Counter {
        Counter(cell: CellLayout.connectionsRefused + reason.rawValue)
    }
}

extension Gauge {
    /// Open connections of the loop; the sum over the loops is `martlet_connections`.
    @inlinable public static var connections: Gauge { Gauge(cell: CellLayout.loopConnections) }
    /// Bytes that wait in connections' output queues.
    @inlinable public static var outboundQueueBytes: Gauge { Gauge(cell: CellLayout.outboundQueue) }
    /// Rooms whose home is the loop.
    @inlinable public static var rooms: Gauge { Gauge(cell: CellLayout.rooms) }
    /// (connection, room) pairs.
    @inlinable public static var subscriptions: Gauge { Gauge(cell: CellLayout.subscriptions) }
    /// Members that this process has brought into rooms with presence.
    @inlinable public static var members: Gauge { Gauge(cell: CellLayout.members) }
    /// 1 while the loop's circuit breaker to the engine is open, else 0.
    @inlinable public static var engineBreakerOpen: Gauge { Gauge(cell: CellLayout.engineBreakerOpen) }
}

extension UpState {
    /// Whether the loop's engine links of a role are up; `.term`: whether its term is open for publishing.
    @inlinable public static func engine(_ role: Labels.EngineRole) -> UpState {
        UpState(cell: CellLayout.engineUp + role.rawValue)
    }
}

extension Histogram {
    /// Members reached by one publication on one loop.
    @inlinable public static var fanoutRecipients: Histogram {
        Histogram(cell: CellLayout.fanout, ladder: .recipients)
    }
    /// From a publish received to its bytes handed to the member's socket; nanoseconds.
    @inlinable public static func deliveryLatency(_ path: Labels.Path) -> Histogram {
        Histogram(
            cell: CellLayout.deliveryLatency + path.rawValue * BucketLadder.latency.cellCount, ladder: .latency)
    }
    /// Work of one loop iteration, sleeping excluded; nanoseconds.
    @inlinable public static var loopIteration: Histogram { Histogram(cell: CellLayout.iteration, ladder: .latency) }
    /// How much later than due the loop's tick ran; nanoseconds.
    @inlinable public static var loopLag: Histogram { Histogram(cell: CellLayout.lag, ladder: .latency) }
    /// From a command handed to the engine to its answer; nanoseconds.
    @inlinable public static func engineDuration(_ command: Labels.EngineCommand) -> Histogram {
        Histogram(
            cell: CellLayout.engineDuration + command.rawValue * BucketLadder.latency.cellCount, ladder: .latency)
    }
    /// From a message to the node's own channel until it came back; nanoseconds.
    @inlinable public static var engineProbe: Histogram { Histogram(cell: CellLayout.engineProbe, ladder: .latency) }
}
