// Frames and messages that real servers fell over, sent to a gateway that serves somebody else at the same time: each
// costs its own connection, with the right close code. The tests' names carry the ids of the list of hostile inputs.

import Bytes
import Reactor
import Rooms
import Telemetry
import TestSupport
import Testing

@testable import Gateway

/// Bytes behind a good handshake, and the code of the Close that they get.
private struct Attack: CustomTestStringConvertible {
    let name: String
    let bytes: [UInt8]
    let codes: Set<UInt16>

    init(_ name: String, _ bytes: [UInt8], _ codes: Set<UInt16>) {
        self.name = name
        self.bytes = bytes
        self.codes = codes
    }

    var testDescription: String { name }
}

private let mask: [UInt8] = [0x11, 0xA2, 0x33, 0x44]

/// A header with a 64-bit length, and no payload.
private func declared(_ length: UInt64, opcode: UInt8 = 0x82) -> [UInt8] {
    [opcode, 0xFF] + (0..<8).reversed().map { UInt8(length >> ($0 * 8) & 255) } + mask
}

private func frame(_ opcode: UInt8, _ payload: [UInt8], final: Bool = true, reserved: UInt8 = 0) -> [UInt8] {
    WebSocketPeer.frame(opcode, payload, final: final, reserved: reserved)
}

private let attacks: [Attack] = [
    Attack(
        "WS-01 the 15 bytes that crashed a server",
        [
            0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 0xDE, 0xAD, 0xBE, 0xEF, 0x41,
        ], [1002]),
    Attack("WS-02 length 2^63", declared(1 << 63), [1002]),
    Attack("WS-02 length 2^64-1", declared(.max), [1002]),
    Attack("WS-02 length 2^63-1", declared(1 << 63 - 1), [1009]),
    Attack("WS-02 length 2^32", declared(1 << 32), [1009]),
    Attack("WS-02 length 2^32+1", declared(1 << 32 + 1), [1009]),
    Attack("WS-02 length 2^32-1", declared(1 << 32 - 1), [1009]),
    Attack("WS-02 a 1 GiB frame", declared(1 << 30), [1009]),
    Attack(
        "WS-02 a sum that overflows", frame(2, [1, 2, 3], final: false) + declared(1 << 63 - 1, opcode: 0x80), [1009]),
    Attack("WS-03 5 bytes in the 16-bit form", [0x81, 0x80 | 126, 0, 5] + mask + [1, 2, 3, 4, 5], [1002]),
    Attack("WS-03 200 bytes in the 64-bit form", declared(200, opcode: 0x81), [1002]),
    Attack("WS-08 a frame that is not masked", [0x81, 0x02, 0x7B, 0x7D], [1002]),
    Attack("WS-09 RSV1", frame(1, [0x7B], reserved: 4), [1002]),
    Attack("WS-09 RSV2", frame(1, [0x7B], reserved: 2), [1002]),
    Attack("WS-09 RSV3", frame(1, [0x7B], reserved: 1), [1002]),
    Attack("WS-09 RSV1 on a ping", frame(9, [], reserved: 4), [1002]),
    Attack("WS-09 opcode 3", frame(3, []), [1002]),
    Attack("WS-09 opcode 7", frame(7, []), [1002]),
    Attack("WS-09 opcode 11", frame(11, []), [1002]),
    Attack("WS-09 opcode 15", frame(15, []), [1002]),
    Attack("WS-10 a ping of 126 bytes", frame(9, Array(repeating: 0, count: 126)), [1002]),
    Attack("WS-10 a fragmented ping", frame(9, [], final: false), [1002]),
    Attack("WS-10 a fragmented close", frame(8, [], final: false), [1002]),
    Attack("WS-11 a continuation of nothing", frame(0, [0x7B]), [1002]),
    Attack("WS-11 a new message inside another", frame(1, [0x7B], final: false) + frame(1, [0x7B]), [1002]),
    Attack("WS-12 a close of one byte", frame(8, [3]), [1002]),
    Attack("WS-12 a reason that is not UTF-8", frame(8, [3, 232, 0xFF]), [1002, 1007]),
    Attack("WS-13 a byte that begins nothing", frame(1, [0xFF]), [1007]),
    Attack("WS-13 overlong", frame(1, [0xC0, 0xAF]), [1007]),
    Attack("WS-13 a surrogate", frame(1, [0xED, 0xA0, 0x80]), [1007]),
    Attack("WS-13 above the last code point", frame(1, [0xF4, 0x90, 0x80, 0x80]), [1007]),
    Attack("WS-13 cut off", frame(1, [0xE2, 0x82]), [1007]),
    Attack(
        "WS-13 broken over two fragments, found before the end",
        frame(1, [0xE2], final: false) + frame(0, [0x28], final: false), [1007]),
]

