// A process that holds its share of a crowd: it connects back to the driver, does what the lines say and reports.
//
//   in   share … | open RATE | returns 0|1 | churn RATE MILLISECONDS WAY MOVES | leave WAY RATE | tally | phase NAME |
//        publish RATE | stop | newcomers RATE SEATS | attack KIND … | report | end of the connection: exit
//   out  progress … | tally CLIENT JOINS LEAVES IN … | tallied | count/latency/failure … | reported
//
// Everything runs on one loop. Bounded by the share.

import Bytes
import LoadCore
import Reactor
import Telemetry
import Wire

/// Runs a worker.
final class CrowdWorker: ConnectionHandler, CrowdDelegate, LetterHandler {
    let loop: Loop
    private var kind: UInt8 = 0
    private var channel: LineChannel?
    var share = CrowdShare()
    var crowd: Crowd?
    private var hasEnded = false
    var random = SeededRandom(seed: 1)
    private var tallies: [SeatTally] = []
    /// When each client came in last.
    private var joinedAt: [MonotonicTime] = []
    /// So long a client stays before it may go again: a join and a leave that follow each other closely may cancel out.
    private static let leastStay = Duration.milliseconds(500)
    /// Gateways that a client has moved on.
    private var shifts: [UInt8] = []
    /// Whether clients that the server ended come back.
    private var returns = false
    private var churn: Churn?
    private var churned = 0
    private var away = 0
    var publishing: CrowdPublishing?
    var newcomers: Newcomers?
    var attacker: Attacker?

    private struct Churn {
        var schedule: RateSchedule
        let until: MonotonicTime
        let way: Leaving
        let moves: Bool
    }

    /// A worker on `loop` for the driver that listens on `port`.
    init(_ loop: Loop, port: UInt16) throws {
        self.loop = loop
        kind = loop.register(self)
        guard let driver = SocketAddress(host: "127.0.0.1", port: port) else { throw RigFailure("address") }
        channel = LineChannel(loop, try loop.connect(to: driver, handler: kind))
    }

    /// Serves the driver that listens on `port` until it ends the connection.
    static func run(port: UInt16) throws {
        DescriptorLimit.raise()
        let registry = MetricRegistry(loops: 1, version: "crowd")
        let loop = try Loop(index: 0, metrics: registry.shard(0))
        let worker = try CrowdWorker(loop, port: port)
        loop.setLetterHandler(worker)
        while !worker.hasEnded {
            loop.schedule(after: .milliseconds(50)) {}
            loop.turn()
        }
        worker.publishing?.stop()
        loop.dismantle()
    }

