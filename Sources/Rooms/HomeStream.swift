// What the home loop keeps of one room with history beside its members: the order in which publications are let
// through, the newest ones, the subscribers that wait, and the loops that are behind. Owned by the room's home loop;
// gone when its last member has left.
//
// Bounded: the tail by the room's options and `tailBytes`; the past by its one question and by time; the cursor by its
// limits; waiting subscribers by the rules; loops by their number.

import Bytes

/// The order of one room with history, at home.
final class HomeStream {
    /// Bytes of newest publications that are kept at home.
    static let tailBytes = 1 << 20
    /// How long the engine's answer is used at most. A storm of returning clients is shorter.
    static let pastAge = Duration.seconds(10)

    /// Which of the streams of this loop it is: answers to a former one of the room are recognised.
    let id: UInt64
    let options: HistoryOptions
    /// Most publications that a returning member may have missed: more are not kept, or not given.
    let mostMissed: Int
    /// Bytes of publications in a reply.
    let replyBytes: Int
    var cursor = StreamCursor()
    /// The newest publications, up to what was delivered; nil until the flow has begun.
    private(set) var tail: RoomStream?
    /// What lay before the tail, when somebody needed it.
    private(set) var past: Past?
    /// The epoch before this one and the last offset that both share.
    var former: StreamPosition?
    /// Subscribers that cannot be answered yet.
    private(set) var waiting: [Waiting] = []
    /// The question that waiting subscribers wait for.
    private(set) var question: Question?
    private var questionNumber: UInt32 = 0
    private var begun = MonotonicTime(nanoseconds: 0)
    /// A question to the engine failed and will be asked again.
    var isRetrying = false
    /// Subscribers who are ahead of this home are looked after in a while.
    var isWatching = false
    /// What was delivered when the gap was found that is being mended.
    var gapFrom: UInt64?
    /// Loops whose mailbox was full, each with the offset that it is to get next.
    var lagging: [Lag] = []
    /// Their mailboxes are tried again in a while.
    var isCatchingUp = false
    /// Replies to those who are let in at one go; nil: nobody is being let in.
    var replies: SharedReplies?

    /// A subscriber that waits.
    struct Waiting {
        enum Reason { case flow, past, arrival, lag }

        let attendance: Attendance
        /// For what: that the flow begins; for the engine's answer; that this home delivers what the subscriber has
        /// seen elsewhere; that its loop has caught up.
        var reason = Reason.flow
        /// The question that was asked for it, and how many there were.
        var question: UInt32?
        var questions = 0
        /// It has waited for an arrival long enough: the engine is to be asked.
        var isDue = false
    }

    /// A question to the engine on behalf of everybody who waits for one.
    struct Question {
        let number: UInt32
        /// Whether publications are asked for; else only the position.
        let isFill: Bool
    }

    /// The engine's answer: the newest publications at its time.
    struct Past {
        /// Offset of the first one; nothing before it can be recovered.
        let start: UInt64
        let entries: [Payload]
        let until: MonotonicTime
    }

    /// A loop that could not be told.
    struct Lag {
        let loop: Int
        /// The room there.
        let local: UInt64
        var next: UInt64
    }

    /// Whoever missed the same gets the same bytes.
    struct SharedReplies {
        var position = StreamPosition.none
        /// By the offset behind which they begin; an inner nil: too much for a reply.
        var byOffset: [UInt64: Payload?] = [:]
    }

    init(id: UInt64, options: HistoryOptions, recoveryLimit: Int, replyBytes: Int) {
        self.id = id
        self.options = options
        self.replyBytes = replyBytes
        mostMissed = max(0, min(options.size, recoveryLimit))
    }

    // MARK: The flow

    /// What was delivered, as a position.
    var position: StreamPosition { StreamPosition(offset: cursor.delivered, epoch: cursor.epoch) }

    /// The flow has begun, or begun anew, at `standing`.
    func adopt(_ standing: RoomStanding, now: MonotonicTime) {
        let position = standing.position
        cursor.adopt(position)
        former = standing.former
        past = nil
        guard tail?.epoch != position.epoch || tail?.top != position.offset else { return }
        let limits = RoomStream.Limits(entries: options.size, bytes: HomeStream.tailBytes, age: options.age)
        tail = RoomStream(epoch: position.epoch, top: position.offset, limits: limits)
        begun = now
    }

    /// A publication was let through.
    func append(_ fields: Payload, at offset: UInt64, now: MonotonicTime) {
        tail?.append(fields, at: offset, now: now)
    }

    /// The flow has ended; it is to begin anew.
    func stop() {
        question = nil
        gapFrom = nil
    }

    // MARK: Returning members

    /// Where a member that stands at `since` stands in the epoch that is followed; nil: nowhere.
    private func offset(of since: StreamPosition) -> UInt64? {
        if since.epoch == cursor.epoch { return since.offset }
        guard let former, since.epoch == former.epoch, since.offset <= former.offset else { return nil }
        return since.offset
    }

