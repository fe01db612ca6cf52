// Rooms as their home loop sees them: which loops have members, and whether the engine's flow runs.
//
//     absent ──first join──▶ subscribing ──engine ok──▶ live ──last leave──▶ absent (engine unsubscribed)
//                                └──engine failed──▶ absent, every waiting loop is refused
//
// Lingering (people come back) is done once, on the loop that had the members, so the home acts at once.

import Bytes

/// The rooms whose home is one loop. Loop-confined.
struct HomeRooms: ~Copyable {
    struct Room {
        var isLive = false
        /// For each loop its number and generation of the room as one word plus 1; 0: no members there.
        var loops: [UInt64]
        /// Loops with members.
        var loopCount = 0
        /// Loops that missed a publication, since their mailbox was full. They get no more until they have caught up
        /// or, having told their members, joined again: so one letter says it, however many publications follow.
        var behind: [Int] = []
        /// The room's order, in rooms with history.
        var stream: HomeStream?
        /// Who is there, in rooms that keep track.
        var presence: HomePresence?
    }

    /// What follows from an event.
    enum Action {
        case none
        case subscribe
        case unsubscribe
        /// The flow already runs: tell the loop that asked.
        case joined
    }

    private(set) var names = NameTable()
    private var rooms: [Room] = []
    private let loopCount: Int

    init(loopCount: Int) { self.loopCount = loopCount }

    /// A loop has a first member. `local` names the room there.
    mutating func join(_ name: UnsafeRawBufferPointer, hash: UInt64, loop: Int, local: UInt64) -> Action {
        guard let number = names.find(name, hash: hash) else {
            let number = Int(names.insert(name, hash: hash))
            if number == rooms.count { rooms.append(Room(loops: [])) }
            rooms[number] = Room(loops: Array(repeating: 0, count: loopCount), loopCount: 1)
            rooms[number].loops[loop] = local + 1
            return .subscribe
        }
        let index = Int(number)
        if rooms[index].loops[loop] == 0 { rooms[index].loopCount += 1 }
        rooms[index].loops[loop] = local + 1
        // With history a subscriber is let in later, and until then its loop may have to catch up.
        if rooms[index].stream == nil { forgiveBehind(index, loop) }
        return rooms[index].isLive ? .joined : .none
    }

    /// A loop's last member has left. A word that is not the current one is of a former life: ignored.
    mutating func leave(_ name: UnsafeRawBufferPointer, hash: UInt64, loop: Int, local: UInt64) -> Action {
        guard let number = names.find(name, hash: hash), rooms[Int(number)].loops[loop] == local + 1 else {
            return .none
        }
        let index = Int(number)
        rooms[index].loops[loop] = 0
        rooms[index].loopCount -= 1
        forgiveBehind(index, loop)
        guard rooms[index].loopCount == 0 else { return .none }
        remove(number)
        return .unsubscribe
    }

    /// The room's number, or nil when no loop has members.
    func find(_ name: UnsafeRawBufferPointer) -> UInt32? {
        names.count == 0 ? nil : names.find(name, hash: NameTable.hash(name))
    }

    /// The engine's flow runs.
    mutating func markLive(_ number: UInt32) { rooms[Int(number)].isLive = true }

    /// Whether the engine's flow runs.
    func isLive(_ number: UInt32) -> Bool { rooms[Int(number)].isLive }

    /// A loop missed a publication.
    mutating func markBehind(_ number: UInt32, loop: Int) { rooms[Int(number)].behind.append(loop) }

    /// A loop gets publications again: whoever is let in now has been given everything up to here.
    mutating func forgive(_ number: UInt32, loop: Int) { forgiveBehind(Int(number), loop) }

    private mutating func forgiveBehind(_ index: Int, _ loop: Int) {
        if !rooms[index].behind.isEmpty { rooms[index].behind.removeAll { $0 == loop } }
    }

    /// The engine's flow must begin anew.
    mutating func markWaiting(_ number: UInt32) { rooms[Int(number)].isLive = false }

    /// The room's order; nil in rooms without history.
    func stream(_ number: UInt32) -> HomeStream? { rooms[Int(number)].stream }

    /// Gives a new room its order.
    mutating func setStream(_ number: UInt32, _ stream: HomeStream) { rooms[Int(number)].stream = stream }

    /// Who is there; nil in rooms that keep no track.
    func presence(_ number: UInt32) -> HomePresence? { rooms[Int(number)].presence }

    /// Gives a new room its presence.
    mutating func setPresence(_ number: UInt32, _ presence: HomePresence) {
        rooms[Int(number)].presence = presence
    }

    /// Calls `body` with the number of every room with history.
    func forEachStream(_ body: (UInt32) -> Void) {
        for (number, room) in rooms.enumerated() where room.stream != nil { body(UInt32(number)) }
    }

    /// Calls `body(loop, local room)` for every loop with members that has not fallen behind.
    func forEachLoop(_ number: UInt32, _ body: (Int, UInt64) -> Void) {
        let room = rooms[Int(number)]
        guard room.loopCount > 0 else { return }
        for (loop, local) in room.loops.enumerated() where local != 0 && !room.behind.contains(loop) {
            body(loop, local - 1)
        }
    }

    /// Forgets the room.
    mutating func remove(_ number: UInt32) {
        names.remove(number)
        rooms[Int(number)] = Room(loops: [])
    }
}