    func opened(_ id: ConnectionID) { report() }
    func closed(_ id: ConnectionID, _ reason: CloseReason) { hasEnded = true }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        for words in channel?.take(bytes) ?? [] { obey(words) }
    }

    func receive(_ letter: Letter) {
        if letter.kind == Pacer.letterKind { publishing?.paced() }
    }

    func say(_ line: String) { channel?.send(line) }

    private func obey(_ words: [Substring]) {
        let number = words.count > 1 ? Double(words[1]) : nil
        switch words.first {
        case "share": if let share = CrowdShare(words) { begin(share) }
        case "open": crowd?.open(Array(0..<share.own.count), rate: number ?? 0)
        case "returns": returns = words.last == "1"
        case "churn": beginChurn(words)
        case "leave": leave(words)
        case "tally": tell()
        case "phase": publishing?.phase = words.count > 1 ? String(words[1]) : ""
        case "publish": if let crowd, let number { publishing = CrowdPublishing(loop, crowd, share, rate: number) }
        case "stop": publishing?.stop()
        case "newcomers": beginNewcomers(words)
        case "attack": attacker = AttackPlan(words).flatMap { try? Attacker(loop, $0) }
        case "attack-end": attacker?.stop()
        case "report": reportAll()
        default: break
        }
    }

    private func begin(_ share: CrowdShare) {
        self.share = share
        random = SeededRandom(seed: share.seed &* 7919 &+ UInt64(share.worker))
        let own = share.own
        tallies = Array(repeating: SeatTally(), count: own.count)
        shifts = Array(repeating: 0, count: own.count)
        joinedAt = Array(repeating: MonotonicTime(nanoseconds: 0), count: own.count)
        let gateways = share.gateways.compactMap(Endpoint.address)
        let crowd = Crowd(
            loop, gateways: gateways, count: own.count, seed: random.next(), delegate: self,
            identity: { [unowned self] index in
                let number = own[index]
                return SeatIdentity(
                    user: "m\(number)", gateway: share.gateway(of: number) + Int(shifts[index]),
                    rooms: [share.name(of: share.room(of: number))])
            })
        crowd.sources = CrowdWorker.sources(share)
        self.crowd = crowd
    }

    static func sources(_ share: CrowdShare) -> [SocketAddress] {
        (0..<share.sources).compactMap { SocketAddress(host: "127.0.\(share.network).\($0 + 1)", port: 0) }
    }

    // MARK: Members

    func changed(_ seat: Int, isOut: Bool) {
        if isOut { tallies[seat].leaves += 1 } else { tallies[seat].joins += 1 }
        tallies[seat].isIn = !isOut
        if !isOut { joinedAt[seat] = .now() }
        if isOut, churn != nil || away > 0 { comeBackLater(seat) }
    }

    func ended(_ seat: Int, wasIn: Bool, isOwn: Bool) {
        if tallies[seat].isIn {
            tallies[seat].isIn = false
            tallies[seat].leaves += 1
        }
        if isOwn, wasIn, isChurning.contains(seat) { return comeBackLater(seat) }
        guard returns, !isOwn else { return }
        let wait = Duration.milliseconds(Int64.random(in: 100...1000, using: &random))
        loop.schedule(after: wait) { [weak self] in self?.crowd?.open(seat) }
    }

    func pushed(_ seat: Int, _ room: WireBytes, _ push: Push) {
        if case .publication(let publication) = push { publishing?.delivered(publication) }
    }

    func replied(_ seat: Int, _ command: UInt32, _ reply: Reply) { publishing?.answered(reply) }

    // MARK: Churn

    private var isChurning: Set<Int> = []

    private func beginChurn(_ words: [Substring]) {
        guard words.count == 5, let rate = Double(words[1]), rate > 0, let time = Int64(words[2]),
            let way = Leaving(rawValue: String(words[3]))
        else { return }
        let schedule = RateSchedule(start: .now(), rate: rate)
        churn = Churn(schedule: schedule, until: .now() + .milliseconds(time), way: way, moves: words[4] == "1")
        churnTick()
    }

    private func churnTick() {
        guard let crowd, var churn, MonotonicTime.now() < churn.until else {
            churn = nil
            return
        }
        while churn.schedule.take(now: .now()) != nil {
            // A few tries: most clients are in.
            for _ in 0..<8 {
                let seat = Int.random(in: 0..<max(1, crowd.count), using: &random)
                guard crowd.count > 0, crowd.isIn(seat), !isChurning.contains(seat),
                    MonotonicTime.now().since(joinedAt[seat]) > CrowdWorker.leastStay
                else { continue }
                isChurning.insert(seat)
                churned += 1
                away += 1
                if churn.moves { shifts[seat] = shifts[seat] &+ 1 }
                crowd.leave(seat, churn.way)
                break
            }
        }
        self.churn = churn
        loop.schedule(after: .milliseconds(4)) { [weak self] in self?.churnTick() }
    }

    private func comeBackLater(_ seat: Int) {
        // Long enough that a leave and a join do not cancel each other out, short enough for a grace of some seconds.
        let wait = Duration.milliseconds(Int64.random(in: 500...1500, using: &random))
        loop.schedule(after: wait) { [weak self] in
            guard let self, isChurning.remove(seat) != nil else { return }
            away -= 1
            crowd?.join(seat)
        }
    }

    private func leave(_ words: [Substring]) {
        guard words.count == 3, let way = Leaving(rawValue: String(words[1])), let rate = Double(words[2]), rate > 0
        else { return }
        returns = false
        isChurning = []
        away = 0
        var schedule = RateSchedule(start: .now(), rate: rate)
        var next = 0
        func step() {
            guard let crowd else { return }
            while next < crowd.count, schedule.take(now: .now()) != nil {
                if crowd.isIn(next) { crowd.leave(next, way) } else { crowd.end(next) }
                next += 1
            }
            if next < crowd.count { loop.schedule(after: .milliseconds(4)) { step() } }
        }
        step()
    }

    // MARK: Telling

    private func report() {
        var progress = CrowdProgress()
        if let crowd {
            progress.joined = crowd.joined
            progress.connected = crowd.connected
            progress.failed = crowd.failed
            progress.lost = crowd.lost
            progress.settled = crowd.isSettled ? 1 : 0
        }
        progress.churned = churned
        progress.away = away
        progress.attacks = attacker?.figures.attempts ?? 0
        say(progress.line)
        loop.schedule(after: .milliseconds(100)) { [weak self] in self?.report() }
    }

    /// Tells what each client has done that is not the usual.
    private func tell() {
        var line = "tally"
        for (index, number) in share.own.enumerated() where tallies[index] != .usual {
            let tally = tallies[index]
            line += " \(number) \(tally.joins) \(tally.leaves) \(tally.isIn ? 1 : 0)"
            guard line.utf8.count > 30_000 else { continue }
            say(line)
            line = "tally"
        }
        say(line)
        say("tallied")
    }

    private func reportAll() {
        var result = WorkerResult()
        if let crowd {
            result["failed"] = UInt64(crowd.failed)
            result["lost"] = UInt64(crowd.lost)
            result["retries"] = UInt64(crowd.retries)
            result["pings"] = UInt64(crowd.pings)
            result.latencies["join"] = crowd.joinLatency
            for (reason, times) in crowd.failures { result.failures[reason, default: 0] += UInt64(times) }
        }
        publishing?.collect(into: &result)
        newcomers?.collect(into: &result)
        attacker?.collect(into: &result)
        for line in result.lines { say(line) }
        say("reported")
    }

    private func beginNewcomers(_ words: [Substring]) {
        guard words.count == 3, let rate = Double(words[1]), let seats = Int(words[2]), seats > 0 else { return }
        if rate > 0 {
            newcomers = Newcomers(loop, share, rate: rate, seats: min(seats, 10_000))
        } else {
            newcomers?.stop()
        }
    }
}

/// Addresses as words.
enum Endpoint {
    /// The address that `ADDRESS:PORT` tells; nil when it is none, or not on this machine.
    static func address(_ text: String) -> SocketAddress? {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0
        else { return nil }
        let host = String(text[..<colon])
        return Targets.isLoopback(host) ? SocketAddress(host: host, port: port) : nil
    }
}

/// How the tool runs itself as a worker.
package enum CrowdProcess {
    /// Serves the driver that listens on `port` until it ends the connection. The calling thread becomes the loop's.
    package static func run(port: UInt16) throws { try CrowdWorker.run(port: port) }
}
