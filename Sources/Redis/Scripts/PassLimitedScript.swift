// Publishing into a room with limits and without history: nothing is kept of the publication, but the limits are judged
// and charged, and a key is remembered, in the step that publishes. Called by the engine for each such publish that the
// room's home does not refuse by itself.
//
// The limits are written first: a server that refuses writes then publishes nothing. One that forbids the channel gets
// its key taken back; the limits stay charged. Cost in Redis: RateLua's and PUBLISH; with a key also EXISTS and SET.

package import Bytes

extension RedisScript {
    /// KEYS rates, and with a key the idempotency key. ARGV members of the publication, limit of the room, limit of a
    /// user, talker. Answers `{0, wait, wait}`, `{1}` or `{2, wait, wait}`: waits for room and user in microseconds.
    package static let passLimited = RedisScript(
        "pass_limited", RoomRecordLua.reading,
        #"""
        local once, rates, room, user, talker = KEYS[2], KEYS[1], ARGV[2], ARGV[3], ARGV[4]
        if once and redis.call('EXISTS', once) == 1 then return {1} end

        """#, RateLua.judge, RateLua.charge,
        #"""
        if once then redis.call('SET', once, '-', 'PX', 300000) end
        local sent = redis.pcall('PUBLISH', string.sub(rates, 1, -3), '1 0 0\n' .. ARGV[1])
        if type(sent) == 'table' and sent.err then
          if once then redis.call('DEL', once) end
          return sent
        end
        return {0, room_wait, user_wait}
        """#)
}

/// One call of the script for passing on within limits.
package struct PassLimitedCall {
    /// The room's name as clients write it.
    package var room: UnsafeRawBufferPointer
    /// The members of the publication object.
    package var fields: UnsafeRawBufferPointer
    package var limits: ScriptLimits
    /// Who the idempotency key belongs to, and the key; both bounded by the caller. Nil: none.
    package var idempotency: (sender: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer)?

    package init(
        room: UnsafeRawBufferPointer, fields: UnsafeRawBufferPointer, limits: ScriptLimits,
        idempotency: (sender: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer)? = nil
    ) {
        self.room = room
        self.fields = fields
        self.limits = limits
        self.idempotency = idempotency
    }

    /// Appends the call, answered by an array (`PassLimitedResult`).
    package func append(to output: inout ByteBuffer, names: RedisNames) {
        RedisScript.passLimited.begin(keys: idempotency == nil ? 1 : 2, arguments: 4, in: &output)
        output.appendRateKey(room, names)
        if let idempotency {
            names.appendIdempotencyArgument(
                sender: idempotency.sender, key: idempotency.key, of: room, to: &output)
        }
        output.appendArgument(fields)
        output.append(limits)
    }
}

/// What became of passing on within limits.
package enum PassLimitedResult: Equatable, Sendable {
    /// Published here; how long the limits refuse the next one.
    case published(next: ScriptWaits)
    /// The key was known: published before; nothing was done now.
    case repeated
    /// The limits refused it, those whose wait is not 0; nothing was written.
    case limited(ScriptWaits)

    /// Reads the answer; nil when it is none.
    package init?(_ reply: RedisReply) {
        let state = reply[0]?.integer
        if state == 1, reply.count == 1 {
            self = .repeated
            return
        }
        guard reply.count == 3, let waits = ScriptWaits(reply, at: 1) else { return nil }
        switch state {
        case 0: self = .published(next: waits)
        case 2 where waits != .zero: self = .limited(waits)
        default: return nil
        }
    }
}
