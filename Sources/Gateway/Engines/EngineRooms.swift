// What the Redis engine keeps of rooms with history: who waits for an answer, and how far the room's publications were
// acknowledged by this node. The latter is remembered for a while in rooms without members, too: should the store come
// back with less, somebody has to say what it had promised.
//
// Bounded: rooms with members whose home is the loop, rooms with a call in flight, and rooms that were published to
// within the last minute, `publishedRooms` of them at most. Loop-confined; owned by the engine.

import Bytes
import Redis
import Rooms

/// One room with history, as the engine sees it.
struct EngineRoom {
    var history: HistoryOptions
    /// Members are served; the subscription is kept through reconnections.
    var isWanted = false
    /// `subscribe` is to be answered.
    var owesAnswer = false
    /// Its position is being asked for.
    var asksPosition = false
    /// Positions that were asked for before the room was left: they come first, and are nobody's.
    var overtaken = 0
    /// The newest position that the store has given to this node's publishers.
    var acknowledged: StreamPosition?
    /// When that was.
    var acknowledgedAt = MonotonicTime(nanoseconds: 0)
    /// Calls in flight that name the room by its number.
    var calls = 0
}

/// The rooms with history of one engine, each with a small stable number.
struct EngineRooms: ~Copyable {
    /// How long an acknowledgement is remembered for a room without members: far longer than another node may need to
    /// hear the publication, or to find that it did not.
    static let memory = Duration.seconds(60)
    /// Rooms without members that are remembered; beyond it the ones of an earlier sweep go first.
    static let publishedRooms = 65_536

    private var names = NameTable()
    private var entries: [EngineRoom?] = []

    init() {}

    /// Numbers in use lie below this.
    var bound: UInt32 { UInt32(entries.count) }

    /// The number of `room`, or nil.
    func find(_ room: UnsafeRawBufferPointer) -> UInt32? {
        names.count == 0 ? nil : names.find(room, hash: NameTable.hash(room))
    }

    /// The number of `room`, which is added if need be.
    mutating func make(_ room: UnsafeRawBufferPointer, _ history: HistoryOptions) -> UInt32 {
        let hash = NameTable.hash(room)
        if let number = names.find(room, hash: hash) {
            entries[Int(number)]?.history = history
            return number
        }
        let number = names.insert(room, hash: hash)
        if Int(number) == entries.count { entries.append(nil) }
        entries[Int(number)] = EngineRoom(history: history)
        return number
    }

    /// The room's name; valid while the room is there.
    func name(_ number: UInt32) -> UnsafeRawBufferPointer { names.name(of: number) }

    /// The entry of `number`, or nil when the number is free.
    subscript(_ number: UInt32) -> EngineRoom? { Int(number) < entries.count ? entries[Int(number)] : nil }

    /// Changes the entry of `number`, if there is one.
    mutating func update(_ number: UInt32, _ change: (inout EngineRoom) -> Void) {
        guard Int(number) < entries.count, var room = entries[Int(number)] else { return }
        change(&room)
        entries[Int(number)] = room
    }

    /// A call that names the room is on its way.
    mutating func retain(_ number: UInt32) { update(number) { $0.calls += 1 } }

    /// A call that names the room has ended.
    mutating func release(_ number: UInt32) {
        update(number) { $0.calls -= 1 }
        guard let room = self[number], room.acknowledged == nil else { return }
        removeIfUnused(number)
    }

    /// The room was published to at `position`.
    mutating func acknowledge(_ number: UInt32, _ position: StreamPosition, now: MonotonicTime) {
        update(number) { room in
            room.acknowledgedAt = now
            // Answers come in the order of the calls, so another epoch is a newer one.
            if let known = room.acknowledged, known.epoch == position.epoch, known.offset >= position.offset { return }
            room.acknowledged = position
        }
    }

    /// The room was found to stand at `record`: what was acknowledged in another epoch counts no more.
    mutating func stands(_ number: UInt32, _ record: RoomRecord) {
        update(number) { room in
            if let known = room.acknowledged, known.epoch != record.top.epoch { room.acknowledged = nil }
        }
    }

    /// Forgets a room that nobody needs.
    mutating func removeIfUnused(_ number: UInt32) {
        guard let room = self[number], !room.isWanted, !room.owesAnswer, room.calls == 0 else { return }
        entries[Int(number)] = nil
        names.remove(number)
    }

    /// Forgets rooms without members whose last acknowledgement is old.
    mutating func sweep(now: MonotonicTime) {
        let patience = names.count > EngineRooms.publishedRooms ? .seconds(1) : EngineRooms.memory
        for number in 0..<bound {
            guard let room = self[number], room.acknowledgedAt + patience <= now else { continue }
            removeIfUnused(number)
        }
    }
}
