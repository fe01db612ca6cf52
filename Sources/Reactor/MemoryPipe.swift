// The in-memory transport: two connections of one loop joined by a pair of bounded byte queues, so that the whole stack
// above the sockets runs in a test without any, with back-pressure and short writes at will.

import Bytes

/// One end of an in-memory pipe. Loop-confined.
final class MemoryPipe {
    weak var other: MemoryPipe?
    /// The connection that reads from this end.
    var owner = ConnectionID(slot: 0, generation: 0)
    var inbound = ByteBuffer()
    var peerClosed = false
    /// Bytes that this end holds before it is full, as a socket's buffer would.
    let capacity: Int
    /// The most that one write hands over; small values make every write a short one.
    let writeLimit: Int

    init(capacity: Int, writeLimit: Int) {
        self.capacity = capacity
        self.writeLimit = writeLimit
    }

    var space: Int { max(0, min(capacity - inbound.count, writeLimit)) }
}
