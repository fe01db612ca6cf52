// Very many light clients on one loop: each is a user at a gateway who joins its rooms, answers pings, and leaves as it
// is told to. What they see goes to a delegate. For the presence, limits and flood benches, in workers and in drivers.
// Bounded by the number of seats, `concurrency` of them opening at a time, each within `openTimeout`; a message may be
// 4 MiB, a response head 16 KiB.

import Bytes
import HTTP
import LoadCore
import Reactor
import WebSocket
import Wire

/// How a client leaves.
package enum Leaving: String, CaseIterable, Sendable {
    /// Unsubscribes and stays connected.
    case unsubscribe
    /// Says goodbye: Close 1000.
    case close
    /// Ends the connection without a word.
    case drop
}

/// Who a client is.
struct SeatIdentity: Sendable {
    /// The user's name.
    var user: String
    /// The gateway, by its place in `Crowd.gateways`.
    var gateway: Int
    /// The names of its rooms; at most 128.
    var rooms: [String]

    /// All parts.
    init(user: String, gateway: Int, rooms: [String]) {
        self.user = user
        self.gateway = gateway
        self.rooms = rooms
    }
}

/// How far a client has come.
enum SeatStage: UInt8 {
    /// Not connected.
    case idle
    case connecting, upgrading, joining
    /// In all its rooms.
    case joined
    /// Connected and in no room.
    case out

    var isOpening: Bool { self == .connecting || self == .upgrading || self == .joining }
}

/// One client.
struct Seat: ~Copyable {
    var stage = SeatStage.idle
    /// We ended it, so that its end is no failure.
    var isOwnEnd = false
    /// Rooms whose subscription has been confirmed.
    var rooms: UInt16 = 0
    var command: UInt32 = 1000
    var id = ConnectionID(slot: 0, generation: 0)
    var reader = FrameReader(role: .client)
    var opening: ClientOpening?
    var started = MonotonicTime(nanoseconds: 0)
    var closeCode: UInt16?
}

/// Takes what happens to the clients of a crowd, on its loop.
protocol CrowdDelegate: AnyObject {
    /// The client is in all its rooms, or, with `isOut`, has left them all and stays connected.
    func changed(_ seat: Int, isOut: Bool)
    /// Its connection is gone. `wasIn`: it had been in its rooms. `isOwn`: as it was told to.
    func ended(_ seat: Int, wasIn: Bool, isOwn: Bool)
    /// Something of a room.
    func pushed(_ seat: Int, _ room: WireBytes, _ push: Push)
    /// The answer to a command that was sent with `ask`.
    func replied(_ seat: Int, _ command: UInt32, _ reply: Reply)
}

extension CrowdDelegate {
    func changed(_ seat: Int, isOut: Bool) {}
    func ended(_ seat: Int, wasIn: Bool, isOwn: Bool) {}
    func pushed(_ seat: Int, _ room: WireBytes, _ push: Push) {}
    func replied(_ seat: Int, _ command: UInt32, _ reply: Reply) {}
}

/// Clients on one loop.
final class Crowd: ConnectionHandler {
    let loop: Loop
    /// Where the gateways listen; may change while the crowd lives.
    var gateways: [SocketAddress]
    /// Where connections come from, in turn; empty leaves it to the kernel. One address has some 28,000 ports.
    var sources: [SocketAddress] = []
    /// Clients that may be opening at a time.
    var concurrency = 256
    /// Within this time a client must be in its rooms.
    var openTimeout = Duration.seconds(20)
    /// Whether joins and leaves are asked for.
    var wantsJoinLeave = false
    let limits = FrameLimits(frameBytes: 4 << 20, messageBytes: 4 << 20)
    let identity: (Int) -> SeatIdentity
    weak var delegate: (any CrowdDelegate)?
    let seats: UnsafeMutablePointer<Seat>
    /// How many clients.
    let count: Int
    private var kind: UInt8 = 0
    private var seatOfSlot: [Int] = []
    var random: SeededRandom
    var out = ByteBuffer()
    var scratch = ByteBuffer()
    private var waiting: [Int] = []
    private var nextWaiting = 0
    private var opening = 0
    private var schedule: RateSchedule?

