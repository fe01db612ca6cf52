// Who has to be told when Redis has come back with less than it acknowledged, and who must not notice: taken when it is
// known what was left, judged when everybody is back. Walks all subscriptions; on the driver's loop.

package import Bytes

/// What each subscription stood before at the moment of a rollback.
package struct RollbackCensus {
    struct Entry {
        /// -1: not in the room.
        var epoch: Int32 = -1
        var interval: UInt32 = 0
        /// Had seen more than was left.
        var isAhead = false
    }
    var entries: [Entry]
}

/// What became of the subscriptions of a census.
package struct RollbackOutcome: Equatable, Sendable {
    /// Subscriptions that had seen more than was left, or still got it from a gateway's memory.
    package var ahead = 0
    /// Those of them that have begun anew.
    package var told = 0
    /// The others.
    package var behind = 0
    /// Those of them that have gone on without a break.
    package var continued = 0

    package static func += (sum: inout RollbackOutcome, one: RollbackOutcome) {
        sum.ahead += one.ahead
        sum.told += one.told
        sum.behind += one.behind
        sum.continued += one.continued
    }
}

extension Checker {
    /// Who stands where, now that `rolledBack` has told what is left of every room.
    package func takeCensus() -> RollbackCensus {
        var census = RollbackCensus(entries: Array(repeating: RollbackCensus.Entry(), count: subscriptions.count))
        for index in subscriptions.indices {
            let record = subscriptions[index]
            subscriptions[index].sawLost = false
            guard record.state != .none, record.epoch >= 0,
                let left = rooms[index % plan.rooms].epochs[Int(record.epoch)].survivors
            else { continue }
            census.entries[index] = RollbackCensus.Entry(
                epoch: record.epoch, interval: record.interval, isAhead: record.last > left)
        }
        return census
    }

    /// What became of them; whoever was ahead and was not told, or behind and could not go on, is a violation.
    package func judge(_ census: RollbackCensus, now: MonotonicTime) -> RollbackOutcome {
        var outcome = RollbackOutcome()
        for (index, entry) in census.entries.enumerated() where entry.epoch >= 0 {
            let hasBegunAnew = subscriptions[index].interval != entry.interval
            let isAhead = entry.isAhead || subscriptions[index].sawLost
            let (subscriber, room) = (index / plan.rooms, index % plan.rooms)
            if isAhead {
                outcome.ahead += 1
                if hasBegunAnew {
                    outcome.told += 1
                } else {
                    violate(
                        .ackHonesty, room: room, now: now,
                        "subscriber \(subscriber) had seen more than a rollback left and was not told")
                }
            } else {
                outcome.behind += 1
                if !hasBegunAnew, subscriptions[index].state == .live {
                    outcome.continued += 1
                } else {
                    violate(
                        .lost, room: room, now: now,
                        "subscriber \(subscriber) had seen no more than a rollback left and could not go on wholly")
                }
            }
        }
        return outcome
    }

    /// Subscriptions that are in the interval in which they first joined: nothing has ever been broken for them.
    package var uninterruptedSubscriptions: Int { subscriptions.count { $0.state == .live && $0.interval == 1 } }
}
