// Peers that do not read: who waits for a full socket is on a list, which is looked through once a second while it is
// not empty. So the rule costs nothing for those who keep up, and no timer for those who do not.
// Bounded by the connections that are held back; each is there once.

import Bytes

extension Loop {
    /// Between two looks: long enough to be cheap, short against any time that an operator sets.
    private static let stallCheckInterval = Duration.seconds(1)
    private static let shortestStallCheckInterval = Duration.milliseconds(50)

    /// The socket took less than it was offered.
    func block(_ id: ConnectionID, _ connection: UnsafeMutablePointer<Connection>) {
        // The time without progress counts from the first refusal, not from what an earlier blockade left behind.
        if !connection.pointee.flags.contains(.heldBack) { connection.pointee.progress = state.pointee.now }
        connection.pointee.flags.insert([.blocked, .heldBack])
        guard !connection.pointee.flags.contains(.watched) else { return }
        connection.pointee.flags.insert(.watched)
        if state.pointee.watched.isEmpty { scheduleStallCheck(after: limits.writeTimeout) }
        state.pointee.watched.append(id)
    }

    private func scheduleStallCheck(after delay: Duration) {
        let interval = min(Loop.stallCheckInterval, max(Loop.shortestStallCheckInterval, delay))
        schedule(after: interval) { [unowned self] in checkStalls() }
    }

    /// Ends what made no progress for `writeTimeout`; forgets what has drained.
    private func checkStalls() {
        var soonest = Loop.stallCheckInterval
        var kept = 0
        var index = 0
        // By index and in place: offering output, or what a handler does, may add to the list, which is not empty
        // meanwhile and so does not get a second timer.
        while index < state.pointee.watched.count {
            let id = state.pointee.watched[index]
            index += 1
            guard let connection = find(id), hasBacklog(id, connection) else { continue }
            if now.since(connection.pointee.progress) >= limits.writeTimeout { endStalled(id, connection) }
            guard connection.pointee.isOpen else { continue }
            soonest = min(soonest, limits.writeTimeout - now.since(connection.pointee.progress))
            state.pointee.watched[kept] = id
            kept += 1
        }
        state.pointee.watched.removeSubrange(kept...)
        if kept > 0 { scheduleStallCheck(after: soonest) }
    }

    /// Whether output still waits. The kernel reports a socket as writable only when a third of its buffer is free, so
    /// one that is about to be judged, or that only lacks its last word, is asked.
    private func hasBacklog(_ id: ConnectionID, _ connection: UnsafeMutablePointer<Connection>) -> Bool {
        let isOverdue = now.since(connection.pointee.progress) >= limits.writeTimeout
        if isOverdue || connection.pointee.flags.contains(.sealed) {
            connection.pointee.flags.remove(.blocked)
            flush(id.slot, connection)
        }
        guard connection.pointee.isOpen, connection.pointee.output.isEmpty else { return connection.pointee.isOpen }
        connection.pointee.flags.remove(.watched)
        return false
    }

    private func endStalled(_ id: ConnectionID, _ connection: UnsafeMutablePointer<Connection>) {
        // Whatever the handler does has its own time; a handler that does nothing in it hears of it again.
        connection.pointee.progress = now
        guard !state.pointee.handlers[Int(connection.pointee.handler)].stalled(id) else { return }
        close(id, .stalled)
    }
}
