// The newest publications of one room in memory: the whole history of the embedded engine, and the tail that a room's
// home loop keeps of an active room, so that a storm of returning clients is answered without asking the engine.
//
// Owned by the room's home loop. Offsets are contiguous by construction; entries are immutable payloads (the members of
// the publication object), shared, never copied. Bounded by `Limits` in number, bytes and age: beyond one of them the
// oldest entries go. The entries' memory is allocated as they come, never for what the limit would allow.

package import Bytes

/// A room's stream in memory.
package struct RoomStream {
    /// Bounds of one stream; the oldest entries go first.
    package struct Limits: Sendable, Equatable {
        /// Entries that are kept.
        package var entries: Int
        /// Bytes that they have together; a single entry above it is numbered, but not kept.
        package var bytes: Int
        /// How long they are kept.
        package var age: Duration

        package init(entries: Int, bytes: Int, age: Duration) {
            self.entries = entries
            self.bytes = bytes
            self.age = age
        }
    }

    /// What is to be read.
    package enum Direction: Sendable {
        /// The first ones behind `since`, or the oldest; what is gone is left out.
        case forward
        /// The newest first, in front of `since`.
        case reverse
        /// Everything behind `since` up to the top, or nothing at all.
        case recover
    }

    /// How far a range is what was asked for.
    package enum Coverage: Sendable {
        /// All of it.
        case complete
        /// The entry behind `since` is gone.
        case trimmed
        /// `since` lies behind the top.
        case ahead
        /// `recover`: there is more than the limit or the bytes allow.
        case tooMuch
        /// There would be more within the limit, but not within the bytes.
        case cut
    }

    /// Offsets that can be read by `payload(at:)` until the stream is changed.
    package struct Range: Equatable, Sendable {
        package var coverage: Coverage
        /// Offset of the first entry in reading order; means nothing when `count` is 0.
        package var start: UInt64 = 0
        package var count = 0
        package var isReverse = false

        /// The offset of the entry at `index` < `count`.
        package func offset(at index: Int) -> UInt64 {
            precondition(index >= 0 && index < count)
            return isReverse ? start - UInt64(index) : start + UInt64(index)
        }
    }

    private struct Entry {
        var payload: Payload?
        var time = MonotonicTime(nanoseconds: 0)
    }

    private var ring: [Entry] = []
    private var head = 0
    /// The stream's life; never 0.
    package private(set) var epoch: UInt64
    /// The newest offset; 0 before the first publication.
    package private(set) var top: UInt64
    /// Entries that are kept.
    package private(set) var count = 0
    /// Their bytes.
    package private(set) var bytes = 0
    /// Bounds; a change takes effect with the next entry.
    package var limits: Limits

    /// An empty stream that continues behind `top`.
    package init(epoch: UInt64, top: UInt64 = 0, limits: Limits) {
        precondition(limits.entries >= 0 && limits.bytes >= 0)
        self.epoch = epoch
        self.top = top
        self.limits = limits
    }

    /// The oldest offset that can be read; one behind the top when there is none.
    package var oldest: UInt64 { top - UInt64(count) + 1 }

    /// The top as a position.
    package var position: StreamPosition { StreamPosition(offset: top, epoch: epoch) }

    /// Forgets everything and begins behind `top` in another life.
    package mutating func reset(epoch: UInt64, top: UInt64) {
        self = RoomStream(epoch: epoch, top: top, limits: limits)
    }

    /// Adds the next entry and returns its offset; nil, and nothing is added, when there are no offsets left.
    package mutating func append(_ payload: Payload, now: MonotonicTime) -> UInt64? {
        guard top < RoomStream.largestOffset else { return nil }
        top += 1
        push(payload, now)
        trim(now: now)
        return top
    }

    /// Adds an entry whose offset is known. What is not the next one breaks the tail: it then begins with this entry.
    /// An entry at or below the top is ignored.
    package mutating func append(_ payload: Payload, at offset: UInt64, now: MonotonicTime) {
        guard offset > top, offset <= RoomStream.largestOffset else { return }
        if offset != top + 1 { reset(epoch: epoch, top: offset - 1) }
        _ = append(payload, now: now)
    }

    /// Drops what is too old, too much or too many.
    package mutating func trim(now: MonotonicTime) {
        while count > 0 {
            let isOver = count > limits.entries || bytes > limits.bytes
            guard isOver || ring[head].time + limits.age <= now else { return }
            dropOldest()
        }
    }

    /// The members of the publication at `offset`; nil when it is not kept.
    package func payload(at offset: UInt64) -> Payload? {
        guard offset >= oldest, offset <= top else { return nil }
        return ring[(head + Int(offset - oldest)) & (ring.count - 1)].payload
    }

    /// What a reader gets that stands at `since` (nil: nowhere), at most `limit` entries of at most `maxBytes`
    /// together. Drops what is too old first. The reader's epoch is the caller's to compare.
    package mutating func query(
        since: UInt64?, limit: Int, direction: Direction, maxBytes: Int, now: MonotonicTime
    ) -> Range {
        trim(now: now)
        if direction != .reverse, let since, since > top { return Range(coverage: .ahead) }
        guard limit > 0 else { return Range(coverage: .complete) }
        switch direction {
        case .reverse:
            var start = top
            if let since, since <= top {
                guard since > 0 else { return Range(coverage: .complete) }
                start = since - 1
            }
            guard start >= oldest, count > 0 else { return Range(coverage: .complete) }
            let available = Int(clamping: start - oldest + 1)
            return measure(
                Range(coverage: .complete, start: start, count: min(limit, available), isReverse: true), maxBytes)
        case .forward:
            let start = max(since ?? 0, oldest - 1) + 1
            let isTrimmed = since.map { $0 + 1 < oldest } ?? false
            let available = Int(clamping: top - (start - 1))
            var range = measure(Range(coverage: .complete, start: start, count: min(limit, available)), maxBytes)
            if isTrimmed, range.coverage == .complete { range.coverage = .trimmed }
            return range
        case .recover:
            let since = since ?? 0
            guard since + 1 >= oldest else { return Range(coverage: .trimmed) }
            let available = Int(clamping: top - since)
            guard available <= limit else { return Range(coverage: .tooMuch) }
            let range = measure(Range(coverage: .complete, start: since + 1, count: available), maxBytes)
            return range.coverage == .cut ? Range(coverage: .tooMuch) : range
        }
    }

    // Offsets stay exact in every language of the clients (JavaScript, Lua): below 2⁵³.
    private static let largestOffset: UInt64 = (1 << 53) - 1

    /// Cuts `range` where its bytes exceed `maxBytes`.
    private func measure(_ range: Range, _ maxBytes: Int) -> Range {
        var left = maxBytes
        for index in 0..<range.count {
            left -= payload(at: range.offset(at: index))?.count ?? 0
            guard left < 0 else { continue }
            var cut = range
            cut.count = index
            cut.coverage = .cut
            return cut
        }
        return range
    }

    private mutating func push(_ payload: Payload, _ now: MonotonicTime) {
        if count == ring.count {
            var larger: [Entry] = []
            larger.reserveCapacity(max(4, count * 2))
            for index in 0..<count { larger.append(ring[(head + index) & (ring.count - 1)]) }
            while larger.count < max(4, count * 2) { larger.append(Entry()) }
            ring = larger
            head = 0
        }
        ring[(head + count) & (ring.count - 1)] = Entry(payload: payload, time: now)
        count += 1
        bytes += payload.count
    }

    private mutating func dropOldest() {
        bytes -= ring[head].payload?.count ?? 0
        ring[head].payload = nil
        head = (head + 1) & (ring.count - 1)
        count -= 1
        guard count == 0 else { return }
        head = 0
        ring = []
    }
}
