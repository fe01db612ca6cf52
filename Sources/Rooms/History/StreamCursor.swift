// The order of one room with history, as its home loop keeps it: of what pub/sub brings, late, twice or not at all, it
// lets through 1, 2, 3 …, asks the stream for what is missing, and says so when continuity cannot be kept.
//
//     starting ──adopt──▶ following ──gap, link restored, audit──▶ asking ──answer──▶ following
//                             └──────── another epoch, trimmed, fewer than delivered ────────▶ lost ──adopt──▶
//
// Owned by the room's home loop. Sans-IO: after every input the caller delivers what the verdict says, then pulls
// `next` until nil, then `takeRequest`. What comes while an answer is awaited is held, bounded by `Limits`; beyond that
// it is dropped and asked for later, since the stream still has it. Whatever a message claims is believed only as a
// reason to ask: a forged epoch or offset costs one question, never the members' continuity. One question at a time.

package import Bytes

/// Why members cannot go on from where they are.
package enum ContinuityLoss: UInt8, Sendable {
    /// The room has another epoch.
    case otherEpoch
    /// The stream no longer has what is missing.
    case trimmed
    /// The stream's top is below what was delivered: the store has lost something. The room is to be fenced.
    case regressed
}

/// What is to be asked of the engine. The number comes back with the answer, so that a late one is recognised.
package struct StreamRequest: Equatable, Sendable {
    package enum Kind: Equatable, Sendable {
        /// The room's position.
        case position
        /// The entries from the first to the second offset, both included.
        case range(UInt64, UInt64)
    }

    package var number: UInt32
    package var kind: Kind
}

