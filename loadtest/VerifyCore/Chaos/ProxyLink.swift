// One proxied connection: two ends and, for each direction, what waits and when it may go on. Owned by ChaosProxy,
// confined to its loop. Bounded by `heldLimit` a direction: beyond it the reading end is paused.

import Bytes
import Reactor

/// Bytes that wait for their time.
struct HeldPiece {
    let due: MonotonicTime
    var bytes: [UInt8]
}

/// One direction of a link.
struct ProxyChannel {
    var held: [HeldPiece] = []
    var heldBytes = 0
    /// Bytes that may go now, by the bandwidth.
    var credit = 0.0
    var creditedAt = MonotonicTime(nanoseconds: 0)
    var isPaused = false
    /// The beginning of a value that is not whole yet (directions whose messages are looked at).
    var partial: [UInt8] = []
    var isOpaque = false
    /// Bytes have vanished. A stream that has lost some never goes on behind them: this direction is dead for good.
    var isDead = false
    /// The reading side has ended; close the other when all is out.
    var hasEnded = false
}

/// A connection through the proxy.
final class ProxyLink {
    static let heldLimit = 1 << 20

    let number: Int
    var near: ConnectionID
    var far: ConnectionID?
    var isFarOpen = false
    var kind = LinkClass.other
    var channels = [ProxyChannel(), ProxyChannel()]
    /// Sits out of sight of rule changes: what was opened after a fault began works (a healed link).
    let openedAt: MonotonicTime
    var rewriter: (any LinkRewriter)?

    init(number: Int, near: ConnectionID, openedAt: MonotonicTime) {
        self.number = number
        self.near = near
        self.openedAt = openedAt
    }
}

/// Changes what passes through a link: how mutants of the server are made from outside.
package protocol LinkRewriter: AnyObject {
    /// Takes `bytes` of one direction and appends what goes on to `out`.
    func rewrite(_ bytes: UnsafeRawBufferPointer, _ flow: Flow, into out: inout [UInt8])
}
