// Observers of joins and leaves: at each gateway some connections that are in the observed rooms and write down what
// they are told of every member. The one authority on "seen exactly once". On the driver's loop; bounded by gateways ×
// members of the observed rooms.

import Bytes
import LoadCore
import Reactor
import Wire

/// What the observers of one gateway were told of one member.
struct Sighting {
    var joins: UInt16 = 0
    var leaves: UInt16 = 0
    /// The same twice in a row.
    var repetitions: UInt16 = 0
    var isIn: Bool?
    var lastLeaveAt = MonotonicTime(nanoseconds: 0)
}

/// The observers of all gateways.
final class PresenceObservers: CrowdDelegate {
    /// Rooms of one connection; a gateway allows 128.
    private static let roomsPerSeat = 100
    private let loop: Loop
    private let share: CrowdShare
    private let rooms: Int
    private let seatsPerGateway: Int
    private(set) var crowd: Crowd?
    /// By gateway, then member.
    private(set) var sightings: [[Int: Sighting]]
    /// Events of users that nobody here is, and of rooms where they are not.
    private(set) var strangers = 0
    private(set) var events = 0
    /// Questions under way and what waits for their answers, by seat and command.
    private var questions: [UInt64: (Reply) -> Void] = [:]

    /// Observers of the first `rooms` rooms at each of the share's gateways.
    init(_ loop: Loop, _ share: CrowdShare, rooms: Int) {
        self.loop = loop
        self.share = share
        self.rooms = rooms
        seatsPerGateway = max(1, (rooms + PresenceObservers.roomsPerSeat - 1) / PresenceObservers.roomsPerSeat)
        sightings = Array(repeating: [:], count: share.gateways.count)
        let perGateway = seatsPerGateway
        let crowd = Crowd(
            loop, gateways: share.gateways.compactMap(Endpoint.address), count: share.gateways.count * perGateway,
            seed: share.seed &+ 7, delegate: self,
            identity: { seat in
                let first = seat % perGateway * PresenceObservers.roomsPerSeat
                let own = first..<min(rooms, first + PresenceObservers.roomsPerSeat)
                return SeatIdentity(
                    user: "o\(seat)", gateway: seat / perGateway, rooms: own.map { share.name(of: $0) })
            })
        crowd.wantsJoinLeave = true
        self.crowd = crowd
        crowd.open(Array(0..<crowd.count), rate: 0)
    }

    /// Whether all are in their rooms.
    var isComplete: Bool { crowd.map { $0.joined == $0.count } ?? false }

    /// Users and clients that observers are in `room`.
    func observers(in room: Int) -> [String] {
        guard room < rooms else { return [] }
        return (0..<share.gateways.count).compactMap { gateway in
            let seat = gateway * seatsPerGateway + room / PresenceObservers.roomsPerSeat
            return crowd?.isIn(seat) == true ? "o\(seat)" : nil
        }
    }

    /// Lets the observers of a gateway that came back come back.
    func rejoin() {
        guard let crowd else { return }
        for seat in 0..<crowd.count where !crowd.isIn(seat) { crowd.open(seat) }
    }

    /// Lets all go.
    func leave() {
        guard let crowd else { return }
        for seat in 0..<crowd.count { crowd.leave(seat, .close) }
    }

    /// Forgets all that was seen; who is in stays known, unless nobody can know: where members come back by another
    /// connection, its join may come before the leave of the one that died.
    func forget(whoIsIn: Bool = false) {
        for gateway in sightings.indices {
            for member in sightings[gateway].keys {
                let isIn = whoIsIn ? nil : sightings[gateway][member]?.isIn
                sightings[gateway][member] = Sighting(isIn: isIn)
            }
        }
        events = 0
    }

    func pushed(_ seat: Int, _ room: WireBytes, _ push: Push) {
        switch push {
        case .join(let info): note(seat, room, info, isJoin: true)
        case .leave(let info): note(seat, room, info, isJoin: false)
        default: break
        }
    }

    private func note(_ seat: Int, _ room: WireBytes, _ info: ClientInfo, isJoin: Bool) {
        let user = String(decoding: info.user, as: UTF8.self)
        guard user.hasPrefix("m") else { return }
        guard let member = Int(user.dropFirst()), member < share.members,
            String(decoding: room, as: UTF8.self) == share.name(of: share.room(of: member))
        else {
            strangers += 1
            return
        }
        events += 1
        let gateway = seat / seatsPerGateway
        var sighting = sightings[gateway][member] ?? Sighting()
        if sighting.isIn == isJoin { sighting.repetitions += 1 }
        sighting.isIn = isJoin
        if isJoin {
            sighting.joins += 1
        } else {
            sighting.leaves += 1
            sighting.lastLeaveAt = loop.now
        }
        sightings[gateway][member] = sighting
    }

    // MARK: Questions

    /// Asks `gateway` something about a room; `done` gets the answer. Answers that never come are never told.
    func ask(_ gateway: Int, _ room: String, _ make: (WireBytes) -> Request, _ done: @escaping (Reply) -> Void) -> Bool
    {
        let seat = gateway * seatsPerGateway
        guard let crowd, crowd.isIn(seat) else { return false }
        let command = crowd.send(seat, room, make)
        questions[UInt64(seat) << 32 | UInt64(command)] = done
        return true
    }

