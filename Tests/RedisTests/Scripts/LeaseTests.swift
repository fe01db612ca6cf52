// Leases in the registry on a real Redis: who is taken for dead and by whom, who reaps, and what a late comer is told.
// Each test has a server of its own; time passes by setting what the registry holds back.

import Bytes
import Redis
import Testing

@Suite("Leases of nodes")
struct LeaseTests {
    let server: ScriptServer
    let client: ScriptClient
    static let registry = bytes("martlet:term")
    static let term = RedisTerm(number: 1, life: 0xA)

    init() throws {
        server = try ScriptServer()
        client = try server.client()
    }

    func announce(_ node: String, life: UInt64 = 0xA, known: UInt64 = 0) throws {
        try client.send { output in
            AnnounceTermCall(
                registry: LeaseTests.registry, life: life, node: bytes(node), highestKnown: known, remembered: []
            ).append(to: &output)
        }
        let isUnknown = try client.receive { $0.error == .noScript }
        guard isUnknown else { return }
        try client.send { RedisScript.announceTerm.appendLoad(to: &$0) }
        try client.receive { _ in }
        try announce(node, life: life, known: known)
    }

    func beat(
        _ node: String, _ incarnation: Int = 1, lease: Duration = .seconds(60), term: RedisTerm = LeaseTests.term,
        mayReap: Bool = true, _ change: (inout BeatCall) -> Void = { _ in }
    ) throws -> BeatResult {
        var call = BeatCall(
            registry: LeaseTests.registry, term: term, node: bytes(node), hasFenced: true, channel: bytes("c"),
            sequence: 1, lease: lease, incarnation: bytes("\(node):\(incarnation)"))
        call.mayReap = mayReap
        change(&call)
        let result = try client.call(
            .beat, { call.append(to: &$0) }, { try #require(BeatResult($0), "the answer is one: \(Answer($0))") })
        try client.expectEveryKeyToExpire()
        return result
    }

    /// The node's lease has run out.
    func expire(_ nodes: String...) throws {
        for node in nodes { try client.command("HSET", "martlet:term", "L:\(node)", "1000") }
    }

    /// The node has renewed its lease for a whole one.
    func beSenior(_ nodes: String...) throws {
        for node in nodes { try client.command("HSET", "martlet:term", "C:\(node)", "1000", "a", "1000") }
    }

    /// The claim on a dead node has run out.
    func expireClaim(_ incarnation: String, by reaper: String) throws {
        try client.command("HSET", "martlet:term", "D:\(incarnation)", "c 1000 1000 \(reaper)")
    }

    func fields(_ kind: String) throws -> Set<String> {
        Set(try client.command("HKEYS", "martlet:term").elements.map(\.string).filter { $0.hasPrefix(kind + ":") })
    }

    @Test("a node whose lease has run out is dead for whoever has held its own for a whole lease, and for nobody else")
    func seniority() throws {
        try announce("a")
        _ = try beat("a")
        try announce("b")
        _ = try beat("b")
        // Both are late: after an outage the first one to come must not take the other one for dead.
        try beSenior("a", "b")
        try expire("a", "b")
        #expect(try beat("a").order == nil)
        #expect(try fields("D").isEmpty)
        #expect(try beat("b").result != nil)
        // Now b stays away.
        try expire("b")
        #expect(try beat("a").order == nil, "a has not held its own for so long again")
        try beSenior("a")
        let order = try #require(try beat("a").order)
        #expect(order.incarnation == bytes("b:1") && !order.isQuiet && order.silence >= .seconds(60))
        #expect(try fields("L") == ["L:a"] && fields("I") == ["I:a"] && fields("D") == ["D:b:1"])
    }

    @Test("a dead node goes to one survivor at a time, and to another one when that one is silent")
    func claims() throws {
        for node in ["a", "b", "c"] {
            try announce(node)
            _ = try beat(node)
        }
        try beSenior("a", "b")
        try expire("c")
        #expect(try beat("a", mayReap: false).order == nil, "who is busy gets none")
        #expect(try beat("b").order?.incarnation == bytes("c:1"))
        #expect(try beat("a").order == nil, "it is taken")
        try expireClaim("c:1", by: "b:1")
        #expect(try beat("b", mayReap: false).order == nil)
        #expect(try beat("a").order == nil, "its beats keep it")
        try expireClaim("c:1", by: "b:1")
        #expect(try beat("a").order?.incarnation == bytes("c:1"), "b is silent")
        #expect(try beat("b") { $0.reaped = bytes("c:1") }.order == nil, "too late to report it")
        #expect(try client.command("HGET", "martlet:term", "D:c:1").string.hasPrefix("c "))
        _ = try beat("a") { $0.reaped = bytes("c:1") }
        #expect(try client.command("HGET", "martlet:term", "D:c:1").string.hasPrefix("t "), "it is remembered")
        #expect(try beat("a").order == nil, "and given to nobody")
        try client.command("HSET", "martlet:term", "D:c:1", "t 1 1")
        _ = try beat("a")
        #expect(try fields("D").allSatisfy { $0 != "D:c:1" }, "but not for ever")
    }

    @Test("a node that was taken for dead is told so until it comes as another incarnation")
    func reborn() throws {
        for node in ["a", "b"] {
            try announce(node)
            _ = try beat(node)
        }
        try beSenior("a")
        try expire("b")
        #expect(try beat("a").order?.incarnation == bytes("b:1"))
        for _ in 0..<2 { #expect(try beat("b").result == nil) }
        try announce("b", known: 1)
        #expect(try beat("b").result == nil, "a new connection does not help")
        #expect(try beat("b", 2) { $0.isReborn = true }.result != nil)
        #expect(try beat("b", 2).result != nil)
        #expect(try beat("b", 1).result == nil, "the dead one stays dead")
        // Somebody has taken the lease out of the registry: whoever comes without one was dead.
        try client.command("HDEL", "martlet:term", "L:b")
        #expect(try beat("b", 2).result == nil)
        #expect(try beat("b", 3) { $0.isReborn = true }.result != nil)
    }

    @Test("an incarnation that is replaced goes to whoever reaps: without a word if the store had lost something")
    func replaced() throws {
        try announce("a")
        _ = try beat("a")
        let quiet = try beat("a", 2) {
            $0.isReborn = true
            $0.replacesQuietly = true
        }
        #expect(
            quiet.order == ReapOrder(incarnation: bytes("a:1"), isQuiet: true, silence: quiet.order?.silence ?? .zero))
        _ = try beat("a", 2) { $0.reaped = bytes("a:1") }
        let loud = try beat("a", 3) { $0.isReborn = true }
        #expect(loud.order?.incarnation == bytes("a:2") && loud.order?.isQuiet == false)
    }

    @Test("a node that ends in good order leaves its members to be reaped, or nothing")
    func leave() throws {
        for leavesMembers in [true, false] {
            try client.command("FLUSHALL")
            for node in ["a", "b"] {
                try announce(node)
                _ = try beat(node)
            }
            _ = try beat("a")
            try client.send { output in
                LeaveCall(
                    registry: LeaseTests.registry, term: LeaseTests.term, node: bytes("b"), leavesMembers: leavesMembers
                ).append(to: &output)
            }
            if try client.receive({ $0.error == .noScript }) {
                try client.send { RedisScript.leaveTerm.appendLoad(to: &$0) }
                try client.receive { _ in }
                try client.send { output in
                    LeaveCall(
                        registry: LeaseTests.registry, term: LeaseTests.term, node: bytes("b"),
                        leavesMembers: leavesMembers
                    ).append(to: &output)
                }
                try client.receive { _ in }
            }
            let order = try beat("a").order
            #expect(order?.incarnation == (leavesMembers ? bytes("b:1") : nil))
            #expect(try fields("L") == ["L:a"] && fields("I") == ["I:a"] && fields("C") == ["C:a"])
        }
    }

    @Test("a new life keeps what has run out until somebody has held a lease in it")
    func newLife() throws {
        for node in ["a", "b", "gone"] {
            try announce(node)
            _ = try beat(node)
        }
        try beSenior("a", "b")
        try expire("b", "gone")
        let next = RedisTerm(number: 2, life: 0xB)
        try announce("a", life: 0xB, known: 1)
        #expect(try fields("E") == ["E:b", "E:gone"] && fields("D").isEmpty)
        #expect(try beat("a", term: next).order == nil)
        try announce("b", life: 0xB, known: 1)
        #expect(try beat("b", term: next).result != nil)
        try expire("b")
        #expect(try beat("a", term: next, mayReap: false).result != nil)
        #expect(try fields("E") == ["E:gone"], "b is back, and nobody is buried before a lease is over")
        #expect(try beat("b", term: next).result != nil)
        try beSenior("a")
        #expect(try beat("a", term: next).order?.incarnation == bytes("gone:1"))
        #expect(try fields("E").isEmpty && fields("L") == ["L:a", "L:b"])
    }

    @Test("nonsense in the registry is nobody's death")
    func nonsense() throws {
        try announce("a")
        _ = try beat("a")
        try beSenior("a")
        try client.command(
            "HSET", "martlet:term", "D:x:1", "nonsense", "D:y:1", "w 9999999999999999 1", "D:z:1", "", "L:v", "x",
            "E:w", "y")
        for _ in 0..<3 { #expect(try beat("a").order == nil) }
        #expect(try fields("D").isEmpty && fields("L") == ["L:a"] && fields("E").isEmpty)
    }
}
