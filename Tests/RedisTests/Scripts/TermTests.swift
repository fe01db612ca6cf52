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

    func renew(
        _ node: String, _ number: UInt64, life: UInt64 = 0xA, fenced: Bool = true, lease: Duration = .seconds(5)
    ) throws -> TermResult {
        try client.call(
            .renewTerm,
            { output in
                RenewTermCall(
                    registry: Array("martlet:term".utf8), term: RedisTerm(number: number, life: life),
                    node: Array(node.utf8), hasFenced: fenced, lease: lease
                ).append(to: &output)
            }, { try #require(TermResult($0), "the answer is one: \(Answer($0))") })
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

    @Test("a node that does not come is waited for one lease, by Redis' clock")
    func lease() throws {
        _ = try announce("a", remembered: ["dead"], lease: .milliseconds(60))
        #expect(awaited(try renew("a", 1)) == 1, "a longer lease is not over yet")
        // BLPOP waits on the server, so that its clock moves on.
        try client.command("BLPOP", "nothing", "0.08")
        #expect(isOpen(try renew("a", 1, lease: .milliseconds(60)), 1))
        #expect(isOpen(try renew("a", 1), 1), "open stays open")
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
        _ = try announce("b", lease: .milliseconds(1))
        _ = try renew("a", 1)
        _ = try renew("b", 1, lease: .milliseconds(1))
        try client.command("BLPOP", "nothing", "0.02")
        #expect(nodes(try renew("a", 1)) == ["a"])
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
