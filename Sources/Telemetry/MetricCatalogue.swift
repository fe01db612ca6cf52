// The single authority on metrics: name, type, unit, help, labels with their allowed values, and where the numbers
// come from. The exposition, the docs, the dashboard check and the tests are made from this table.
//
// Read at start and at every scrape, never on a message path.

/// What a metric is to Prometheus.
package enum MetricKind: String, Sendable {
    case counter, gauge, histogram, info
}

/// The base unit that a metric's name ends with.
package enum MetricUnit: String, Sendable {
    case seconds, bytes
}

/// A label and every value that it may have.
package struct MetricLabel: Sendable, Equatable {
    /// The label's name.
    package let name: String
    /// Every allowed value, in the order of the cells; empty means that the process knows it at start (the loop's
    /// number, the build's version).
    package let values: [String]

    init<Value: LabelValue>(_ name: String, _ type: Value.Type) {
        self.name = name
        self.values = type.allCases.map(\.name)
    }

    init(known name: String) {
        self.name = name
        self.values = []
    }
}

/// Where a metric's numbers come from.
package enum MetricSource: Sendable {
    /// Cells of the shards from this index on, summed over the loops; with labels one after the other.
    case sum(Int)
    /// Cells of the shards, one series for each loop.
    case perLoop(Int)
    /// UpState cells: 1 when at least one loop says up and none says down.
    case up(Int)
    /// Asked of the process when it is rendered.
    case process(ProcessValue)
}

/// Numbers that no loop owns.
package enum ProcessValue: Sendable {
    case buildInfo, logDropped, cpu, resident, virtual, openDescriptors, maxDescriptors, startTime
}

/// One metric.
package struct MetricDefinition: Sendable {
    /// Full name without the suffixes of samples: `martlet_deliveries`, not `martlet_deliveries_total`.
    package let family: String
    /// Type.
    package let kind: MetricKind
    /// Base unit, if the name has one.
    package let unit: MetricUnit?
    /// One sentence for operators.
    package let help: String
    /// Labels, the slowest-moving first.
    package let labels: [MetricLabel]
    /// Bucket bounds of a histogram.
    package let ladder: BucketLadder?
    /// Where the numbers come from.
    package let source: MetricSource

    init(
        _ family: String, _ kind: MetricKind, unit: MetricUnit? = nil, labels: [MetricLabel] = [],
        ladder: BucketLadder? = nil, from source: MetricSource, _ help: String
    ) {
        self.family = family
        self.kind = kind
        self.unit = unit
        self.help = help
        self.labels = labels
        self.ladder = ladder
        self.source = source
    }

    /// The name that operators search for: counters carry `_total`, the build's `_info`.
    package var name: String {
        switch kind {
        case .counter: family + "_total"
        case .info: family + "_info"
        case .gauge, .histogram: family
        }
    }

    /// Number of label combinations that shard cells stand for.
    package var combinations: Int { labels.reduce(1) { $0 * max(1, $1.values.count) } }

    /// Number of sample lines in the text format for a process with `loops` loops.
    package func sampleCount(loops: Int) -> Int {
        let series = if case .perLoop = source { combinations * loops } else { combinations }
        // A histogram has one line a bucket (also above the last bound), its sum and its count.
        return ladder.map { series * ($0.boundCount + 3) } ?? series
    }
}

