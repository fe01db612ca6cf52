// What real servers got wrong before the upgrade, sent to both listeners: the answer is a status and a closed
// connection, never a crash, never a second answer, and nobody else notices. The tests' names carry the ids of the list
// of hostile inputs.

import Bytes
import Telemetry
import TestSupport
import Testing

@testable import Gateway

/// The two listeners.
private enum Entrance: String, CaseIterable {
    case client, admin

    func port(_ gateway: TestGateway) -> UInt16 { self == .client ? gateway.port : gateway.adminPort }

    var path: String { self == .client ? "/connection/websocket" : "/livez" }
}

/// Sends bytes, expects one answer with one of `statuses` that announces the end, then the end and nothing behind it.
private func refused(
    _ port: UInt16, _ statuses: Set<Int>, _ bytes: some Collection<UInt8>, location: SourceLocation = #_sourceLocation
) throws {
    let socket = try RawSocket(port: port)
    try socket.send(bytes)
    let answer = try socket.response()
    #expect(statuses.contains(answer.status), "status \(answer.status) \(answer.body)", sourceLocation: location)
    #expect(answer.field("connection")?.hasPrefix("close") == true, "it says so", sourceLocation: location)
    #expect(socket.awaitEnd(), "the connection is closed", sourceLocation: location)
    #expect(socket.buffer.isEmpty, "one answer: \(socket.buffer.prefix(80))", sourceLocation: location)
}

private func refused(
    _ port: UInt16, _ statuses: Set<Int>, _ text: String, location: SourceLocation = #_sourceLocation
) throws {
    try refused(port, statuses, Array(text.utf8), location: location)
}

/// A second request, whose answer must never come.
private let second = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"

@Suite struct HandshakeTests {
    @Test func `HS-01 a subprotocol list full of spaces costs nothing`() throws {
        try besideNeighbour { gateway in
            for count in [1000, 4000] {
                let socket = try RawSocket(port: gateway.port)
                let field = "Sec-WebSocket-Protocol: b" + String(repeating: " ", count: count) + "x"
                try socket.send(WebSocketPeer.handshake(extra: [field]))
                let answer = try socket.response()
                #expect(answer.status == 101 && answer.field("sec-websocket-protocol") == nil)
            }
            let field = "Sec-WebSocket-Protocol: b" + String(repeating: " ", count: 16_000) + "x"
            try refused(gateway.port, [431], WebSocketPeer.handshake(extra: [field]))
        }
    }

    @Test func `HS-02 too many fields are refused, as many as allowed are not`() throws {
        try besideNeighbour { gateway in
            func handshake(fields: Int) -> String {
                WebSocketPeer.handshake(extra: (0..<(fields - 5)).map { "X-\($0): 1" })
            }
            try refused(gateway.port, [431], handshake(fields: 2000))
            try refused(gateway.port, [431], handshake(fields: 101))
            let socket = try RawSocket(port: gateway.port)
            try socket.send(handshake(fields: 100))
            #expect(try socket.response().status == 101)
        }
    }

    @Test func `HS-03 odd extension offers are declined`() throws {
        try besideNeighbour { gateway in
            for offer in [
                "constructor", "__proto__", "permessage-deflate; x=\"", ";;;,,,=", "a;b;c=\"\\\"",
                "permessage-deflate; " + (0..<900).map { "p\($0)" }.joined(separator: ";"),
            ] {
                let socket = try RawSocket(port: gateway.port)
                try socket.send(WebSocketPeer.handshake(extra: ["Sec-WebSocket-Extensions: \(offer)"]))
                let answer = try socket.response()
                #expect([101, 400].contains(answer.status), "\(offer)")
                #expect(answer.field("sec-websocket-extensions") == nil)
            }
        }
    }

    @Test(arguments: [false, true])
    func `HS-04 HS-05 a head without end is refused at the limit, in one piece and byte by byte`(drips: Bool) throws {
        try besideNeighbour { gateway in
            for entrance in Entrance.allCases {
                for piece in [String(repeating: "a", count: 100) + ": b\r\n", "x"] {
                    let head = "GET \(entrance.path) HTTP/1.1\r\nHost: x\r\nX: "
                    // Twice what a head may have, without its end.
                    let bytes = Array((head + String(repeating: piece, count: 32_768 / piece.utf8.count)).utf8)
                    let socket = try RawSocket(port: entrance.port(gateway))
                    if drips {
                        for byte in bytes { guard try socket.send([byte]) else { break } }
                    } else {
                        try socket.send(bytes)
                    }
                    #expect(try socket.response().status == 431)
                    #expect(socket.awaitEnd())
                }
            }
        }
    }

