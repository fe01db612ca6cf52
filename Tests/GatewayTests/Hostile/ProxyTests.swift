// Life behind proxies over real sockets: PROXY headers whole, split, wrong, late and missing; whom limits count when
// the proxy names the client, and that nobody else can name one.

import Bytes
import Glibc
import Telemetry
import TestSupport
import Testing

@testable import Gateway
@testable import Reactor
@testable import Rooms

/// Version 2 with an IPv4 source.
private func binary(_ source: [UInt8], command: UInt8 = 0x21) -> [UInt8] {
    [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, command, 0x11, 0, 12] + source + [10, 0, 0, 1, 1, 2, 3, 4]
}

private func line(_ source: String) -> [UInt8] {
    let isSix = source.contains(":")
    return Array("PROXY TCP\(isSix ? 6 : 4) \(source) \(isSix ? "::1" : "10.0.0.1") 4711 8000\r\n".utf8)
}

extension TestGateway {
    /// A gateway that trusts this machine.
    fileprivate static func behindBalancer(
        proxyProtocol: Bool = true, _ adjust: (inout GatewayConfiguration) -> Void = { _ in }
    ) throws -> TestGateway {
        try TestGateway {
            $0.proxyProtocol = proxyProtocol
            $0.trustedProxies = ["127.0.0.0/8", "10.0.0.0/8"]
            adjust(&$0)
        }
    }

    /// Says `header` and the handshake in one segment; nil when the connection was reset instead of upgraded.
    fileprivate func upgrade(_ header: [UInt8]) throws -> WebSocketPeer? {
        let socket = try RawSocket(port: port)
        try socket.send(header + Array(WebSocketPeer.handshake().utf8))
        guard socket.receive(), !socket.buffer.isEmpty else {
            #expect(socket.end == ECONNRESET)
            return nil
        }
        #expect(try socket.response().status == 101)
        return WebSocketPeer(upgraded: socket)
    }

    /// The status that a handshake with `fields` gets, and the connection.
    fileprivate func status(_ fields: [String]) throws -> (Int, RawSocket) {
        let socket = try RawSocket(port: port)
        try socket.send(WebSocketPeer.handshake(extra: fields))
        return (try socket.response().status, socket)
    }

    fileprivate func handshakes(_ result: String) throws -> Double {
        try metric("martlet_handshakes_total{result=\"\(result)\"}")
    }

    fileprivate func refusals(_ reason: String) throws -> Double {
        try metric("martlet_connections_refused_total{reason=\"\(reason)\"}")
    }
}

@Suite struct ProxyTests {
    @Test func `NET-06 both versions of the header, in one segment with the request, are taken off`() throws {
        let gateway = try TestGateway.behindBalancer()
        let headers = [
            line("192.0.2.1"), line("2001:db8::1"), Array("PROXY UNKNOWN\r\n".utf8), binary([192, 0, 2, 1]),
            binary([192, 0, 2, 1], command: 0x20),
        ]
        for header in headers {
            let peer = try #require(try gateway.upgrade(header))
            #expect(try peer.connected().ask(#"{"id":9,"ping":{}}"#) == #"{"id":9,"ping":{}}"#)
        }
        #expect(try gateway.handshakes("accepted") == Double(headers.count))
        #expect(try gateway.handshakes("proxy_header") == 0)
    }

    @Test func `NET-06 a header that is split at any byte is the same header`() throws {
        let gateway = try PipeGateway(settings: { $0.proxies.expectsHeader = true })
        let request = Array(WebSocketPeer.handshake().utf8)
        for header in [line("192.0.2.1"), binary([192, 0, 2, 1])] {
            let all = header + request
            for cut in 1...(header.count + 2) {
                let client = gateway.connect()
                client.send(bytes: Array(all[..<cut]))
                gateway.turn()
                client.send(bytes: Array(all[cut...]))
                gateway.turn()
                #expect(client.isUpgraded, "cut at \(cut)")
            }
            let slow = gateway.connect()
            for byte in all {
                slow.send(bytes: [byte])
                gateway.turn(1)
            }
            gateway.turn()
            #expect(slow.isUpgraded)
        }
    }

