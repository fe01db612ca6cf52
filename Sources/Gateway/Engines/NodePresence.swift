// The members that one engine's node has brought, as they are wanted: what the store holds of them is made to agree,
// again after every loss. The store is told under the node's incarnation, a name that changes when the node was taken
// for dead or the store has begun a new life; what an incarnation brought is told again under the next one.
//
//     present ──leave──▶ leaving ──confirmed──▶ gone
//        ▲  └linger─▶ lingering ─┘
//        └────enter──────┘
//
// A call whose outcome is unknown leaves a doubt, which is settled by saying the same again: every call is idempotent.
// Bounded by the members of rooms whose home is the loop. Owned by the engine, loop-confined.

import Bytes
import Redis
import Rooms
import Wire

/// A member that this node brought.
struct BroughtMember {
    let user: Payload
    let info: Payload
    /// Counts what was asked about it: an answer to anything but the last is none.
    var serial: UInt32 = 0
    /// The incarnation under which the store was last told of it.
    var incarnation: UInt32
    /// What was said under this incarnation was not confirmed.
    var isDoubtful = false
    /// It is to be taken out.
    var isLeaving = false
    /// Its connection broke.
    var lingers = false
    /// Its entrance was confirmed, or was not asked for by anybody who waits.
    var isIn = false
}

/// A room in which this node has members.
struct BroughtRoom {
    var options: PresenceOptions
    var members: [ClientID: BroughtMember] = [:]
    /// The incarnation whose list of rooms has this one; 0: none has.
    var listedFor: UInt32 = 0
    /// When its keys were last given their time to live.
    var touched: MonotonicTime
    /// Calls in flight that name the room by its number.
    var calls = 0

    fileprivate mutating func apply(_ change: (inout BroughtRoom) -> Void) { change(&self) }
}

/// What one engine knows of the members that its node brought.
struct NodePresence: ~Copyable {
    /// Something about a member that has to be said again.
    struct Doubt {
        var room: UInt32
        var client: ClientID
    }

    /// The incarnations' common beginning.
    private let node: [UInt8]
    private var names = NameTable()
    private var rooms: [BroughtRoom?] = []
    /// Counts from 1.
    private(set) var incarnation: UInt32 = 1
    /// The name of this incarnation.
    private(set) var name: [UInt8]
    /// The first incarnation whose sets in the rooms have not been emptied by this node itself.
    private(set) var sweptUpTo: UInt32 = 1
    /// What this incarnation says again is to be told to nobody: nobody was told of its loss.
    private(set) var isQuiet = false
    /// The incarnation has not been seen by the registry yet, and the one before was taken for dead, or replaced.
    var isReborn = false
    var replacesQuietly = false
    /// A new life of the store has begun: with the next beat all is said again.
    var hasOtherStore = false
    /// The term in which the store was last told of members.
    var lived: RedisTerm?
    /// Rooms whose members have to be said again.
    var unsaid: [UInt32] = []
    var doubts: [Doubt] = []
    /// Calls of saying again that are in flight.
    var saying = 0
    /// Where the slow walk that keeps keys from expiring has come.
    var touchFrom: UInt32 = 0
    /// Somebody was brought under this incarnation, and an old snapshot may know of it.
    var hasListed = false
    /// When the list of the incarnation's rooms was last given its time to live.
    var listTouched: MonotonicTime?
    /// The dead node whose members are being taken out.
    var reaping: Reaping?
    /// The one that is done and not reported.
    var reaped: [UInt8] = []

    init(node: [UInt8]) {
        self.node = node
        name = NodePresence.name(node, 1)
    }

    private static func name(_ node: [UInt8], _ incarnation: UInt32) -> [UInt8] {
        node + Array(":\(incarnation)".utf8)
    }

    /// The name of the node's incarnation number `incarnation`.
    func name(of incarnation: UInt32) -> [UInt8] {
        incarnation == self.incarnation ? name : NodePresence.name(node, incarnation)
    }

    /// Members of all rooms.
    private(set) var memberCount = 0

    /// Takes another incarnation: everything has to be said again, `quietly` or not.
    mutating func beReborn(quietly: Bool) {
        incarnation += 1
        name = NodePresence.name(node, incarnation)
        isQuiet = quietly
        isReborn = true
        replacesQuietly = quietly
        hasOtherStore = false
        hasListed = false
        listTouched = nil
        // Whoever was being taken out is somebody's else, or will be given to this one again.
        reaping = nil
        unsaid = rooms.indices.filter { rooms[$0] != nil }.map { UInt32($0) }
    }

