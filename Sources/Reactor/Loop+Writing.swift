// Writing: handlers append to a connection's queue and mark it dirty; the loop sends once per dirty connection at the
// end of the iteration. Small writes of one iteration share a private block; broadcast blocks are shared by reference.

import Bytes
import CLinux
import Glibc
import Telemetry

extension Loop {
    /// Queues a copy of `bytes`. Stale connections take nothing.
    package func write(_ id: ConnectionID, _ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
        write(id, atMost: bytes.count) { target in
            target.copyMemory(from: source, byteCount: bytes.count)
            return bytes.count
        }
    }

    /// Lets `body` write at most `atMost` bytes in place; it returns how many it wrote. Returns the bytes that now
    /// wait, for the caller's limit; 0 for stale connections.
    @discardableResult
    package func write(_ id: ConnectionID, atMost: Int, _ body: (UnsafeMutableRawPointer) -> Int) -> Int {
        guard let connection = findTaking(id) else { return 0 }
        let frame: Frame
        if let tail = connection.pointee.output.tail(space: atMost) {
            frame = tail
        } else {
            frame = state.pointee.pool.allocate(atMost)
            connection.pointee.output.append(frame, pool: &state.pointee.pool)
        }
        let count = body(frame.base + frame.count)
        precondition(count >= 0 && count <= atMost)
        frame.advance(by: count)
        connection.pointee.output.grew(by: count)
        markDirty(id, connection)
        return connection.pointee.output.bytes
    }

    /// Queues a shared block; takes a reference of its own. Returns the bytes that now wait, for the caller's limit.
    @discardableResult
    package func enqueue(_ id: ConnectionID, _ frame: Frame) -> Int {
        guard let connection = findTaking(id) else { return 0 }
        frame.retain()
        connection.pointee.output.append(frame, pool: &state.pointee.pool)
        markDirty(id, connection)
        return connection.pointee.output.bytes
    }

    /// Takes no more output for the connection: what was queued is its last word. Broadcasts that still name it are
    /// dropped here, where it costs nothing.
    package func sealOutput(_ id: ConnectionID) { find(id)?.pointee.flags.insert(.sealed) }

    /// Tells frames of an output block from each other, for the reactor knows none: given the bytes of a block and how
    /// many of them were sent, the first place at or behind that at which no frame is cut, at most the block's end.
    /// Blocks begin and end where frames do, because every `write` and every shared block is made of whole ones.
    package typealias FrameBoundary = (_ block: UnsafeRawBufferPointer, _ sent: Int) -> Int

    /// Queues a copy of `bytes`, a whole frame, ahead of what waits, at the next place that `boundary` allows. For what
    /// must not wait for a peer that is behind.
    package func writeAhead(_ id: ConnectionID, _ bytes: UnsafeRawBufferPointer, at boundary: FrameBoundary) {
        guard let connection = findTaking(id), !bytes.isEmpty else { return }
        let place = boundary(connection.pointee.output.head, connection.pointee.output.offset)
        connection.pointee.output.insert(bytes, at: place, pool: &state.pointee.pool)
        markDirty(id, connection)
    }

    /// Drops what waits behind the next place that `boundary` allows, so that a last word need not wait for it: only
    /// the rest of a frame that is half out stays.
    package func dropUnsent(_ id: ConnectionID, from boundary: FrameBoundary) {
        guard let connection = find(id), !connection.pointee.output.isEmpty else { return }
        let place = boundary(connection.pointee.output.head, connection.pointee.output.offset)
        connection.pointee.output.removeAll(from: place, pool: &state.pointee.pool)
    }

    /// Sends what waits, then keeps what is queued from now on until `unhold`: something is to go out in front of it.
    package func hold(_ id: ConnectionID) {
        _ = offer(id)
        find(id)?.pointee.flags.insert(.held)
    }

    /// Sends what was kept, at the end of the iteration.
    package func unhold(_ id: ConnectionID) {
        guard let connection = find(id), connection.pointee.flags.contains(.held) else { return }
        connection.pointee.flags.remove(.held)
        markDirty(id, connection)
    }

    /// Bytes that wait to be sent.
    package func queuedBytes(_ id: ConnectionID) -> Int { find(id)?.pointee.output.bytes ?? 0 }

