// Where a room stands. Called pipelined for every room of a link after each reconnection, by the slow audit of quiet
// rooms, and once when a node begins to serve a room, so that its members know from where they can recover.
//
// A room that nobody has published to gets its epoch here: a member that joined at offset 0 can then recover from 0.
// Cost in Redis: HMGET and PTTL; the record's TTL is refreshed when half of it has gone by.

package import Bytes

extension RedisScript {
    /// KEYS stream, record. ARGV term, fresh epoch, history TTL. Answers `{0, top, epoch, previous epoch, shared
    /// offset}`.
    package static let position = RedisScript(
        "position", RoomRecordLua.opening, RoomRecordLua.enter,
        #"""
        local ttl = tonumber(ARGV[3])
        local top, epoch, previous, shared = enter(ttl)
        if not top then return {9, epoch} end
        touch(ttl)
        return {0, top, epoch, previous, shared}
        """#)
}

/// One call of the position script.
package struct PositionCall {
    package var room: UnsafeRawBufferPointer
    package var term: RedisTerm
    /// A fresh random epoch, in case the room needs one; not 0, never used twice.
    package var freshEpoch: UInt64
    package var historyTTL: Duration

    package init(room: UnsafeRawBufferPointer, term: RedisTerm, freshEpoch: UInt64, historyTTL: Duration) {
        self.room = room
        self.term = term
        self.freshEpoch = freshEpoch
        self.historyTTL = historyTTL
    }

    /// Appends the call, answered by an array (`PositionResult`).
    package func append(to output: inout ByteBuffer, names: RedisNames) {
        precondition(freshEpoch != 0)
        RedisScript.position.begin(keys: 2, arguments: 3, in: &output)
        output.appendRoomKeys(room, names)
        output.appendArgument(term: term)
        output.appendArgument(hexadecimal: freshEpoch)
        output.appendArgument(milliseconds: historyTTL)
    }
}

/// The position script's answer.
package enum PositionResult: Equatable, Sendable {
    /// The room as it stands.
    case at(RoomRecord)
    /// The room is already in this later term.
    case staleTerm(RedisTerm?)

    /// Reads the answer; nil when it is none.
    package init?(_ reply: RedisReply) {
        switch reply[0]?.integer {
        case 0:
            guard reply.count == 5, let record = RoomRecord(reply, at: 1) else { return nil }
            self = .at(record)
        case 9: self = .staleTerm(reply[1].flatMap { RedisTerm(parsing: $0.bytes) })
        default: return nil
        }
    }
}