    /// A room's members have to be said again, later.
    mutating func sayLater(_ number: UInt32) {
        guard options(number) != nil, !unsaid.contains(number) else { return }
        unsaid.append(number)
    }

    /// Every room has been said under this incarnation, and is rid of what stood there under former ones.
    mutating func allSaid() { sweptUpTo = incarnation }

    /// Numbers in use lie below this.
    var bound: UInt32 { UInt32(rooms.count) }

    /// The number of `room`, or nil.
    func find(_ room: UnsafeRawBufferPointer) -> UInt32? {
        names.count == 0 ? nil : names.find(room, hash: NameTable.hash(room))
    }

    /// The number of `room`, which is added if need be.
    mutating func make(
        _ room: UnsafeRawBufferPointer, _ options: PresenceOptions, now: MonotonicTime
    ) -> UInt32 {
        let hash = NameTable.hash(room)
        if let number = names.find(room, hash: hash) {
            rooms[Int(number)]?.options = options
            return number
        }
        let number = names.insert(room, hash: hash)
        if Int(number) == rooms.count { rooms.append(nil) }
        rooms[Int(number)] = BroughtRoom(options: options, touched: now)
        return number
    }

    /// The room's name; valid while the room is there.
    func name(_ number: UInt32) -> UnsafeRawBufferPointer { names.name(of: number) }

    /// How presence works in the room of `number`; nil when the number is free.
    func options(_ number: UInt32) -> PresenceOptions? { Int(number) < rooms.count ? rooms[Int(number)]?.options : nil }

    /// The incarnation whose list of rooms has this one; 0: none has.
    func listedFor(_ number: UInt32) -> UInt32 { Int(number) < rooms.count ? rooms[Int(number)]?.listedFor ?? 0 : 0 }

    /// When the room's keys were last given their time to live.
    func touched(_ number: UInt32) -> MonotonicTime? {
        Int(number) < rooms.count ? rooms[Int(number)]?.touched : nil
    }

    /// Whether the room of `number` is there and nobody needs it.
    func isUnused(_ number: UInt32) -> Bool {
        guard Int(number) < rooms.count, let isEmpty = rooms[Int(number)]?.members.isEmpty else { return false }
        return isEmpty && rooms[Int(number)]?.calls == 0
    }

    /// At most `most` members of the room that the store was not told of under this incarnation.
    func unsaidMembers(_ number: UInt32, most: Int) -> [ClientID] {
        guard Int(number) < rooms.count, let members = rooms[Int(number)]?.members else { return [] }
        var found: [ClientID] = []
        for (client, member) in members where !member.isLeaving {
            guard member.incarnation != incarnation || member.isDoubtful else { continue }
            found.append(client)
            if found.count == most { break }
        }
        return found
    }

    /// A member, or nil.
    func member(_ number: UInt32, _ client: ClientID) -> BroughtMember? {
        Int(number) < rooms.count ? rooms[Int(number)]?.members[client] : nil
    }

    /// Changes a room, if it is there.
    mutating func update(_ number: UInt32, _ change: (inout BroughtRoom) -> Void) {
        guard Int(number) < rooms.count else { return }
        // In place: a room's members may be very many.
        rooms[Int(number)]?.apply(change)
    }

    /// Changes a member, if it is there.
    mutating func update(_ number: UInt32, _ client: ClientID, _ change: (inout BroughtMember) -> Void) {
        update(number) { room in
            guard var member = room.members[client] else { return }
            change(&member)
            room.members[client] = member
        }
    }

    /// Adds a member, or has one stay that was leaving.
    mutating func add(_ number: UInt32, _ member: Member) {
        let incarnation = incarnation
        var isNew = false
        update(number) { room in
            if room.members[member.client] != nil { return }
            isNew = true
            room.members[member.client] = BroughtMember(
                user: Payload(copying: member.user), info: Payload(copying: member.info), incarnation: incarnation)
        }
        if isNew { memberCount += 1 }
    }

    /// Forgets a member.
    mutating func remove(_ number: UInt32, _ client: ClientID) {
        var wasThere = false
        update(number) { wasThere = $0.members.removeValue(forKey: client) != nil }
        if wasThere { memberCount -= 1 }
    }

    /// Forgets a room that nobody needs.
    mutating func removeRoom(_ number: UInt32) {
        rooms[Int(number)] = nil
        names.remove(number)
    }
}
