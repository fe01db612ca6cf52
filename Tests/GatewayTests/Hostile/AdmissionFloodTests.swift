// Floods of connections and of comings and goings, over real sockets: limits hold, refusals are resets, operators and
// those who are there notice nothing. The tests' names carry the ids of the list of hostile inputs.

import Bytes
import Glibc
import Telemetry
import TestSupport
import Testing

@testable import Gateway
@testable import Reactor
@testable import Rooms

/// A connection, or nil when its reset came so soon that connecting failed.
func knock(_ port: UInt16) -> RawSocket? { try? RawSocket(port: port) }

/// Opens `count` connections and waits until all but `admitted` of them were refused, as the metric says, too.
private func flood(_ port: UInt16, _ count: Int, admitted: Int, refused: () throws -> Double) throws -> [RawSocket] {
    let before = try refused()
    let sockets = (0..<count).compactMap { _ in knock(port) }
    var open = sockets
    wait(until: "all but \(admitted) are refused") {
        for socket in open { socket.poll() }
        open.removeAll { $0.end != nil }
        return open.count <= admitted
    }
    #expect(open.count == admitted)
    #expect(try refused() - before == Double(count - admitted))
    for socket in sockets where socket.end != nil {
        #expect(socket.end == ECONNRESET && socket.buffer.isEmpty, "a refusal is a reset, without a byte")
    }
    return open
}

extension TestGateway {
    fileprivate func refused(_ reason: String) throws -> Double {
        try metric("martlet_connections_refused_total{reason=\"\(reason)\"}")
    }
}

@Suite struct AdmissionFloodTests {
    @Test func `connections beyond the total are reset, operators are served, a free place is given`() throws {
        let gateway = try TestGateway { $0.limits.maxConnections = 20 }
        try besideNeighbour(gateway) { gateway in
            let all = try flood(gateway.port, 100, admitted: 19) { try gateway.refused("connections") }
            #expect(try gateway.metric("martlet_connections ") == 20)
            #expect(try gateway.admin("/readyz").status == 200, "operators are not clients")
            for socket in all { socket.close() }
            try wait(until: "they are gone") { try gateway.metric("martlet_connections ") == 1 }
        }
        #expect(try gateway.metric("martlet_handshakes_total{result=\"unavailable\"}") == 0)
    }

    @Test func `NET-07 a spoofed X-Forwarded-For makes no other address: 1000 of them share one limit`() throws {
        let gateway = try TestGateway { $0.limits.maxConnectionsPerIP = 10 }
        // Held, so that the limit stays reached.
        let inside = try (0..<10).map { _ in try gateway.client() }
        var refusals = 0
        for index in 0..<1000 {
            guard let socket = knock(gateway.port) else {
                refusals += 1
                continue
            }
            let forged = "10.\(index / 250).\(index % 250).1"
            let fields = ["X-Forwarded-For: \(forged)", "X-Real-IP: \(forged)", "Forwarded: for=\(forged)"]
            _ = try? socket.send(WebSocketPeer.handshake(extra: fields))
            #expect(socket.awaitEnd())
            if socket.buffer.isEmpty { refusals += 1 }
        }
        #expect(refusals == 1000)
        #expect(try gateway.refused("address") == 1000)
        #expect(try inside[0].ask(#"{"id":9,"ping":{}}"#) == #"{"id":9,"ping":{}}"#)
        inside[0].socket.close()
        try wait(until: "its place is free") { try gateway.metric("martlet_connections ") == 9 }
        _ = try gateway.client()
    }

    @Test func `NET-07 an address is the same over IPv4 and mapped into IPv6, on every loop`() throws {
        let gateway = try TestGateway {
            $0.host = "::"
            $0.behindProxy = true
            $0.loops = 4
            $0.limits.maxConnectionsPerIP = 6
        }
        // IPv4 on a socket of both families: the kernel hands out mapped addresses.
        let inside = try flood(gateway.port, 60, admitted: 6) { try gateway.refused("address") }
        for socket in inside { socket.close() }
    }

    @Test func `the rate of one address and of all are limited before the handshake`() throws {
        // So slow that no token comes back while the test runs: a second's worth is all there is.
        let one = try TestGateway { $0.limits.acceptRatePerIP = 3 }
        var sockets = (0..<40).compactMap { _ in knock(one.port) }
        try wait(until: "most were refused") { try one.refused("address_rate") >= 30 }
        let all = try TestGateway { $0.limits.acceptRate = 3 }
        sockets += (0..<40).compactMap { _ in knock(all.port) }
        try wait(until: "most were refused") { try all.refused("rate") >= 30 }
        #expect(try all.metric("martlet_handshakes_total") == 0)
        for socket in sockets { socket.close() }
    }

