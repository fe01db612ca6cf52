// Rate limits inside the scripts that publish: GCRA as in Rooms/Limits/RateLimit.swift, on Redis' own clock, so that
// all nodes together keep one limit. The state is the hash P:{room}:r: a field for the room, one for each user with
// slow mode; a value is the time in microseconds at which the next publication would be due. Redis runs it.
//
// A field's name holds the limit that it belongs to. Nodes with different configurations (a rolling restart) therefore
// keep two limits beside each other instead of spoiling each other's.
//
// Bounded: the key lives as long as something in it matters. Each eighth write of a user looks at 32 fields and removes
// those that are over; with more than 65,536 fields it removes all that it looks at. Cost in Redis: TIME, HMGET, HSET,
// PTTL, now and then PEXPIRE, HLEN and HSCAN. Redis 5 has no HRANDFIELD: hence the cursor in the field c.
// An ACL that forbids the sweep's commands costs the sweep, not the publication.

import Bytes

/// The parts that limited publishing adds; they continue `RoomRecordLua.reading`.
enum RateLua {
    /// `rates` is the key, `room` and `user` are limits or empty, `talker` is whom the user's limit counts. Returns
    /// `{2, wait, wait}` when one of them refuses; nothing has been written then.
    static let judge = #"""
        local time = redis.call('TIME')
        local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
        local room_field, user_field = 'r ' .. room, 'u ' .. user .. ' ' .. talker
        local kept = redis.pcall('HMGET', rates, room_field, user_field, 'c')
        local foreign = kept.err
        if foreign then
          if not string.find(foreign, 'WRONGTYPE', 1, true) then return kept end
          kept = {}
        end
        local function admit(limit, value)
          local interval, tolerance = string.match(limit, '^(%d+) (%d+)')
          if not interval then return false, 0 end
          interval, tolerance = tonumber(interval), tonumber(tolerance)
          local due = math.max(int(value) or 0, micros)
          if due > micros + tolerance + 2 * interval then due = micros + tolerance end
          if due > micros + tolerance then return nil, due - tolerance - micros end
          due = due + interval
          return due, math.max(0, due - tolerance - micros)
        end
        local room_due, room_wait = admit(room, kept[1])
        local user_due, user_wait = admit(user, kept[2])
        if room_due == nil or user_due == nil then
          return {2, room_due == nil and room_wait or 0, user_due == nil and user_wait or 0}
        end

        """#

    /// Keeps what `judge` has found.
    static let charge = #"""
        local function sweep(cursor)
          local found = redis.pcall('HSCAN', rates, cursor, 'COUNT', '32')
          if found.err then return '0' end
          local size = redis.pcall('HLEN', rates)
          local full, over, all = type(size) == 'number' and size > 65536, {}, found[2]
          for i = 1, #all, 2 do
            local name = all[i]
            if name ~= 'c' and name ~= room_field and name ~= user_field then
              if full or (int(all[i + 1]) or 0) <= micros then over[#over + 1] = name end
            end
          end
          if #over > 0 then redis.call('HDEL', rates, unpack(over)) end
          return found[1]
        end
        if foreign then redis.call('UNLINK', rates) end
        if user_due then
          local cursor, rest = string.match(kept[3] or '', '^(%d+) (%d)$')
          local following = (cursor or '0') .. ' ' .. dec(((tonumber(rest) or 0) + 7) % 8)
          redis.call('HSET', rates, user_field, dec(user_due), 'c', following)
          if rest == '0' then redis.call('HSET', rates, 'c', sweep(cursor) .. ' 7') end
        end
        if room_due then redis.call('HSET', rates, room_field, dec(room_due)) end
        local life = math.ceil((math.max(room_due or 0, user_due or 0) - micros) / 1000) + 1000
        if redis.call('PTTL', rates) < life then redis.call('PEXPIRE', rates, dec(2 * life)) end

        """#
}

/// One limit as scripts take it, in microseconds.
package struct ScriptLimit: Equatable, Sendable {
    /// Time between two publications; at least 1.
    package var interval: UInt64
    /// How far they may run ahead of it.
    package var tolerance: UInt64

    package init(interval: UInt64, tolerance: UInt64) {
        self.interval = interval
        self.tolerance = tolerance
    }
}

/// The limits of one publish.
package struct ScriptLimits {
    package var room: ScriptLimit?
    package var user: ScriptLimit?
    /// Whom the user's limit counts; bounded by the caller.
    package var talker: UnsafeRawBufferPointer

    package init(room: ScriptLimit?, user: ScriptLimit?, talker: UnsafeRawBufferPointer) {
        self.room = room
        self.user = user
        self.talker = talker
    }
}

/// How long limits hold, in microseconds; 0: a publication would pass at once.
package struct ScriptWaits: Equatable, Sendable {
    package var room: UInt64
    package var user: UInt64

    package init(room: UInt64, user: UInt64) {
        self.room = room
        self.user = user
    }

    /// Neither holds.
    package static let zero = ScriptWaits(room: 0, user: 0)

    /// Reads two elements of an answer; nil when they are not what scripts send.
    init?(_ reply: RedisReply, at index: Int) {
        guard let room = ScriptText.offset(reply[index]), let user = ScriptText.offset(reply[index + 1]) else {
            return nil
        }
        self.init(room: room, user: user)
    }
}

extension ByteBuffer {
    /// Appends limits as the three arguments that `RateLua.judge` takes.
    mutating func append(_ limits: ScriptLimits) {
        append(limits.room)
        append(limits.user)
        appendArgument(limits.talker)
    }

    private mutating func append(_ limit: ScriptLimit?) {
        guard let limit else { return appendArgument("") }
        let length = ByteBuffer.digits(limit.interval) + 1 + ByteBuffer.digits(limit.tolerance)
        #if MARTLET_MUTANTS
        // A limit of this process alone: its name in the hash is one of its own.
        let mark = PlantedDefect.limitsPerNode.isOn ? PlantedDefect.processMark : 0
        let extra = mark == 0 ? 0 : 1 + ByteBuffer.digits(mark)
        #else
        let extra = 0
        #endif
        appendArgumentLength(length + extra)
        append(decimal: limit.interval)
        append(" ")
        append(decimal: limit.tolerance)
        #if MARTLET_MUTANTS
        if mark != 0 {
            append(" ")
            append(decimal: mark)
        }
        #endif
        endArgument()
    }
}
