// What a node says each second: that it lives and has fenced, and a message to itself. One script, so that the message
// comes back from the very server that has renewed the lease: who hears it knows that its subscriptions reach the
// master that takes its writes. The answer tells the registry's state and which replication history the server has
// now: a server that became another one under a living connection (a replica that was promoted) is recognised by it.
// It also tells the node whether the others have taken it for dead, and which dead node it is to reap.
//
// The message is published first and by every call: a stale term or a server that takes no writes does not make a link
// deaf. Cost in Redis: PUBLISH, INFO of one section (below 10 µs), HMGET, HSET, PEXPIRE, and HGETALL of the registry.

package import Bytes

extension RedisScript {
    /// KEYS registry. ARGV term, node, lease, `1` when the node has fenced, channel, sequence, incarnation, `1` when
    /// that one is new after a death, `1` when the one before it is to be removed without a word, `1` when the node may
    /// reap, the incarnation that it has reaped. Answers `{state, replication id, incarnation to reap, how (l: tell, q:
    /// tell nobody), ms since it was last heard of, number, ms to wait at most, nodes waited for, living nodes…}`, or
    /// `{9, replication id, '', '', 0, term}`, or `{8, replication id}`: the node is dead.
    package static let beat = RedisScript(
        "beat", registryOpening,
        #"""
        redis.call('PUBLISH', ARGV[5], ARGV[6])
        local replication = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
        local lease = tonumber(ARGV[3])
        local r = registry()
        local number = int(r[1])
        if not number or not r[2] then return {9, replication, '', '', 0, ''} end
        local term = dec(number) .. '.' .. r[2]
        if term ~= ARGV[1] then return {9, replication, '', '', 0, term} end
        local node, incarnation = ARGV[2], ARGV[7]
        local known = redis.call('HMGET', KEYS[1], 'L:' .. node, 'I:' .. node, 'C:' .. node, 'D:' .. incarnation)
        if known[4] or not known[1] and ARGV[8] ~= '1' then return {8, replication} end
        if known[2] and known[2] ~= incarnation then
          local mode = ARGV[9] == '1' and 'W ' or 'w '
          redis.call('HSETNX', KEYS[1], 'D:' .. known[2], mode .. dec(now) .. ' ' .. dec(now))
        end
        local since = int(known[3])
        if (int(known[1]) or 0) <= now or not since or since > now then since = now end
        put('L:' .. node, dec(now + lease), 'I:' .. node, incarnation, 'C:' .. node, dec(since))
        redis.call('HDEL', KEYS[1], 'E:' .. node)
        isSenior, reaper, isFree, claim = now - since >= lease, incarnation, ARGV[10] == '1', lease
        if ARGV[11] ~= '' then
          local buried = redis.call('HGET', KEYS[1], 'D:' .. ARGV[11])
          local by = buried and select(4, string.match(buried, BURIED))
          if by == incarnation then put('D:' .. ARGV[11], 't ' .. dec(now) .. ' ' .. dec(now)) end
        end
        if ARGV[4] == '1' and r[4] ~= '1' then
          put('F:' .. node, '1')
          redis.call('HDEL', KEYS[1], 'W:' .. node)
        end
        local answer = settle(number, int(r[3]) or now, r[4] == '1', lease)
        if answer[2] ~= number then
          return {9, replication, '', '', 0, dec(answer[2]) .. '.' .. r[2]}
        end
        local told = {answer[1], replication, assigned, manner, died}
        for i = 2, #answer do told[#told + 1] = answer[i] end
        return told
        """#)
}

/// Renewing a node's lease, telling that it has fenced, asking whether the term is open and which server this is, and
/// probing the node's own channel.
package struct BeatCall {
    /// The registry's key.
    package var registry: [UInt8]
    package var term: RedisTerm
    /// This node.
    package var node: [UInt8]
    /// Every room that this node serves is fenced in this term.
    package var hasFenced: Bool
    /// The node's own channel.
    package var channel: [UInt8]
    /// What is published there, in decimal.
    package var sequence: UInt64
    package var lease: Duration
    /// The name under which the node brings members now; no space in it.
    package var incarnation: [UInt8]
    /// The incarnation is a new one, since the node was told that it is dead.
    package var isReborn = false
    /// What the incarnation before brought and this one did not is to be removed without a word: the store had lost
    /// something, and nobody was told of members who came or went.
    package var replacesQuietly = false
    /// The node can take a dead one's members out.
    package var mayReap = false
    /// The incarnation whose members it has taken out; empty: none.
    package var reaped: [UInt8] = []

    package init(
        registry: [UInt8], term: RedisTerm, node: [UInt8], hasFenced: Bool, channel: [UInt8], sequence: UInt64,
        lease: Duration = .seconds(5), incarnation: [UInt8]
    ) {
        self.registry = registry
        self.term = term
        self.node = node
        self.hasFenced = hasFenced
        self.channel = channel
        self.sequence = sequence
        self.lease = lease
        self.incarnation = incarnation
    }

    /// Appends the call, answered by an array (`BeatResult`).
    package func append(to output: inout ByteBuffer) {
        RedisScript.beat.begin(keys: 1, arguments: 11, in: &output)
        registry.withUnsafeBytes { output.appendArgument($0) }
        output.appendArgument(term: term)
        node.withUnsafeBytes { output.appendArgument($0) }
        output.appendArgument(milliseconds: lease)
        output.appendArgument(hasFenced ? "1" : "0")
        channel.withUnsafeBytes { output.appendArgument($0) }
        output.appendArgument(decimal: sequence)
        incarnation.withUnsafeBytes { output.appendArgument($0) }
        for flag in [isReborn, replacesQuietly, mayReap] { output.appendArgument(flag ? "1" : "0") }
        reaped.withUnsafeBytes { output.appendArgument($0) }
    }
}

/// A dead node's incarnation whose members are to be taken out.
package struct ReapOrder: Equatable, Sendable {
    package var incarnation: [UInt8]
    /// Nobody is told of it.
    package var isQuiet: Bool
    /// How long ago it was last heard of: the members' grace counts from then.
    package var silence: Duration

    package init(incarnation: [UInt8], isQuiet: Bool, silence: Duration) {
        self.incarnation = incarnation
        self.isQuiet = isQuiet
        self.silence = silence
    }
}

/// The beat script's answer.
package struct BeatResult: Equatable, Sendable {
    /// What the registry says; nil: the node was taken for dead, and its lease was not renewed. When the term opened by
    /// this call without somebody who was awaited, it has got the next number: `staleTerm` with it, as everybody else
    /// is told.
    package var result: TermResult?
    /// The replication id that the server has now, as INFO tells it: 40 hexadecimal digits.
    package var replication: [UInt8]
    /// The dead node that this one is to reap; nil: none.
    package var order: ReapOrder?

    /// Reads the answer; nil when it is none.
    package init?(_ reply: RedisReply) {
        guard let replication = reply[1], replication.kind == .bulk, replication.bytes.count == 40 else { return nil }
        self.replication = Array(replication.bytes)
        if reply[0]?.integer == 8 { return }
        guard let incarnation = reply[2], let manner = reply[3], let silence = ScriptText.offset(reply[4]),
            let result = TermResult(reply, at: 5)
        else { return nil }
        self.result = result
        guard !incarnation.bytes.isEmpty else { return }
        order = ReapOrder(
            incarnation: Array(incarnation.bytes), isQuiet: manner.isString("q"),
            silence: .milliseconds(Int64(clamping: silence)))
    }
}
