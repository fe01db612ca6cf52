// Publishing with an idempotency key into a room without history: nothing is kept but the key, for as long as in rooms
// with history, so that a repeated publication reaches nobody twice. Without a key such rooms need no script.
//
// The key is written first: a server that refuses writes then publishes nothing, and one that forbids the channel gets
// its key taken back. Cost in Redis: EXISTS, SET, PUBLISH.

package import Bytes

extension RedisScript {
    /// KEYS the idempotency key. ARGV members of the publication. Answers `{state}`. The channel is the key's beginning
    /// up to the end of the hash tag; names are encoded, so there is no other brace in it.
    package static let publishOnce = RedisScript(
        "publish_once",
        #"""
        if redis.call('EXISTS', KEYS[1]) == 1 then return {1} end
        redis.call('SET', KEYS[1], '-', 'PX', 300000)
        local channel = string.sub(KEYS[1], 1, string.find(KEYS[1], '}', 1, true))
        local sent = redis.pcall('PUBLISH', channel, '1 0 0\n' .. ARGV[1])
        if type(sent) == 'table' and sent.err then
          redis.call('DEL', KEYS[1])
          return sent
        end
        return {0}
        """#)
}

/// One call of the script for publishing once.
package struct PublishOnceCall {
    /// The room's name as clients write it.
    package var room: UnsafeRawBufferPointer
    /// The members of the publication object.
    package var fields: UnsafeRawBufferPointer
    /// Who the idempotency key belongs to, and the key; both bounded by the caller.
    package var sender: UnsafeRawBufferPointer
    package var key: UnsafeRawBufferPointer

    package init(
        room: UnsafeRawBufferPointer, fields: UnsafeRawBufferPointer, sender: UnsafeRawBufferPointer,
        key: UnsafeRawBufferPointer
    ) {
        self.room = room
        self.fields = fields
        self.sender = sender
        self.key = key
    }

    /// Appends the call, answered by an array (`PublishOnceResult`).
    package func append(to output: inout ByteBuffer, names: RedisNames) {
        RedisScript.publishOnce.begin(keys: 1, arguments: 1, in: &output)
        names.appendIdempotencyArgument(sender: sender, key: key, of: room, to: &output)
        output.appendArgument(fields)
    }
}

/// What became of publishing once.
package enum PublishOnceResult: Equatable, Sendable {
    /// Published here.
    case published
    /// The key was known: published before; nothing was done now.
    case repeated

    /// Reads the answer; nil when it is none.
    package init?(_ reply: RedisReply) {
        guard reply.count == 1 else { return nil }
        switch reply[0]?.integer {
        case 0: self = .published
        case 1: self = .repeated
        default: return nil
        }
    }
}