    /// Clients that are in their rooms.
    private(set) var joined = 0
    /// Connections that are open.
    private(set) var connected = 0
    /// Attempts to join that failed, by reason.
    private(set) var failures: [String: Int] = [:]
    /// Attempts that failed, and clients that the server or the network ended.
    private(set) var failed = 0
    private(set) var lost = 0
    /// Commands to join that had to be repeated.
    var retries = 0
    /// Pings that were answered.
    var pings = 0
    /// From the begin of an attempt to its last room.
    var joinLatency = LatencyHistogram()

    /// `count` clients, none of them connected; `identity` tells who each of them is.
    init(
        _ loop: Loop, gateways: [SocketAddress], count: Int, seed: UInt64, delegate: (any CrowdDelegate)? = nil,
        identity: @escaping (Int) -> SeatIdentity
    ) {
        self.loop = loop
        self.gateways = gateways
        self.count = count
        self.identity = identity
        self.delegate = delegate
        random = SeededRandom(seed: seed)
        seats = .allocate(capacity: max(1, count))
        for index in 0..<count { (seats + index).initialize(to: Seat()) }
        kind = loop.register(self)
    }

    deinit {
        seats.deinitialize(count: count)
        seats.deallocate()
    }

    /// Tells another delegate from now on.
    func setDelegate(_ delegate: any CrowdDelegate) { self.delegate = delegate }

    /// Whether nobody is on the way in.
    var isSettled: Bool { opening == 0 && nextWaiting >= waiting.count }

    /// Whether `seat` is in its rooms.
    func isIn(_ seat: Int) -> Bool { seats[seat].stage == .joined }

    // MARK: Opening

    /// Lets `all` open, at most `rate` a second; 0 is as fast as `concurrency` allows.
    func open(_ all: [Int], rate: Double) {
        waiting = Array(waiting[min(nextWaiting, waiting.count)...]) + all
        nextWaiting = 0
        schedule = rate > 0 ? RateSchedule(start: .now(), rate: rate) : nil
        pump()
    }

    /// Lets one client open now, whatever others do.
    func open(_ seat: Int) {
        if seats[seat].stage == .idle { connect(seat) }
    }

    private func pump() {
        while nextWaiting < waiting.count, opening < concurrency {
            if schedule != nil, schedule?.take(now: .now()) == nil {
                loop.schedule(after: .milliseconds(4)) { [weak self] in self?.pump() }
                return
            }
            nextWaiting += 1
            let seat = waiting[nextWaiting - 1]
            if seats[seat].stage == .idle { connect(seat) }
        }
    }

    private func connect(_ seat: Int) {
        let who = identity(seat)
        seats[seat].started = .now()
        seats[seat].isOwnEnd = false
        seats[seat].closeCode = nil
        seats[seat].rooms = 0
        seats[seat].command = 1000
        do {
            let source = sources.isEmpty ? nil : sources[seat % sources.count]
            let id = try loop.connect(to: gateways[who.gateway % gateways.count], from: source, handler: kind)
            let slot = Int(id.slot)
            if slot >= seatOfSlot.count { seatOfSlot += repeatElement(-1, count: slot + 1 - seatOfSlot.count) }
            seatOfSlot[slot] = seat
            seats[seat].id = id
            seats[seat].reader = FrameReader(role: .client)
            enter(seat, .connecting)
            loop.setTimer(id, after: openTimeout)
        } catch {
            note("\(error)")
            delegate?.ended(seat, wasIn: false, isOwn: false)
        }
    }

