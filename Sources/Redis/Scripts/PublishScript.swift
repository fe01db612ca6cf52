// Publishing into a room with history: one script, one round trip. Repeat or offset, append, TTLs and PUBLISH happen in
// one step that nobody can come between, so that the channel carries the room's one order and an answer means kept.
//
// Called by the engine for every such publish. Cost in Redis: HMGET, TIME, XADD, HSET, two PEXPIRE, PUBLISH; with a key
// also GET and SET. The stream is trimmed by whole nodes (`~`), which is cheap; readers clip it to its exact size. A
// room with limits has a script of its own, made of the same parts (RateLua), so that the others pay nothing for it.

package import Bytes

extension RedisScript {
    /// KEYS stream, record, and with a key the idempotency key. ARGV term, fresh epoch, size, history TTL, offset and
    /// epoch that the node has seen, members of the publication. Answers `{state, offset, epoch}`.
    package static let publish = RedisScript(
        "publish", RoomRecordLua.opening, RoomRecordLua.enter, RoomRecordLua.decimalEpoch,
        "local once = KEYS[3]\n", PublishLua.repetition, PublishLua.append, PublishLua.send,
        "return {0, offset, epoch}\n")

    /// KEYS stream, record, rates, and with a key the idempotency key. ARGV as `publish`, then limit of the room, limit
    /// of a user, talker. Answers `{0, offset, epoch, wait, wait}`, `{1, offset, epoch}` or `{2, wait, wait}`: waits
    /// for room and user in microseconds.
    package static let publishLimited = RedisScript(
        "publish_limited", RoomRecordLua.opening, RoomRecordLua.enter, RoomRecordLua.decimalEpoch,
        "local once, rates, room, user, talker = KEYS[4], KEYS[3], ARGV[8], ARGV[9], ARGV[10]\n",
        PublishLua.repetition, RateLua.judge, PublishLua.append, RateLua.charge, PublishLua.send,
        "return {0, offset, epoch, room_wait, user_wait}\n")
}

/// The parts of publishing into a room with history.
private enum PublishLua {
    /// `once` is the idempotency key, or nil.
    static let repetition = #"""
        if once then
          local known = redis.pcall('GET', once)
          if type(known) == 'string' then
            local epoch, offset = string.match(known, '^(%x+) (%d+)$')
            offset = int(offset)
            if offset and is_epoch(epoch) then return {1, offset, epoch} end
          end
        end

