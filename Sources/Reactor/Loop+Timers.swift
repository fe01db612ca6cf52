// Timers of a loop: one per connection (its handler multiplexes), and closures for everything that is rare.
// Called on the loop; bounded by the connections and by whoever schedules closures.

import Bytes

extension Loop {
    /// Arms the connection's one timer, in place of the one that it had.
    package func setTimer(_ id: ConnectionID, after delay: Duration) {
        // A lingering connection's timer is the loop's: it alone ends a peer that never closes.
        guard let connection = find(id), !connection.pointee.flags.contains(.lingering) else { return }
        arm(connection, id, after: delay)
    }

    func arm(_ connection: UnsafeMutablePointer<Connection>, _ id: ConnectionID, after delay: Duration) {
        state.pointee.wheel.cancel(connection.pointee.timer)
        connection.pointee.timer = state.pointee.wheel.schedule(at: now + delay, payload: id.word)
    }

    /// Disarms the connection's timer.
    package func cancelTimer(_ id: ConnectionID) {
        guard let connection = find(id), !connection.pointee.flags.contains(.lingering) else { return }
        state.pointee.wheel.cancel(connection.pointee.timer)
        connection.pointee.timer = .none
    }

    /// Runs `body` once after `delay`. For what is rare: it allocates.
    @discardableResult
    package func schedule(after delay: Duration, _ body: @escaping () -> Void) -> TimerToken {
        assertOnLoop()
        let token = state.pointee.wheel.schedule(at: now + delay, payload: 0)
        state.pointee.closures[token] = body
        return token
    }

    /// Takes a scheduled closure back; does nothing when it has run.
    package func cancel(_ token: TimerToken) {
        state.pointee.wheel.cancel(token)
        state.pointee.closures[token] = nil
    }

    func fireTimers() {
        state.pointee.wheel.advance(to: now, fired: &state.pointee.fired)
        var index = 0
        while index < state.pointee.fired.count {
            let timer = state.pointee.fired[index]
            index += 1
            if timer.payload == 0 {
                // A closure that was cancelled by an earlier one of this list is no longer there.
                state.pointee.closures.removeValue(forKey: timer.token)?()
                continue
            }
            let id = ConnectionID(word: timer.payload)
            // Re-armed or closed by an earlier one of this list: the token no longer matches.
            guard let connection = find(id), connection.pointee.timer == timer.token else { continue }
            connection.pointee.timer = .none
            if connection.pointee.flags.contains(.lingering) {
                close(id)
            } else {
                state.pointee.handlers[Int(connection.pointee.handler)].timerFired(id)
            }
        }
        state.pointee.fired.removeAll(keepingCapacity: true)
    }
}
