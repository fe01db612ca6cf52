// What every script of a room begins with: reading the room's record, making one, and entering a new term.
//
// The record is a hash: o top offset, e epoch, t term in which the room was last vouched for, f top at the moment when
// it entered that term, v the term in which it was before, p previous epoch and s the offset shared with it. Redis runs
// it; the engine only sends it. A record that makes no sense is replaced as if there were none: what Redis holds is
// never believed unseen (F39).
//
// A key of another type under one of a room's names is removed: it would keep the room shut for as long as it stands.
// Terms grow by one with each life of Redis; a number that none can have reached is nonsense, too.
//
// First writes are HSET or XADD, which a server out of memory, a replica or one that cannot persist refuses; so a
// script that is refused has changed nothing. Numbers are doubles in Lua: offsets end below 2^53 and are never written
// by tostring, which rounds beyond 14 digits.

/// The common opening of the room scripts.
enum RoomRecordLua {
    /// Numbers and epochs as records hold them.
    static let reading = #"""
        local TOP_LIMIT = 9007199254740990
        local function int(v)
          if v and #v > 0 and #v <= 16 and not string.find(v, '[^0-9]') then
            local n = tonumber(v)
            if n <= TOP_LIMIT then return n end
          end
        end
        local function dec(n) return string.format('%.0f', n) end
        local function is_epoch(v)
          return v and #v == 16 and not string.find(v, '[^0-9a-f]') and string.find(v, '[^0]')
        end

        """#

    /// KEYS[1] stream, KEYS[2] record, ARGV[1] the caller's term, ARGV[2] a fresh epoch in case one is needed.
    static let opening = reading + renewing

    private static let renewing = #"""
        local RECORD_TTL = 2592000000
        local function fields(key, ...)
          local r = redis.pcall('HMGET', key, ...)
          if not r.err then return r end
          if not string.find(r.err, 'WRONGTYPE', 1, true) then error(r) end
          redis.call('UNLINK', key)
          return {}
        end
        local TERM_LIMIT = 1000000000000
        local function order(t)
          local n = t and int(string.match(t, '^(%d+)%.'))
          if n and n < TERM_LIMIT then return n end
        end
        local function newer(t) return (order(t) or -1) > (order(ARGV[1]) or -1) end
        local function record_ttl(ttl) return dec(math.max(RECORD_TTL, 2 * ttl)) end
        local function renew(top, previous, shared, ttl)
          redis.call('HSET', KEYS[2], 'e', ARGV[2], 'o', dec(top), 't', ARGV[1], 'v', ARGV[1], 'f', dec(top),
            'p', previous, 's', dec(shared))
          redis.call('PEXPIRE', KEYS[2], record_ttl(ttl))
        end
        local function create(previous, ttl)
          renew(0, previous, 0, ttl)
          redis.call('UNLINK', KEYS[1])
        end
        local function used(epoch, previous) return ARGV[2] == epoch or ARGV[2] == previous end
        local USED = 'ERR the fresh epoch is already in use'

        """#

    /// Continues `opening`: the room as the caller's term finds it. `enter(ttl)` gives top, epoch, previous epoch and
    /// shared offset; or nil and the room's term when that is newer than the caller's.
    static let enter = #"""
        local function enter(ttl)
          local r = fields(KEYS[2], 'o', 'e', 't', 'p', 's')
          local top, epoch, previous, shared = int(r[1]), r[2], r[4] or '', int(r[5]) or 0
          if not top or not is_epoch(epoch) then
            create('', ttl)
            return 0, ARGV[2], '', 0
          end
          if r[3] ~= ARGV[1] then
            if newer(r[3]) then return nil, r[3] end
            if used(epoch, previous) then error({err = USED}) end
            renew(top, epoch, top, ttl)
            return top, ARGV[2], epoch, top
          end
          if not is_epoch(previous) then previous = '' end
          return top, epoch, previous, shared
        end
        local function touch(ttl)
          if redis.call('PTTL', KEYS[2]) * 2 < RECORD_TTL then
            redis.call('PEXPIRE', KEYS[2], record_ttl(ttl))
          end
        end
        local function clock()
          local t = redis.call('TIME')
          return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
        end

        """#

    /// Continues `opening`: the epoch's sixteen hexadecimal digits as the decimal number of the envelope, by long
    /// division in 16-bit steps, since a double does not hold 64 bits.
    static let decimalEpoch = #"""
        local function epoch_decimal(h)
          local high, rest = 0, 0
          for i = 1, 13, 4 do
            rest = rest * 65536 + tonumber(string.sub(h, i, i + 3), 16)
            high = high * 65536 + math.floor(rest / 100000000)
            rest = rest % 100000000
          end
          if high == 0 then return dec(rest) end
          return string.format('%.0f%08.0f', high, rest)
        end

        """#
}
