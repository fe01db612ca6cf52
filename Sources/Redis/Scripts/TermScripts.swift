// The registry of terms: which life of the master counts, which nodes there are, and whether everybody who served rooms
// in the life before has fenced them. Called once after each new connection (announce), each second (beat, in a file of
// its own) and at an orderly end (leave).
//
// One hash, so one slot: n number, i life, a when it was announced (ms, Redis' clock), k open or not, x somebody left
// without having fenced; L:<node> when the node's lease ends; W:<node> the node is waited for; F:<node> it is not to be
// waited for: it has fenced before the term was open, or has left. The hash lives in the store that may have lost data:
// so nodes bring along what they remember, and a number never falls below one that a living node knows. Bounded by the
// nodes of a cluster; a node is forgotten one lease after its last call, by the others' calls.
//
// A new life waits for the nodes that announcing ones remember and for those whose lease, as this store has it, still
// runs. Older entries are not waited for: an old snapshot is full of nodes that ended long ago, and one that still
// lives is remembered by the others.
//
// The same leases say which nodes are dead, so that one survivor removes their members from the rooms. I:<node> is the
// node's incarnation: the name under which it brings members, `<node>:<number>`; C:<node> since when its lease has been
// renewed in time. A lease that has run out is buried by a node that has renewed its own for a whole lease, a whole
// lease after the life was announced, so that after an outage of Redis nobody is taken for dead who was only cut off
// like everybody else: the incarnation goes to
// D:<incarnation> = `mode time renewed reaper`. Modes: w (waits to be reaped), c (claimed by the reaper until time), t
// (done; remembered for a while, so that a node that wakes up late learns what has happened to it); W and C are the
// same for what nobody is to be told of. A node that is told that it is dead takes another incarnation and brings its
// members again. E:<node> is a lease that a new life of the master found expired: it is buried later, unless its node
// comes back first.
//
// A term that opens although somebody has not fenced gets the next number at that moment: who is missing may have seen
// more than those who vouched, so what they vouched for in the lower number does not count, and each room gets a new
// epoch when it is first touched.

package import Bytes

