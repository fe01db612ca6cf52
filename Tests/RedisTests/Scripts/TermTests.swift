// The registry of terms on a real Redis: who is remembered, when a term opens, and what a stale caller is told.
// Each test has a server of its own.

import Bytes
import Redis
import Testing

@Suite("The registry of terms")
struct TermTests {
    let server: ScriptServer
    let client: ScriptClient

    init() throws {
        server = try ScriptServer()
        client = try server.client()
    }

    func announce(
        _ node: String, life: UInt64 = 0xA, known: UInt64 = 0, remembered: [String] = [],
        lease: Duration = .seconds(5)
    ) throws -> TermResult {
        let result = try client.call(
            .announceTerm,
            { output in
                AnnounceTermCall(
                    registry: Array("martlet:term".utf8), life: life, node: Array(node.utf8), highestKnown: known,
                    remembered: remembered.map { Array($0.utf8) }, lease: lease
                ).append(to: &output)
            }, { try #require(TermResult($0), "the answer is one: \(Answer($0))") })
        try client.expectEveryKeyToExpire()
        return result
    }

    func beat(
        _ node: String, _ number: UInt64, life: UInt64 = 0xA, fenced: Bool = true, lease: Duration = .seconds(5),
        sequence: UInt64 = 1
    ) throws -> BeatResult {
        try client.call(
            .beat,
            { output in
                BeatCall(
                    registry: bytes("martlet:term"), term: RedisTerm(number: number, life: life), node: bytes(node),
                    hasFenced: fenced, channel: channel(node), sequence: sequence, lease: lease,
                    incarnation: bytes(node + ":1")
                ).append(to: &output)
            }, { try #require(BeatResult($0), "the answer is one: \(Answer($0))") })
    }

    func renew(
        _ node: String, _ number: UInt64, life: UInt64 = 0xA, fenced: Bool = true, lease: Duration = .seconds(5)
    ) throws -> TermResult {
        try #require(try beat(node, number, life: life, fenced: fenced, lease: lease).result)
    }

    func leave(
        _ node: String, _ number: UInt64, life: UInt64 = 0xA, lease: Duration = .seconds(5)
    ) throws -> TermResult {
        try client.call(
            .leaveTerm,
            { output in
                LeaveCall(
                    registry: bytes("martlet:term"), term: RedisTerm(number: number, life: life), node: bytes(node),
                    lease: lease
                ).append(to: &output)
            }, { try #require(TermResult($0), "the answer is one: \(Answer($0))") })
    }

    func channel(_ node: String) -> [UInt8] {
        var output = ByteBuffer()
        client.names.appendNodeChannel(bytes(node), to: &output)
        return Array(output.bytes)
    }

    func fields() throws -> Set<String> {
        Set(try client.command("HKEYS", "martlet:term").elements.map(\.string))
    }

    func stale(_ number: UInt64, life: UInt64 = 0xA) -> TermResult {
        .staleTerm(RedisTerm(number: number, life: life))
    }

    func awaited(_ result: TermResult) -> Int? {
        if case .closed(_, _, let awaited, _) = result { return awaited }
        return nil
    }

    func isOpen(_ result: TermResult, _ number: UInt64) -> Bool {
        if case .open(number, _) = result { return true }
        return false
    }

    func nodes(_ result: TermResult) -> Set<String> {
        switch result {
        case .open(_, let nodes), .closed(_, _, _, let nodes): Set(nodes.map { String(decoding: $0, as: UTF8.self) })
        case .staleTerm: []
        }
    }

    @Test("a single node opens its term by fencing")
    func single() throws {
        guard case .closed(1, let wait, 1, _) = try announce("a") else { throw CancellationError() }
        #expect(wait > .zero && wait <= .seconds(5))
        #expect(awaited(try renew("a", 1, fenced: false)) == 1)
        let opened = try renew("a", 1)
        #expect(isOpen(opened, 1) && nodes(opened) == ["a"])
        #expect(isOpen(try announce("a", known: 1), 1), "a reconnection within the same life changes nothing")
        #expect(isOpen(try announce("b", known: 1), 1), "a new node joins an open term")
        #expect(nodes(try renew("a", 1)) == ["a", "b"])
    }

    @Test("a new life is open when every remembered node has fenced, whoever remembers it")
    func barrier() throws {
        for node in ["a", "b", "c"] { _ = try announce(node) }
        for node in ["a", "b", "c"] { _ = try renew(node, 1) }
        #expect(awaited(try announce("a", life: 0xB, known: 1)) == 3, "the registry remembers three")
        #expect(awaited(try renew("a", 2, life: 0xB)) == 2)
        #expect(
            awaited(try announce("b", life: 0xB, known: 1, remembered: ["a", "c", "d"])) == 3,
            "d is remembered by b only")
        #expect(awaited(try renew("b", 2, life: 0xB)) == 2)
        #expect(
            awaited(try announce("c", life: 0xB, known: 1, remembered: ["a", "b"])) == 2,
            "who has fenced is not awaited again")
        #expect(awaited(try renew("c", 2, life: 0xB)) == 1)
        #expect(awaited(try announce("d", life: 0xB)) == 1)
        #expect(isOpen(try renew("d", 2, life: 0xB), 2))
        #expect(isOpen(try renew("a", 2, life: 0xB), 2))
    }

    @Test("a node that does not come is waited for one lease, by Redis' clock; then the next number is open")
    func lease() throws {
        _ = try announce("a", remembered: ["dead", "b"], lease: .milliseconds(60))
        #expect(awaited(try renew("a", 1)) == 2, "a longer lease is not over yet")
        _ = try announce("b", known: 1)
        // BLPOP waits on the server, so that its clock moves on.
        try client.command("BLPOP", "nothing", "0.08")
        #expect(try renew("a", 1, lease: .milliseconds(60)) == stale(2), "who opened it is told like the others")
        #expect(try renew("b", 1) == stale(2))
        #expect(try fields() == ["n", "i", "a", "k", "x", "L:a", "L:b", "I:a", "C:a"])
        #expect(isOpen(try announce("a", known: 2), 2))
        #expect(isOpen(try announce("b", known: 1), 2))
        #expect(isOpen(try renew("a", 2), 2))
        #expect(isOpen(try renew("b", 2), 2), "open stays open")
        #expect(isOpen(try announce("dead", known: 1), 2), "and does not grow again")
    }

    @Test("an announcement, too, may find the lease over")
    func leaseByAnnouncement() throws {
        _ = try announce("a", remembered: ["dead"], lease: .milliseconds(40))
        _ = try renew("a", 1)
        try client.command("BLPOP", "nothing", "0.06")
        #expect(isOpen(try announce("b", lease: .milliseconds(40)), 2))
        #expect(try renew("a", 1) == stale(2))
    }

    @Test("what was vouched for in a number that did not open counts no more")
    func voucherInClosedTerm() throws {
        let vouched = ScriptRoom(client, "vouched")
        let renewed = ScriptRoom(client, "renewed")
        let lived = RedisTerm(number: 1, life: 0xA)
        vouched.term = lived
        renewed.term = vouched.term
        for room in [vouched, renewed] { try room.publish(1...5) }
        let (old, lower) = (try vouched.position().top, try renewed.position().top)
        _ = try announce("a", life: 0xB, known: 1, remembered: ["b"], lease: .milliseconds(40))
        for room in [vouched, renewed] { room.term = RedisTerm(number: 2, life: 0xB) }
        #expect(try vouched.fence(old, in: lived) == .kept(RoomRecord(top: old, previous: nil)))
        guard case .renewed(let between) = try renewed.fence(at(7, lower.epoch), in: lived) else {
            throw CancellationError()
        }
        try client.command("BLPOP", "nothing", "0.06")
        #expect(try renew("a", 2, life: 0xB, lease: .milliseconds(40)) == stale(3, life: 0xB))
        for room in [vouched, renewed] { room.term = RedisTerm(number: 3, life: 0xB) }
        #expect(try vouched.position().previous == old)
        #expect(try renewed.position().previous == between.top)
        // The one that was missing saw seven; whatever it says now, nobody is given its offsets again.
        guard case .otherEpoch(let record) = try vouched.fence(at(7, old.epoch), in: lived, late: true) else {
            throw CancellationError()
        }
        #expect(!record.continues(at(7, old.epoch)) && record.continues(old))
    }

    @Test("a node that leaves is waited for no more; had it fenced, the number stays")
    func leave() throws {
        for node in ["a", "b"] { _ = try announce(node) }
        for node in ["a", "b"] { _ = try renew(node, 1) }
        #expect(nodes(try leave("b", 1)) == ["a"])
        #expect(try fields() == ["n", "i", "a", "k", "x", "L:a", "I:a", "C:a"])
        #expect(awaited(try announce("a", life: 0xB, known: 1)) == 1, "nobody knows it any more")
        _ = try announce("c", life: 0xB)
        _ = try renew("a", 2, life: 0xB)
        _ = try leave("a", 2, life: 0xB)
        #expect(
            awaited(try announce("c", life: 0xB, known: 2, remembered: ["a"])) == 1,
            "who has left is not awaited again by those that remember it")
        #expect(isOpen(try renew("c", 2, life: 0xB), 2))
        #expect(try fields() == ["n", "i", "a", "k", "x", "L:c", "I:c", "C:c"])
        try client.expectEveryKeyToExpire()
    }

    @Test("a node that leaves without having fenced may have seen more: the next number opens, with or without others")
    func leaveUnfenced() throws {
        _ = try announce("a", remembered: ["b"])
        #expect(awaited(try renew("a", 1)) == 1)
        _ = try announce("b")
        #expect(isOpen(try leave("b", 1), 2), "it was the last one")
        #expect(try renew("a", 1) == stale(2))
        _ = try announce("c", life: 0xB, known: 2, remembered: ["a"])
        _ = try announce("a", life: 0xB, known: 2)
        #expect(awaited(try leave("a", 3, life: 0xB)) == 1, "c is still to come")
        #expect(
            awaited(try announce("c", life: 0xB, remembered: ["a"])) == 1, "who remembers it does not wait for it")
        #expect(try renew("c", 3, life: 0xB) == stale(4, life: 0xB))
        #expect(isOpen(try announce("c", life: 0xB, known: 4), 4))
        _ = try announce("c", life: 0xC, known: 4)
        #expect(isOpen(try renew("c", 5, life: 0xC), 5), "in the next life it is forgotten")
    }

    @Test("who is in another term than the registry takes nothing out of it, and makes no registry")
    func leaveElsewhere() throws {
        #expect(try leave("a", 1) == .staleTerm(nil))
        #expect(try client.keys().isEmpty)
        _ = try announce("a")
        #expect(try leave("a", 1, life: 0xB) == stale(1))
        #expect(try leave("a", 2) == stale(1))
        #expect(try fields().isSuperset(of: ["L:a", "W:a"]))
    }

    @Test("every beat is heard in the node's own channel, also of a stale term and of a server that takes no writes")
    func probe() throws {
        let listener = try server.client()
        try listener.command([bytes("SUBSCRIBE"), channel("a:b")])
        func expectProbe(_ text: String) throws {
            let message = try listener.receive { Answer($0) }.elements
            #expect(message.count == 3 && message[1].bytes == channel("a:b") && message[2].string == text)
        }
        #expect(try beat("a:b", 1, sequence: 7).result == .staleTerm(nil))
        try expectProbe("7")
        _ = try announce("a:b")
        #expect(isOpen(try #require(try beat("a:b", 1, sequence: .max).result), 1))
        try expectProbe("18446744073709551615")
        #expect(try beat("a:b", 2, sequence: 0).result == stale(1))
        try expectProbe("0")
        try client.command("CONFIG", "SET", "maxmemory", "1")
        let before = try client.command("HGETALL", "martlet:term")
        try client.send { output in
            BeatCall(
                registry: bytes("martlet:term"), term: RedisTerm(number: 1, life: 0xA), node: bytes("a:b"),
                hasFenced: true, channel: channel("a:b"), sequence: 8, incarnation: bytes("a:b:1")
            ).append(to: &output)
        }
        #expect(try client.receive { $0.error } == .outOfMemory)
        try expectProbe("8")
        #expect(try client.command("HGETALL", "martlet:term") == before)
    }

    @Test("a beat tells the replication id that INFO tells, also after it has changed")
    func replication() throws {
        func told() throws -> String {
            let info = try client.command("INFO", "replication").string
            let line = info.split(separator: "\r\n").first { $0.hasPrefix("master_replid:") }
            return String(try #require(line?.dropFirst(14)))
        }
        let one = try told()
        #expect(one.count == 40)
        #expect(try beat("a", 1).replication == bytes(one))
        _ = try announce("a")
        #expect(try beat("a", 1).replication == bytes(one))
        // Becoming a replica and a master again begins another history, on the same connection.
        try client.command("REPLICAOF", "127.0.0.1", "1")
        try client.command("REPLICAOF", "NO", "ONE")
        let two = try told()
        #expect(two != one)
        #expect(try beat("a", 1).replication == bytes(two))
    }

    @Test("numbers grow over a registry that was lost, as long as one node remembers")
    func lostRegistry() throws {
        _ = try announce("a", known: 41)
        #expect(isOpen(try renew("a", 42), 42))
        try client.command("FLUSHALL")
        #expect(try renew("a", 42) == .staleTerm(nil))
        #expect(awaited(try announce("a", known: 42, remembered: ["b"])) == 2)
        #expect(awaited(try renew("a", 43)) == 1)
        #expect(try renew("b", 42) == .staleTerm(RedisTerm(number: 43, life: 0xA)))
        _ = try announce("b", known: 42)
        #expect(isOpen(try renew("b", 43), 43))
        // A node knows a higher number than an old snapshot does: the life gets a number above it.
        guard case .closed(51, _, _, _) = try announce("b", known: 50) else { throw CancellationError() }
    }

    @Test("a node whose lease has ended is forgotten by the others' calls")
    func forgotten() throws {
        _ = try announce("a")
        #expect(isOpen(try renew("a", 1), 1))
        _ = try announce("b", lease: .milliseconds(1))
        _ = try renew("b", 1, lease: .milliseconds(1))
        try client.command("BLPOP", "nothing", "0.02")
        #expect(nodes(try renew("a", 1)) == ["a"])
    }

    @Test(
        "a new life does not wait for nodes of an old snapshot whose lease has run out, unless somebody remembers them")
    func oldSnapshot() throws {
        for remembered in [[], ["gone"]] {
            try client.command("FLUSHALL")
            try client.command("HSET", "martlet:term", "n", "7", "i", "000000000000000b", "k", "1", "L:gone", "1")
            let result = try announce("a", known: 7, remembered: remembered)
            #expect(awaited(result) == 1 + remembered.count)
            let opened = try renew("a", 8)
            #expect(isOpen(opened, 8) == remembered.isEmpty)
        }
        try client.command("FLUSHALL")
        try client.command(
            "HSET", "martlet:term", "n", "7", "i", "000000000000000b", "k", "1", "L:there", "9000000000000000")
        #expect(awaited(try announce("a", known: 7)) == 2)
    }

    @Test("names of nodes are bytes")
    func names() throws {
        let odd = "x:y{}%\r\n\u{0}"
        _ = try announce(odd)
        #expect(nodes(try renew(odd, 1)) == [odd])
    }

    @Test("terms are read strictly")
    func parsing() {
        func parse(_ text: String) -> RedisTerm? { Array(text.utf8).withUnsafeBytes { RedisTerm(parsing: $0) } }
        #expect(parse("7.00000000000000a1") == RedisTerm(number: 7, life: 0xA1))
        for text in [
            "", ".", "7", "7.", ".00000000000000a1", "7.00000000000000A1", "7.0000000000000000", "7.a1",
            "-7.00000000000000a1", "99999999999999999.00000000000000a1", "9007199254740992.00000000000000a1",
            "7.00000000000000a1 ",
        ] { #expect(parse(text) == nil, "\(text)") }
    }
}
