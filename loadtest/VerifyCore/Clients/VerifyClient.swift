// One client of the run: what it is, how far its connection has come, what it waits for. Owned by ClientPool, confined
// to its loop; a few hundred of them.

import Bytes
import HTTP
import Reactor
import WebSocket

/// What a client does.
enum ClientRole: Equatable {
    /// Is in some rooms and reports what it gets.
    case subscriber(Int)
    /// Publishes in all rooms in turn, in each one message at a time.
    case publisher(Int)
    /// Reads histories at one gateway at the end.
    case reader
    /// Asks one gateway all the time who is in the rooms.
    case watcher
}

/// How far a connection has come.
enum ClientStage: UInt8 {
    case idle, connecting, upgrading, greeting, joined

    var isOpening: Bool { self == .connecting || self == .upgrading || self == .greeting }
}

/// What a client does with its connection beside its role.
enum ClientLife: Equatable {
    case live
    /// Does not read until then.
    case notReading(until: MonotonicTime)
    /// Does nothing at all until then.
    case frozen(until: MonotonicTime)
    /// Is away on purpose until then.
    case offline(until: MonotonicTime)
    /// Reads so many bytes a second until then.
    case slow(until: MonotonicTime, rate: Int)
}

/// What a subscriber claims at its next resume.
enum ResumeClaim: UInt8 {
    case honest, forgedEpoch, futureOffset
}

/// A publication on its way, over all its attempts.
struct PublishOperation {
    let room: Int
    let id: MessageID
    let time: UInt64
    var attempts = 0
    /// An attempt ended without a definite outcome.
    var isUncertain = false
    /// Given up for good after the first definite refusal, so that the checker can hold the error to its word.
    let acceptsRefusal: Bool
    var command: UInt32 = 0
    var sentAt = MonotonicTime(nanoseconds: 0)
    var gateway = 0
    var firstSentAt = MonotonicTime(nanoseconds: 0)
    var retryAt: MonotonicTime?
    var isInFlight: Bool { command != 0 }
}

final class VerifyClient {
    let number: Int
    let role: ClientRole
    /// The rooms of a subscriber.
    let rooms: [Int]
    /// Reaches gateways through their proxies.
    var isProxied: Bool
    /// Comes and goes by itself.
    let isRestless: Bool
    /// The only gateway of a reader or watcher.
    let fixedGateway: Int?

    /// Where it connects next.
    var gateway: Int
    /// Where its connection goes, or went.
    var connectedGateway = 0
    var stage = ClientStage.idle
    var id: ConnectionID?
    var opening: ClientOpening?
    var reader = FrameReader(role: .client)
    var life = ClientLife.live
    var nextLifeAt: MonotonicTime
    var claim = ResumeClaim.honest
    var random: SeededRandom
    var backoff = Backoff(base: .milliseconds(100), cap: .seconds(2))
    var stageSince = MonotonicTime(nanoseconds: 0)
    var lastHeard = MonotonicTime(nanoseconds: 0)
    var patience = Duration.seconds(30)
    var reconnectAt: MonotonicTime?
    var closeCode: UInt16?
    /// Closed by ourselves: not to be counted against the server.
    var isOwnClose = false
    var readCredit = 0.0
    var isPausedForReading = false
    /// Until then what it gets says nothing about the server's speed.
    var untimedUntil = MonotonicTime(nanoseconds: 0)

    var nextCommand: UInt32 = 1
    /// Subscribe commands that wait for their reply, and rooms to ask for again.
    var subscribing: [UInt32: Int] = [:]
    var subscribed: Set<Int> = []
    var retryRooms: [(room: Int, at: MonotonicTime)] = []
    var histories: [UInt32: Int] = [:]
    /// A watcher's questions: which room, and when it asked.
    var listings: [UInt32: (room: Int, asked: MonotonicTime)] = [:]
    /// Operations of a publisher, by room.
    var operations: [Int: PublishOperation] = [:]
    var nextRoom = 0

    init(
        number: Int, role: ClientRole, rooms: [Int], gateway: Int, isProxied: Bool, isRestless: Bool,
        fixedGateway: Int? = nil, seed: UInt64, now: MonotonicTime
    ) {
        self.number = number
        self.role = role
        self.rooms = rooms
        self.gateway = gateway
        self.isProxied = isProxied
        self.isRestless = isRestless
        self.fixedGateway = fixedGateway
        random = SeededRandom(seed: seed &* 1_000_003 &+ UInt64(number))
        nextLifeAt = now + .milliseconds(Int64.random(in: 4000...14_000, using: &random))
    }

    /// The subscriber's number, nil for others.
    var subscriber: Int? {
        if case .subscriber(let number) = role { return number }
        return nil
    }

    /// Neither subscribes nor publishes: nobody waits for it.
    var isService: Bool { role == .reader || role == .watcher }

    var isOffline: Bool {
        if case .offline = life { return true }
        return false
    }

    func makeCommand() -> UInt32 {
        defer { nextCommand = nextCommand == .max ? 1 : nextCommand + 1 }
        return nextCommand
    }

    /// Whether its connection and all its rooms are there.
    var isComplete: Bool {
        stage == .joined && life == .live && subscribed.count == rooms.count && operations.isEmpty
    }
}

/// The opening handshake under way.
final class ClientOpening {
    var handshake: ClientHandshake
    var parser = ResponseHeadParser()
    var head = ByteBuffer()

    init(_ handshake: ClientHandshake) { self.handshake = handshake }
}

/// Kinds of rooms: the namespaces of the rig's configuration.
package enum RoomKind: String, CaseIterable, Sendable {
    /// History and nothing else.
    case plain = "verify-"
    /// With members that are shown, each connection by itself.
    case crowds = "crowds:"
    /// With members that are shown, each user once.
    case people = "people:"
    /// Takes fewer publications than publishers send.
    case limits = "limits:"
    /// Takes far more than they send.
    case ampler = "ampler:"
}

/// Names of rooms; of one length, so that one can stand in the place of another.
package enum RoomNames {
    static let prefixLength = 7
    static let digits = 3

    /// What kind of room number `room` is.
    package static func kind(_ room: Int) -> RoomKind {
        switch room % 9 {
        case 1, 7: .people
        case 4: .crowds
        case 5: .limits
        case 8: .ampler
        default: .plain
        }
    }

    /// The name of room number `room`.
    package static func name(_ room: Int) -> String {
        let digits = String(room)
        return kind(room).rawValue + String(repeating: "0", count: max(0, RoomNames.digits - digits.count)) + digits
    }

    /// The room's key of `kind` in Redis: `m` its record, `s` its stream, `i:` what its idempotency keys begin with.
    static func key(_ room: Int, _ kind: String) -> String { "martlet:{\(name(room))}:\(kind)" }

    /// The number in a room's name; nil for a foreign one.
    static func number(_ name: UnsafeRawBufferPointer) -> Int? {
        guard name.count == prefixLength + digits else { return nil }
        var value = 0
        for index in prefixLength..<name.count {
            guard (48...57).contains(name[index]) else { return nil }
            value = value * 10 + Int(name[index] - 48)
        }
        for (index, letter) in kind(value).rawValue.utf8.enumerated() where name[index] != letter { return nil }
        return value
    }
}