    @Test func `NET-06 a wrong or missing header ends the connection without an answer`() throws {
        let gateway = try TestGateway.behindBalancer()
        let wrong: [[UInt8]] = [
            [], Array("PROXY TCP4 192.0.2.1 10.0.0.1 99999 1\r\n".utf8), Array("PROXY TCP4 x y 1 2\r\n".utf8),
            Array(repeating: 0x50, count: 300), binary([1, 2, 3, 4], command: 0x2F),
            Array(binary([1, 2, 3, 4])[..<14]) + [0xFF, 0xFF], Array(binary([1, 2, 3, 4])[..<14]) + [0, 3],
        ]
        for header in wrong { #expect(try gateway.upgrade(header) == nil) }
        #expect(try gateway.handshakes("proxy_header") == Double(wrong.count))
        let peer = try #require(try gateway.upgrade(line("192.0.2.1")))
        #expect(try peer.connected().ask(#"{"id":9,"ping":{}}"#) == #"{"id":9,"ping":{}}"#)
        try wait(until: "they are gone") { try gateway.metric("martlet_connections ") == 1 }
    }

    @Test func `NET-06 a header that does not come has the deadline of the head, which it does not prolong`() throws {
        let gateway = try PipeGateway(settings: {
            $0.proxies.expectsHeader = true
            $0.headTimeout = .seconds(10)
        })
        let mute = gateway.connect()
        let slow = gateway.connect()
        slow.send(bytes: Array(line("192.0.2.1")))
        gateway.turn()
        let trickle = Array(WebSocketPeer.handshake().utf8)
        var index = 0
        gateway.advance(.seconds(9), step: .seconds(1)) {
            slow.send(bytes: [trickle[index]])
            index += 1
        }
        #expect(gateway.total(.connections) == 2)
        gateway.advance(.seconds(2))
        #expect(gateway.total(.handshakes(.proxyHeader)) == 1 && gateway.total(.handshakes(.timeout)) == 1)
        #expect(mute.received.isEmpty)
        gateway.advance(.seconds(30))
        #expect(gateway.total(.connections) == 0)
    }

    @Test func `NET-06 a header counts only from a trusted network: others are reset before a byte is read`() throws {
        let gateway = try TestGateway {
            $0.proxyProtocol = true
            $0.trustedProxies = ["10.0.0.0/8"]
        }
        for _ in 0..<5 {
            guard let socket = knock(gateway.port) else { continue }
            _ = try? socket.send(line("10.0.0.1") + Array(WebSocketPeer.handshake().utf8))
            #expect(socket.awaitEnd() && socket.buffer.isEmpty)
        }
        #expect(try gateway.refusals("untrusted") == 5)
        #expect(try gateway.metric("martlet_handshakes_total") == 0)
        #expect(try gateway.admin("/readyz").status == 200, "the admin listener has no PROXY header")
    }

    @Test func `NET-07 limits count the address that the PROXY header names, IPv6 by its network`() throws {
        let gateway = try TestGateway.behindBalancer { $0.limits.maxConnectionsPerIP = 3 }
        var inside: [WebSocketPeer] = []
        let families: [(Int) -> [UInt8]] = [
            { _ in binary([192, 0, 2, 1]) }, { _ in line("192.0.2.2") }, { line("2001:db8:0:1::\($0)") },
            { line("2001:db8:0:2::\($0)") },
        ]
        for header in families {
            for index in 0..<3 { inside.append(try #require(try gateway.upgrade(header(index)))) }
            for index in 3..<6 { #expect(try gateway.upgrade(header(index)) == nil) }
        }
        // The same IPv4 address in the other family's words.
        #expect(try gateway.upgrade(line("::ffff:192.0.2.1")) == nil)
        #expect(try gateway.refusals("address") == 13)
        #expect(try gateway.handshakes("unavailable") == 13)
        // Neither the balancer itself nor what it does not name is limited.
        for _ in 0..<6 { inside.append(try #require(try gateway.upgrade(binary([10, 9, 9, 9])))) }
        for _ in 0..<6 { inside.append(try #require(try gateway.upgrade(Array("PROXY UNKNOWN\r\n".utf8)))) }
        let former = try gateway.metric("martlet_connections ")
        inside[0].socket.close()
        try wait(until: "its place is free") { try gateway.metric("martlet_connections ") == former - 1 }
        inside.append(try #require(try gateway.upgrade(binary([192, 0, 2, 1]))))
        #expect(try gateway.upgrade(binary([192, 0, 2, 1])) == nil)
        for peer in inside { peer.socket.close() }
    }

    @Test func `NET-07 limits count whom a trusted proxy's X-Forwarded-For names, at the upgrade`() throws {
        let gateway = try TestGateway.behindBalancer(proxyProtocol: false) { $0.limits.maxConnectionsPerIP = 4 }
        var inside: [RawSocket] = []
        // What a client writes in front, or in the other field, makes no other client.
        func spoofed(_ index: Int, _ client: String) -> [String] {
            ["X-Forwarded-For: 6.6.\(index / 250).\(index % 250), \(client)", "Forwarded: for=7.7.7.\(index % 250)"]
        }
        for client in ["192.0.2.1", "192.0.2.2:4711", "2001:db8:0:1::1"] {
            for index in 0..<4 {
                let (status, socket) = try gateway.status(spoofed(index, client))
                #expect(status == 101)
                inside.append(socket)
            }
        }
        for index in 0..<1000 { #expect(try gateway.status(spoofed(index, "192.0.2.1")).0 == 429) }
        #expect(try gateway.status(spoofed(0, "::ffff:192.0.2.2, 10.1.1.1")).0 == 429)
        #expect(try gateway.status(spoofed(0, "2001:db8:0:1:ffff::2")).0 == 429, "one network of IPv6 is one client")
        #expect(try gateway.status(["Forwarded: for=6.6.6.6, for=\"[2001:db8:0:1::9]:80\""]).0 == 429)
        #expect(try gateway.status(["Forwarded: for=\"[2001:db8:0:3::9]:80\""]).0 == 101)
        #expect(try gateway.refusals("address") == 1003 && gateway.handshakes("unavailable") == 1003)
        // Nobody is named: the proxy's own address, which has no limit.
        for fields in [[], ["X-Forwarded-For: unknown"], ["X-Forwarded-For: 10.1.1.1"]] {
            for _ in 0..<6 {
                let (status, socket) = try gateway.status(fields)
                #expect(status == 101)
                inside.append(socket)
            }
        }
        inside[0].close()
        try wait(until: "its place is given") { try gateway.status(spoofed(0, "192.0.2.1")).0 == 101 }
    }

    @Test func `NET-07 an untrusted peer's fields name nobody`() throws {
        let gateway = try TestGateway {
            $0.trustedProxies = ["10.0.0.0/8"]
            $0.limits.maxConnectionsPerIP = 5
        }
        let inside = try (0..<5).map { try gateway.status(["X-Forwarded-For: 192.0.2.\($0)"]) }
        #expect(inside.allSatisfy { $0.0 == 101 })
        var refused = 0
        for index in 0..<1000 {
            guard let socket = knock(gateway.port) else {
                refused += 1
                continue
            }
            _ = try? socket.send(
                WebSocketPeer.handshake(extra: ["X-Forwarded-For: 10.0.\(index / 250).\(index % 250)"]))
            if socket.awaitEnd(), socket.buffer.isEmpty { refused += 1 }
        }
        #expect(refused == 1000)
        #expect(try gateway.refusals("address") == 1000)
    }

    @Test func `the rate of one address counts clients, not their proxy`() throws {
        let gateway = try TestGateway.behindBalancer { $0.limits.acceptRatePerIP = 3 }
        var refused = 0
        for client in 1...4 {
            for _ in 0..<40 where try gateway.upgrade(binary([192, 0, 2, UInt8(client)])) == nil { refused += 1 }
        }
        #expect(try gateway.refusals("address_rate") == Double(refused) && refused > 0)
        #expect(try gateway.handshakes("accepted") >= 12, "each client has a second's worth")
    }
}
