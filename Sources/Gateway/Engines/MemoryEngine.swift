// The engine of a single process: what is published is received, nothing else exists. The default, and the reference
// that RedisEngine is compared with in the conformance suite. One instance per loop; since a room's home is one loop,
// instances need not know each other. Never unavailable.
//
// Keeps one entry per room that is subscribed, has members or has a past. A past is bounded by the room's options and
// `streamBytes`; a room without subscribers whose past is over is forgotten, at the latest `sweepInterval` publishes
// and reads later. Its next life has another epoch, so nobody mistakes it for the old one. What limits know of rooms
// and users lies beside them, bounded by `RateLedger`.

package import Bytes
package import Rooms

/// An engine for one process.
package final class MemoryEngine: Engine {
    /// Bytes of publications that one room keeps.
    package static let streamBytes = 16 << 20
    private static let sweepInterval = 1024

    struct Room {
        var isSubscribed = false
        var stream: RoomStream?
        /// When the stream last changed or was asked for.
        var touched = MonotonicTime(nanoseconds: 0)
        /// Who is there, in rooms that keep track; nil: nobody.
        var members: PresenceSet?

        /// Whether nobody needs it any more.
        var isUnused: Bool { !isSubscribed && stream == nil && members == nil }
    }

    // Strong: a weak load per message would cost more than the engine. `shutdown` breaks the cycle.
    package var delegate: (any EngineDelegate)?
    private var names = NameTable()
    var rooms: [Room] = []
    package internal(set) var memberCount = 0
    private var keys = IdempotencyCache()
    private var rates = RateLedger()
    private var random: SeededRandom
    private let now: () -> MonotonicTime
    private var untilSweep = MemoryEngine.sweepInterval

    /// An engine whose time is `now` and whose epochs come from `random`.
    package init(now: @escaping () -> MonotonicTime, random: SeededRandom = .system()) {
        self.now = now
        self.random = random
    }

    package var isAvailable: Bool { true }
    package var isStoreKnown: Bool { true }

    package func publish(
        room: UnsafeRawBufferPointer, fields: UnsafeRawBufferPointer, options: PublishOptions, ticket: Ticket
    ) {
        let now = now()
        if !options.key.isEmpty,
            let known = keys.find(room: room, sender: options.sender, key: options.key, now: now)
        {
            delegate?.published(ticket, .taken(known))
            return
        }
        let judgement = options.limits.map { rates.judge(room: room, talker: options.talker, $0, now: now) }
        if let judgement, !judgement.isAdmitted {
            delegate?.published(ticket, .limited(judgement.waits))
            return
        }
        var position = StreamPosition.none
        if let history = options.history {
            let number = make(room)
            guard let appended = append(number, fields, history, now) else {
                delegate?.published(ticket, .failed(.unavailable))
                return
            }
            position = appended
        }
        if let judgement { rates.charge(room: room, talker: options.talker, judgement, now: now) }
        if !options.key.isEmpty {
            keys.insert(room: room, sender: options.sender, key: options.key, position: position, now: now)
        }
        if let number = find(room), rooms[Int(number)].isSubscribed {
            delegate?.received(room: room, position: position, fields: fields)
        }
        delegate?.published(ticket, .taken(position, next: judgement?.waits))
        sweepSometimes(now)
    }

    package func subscribe(room: UnsafeRawBufferPointer, history: HistoryOptions?) {
        let number = make(room)
        rooms[Int(number)].isSubscribed = true
        let position = history.map { stream(number, $0, now()).position } ?? .none
        delegate?.subscribed(room: room, .success(RoomStanding(position)))
    }

    package func unsubscribe(room: UnsafeRawBufferPointer) {
        guard let number = find(room) else { return }
        rooms[Int(number)].isSubscribed = false
        // From here on its past is kept for as long as its options say: its members may come back.
        rooms[Int(number)].touched = now()
        removeIfUnused(number)
    }

    package func read(room: UnsafeRawBufferPointer, history: HistoryOptions, _ query: HistoryQuery, tag: ReadTag) {
        let number = make(room)
        let now = now()
        var stream = stream(number, history, now)
        var answer = HistoryAnswer(
            standing: RoomStanding(stream.position), isContinuous: query.since.map { $0.epoch == stream.epoch } ?? true,
            coverage: .complete)
        if answer.isContinuous {
            let range = stream.query(
                since: query.since?.offset, limit: query.limit, direction: query.direction, maxBytes: query.maxBytes,
                now: now)
            answer.coverage = range.coverage
            answer.start = range.start
            answer.isReverse = range.isReverse
            answer.entries = (0..<range.count).compactMap { stream.payload(at: range.offset(at: $0)) }
        }
        rooms[Int(number)].stream = stream
        delegate?.read(room: room, tag: tag, .success(answer))
        // Reading makes rooms, too: nobody may fill the memory by asking for ever new names.
        sweepSometimes(now)
    }

    package func shutdown() {
        names = NameTable()
        rooms = []
        delegate = nil
    }

    // MARK: Rooms

    func find(_ room: UnsafeRawBufferPointer) -> UInt32? {
        names.count > 0 ? names.find(room, hash: NameTable.hash(room)) : nil
    }

    func make(_ room: UnsafeRawBufferPointer) -> UInt32 {
        let hash = NameTable.hash(room)
        if let number = names.find(room, hash: hash) { return number }
        let number = names.insert(room, hash: hash)
        if Int(number) == rooms.count { rooms.append(Room()) }
        rooms[Int(number)] = Room()
        return number
    }

    /// Forgets a room that nobody needs.
    func removeIfUnused(_ number: UInt32) {
        if rooms[Int(number)].isUnused { names.remove(number) }
    }

    /// The room's stream, made if there is none, with the options of this moment.
    private func stream(_ number: UInt32, _ history: HistoryOptions, _ now: MonotonicTime) -> RoomStream {
        let limits = RoomStream.Limits(entries: history.size, bytes: MemoryEngine.streamBytes, age: history.age)
        var stream = rooms[Int(number)].stream ?? RoomStream(epoch: random.next() | 1, limits: limits)
        stream.limits = limits
        rooms[Int(number)].stream = stream
        rooms[Int(number)].touched = now
        return stream
    }

    private func append(
        _ number: UInt32, _ fields: UnsafeRawBufferPointer, _ history: HistoryOptions, _ now: MonotonicTime
    ) -> StreamPosition? {
        _ = stream(number, history, now)
        // In place: a copy of the ring for each publication would make a long history slow.
        guard let offset = rooms[Int(number)].stream?.append(Payload(copying: fields), now: now),
            let epoch = rooms[Int(number)].stream?.epoch
        else { return nil }
        return StreamPosition(offset: offset, epoch: epoch)
    }

    /// Forgets rooms that nobody listens to and whose past is over.
    private func sweepSometimes(_ now: MonotonicTime) {
        untilSweep -= 1
        guard untilSweep == 0 else { return }
        untilSweep = MemoryEngine.sweepInterval
        for number in rooms.indices {
            guard !rooms[number].isSubscribed, let stream = rooms[number].stream,
                rooms[number].touched + stream.limits.age <= now
            else { continue }
            rooms[number].stream = nil
            removeIfUnused(UInt32(number))
        }
    }
}