    @Test func `HS-06 any Transfer-Encoding is refused, and what follows is never executed`() throws {
        try besideNeighbour { gateway in
            let fields = [
                "Transfer-Encoding: chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity",
                "Transfer-Encoding: \u{0B}chunked", "transfer-encoding:chunked", "X: a\r\n Transfer-Encoding: chunked",
                "Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Length: 5\r\nTransfer-Encoding: chunked",
                "Transfer-Encoding : chunked",
            ]
            for entrance in Entrance.allCases {
                for field in fields {
                    try refused(
                        entrance.port(gateway), [400],
                        "GET \(entrance.path) HTTP/1.1\r\nHost: x\r\n\(field)\r\n\r\n0\r\n\r\n" + second)
                }
            }
        }
    }

    @Test func `HS-07 lengths that can be read in two ways are refused`() throws {
        try besideNeighbour { gateway in
            let fields = [
                "Content-Length: 0\r\nContent-Length: 0", "Content-Length: 0\r\ncontent-length: 5",
                "Content-Length:", "Content-Length: +5", "Content-Length: 5,5", "Content-Length: 0x5",
                "Content-Length: 18446744073709551616", "Content-Length: -1", "Content-Length: 5 5",
            ]
            for entrance in Entrance.allCases {
                for field in fields {
                    try refused(
                        entrance.port(gateway), [400],
                        "GET \(entrance.path) HTTP/1.1\r\nHost: x\r\n\(field)\r\n\r\n" + second)
                }
            }
            let huge = "Content-Length: 9223372036854775807"
            try refused(gateway.adminPort, [413], "GET /livez HTTP/1.1\r\nHost: x\r\n\(huge)\r\n\r\n")
        }
    }

    @Test func `HS-08 names that are no names are refused`() throws {
        try besideNeighbour { gateway in
            let lines: [[UInt8]] =
                [
                    ": x", "a b: x", "a\tb: x", "a : x", "\u{00E9}: x", "no colon", "(a): x",
                ].map { Array($0.utf8) } + [Array("a\0b: x".utf8), [0xFF, 0x3A, 0x78]]
            for entrance in Entrance.allCases {
                for line in lines {
                    let start = Array("GET \(entrance.path) HTTP/1.1\r\nHost: x\r\n".utf8)
                    try refused(entrance.port(gateway), [400], start + line + Array("\r\n\r\n\(second)".utf8))
                }
            }
        }
    }

    @Test func `HS-09 nothing of a peer comes back in a response`() throws {
        try besideNeighbour { gateway in
            for entrance in Entrance.allCases {
                for path in ["/zzz%0d%0aSet-Cookie:%20zzz=1", "/zzz?x=%0d%0aX-Zzz:1", "/zzz%00"] {
                    let socket = try RawSocket(port: entrance.port(gateway))
                    try socket.send(
                        "GET \(path) HTTP/1.1\r\nHost: zzz\r\nX-Request-Id: zzz\r\nSec-WebSocket-Protocol: zzz\r\n\r\n")
                    #expect(socket.awaitEnd())
                    let all = String(decoding: socket.buffer, as: UTF8.self)
                    #expect(all.hasPrefix("HTTP/1.1 404 ") && !all.contains("zzz") && !all.contains("Cookie"))
                }
            }
            let socket = try RawSocket(port: gateway.port)
            try socket.send(WebSocketPeer.handshake(extra: ["Sec-WebSocket-Protocol: zzz, centrifuge-json, yyy"]))
            #expect(try socket.response().field("sec-websocket-protocol") == "centrifuge-json")
        }
    }