/// Every metric of the process.
package enum MetricCatalogue {
    /// All definitions in the order of the exposition.
    package static let all: [MetricDefinition] = build + traffic + rooms + loops + engine + process

    private static let build = [
        MetricDefinition(
            "martlet_build", .info, labels: [MetricLabel(known: "version")], from: .process(.buildInfo),
            "Constant 1; the version of the running build is the label.")
    ]

    private static let traffic = [
        MetricDefinition(
            "martlet_connections", .gauge, from: .sum(CellLayout.loopConnections), "Open client connections."),
        MetricDefinition(
            "martlet_connections_opened", .counter, from: .sum(CellLayout.opened), "Client connections accepted."),
        MetricDefinition(
            "martlet_connections_closed", .counter, labels: [MetricLabel("code_class", Labels.CloseClass.self)],
            from: .sum(CellLayout.closed),
            "Client connections closed, by class of the close code; none = broken off without a Close frame."),
        MetricDefinition(
            "martlet_handshakes", .counter, labels: [MetricLabel("result", Labels.Handshake.self)],
            from: .sum(CellLayout.handshakes), "WebSocket opening handshakes by result."),
        MetricDefinition(
            "martlet_received_bytes", .counter, unit: .bytes, from: .sum(CellLayout.receivedBytes),
            "Bytes read from sockets: clients, admin listener and engine links."),
        MetricDefinition(
            "martlet_sent_bytes", .counter, unit: .bytes, from: .sum(CellLayout.sentBytes),
            "Bytes written to sockets: clients, admin listener and engine links."),
        MetricDefinition(
            "martlet_frames_received", .counter, labels: [MetricLabel("opcode", Labels.Opcode.self)],
            from: .sum(CellLayout.frames), "WebSocket frames received."),
        MetricDefinition(
            "martlet_commands", .counter,
            labels: [MetricLabel("command", Labels.Command.self), MetricLabel("result", Labels.Result.self)],
            from: .sum(CellLayout.commands), "Commands of clients by kind and result."),
        MetricDefinition(
            "martlet_rate_limited", .counter, labels: [MetricLabel("scope", Labels.RateScope.self)],
            from: .sum(CellLayout.rateLimited),
            "Commands refused by a rate limit: of a room, of a user in a room, of a connection, or of its changes of "
                + "rooms."),
        MetricDefinition(
            "martlet_outbound_queue_bytes", .gauge, unit: .bytes, from: .sum(CellLayout.outboundQueue),
            "Bytes that wait in the output queues of all connections."),
        MetricDefinition(
            "martlet_slow_consumers", .counter, labels: [MetricLabel("reason", Labels.SlowReason.self)],
            from: .sum(CellLayout.slowConsumers),
            "Connections closed with 3008: queue full (bytes) or no progress on the socket (time)."),
        MetricDefinition(
            "martlet_accept_errors", .counter, labels: [MetricLabel("reason", Labels.AcceptError.self)],
            from: .sum(CellLayout.acceptErrors), "Failed accept calls; emfile and enfile mean too few descriptors."),
        MetricDefinition(
            "martlet_connections_refused", .counter, labels: [MetricLabel("reason", Labels.Refusal.self)],
            from: .sum(CellLayout.connectionsRefused),
            "Connections refused at accept, or when a proxy had named the client, by the limit that refused them."),
    ]

    private static let rooms = [
        MetricDefinition(
            "martlet_publications", .counter, labels: [MetricLabel("origin", Labels.Origin.self)],
            from: .sum(CellLayout.publications), "Publications accepted by this process."),
        MetricDefinition(
            "martlet_deliveries", .counter, from: .sum(CellLayout.deliveries),
            "Publications queued to members' connections."),
        MetricDefinition(
            "martlet_fanout_recipients", .histogram, ladder: .recipients, from: .sum(CellLayout.fanout),
            "Members that one publication reached on one loop."),
        MetricDefinition(
            "martlet_delivery_latency_seconds", .histogram, unit: .seconds,
            labels: [MetricLabel("path", Labels.Path.self)], ladder: .latency,
            from: .sum(CellLayout.deliveryLatency),
            "From a publication received to its bytes handed to the members' sockets."),
        MetricDefinition(
            "martlet_rooms", .gauge, from: .sum(CellLayout.rooms), "Rooms with at least one member here."),
        MetricDefinition(
            "martlet_subscriptions", .gauge, from: .sum(CellLayout.subscriptions),
            "Subscriptions of this process' connections to rooms."),
        MetricDefinition(
            "martlet_members", .gauge, from: .sum(CellLayout.members),
            "Members that this process' connections are in rooms with presence, broken ones in their grace included."),
        MetricDefinition(
            "martlet_presence_events", .counter, labels: [MetricLabel("event", Labels.MemberEvent.self)],
            from: .sum(CellLayout.memberEvents),
            "Joins and leaves of rooms with members here, before those that cancel each other out."),
        MetricDefinition(
            "martlet_node_reaps", .counter, from: .sum(CellLayout.nodeReaps),
            "Dead nodes whose members this process took out of their rooms."),
        MetricDefinition(
            "martlet_room_gap_repairs", .counter, labels: [MetricLabel("result", Labels.GapRepair.self)],
            from: .sum(CellLayout.gapRepairs),
            "Gaps in the flow of rooms with history: mended from the stream, or lost."),
        MetricDefinition(
            "martlet_room_recoveries", .counter,
            labels: [
                MetricLabel("result", Labels.Recovery.self), MetricLabel("source", Labels.RecoverySource.self),
            ],
            from: .sum(CellLayout.recoveries),
            "Members that came back and asked to recover; source = decided from memory (tail) or with the engine's "
                + "answer."),
        MetricDefinition(
            "martlet_room_continuity_losses", .counter, labels: [MetricLabel("reason", Labels.ContinuityLoss.self)],
            from: .sum(CellLayout.continuityLosses),
            "Rooms whose members were told that continuity is lost; mailbox = on one loop."),
    ]

    private static let loops = [
        MetricDefinition(
            "martlet_loop_iteration_duration_seconds", .histogram, unit: .seconds,
            labels: [MetricLabel(known: "loop")], ladder: .latency, from: .perLoop(CellLayout.iteration),
            "Work of one event loop iteration, sleeping excluded."),
        MetricDefinition(
            "martlet_loop_lag_seconds", .histogram, unit: .seconds, labels: [MetricLabel(known: "loop")],
            ladder: .latency, from: .perLoop(CellLayout.lag), "How much later than due an event loop's tick ran."),
        MetricDefinition(
            "martlet_loop_connections", .gauge, labels: [MetricLabel(known: "loop")],
            from: .perLoop(CellLayout.loopConnections), "Open client connections of an event loop."),
    ]

    private static let engine = [
        MetricDefinition(
            "martlet_engine_up", .gauge, labels: [MetricLabel("role", Labels.EngineRole.self)],
            from: .up(CellLayout.engineUp),
            "1 when every loop's engine link of this role works; term: when every loop may publish."),
        MetricDefinition(
            "martlet_engine_commands", .counter,
            labels: [
                MetricLabel("command", Labels.EngineCommand.self), MetricLabel("result", Labels.EngineResult.self),
            ],
            from: .sum(CellLayout.engineCommands), "Commands to the engine by kind and result."),
        MetricDefinition(
            "martlet_engine_command_duration_seconds", .histogram, unit: .seconds,
            labels: [MetricLabel("command", Labels.EngineCommand.self)], ladder: .latency,
            from: .sum(CellLayout.engineDuration), "From a command handed to the engine to its answer."),
        MetricDefinition(
            "martlet_engine_reconnects", .counter, from: .sum(CellLayout.engineReconnects),
            "Engine links that were opened again after a loss."),
        MetricDefinition(
            "martlet_engine_messages_skipped", .counter, from: .sum(CellLayout.engineMessagesSkipped),
            "Messages out of the engine that were no sound publication and reached nobody."),
        MetricDefinition(
            "martlet_engine_errors", .counter, labels: [MetricLabel("error", Labels.EngineError.self)],
            from: .sum(CellLayout.engineErrors), "Error replies of Redis by kind."),
        MetricDefinition(
            "martlet_engine_probe_duration_seconds", .histogram, unit: .seconds, ladder: .latency,
            from: .sum(CellLayout.engineProbe),
            "From a node's message to its own channel until it came back through the subscription link."),
        MetricDefinition(
            "martlet_engine_probe_timeouts", .counter, from: .sum(CellLayout.engineProbeTimeouts),
            "Probes that did not come back in time, so that their link was taken for deaf."),
        MetricDefinition(
            "martlet_engine_fences", .counter, labels: [MetricLabel("result", Labels.Fence.self)],
            from: .sum(CellLayout.engineFences),
            "Rooms whose top was compared with what was delivered after the store had changed, by what became of "
                + "their epoch."),
        MetricDefinition(
            "martlet_engine_breaker_open", .gauge, from: .sum(CellLayout.engineBreakerOpen),
            "Loops that refuse engine commands at once, since the engine failed again and again."),
    ]

    private static let process = [
        MetricDefinition(
            "martlet_log_dropped", .counter, from: .process(.logDropped),
            "Log lines dropped because the log's queue was full or its destination failed."),
        MetricDefinition(
            "process_cpu_seconds", .counter, unit: .seconds, from: .process(.cpu), "User and system CPU time spent."),
        MetricDefinition(
            "process_resident_memory_bytes", .gauge, unit: .bytes, from: .process(.resident), "Resident memory."),
        MetricDefinition(
            "process_virtual_memory_bytes", .gauge, unit: .bytes, from: .process(.virtual), "Virtual memory."),
        MetricDefinition("process_open_fds", .gauge, from: .process(.openDescriptors), "Open file descriptors."),
        MetricDefinition("process_max_fds", .gauge, from: .process(.maxDescriptors), "Limit of open file descriptors."),
        MetricDefinition(
            "process_start_time_seconds", .gauge, unit: .seconds, from: .process(.startTime),
            "Start of the process since the Unix epoch."),
    ]
}
