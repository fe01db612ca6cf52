// Vouching for a room when the master has begun a new life: called by each node, pipelined, for every room that it
// serves, before its term is opened. The room's top is compared with what the node has seen of it at the end of the
// life before. Lower, or another stream: the room gets a new epoch, so that no offset that somebody has seen is given
// away again. Equal or higher: the room is vouched for and nothing else changes, so nobody is told anything.
//
// A node that comes when the term is open already (it was frozen longer than a lease) is compared with the top that the
// room had when it entered the term. It vouches for nothing: others that saw more may be missing; a room that has not
// entered the term gets a new epoch from it, too. So does one whose record was not in the term in which the node has
// seen what it has seen: it comes from an older snapshot than that life began with, even if another node, which was
// away during that life, has vouched for it meanwhile.
//
// A node that has only published to a room vouches for nothing either: it may have seen little of it, and the one that
// saw more may have died so long ago that nobody waits for it. It says what is missing, and leaves a room from which
// nothing is missing as it is: then somebody who serves it vouches, or nobody does. A call may be repeated with the
// same arguments. Cost in Redis: HMGET, and HSET and PEXPIRE for each room and life.

package import Bytes

extension RedisScript {
    /// KEYS stream, record. ARGV term, fresh epoch, history TTL, offset, epoch and term that were seen, `1` when the
    /// node may vouch, `2` when it is in time and has only published, else `0`. Answers `{state, top, epoch, previous
    /// epoch, shared offset}`.
    package static let fence = RedisScript(
        "fence", RoomRecordLua.opening,
        #"""
        local ttl = tonumber(ARGV[3])
        local seen, epoch_seen = int(ARGV[4]) or 0, ARGV[5]
        local r = fields(KEYS[2], 'o', 'e', 't', 'p', 's', 'f', 'v')
        local top, epoch, previous, shared = int(r[1]), r[2], r[4] or '', int(r[5]) or 0
        if not is_epoch(previous) then previous = '' end
        if not top or not is_epoch(epoch) then
          if epoch_seen == ARGV[2] then return redis.error_reply(USED) end
          create(epoch_seen, ttl)
          return {1, 0, ARGV[2], epoch_seen, 0}
        end
        if r[3] ~= ARGV[1] and newer(r[3]) then return {9, r[3]} end
        local entered, bound = r[3] == ARGV[1], top
        local older = (order(entered and r[7] or r[3]) or -1) < (order(ARGV[6]) or -1)
        if epoch ~= epoch_seen and not older then return {2, top, epoch, previous, shared} end
        if entered and ARGV[6] ~= ARGV[1] then bound = math.min(top, int(r[6]) or 0) end
        if older then seen = bound + 1 end
        if ARGV[7] == '2' and not entered and seen <= bound then return {0, top, epoch, previous, shared} end
        if r[3] ~= ARGV[6] then ARGV[7] = '0' end
        if seen > bound or (not entered and ARGV[7] ~= '1') then
          if used(epoch, previous) then return redis.error_reply(USED) end
          renew(top, epoch, bound, ttl)
          return {1, top, ARGV[2], epoch, bound}
        end
        if not entered then
          redis.call('HSET', KEYS[2], 't', ARGV[1], 'v', r[3], 'f', dec(top))
          redis.call('PEXPIRE', KEYS[2], record_ttl(ttl))
        end
        return {0, top, epoch, previous, shared}
        """#)
}

/// One call of the fence script.
package struct FenceCall {
    package var room: UnsafeRawBufferPointer
    /// The term that begins.
    package var term: RedisTerm
    /// A fresh random epoch, in case the room needs one; not 0, never used twice.
    package var freshEpoch: UInt64
    package var historyTTL: Duration
    /// The last position that the node saw delivered or acknowledged before the life before ended, and the term in
    /// which it saw it. Taken down once, when the new life shows itself: what arrives later must not be counted in.
    package var seen: RoomPosition
    package var seenTerm: RedisTerm
    /// Whether the node is in time, so that the term waits for it. False: a room that has not entered the term is
    /// renewed, even if nothing that this node has seen is missing.
    package var mayVouch: Bool
    /// Whether members of the node were served up to what it has seen. False: it has only published, so it vouches for
    /// nothing, and a room from which nothing is missing stays as it is.
    package var isServed: Bool

    package init(
        room: UnsafeRawBufferPointer, term: RedisTerm, freshEpoch: UInt64, historyTTL: Duration, seen: RoomPosition,
        seenTerm: RedisTerm, mayVouch: Bool, isServed: Bool = true
    ) {
        self.room = room
        self.term = term
        self.freshEpoch = freshEpoch
        self.historyTTL = historyTTL
        self.seen = seen
        self.seenTerm = seenTerm
        self.mayVouch = mayVouch
        self.isServed = isServed
    }

    /// Appends the call, answered by an array (`FenceResult`).
    package func append(to output: inout ByteBuffer, names: RedisNames) {
        precondition(freshEpoch != 0 && seen.epoch != 0)
        RedisScript.fence.begin(keys: 2, arguments: 7, in: &output)
        output.appendRoomKeys(room, names)
        output.appendArgument(term: term)
        output.appendArgument(hexadecimal: freshEpoch)
        output.appendArgument(milliseconds: historyTTL)
        output.appendArgument(decimal: min(seen.offset, ScriptText.largest - 1))
        output.appendArgument(hexadecimal: seen.epoch)
        output.appendArgument(term: seenTerm)
        output.appendArgument(mayVouch ? (isServed ? "1" : "2") : "0")
    }
}

/// The fence script's answer. Whether members at the seen position can go on is `record.continues(seen)`; only after
/// `kept` need they not be told that the epoch is another.
package enum FenceResult: Equatable, Sendable {
    /// Nothing is missing; vouched for, if the node serves the room and is in time.
    case kept(RoomRecord)
    /// Something is missing, or nobody vouched in time: the room has got a new epoch.
    case renewed(RoomRecord)
    /// The room is in another epoch than the one that was seen; this node cannot vouch for it, nothing was changed.
    case otherEpoch(RoomRecord)
    /// The room is already in this later term.
    case staleTerm(RedisTerm?)

    /// Reads the answer; nil when it is none.
    package init?(_ reply: RedisReply) {
        guard let state = reply[0]?.integer else { return nil }
        if state == 9 {
            self = .staleTerm(reply[1].flatMap { RedisTerm(parsing: $0.bytes) })
            return
        }
        guard reply.count == 5, let record = RoomRecord(reply, at: 1) else { return nil }
        switch state {
        case 0: self = .kept(record)
        case 1: self = .renewed(record)
        case 2: self = .otherEpoch(record)
        default: return nil
        }
    }
}