        """#

    /// Gives `offset` and `epoch` after the first writes, which a server that takes none refuses.
    static let append = #"""
        local ttl = tonumber(ARGV[4])
        local top, epoch, previous = enter(ttl)
        if not top then return {9, epoch} end
        local seen = int(ARGV[5]) or 0
        if ARGV[6] == epoch and seen > top then
          if used(epoch, previous) then return redis.error_reply(USED) end
          renew(top, epoch, top, ttl)
          epoch, previous = ARGV[2], epoch
        end
        local offset = top + 1
        local now = dec(clock())
        local function append()
          return redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], dec(offset) .. '-0', 'd', ARGV[7], 't', now)
        end
        local added = append()
        local refused = type(added) == 'table' and added.err or ''
        if string.find(refused, 'equal or smaller', 1, true) or string.find(refused, 'WRONGTYPE', 1, true) then
          if ARGV[2] ~= epoch then
            renew(top, epoch, top, ttl)
            epoch = ARGV[2]
          end
          redis.call('UNLINK', KEYS[1])
          added = append()
        end
        if type(added) == 'table' and added.err then return added end
        redis.call('HSET', KEYS[2], 'o', dec(offset))
        redis.call('PEXPIRE', KEYS[1], ARGV[4])
        redis.call('PEXPIRE', KEYS[2], record_ttl(ttl))

        """#

    static let send = #"""
        if once then
          redis.call('SET', once, epoch .. ' ' .. dec(offset), 'PX', 300000)
        end
        redis.call('PUBLISH', string.sub(KEYS[2], 1, -3),
          '1 ' .. dec(offset) .. ' ' .. epoch_decimal(epoch) .. '\n' .. ARGV[7])

        """#
}

/// One call of the publish script.
package struct PublishCall {
    /// The room's name as clients write it.
    package var room: UnsafeRawBufferPointer
    /// The members of the publication object.
    package var fields: UnsafeRawBufferPointer
    /// Who the idempotency key belongs to, and the key; both bounded by the caller. Nil: none.
    package var idempotency: (sender: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer)?
    /// The caller's term.
    package var term: RedisTerm
    /// A fresh random epoch, in case the room needs one; not 0, never used twice.
    package var freshEpoch: UInt64
    /// The last position of the room that this node has seen delivered or acknowledged; nil: none. A room that stands
    /// lower has lost something and gets the fresh epoch before it gives an offset away again.
    package var seen: RoomPosition?
    /// Publications that the room keeps, and how long.
    package var historySize: Int
    package var historyTTL: Duration
    /// The room's limits; nil: none.
    package var limits: ScriptLimits?

    package init(
        room: UnsafeRawBufferPointer, fields: UnsafeRawBufferPointer, term: RedisTerm, freshEpoch: UInt64,
        historySize: Int, historyTTL: Duration, seen: RoomPosition? = nil,
        idempotency: (sender: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer)? = nil,
        limits: ScriptLimits? = nil
    ) {
        self.room = room
        self.fields = fields
        self.term = term
        self.freshEpoch = freshEpoch
        self.historySize = historySize
        self.historyTTL = historyTTL
        self.seen = seen
        self.idempotency = idempotency
        self.limits = limits
    }

    /// Appends the call, answered by an array (`PublishResult`).
    package func append(to output: inout ByteBuffer, names: RedisNames) {
        precondition(freshEpoch != 0 && historySize > 0)
        let keys = idempotency == nil ? 2 : 3
        if limits == nil {
            RedisScript.publish.begin(keys: keys, arguments: 7, in: &output)
        } else {
            RedisScript.publishLimited.begin(keys: keys + 1, arguments: 10, in: &output)
        }
        output.appendRoomKeys(room, names)
        if limits != nil { output.appendRateKey(room, names) }
        if let idempotency {
            names.appendIdempotencyArgument(
                sender: idempotency.sender, key: idempotency.key, of: room, to: &output)
        }
        output.appendArgument(term: term)
        output.appendArgument(hexadecimal: freshEpoch)
        output.appendArgument(decimal: UInt64(clamping: historySize))
        output.appendArgument(milliseconds: historyTTL)
        output.appendArgument(decimal: seen?.offset ?? 0)
        output.appendArgument(epoch: seen?.epoch ?? 0)
        output.appendArgument(fields)
        if let limits { output.append(limits) }
    }
}

/// The publish script's answer.
package enum PublishResult: Equatable, Sendable {
    /// Appended and published here.
    case published(RoomPosition)
    /// The key was known: appended here before; nothing was written now.
    case repeated(RoomPosition)
    /// The limits refused it, those whose wait is not 0; nothing was written.
    case limited(ScriptWaits)
    /// The room is already in this later term; nothing was written. The caller's term is over: error 120.
    case staleTerm(RedisTerm?)

    /// Reads the answer; nil when it is none, and its connection is not to be trusted any more.
    package init?(_ reply: RedisReply) {
        guard let state = reply[0]?.integer else { return nil }
        if state == 9 {
            self = .staleTerm(reply[1].flatMap { RedisTerm(parsing: $0.bytes) })
            return
        }
        if state == 2 {
            guard reply.count == 3, let waits = ScriptWaits(reply, at: 1), waits != .zero else { return nil }
            self = .limited(waits)
            return
        }
        guard state == 0 || state == 1, reply.count == 3 || (state == 0 && reply.count == 5),
            let offset = ScriptText.offset(reply[1]), offset > 0, let epoch = ScriptText.epoch(reply[2]),
            reply.count == 3 || ScriptWaits(reply, at: 3) != nil
        else { return nil }
        let position = RoomPosition(offset: offset, epoch: epoch)
        self = state == 0 ? .published(position) : .repeated(position)
    }

    /// What the answer `published` of a room with limits says of the next publication; nil for every other answer.
    package static func waits(_ reply: RedisReply) -> ScriptWaits? {
        reply.count == 5 ? ScriptWaits(reply, at: 3) : nil
    }
}
