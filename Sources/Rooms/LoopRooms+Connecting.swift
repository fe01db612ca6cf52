// The rooms that a client names in `connect`: it joins them in one go, which spares a returning client a round trip for
// each, and recovers in them. They obey what `subscribe` obeys. The reply to `connect` tells which of them it is in and
// what it missed; a room that it is not in any more, or cannot be in now, is not named there.
//
// The reply comes when every room has answered. Publications of the rooms that were quicker must not overtake it: until
// then the shell holds the connection's output back and puts the reply in front of it. Bounded by the rooms of one
// connection, by `replyBytes`, and by the limit of a connection's queue.

import Bytes
import Wire

/// A `connect` whose rooms have not all answered.
final class PendingConnect {
    let command: UInt32
    /// Rooms that have not answered, and one more while they are being asked.
    var remaining = 1
    /// Entries of the reply.
    var entries = ByteBuffer()

    init(command: UInt32) { self.command = command }
}

extension LoopRooms {
    /// The command id under which a subscription belongs to `connect`: no command of a client has it.
    static let ofConnect: UInt32 = 0

    /// Lets a client in that names rooms.
    func connect(_ session: UnsafeMutablePointer<Session>, _ id: UInt32, joining rooms: EncodedEntries) {
        let connection = session.pointee.connection
        let pending = PendingConnect(command: id)
        connecting[connection] = pending
        outlet.hold(connection)
        var requests = JSONCodec.SubscriptionRequests(rooms, limit: rules.maxRooms)
        // A buffer of its own: the command's strings lie in `text`. Cold, once a connection.
        var strings = ByteBuffer()
        do throws(WireError) {
            while session.pointee.phase == .connected, let request = try requests.next(scratch: &strings) {
                pending.remaining += 1
                subscribe(session, LoopRooms.ofConnect, request)
            }
        } catch {
            return disconnect(session, .badRequest)
        }
        if session.pointee.phase == .connected { answered(session) }
    }

    /// A room of `connect` has answered: `result`, or nil when the client is not in it.
    func answered(
        _ session: UnsafeMutablePointer<Session>, room: UnsafeRawBufferPointer = .empty,
        _ result: SubscribeResult? = nil
    ) {
        guard let pending = connecting[session.pointee.connection] else { return }
        if var result {
            if pending.entries.count + result.publications.count > rules.replyBytes {
                // Too much together for one reply: never a part of it.
                result.publications = .empty
                result.recovered = false
            }
            JSONCodec.appendEntry(room: room, result, to: &pending.entries)
        }
        pending.remaining -= 1
        guard pending.remaining == 0 else { return }
        connecting[session.pointee.connection] = nil
        replyConnected(session, pending.command, subscriptions: pending.entries.bytes, isHeld: true)
        startPings(session)
    }

    /// The connection ends before its `connect` was answered: what is said to it now goes out.
    func abandonConnect(_ connection: ConnectionWord) {
        guard connecting.removeValue(forKey: connection) != nil else { return }
        outlet.release(connection, first: .empty)
    }
}