    func replied(_ seat: Int, _ command: UInt32, _ reply: Reply) {
        questions.removeValue(forKey: UInt64(seat) << 32 | UInt64(command))?(reply)
    }
}

/// Reads whole lists of members from gateways, in pages where they are long, and compares them with the truth.
final class PresenceLists {
    /// Members that are asked for at once; a longer list comes in pages.
    static let page: UInt32 = 1000
    private static let inFlight = 16
    private let observers: PresenceObservers
    private let share: CrowdShare
    private let truth: (Int) -> Set<String>
    private var queue: [(gateway: Int, room: Int)]
    private var next = 0
    private var running = 0
    private var scratch = ByteBuffer()
    /// Lists and pages that came.
    private(set) var lists = 0
    private(set) var pages = 0
    /// What was wrong, at most 20 of them told.
    private(set) var wrong = 0
    private(set) var complaints: [String] = []

    /// Asks each of `gateways` for each of `rooms`; `truth` tells the users of a room.
    init(
        _ observers: PresenceObservers, _ share: CrowdShare, gateways: [Int], rooms: Int,
        truth: @escaping (Int) -> Set<String>
    ) {
        self.observers = observers
        self.share = share
        self.truth = truth
        queue = (0..<rooms).flatMap { room in gateways.map { ($0, room) } }
        pump()
    }

    /// Whether all answers have come.
    var isDone: Bool { running == 0 && next >= queue.count }
    /// How many lists there are to come.
    var wanted: Int { queue.count }

    private func pump() {
        while running < PresenceLists.inFlight, next < queue.count {
            let (gateway, room) = queue[next]
            next += 1
            running += 1
            if share.members / max(1, share.rooms) > Int(PresenceLists.page) {
                ask(gateway, room, cursor: [], so: [])
            } else {
                ask(gateway, room, cursor: nil, so: [])
            }
        }
    }

    private func ask(_ gateway: Int, _ room: Int, cursor: [UInt8]?, so: [String]) {
        let isAsked = (cursor ?? []).withUnsafeBytes { bytes in
            observers.ask(gateway, share.name(of: room)) { name in
                var request = PresenceRequest(room: name)
                if cursor != nil {
                    request.limit = PresenceLists.page
                    request.cursor = bytes
                }
                return .presence(request)
            } _: { [weak self] reply in
                self?.came(gateway, room, so, reply)
            }
        }
        if !isAsked { finish(gateway, room, "the observer is not connected") }
    }

    private func came(_ gateway: Int, _ room: Int, _ so: [String], _ reply: Reply) {
        switch reply {
        case .presence(let result):
            pages += 1
            var users = so
            var walk = JSONCodec.Members(result.members, limit: 1 << 20)
            do throws(WireError) {
                while let info = try walk.next(scratch: &scratch) {
                    users.append(String(decoding: info.user, as: UTF8.self))
                }
            } catch {
                return finish(gateway, room, "the list is malformed: \(error)")
            }
            if result.cursor.count > 0 { return ask(gateway, room, cursor: Array(result.cursor), so: users) }
            compare(gateway, room, users)
        case .error(let error) where error.code == ErrorCode.limitExceeded.rawValue:
            // Too long for one reply.
            ask(gateway, room, cursor: [], so: [])
        case .error(let error): finish(gateway, room, "error \(error.code)")
        default: finish(gateway, room, "the reply to another command")
        }
    }

    private func compare(_ gateway: Int, _ room: Int, _ users: [String]) {
        let wanted = truth(room)
        let shown = Set(users)
        let ghosts = shown.subtracting(wanted)
        let missing = wanted.subtracting(shown)
        let doubled = users.count - shown.count
        var problem: String?
        if ghosts.count + missing.count + doubled > 0 {
            problem =
                "\(users.count) members for \(wanted.count): \(ghosts.count) ghosts (\(ghosts.sorted().prefix(3)))"
                + ", \(missing.count) missing (\(missing.sorted().prefix(3))), \(doubled) twice"
        }
        let isAsked = observers.ask(gateway, share.name(of: room)) {
            .presenceStats(room: $0)
        } _: { [weak self] reply in
            guard case .presenceStats(let clients, let users) = reply else {
                self?.finish(gateway, room, problem ?? "presence_stats was not answered")
                return
            }
            if problem == nil, Int(clients) != wanted.count || Int(users) != wanted.count {
                problem = "presence_stats tells \(clients) clients and \(users) users, there are \(wanted.count)"
            }
            self?.finish(gateway, room, problem)
        }
        if !isAsked { finish(gateway, room, problem) }
    }

    private func finish(_ gateway: Int, _ room: Int, _ problem: String?) {
        lists += 1
        running -= 1
        if let problem {
            wrong += 1
            if complaints.count < 20 { complaints.append("\(share.name(of: room)) at gateway \(gateway): \(problem)") }
        }
        pump()
    }
}
