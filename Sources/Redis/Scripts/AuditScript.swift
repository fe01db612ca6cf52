// Where many quiet rooms stand, in one call: the slow audit looks whether a publication was missed that nothing
// followed. It only reads; a room that needs a record or a new term is left to the script that touches it next.
//
// Rooms lie in different slots, so this call cannot be made of a Redis Cluster: an engine with a Cluster mode has to
// group rooms by slot or ask one by one. Cost in Redis: an HMGET a room.

package import Bytes

extension RedisScript {
    /// KEYS records of rooms. Answers for each of them `{top, epoch, previous epoch, shared offset}`, or null when
    /// there is none that makes sense.
    package static let audit = RedisScript(
        "audit", RoomRecordLua.reading,
        #"""
        local answer = {}
        for i = 1, #KEYS do
          local r = redis.pcall('HMGET', KEYS[i], 'o', 'e', 'p', 's')
          local top, epoch, previous, shared = int(r[1]), r[2], r[3], int(r[4]) or 0
          if not is_epoch(previous) then previous = '' end
          answer[i] = top and is_epoch(epoch) and {top, epoch, previous, shared} or false
        end
        return answer
        """#)
}

/// One call of the audit script.
package struct AuditCall {
    /// Rooms in one call at most: so much of Redis' time is taken at once.
    package static let mostRooms = 256

    /// The rooms' names as clients write them; 1 to `mostRooms`.
    package var rooms: [UnsafeRawBufferPointer]

    package init(rooms: [UnsafeRawBufferPointer]) { self.rooms = rooms }

    /// Appends the call, answered by an array (`AuditResult`).
    package func append(to output: inout ByteBuffer, names: RedisNames) {
        precondition(!rooms.isEmpty && rooms.count <= AuditCall.mostRooms)
        RedisScript.audit.begin(keys: rooms.count, arguments: 0, in: &output)
        for room in rooms { output.appendRecordKey(room, names) }
    }
}

/// The audit script's answer; valid as long as its reply.
package struct AuditResult {
    private let reply: RedisReply

    /// Reads the answer to a call with `rooms` rooms; nil when it is none.
    package init?(_ reply: RedisReply, rooms: Int) {
        guard reply.kind == .array, reply.count == rooms else { return nil }
        var isSound = true
        reply.forEach { if $0.kind != .null, AuditResult.record($0) == nil { isSound = false } }
        guard isSound else { return nil }
        self.reply = reply
    }

    /// Number of rooms.
    package var count: Int { reply.count }

    /// Hands each room's position in the call and its record to `body`, in the call's order; nil: there is none, or
    /// none that makes sense.
    package func forEach(_ body: (_ index: Int, _ record: RoomRecord?) -> Void) {
        var index = 0
        reply.forEach { element in
            body(index, AuditResult.record(element))
            index += 1
        }
    }

    private static func record(_ reply: RedisReply) -> RoomRecord? {
        reply.count == 4 ? RoomRecord(reply, at: 0) : nil
    }
}
