// What a proxied connection suffers, in one direction. Rules are changed while connections live; every field is off by
// default. Read by ChaosProxy for each read and each pump.

/// Which way bytes flow through a proxy.
package enum Flow: Int, CaseIterable, Sendable {
    /// From the side that connected to the side that listens.
    case up
    /// From the server back to who connected.
    case down
}

/// Which of a proxy's connections a rule is for. A connection to Redis shows by its first command what it is.
package enum LinkClass: Int, CaseIterable, Sendable {
    /// Has not said yet, or speaks no RESP.
    case other
    /// Carries commands to Redis.
    case commands
    /// Has subscribed: carries pub/sub messages.
    case subscriptions
}

/// Faults of one direction.
package struct LinkRule: Equatable, Sendable {
    /// Every piece waits this long, and up to `jitter` longer; order is kept.
    package var delay = Duration.zero
    /// Most that is added to `delay`.
    package var jitter = Duration.zero
    /// Nothing moves; what comes waits in the sockets, so that the writer feels it.
    package var isStalled = false
    /// What comes is read and thrown away: a peer that is gone without a word. A link that has lost bytes stays dead
    /// when the rule ends; what is to go on later is stalled, not dropped.
    package var isDropping = false
    /// One byte a segment.
    package var isByteWise = false
    /// Of 1000 pieces, how many get one bit turned over.
    package var corruptPerMille = 0
    /// Bytes a second; 0 is unlimited.
    package var bandwidth = 0
    /// Of 10,000 pub/sub messages of Redis (`down` only), how many vanish whole.
    package var dropMessagesPer10000 = 0
    /// The same, but only messages whose channel holds a room: a node's own channel, by which it probes, still works.
    package var sparesOwnChannel = false

    package init() {}

    /// Whether bytes can pass as they come.
    var isPlain: Bool {
        delay == .zero && jitter == .zero && !isStalled && !isDropping && !isByteWise && corruptPerMille == 0
            && bandwidth == 0
    }

    /// A rule that lets nothing through and says nothing.
    package static var blackhole: LinkRule {
        var rule = LinkRule()
        rule.isDropping = true
        return rule
    }

    /// A rule that holds everything back.
    package static var stall: LinkRule {
        var rule = LinkRule()
        rule.isStalled = true
        return rule
    }
}

/// What a proxy has done, as evidence that a fault took place.
package struct ProxyFigures: Equatable, Sendable {
    /// Connections taken.
    package var accepted = 0
    /// Connections reset because the proxy refused.
    package var refused = 0
    /// Connections ended by a fault.
    package var cut = 0
    /// Bytes read from either side.
    package var bytes = 0
    /// Bytes thrown away.
    package var droppedBytes = 0
    /// Bytes that had to wait.
    package var heldBytes = 0
    /// Pieces with a bit turned over.
    package var corrupted = 0
    /// Pub/sub messages seen.
    package var messages = 0
    /// Pub/sub messages taken out.
    package var droppedMessages = 0

    package init() {}
}
