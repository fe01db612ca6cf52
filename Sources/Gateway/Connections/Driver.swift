// One client connection between its first byte and its last: which protocol it speaks at the moment, and how far its
// closing has come. What it says in rooms is known to Rooms, what it still has to send to the Reactor.

import Bytes
import HTTP
import Reactor
import WebSocket

/// A head, or a PROXY header, that did not come in one piece. Exists only until it is complete.
final class PartialHead {
    var parser = RequestHeadParser()
    var bytes = ByteBuffer()
}

/// State of one connection. Lives in a slab of `ClientHandler` under the connection's slot; loop-confined.
struct Driver: ~Copyable {
    enum Phase: UInt8 {
        /// The slot is free.
        case vacant
        /// A PROXY header is awaited; deadline: the head timeout, which goes on for the request head.
        case proxy
        /// The request head is awaited; deadline: the head timeout, not prolonged by bytes that trickle in.
        case head
        /// Frames carry commands and replies.
        case rooms
        /// Frames are sent back as they are.
        case echo
        /// Our Close is out; the peer's is awaited. Deadline: the close timeout.
        case closing
        /// Nothing is read any more; the reactor ends it when the output is out, at the latest when the timer fires.
        case ended
    }

    var phase = Phase.vacant
    /// The client has not been let in yet: it may say as much as a token needs.
    var awaitsConnect = true
    /// An echo's peer has said something since its timer was set.
    var wasHeard = false
    var close = CloseHandshake()
    /// The window that its messages may be deflated with; nil: no compression. One byte, in a gap.
    var window: DeflateWindow?
    /// The code of our Close frame, for the metrics; 0: none was sent.
    var closeCode: UInt16 = 0
    var generation: UInt32 = 0
    /// Messages received, for the log.
    var messages: UInt32 = 0
    var opened = MonotonicTime(nanoseconds: 0)
    var partialHead: PartialHead?
    /// What the last ping said that came while the socket was full; answered when it drains.
    var unansweredPing: Payload?
    var reader = FrameReader(role: .server)
}
