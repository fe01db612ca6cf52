// Crowds of light clients, attackers, and what observers make of joins and leaves: lines by their round trips, clients
// against the reference server on one loop, books by scripts. No clock is waited for; a deadline is the last resort.

import Bytes
import LoadCore
import Reactor
import Telemetry
import Testing
import Wire

@testable import VerifyCore

@Suite("Lines between a bench and its workers")
struct CrowdLineTests {
    @Test("a share says the same on both sides, and deals members out over gateways and rooms")
    func share() throws {
        var share = CrowdShare()
        share.worker = 1
        share.workers = 3
        share.members = 100
        share.rooms = 7
        share.seed = 42
        share.prefix = "a:b-"
        share.network = 4
        share.sources = 2
        share.gateways = ["127.0.0.1:81", "127.0.0.1:82"]
        #expect(try #require(CrowdShare(share.line.split(separator: " "))) == share)
        #expect(share.own.count == 33 && share.own.first == 1 && share.own.last == 97)
        // Each room has members at both gateways.
        let places = Set((0..<100).map { share.room(of: $0) * 2 + share.gateway(of: $0) })
        #expect(places.count == 14)
    }

    @Test(
        "a share that is none is refused",
        arguments: ["", "share", "share 3 3 1 1 1 p 1 1 g", "share 0 1 1 0 1 p 1 1 g"])
    func noShare(line: String) { #expect(CrowdShare(line.split(separator: " ")) == nil) }

    @Test("progress and attack plans say the same on both sides")
    func others() throws {
        let words = "progress 1 2 3 4 5 6 7 1".split(separator: " ")
        #expect(try #require(CrowdProgress(words)).line == "progress 1 2 3 4 5 6 7 1")
        #expect(CrowdProgress(words.dropLast()) == nil)
        var plan = AttackPlan()
        plan.kind = .badUpgrade
        plan.rate = 12.5
        plan.target = "127.0.0.1:80"
        #expect(try #require(AttackPlan(plan.line.split(separator: " "))) == plan)
        plan.addresses = 255
        #expect(AttackPlan(plan.line.split(separator: " ")) == nil, "more addresses than there are")
    }

    @Test(
        "only addresses on this machine are taken",
        arguments: [("127.0.0.1:80", true), ("127.9.9.9:1", true), ("10.0.0.1:80", false), ("127.0.0.1", false)])
    func endpoints(text: String, isTaken: Bool) { #expect((Endpoint.address(text) != nil) == isTaken) }
}

/// A crowd and the reference server on one loop.
private final class CrowdRun: CrowdDelegate {
    let registry = MetricRegistry(loops: 1, version: "test")
    let loop: Loop
    let server: ReferenceServer
    var crowd: Crowd?
    var events: [String] = []
    var pushes: [Int] = []
    var replies: [Reply] = []

    init(_ count: Int) throws {
        loop = try Loop(index: 0, metrics: registry.shard(0))
        server = try ReferenceServer(loop, gateways: 2, store: ReferenceStore(historySize: 10, defect: .none))
        pushes = Array(repeating: 0, count: count)
        let addresses = (0..<2).compactMap { server.address($0, proxied: false) }
        crowd = Crowd(
            loop, gateways: addresses, count: count, seed: 3, delegate: self,
            identity: { SeatIdentity(user: "u\($0)", gateway: $0, rooms: ["r\($0 % 2)", "all"]) })
    }

    deinit { loop.dismantle() }

    func changed(_ seat: Int, isOut: Bool) { events.append("\(seat) \(isOut ? "out" : "in")") }
    func ended(_ seat: Int, wasIn: Bool, isOwn: Bool) { events.append("\(seat) ended \(wasIn) \(isOwn)") }
    func pushed(_ seat: Int, _ room: WireBytes, _ push: Push) { if case .publication = push { pushes[seat] += 1 } }
    func replied(_ seat: Int, _ command: UInt32, _ reply: Reply) { replies.append(reply) }

    /// The first client publishes to everybody.
    static func publish(_ crowd: Crowd) {
        Array("1".utf8).withUnsafeBytes { data in
            _ = crowd.send(0, "all") { name in
                var request = PublishRequest()
                request.room = name
                request.data = data
                return .publish(request)
            }
        }
    }

    func turn(until condition: () -> Bool) -> Bool {
        let deadline = MonotonicTime.now() + .seconds(30)
        while !condition() {
            if MonotonicTime.now() > deadline { return false }
            loop.schedule(after: .milliseconds(5)) {}
            loop.turn()
        }
        return true
    }
}

@Suite("A crowd of light clients")
struct CrowdTests {
    @Test("joins all its rooms over several gateways, talks, and leaves in every way")
    func life() throws {
        let run = try CrowdRun(6)
        let crowd = try #require(run.crowd)
        crowd.open(Array(0..<6), rate: 0)
        try #require(run.turn { crowd.joined == 6 }, "\(crowd.failures)")
        #expect(crowd.isSettled && crowd.connected == 6 && crowd.failed == 0)
        #expect(crowd.joinLatency.count == 6)
        CrowdRun.publish(crowd)
        #expect(run.turn { run.pushes == Array(repeating: 1, count: 6) })
        #expect(run.turn { run.replies.count == 1 })
        run.events = []
        crowd.leave(1, .close)
        crowd.leave(2, .drop)
        #expect(run.turn { run.events.sorted() == ["1 ended true true", "2 ended true true"] }, "\(run.events)")
        #expect(crowd.joined == 4 && crowd.lost == 0)
        crowd.join(1)
        #expect(run.turn { crowd.isIn(1) })
    }

    @Test("a client that the server turns out is lost, and told of as such")
    func lost() throws {
        let run = try CrowdRun(1)
        let crowd = try #require(run.crowd)
        run.server.breaksEvery = 1
        crowd.open(0)
        try #require(run.turn { crowd.joined == 1 })
        CrowdRun.publish(crowd)
        #expect(run.turn { run.events.last == "0 ended true false" })
        #expect(crowd.lost == 1 && crowd.joined == 0 && crowd.connected == 0)
    }

    @Test("who is not answered in time, or refused, has failed with a reason")
    func failures() throws {
        let registry = MetricRegistry(loops: 1, version: "test")
        let loop = try Loop(index: 0, metrics: registry.shard(0))
        defer { loop.dismantle() }
        let kind = loop.register(Mute())
        let listener = try Listener.bind(
            try #require(SocketAddress(host: "127.0.0.1", port: 0)), shared: false, handler: kind)
        try loop.add(listener)
        let crowd = Crowd(
            loop, gateways: [listener.address], count: 2, seed: 1,
            identity: { SeatIdentity(user: "u\($0)", gateway: 0, rooms: ["r"]) })
        crowd.openTimeout = .milliseconds(50)
        crowd.open([0, 1], rate: 0)
        let deadline = MonotonicTime.now() + .seconds(30)
        while crowd.failed < 2, MonotonicTime.now() < deadline {
            loop.schedule(after: .milliseconds(5)) {}
            loop.turn()
        }
        #expect(crowd.failures == ["not joined in time, upgrading": 2])
    }

    private final class Mute: ConnectionHandler {
        func opened(_ id: ConnectionID) {}
        func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {}
        func closed(_ id: ConnectionID, _ reason: CloseReason) {}
    }

    @Test("every attack reaches its target and ends when it is told to", arguments: AttackKind.allCases)
    func attacks(kind: AttackKind) throws {
        let run = try CrowdRun(1)
        var plan = AttackPlan()
        plan.kind = kind
        plan.held = 5
        plan.addresses = 3
        plan.target = "127.0.0.1:\(run.server.address(0, proxied: false)?.port ?? 0)"
        let attacker = try Attacker(run.loop, plan, givesWay: false)
        #expect(run.turn { attacker.figures.connected >= 5 && (kind != .churn || attacker.figures.answers >= 5) })
        attacker.stop()
        let attempts = attacker.figures.attempts
        for _ in 0..<5 { run.loop.turn(wait: false) }
        #expect(attacker.figures.attempts == attempts)
    }
}

@Suite("What observers make of joins and leaves")
struct EventBalanceTests {
    private var share: CrowdShare {
        var share = CrowdShare()
        share.members = 4
        share.rooms = 2
        share.gateways = ["a", "b"]
        return share
    }

    private func sighting(_ joins: UInt16, _ leaves: UInt16) -> Sighting {
        var sighting = Sighting()
        sighting.joins = joins
        sighting.leaves = leaves
        return sighting
    }

    private func balance(
        _ sightings: [[Int: Sighting]], since: [Int: SeatTally]? = nil, _ tallies: [Int: SeatTally] = [:],
        rooms: Int = 2, gateways: [Int] = [0, 1], isSilent: Bool = false
    ) -> EventBalance {
        EventBalance(sightings, share, rooms: rooms, since: since, tallies, gateways, isSilent: isSilent)
    }

    @Test("one join of each at each gateway is exact; one that is missing or comes twice is not")
    func joins() {
        let all = Dictionary(uniqueKeysWithValues: (0..<4).map { ($0, sighting(1, 0)) })
        #expect(balance([all, all]).isExact)
        #expect(balance([all, all]).expected == 8)
        var less = all
        less[3] = nil
        #expect(balance([all, less]).missing == 1)
        #expect(balance([all, less], gateways: [0]).isExact, "who is dead is not asked")
        #expect(balance([all, less], rooms: 1).isExact, "member 3 is in a room that nobody observes")
        less[3] = sighting(2, 0)
        #expect(balance([all, less]).surplus == 1)
    }

    @Test("only what happened since the last time counts")
    func since() {
        let went = SeatTally(joins: 2, leaves: 1, isIn: true)
        let nothing: [Int: Sighting] = [:]
        let once = [2: sighting(1, 1)]
        #expect(balance([nothing, nothing], since: [:]).isExact)
        #expect(balance([once, once], since: [:], [2: went]).isExact)
        #expect(balance([nothing, once], since: [:], [2: went]).missing == 2)
        #expect(balance([once, once], since: [2: went], [2: went]).surplus == 4)
    }

    @Test("in user scope who came back within the grace has not been away, who did not has")
    func silent() {
        let back = SeatTally(joins: 2, leaves: 1, isIn: true)
        let gone = SeatTally(joins: 1, leaves: 1, isIn: false)
        let nothing: [Int: Sighting] = [:]
        let leave = [1: sighting(0, 1)]
        #expect(balance([nothing, nothing], since: [:], [2: back], isSilent: true).isExact)
        #expect(balance([leave, leave], since: [:], [1: gone, 2: back], isSilent: true).isExact)
        #expect(!balance([nothing, leave], since: [:], [1: gone], isSilent: true).isExact)
    }
}

@Suite("Counting what clients ask of a Redis")
struct RedisMonitorTests {
    @Test(
        "lines of MONITOR",
        arguments: [
            ("+OK\r", RedisMonitor.Line.agreed),
            ("+1700000000.123456 [0 127.0.0.1:5000] \"evalsha\" \"abc\" \"2\"\r", .command("EVALSHA")),
            ("+1700000000.123456 [0 [::1]:5000] \"GET\" \"k]\"\r", .command("GET")),
            ("+1700000000.123456 [0 lua] \"XADD\" \"k\"\r", .inside),
            ("+1700000000.123456 [0 127.0.0.1:5000] \"PUBLISH\" \"a lua] b\"\r", .command("PUBLISH")),
            ("-ERR no", .other), ("", .other),
        ])
    func lines(text: String, line: RedisMonitor.Line) { #expect(RedisMonitor.read(Array(text.utf8)[...]) == line) }
}
