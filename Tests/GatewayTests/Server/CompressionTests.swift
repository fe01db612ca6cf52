// Compression as clients see it: negotiated only where it is configured, a broadcast deflated once for each class of
// window, and compressed input within the limits of plain input.

import Bytes
import Fuzz
import Reactor
import Rooms
import TestSupport
import Testing
import WebSocket

@testable import Gateway

@Suite struct CompressionTests {
    private func gateway(_ adjust: (inout ClientSettings) -> Void = { _ in }) throws -> PipeGateway {
        let node = String(repeating: "n", count: 100)
        return try PipeGateway(
            settings: {
                $0.compression = true
                adjust(&$0)
            }, rules: { $0.node = node })
    }

    /// A client that offers `offer` and reads what is compressed.
    private func client(
        _ gateway: PipeGateway, _ path: String = "/connection/websocket", _ offer: String = "permessage-deflate"
    ) throws -> PipeClient {
        let client = try gateway.client(path, extra: ["Sec-WebSocket-Extensions: \(offer)"])
        client.bench = try DeflateBench()
        return client
    }

    private func packed(_ client: PipeClient, _ message: [UInt8]) throws -> [UInt8] {
        let payload = try #require(client.bench?.compress(message))
        return WebSocketPeer.frame(1, payload, reserved: 4)
    }

    private static let note = "\"" + String(repeating: "the quick brown fox ", count: 20) + "\""

    @Test func `compression is offered where it is configured and nowhere else`() throws {
        let off = try PipeGateway()
        #expect(!(try client(off).text.contains("Extensions")))
        let on = try gateway()
        #expect(try client(on).text.contains("\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context"))
        #expect(!(try client(on, "/echo", "permessage-deflate; server_max_window_bits=8").text.contains("Extensions")))
        #expect(try client(on, "/echo", "permessage-deflate; server_max_window_bits=14").text.contains("bits=9\r\n"))
        #expect(!(try on.client().text.contains("Extensions")))
    }

    @Test func `a broadcast reaches plain and compressing members alike, the latter in one form a class`() throws {
        let gateway = try gateway()
        let plain = try gateway.client().connected("lobby")
        let wide = try (0..<3).map { _ in try client(gateway).connected("lobby") }
        let narrow = try (0..<3).map { _ in
            try client(gateway, "/connection/websocket", "permessage-deflate; server_max_window_bits=10")
                .connected("lobby")
        }
        try plain.publish("lobby", Self.note)
        try plain.publish("lobby", "1")
        gateway.turn()
        for member in wide + narrow {
            let texts = try member.frames().map(\.text)
            #expect(texts.count == 2 && texts[0].contains(Self.note))
            // What is short is not compressed.
            #expect(member.packed.count == 1)
            #expect(member.packed.first.map { $0.count < Self.note.utf8.count / 2 } == true)
        }
        // The blocks of one broadcast are the next one's: what was made of the one must not stand for the other.
        let before = gateway.loop.liveFrames
        for round in 0..<5 {
            let other = "\"" + String(repeating: "round \(round), ", count: 40) + "\""
            try plain.publish("lobby", other)
            gateway.turn()
            for member in wide + narrow {
                #expect(try member.frames().map(\.text).contains { $0.contains(other) })
            }
        }
        #expect(gateway.loop.liveFrames == before)
    }