    @Test func `HS-10 behind a refused upgrade nothing is read, neither frames nor requests`() throws {
        try besideNeighbour { gateway in
            let heads = [
                WebSocketPeer.handshake("/elsewhere"), WebSocketPeer.handshake(extra: ["Origin: https://evil.example"]),
                WebSocketPeer.handshake().replacing("Version: 13", with: "Version: 12"),
                WebSocketPeer.handshake().replacing("dGhlIHNhbXBsZSBub25jZQ==", with: "short"),
            ]
            let frames = WebSocketPeer.frame(1, Array(#"{"id":1,"connect":{}}"#.utf8))
            for head in heads {
                try refused(gateway.port, [400, 403, 404, 426], Array(head.utf8) + frames + Array(second.utf8))
                try refused(
                    gateway.port, [400, 403, 404, 426], head + WebSocketPeer.handshake())
            }
        }
    }

    @Test func `HS-11 only RFC 6455's handshake is accepted`() throws {
        try besideNeighbour { gateway in
            let good = WebSocketPeer.handshake()
            for version in ["7", "8", "0", "13,8", "013", "13 ", "  13", ""] {
                let socket = try RawSocket(port: gateway.port)
                try socket.send(good.replacing("Version: 13", with: "Version: \(version)"))
                let answer = try socket.response()
                #expect(answer.status == 426 && answer.field("sec-websocket-version") == "13", "\(version)")
                #expect(socket.awaitEnd())
            }
            let edits: [(String, String, Set<Int>)] = [
                ("Connection: Upgrade", "Connection: keep-alive", [400, 426]),
                ("Upgrade: websocket\r\n", "", [400, 426]),
                ("Upgrade: websocket", "Upgrade: h2c", [400, 426]), ("GET ", "POST ", [400]),
                ("HTTP/1.1", "HTTP/1.0", [400]), ("HTTP/1.1", "HTTP/2.0", [505]), ("Host: localhost\r\n", "", [400]),
                ("Host: localhost", "Host: a\r\nHost: b", [400]), ("Host: localhost", "Host: a b", [400]),
                ("nonce", "", [400]), ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", [400]),
                ("dGhlIHNhbXBsZSBub25jZQ==", "!!!!IHNhbXBsZSBub25jZQ==", [400]),
                ("Sec-WebSocket-Key:", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key:", [400]),
                ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", [400]),
            ]
            for (from, to, statuses) in edits where good.contains(from) {
                try refused(gateway.port, statuses, good.replacing(from, with: to, maxReplacements: 1))
            }
        }
    }

    @Test func `HS-12 a handshake that ends anywhere costs its own connection only`() throws {
        try besideNeighbour { gateway in
            let bytes = Array(WebSocketPeer.handshake().utf8)
            for end in bytes.indices {
                let socket = try RawSocket(port: gateway.port)
                try socket.send(bytes[..<end])
                if end % 2 == 0 { socket.close() } else { socket.reset() }
            }
            let half = try RawSocket(port: gateway.port)
            try half.send(bytes[..<40])
            half.shutdownWrite()
            #expect(half.awaitEnd() && half.buffer.isEmpty)
            try wait(until: "only the neighbour is left") { try gateway.metric("martlet_connections ") == 1 }
        }
    }

    @Test(arguments: [UInt64(1), 2, 3, 4])
    func `HS-12 mutated handshakes are answered or closed`(seed: UInt64) throws {
        try besideNeighbour { gateway in
            var random = SeededRandom(seed: seed)
            let good = Array(WebSocketPeer.handshake(extra: ["Origin: http://localhost"]).utf8)
            for _ in 0..<80 {
                var bytes = good
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    let place = Int.random(in: 0..<bytes.count, using: &random)
                    switch Int.random(in: 0..<3, using: &random) {
                    case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                    case 1: bytes.remove(at: place)
                    default: bytes.insert(contentsOf: bytes[..<place].suffix(20), at: place)
                    }
                }
                let entrance = Entrance.allCases[Int.random(in: 0..<2, using: &random)]
                let socket = try RawSocket(port: entrance.port(gateway))
                try socket.send(bytes)
                socket.shutdownWrite()
                #expect(socket.awaitEnd(), "seed \(seed): \(bytes)")
                if socket.buffer.isEmpty { continue }
                let status = try socket.response().status
                #expect([101, 200, 400, 403, 404, 405, 413, 414, 426, 431, 505].contains(status), "seed \(seed)")
            }
        }
    }

    @Test func `HS-13 a target of any length is 414 at the limit`() throws {
        try besideNeighbour { gateway in
            for entrance in Entrance.allCases {
                for length in [8192, 16_384, 65_535, 65_536, 65_537, 131_072] {
                    let socket = try RawSocket(port: entrance.port(gateway))
                    let target = "/" + String(repeating: "a", count: length - 1)
                    try socket.send("GET \(target) HTTP/1.1\r\nHost: x\r\n\r\n")
                    #expect(try socket.response().status == 414, "\(length)")
                    #expect(socket.awaitEnd())
                }
            }
        }
    }

    @Test func `HS-16 HS-17 a head has one deadline, which bytes that trickle in do not prolong`() throws {
        let loop = try TestLoop(settings: { $0.headTimeout = .seconds(1) })
        let silent = try (0..<20).map { _ in try RawSocket(port: loop.port) }
        let slow = try (0..<40).map { _ in try RawSocket(port: loop.port) }
        let head = Array(WebSocketPeer.handshake().utf8)
        // One byte each, again and again: far more rounds than the deadline allows.
        var index = 0
        while slow.contains(where: { $0.end == nil }), index < head.count {
            for socket in slow where socket.end == nil {
                _ = try socket.sendSome(head[index..<(index + 1)])
                socket.poll()
            }
            // Somebody who behaves is served meanwhile.
            let peer = try loop.peer("/echo")
            #expect(try peer.ask("quick") == "quick")
            index += 1
            _ = slow[0].receive(Deadline(seconds: 0.02))
        }
        for socket in slow + silent {
            #expect(socket.awaitEnd())
            if !socket.buffer.isEmpty { #expect(try socket.response().status == 408) }
        }
        #expect(index < head.count, "the deadline came before the head was complete")
        #expect(loop.total(.handshakes(.timeout)) == 60)
    }

    @Test func `HS-18 before connect at most 16 KiB are listened to`() throws {
        try besideNeighbour { gateway in
            let peer = try gateway.peer()
            try peer.send(#"{"id":1,"connect":{"token":"\#(String(repeating: "t", count: 17_000))"}}"#)
            #expect(try peer.awaitClose().closeCode == 3501)
            let publisher = try gateway.peer()
            try publisher.publish("neighbours", "1")
            #expect(try publisher.awaitClose().closeCode == 3501)
        }
    }

    @Test func `HS-19 every way to err on the admin listener ends its connection`() throws {
        try besideNeighbour { gateway in
            for round in 0..<60 {
                let requests = [
                    "BAD\r\n\r\n", "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "POST /livez HTTP/1.1\r\nHost: x\r\n\r\n",
                    "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", "GET /livez HTTP/9.9\r\n\r\n",
                ]
                try refused(gateway.adminPort, [400, 404, 405, 413, 505], requests[round % requests.count])
            }
            let flood = try RawSocket(port: gateway.adminPort)
            // A page is being made while the peer goes on and on: it is cut off, nothing piles up.
            let request = Array(String(repeating: "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", count: 500).utf8)
            for _ in 0..<100 { guard try flood.send(request) else { break } }
            #expect(flood.awaitEnd())
        }
    }

    @Test func `HS-20 paths are matched exactly`() throws {
        try besideNeighbour { gateway in
            for path in [
                "/%2e%2e/", "//", "/connection/websocket%00", "/connection/websocket;", "/connection\\websocket",
                "/connection/websocket/", "//connection/websocket", "/connection/./websocket",
                "/Connection/websocket", "/connection%2Fwebsocket",
            ] {
                try refused(gateway.port, [404], WebSocketPeer.handshake(path))
            }
            for path in ["/%2e%2e/livez", "//livez", "/livez%00", "/livez;", "/..%2flivez", "/%252e", "/\\..\\livez"] {
                try refused(gateway.adminPort, [404], "GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
            }
        }
    }

    @Test func `garbage on either port is refused or closed`() throws {
        try besideNeighbour { gateway in
            var random = SeededRandom(seed: 5)
            for round in 0..<40 {
                let entrance = Entrance.allCases[round % 2]
                let socket = try RawSocket(port: entrance.port(gateway))
                let size = [1, 16, 517, 20_000][round % 4]
                try socket.send((0..<size).map { _ in UInt8.random(in: 0...255, using: &random) })
                socket.shutdownWrite()
                #expect(socket.awaitEnd(), "\(size) bytes")
            }
            // A client that speaks TLS.
            let hello = try RawSocket(port: gateway.port)
            try hello.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03, 0x03])
            #expect(hello.awaitEnd())
        }
    }
}