    /// Offers what waits to the socket now, before the end of the iteration, and returns what still waits. For a queue
    /// that grows beyond its limit within one iteration: whether its peer is slow is only known after asking.
    package func offer(_ id: ConnectionID) -> Int {
        guard let connection = find(id) else { return 0 }
        if connection.pointee.flags.isDisjoint(with: [.blocked, .connecting]) { flush(id.slot, connection) }
        return queuedBytes(id)
    }

    /// Bytes that wait for full sockets, over all connections. Between iterations nobody else has any. For gauges: it
    /// walks the connections that are held back.
    package var waitingOutput: Int { state.pointee.watched.reduce(0) { $0 + queuedBytes($1) } }

    /// Whether the socket took less than it was offered, so that output waits for the peer.
    package func isBlocked(_ id: ConnectionID) -> Bool { find(id)?.pointee.flags.contains(.blocked) ?? false }

    /// A block for output that several connections will share, with one reference, which the caller releases.
    package func makeFrame(capacity: Int) -> Frame { state.pointee.pool.allocate(capacity) }

    /// Gives a reference back.
    package func release(_ frame: Frame) { state.pointee.pool.release(frame) }

    /// Blocks in use on this loop (leak tests).
    package var liveFrames: Int { state.pointee.pool.liveBlocks }

    /// The connection of `id` if it still takes output: whatever followed the last words would be a protocol error.
    private func findTaking(_ id: ConnectionID) -> UnsafeMutablePointer<Connection>? {
        guard let connection = find(id), connection.pointee.flags.isDisjoint(with: [.ending, .sealed]) else {
            return nil
        }
        return connection
    }

    func markDirty(_ id: ConnectionID, _ connection: UnsafeMutablePointer<Connection>) {
        guard !connection.pointee.flags.contains(.dirty) else { return }
        connection.pointee.flags.insert(.dirty)
        state.pointee.dirty.append(id)
    }

    func flushDirty() {
        var index = 0
        // By index: a handler's `drained` may write again and so append to the list.
        while index < state.pointee.dirty.count {
            let id = state.pointee.dirty[index]
            index += 1
            let connection = state.pointee.connections[id.slot]
            guard connection.pointee.generation == id.generation else { continue }
            connection.pointee.flags.remove(.dirty)
            guard connection.pointee.isOpen else { continue }
            if connection.pointee.flags.isDisjoint(with: [.blocked, .connecting]) { flush(id.slot, connection) }
        }
        state.pointee.dirty.removeAll(keepingCapacity: true)
    }

    /// Offers the queue to the transport until it is empty or the transport is full.
    func flush(_ slot: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
        guard !connection.pointee.flags.contains(.held) else { return }
        let id = ConnectionID(slot: slot, generation: connection.pointee.generation)
        while !connection.pointee.output.isEmpty {
            let waiting = connection.pointee.output.bytes
            switch connection.pointee.transport.write(connection.pointee.output, vectors: state.pointee.vectors) {
            case .moved(let count):
                connection.pointee.output.consume(count, pool: &state.pointee.pool)
                metrics.add(.sentBytes, UInt64(count))
                connection.pointee.progress = state.pointee.now
                notifyPeer(connection)
                if count == waiting { break }
            case .wouldBlock:
                block(id, connection)
                return
            case .failed(let code):
                close(id, .failed(code))
                return
            case .end:
                close(id, .peerClosed)
                return
            }
        }
        if connection.pointee.flags.contains(.closeWhenFlushed) {
            finishClose(id, connection)
        } else if connection.pointee.flags.contains(.heldBack) {
            connection.pointee.flags.remove(.heldBack)
            state.pointee.handlers[Int(connection.pointee.handler)].drained(id)
        }
    }

    // MARK: In-memory transport

    /// Bytes moved into a pipe: its owner has something to read.
    private func notifyPeer(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.transport.descriptor < 0, let other = connection.pointee.transport.pipe?.other,
            let reader = find(other.owner)
        else { return }
        carry(other.owner, reader)
    }

    /// Bytes were taken out of a pipe: the other end, if it was full, may write again.
    func notifyPipe(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.transport.descriptor < 0, let other = connection.pointee.transport.pipe?.other,
            let writer = find(other.owner), writer.pointee.flags.contains(.blocked)
        else { return }
        writer.pointee.flags.remove(.blocked)
        markDirty(other.owner, writer)
    }
}
