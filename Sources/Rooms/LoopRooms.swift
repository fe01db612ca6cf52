// The rooms and sessions of one loop: what its clients may do, who is a member of what, and the homes that this loop
// keeps. The domain's centre; no sockets, no clock: the shell calls in, the outlet and the engine are called out.
//
// Reading order: +Commands (what a client may say), +Membership (joining and leaving), +Publishing, +FanOut,
// +Home (the rooms whose home is here), those with history: +HomeStream (their order), +HomeRecovery (who returns),
// +HomeLag (loops with a full mailbox); +Presence (who is there); +Liveness (pings and deadlines). Everything runs on
// the loop.

package import Bytes
import Wire

/// The domain of one loop.
package final class LoopRooms: EngineDelegate {
    let loop: Int
    let loopCount: Int
    package let rules: RoomRules
    // The outlet outlives the rooms: the gateway keeps both and takes them down together.
    unowned let outlet: any Outlet
    let engine: any Engine

    // In slabs behind pointers: entries never move, and reaching one costs neither an exclusivity check nor a retain.
    private let storage: UnsafeMutablePointer<Storage>
    var names = NameTable()
    var home: HomeRooms
    /// Streams that were made at home so far.
    var streamCount: UInt64 = 0
    /// Entrances that the engine was asked for at home so far.
    var entranceCount: UInt32 = 0
    /// Connections whose `connect` waits for the rooms that it named.
    var connecting: [ConnectionWord: PendingConnect] = [:]
    /// Members whose connection broke, of rooms whose home is here.
    var graces = GraceQueue()
    /// Lists of members that are being read here.
    var memberReads = MemberReads()
    /// Rooms with something to fan out, in turn.
    var dirtyRooms: [UInt32] = []
    /// Rooms without members, with the moment at which they end.
    var lingering: [(room: UInt64, until: MonotonicTime)] = []
    /// Refusals of rooms whose home is here, and publishes into rooms with limits.
    var rates = RateMemory()
    var random: SeededRandom
    /// Subscriptions of this loop's clients, the pending ones included.
    package internal(set) var subscriptionCount = 0
    // Buffers of the loop, one for each step that may be under way at the same time: a memory engine delivers and
    // acknowledges within the very call that publishes.
    /// Unescaped strings of the command being served.
    var text = ByteBuffer(capacity: 1024)
    /// Fields of the publication being made, or the parts of a reply.
    var scratch = ByteBuffer(capacity: 1024)
    /// Whom a user's limit counts in the publication being made.
    var talker = ByteBuffer(capacity: 64)
    /// The reply being encoded.
    var frame = ByteBuffer(capacity: 1024)
    /// The push being encoded, and its frame.
    var push = ByteBuffer(capacity: 1024)
    var pushFrame = ByteBuffer(capacity: 1024)

    private struct Storage: ~Copyable {
        var rooms = Slab<LocalRoom>()
        var sessions = Slab<Session>()
    }

    /// The rooms of loop number `loop` out of `loopCount`.
    package init(
        loop: Int, loopCount: Int, rules: RoomRules, outlet: any Outlet, engine: any Engine,
        random: SeededRandom = .system()
    ) {
        self.loop = loop
        self.loopCount = loopCount
        self.rules = rules
        self.outlet = outlet
        self.engine = engine
        self.random = random
        home = HomeRooms(loopCount: loopCount)
        storage = .allocate(capacity: 1)
        storage.initialize(to: Storage())
        engine.delegate = self
    }

    deinit {
        for slot in 0..<UInt32(storage.pointee.rooms.capacity) { storage.pointee.rooms[slot].deinitialize(count: 1) }
        for slot in 0..<UInt32(storage.pointee.sessions.capacity) {
            storage.pointee.sessions[slot].deinitialize(count: 1)
        }
        storage.deinitialize(count: 1)
        storage.deallocate()
    }

    /// Number of rooms with members on this loop.
    package var roomCount: Int {
        // Some of those that linger have members again.
        names.count - lingering.reduce(0) { $0 + (room($1.room.lowHalf).pointee.isUnused ? 1 : 0) }
    }

    /// The entry of local room `number`.
    func room(_ number: UInt32) -> UnsafeMutablePointer<LocalRoom> { storage.pointee.rooms[number] }

    /// Local room numbers below this have storage.
    var roomCapacity: Int { storage.pointee.rooms.capacity }

    /// Makes storage for local room `number`.
    func makeRoom(_ number: UInt32) -> UnsafeMutablePointer<LocalRoom> {
        storage.pointee.rooms.ensure(number) { $0.initialize(to: LocalRoom()) }
        return storage.pointee.rooms[number]
    }

    /// The session of an open connection, or nil.
    func session(_ connection: ConnectionWord) -> UnsafeMutablePointer<Session>? {
        let slot = connection.lowHalf
        guard Int(slot) < storage.pointee.sessions.capacity else { return nil }
        let session = storage.pointee.sessions[slot]
        return session.pointee.phase != .vacant && session.pointee.connection == connection ? session : nil
    }

    // MARK: Connections

    /// A connection has been upgraded. `user` is its id where the endpoint may tell it (development), else empty.
    package func opened(_ connection: ConnectionWord, user: String, usesPingFrames: Bool) {
        let slot = connection.lowHalf
        storage.pointee.sessions.ensure(slot) { $0.initialize(to: Session()) }
        let session = storage.pointee.sessions[slot]
        session.pointee.reset()
        session.pointee.phase = .new
        session.pointee.connection = connection
        session.pointee.usesPingFrames = usesPingFrames
        if !user.isEmpty {
            var bytes = Array(user.utf8)
            session.pointee.identity = bytes.withUnsafeMutableBytes {
                Identity(user: Payload(copying: UnsafeRawBufferPointer($0)))
            }
        }
        outlet.setTimer(connection, after: rules.staleCloseDelay)
    }

    /// A connection is closing or gone; it leaves its rooms. `isAbrupt`: it may well come back, so that in rooms with
    /// presence its grace runs. May be called more than once.
    package func closed(_ connection: ConnectionWord, isAbrupt: Bool = true) {
        guard let session = session(connection) else { return }
        abandonConnect(connection)
        session.pointee.phase = .closing
        while session.pointee.subscriptionCount > 0 {
            _ = leave(session, session.pointee.subscriptionCount - 1, isAbrupt: isAbrupt)
        }
        session.pointee.reset()
    }

    /// Whether the connection's `connect` command has not come yet.
    package func awaitsConnect(_ connection: ConnectionWord) -> Bool { session(connection)?.pointee.phase == .new }

    /// Whether the client wants to be told, in the reason of a Close, when to come back.
    package func wantsCloseHints(_ connection: ConnectionWord) -> Bool {
        session(connection)?.pointee.wantsCloseHints ?? false
    }

    /// Begins to close a connection; what it still says is ignored.
    func disconnect(_ session: UnsafeMutablePointer<Session>, _ code: DisconnectCode) {
        guard session.pointee.phase != .closing else { return }
        session.pointee.phase = .closing
        abandonConnect(session.pointee.connection)
        outlet.close(session.pointee.connection, code)
    }
}
