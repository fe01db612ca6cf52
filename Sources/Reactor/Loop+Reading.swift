// Reading: bounded per connection and iteration. A read that fills the whole buffer is followed by another, up to the
// budget; then the connection goes on the carry list, since the edge-triggered event will not come again.

import Bytes
import Telemetry

extension Loop {
    func readFrom(_ id: ConnectionID, _ connection: UnsafeMutablePointer<Connection>) {
        if !connection.pointee.flags.isDisjoint(with: [.readPaused, .connecting]) { return }
        let handler = state.pointee.handlers[Int(connection.pointee.handler)]
        let buffer = state.pointee.readBuffer
        for _ in 0..<limits.readsPerIteration {
            switch connection.pointee.transport.read(into: buffer) {
            case .moved(let count):
                metrics.add(.receivedBytes, UInt64(count))
                if !connection.pointee.flags.contains(.ending) {
                    handler.received(id, UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]))
                }
                notifyPipe(connection)
                guard connection.pointee.generation == id.generation, connection.pointee.isOpen,
                    !connection.pointee.flags.contains(.readPaused)
                else { return }
                // A short read means that the socket is empty: the next bytes bring a new edge.
                if count < buffer.count, !connection.pointee.flags.contains(.readToEnd) { return }
            case .wouldBlock: return
            case .end:
                peerFinished(id, connection)
                return
            case .failed(let code):
                close(id, .failed(code))
                return
            }
        }
        carry(id, connection)
    }

    func carry(_ id: ConnectionID, _ connection: UnsafeMutablePointer<Connection>) {
        guard !connection.pointee.flags.contains(.carried) else { return }
        connection.pointee.flags.insert(.carried)
        state.pointee.carried.append(id)
    }

    /// What is queued still goes out: a peer that half-closes after its request wants the answer.
    private func peerFinished(_ id: ConnectionID, _ connection: UnsafeMutablePointer<Connection>) {
        if connection.pointee.output.isEmpty || connection.pointee.flags.contains(.lingering) {
            close(id, .peerClosed)
        } else {
            connection.pointee.reason = .peerClosed
            connection.pointee.flags.insert([.closeWhenFlushed, .readPaused])
        }
    }

    /// Stops handing bytes of this connection out; they wait in the socket, and the peer feels the back-pressure.
    package func pauseReading(_ id: ConnectionID) {
        guard let connection = find(id), !connection.pointee.flags.contains(.ending) else { return }
        connection.pointee.flags.insert(.readPaused)
    }

    /// Goes on reading in the next iteration.
    package func resumeReading(_ id: ConnectionID) {
        guard let connection = find(id), connection.pointee.flags.contains(.readPaused),
            !connection.pointee.flags.contains(.closeWhenFlushed)
        else { return }
        connection.pointee.flags.remove(.readPaused)
        carry(id, connection)
    }

    /// The connection of `id`, or nil when it is closed or was never opened.
    func find(_ id: ConnectionID) -> UnsafeMutablePointer<Connection>? {
        assertOnLoop()
        guard id.generation != 0, Int(id.slot) < state.pointee.connections.capacity else { return nil }
        let connection = state.pointee.connections[id.slot]
        return connection.pointee.generation == id.generation && connection.pointee.isOpen ? connection : nil
    }

    /// Whether `id` names an open connection.
    package func isOpen(_ id: ConnectionID) -> Bool { find(id) != nil }
}