    @Test func `members of a class get the same bytes`() throws {
        let gateway = try gateway()
        let plain = try gateway.client().connected("lobby")
        let wide = try (0..<3).map { _ in try client(gateway).connected("lobby") }
        let narrow = try (0..<3).map { _ in
            try client(gateway, "/connection/websocket", "permessage-deflate; server_max_window_bits=9")
                .connected("lobby")
        }
        try plain.publish("lobby", Self.note)
        gateway.turn()
        for member in wide + narrow { #expect(try member.frames().count == 1 && member.packed.count == 1) }
        #expect(Set(wide.flatMap(\.packed)).count == 1)
        #expect(Set(narrow.flatMap(\.packed)).count == 1)
    }

    @Test func `PD-07 the answer to connect is never compressed, and commands may be`() throws {
        let gateway = try gateway()
        let ada = try client(gateway)
        let rooms = (0..<20).map { #""room\#($0)":{}"# }.joined(separator: ",")
        ada.send(bytes: try packed(ada, Array(#"{"id":1,"connect":{"subs":{\#(rooms)}}}"#.utf8)))
        gateway.turn()
        let reply = try ada.frames().first?.text ?? ""
        #expect(reply.hasPrefix(#"{"id":1,"connect":"#) && reply.utf8.count > 2 * LoopCompression.minimumBytes)
        // The same for an answer that is given at once.
        let bob = try client(gateway)
        bob.send(bytes: try packed(bob, Array(#"{"id":1,"connect":{}}"#.utf8)))
        gateway.turn()
        let short = try bob.frames().first?.text ?? ""
        #expect(short.utf8.count >= LoopCompression.minimumBytes && bob.packed.isEmpty, "\(short)")
        ada.send(bytes: try packed(ada, Array(#"{"id":2,"subscribe":{"channel":"a"}}"#.utf8)))
        gateway.turn()
        #expect(try ada.frames().map(\.text) == [#"{"id":2,"subscribe":{}}"#])
        #expect(ada.packed.isEmpty)
    }

    @Test func `an echo is compressed when that makes it shorter, and comes back whole`() throws {
        let gateway = try gateway()
        let peer = try client(gateway, "/echo")
        var random = SeededRandom(seed: 1)
        let noise = (0..<1000).map { _ in UInt8.random(in: 0x20...0x7E, using: &random) }
        for message in [
            [], Array("hello".utf8), Array(Self.note.utf8), noise, [UInt8](repeating: 0x41, count: 1 << 20),
        ] {
            peer.send(bytes: try packed(peer, message))
            gateway.turn()
            peer.readAll()
            let frames = try peer.frames()
            #expect(frames.map(\.payload) == [message])
        }
        #expect(peer.packed.count >= 2)
    }

    @Test(arguments: [true, false])
    func `PD-01 a bomb ends its connection with 1009, before connect at what a token needs`(isEarly: Bool) throws {
        let gateway = try gateway()
        let bomber = try client(gateway)
        if !isEarly { try bomber.connected() }
        let zeros = [UInt8](repeating: 0x20, count: isEarly ? 20_000 : 100_000)
        bomber.send(bytes: try packed(bomber, zeros))
        gateway.turn()
        let close = try bomber.frames().last
        #expect(close?.opcode == 8 && close?.payload.prefix(2) == [0x03, 0xF1])
    }

    @Test func `PD-04 what does not inflate ends its connection with 1007, and the next one inflates`() throws {
        let gateway = try gateway()
        let rude = try client(gateway, "/echo")
        rude.send(bytes: WebSocketPeer.frame(1, [0xFF, 0xFF, 0xFF], reserved: 4))
        gateway.turn()
        let close = try rude.frames().last
        #expect(close?.opcode == 8 && close?.payload.prefix(2) == [0x03, 0xEF])
        let polite = try client(gateway, "/echo")
        polite.send(bytes: try packed(polite, Array("hello".utf8)))
        gateway.turn()
        #expect(try polite.frames().map(\.text) == ["hello"])
    }
}

@Suite struct BigEchoTests {
    @Test(arguments: [ClientHandler.echoHighWater - 100, ClientHandler.echoHighWater + 1])
    func `an echo that the socket takes whole does not end the conversation`(count: Int) throws {
        let gateway = try PipeGateway()
        let peer = try gateway.client("/echo", capacity: 8 << 20)
        for _ in 0..<2 {
            peer.send(bytes: WebSocketPeer.frame(2, [UInt8](repeating: 7, count: count)))
            peer.send("still there?")
            var frames: [ServerFrame] = []
            for _ in 0..<500 where frames.count < 2 {
                gateway.turn(1)
                frames += try peer.frames()
            }
            #expect(frames.map(\.payload.count) == [count, 12])
        }
    }
}

@Suite struct LoopCompressionTests {
    @Test func `a broadcast to a thousand costs one compression a class, and gives its blocks back`() throws {
        let compression = try LoopCompression()
        var pool = FramePool()
        var bytes = ByteBuffer()
        let message = [UInt8](repeating: 0x41, count: 70_000)
        message.withUnsafeBytes { raw in
            for count in [200, 5, 127, 128, 126, 65_535, 65_536, 70_000] {
                bytes.appendFrame(.text, UnsafeRawBufferPointer(rebasing: raw[..<count]))
            }
        }
        let plain = pool.copy(bytes.bytes)
        for window in DeflateWindow.allCases {
            for _ in 0..<1000 {
                let form = compression.form(of: plain, window) { pool.copy($0) }
                #expect(form.count < 2000)
            }
        }
        #expect(compression.deflations == 2 * 5)
        #expect(pool.liveBlocks == 3)
        compression.forget(plain) { pool.release($0) }
        compression.forget(plain) { pool.release($0) }
        pool.release(plain)
        #expect(pool.liveBlocks == 0)
    }

    @Test func `a broadcast that does not get shorter is its own form`() throws {
        let compression = try LoopCompression()
        var pool = FramePool()
        var bytes = ByteBuffer()
        let message = [UInt8](repeating: 0x41, count: 100)
        message.withUnsafeBytes { bytes.appendFrame(.text, $0) }
        let plain = pool.copy(bytes.bytes)
        let form = compression.form(of: plain, .wide) { pool.copy($0) }
        #expect(form == plain)
        compression.forget(plain) { pool.release($0) }
        #expect(pool.liveBlocks == 1)
        pool.release(plain)
        #expect(pool.liveBlocks == 0 && compression.deflations == 0)
    }
}