    /// What a member that stands at `since` is to be given, out of what is in memory.
    func decide(_ since: StreamPosition, now: MonotonicTime) -> RecoveryMerge {
        // What is too old to be asked for is too old to be recovered.
        tail?.trim(now: now)
        dropPast(now: now)
        guard let tail, let offset = offset(of: since) else { return .refused }
        if offset <= cursor.delivered, cursor.delivered - offset > UInt64(mostMissed) { return .refused }
        let answer = past.map { RecoveryMerge.Answer(start: $0.start, count: $0.entries.count) }
        let decision = RecoveryMerge.decide(since: offset, delivered: cursor.delivered, tail: tail, answer: answer)
        return decision == .ask && hasAll(now: now) ? .refused : decision
    }

    /// Whether nothing can be recovered but what the tail has: all before the flow has become too old, and what the
    /// tail had to drop is too much for a reply.
    private func hasAll(now: MonotonicTime) -> Bool {
        begun + options.age <= now && replyBytes <= HomeStream.tailBytes
    }

    /// The entries that a decision names, with their offsets.
    func entries(_ past: Range<Int>, _ tail: Range<UInt64>) -> [(UInt64, Payload)]? {
        var entries: [(UInt64, Payload)] = []
        entries.reserveCapacity(past.count + tail.count)
        if let known = self.past {
            for index in past { entries.append((known.start + UInt64(index), known.entries[index])) }
        }
        for offset in tail {
            guard let payload = self.tail?.payload(at: offset) else { return nil }
            entries.append((offset, payload))
        }
        return entries
    }

    /// How long the engine's answer is used. What is in it may have become too old meanwhile, by no more than this.
    var pastLifetime: Duration { min(HomeStream.pastAge, options.age / 8) }

    /// Keeps the engine's answer for a while. False: it contradicts itself and is not used.
    func keepPast(_ answer: HistoryAnswer, now: MonotonicTime) -> Bool {
        let count = UInt64(answer.entries.count)
        var first = answer.position.offset + 1
        if count > 0 {
            guard answer.start > 0, answer.start <= answer.position.offset else { return false }
            if answer.isReverse {
                guard count <= answer.start else { return false }
                first = answer.start - count + 1
            } else {
                guard count - 1 <= answer.position.offset - answer.start else { return false }
                first = answer.start
            }
        }
        past = Past(
            start: first, entries: answer.isReverse ? answer.entries.reversed() : answer.entries,
            until: now + pastLifetime)
        return true
    }

    /// Lets go of the engine's answer when its time is over.
    func dropPast(now: MonotonicTime) {
        if let until = past?.until, until <= now { past = nil }
    }

    // MARK: Waiting subscribers

    /// Puts a subscriber on the waiting list.
    func hold(_ subscriber: Waiting, for reason: Waiting.Reason) {
        var subscriber = subscriber
        subscriber.reason = reason
        subscriber.question = nil
        subscriber.isDue = false
        waiting.append(subscriber)
    }

    /// A subscriber has come: if it waits already, it has given that up, and may not fill the list by doing so often.
    func forget(_ comer: Attendance.Comer) {
        if waiting.isEmpty { return }
        waiting.removeAll { $0.attendance.comer == comer }
    }

    /// Takes off the list whoever `isMeant`, in the order of coming.
    func take(_ isMeant: (Waiting) -> Bool) -> [Waiting] {
        guard waiting.contains(where: isMeant) else { return [] }
        let taken = waiting.filter(isMeant)
        waiting.removeAll(where: isMeant)
        return taken
    }

    /// Takes off the list whoever waited for something that has now been delivered.
    func takeArrived() -> [Waiting] {
        if waiting.isEmpty { return [] }
        return take { $0.reason == .arrival && ($0.attendance.since?.offset ?? 0) <= cursor.delivered }
    }

    /// Whoever waits for an arrival has waited long enough. False: nobody does.
    func hurryArrivals() -> Bool {
        var isAny = false
        for index in waiting.indices where waiting[index].reason == .arrival {
            isAny = true
            if waiting[index].question == nil { waiting[index].isDue = true }
        }
        return isAny
    }

    /// The next question, for everybody who needs an answer; nil: nobody does, or one is on its way.
    func takeQuestion() -> Question? {
        guard question == nil else { return nil }
        let number = questionNumber == .max ? 1 : questionNumber + 1
        var isFill = false
        var isNeeded = false
        for index in waiting.indices {
            switch waiting[index].reason {
            case .past: isFill = true
            case .arrival where waiting[index].isDue: break
            case .arrival, .flow, .lag: continue
            }
            isNeeded = true
            waiting[index].isDue = false
            waiting[index].question = number
            waiting[index].questions += 1
        }
        guard isNeeded else { return nil }
        questionNumber = number
        let next = Question(number: number, isFill: isFill)
        question = next
        return next
    }

    /// The answer to the question `number` is there; nil: nobody waits for that one.
    func closeQuestion(_ number: UInt32) -> Question? {
        guard let open = question, open.number == number else { return nil }
        question = nil
        return open
    }

    // MARK: Loops

    /// Whether a loop is behind and still to be served.
    func isLagging(_ loop: Int) -> Bool { !lagging.isEmpty && lagging.contains { $0.loop == loop } }
}