@Suite struct FrameTests {
    @Test(arguments: ["/connection/websocket", "/echo"])
    func `WS-01 WS-02 WS-03 WS-08 to WS-13 broken frames close with their code`(path: String) throws {
        try besideNeighbour(TestGateway { $0.echo = true }) { gateway in
            for attack in attacks {
                let peer = try gateway.peer(path)
                try peer.socket.send(attack.bytes)
                let close = try peer.awaitClose(answers: false)
                #expect(attack.codes.contains(close.closeCode ?? 0), "\(attack.name): \(close)")
                // The same, byte by byte.
                let slow = try gateway.peer(path)
                for byte in attack.bytes { guard try slow.socket.send([byte]) else { break } }
                #expect(try slow.awaitClose(answers: false) == close, "\(attack.name), byte by byte")
            }
        }
    }

    @Test func `WS-12 close codes that may not be sent are refused, others are echoed once`() throws {
        try besideNeighbour { gateway in
            for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535] as [UInt16] {
                let peer = try gateway.client()
                try peer.sendClose(code)
                #expect(try peer.awaitClose(answers: false).closeCode == 1002, "\(code)")
            }
            for code in [1000, 1001, 1003, 1007, 1011, 3000, 3999, 4000, 4999] as [UInt16] {
                let peer = try gateway.client()
                try peer.sendClose(code, "bye")
                // Whatever comes behind the close is ignored.
                try peer.send(#"{"id":5,"ping":{}}"#)
                try peer.sendClose(1000)
                #expect(try peer.awaitClose(answers: false).closeCode == code)
            }
            let empty = try gateway.client()
            try empty.send(8)
            #expect(try empty.awaitClose(answers: false) == ServerFrame(opcode: 8, payload: []))
        }
    }

    @Test func `WS-12 who says goodbye, or is told so, and never closes is let go after a while`() throws {
        var limits = LoopLimitsForTests.short
        limits.lingerTimeout = .milliseconds(200)
        let loop = try TestLoop(
            limits: limits, settings: { $0.closeTimeout = .milliseconds(200) },
            rules: { $0.staleCloseDelay = .seconds(3600) })
        let says = try loop.peer("/echo")
        try says.sendClose(1000)
        let told = try loop.peer()
        try told.send("[]")
        #expect(try told.next().closeCode == 3501)
        #expect(try says.next().closeCode == 1000)
        wait(until: "both connections are gone") { loop.total(.connections) == 0 }
        #expect(told.socket.awaitEnd() && says.socket.awaitEnd())
    }

    @Test func `WS-04 WS-05 WS-06 messages without end are closed at the limit`() throws {
        try besideNeighbour { gateway in
            let kilobyte = Array(repeating: UInt8(ascii: "x"), count: 1024)
            let floods: [(String, first: [UInt8], next: [UInt8], UInt16)] = [
                ("WS-05 fragments of 1 KiB", frame(1, kilobyte, final: false), frame(0, kilobyte, final: false), 1009),
                ("WS-06 fragments of 1 byte", frame(1, [120], final: false), frame(0, [120], final: false), 1008),
                ("WS-06 empty fragments", frame(1, [], final: false), frame(0, [], final: false), 1008),
            ]
            for (name, first, next, code) in floods {
                let peer = try gateway.client()
                try peer.socket.send(first)
                // Above either limit, 64 KiB or 1024 fragments; the server may have stopped listening before the last.
                try peer.socket.send(Array(repeating: next, count: 1500).flatMap { $0 })
                #expect(try peer.awaitClose(answers: false).closeCode == code, "\(name)")
            }
            // 100 MB are announced and streamed by somebody who has not even said connect.
            let anonymous = try gateway.peer()
            try anonymous.socket.send(declared(100 << 20, opcode: 0x81))
            #expect([1009, 3501].contains(try anonymous.awaitClose(answers: false).closeCode))
        }
    }

