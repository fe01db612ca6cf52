// Connections that mean no good: as many a second as the kernel gives, from source addresses of their own, each doing
// one hostile thing and making room for the next. Bounded by `held` connections at a time and by the time that the
// driver gives; only ever to gateways on this machine. On the worker's loop.

import Bytes
import Glibc
import LoadCore
import Reactor

/// What an attacker does with a connection.
package enum AttackKind: String, CaseIterable, Sendable {
    /// Ends it at once.
    case connect
    /// Says nothing and waits to be thrown out.
    case silent
    /// Sends a byte of a request head a second.
    case slowloris
    /// Asks for what is no upgrade, and comes again.
    case badUpgrade = "bad-upgrade"
    /// Sends random bytes.
    case garbage
    /// Shakes hands, connects, and is gone again.
    case churn
}

/// What one attacking worker does.
struct AttackPlan: Equatable {
    var kind = AttackKind.connect
    /// Connections held at a time.
    var held = 1000
    /// Connections begun a second; 0 is as many as go.
    var rate = 0.0
    /// Source addresses 127.0.1.<first> and up.
    var firstAddress = 1
    var addresses = 20
    var seed: UInt64 = 1
    var target = ""

    /// The plan as one line.
    var line: String { "attack \(kind.rawValue) \(held) \(rate) \(firstAddress) \(addresses) \(seed) \(target)" }

    init() {}

    /// The plan that `words` tell; nil when they are none.
    init?(_ words: [Substring]) {
        guard words.count == 8, words[0] == "attack", let kind = AttackKind(rawValue: String(words[1])),
            let held = Int(words[2]), (1...18_000).contains(held), let rate = Double(words[3]),
            let first = Int(words[4]), let addresses = Int(words[5]), first >= 1, addresses >= 1,
            first + addresses <= 255, let seed = UInt64(words[6])
        else { return nil }
        self.kind = kind
        self.held = held
        self.rate = rate
        firstAddress = first
        self.addresses = addresses
        self.seed = seed
        target = String(words[7])
    }
}

/// What an attacker counted.
struct AttackFigures {
    var attempts = 0
    var connected = 0
    /// Ends that were not the attacker's own: refused, reset, closed.
    var thrownOut = 0
    /// Answers of any kind.
    var answers = 0
    /// Connections that the kernel would not even begin.
    var notBegun = 0
}

/// One attacking worker.
final class Attacker: ConnectionHandler {
    /// How much attackers give way to everybody else on this machine.
    private static let niceness: Int32 = 19
    /// Connections begun in one turn of the loop, so that it also reads.
    private static let perTurn = 64
    private static let request = Array("GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Filler: ".utf8)
    private static let upgrade = """
        GET /connection/websocket?user=x HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n
        """
    private static let wrong = "GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: h2c\r\n\r\n"
    /// `{"id":1,"connect":{}}` masked with zeros.
    private static let greeting: [UInt8] =
        [0x81, 0x80 | 21, 0, 0, 0, 0] + Array(#"{"id":1,"connect":{}}"#.utf8)

    private let loop: Loop
    private let plan: AttackPlan
    private let target: SocketAddress
    private let sources: [SocketAddress]
    private var kind: UInt8 = 0
    private var random: SeededRandom
    private var schedule: RateSchedule?
    private var isRunning = true
    private var open: Set<ConnectionID> = []
    /// How far each slow request head is, or how often a churning connection was answered.
    private var steps: [ConnectionID: Int] = [:]
    private var nextSource = 0
    private(set) var figures = AttackFigures()

    /// An attacker that begins at once. `givesWay`: the whole process does to everybody else on this machine.
    init(_ loop: Loop, _ plan: AttackPlan, givesWay: Bool = true) throws {
        guard let target = Endpoint.address(plan.target) else { throw RigFailure("attacks stay on this machine") }
        self.loop = loop
        self.plan = plan
        self.target = target
        sources = (0..<plan.addresses).compactMap {
            SocketAddress(host: "127.0.1.\(plan.firstAddress + $0)", port: 0)
        }
        random = SeededRandom(seed: plan.seed)
        if plan.rate > 0 { schedule = RateSchedule(start: .now(), rate: plan.rate) }
        // They stand for other people's machines: what they compute must not be taken from the gateway's cores.
        if givesWay { _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, Attacker.niceness) }
        kind = loop.register(self)
        attack()
    }

    /// Ends the attack and all its connections.
    func stop() {
        isRunning = false
        for id in open { loop.close(id) }
    }

    private func attack() {
        guard isRunning else { return }
        var begun = 0
        while begun < Attacker.perTurn, open.count < plan.held {
            if schedule != nil, schedule?.take(now: .now()) == nil { break }
            begun += 1
            begin()
        }
        loop.schedule(after: .milliseconds(begun == Attacker.perTurn ? 0 : 4)) { [weak self] in self?.attack() }
    }

    private func begin() {
        figures.attempts += 1
        nextSource = (nextSource + 1) % sources.count
        do {
            let id = try loop.connect(to: target, from: sources[nextSource], handler: kind)
            open.insert(id)
        } catch {
            figures.notBegun += 1
        }
    }

    func opened(_ id: ConnectionID) {
        figures.connected += 1
        switch plan.kind {
        case .connect: end(id)
        case .silent: break
        case .slowloris:
            steps[id] = 0
            loop.setTimer(id, after: .milliseconds(10))
        case .badUpgrade: write(id, Array(Attacker.wrong.utf8))
        case .garbage: write(id, (0..<512).map { _ in UInt8.random(in: 0...255, using: &random) })
        case .churn: write(id, Array(Attacker.upgrade.utf8))
        }
    }

    private func write(_ id: ConnectionID, _ bytes: [UInt8]) { bytes.withUnsafeBytes { loop.write(id, $0) } }

    private func end(_ id: ConnectionID) {
        open.remove(id)
        steps[id] = nil
        loop.close(id)
    }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        figures.answers += 1
        switch plan.kind {
        case .churn:
            // The upgrade is answered, then the greeting: that was all it wanted.
            if steps[id] == nil {
                steps[id] = 1
                write(id, Attacker.greeting)
            } else {
                end(id)
            }
        case .badUpgrade: end(id)
        default: break
        }
    }

    func timerFired(_ id: ConnectionID) {
        guard isRunning, let step = steps[id] else { return }
        let letter = step < Attacker.request.count ? Attacker.request[step] : UInt8(ascii: "x")
        steps[id] = step + 1
        write(id, [letter])
        loop.setTimer(id, after: .seconds(1))
    }

    func closed(_ id: ConnectionID, _ reason: CloseReason) {
        steps[id] = nil
        if open.remove(id) != nil, isRunning { figures.thrownOut += 1 }
    }

    /// Adds what was counted to `result`.
    func collect(into result: inout WorkerResult) {
        result["attack.attempts"] += UInt64(figures.attempts)
        result["attack.connected"] += UInt64(figures.connected)
        result["attack.thrown_out"] += UInt64(figures.thrownOut)
        result["attack.answers"] += UInt64(figures.answers)
        result["attack.not_begun"] += UInt64(figures.notBegun)
    }
}