    @Test func `while memory is short newcomers are reset and readiness says so`() throws {
        // One byte: any process has more.
        let gateway = try TestGateway { $0.limits.maxMemory = 1 }
        try wait(until: "it is noticed") { try gateway.admin("/readyz").status == 503 }
        #expect(try gateway.admin("/readyz").body.contains("[-] memory: short; no more connections"))
        #expect(try gateway.admin("/livez").status == 200, "a restart would not mend it")
        if let socket = knock(gateway.port) { #expect(socket.awaitEnd() && socket.buffer.isEmpty) }
        #expect(try gateway.refused("memory") == 1)
    }

    @Test func `HS-16 thousands of slow heads end at one deadline while others are served`() throws {
        let loop = try TestLoop(settings: { $0.headTimeout = .milliseconds(1500) })
        let head = Array(WebSocketPeer.handshake().utf8)
        let slow = try (0..<2000).map { _ in try RawSocket(port: loop.port) }
        var index = 0
        var served = 0
        while slow.contains(where: { $0.end == nil }), index < head.count {
            for socket in slow where socket.end == nil {
                _ = try socket.sendSome(head[index..<(index + 1)])
                socket.poll()
            }
            #expect(try loop.peer("/echo").ask("quick") == "quick")
            served += 1
            index += 1
        }
        for socket in slow {
            #expect(socket.awaitEnd())
            if !socket.buffer.isEmpty { #expect(try socket.response().status == 408) }
        }
        #expect(loop.total(.handshakes(.timeout)) == 2000 && index < head.count && served > 0)
        wait(until: "nothing is left of them") { loop.total(.connections) == 0 }
    }

    @Test func `HS-17 who connects and says nothing is let go, in whatever phase`() throws {
        let loop = try TestLoop(
            limits: LoopLimitsForTests.short,
            settings: {
                $0.headTimeout = .milliseconds(300)
                $0.echoIdleTimeout = .milliseconds(300)
            }, rules: { $0.staleCloseDelay = .milliseconds(300) })
        let mute = try RawSocket(port: loop.port)
        let half = try RawSocket(port: loop.port)
        try half.send("GET /connection/websocket HTTP/1.1\r\nHost: ")
        let upgraded = try loop.peer()
        let echo = try loop.peer("/echo")
        let refused = try RawSocket(port: loop.port)
        try refused.send("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        // It never closes its side: the linger time ends it.
        #expect(try refused.response().status == 404)
        #expect(try mute.response().status == 408)
        #expect(try half.response().status == 408)
        #expect(try upgraded.awaitClose().closeCode == 3502)
        #expect(try echo.awaitClose().closeCode == 1001)
        wait(until: "all are gone, also those that never close") { loop.total(.connections) == 0 }
    }

    @Test func `HS-18 a token may fill 16 KiB, in whatever frames, and not one byte more`() throws {
        try besideNeighbour { gateway in
            let rest = #"{"id":1,"connect":{"token":""}}"#.utf8.count
            func connect(_ length: Int) -> String {
                #"{"id":1,"connect":{"token":"\#(String(repeating: "t", count: length - rest))"}}"#
            }
            #expect(try gateway.peer().ask(connect(16_384)).contains(#""client""#))
            let tooLong = try gateway.peer()
            try tooLong.send(connect(16_385))
            #expect(try tooLong.awaitClose().closeCode == 3501)
            // In fragments, without an end: cut off as soon as it is too much to hold.
            let endless = try gateway.peer()
            try endless.socket.send(WebSocketPeer.frame(1, Array(#"{"id":1,"connect":{"token":""#.utf8), final: false))
            var sent = 0
            while endless.socket.end == nil, sent < 200 {
                try endless.socket.send(WebSocketPeer.frame(0, Array(repeating: 116, count: 1000), final: false))
                endless.socket.poll()
                sent += 1
            }
            #expect(try endless.awaitClose(answers: false).closeCode == 3501)
        }
    }

    @Test func `NET-09 a peer that has gone silent is gone after ping and pong time`() throws {
        let gateway = try PipeGateway(rules: {
            $0.pingInterval = .seconds(25)
            $0.pongTimeout = .seconds(8)
        })
        let silent = try gateway.client().connected("a")
        let frames = try gateway.client("/connection/websocket?cf_ws_frame_ping_pong=true").connected("a")
        let echo = try gateway.client("/echo")
        gateway.advance(.seconds(12))
        #expect(gateway.total(.connections) == 3)
        gateway.advance(.seconds(21.3))
        for client in [silent, frames] {
            #expect(try client.frames().last?.closeCode == 3012, "ping within 25 s, pong within 8 s")
        }
        gateway.advance(.seconds(100))
        #expect(try echo.frames().last?.closeCode == 1001, "nobody pings an echo: it has an idle time")
        #expect(gateway.total(.connections) == 0)
    }

    @Test func `an echo that is used stays`() throws {
        let gateway = try PipeGateway()
        let echo = try gateway.client("/echo")
        for _ in 0..<10 {
            gateway.advance(.seconds(50), step: .seconds(1)) {}
            echo.send("still here")
            gateway.turn()
            #expect(try echo.frames().map(\.text) == ["still here"])
        }
    }

    @Test func `APP-11 one client is in 128 rooms at most, whatever it asks for`() throws {
        let gateway = try TestGateway()
        try besideNeighbour(gateway) { gateway in
            let peer = try gateway.client()
            var joined = 0
            for base in stride(from: 0, to: 10_000, by: 500) {
                let lines = (base..<(base + 500)).map { #"{"id":\#($0 + 1),"subscribe":{"channel":"r\#($0)"}}"# }
                try peer.send(lines.joined(separator: "\n"))
                for _ in 0..<500 {
                    let text = try peer.text()
                    // In any order: some rooms are at home on the other loop.
                    if text.contains(#""subscribe":{}"#) { joined += 1 } else { #expect(text.contains(#""code":106"#)) }
                }
            }
            #expect(joined == 128)
            let refused = #"martlet_commands_total{command="subscribe",result="limit_exceeded"}"#
            #expect(try gateway.metric(refused) == 9872)
            try wait(until: "the count is told") { try gateway.metric("martlet_subscriptions ") == 129 }
        }
    }

    @Test func `APP-10 rooms that were touched once leave nothing on a loop`() throws {
        let loop = try TestLoop(rules: { $0.roomLinger = .milliseconds(20) })
        let peer = try loop.peer().connected()
        for base in stride(from: 0, to: 20_000, by: 400) {
            let lines = (base..<(base + 400)).map {
                #"{"id":1,"subscribe":{"channel":"once\#($0)"}}"# + "\n"
                    + #"{"id":2,"unsubscribe":{"channel":"once\#($0)"}}"#
            }
            try peer.send(lines.joined(separator: "\n"))
            for _ in 0..<800 { #expect(try !peer.text().contains("error")) }
        }
        try wait(until: "all rooms have ended") { try loop.roomCount() == 0 }
        #expect(try peer.ask(#"{"id":9,"ping":{}}"#) == #"{"id":9,"ping":{}}"#)
    }

    @Test func `APP-11 the limits that come with the defaults end a client that does not heed them`() throws {
        let gateway = try TestGateway { $0.client.rate = GatewayConfiguration.Client().rate }
        try besideNeighbour(gateway) { gateway in
            let churner = try gateway.client()
            let lines = (0..<200).map { $0 % 2 == 0 ? "subscribe" : "unsubscribe" }
                .map { #"{"id":3,"\#($0)":{"channel":"a"}}"# }.joined(separator: "\n")
            var refused = 0
            try churner.send(lines)
            for _ in 0..<200 {
                let text = try churner.text()
                guard text.contains(#""code":111"#) else { continue }
                refused += 1
                #expect(text.contains(#""temporary":true,"retry_after":"#))
            }
            #expect(refused >= 90)
            #expect(try gateway.metric("martlet_rate_limited_total{scope=\"connection\"}") == Double(refused))
            // On and on, until the patience of five seconds is over.
            let deadline = Deadline(seconds: 30)
            var close: ServerFrame?
            while close == nil, !deadline.hasPassed {
                guard try churner.send(#"{"id":3,"ping":{}}"#) else { break }
                churner.socket.receive(Deadline(seconds: 0.002))
                while let frame = try churner.taken() { if frame.opcode == 8 { close = frame } }
            }
            #expect(close?.closeCode == 3013 && close?.closeReason == "too many requests")
        }
    }
}
