// Closing: `close` marks, the end of the iteration frees. So no call chain ever finds its connection gone, and no event
// of this iteration reaches the slot's next tenant.

import Bytes
import CLinux
import Glibc

extension Loop {
    /// Closes at the end of this iteration; what is queued is dropped. Does nothing to a stale `id`.
    package func close(_ id: ConnectionID, _ reason: CloseReason = .local) {
        guard let connection = find(id) else { return }
        connection.pointee.flags.insert(.closing)
        // How a peer leaves whom we have said goodbye to is not why the connection ended.
        if connection.pointee.reason == .local, !connection.pointee.flags.contains(.lingering) {
            connection.pointee.reason = reason
        }
        state.pointee.doomed.append(id)
    }

    /// Sends what is queued, shuts this side down, discards input until the peer closes too (at most `lingerTimeout`),
    /// then closes. Closing at once with unread input would make the kernel send a reset, which can destroy the last
    /// answer before the peer has read it. From now on `write` takes nothing and `received` is not called.
    package func closeAfterFlush(_ id: ConnectionID) {
        guard let connection = find(id), !connection.pointee.flags.contains(.closeWhenFlushed) else { return }
        connection.pointee.flags.insert([.closeWhenFlushed, .ending])
        if connection.pointee.output.isEmpty { finishClose(id, connection) }
    }

    func finishClose(_ id: ConnectionID, _ connection: UnsafeMutablePointer<Connection>) {
        // Without a peer, or with one that has closed its side, there is nothing to linger for.
        guard connection.pointee.reason == .local, connection.pointee.transport.descriptor >= 0,
            !connection.pointee.flags.contains(.connecting)
        else {
            close(id, connection.pointee.reason)
            return
        }
        guard !connection.pointee.flags.contains(.lingering) else { return }
        shutdown(connection.pointee.transport.descriptor, Int32(SHUT_WR))
        connection.pointee.flags.insert([.lingering, .readToEnd])
        connection.pointee.flags.remove(.readPaused)
        arm(connection, id, after: limits.lingerTimeout)
        carry(id, connection)
    }

    /// Frees what was closed in this iteration.
    func reap() {
        var index = 0
        // By index: a handler's `closed` may close others.
        while index < state.pointee.doomed.count {
            let id = state.pointee.doomed[index]
            index += 1
            let connection = state.pointee.connections[id.slot]
            state.pointee.handlers[Int(connection.pointee.handler)].closed(id, connection.pointee.reason)
            checkOut(connection)
            state.pointee.wheel.cancel(connection.pointee.timer)
            connection.pointee.timer = .none
            connection.pointee.output.removeAll(pool: &state.pointee.pool)
            if let other = connection.pointee.transport.pipe?.other, let reader = find(other.owner) {
                // As a socket's event would: read on to the end; what waits to be written fails.
                reader.pointee.flags.insert(.readToEnd)
                reader.pointee.flags.remove(.blocked)
                carry(other.owner, reader)
                markDirty(other.owner, reader)
            }
            connection.pointee.transport.dispose(resets: connection.pointee.reason == .stalled)
            connection.pointee.generation = id.generation == .max ? 1 : id.generation + 1
            connection.pointee.flags = []
            connection.pointee.reason = .local
            state.pointee.slots.give(id.slot)
        }
        state.pointee.doomed.removeAll(keepingCapacity: true)
    }

    /// Closes everything; the loop has stopped, and its last iteration has sent what could be sent.
    func closeAll() {
        for listener in state.pointee.listeners.indices { removeListener(listener) }
        for slot in 0..<UInt32(state.pointee.connections.capacity) {
            let connection = state.pointee.connections[slot]
            let isUsed = connection.pointee.transport.descriptor >= 0 || connection.pointee.transport.pipe != nil
            guard isUsed, connection.pointee.isOpen else { continue }
            close(ConnectionID(slot: slot, generation: connection.pointee.generation))
        }
        reap()
    }

    /// Gives back what connections still hold when the loop goes away without `run` having ended; nobody is told.
    func freeConnections() {
        for slot in 0..<UInt32(state.pointee.connections.capacity) {
            let connection = state.pointee.connections[slot]
            connection.pointee.output.removeAll(pool: &state.pointee.pool)
            connection.pointee.transport.dispose()
            connection.deinitialize(count: 1)
        }
    }
}
