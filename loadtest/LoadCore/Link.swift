// One connection of the load tool: how far it has come, and the frame reader. Lives in the pool's slab for the whole
// run; what only the opening needs is in `Opening` and freed when the connection has joined. Confined to the loop.

import Bytes
import HTTP
import Reactor
import WebSocket

/// How far a connection has come.
enum LinkStage: UInt8 {
    /// Not begun.
    case waiting
    /// TCP handshake.
    case connecting
    /// The upgrade request is out.
    case upgrading
    /// WebSocket is open; the reply to the greeting has not come.
    case joining
    /// Part of the load.
    case joined
    /// Failed, or closed.
    case ended
}

/// State of the opening handshake.
final class Opening {
    var handshake: ClientHandshake
    var parser = ResponseHeadParser()
    /// The response's bytes, if they came in pieces.
    var head = ByteBuffer()

    init(handshake: ClientHandshake) { self.handshake = handshake }
}

/// One connection.
struct Link: ~Copyable {
    var stage = LinkStage.waiting
    var id = ConnectionID(slot: 0, generation: 0)
    var reader = FrameReader(role: .client)
    var opening: Opening?
    var started = MonotonicTime(nanoseconds: 0)
}