/// The delivery order of one room.
package struct StreamCursor {
    /// Bounds of what is held while an answer is awaited.
    package struct Limits: Sendable {
        package var heldEntries = 1024
        package var heldBytes = 4 * 1024 * 1024
        /// Entries of one question.
        package var rangeEntries: UInt64 = 1024

        package init() {}
    }

    /// What to do with a publication that has just come.
    package enum Verdict: Equatable, Sendable {
        /// It is the expected one: deliver it now.
        case deliver
        /// It was delivered before, or means nothing: drop it.
        case drop
        /// It comes out of `next` or of the stream later.
        case later
    }

    /// A publication and its number.
    package struct Entry {
        package let offset: UInt64
        package let payload: Payload
    }

    enum Phase: Equatable { case starting, following, lost(ContinuityLoss) }

    // Offsets stay exact in every language of the clients (JavaScript, Lua): below 2⁵³. A message above it is a
    // forgery.
    static let largestOffset: UInt64 = (1 << 53) - 1

    private let limits: Limits
    private(set) var phase = Phase.starting
    /// The epoch that is followed; 0 while starting.
    package private(set) var epoch: UInt64 = 0
    /// The newest offset that was let through.
    package private(set) var delivered: UInt64 = 0
    // Ascending and behind `delivered`; all of one epoch.
    private var held: [Entry] = []
    private var heldEpoch: UInt64 = 0
    /// Bytes that are held.
    package private(set) var heldBytes = 0
    // The highest offset of the epoch that somebody spoke of.
    private var rumoured: UInt64 = 0
    private var rumouredWhenAsked: UInt64 = 0
    private var deliveredWhenAsked: UInt64 = 0
    private var isDoubtful = false
    // Something was dropped that may belong to the epoch that is adopted next.
    private var hasDropped = false
    private var isAsking = false
    private var asked: UInt64 = 0
    private var requestNumber: UInt32 = 0

    package init(limits: Limits = Limits()) {
        precondition(limits.rangeEntries > 0)
        self.limits = limits
    }

    /// Publications that are held.
    package var heldCount: Int { held.count }

    /// Why the members are to be told 2500, until `adopt`.
    package var loss: ContinuityLoss? {
        if case .lost(let loss) = phase { return loss }
        return nil
    }

    /// Whether `next` and `takeRequest` have nothing to say: the usual case, asked after every publication.
    package var isQuiet: Bool { held.isEmpty && !isDoubtful && rumoured <= delivered }

    /// Whether the stream is said to have more than was delivered.
    package var isBehind: Bool { rumoured > delivered }

    // MARK: Inputs

    /// Begins, or begins anew, at the position that members are told.
    package mutating func adopt(_ position: StreamPosition) {
        precondition(position.epoch != 0 && position.offset <= StreamCursor.largestOffset)
        if heldEpoch != position.epoch {
            hasDropped = hasDropped || !held.isEmpty
            release(all: true)
            rumoured = 0
        }
        phase = .following
        epoch = position.epoch
        heldEpoch = position.epoch
        delivered = position.offset
        rumoured = max(rumoured, position.offset)
        // The position is as old as its way here; what was dropped on that way is found by asking once more.
        isDoubtful = hasDropped
        hasDropped = false
        isAsking = false
        release(all: false)
    }

    /// A publication from pub/sub. `payload` is only made when it must be held.
    package mutating func live(
        offset: UInt64, epoch: UInt64, payload: @autoclosure () -> Payload
    ) -> Verdict {
        guard offset > 0, offset <= StreamCursor.largestOffset, epoch != 0 else { return .drop }
        switch phase {
        case .starting, .lost:
            if heldEpoch != epoch {
                hasDropped = hasDropped || heldEpoch != 0
                release(all: true)
                heldEpoch = epoch
                rumoured = 0
            }
            return hold(offset, payload)
        case .following:
            guard epoch == self.epoch else {
                // A new stream, a late message of the former one or a forgery: the store knows.
                isDoubtful = true
                hasDropped = true
                return .drop
            }
            guard offset > delivered else { return .drop }
            guard offset == delivered + 1 else { return hold(offset, payload) }
            delivered = offset
            if rumoured < offset { rumoured = offset }
            return .deliver
        }
    }

    /// The link was restored, or the room is audited: what came meanwhile, or did not, is unknown.
    package mutating func doubt() { if phase == .following { isDoubtful = true } }

    /// The stream was seen to have `offset` in the epoch that is followed.
    package mutating func hear(of offset: UInt64) {
        guard phase == .following, offset <= StreamCursor.largestOffset else { return }
        rumoured = max(rumoured, offset)
    }

    /// The next publication to be delivered, or nil.
    package mutating func next() -> Entry? {
        guard phase == .following else { return nil }
        release(all: false)
        guard let entry = held.first, entry.offset == delivered + 1 else { return nil }
        held.removeFirst()
        heldBytes -= entry.payload.count
        delivered = entry.offset
        return entry
    }

    /// The question that is due; its answer comes by `answered` or `failed`.
    package mutating func takeRequest() -> StreamRequest? {
        guard phase == .following, !isAsking, isDoubtful || rumoured > delivered else { return nil }
        isAsking = true
        requestNumber = requestNumber == .max ? 1 : requestNumber + 1
        deliveredWhenAsked = delivered
        rumouredWhenAsked = rumoured
        guard rumoured > delivered, !isDoubtful else {
            isDoubtful = false
            asked = 0
            return StreamRequest(number: requestNumber, kind: .position)
        }
        var last = rumoured
        if let first = held.first { last = max(delivered + 1, first.offset - 1) }
        if last - delivered > limits.rangeEntries { last = delivered + limits.rangeEntries }
        asked = last
        return StreamRequest(number: requestNumber, kind: .range(delivered + 1, last))
    }

    /// The question could not be answered; it is asked again by the next `takeRequest`, whose pace is the caller's.
    package mutating func failed(_ number: UInt32) {
        guard isAsking, number == requestNumber else { return }
        isAsking = false
        if asked == 0 { isDoubtful = true }
    }

    /// The answer: the room's position, and for a range its entries, `start` being the first one's offset. They may be
    /// fewer than asked for, from the beginning on; none for a range means that the first one is gone.
    package mutating func answered(
        _ number: UInt32, position: StreamPosition, start: UInt64 = 0, entries: [Payload] = []
    ) {
        guard phase == .following, isAsking, number == requestNumber else { return }
        isAsking = false
        guard position.epoch == epoch else { return lose(.otherEpoch) }
        guard position.offset >= deliveredWhenAsked else { return lose(.regressed) }
        // What was spoken of before the question and is not there was never published.
        if rumouredWhenAsked > position.offset { disbelieve(above: position.offset) }
        rumoured = max(rumoured, position.offset)
        guard asked > 0, asked > delivered, deliveredWhenAsked < position.offset else { return }
        guard !entries.isEmpty, start <= delivered + 1, start > 0,
            UInt64(entries.count) > delivered + 1 - start
        else {
            // Nothing of use in answer to a range that should be there. What came meanwhile may have made it useless.
            if delivered == deliveredWhenAsked { lose(.trimmed) }
            return
        }
        insert(start, entries)
    }

    // MARK: Holding

    private mutating func hold(_ offset: UInt64, _ payload: () -> Payload) -> Verdict {
        rumoured = max(rumoured, offset)
        let place = place(offset)
        if place < held.count, held[place].offset == offset { return .drop }
        guard held.count < limits.heldEntries else { return .later }
        let payload = payload()
        guard payload.count <= limits.heldBytes - heldBytes else { return .later }
        held.insert(Entry(offset: offset, payload: payload), at: place)
        heldBytes += payload.count
        return .later
    }

    /// Puts the answer in front of what is held. It is bounded by its question.
    private mutating func insert(_ start: UInt64, _ entries: [Payload]) {
        let skip = Int(clamping: delivered + 1 - start)
        var merged: [Entry] = []
        var offset = delivered + 1
        for payload in entries[skip...] {
            guard offset <= asked else { break }
            merged.append(Entry(offset: offset, payload: payload))
            heldBytes += payload.count
            offset += 1
        }
        for entry in held {
            if entry.offset >= offset { merged.append(entry) } else { heldBytes -= entry.payload.count }
        }
        held = merged
    }

    private mutating func disbelieve(above top: UInt64) {
        // Only up to what was known when the question went out: what came later may be newer than the answer.
        let suspect = rumouredWhenAsked
        let isSettled = rumoured <= suspect
        held.removeAll { entry in
            guard entry.offset > top, entry.offset <= suspect else { return false }
            heldBytes -= entry.payload.count
            return true
        }
        if isSettled { rumoured = max(delivered, held.last?.offset ?? 0) }
    }

    /// Lets go of what is held: everything, or what is already delivered.
    private mutating func release(all: Bool) {
        guard !held.isEmpty, all || held[0].offset <= delivered else { return }
        held.removeAll { entry in
            guard all || entry.offset <= delivered else { return false }
            heldBytes -= entry.payload.count
            return true
        }
    }

    private mutating func lose(_ loss: ContinuityLoss) {
        phase = .lost(loss)
        hasDropped = hasDropped || !held.isEmpty
        release(all: true)
        heldEpoch = 0
        rumoured = 0
        isDoubtful = false
    }

    private func place(_ offset: UInt64) -> Int {
        var low = 0
        var high = held.count
        while low < high {
            let middle = (low + high) / 2
            if held[middle].offset < offset { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
