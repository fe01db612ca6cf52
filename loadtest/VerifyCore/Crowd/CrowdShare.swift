// What one worker of a crowd is told before it starts: its share of the clients, as one line of words. Plain values.

import LoadCore

/// A worker's share of a crowd. Client n of the whole crowd is user `m<n>` at gateway n modulo the gateways, in room
/// n / gateways modulo the rooms, so that every room has members at every gateway.
struct CrowdShare: Equatable {
    var worker = 0
    var workers = 1
    var members = 0
    var rooms = 1
    var seed: UInt64 = 1
    /// What the names of rooms begin with; the number follows.
    var prefix = "crowd-"
    /// The first of the worker's source addresses is 127.0.<network>.1.
    var network = 1
    var sources = 1
    var gateways: [String] = []

    /// The clients of this worker.
    var own: [Int] { Array(stride(from: worker, to: members, by: max(1, workers))) }
    /// The gateway of client `number`.
    func gateway(of number: Int) -> Int { number % max(1, gateways.count) }
    /// The room of client `number`.
    func room(of number: Int) -> Int { number / max(1, gateways.count) % max(1, rooms) }
    /// The name of room `room`.
    func name(of room: Int) -> String { prefix + String(room) }

    /// The share as one line.
    var line: String {
        "share \(worker) \(workers) \(members) \(rooms) \(seed) \(prefix) \(network) \(sources) "
            + gateways.joined(separator: " ")
    }

    init() {}

    /// The share that `words` tell; nil when they are none.
    init?(_ words: [Substring]) {
        guard words.count > 9, words[0] == "share", let worker = Int(words[1]), let workers = Int(words[2]),
            let members = Int(words[3]), let rooms = Int(words[4]), let seed = UInt64(words[5]),
            let network = Int(words[7]), let sources = Int(words[8]), workers > 0, rooms > 0,
            (0..<workers).contains(worker), (0...1_000_000).contains(members), (0...255).contains(network),
            (0...250).contains(sources)
        else { return nil }
        self.worker = worker
        self.workers = workers
        self.members = members
        self.rooms = rooms
        self.seed = seed
        prefix = String(words[6])
        self.network = network
        self.sources = sources
        gateways = words[9...].map(String.init)
    }
}

/// How far a worker is.
struct CrowdProgress: Equatable {
    /// Clients in their rooms, clients connected.
    var joined = 0
    var connected = 0
    /// Attempts that failed, clients that the server ended.
    var failed = 0
    var lost = 0
    /// Clients that left to come back, and how many of them are still away.
    var churned = 0
    var away = 0
    /// Connections that attackers have begun.
    var attacks = 0
    /// 1 when nobody is on the way in.
    var settled = 0

    private var numbers: [Int] { [joined, connected, failed, lost, churned, away, attacks, settled] }

    /// The progress as one line.
    var line: String { "progress " + numbers.map(String.init).joined(separator: " ") }

    init() {}

    /// The progress that `words` tell; nil when they are none.
    init?(_ words: [Substring]) {
        let numbers = words.dropFirst().compactMap { Int($0) }
        guard words.first == "progress", words.count == 9, numbers.count == 8 else { return nil }
        joined = numbers[0]
        connected = numbers[1]
        failed = numbers[2]
        lost = numbers[3]
        churned = numbers[4]
        away = numbers[5]
        attacks = numbers[6]
        settled = numbers[7]
    }

    static func + (a: CrowdProgress, b: CrowdProgress) -> CrowdProgress {
        var sum = a
        sum.joined += b.joined
        sum.connected += b.connected
        sum.failed += b.failed
        sum.lost += b.lost
        sum.churned += b.churned
        sum.away += b.away
        sum.attacks += b.attacks
        sum.settled += b.settled
        return sum
    }
}

/// What a client has done in its room, for the truth that observers are held to.
struct SeatTally: Equatable, Sendable {
    /// Times that it came in and went out.
    var joins = 0
    var leaves = 0
    /// Whether it is in now.
    var isIn = false

    /// What clients do that nothing happens to: tallies tell only of the others.
    static let usual: SeatTally = {
        var tally = SeatTally()
        tally.joins = 1
        tally.isIn = true
        return tally
    }()
}
