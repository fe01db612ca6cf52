// A whole gateway as clients see it: upgrade, rooms over several loops, echo, liveness.

import Bytes
import TestSupport
import Testing

@testable import Gateway

@Suite struct UpgradeTests {
    @Test func `a client is upgraded, and gets a subprotocol only if it offered one that is known`() throws {
        let gateway = try TestGateway()
        let cases: [([String], String?)] = [
            ([], nil), (["Sec-WebSocket-Protocol: centrifuge-json"], "centrifuge-json"),
            (["Sec-WebSocket-Protocol: chat, centrifuge-json"], "centrifuge-json"),
            (["Sec-WebSocket-Protocol: centrifuge-protobuf, centrifuge-json"], "centrifuge-json"),
        ]
        for (extra, expected) in cases {
            let socket = try RawSocket(port: gateway.port)
            try socket.send(WebSocketPeer.handshake(extra: extra))
            let answer = try socket.response()
            #expect(answer.status == 101)
            #expect(answer.field("upgrade") == "websocket")
            #expect(answer.field("connection") == "Upgrade")
            #expect(answer.field("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            #expect(answer.field("sec-websocket-protocol") == expected)
            #expect(answer.field("sec-websocket-extensions") == nil)
        }
    }

    @Test func `pages of other origins are refused, those of the list and of the same host are not`() throws {
        let gateway = try TestGateway { $0.client.allowedOrigins = ["https://chat.example"] }
        let sameHost = try TestGateway()
        func status(_ gateway: TestGateway, _ origin: String) throws -> Int {
            let socket = try RawSocket(port: gateway.port)
            try socket.send(WebSocketPeer.handshake(extra: ["Origin: \(origin)"]))
            return try socket.response().status
        }
        #expect(try status(gateway, "https://chat.example") == 101)
        #expect(try status(gateway, "https://chat.example.evil") == 403)
        #expect(try status(sameHost, "http://localhost") == 101)
        #expect(try status(sameHost, "https://evil.example") == 403)
    }

    @Test func `protobuf is refused until it exists`() throws {
        let gateway = try TestGateway()
        for (query, extra) in [
            ("?format=protobuf", []), ("?cf_protocol=protobuf", []),
            ("", ["Sec-WebSocket-Protocol: centrifuge-protobuf"]),
        ] {
            let socket = try RawSocket(port: gateway.port)
            try socket.send(WebSocketPeer.handshake("/connection/websocket\(query)", extra: extra))
            #expect(try socket.response().status == 501)
            #expect(socket.awaitEnd())
        }
    }

    @Test func `an insecure server takes the user from the query, another one does not`() throws {
        let gateway = try TestGateway()
        let ada = try gateway.peer("/connection/websocket?user=ada%20l").connected()
        try ada.joined("a")
        try ada.publish("a", "1")
        #expect(try [ada.text(), ada.text()].contains { $0.contains(#""info":{"user":"ada l","client":"#) })
        let strict = try TestGateway {
            $0.client.insecure = false
            $0.client.allowAnonymous = true
            $0.rooms.default.allowSubscribeForAnonymous = true
            $0.rooms.default.allowPublishForAnonymous = true
        }
        let anonymous = try strict.peer("/connection/websocket?user=ada").connected()
        try anonymous.joined("a")
        try anonymous.publish("a", "1")
        #expect(try [anonymous.text(), anonymous.text()].contains { $0.contains(#""info":{"client":"#) })
    }