/// The scripts' common opening. KEYS[1] registry.
let registryOpening = #"""
    local REGISTRY_TTL = 86400000
    local function int(v)
      if v and #v > 0 and #v <= 16 and not string.find(v, '[^0-9]') then
        local n = tonumber(v)
        if n <= 9007199254740990 then return n end
      end
    end
    local function dec(n) return string.format('%.0f', n) end
    local TERM_LIMIT = 1000000000000
    local function registry()
      local r = redis.pcall('HMGET', KEYS[1], 'n', 'i', 'a', 'k')
      if r.err then
        if not string.find(r.err, 'WRONGTYPE', 1, true) then error(r) end
        redis.call('UNLINK', KEYS[1])
        return {}
      end
      if (int(r[1]) or 0) >= TERM_LIMIT then r[1] = false end
      return r
    end
    local function put(...) redis.call('HSET', KEYS[1], ...) end
    local t = redis.call('TIME')
    local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
    local TOMBSTONE = 600000
    local BURIED = '^(%a) (%d+) (%d+) ?(.*)$'
    local isSenior, reaper, isFree, claim = false, '', false, 5000
    local assigned, manner, died = '', '', 0
    local function mourn(field, value)
      local mode, time, renewed, by = string.match(value, BURIED)
      time, renewed = int(time), int(renewed)
      if not time or not renewed or time > now + 86400000 then
        redis.call('HDEL', KEYS[1], field)
      elseif mode == 't' then
        if now - time > TOMBSTONE then redis.call('HDEL', KEYS[1], field) end
      elseif by == reaper and reaper ~= '' and string.lower(mode) == 'c' then
        put(field, mode .. ' ' .. dec(now + claim) .. ' ' .. dec(renewed) .. ' ' .. by)
      elseif isFree and assigned == '' and time <= now then
        local isQuiet = mode == 'W' or mode == 'C'
        assigned, manner, died = string.sub(field, 3), isQuiet and 'q' or 'l', math.max(0, now - renewed)
        put(field, (isQuiet and 'C ' or 'c ') .. dec(now + claim) .. ' ' .. dec(renewed) .. ' ' .. reaper)
      end
    end
    local function bury(node, mode, due, renewed)
      local incarnation = redis.call('HGET', KEYS[1], 'I:' .. node)
      if incarnation then
        local field, value = 'D:' .. incarnation, mode .. ' ' .. dec(due) .. ' ' .. dec(renewed)
        if redis.call('HSETNX', KEYS[1], field, value) == 1 then mourn(field, value) end
      end
      redis.call('HDEL', KEYS[1], 'L:' .. node, 'I:' .. node, 'C:' .. node, 'E:' .. node)
    end
    local function scan(lease, open, announced)
      local awaited, living, all = 0, {}, redis.call('HGETALL', KEYS[1])
      local isSettled = open and isSenior and now - announced >= lease
      for i = 1, #all, 2 do
        local kind, node = string.sub(all[i], 1, 2), string.sub(all[i], 3)
        if kind == 'W:' then
          awaited = awaited + 1
        elseif kind == 'L:' then
          local ends = int(all[i + 1]) or 0
          if ends > now + lease then ends = 0 end
          if ends > now or not open then
            living[#living + 1] = node
          elseif isSettled then
            bury(node, 'w', now, math.max(0, ends - lease))
          end
        elseif kind == 'E:' and isSettled then
          bury(node, 'w', now, math.max(0, (int(all[i + 1]) or 0) - lease))
        elseif kind == 'D:' and open then
          mourn(all[i], all[i + 1])
        end
      end
      return awaited, living
    end
    local function settle(number, announced, open, lease)
      redis.call('PEXPIRE', KEYS[1], REGISTRY_TTL)
      if announced > now then
        announced = now
        put('a', dec(now))
      end
      local awaited, living = scan(lease, open, announced)
      if not open and (awaited == 0 or now - announced >= lease) then
        open = true
        if awaited > 0 or redis.call('HGET', KEYS[1], 'x') == '1' then
          number = number + 1
          put('n', dec(number))
        end
        put('k', '1')
        for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
          local kind = string.sub(field, 1, 2)
          if kind == 'W:' or kind == 'F:' then redis.call('HDEL', KEYS[1], field) end
        end
      end
      local wait = 0
      if not open then wait = announced + lease - now end
      local answer = {open and 0 or 1, number, wait, awaited}
      for _, node in ipairs(living) do answer[#answer + 1] = node end
      return answer
    end

    """#

extension RedisScript {
    /// KEYS registry. ARGV life, node, highest known number, lease, remembered nodes… Answers
    /// `{state, number, ms to wait at most, nodes waited for, living nodes…}`.
    package static let announceTerm = RedisScript(
        "announce_term", registryOpening,
        #"""
        local lease = tonumber(ARGV[4])
        local r = registry()
        local number, announced, open = int(r[1]), int(r[3]) or now, r[4] == '1'
        if not number or r[2] ~= ARGV[1] or number < int(ARGV[3]) then
          number, announced, open = math.max(number or 0, int(ARGV[3])) + 1, now, false
          put('n', dec(number), 'i', ARGV[1], 'a', dec(now), 'k', '0', 'x', '0')
          local all = redis.call('HGETALL', KEYS[1])
          for i = 1, #all, 2 do
            local kind, living = string.sub(all[i], 1, 2), (int(all[i + 1]) or 0) > now
            if kind == 'L:' and living then put('W:' .. string.sub(all[i], 3), '1') end
            if kind == 'F:' or kind == 'L:' and not living then redis.call('HDEL', KEYS[1], all[i]) end
            if kind == 'L:' and not living then put('E:' .. string.sub(all[i], 3), all[i + 1]) end
          end
        end
        local function await(node)
          if not open and redis.call('HEXISTS', KEYS[1], 'F:' .. node) == 0 then put('W:' .. node, '1') end
        end
        put('L:' .. ARGV[2], dec(now + lease))
        redis.call('HDEL', KEYS[1], 'E:' .. ARGV[2])
        await(ARGV[2])
        for i = 5, #ARGV do await(ARGV[i]) end
        return settle(number, announced, open, lease)
        """#)

    /// KEYS registry. ARGV term, node, lease, `1` when the node leaves members behind: the others give them their grace
    /// and remove them. Answers as `announceTerm`, or `{9, term}`.
    package static let leaveTerm = RedisScript(
        "leave_term", registryOpening,
        #"""
        local r = registry()
        local number, open = int(r[1]), r[4] == '1'
        if not number or not r[2] then return {9, ''} end
        local term = dec(number) .. '.' .. r[2]
        if term ~= ARGV[1] then return {9, term} end
        if not open then
          put('F:' .. ARGV[2], '1')
          if redis.call('HDEL', KEYS[1], 'W:' .. ARGV[2]) == 1 then put('x', '1') end
        end
        if ARGV[4] ~= '1' then redis.call('HDEL', KEYS[1], 'I:' .. ARGV[2]) end
        bury(ARGV[2], 'w', now, now)
        return settle(number, int(r[3]) or now, open, tonumber(ARGV[3]))
        """#)
}

/// Announcing the life in which a new connection finds the master.
package struct AnnounceTermCall {
    /// The registry's key.
    package var registry: [UInt8]
    /// The master's life; not 0.
    package var life: UInt64
    /// This node's incarnation.
    package var node: [UInt8]
    /// The highest number of a term that this node knows.
    package var highestKnown: UInt64
    /// The other nodes of the registry that this node saw last.
    package var remembered: [[UInt8]]
    package var lease: Duration

    package init(
        registry: [UInt8], life: UInt64, node: [UInt8], highestKnown: UInt64, remembered: [[UInt8]],
        lease: Duration = .seconds(5)
    ) {
        self.registry = registry
        self.life = life
        self.node = node
        self.highestKnown = highestKnown
        self.remembered = remembered
        self.lease = lease
    }

    /// Appends the call, answered by an array (`TermResult`).
    package func append(to output: inout ByteBuffer) {
        precondition(life != 0)
        RedisScript.announceTerm.begin(keys: 1, arguments: 4 + remembered.count, in: &output)
        registry.withUnsafeBytes { output.appendArgument($0) }
        output.appendArgument(hexadecimal: life)
        node.withUnsafeBytes { output.appendArgument($0) }
        output.appendArgument(decimal: min(highestKnown, ScriptText.largest - 3))
        output.appendArgument(milliseconds: lease)
        for other in remembered { other.withUnsafeBytes { output.appendArgument($0) } }
    }
}

/// Taking a node that ends in good order out of the registry, so that nobody waits for it. A node that is still awaited
/// leaves without having vouched: the term then opens with the next number.
package struct LeaveCall {
    /// The registry's key.
    package var registry: [UInt8]
    /// The term that the node is in. It must be the one of the master's present life, or the node's absence would hide
    /// what it has seen: a connection on which no term was announced or confirmed must not leave.
    package var term: RedisTerm
    /// This node's incarnation.
    package var node: [UInt8]
    package var lease: Duration
    /// Members that this node brought are still in their rooms.
    package var leavesMembers: Bool

    package init(
        registry: [UInt8], term: RedisTerm, node: [UInt8], lease: Duration = .seconds(5), leavesMembers: Bool = false
    ) {
        self.registry = registry
        self.term = term
        self.node = node
        self.lease = lease
        self.leavesMembers = leavesMembers
    }

    /// Appends the call, answered by an array (`TermResult`): the term as the others find it now. After `staleTerm`
    /// nothing was removed; the node is forgotten when its lease ends.
    package func append(to output: inout ByteBuffer) {
        RedisScript.leaveTerm.begin(keys: 1, arguments: 4, in: &output)
        registry.withUnsafeBytes { output.appendArgument($0) }
        output.appendArgument(term: term)
        node.withUnsafeBytes { output.appendArgument($0) }
        output.appendArgument(milliseconds: lease)
        output.appendArgument(leavesMembers ? "1" : "0")
    }
}

/// The registry's answer.
package enum TermResult: Equatable, Sendable {
    /// The term of this number is open for publishing. `nodes` are to be remembered.
    case open(number: UInt64, nodes: [[UInt8]])
    /// The term is not open: error 120. It opens when `awaited` nodes have fenced, or after `wait` at the latest.
    case closed(number: UInt64, wait: Duration, awaited: Int, nodes: [[UInt8]])
    /// Another term counts, or (nil) the registry is gone: announce again.
    case staleTerm(RedisTerm?)

    /// Reads the answer; nil when it is none.
    package init?(_ reply: RedisReply) { self.init(reply, at: 1) }

    /// Reads the answer whose parts behind the state begin at `first`.
    init?(_ reply: RedisReply, at first: Int) {
        guard let state = reply[0]?.integer else { return nil }
        if state == 9 {
            self = .staleTerm(reply[first].flatMap { RedisTerm(parsing: $0.bytes) })
            return
        }
        guard state == 0 || state == 1, let number = ScriptText.offset(reply[first]),
            let wait = ScriptText.offset(reply[first + 1]), let awaited = ScriptText.offset(reply[first + 2])
        else { return nil }
        var nodes: [[UInt8]] = []
        var areStrings = true
        reply.forEach(from: first + 3) { node in
            if node.kind != .bulk { areStrings = false }
            nodes.append(Array(node.bytes))
        }
        guard areStrings else { return nil }
        self =
            state == 0
            ? .open(number: number, nodes: nodes)
            : .closed(
                number: number, wait: .milliseconds(Int64(clamping: wait)), awaited: Int(clamping: awaited),
                nodes: nodes)
    }
}