    @Test func `WS-10 WS-11 control frames inside a message are served, unasked pongs are ignored`() throws {
        try besideNeighbour { gateway in
            let peer = try gateway.client()
            try peer.socket.send(frame(1, Array(#"{"id":5,"#.utf8), final: false))
            try peer.send(9, Array("in between".utf8))
            try peer.send(10, Array("nobody asked".utf8))
            #expect(try peer.next() == ServerFrame(opcode: 10, payload: Array("in between".utf8)))
            try peer.socket.send(frame(0, Array(#""ping":{}}"#.utf8)))
            #expect(try peer.text() == #"{"id":5,"ping":{}}"#)
        }
    }

    @Test func `WS-13 text may be split inside a code point, over frames and segments`() throws {
        let gateway = try TestGateway { $0.echo = true }
        let peer = try gateway.peer("/echo")
        let bytes = Array("κόσμε 🐦".utf8)
        for byte in frame(1, Array(bytes[..<1]), final: false) { try peer.socket.send([byte]) }
        for (index, byte) in bytes.enumerated().dropFirst() {
            try peer.socket.send(frame(0, [byte], final: index == bytes.count - 1))
        }
        #expect(try peer.text() == "κόσμε 🐦")
    }

    @Test func `WS-16 any JSON is answered or closes with 3501`() throws {
        try besideNeighbour { gateway in
            let bombs = [
                String(repeating: "[", count: 65_000), String(repeating: "{\"a\":", count: 10_000),
                #"{"id":1,"publish":{"channel":"a","data":"# + String(repeating: "[", count: 10_000)
                    + String(repeating: "]", count: 10_000) + "}}",
                #"{"id":1e400,"ping":{}}"#, #"{"id":-1,"ping":{}}"#, #"{"id":1,"id":2,"ping":{}}"#,
                #"{"id":99999999999999999999999,"ping":{}}"#, #"{"id":1,"publish":{"channel":"\uDC00","data":1}}"#,
                "\u{0}", "\u{FEFF}{}", "{\"id\":1,\"ping\":{}}\u{0}", String(repeating: "\n", count: 60_000),
                #"{"id":1,"subscribe":[]}"#, #"{"id":1,"subscribe":"a"}"#, #"{"id":true,"ping":{}}"#,
            ]
            for bomb in bombs {
                let peer = try gateway.client()
                try peer.send(bomb)
                #expect(try peer.awaitClose().closeCode == 3501, "\(bomb.prefix(60))")
            }
            let list = Array(repeating: "{}", count: 20_000).joined(separator: ",")
            let wide = #"{"id":4,"rpc":{"data":["# + list + "]}}"
            let peer = try gateway.client()
            #expect(try peer.ask(wide).contains(#""code":104"#))
        }
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func `WS-16 mutated commands are answered or close their connection`(seed: UInt64) throws {
        try besideNeighbour { gateway in
            var random = SeededRandom(seed: seed)
            let seeds = [
                #"{"id":5,"subscribe":{"channel":"m","recover":true,"offset":7,"epoch":"x"}}"#,
                #"{"id":5,"publish":{"channel":"m","data":{"a":[1,2.5e3,"\u00e9\n",null,true]}}}"#,
                #"{"id":5,"history":{"channel":"m","limit":-1,"since":{"offset":1,"epoch":"e"}}}"#,
                #"{"id":5,"rpc":{"method":"m","data":{}}}"#, #"{"send":{"data":1}}"#, "{}",
            ].map { Array($0.utf8) }
            for _ in 0..<120 {
                let peer = try gateway.client()
                var bytes = seeds[Int.random(in: 0..<seeds.count, using: &random)]
                for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
                    let place = Int.random(in: 0..<bytes.count, using: &random)
                    switch Int.random(in: 0..<3, using: &random) {
                    case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                    case 1: bytes.remove(at: place)
                    default: bytes.insert(contentsOf: bytes[..<place].suffix(9), at: place)
                    }
                }
                try peer.send(1, bytes)
                try peer.send(#"{"id":77,"ping":{}}"#)
                // Either the ping is answered, or the connection was closed for a reason.
                while true {
                    let frame = try peer.next()
                    if frame.text.contains(#"{"id":77,"ping":{}}"#) { break }
                    if frame.opcode == 8 {
                        #expect([3501, 1007].contains(frame.closeCode), "seed \(seed): \(frame)")
                        break
                    }
                }
            }
        }
    }

    @Test func `WS-17 a burst of commands is answered in order`() throws {
        try besideNeighbour { gateway in
            let peer = try gateway.client()
            var burst: [UInt8] = []
            for id in 1...5000 { burst += frame(1, Array(#"{"id":\#(id),"ping":{}}"#.utf8)) }
            try peer.socket.send(burst)
            for id in 1...5000 { #expect(try peer.text() == #"{"id":\#(id),"ping":{}}"#) }
        }
    }

    @Test func `WS-19 unknown subprotocols are not echoed`() throws {
        try besideNeighbour { gateway in
            let socket = try RawSocket(port: gateway.port)
            try socket.send(WebSocketPeer.handshake(extra: ["Sec-WebSocket-Protocol: bearer, eyJhbGciOi"]))
            socket.receive()
            #expect(!String(decoding: socket.buffer, as: UTF8.self).contains("eyJ"))
            #expect(try socket.response().status == 101)
        }
    }

    @Test func `WS-20 frames in the segment of the handshake are read after it, wherever the segments break`() throws {
        try besideNeighbour { gateway in
            let all =
                Array(WebSocketPeer.handshake().utf8) + frame(1, Array(#"{"id":1,"connect":{}}"#.utf8))
                + frame(1, Array(#"{"id":2,"ping":{}}"#.utf8))
            for cut in [all.count, 1, 60, all.count - 50, all.count - 3] {
                let socket = try RawSocket(port: gateway.port)
                try socket.send(all[..<cut])
                try socket.send(all[cut...])
                #expect(try socket.response().status == 101)
                let peer = WebSocketPeer(upgraded: socket)
                #expect(try peer.text().hasPrefix(#"{"id":1,"connect""#))
                #expect(try peer.text() == #"{"id":2,"ping":{}}"#)
            }
            // More than a head may hold, in front of the 101.
            let socket = try RawSocket(port: gateway.port)
            try socket.send(Array(WebSocketPeer.handshake().utf8) + declared(1 << 20, opcode: 0x81))
            #expect(try socket.response().status == 101)
            #expect(try WebSocketPeer(upgraded: socket).awaitClose(answers: false).closeCode == 1009)
        }
    }
}
