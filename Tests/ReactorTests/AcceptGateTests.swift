// Gates at the listener: asked before anything else happens, told when somebody has gone; and how a peer's address
// becomes one word.

import Bytes
import CLinux
import Glibc
import Testing

@testable import Reactor

private func word(_ host: String) throws -> UInt64 {
    PeerAddress(try #require(SocketAddress(host: host, port: 1))).word
}

@Suite struct PeerAddressTests {
    @Test func `NET-07 an IPv4 address is one peer, however it is written`() throws {
        let plain = try word("192.0.2.7")
        #expect(try word("::ffff:192.0.2.7") == plain)
        #expect(try word("::ffff:c000:207") == plain)
        #expect(try word("192.0.2.8") != plain)
        #expect(try PeerAddress(#require(SocketAddress(host: "::ffff:192.0.2.7", port: 9))).description == "192.0.2.7")
    }

    @Test func `NET-07 IPv6 counts by its network of 64 bits`() throws {
        let one = try word("2001:db8:1:2::1")
        for same in ["2001:db8:1:2::2", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2:a:b:c:d"] {
            #expect(try word(same) == one)
        }
        for other in ["2001:db8:1:3::1", "2001:db8:2:2::1", "2001:db9:1:2::1"] { #expect(try word(other) != one) }
        let address = PeerAddress(try #require(SocketAddress(host: "2001:db8:1:2::1", port: 9)))
        #expect(address.description == "2001:db8:1:2::/64")
    }

    @Test func `no two kinds of address fall together, and only a Unix socket is nobody`() throws {
        let words = try ["::1", "0.0.0.0", "0.0.0.1", "255.255.255.255", "1.0.0.0", "fe80::1", "64:ff9b::1"].map(word)
        #expect(Set(words).count == words.count && !words.contains(0))
        #expect(try word("::1") == word("::2"), "one network")
        let path = try #require(SocketAddress(unixPath: "/tmp/x"))
        #expect(PeerAddress(path) == .uncounted && PeerAddress.uncounted.description == "local")
    }
}

/// A gate that does as it is told and keeps a list.
private final class Doorman: AcceptGate {
    var refuses = false
    var asked: [PeerAddress] = []
    var inside: [PeerAddress] = []

    func admit(_ address: InternetAddress?) -> PeerAddress? {
        let peer = address.map(PeerAddress.init) ?? .uncounted
        asked.append(peer)
        if !refuses { inside.append(peer) }
        return refuses ? nil : peer
    }

    func left(_ peer: PeerAddress) {
        if let index = inside.firstIndex(of: peer) { inside.remove(at: index) } else { Issue.record("nobody left") }
    }
}

@Suite struct AcceptGateTests {
    private let loop: Loop
    private let recorder: Recorder
    private let doorman = Doorman()
    private let address: SocketAddress

    init() throws {
        loop = try makeLoop()
        recorder = Recorder(loop)
        let kind = loop.register(recorder)
        loop.setGate(doorman, for: kind)
        let listener = try Listener.bind(loopback(), shared: false, handler: kind)
        address = listener.address
        try loop.add(listener)
    }

    @Test func `who is admitted is served, and told to the gate when gone`() throws {
        let peers = try (0..<3).map { _ in try Peer(to: address) }
        loop.turn(until: "all are in") { recorder.openedIDs.count == 3 }
        #expect(doorman.inside == Array(repeating: PeerAddress(v4: 0x7F00_0001), count: 3))
        for peer in peers { peer.close() }
        loop.turn(until: "all are gone") { loop.connectionCount == 0 }
        #expect(doorman.inside.isEmpty)
        dismantleForTest(loop)
    }

    @Test func `who is refused is reset and costs no slot and no call of the handler`() throws {
        doorman.refuses = true
        let peers = try (0..<50).map { _ in try Peer(to: address) }
        loop.turn(until: "all were refused") { doorman.asked.count == 50 }
        for peer in peers {
            var byte: UInt8 = 0
            let count = recv(peer.descriptor, &byte, 1, 0)
            // Taken at once: what the expectation itself does may change it.
            let code = errno
            #expect(count == -1 && code == ECONNRESET, "errno \(code)")
        }
        #expect(recorder.openedIDs.isEmpty && loop.connectionCount == 0)
        dismantleForTest(loop)
    }

    @Test func `refusals have a budget of their own in each iteration`() throws {
        doorman.refuses = true
        let peers = try (0..<40).map { _ in try Peer(to: address) }
        loop.turn(wait: false)
        #expect(doorman.asked.count == loop.limits.refusalsPerIteration)
        #expect(loop.limits.refusalsPerIteration < loop.limits.acceptsPerIteration)
        loop.turn(until: "the rest followed") { doorman.asked.count == 40 }
        for peer in peers { peer.close() }
        dismantleForTest(loop)
    }

    @Test func `a loop that ends tells of everybody, and pipes are nobody's business`() throws {
        let peers = try (0..<3).map { _ in try Peer(to: address) }
        loop.turn(until: "all are in") { recorder.openedIDs.count == 3 }
        _ = loop.makePipe(0, 0)
        #expect(doorman.asked.count == 3)
        loop.stop()
        loop.run()
        #expect(doorman.inside.isEmpty)
        for peer in peers { peer.close() }
        dismantleForTest(loop)
    }

    @Test func `another peer can be charged once it is known`() throws {
        let peer = try Peer(to: address)
        loop.turn(until: "it is in") { recorder.openedIDs.count == 1 }
        let id = recorder.openedIDs[0]
        let behind = PeerAddress(v4: 0xC000_0207)
        #expect(loop.recharge(id, to: behind) == PeerAddress(v4: 0x7F00_0001))
        #expect(loop.peer(id) == behind)
        doorman.inside = [behind]
        peer.close()
        loop.turn(until: "it is gone") { loop.connectionCount == 0 }
        #expect(doorman.inside.isEmpty)
        #expect(loop.recharge(id, to: behind) == nil)
        dismantleForTest(loop)
    }

    @Test func `NET-09 accepted sockets give up on a peer that acknowledges nothing`() throws {
        let peer = try Peer(to: address)
        loop.turn(until: "it is in") { recorder.openedIDs.count == 1 }
        let descriptor = loop.state.pointee.connections[recorder.openedIDs[0].slot].pointee.transport.descriptor
        #expect(martlet_get_option(descriptor, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT) == 30_000)
        #expect(martlet_get_option(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY) == 1)
        peer.close()
        dismantleForTest(loop)
    }
}
