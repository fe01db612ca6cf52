// One slab entry: all that the reactor knows of a connection. What the product knows of it lies in the handler's own
// slab under the same slot number.

import Bytes

/// Names a connection: where it lives, and which of the connections that lived there. Stale names are recognised.
package struct ConnectionID: Hashable, Sendable {
    /// Index into the loop's slab.
    package let slot: UInt32
    /// How many connections the slot has held, this one included.
    package let generation: UInt32

    /// The connection number `generation` of `slot`.
    package init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    /// Both numbers in one word, as epoll events and letters carry them.
    package var word: UInt64 { UInt64(high: generation, low: slot) }

    /// The reverse of `word`.
    package init(word: UInt64) {
        slot = word.lowHalf
        generation = word.highHalf
    }
}

/// Why a connection ended, as its handler is told.
package enum CloseReason: Sendable, Equatable {
    /// The peer closed its side.
    case peerClosed
    /// This side asked for it.
    case local
    /// A system call failed with this errno.
    case failed(Int32)
    /// Nothing could be written for the configured time: what the kernel still has for the peer is thrown away.
    case stalled
}

/// What happens to a connection's events. One instance per kind of connection and loop; every call comes on the loop.
package protocol ConnectionHandler: AnyObject {
    /// The connection is established (accepted, or connected).
    func opened(_ id: ConnectionID)
    /// Bytes have come. They lie in the loop's read buffer, may be changed in place, and are gone after the call.
    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer)
    /// The connection's timer has fired.
    func timerFired(_ id: ConnectionID)
    /// Output that was held back by the socket has all gone. Once for each time that the socket was full.
    func drained(_ id: ConnectionID)
    /// The socket has taken nothing for `LoopLimits.writeTimeout` although output waits. Whether the handler has begun
    /// to end the connection in its own way, which may take as long again before it is asked anew; otherwise the loop
    /// closes it.
    func stalled(_ id: ConnectionID) -> Bool
    /// The connection is gone; the last call for this `id`. Comes at the end of an iteration.
    func closed(_ id: ConnectionID, _ reason: CloseReason)
}

extension ConnectionHandler {
    package func timerFired(_ id: ConnectionID) {}
    package func drained(_ id: ConnectionID) {}
    package func stalled(_ id: ConnectionID) -> Bool { false }
}

struct Connection: ~Copyable {
    struct Flags: OptionSet {
        let rawValue: UInt16
        /// Output waits for the flush at the end of the iteration.
        static let dirty = Flags(rawValue: 1 << 0)
        /// The socket took less than was offered; EPOLLOUT will say when it takes more.
        static let blocked = Flags(rawValue: 1 << 1)
        /// Being torn down; nothing is read or written any more.
        static let closing = Flags(rawValue: 1 << 2)
        /// Close when the output is out.
        static let closeWhenFlushed = Flags(rawValue: 1 << 3)
        /// The handler does not want to read now.
        static let readPaused = Flags(rawValue: 1 << 4)
        /// On the carry list: bytes may wait in the socket without another event.
        static let carried = Flags(rawValue: 1 << 5)
        /// Outbound, not yet established.
        static let connecting = Flags(rawValue: 1 << 6)
        /// Our side is shut down; input is discarded until the peer closes or the linger time is over.
        static let lingering = Flags(rawValue: 1 << 7)
        /// On the list of connections whose write progress is watched.
        static let watched = Flags(rawValue: 1 << 8)
        /// The peer has closed its side (EPOLLRDHUP was seen): read until the end.
        static let readToEnd = Flags(rawValue: 1 << 9)
        /// `closeAfterFlush` was called: no more output is taken, no more input handed out.
        static let ending = Flags(rawValue: 1 << 10)
        /// The socket was full since the handler last heard `drained`.
        static let heldBack = Flags(rawValue: 1 << 11)
        /// The last word is queued: no more output is taken. Input still comes.
        static let sealed = Flags(rawValue: 1 << 12)
        /// Output gathers and is not offered to the socket: `hold` was called.
        static let held = Flags(rawValue: 1 << 13)
        /// A gate admitted it and wants to hear when it is gone.
        static let gated = Flags(rawValue: 1 << 14)
    }

    var transport = Transport()
    var generation: UInt32 = 1
    var flags: Flags = []
    var handler: UInt8 = 0
    var output = OutputQueue()
    var timer = TimerToken.none
    /// When the socket last took a byte while output waited.
    var progress = MonotonicTime(nanoseconds: 0)
    var reason = CloseReason.local
    /// Whom the gate charges it to.
    var peer = PeerAddress.uncounted

    var isOpen: Bool { !flags.contains(.closing) }
}