    @Test func `without tokens a server that lets nobody in anonymously says 101, then closes`() throws {
        let gateway = try TestGateway { $0.client.insecure = false }
        let peer = try gateway.peer()
        #expect(
            try peer.ask(#"{"id":1,"connect":{}}"#) == #"{"id":1,"error":{"code":101,"message":"unauthorized"}}"#)
        try peer.send(#"{"id":2,"ping":{}}"#)
        #expect(try peer.awaitClose().closeCode == 3501)
    }
}

@Suite struct ChatTests {
    @Test func `clients on all loops hear each other in one order`() throws {
        let gateway = try TestGateway { $0.loops = 3 }
        var clients: [WebSocketPeer] = []
        // The kernel spreads connections over the loops: enough of them reach every loop.
        repeat {
            clients.append(try gateway.client().joined("room"))
        } while try (0..<3).contains { try gateway.metric("martlet_loop_connections{loop=\"\($0)\"}") == 0 }
        for round in 0..<30 { try clients[round % clients.count].publish("room", "\(round)") }
        var order: [String]?
        for client in clients {
            var pushes: [String] = []
            while pushes.count < 30 {
                let text = try client.text()
                for line in text.split(separator: "\n") where line.contains("push") { pushes.append(String(line)) }
            }
            #expect(order == nil || order == pushes, "one order for everybody")
            order = pushes
        }
        #expect(Set(order ?? []).count == 30, "nothing is lost, nothing comes twice")
    }

    @Test func `a large room is served completely`() throws {
        let gateway = try TestGateway()
        let members = try (0..<150).map { _ in try gateway.client().joined("large") }
        for round in 0..<20 { try members[0].publish("large", "\"message \(round)\"") }
        for (index, member) in members.enumerated() {
            var pushes: [String] = []
            while pushes.count < 20 {
                let text = try member.text()
                if text.contains("push") { pushes.append(text) }
            }
            let isComplete = (0..<20).allSatisfy { pushes[$0].contains("\"message \($0)\"") }
            #expect(isComplete, "member \(index) has everything in order")
        }
        #expect(try gateway.metric("martlet_deliveries_total") == 3000)
        #expect(try gateway.metric("martlet_publications_total") == 20)
    }

    @Test func `a client that leaves the room or the server hears nothing more and leaves no trace`() throws {
        let gateway = try TestGateway()
        let stays = try gateway.client().joined("a")
        let leaves = try gateway.client().joined("a")
        let vanishes = try gateway.client().joined("a")
        #expect(try leaves.ask(#"{"id":5,"unsubscribe":{"channel":"a"}}"#) == #"{"id":5,"unsubscribe":{}}"#)
        vanishes.socket.reset()
        try stays.publish("a", "1")
        _ = try [stays.text(), stays.text()]
        #expect(try leaves.ask(#"{"id":6,"ping":{}}"#) == #"{"id":6,"ping":{}}"#, "no push came before it")
        try wait(until: "one connection is gone") { try gateway.metric("martlet_connections ") == 2 }
        try wait(until: "one subscription is left") { try gateway.metric("martlet_subscriptions ") == 1 }
    }

    @Test func `binary messages are refused where text is spoken`() throws {
        let gateway = try TestGateway()
        let peer = try gateway.client()
        try peer.send(2, Array("{}".utf8))
        #expect(try peer.awaitClose().closeCode == 1003)
    }
}

@Suite struct EchoTests {
    @Test func `every message comes back as it is, type for type`() throws {
        let gateway = try TestGateway { $0.echo = true }
        let peer = try gateway.peer("/echo")
        for size in [0, 1, 125, 126, 127, 65_535, 65_536, 300_000] {
            let payload = (0..<size).map { UInt8($0 % 95 + 32) }
            for opcode in [UInt8(1), 2] {
                try peer.send(opcode, payload)
                #expect(try peer.next() == ServerFrame(opcode: opcode, payload: payload), "\(size) bytes")
            }
        }
    }

    @Test func `fragments come back as one message, pings as pongs in between`() throws {
        let gateway = try TestGateway { $0.echo = true }
        let peer = try gateway.peer("/echo")
        try peer.socket.send(WebSocketPeer.frame(1, Array("Hel".utf8), final: false))
        try peer.send(9, Array("p".utf8))
        #expect(try peer.next() == ServerFrame(opcode: 10, payload: Array("p".utf8)))
        try peer.socket.send(WebSocketPeer.frame(0, Array("lo".utf8)))
        #expect(try peer.text() == "Hello")
    }

    @Test func `there is no echo unless it is on`() throws {
        let gateway = try TestGateway()
        let socket = try RawSocket(port: gateway.port)
        try socket.send(WebSocketPeer.handshake("/echo"))
        #expect(try socket.response().status == 404)
        #expect(socket.awaitEnd())
    }
}

@Suite struct HeartbeatTests {
    private func gateway() throws -> TestGateway {
        try TestGateway {
            $0.client.pingInterval = .seconds(1)
            $0.client.pongTimeout = .milliseconds(900)
        }
    }

    @Test func `pings come as announced, and pongs keep a client alive`() throws {
        let gateway = try gateway()
        let peer = try gateway.peer()
        #expect(try peer.ask(#"{"id":1,"connect":{}}"#).contains(#""ping":1,"pong":true"#))
        for _ in 0..<2 {
            #expect(try peer.text() == "{}")
            try peer.send("{}")
        }
        #expect(try peer.ask(#"{"id":5,"ping":{}}"#) == #"{"id":5,"ping":{}}"#)
    }

    @Test func `a missing pong closes with 3012`() throws {
        let gateway = try gateway()
        let silent = try gateway.client()
        #expect(try silent.text() == "{}")
        let close = try silent.awaitClose()
        #expect(close.closeCode == 3012 && close.closeReason == "no pong")
    }

    @Test func `ping frames come instead for whoever asks for them`() throws {
        let gateway = try gateway()
        let peer = try gateway.peer("/connection/websocket?cf_ws_frame_ping_pong=true")
        #expect(try !peer.ask(#"{"id":1,"connect":{}}"#).contains(#""ping""#))
        for _ in 0..<2 {
            let frame = try peer.next()
            #expect(frame.opcode == 9)
            try peer.send(10, frame.payload)
        }
        #expect(try peer.next().opcode == 9)
        #expect(try peer.awaitClose().closeCode == 3012)
    }

    @Test func `HS-18 who never says connect is closed as stale`() throws {
        let gateway = try TestGateway { $0.client.staleCloseDelay = .milliseconds(100) }
        let close = try gateway.peer().awaitClose()
        #expect(close.closeCode == 3502 && close.closeReason == "stale")
        // Commands that are refused do not prolong the time, nor do pings of the protocol.
        let busy = try gateway.peer()
        try busy.send(9, [1])
        #expect(try busy.awaitClose().closeCode == 3502)
    }
}
