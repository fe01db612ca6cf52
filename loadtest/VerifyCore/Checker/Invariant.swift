// The promises that a run is held to, by name. The one list: the checker counts by it, reports and tests name it.

/// A promise of the product. Names follow the delivery contract: what is acknowledged arrives, once, in one order.
package enum Invariant: String, CaseIterable, Sendable {
    /// What was acknowledged reaches every subscription whose continuity covers it.
    case lost = "I1 lost"
    /// Inside a continuity interval each delivered offset is the last one plus one.
    case silentGap = "I2 silent-gap"
    /// Nothing comes twice, and no message has two offsets in one epoch.
    case duplicate = "I3 dup"
    /// One (room, epoch, offset) has one content for all observers and the acknowledgement.
    case inconsistentOffset = "I4 inconsistent-offset"
    /// Nothing comes that was never sent or was definitely refused; error 120 means that nothing was published.
    case phantom = "I5 phantom"
    /// Messages of one publisher come in the order in which it sent them.
    case publisherOrder = "I6 publisher-fifo"
    /// What was acknowledged before another was sent has the lower offset.
    case realTimeOrder = "I7 real-time-order"
    /// What was acknowledged is in the history afterwards; an epoch changes only when data was lost, and all are told.
    case ackHonesty = "I8 ack-honesty"
    /// `recovered` is true only with everything, and false when it must be.
    case resumeHonesty = "I9 resume-honesty"
    /// Every operation completes in time, if only with an error.
    case errorVisibility = "I10 error-visibility"
    /// Who is shown as present is there, who is there is shown, and joins and leaves tell it once each.
    case presence = "I11 presence"
    /// A room's rate holds over all gateways together, and what stays well below it is never refused.
    case limiter = "I12 limiter"
    /// Memory and descriptors stay within their bounds and come back to their baseline.
    case bounds = "I13 bounds"
    /// No process ends by itself, none reports a bug.
    case crash = "I14 no-crash"
    /// In calm, deliveries come within their limit.
    case latency = "I15 latency"
    /// No message of a room reaches another room or somebody who is not in it.
    case isolation = "I16 isolation"
}
