// A server that lies: mutated conversations and noise, whole and in pieces. The session must neither crash nor grow,
// must say goodbye in an orderly way, and must give the same events however its input is cut.

import Bytes
import Testing
import WebSocket

@testable import Client

@Suite("Client against a hostile server")
struct HostileServerTests {
    private static let script = [
        ##"{"id":1,"connect":{"client":"me","ping":25,"pong":true,"subs":{"#me":{"recoverable":true}}}}"##,
        #"{"id":2,"subscribe":{"recoverable":true,"epoch":"e","offset":3,"#
            + #""publications":[{"data":[1,{"a":"\u00e9"}]}]}}"#,
        "{}", #"{"push":{"channel":"a","pub":{"data":"x","offset":4,"info":{"user":"u","client":"c"}}}}"#,
        #"{"id":3,"publish":{"offset":5,"epoch":"e"}}"# + "\n" + #"{"id":4,"error":{"code":120,"temporary":true}}"#,
        #"{"push":{"channel":"a","unsubscribe":{"code":2500,"reason":"x"}}}"#,
        #"{"push":{"channel":"a","join":{"info":{"user":"u"}}}}"#, #"{"id":5,"presence":{"presence":{"c":{}}}}"#,
    ]

    private func conversation(_ messages: [[UInt8]], seed: UInt64, isSplit: Bool) throws -> [ClientEvent] {
        var bench = try Bench(seed)
        bench.isSplit = isSplit
        bench.act { $0.connect(now: $1) }
        bench.accept()
        _ = bench.act { $0.subscribe("a", now: $1) }
        _ = bench.act { $0.publish(data("1"), to: "a", now: $1) }
        for message in messages {
            bench.feed(message)
            _ = bench.act { $0.presence("a", now: $1) }
        }
        return bench.events
    }

    @Test("Mutated conversations end in events, not in a crash, and do not depend on how they are cut")
    func mutations() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for _ in 0..<300 {
            var messages: [[UInt8]] = []
            for text in Self.script {
                var payload = Array(text.utf8)
                if Int.random(in: 0..<3, using: &random) == 0 { mutate(&payload, &random) }
                var out = ByteBuffer()
                payload.withUnsafeBytes { out.appendFrame(.text, $0) }
                var bytes = Array(out.bytes)
                if Int.random(in: 0..<12, using: &random) == 0 { mutate(&bytes, &random) }
                messages.append(bytes)
            }
            let whole = try conversation(messages, seed: seed, isSplit: false)
            let split = try conversation(messages, seed: seed, isSplit: true)
            #expect(whole == split, "seed \(seed)")
        }
    }

    @Test("Noise in place of the opening handshake is refused within the head's limit")
    func noise() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for round in 0..<200 {
            var bench = try Bench(seed)
            bench.act { $0.connect(now: $1) }
            bench.act { $0.linkOpened(now: $1) }
            var bytes = round % 2 == 0 ? Array("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n".utf8) : []
            bytes += (0..<20_000).map { _ in UInt8.random(in: 0...255, using: &random) }
            bench.feed(bytes)
            guard case .handshake? = bench.lastEnd?.cause else {
                Issue.record("it was not refused; seed \(seed)")
                return
            }
        }
        var endless = try Bench(seed)
        endless.act { $0.connect(now: $1) }
        endless.act { $0.linkOpened(now: $1) }
        endless.feed(Array("HTTP/1.1 200 OK\r\n".utf8))
        for _ in 0..<1000 where endless.lastEnd == nil { endless.feed(Array("X-More: and more\r\n".utf8)) }
        #expect(endless.lastEnd?.cause == .handshake(status: 0))
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
        guard !bytes.isEmpty else { return }
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
        default: bytes.removeSubrange(place...)
        }
    }
}