    func enter(_ seat: Int, _ stage: SeatStage) {
        let before = seats[seat].stage
        opening += (stage.isOpening ? 1 : 0) - (before.isOpening ? 1 : 0)
        joined += (stage == .joined ? 1 : 0) - (before == .joined ? 1 : 0)
        connected += (stage == .idle ? 0 : 1) - (before == .idle ? 0 : 1)
        seats[seat].stage = stage
        guard before.isOpening, !stage.isOpening else { return }
        if stage == .joined {
            loop.cancelTimer(seats[seat].id)
            joinLatency.record(
                nanoseconds: UInt64(clamping: MonotonicTime.now().since(seats[seat].started).wholeNanoseconds))
        }
        pump()
    }

    func find(_ id: ConnectionID) -> Int? {
        guard Int(id.slot) < seatOfSlot.count else { return nil }
        let seat = seatOfSlot[Int(id.slot)]
        guard seat >= 0, seats[seat].id == id, seats[seat].stage != .idle else { return nil }
        return seat
    }

    func opened(_ id: ConnectionID) {
        guard let seat = find(id) else { return }
        var nonce: (UInt64, UInt64) = (random.next(), random.next())
        let opening = withUnsafeBytes(of: &nonce) { ClientOpening(ClientHandshake(nonce: $0)) }
        seats[seat].opening = opening
        enter(seat, .upgrading)
        var request = ByteBuffer(capacity: 256)
        do {
            let path = "/connection/websocket?user=" + identity(seat).user
            try opening.handshake.appendRequest(target: path, host: "127.0.0.1", to: &request)
            loop.write(id, request.bytes)
        } catch {
            preconditionFailure("the request holds nothing that is not ours")
        }
    }

    // MARK: Leaving

    /// Lets one client leave; nothing when it is not in its rooms.
    func leave(_ seat: Int, _ way: Leaving) {
        guard seats[seat].stage == .joined else { return }
        switch way {
        case .unsubscribe:
            seats[seat].rooms = 0
            for room in identity(seat).rooms { send(seat, room) { Request.unsubscribe(room: $0) } }
        case .close:
            seats[seat].isOwnEnd = true
            sayGoodbye(seat)
            loop.closeAfterFlush(seats[seat].id)
        case .drop:
            seats[seat].isOwnEnd = true
            loop.close(seats[seat].id)
        }
    }

    /// Ends a connection, whatever it is doing.
    func end(_ seat: Int) {
        guard seats[seat].stage != .idle else { return }
        seats[seat].isOwnEnd = true
        loop.close(seats[seat].id)
    }

    /// Lets a client that has unsubscribed, or is not connected, join again.
    func join(_ seat: Int) {
        switch seats[seat].stage {
        case .out:
            seats[seat].started = .now()
            enter(seat, .joining)
            subscribe(seat)
        case .idle: connect(seat)
        default: break
        }
    }

    func timerFired(_ id: ConnectionID) {
        guard let seat = find(id), seats[seat].stage.isOpening else { return }
        note("not joined in time, \(seats[seat].stage)")
        seats[seat].isOwnEnd = true
        loop.close(id)
    }

    func closed(_ id: ConnectionID, _ reason: CloseReason) {
        guard let seat = find(id) else { return }
        seatOfSlot[Int(id.slot)] = -1
        let stage = seats[seat].stage
        let isOwn = seats[seat].isOwnEnd
        seats[seat].opening = nil
        let code = seats[seat].closeCode
        enter(seat, .idle)
        if !isOwn {
            let how = code.map { "closed with \($0)" } ?? "\(reason)"
            if stage.isOpening { note("\(how) while \(stage)") } else { lost += 1 }
        }
        delegate?.ended(seat, wasIn: stage == .joined, isOwn: isOwn)
    }

    func note(_ reason: String) {
        failed += 1
        // Bounded: reasons are few, but a server might make up codes.
        if failures.count < 64 || failures[reason] != nil { failures[reason, default: 0] += 1 }
    }
}
