// Reading a room's stream: the history command, a client's recovery and the repair of a gap, in one round trip with the
// position that belongs to the answer.
//
// Called by the engine. What is kept is exactly the newest `historySize` publications that are younger than the
// history's TTL by Redis' clock (field t of each entry); older entries may still lie in the stream and are never shown.
// Offsets are contiguous and times ascend, so the oldest one is found by bisection. The stream is read in pieces, so
// that neither Redis nor the answer ever holds much more than `maxBytes`. Cost: HMGET, PTTL, TIME, one XRANGE of 1, and
// one for each 32 entries; log2(size) more when the oldest has expired.

package import Bytes

extension RedisScript {
    /// KEYS stream, record. ARGV term, fresh epoch, history TTL, size, mode, offset or empty, epoch or empty, limit,
    /// bytes. Answers `{state, top, epoch, previous epoch, shared offset, oldest, offset of the first entry,
    /// entries…}`.
    package static let history = RedisScript(
        "history", RoomRecordLua.opening, RoomRecordLua.enter,
        #"""
        local ttl, size, mode = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
        local since, wanted = int(ARGV[6]), ARGV[7]
        local limit, bytes = tonumber(ARGV[8]), tonumber(ARGV[9])
        local top, epoch, previous, shared = enter(ttl)
        if not top then return {9, epoch} end
        touch(ttl)
        local first = top + 1
        local answer = {0, top, epoch, previous, shared, first, 0}
        if wanted ~= '' and wanted ~= epoch then
          if wanted ~= previous or (since or 0) > shared then
            answer[1] = 2
            return answer
          end
        end
        if since and since > top and mode ~= 'b' then
          answer[1] = 3
          return answer
        end
        if limit == 0 then return answer end
        local cutoff = clock() - ttl
        local function range(...)
          local found = redis.pcall(...)
          return found.err and {} or found
        end
        local function parse(entry)
          local f = entry[2]
          if #f ~= 4 or f[1] ~= 'd' or f[3] ~= 't' then return end
          local offset, time = int(string.match(entry[1], '^(%d+)%-0$')), int(f[4])
          if offset and time then return offset, f[2], time > cutoff end
        end
        local function at(from)
          local found = range('XRANGE', KEYS[1], dec(from), dec(top), 'COUNT', 1)
          if found[1] then return parse(found[1]) end
        end
        local low, _, fresh = at(math.max(1, top - size + 1))
        if low then
          if fresh then
            first = low
          else
            local high = top + 1
            while high - low > 1 do
              local middle = math.floor((low + high) / 2)
              local _, _, young = at(middle)
              if young then high = middle else low = middle end
            end
            first = high
          end
        end
        answer[6] = first
        local from, to, step = math.max(first, (since or 0) + 1), top, 1
        if mode == 'b' then
          step, from, to = -1, top, first
          if since and since <= top then from = since - 1 end
        else
          if since and since + 1 < first then
            answer[1] = 1
            if mode == 'r' then return answer end
          end
          if mode == 'r' and top - since > limit then
            answer[1] = 4
            return answer
          end
        end
        local expected, left, state = from, limit, answer[1]
        answer[7] = math.max(from, 0)
        while left > 0 and (to - expected) * step >= 0 do
          local count = math.min(left, 32)
          local command = step > 0 and 'XRANGE' or 'XREVRANGE'
          local got = range(command, KEYS[1], dec(expected), dec(to), 'COUNT', count)
          for _, entry in ipairs(got) do
            local offset, data = parse(entry)
            if offset ~= expected then
              state, left = 1, 0
              break
            end
            bytes = bytes - #data
            if bytes < 0 then
              state, left = 5, 0
              break
            end
            answer[#answer + 1] = data
            expected = expected + step
            left = left - 1
          end
          if #got == 0 then
            state, left = 1, 0
          end
        end
        if mode == 'r' and (state == 1 or state == 5) then
          return {state == 1 and 1 or 4, top, epoch, previous, shared, first, 0}
        end
        answer[1] = state
        return answer
        """#)
}

/// What is to be read of a room's stream.
package enum HistoryMode: UInt8, Sendable {
    /// The first ones behind `since`, or the oldest; what is gone is left out.
    case forward
    /// The newest first, in front of `since`.
    case reverse
    /// Everything behind `since` up to the top, or nothing at all.
    case recover

    fileprivate var text: StaticString {
        switch self {
        case .forward: "f"
        case .reverse: "b"
        case .recover: "r"
        }
    }
}

/// One call of the history script.
package struct HistoryCall {
    package var room: UnsafeRawBufferPointer
    package var term: RedisTerm
    /// A fresh random epoch, in case the room needs one; not 0, never used twice.
    package var freshEpoch: UInt64
    package var historySize: Int
    package var historyTTL: Duration
    package var mode: HistoryMode
    /// Where the reader stands; epoch 0: whatever the current one is. Required for `recover`.
    package var since: RoomPosition?
    /// Entries at most; 0: only the position.
    package var limit: Int
    /// Bytes of all entries at most.
    package var maxBytes: Int

    package init(
        room: UnsafeRawBufferPointer, term: RedisTerm, freshEpoch: UInt64, historySize: Int, historyTTL: Duration,
        mode: HistoryMode, since: RoomPosition?, limit: Int, maxBytes: Int
    ) {
        self.room = room
        self.term = term
        self.freshEpoch = freshEpoch
        self.historySize = historySize
        self.historyTTL = historyTTL
        self.mode = mode
        self.since = since
        self.limit = limit
        self.maxBytes = maxBytes
    }

    /// Appends the call, answered by an array (`HistoryResult`).
    package func append(to output: inout ByteBuffer, names: RedisNames) {
        precondition(freshEpoch != 0 && historySize > 0 && limit >= 0 && maxBytes >= 0)
        precondition(mode != .recover || since != nil)
        RedisScript.history.begin(keys: 2, arguments: 9, in: &output)
        output.appendRoomKeys(room, names)
        output.appendArgument(term: term)
        output.appendArgument(hexadecimal: freshEpoch)
        output.appendArgument(milliseconds: historyTTL)
        output.appendArgument(decimal: UInt64(clamping: historySize))
        output.appendArgument(mode.text)
        if let since {
            // What a client claims may be any number; the script knows none above the largest, and none is that high.
            output.appendArgument(decimal: min(since.offset, ScriptText.largest - 1))
            output.appendArgument(epoch: since.epoch)
        } else {
            output.appendArgument("")
            output.appendArgument("")
        }
        output.appendArgument(decimal: UInt64(clamping: limit))
        output.appendArgument(decimal: UInt64(clamping: maxBytes))
    }
}

/// What the stream had to say.
package enum HistoryState: Int64, Sendable {
    /// All that was asked for.
    case complete = 0
    /// The entry behind `since` is gone; `recover` gives none, the others what there is.
    case trimmed = 1
    /// The epoch of `since` is not the stream's, and `since` is not shared with it: error 112.
    case otherEpoch = 2
    /// `since` lies behind the top.
    case ahead = 3
    /// `recover`: there is more than `limit` or `maxBytes`.
    case tooMuch = 4
    /// There would have been more within `limit`, but not within `maxBytes`.
    case cut = 5
}

/// The history script's answer; valid as long as its reply.
package struct HistoryResult {
    private static let head = 7
    private let reply: RedisReply
    package let state: HistoryState
    /// The room as it stood when its entries were read.
    package let record: RoomRecord
    /// The oldest offset that can still be had; one behind the top when there is none. Known for `limit` > 0 only.
    package let oldest: UInt64
    private let start: UInt64
    private let isReverse: Bool

    /// How reading an answer ended.
    package enum Reading {
        case result(HistoryResult)
        case staleTerm(RedisTerm?)
    }

    /// Reads the answer to a call of `mode`; nil when it is none.
    package static func read(_ reply: RedisReply, mode: HistoryMode) -> Reading? {
        if reply[0]?.integer == 9 { return .staleTerm(reply[1].flatMap { RedisTerm(parsing: $0.bytes) }) }
        guard let result = HistoryResult(reply, mode) else { return nil }
        return .result(result)
    }

    private init?(_ reply: RedisReply, _ mode: HistoryMode) {
        guard reply.count >= HistoryResult.head, let state = reply[0]?.integer.flatMap(HistoryState.init(rawValue:)),
            let record = RoomRecord(reply, at: 1), let oldest = ScriptText.offset(reply[5]),
            let start = ScriptText.offset(reply[6])
        else { return nil }
        self.reply = reply
        self.state = state
        self.record = record
        self.oldest = oldest
        self.start = start
        isReverse = mode == .reverse
        let count = UInt64(reply.count - HistoryResult.head)
        guard count > 0 else { return }
        // Then every offset is between 1 and the top, and none can overflow.
        guard start > 0, start <= record.top.offset, state != .otherEpoch, state != .ahead, state != .tooMuch,
            isReverse ? count <= start : count - 1 <= record.top.offset - start
        else { return nil }
        var areStrings = true
        reply.forEach(from: HistoryResult.head) { if $0.kind != .bulk { areStrings = false } }
        guard areStrings else { return nil }
    }

    /// Number of entries.
    package var count: Int { max(0, reply.count - HistoryResult.head) }

    /// Hands every entry to `body`, in the order of the reading: its offset and the members of its publication.
    package func forEachEntry(_ body: (_ offset: UInt64, _ fields: UnsafeRawBufferPointer) -> Void) {
        var index: UInt64 = 0
        reply.forEach(from: HistoryResult.head) { entry in
            body(isReverse ? start - index : start + index, entry.bytes)
            index += 1
        }
    }
}
