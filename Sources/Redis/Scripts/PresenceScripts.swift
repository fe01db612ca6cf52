// Who is in a room: entering, lingering (the connection broke, the grace runs), leaving, removing what a dead node
// brought, listing and counting. Each script touches the keys of one room and tells the room's channel of what it
// changed in the same step, so that the list and the events cannot disagree and no leave is told twice, however many
// nodes say the same.
//
// A member is a field of the hash: client → `node userLength\n` user info. What Redis holds is not believed unseen: a
// value that does not parse is nobody, a key of another type is removed (F39). The set of a node's members may hold
// too much (who moved to the node's next incarnation, who was replaced): whoever empties it looks at the hash first.
//
// Rooms above a size (`mostTold`) tell no single joins and leaves. Events go out as `2\n`, then for each of them
// `+ clientLength userLength infoLength\n` client user info, a leave with `-`. Calls are in PresenceCalls.swift.

extension RedisScript {
    // KEYS members, users, lingering, members of the node. ARGV node, scope (c, u), most told, TTL in ms, 1 when told.
    private static let presence = #"""
        local MEMBERS, USERS, LINGERING, BROUGHT = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
        local NODE, BY_USER, MOST_TOLD, IS_TOLD = ARGV[1], ARGV[2] == 'u', tonumber(ARGV[3]), ARGV[5] == '1'
        local function heal(key, kind)
          local is = redis.call('TYPE', key).ok
          if is ~= kind and is ~= 'none' then redis.call('UNLINK', key) end
        end
        heal(MEMBERS, 'hash')
        heal(USERS, 'hash')
        heal(LINGERING, 'hash')
        heal(BROUGHT, 'set')
        local function parse(value)
          if type(value) ~= 'string' then return end
          local node, length, start = string.match(value, '^([^ \n]+) (%d+)\n()')
          length = tonumber(length)
          if not node or start + length > #value then return end
          return node, string.sub(value, start, start + length - 1), string.sub(value, start + length)
        end
        local events, size = {}, 0
        local function send()
          if #events > 0 then
            redis.pcall('PUBLISH', string.sub(MEMBERS, 1, -3), '2\n' .. table.concat(events))
          end
          events, size = {}, 0
        end
        local function tell(sign, client, user, info)
          events[#events + 1] = sign .. ' ' .. #client .. ' ' .. #user .. ' ' .. #info .. '\n'
            .. client .. user .. info
          size = size + #events[#events]
          if size > 65536 then send() end
        end
        local function count(user, change)
          local left = redis.pcall('HINCRBY', USERS, user, change)
          if type(left) == 'table' then
            left = math.max(change, 0)
            redis.call('HSET', USERS, user, left)
          end
          if left <= 0 then redis.call('HDEL', USERS, user) end
          return left
        end
        -- A server that is out of memory refuses this one, so that no call ends half-way.
        local function try()
          redis.call('SADD', BROUGHT, ' ')
          redis.call('SREM', BROUGHT, ' ')
        end
        local function stay(user, client)
          local list = redis.call('HGET', LINGERING, user)
          if not list then return end
          local others = {}
          for other in string.gmatch(list, '%S+') do
            if other ~= client then others[#others + 1] = other end
          end
          if #others == 0 then
            redis.call('HDEL', LINGERING, user)
          else
            redis.call('HSET', LINGERING, user, table.concat(others, ' '))
          end
        end
        local function remove(client)
          local node, user, info = parse(redis.call('HGET', MEMBERS, client))
          if node ~= NODE then return false end
          local before, left = redis.call('HLEN', MEMBERS), count(user, -1)
          redis.call('HDEL', MEMBERS, client)
          stay(user, client)
          if IS_TOLD and before <= MOST_TOLD and (left <= 0 or user == '' or not BY_USER) then
            tell('-', client, user, info)
          end
          return true
        end

        """#

    /// KEYS as above. ARGV as above, most members (0: any number), then client, user and info of each. Answers for each
    /// of them 0 (entered), 1 (was there) or 2 (the room is full; nothing was changed).
    package static let enter = RedisScript(
        "enter", presence,
        #"""
        local most, answer = tonumber(ARGV[6]), {}
        for i = 7, #ARGV, 3 do
          local client, user, info = ARGV[i], ARGV[i + 1], ARGV[i + 2]
          local value = NODE .. ' ' .. #user .. '\n' .. user .. info
          local before, state = redis.call('HLEN', MEMBERS), 0
          if parse(redis.call('HGET', MEMBERS, client)) then
            redis.call('HSET', MEMBERS, client, value)
            redis.call('SADD', BROUGHT, client)
            stay(user, client)
            state = 1
          else
            local lost = user ~= '' and string.match(redis.call('HGET', LINGERING, user) or '', '^%S+')
            local _, former, shown = parse(lost and redis.call('HGET', MEMBERS, lost))
            if lost and former ~= user then
              stay(user, lost)
              lost = nil
            end
            if most > 0 and before - (lost and 1 or 0) >= most then
              state = 2
            else
              redis.call('HSET', MEMBERS, client, value)
              redis.call('SADD', BROUGHT, client)
              local connections = count(user, 1)
              if lost then
                redis.call('HDEL', MEMBERS, lost)
                count(user, -1)
                stay(user, lost)
              end
              if IS_TOLD and before + (lost and 0 or 1) <= MOST_TOLD then
                if lost and not BY_USER then tell('-', lost, user, shown) end
                if connections == 1 or user == '' or not BY_USER then tell('+', client, user, info) end
              end
            end
          end
          answer[#answer + 1] = state
        end
        for _, key in ipairs({MEMBERS, USERS, BROUGHT}) do redis.call('PEXPIRE', key, ARGV[4]) end
        send()
        return answer
        """#)

    /// KEYS as above. ARGV as above, then the clients that leave. Answers `{members removed}`.
    package static let exit = RedisScript(
        "exit", presence,
        #"""
        try()
        local removed = 0
        for i = 6, #ARGV do
          redis.call('SREM', BROUGHT, ARGV[i])
          if remove(ARGV[i]) then removed = removed + 1 end
        end
        send()
        return {removed}
        """#)

    /// KEYS as above. ARGV as above, then clients whose connection broke: the same user's next connection takes the
    /// place of one of them. Of one user the last sixteen are remembered. Answers `{members that linger}`.
    package static let linger = RedisScript(
        "linger", presence,
        #"""
        try()
        local lingering = 0
        for i = 6, #ARGV do
          local node, user = parse(redis.call('HGET', MEMBERS, ARGV[i]))
          if node == NODE and user ~= '' then
            stay(user, ARGV[i])
            local list = redis.call('HGET', LINGERING, user)
            list = (list and list .. ' ' or '') .. ARGV[i]
            if select(2, string.gsub(list, ' ', '')) > 15 then list = string.match(list, '^%S+ (.*)$') end
            redis.call('HSET', LINGERING, user, list)
            lingering = lingering + 1
          end
        end
        redis.call('PEXPIRE', LINGERING, ARGV[4])
        return {lingering}
        """#)

    /// KEYS as above, of a dead node. ARGV as above, then how many to remove at most. Answers `{members removed, left
    /// in the node's set}`.
    package static let reap = RedisScript(
        "reap", presence,
        #"""
        try()
        local removed = 0
        for _, client in ipairs(redis.call('SPOP', BROUGHT, ARGV[6])) do
          if remove(client) then removed = removed + 1 end
        end
        send()
        return {removed, redis.call('SCARD', BROUGHT)}
        """#)

    /// KEYS as above. ARGV as above. Keeps what is there from expiring. Answers `{}`.
    package static let touchPresence = RedisScript(
        "touch_presence", presence,
        #"""
        for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[4]) end
        return {}
        """#)

    /// KEYS members, users. ARGV cursor, members wanted, bytes wanted. Answers `{cursor, members, users, client, info,
    /// …}`: about as many members as wanted, or all that come behind the cursor; a cursor of 0: that was all. One that
    /// is there all the while comes at least once.
    package static let listMembers = RedisScript(
        "list_members",
        #"""
        local cursor, wanted, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
        local members, users = redis.pcall('HLEN', KEYS[1]), redis.pcall('HLEN', KEYS[2])
        if type(users) == 'table' then users = 0 end
        if type(members) == 'table' then return {'0', 0, users} end
        local answer, found, size = {'', members, users}, 0, 0
        while found < wanted and size < bytes do
          local page = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', math.min(wanted - found, 32))
          cursor = page[1]
          for i = 1, #page[2], 2 do
            local length, start = string.match(page[2][i + 1], '^[^ \n]+ (%d+)\n()')
            if length and start + length <= #page[2][i + 1] then
              answer[#answer + 1] = page[2][i]
              answer[#answer + 1] = string.sub(page[2][i + 1], start + length)
              found = found + 1
              size = size + #page[2][i + 1]
            end
          end
          if cursor == '0' then break end
        end
        answer[1] = cursor
        return answer
        """#)
}
