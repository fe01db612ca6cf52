// Where a returning member joins the flow: what it is given and what comes live must meet without a gap and without an
// overlap. The member joins its room's flow at the moment when this is decided, on the room's home loop: everything up
// to `delivered` has to be in its reply, everything behind it will come by itself.
//
// Pure and bounded by its inputs. Called when a client recovers: first with what the home has in memory, which answers
// nearly all of a reconnect storm; again when the engine has been asked for what lies before it.

import Bytes

/// What a returning member is given.
package enum RecoveryMerge: Equatable, Sendable {
    /// Entries of the engine's answer, then of the tail; both may be empty. Together `since + 1` … `delivered`.
    case recovered(answer: Range<Int>, tail: Range<UInt64>)
    /// The home loop itself has not yet delivered what the member saw elsewhere: decide again when it has. Joined now,
    /// it would get those publications a second time.
    case wait
    /// The engine is to be asked: what is in memory does not reach back to the member.
    case ask
    /// Not everything is left: `recovered: false`.
    case refused

    /// What the engine answered to a question for the newest publications, in the stream's epoch. Nothing before it
    /// can be had.
    package struct Answer: Equatable, Sendable {
        /// Offset of its first entry; without entries one behind its top.
        package var start: UInt64
        /// Number of its entries.
        package var count: Int

        package init(start: UInt64, count: Int) {
            self.start = start
            self.count = count
        }
    }

    /// Decides for a member that stands at `since` while the room has delivered up to `delivered`.
    package static func decide(
        since: UInt64, delivered: UInt64, tail: RoomStream, answer: Answer?
    ) -> RecoveryMerge {
        guard since <= delivered else { return .wait }
        if since == delivered { return .recovered(answer: 0..<0, tail: 0..<0) }
        let tailReaches = tail.top >= delivered
        if tailReaches, tail.oldest <= since + 1 {
            return .recovered(answer: 0..<0, tail: since + 1..<delivered + 1)
        }
        guard let answer else { return .ask }
        // Trimmed in the stream: then the tail, which is younger, would have had it, or nobody has.
        guard answer.start > 0, answer.start <= since + 1, answer.count >= 0 else { return .refused }
        let end = answer.start + UInt64(answer.count)
        guard end > since + 1 else { return .ask }
        let first = Int(clamping: since + 1 - answer.start)
        if end > delivered {
            return .recovered(answer: first..<Int(clamping: delivered + 1 - answer.start), tail: 0..<0)
        }
        guard tailReaches, tail.oldest <= end else { return .ask }
        return .recovered(answer: first..<answer.count, tail: end..<delivered + 1)
    }
}
