// Pings and deadlines. One timer per connection: until `connect` it is the stale deadline, afterwards it alternates
// between "send a ping" and "the pong must be here". The first ping comes at a random moment in the second half of the
// interval, so that connections which came together do not ping together for ever.

import Bytes
import Wire

extension LoopRooms {
    /// The connection's timer has fired.
    package func timerFired(_ connection: ConnectionWord) {
        guard let session = session(connection) else { return }
        switch session.pointee.phase {
        case .new: disconnect(session, .stale)
        case .connected where connecting[connection] != nil: disconnect(session, .stale)
        case .connected where session.pointee.awaitsPong: disconnect(session, .noPong)
        case .connected: ping(session)
        // A refused client that says nothing more has had its chance.
        case .refused: disconnect(session, .stale)
        case .closing, .vacant: break
        }
    }

    /// Arms the first ping.
    func startPings(_ session: UnsafeMutablePointer<Session>) {
        let interval = rules.pingInterval.wholeNanoseconds
        guard interval > 0 else { return }
        let delay = Int64.random(in: (interval / 2)...interval, using: &random)
        outlet.setTimer(session.pointee.connection, after: .nanoseconds(delay))
    }

    private func ping(_ session: UnsafeMutablePointer<Session>) {
        session.pointee.awaitsPong = true
        session.pointee.lastPing = outlet.now
        if session.pointee.usesPingFrames {
            outlet.sendPingFrame(session.pointee.connection)
        } else {
            scratch.removeAll()
            JSONCodec.appendPing(to: &scratch)
            outlet.send(session.pointee.connection, scratch.bytes)
        }
        outlet.setTimer(session.pointee.connection, after: rules.pongTimeout)
    }

    /// A pong came, as a message. One that no ping asked for is a fault.
    func receivedPong(_ session: UnsafeMutablePointer<Session>) {
        guard session.pointee.awaitsPong, !session.pointee.usesPingFrames else {
            return disconnect(session, .badRequest)
        }
        acceptPong(session)
    }

    /// A pong came, as a frame of the WebSocket protocol, where unasked ones are allowed.
    package func receivedPongFrame(_ connection: ConnectionWord) {
        guard let session = session(connection), session.pointee.awaitsPong, session.pointee.usesPingFrames else {
            return
        }
        acceptPong(session)
    }

    /// The next ping comes an interval after the last one, however long its pong took: clients count on the rhythm.
    private func acceptPong(_ session: UnsafeMutablePointer<Session>) {
        session.pointee.awaitsPong = false
        let elapsed = outlet.now.since(session.pointee.lastPing)
        outlet.setTimer(session.pointee.connection, after: max(.zero, rules.pingInterval - elapsed))
    }
}
