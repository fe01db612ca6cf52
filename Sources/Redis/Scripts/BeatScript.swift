// What a node says each second: that it lives and has fenced, and a message to itself. One script, so that the message
// comes back from the very server that has renewed the lease: who hears it knows that its subscriptions reach the
// master that takes its writes. The answer tells the registry's state and which replication history the server has
// now: a server that became another one under a living connection (a replica that was promoted) is recognised by it.
//
// The message is published first and by every call: a stale term or a server that takes no writes does not make a link
// deaf. Cost in Redis: PUBLISH, INFO of one section (below 10 µs), HMGET, HSET, PEXPIRE, and HGETALL of the registry.

package import Bytes

extension RedisScript {
    /// KEYS registry. ARGV term, node, lease, `1` when the node has fenced, channel, sequence. Answers `{state,
    /// replication id, number, ms to wait at most, nodes waited for, living nodes…}`, or `{9, replication id, term}`.
    package static let beat = RedisScript(
        "beat", registryOpening,
        #"""
        redis.call('PUBLISH', ARGV[5], ARGV[6])
        local replication = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
        local lease = tonumber(ARGV[3])
        local r = registry()
        local number = int(r[1])
        if not number or not r[2] then return {9, replication, ''} end
        local term = dec(number) .. '.' .. r[2]
        if term ~= ARGV[1] then return {9, replication, term} end
        put('L:' .. ARGV[2], dec(now + lease))
        if ARGV[4] == '1' and r[4] ~= '1' then
          put('F:' .. ARGV[2], '1')
          redis.call('HDEL', KEYS[1], 'W:' .. ARGV[2])
        end
        local answer = settle(number, int(r[3]) or now, r[4] == '1', lease)
        if answer[2] ~= number then return {9, replication, dec(answer[2]) .. '.' .. r[2]} end
        table.insert(answer, 2, replication)
        return answer
        """#)
}

/// Renewing a node's lease, telling that it has fenced, asking whether the term is open and which server this is, and
/// probing the node's own channel.
package struct BeatCall {
    /// The registry's key.
    package var registry: [UInt8]
    package var term: RedisTerm
    /// This node's incarnation.
    package var node: [UInt8]
    /// Every room that this node serves is fenced in this term.
    package var hasFenced: Bool
    /// The node's own channel.
    package var channel: [UInt8]
    /// What is published there, in decimal.
    package var sequence: UInt64
    package var lease: Duration

    package init(
        registry: [UInt8], term: RedisTerm, node: [UInt8], hasFenced: Bool, channel: [UInt8], sequence: UInt64,
        lease: Duration = .seconds(5)
    ) {
        self.registry = registry
        self.term = term
        self.node = node
        self.hasFenced = hasFenced
        self.channel = channel
        self.sequence = sequence
        self.lease = lease
    }

    /// Appends the call, answered by an array (`BeatResult`).
    package func append(to output: inout ByteBuffer) {
        RedisScript.beat.begin(keys: 1, arguments: 6, in: &output)
        registry.withUnsafeBytes { output.appendArgument($0) }
        output.appendArgument(term: term)
        node.withUnsafeBytes { output.appendArgument($0) }
        output.appendArgument(milliseconds: lease)
        output.appendArgument(hasFenced ? "1" : "0")
        channel.withUnsafeBytes { output.appendArgument($0) }
        output.appendArgument(decimal: sequence)
    }
}

/// The beat script's answer.
package struct BeatResult: Equatable, Sendable {
    /// What the registry says. When the term opened by this call without somebody who was awaited, it has got the next
    /// number: `staleTerm` with it, as everybody else is told.
    package var result: TermResult
    /// The replication id that the server has now, as INFO tells it: 40 hexadecimal digits.
    package var replication: [UInt8]

    /// Reads the answer; nil when it is none.
    package init?(_ reply: RedisReply) {
        guard let replication = reply[1], replication.kind == .bulk, replication.bytes.count == 40,
            let result = TermResult(reply, at: 2)
        else { return nil }
        self.result = result
        self.replication = Array(replication.bytes)
    }
}
