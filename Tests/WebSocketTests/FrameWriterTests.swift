// Frames on their way out: sizes, bytes, close payloads, and that our own reader understands all of them.

import Bytes
import Fuzz
import Testing
import WebSocket

@Suite("Writing frames")
struct FrameWriterTests {
    @Test(
        "headers have the minimal length form and exactly the announced size",
        arguments: [
            (0, [0x81, 0]), (125, [0x81, 125]), (126, [0x81, 126, 0, 126]), (65535, [0x81, 126, 255, 255]),
            (65536, [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] as [(Int, [UInt8])])
    func headers(length: Int, expected: [UInt8]) {
        var storage = [UInt8](repeating: 0xDD, count: FrameHeader.longest)
        let size = storage.withUnsafeMutableBytes { raw in
            raw.baseAddress.map { FrameHeader.write(into: $0, .text, length: length) } ?? 0
        }
        #expect(Array(storage.prefix(size)) == expected)
        #expect(size == FrameHeader.size(forPayload: length))
        #expect(storage.dropFirst(size).allSatisfy { $0 == 0xDD })
        var masked = [UInt8](repeating: 0xDD, count: FrameHeader.longest)
        let maskedSize = masked.withUnsafeMutableBytes { raw in
            raw.baseAddress.map { FrameHeader.write(into: $0, .text, length: length, key: 0x0403_0201) } ?? 0
        }
        #expect(maskedSize == FrameHeader.size(forPayload: length, masked: true))
        #expect(Array(masked[..<maskedSize].suffix(4)) == [1, 2, 3, 4])
        #expect(masked[1] == expected[1] | 0x80)
    }

    @Test("WS-07 every byte of a frame is written, for both roles", arguments: [0, 1, 125, 126, 5000, 70000])
    func roundTrip(length: Int) {
        let payload = (0..<length).map { UInt8($0 % 253) }
        for key: UInt32? in [nil, 0x1234_5678] {
            var buffer = ByteBuffer()
            payload.withUnsafeBytes { raw in
                buffer.appendFrame(.binary, raw, key: key)
                buffer.appendFrame(.ping, UnsafeRawBufferPointer(rebasing: raw.prefix(125)), key: key)
            }
            let expected = frame(0x82, payload, key: key) + frame(0x89, Array(payload.prefix(125)), key: key)
            #expect(Array(buffer.bytes) == expected)
        }
    }

    @Test("fragments and compressed frames carry their bits")
    func bits() {
        var buffer = ByteBuffer()
        [UInt8]("a".utf8).withUnsafeBytes { raw in
            buffer.appendFrame(.text, raw, isFinal: false, compressed: true)
            buffer.appendFrame(.continuation, raw)
        }
        #expect(Array(buffer.bytes) == [0x41, 1, 0x61, 0x80, 1, 0x61])
    }

    @Test("a close frame carries code and reason, and a long reason is cut at a code point")
    func close() {
        var buffer = ByteBuffer()
        ClosePayload.appendFrame(.protocolError, reason: "frame not masked", to: &buffer)
        #expect(read(Array(buffer.bytes), role: .client) == [.close(.protocolError, Array("frame not masked".utf8))])
        for (reason, kept) in [
            (String(repeating: "a", count: 200), 123), (String(repeating: "é", count: 100), 122),
            (String(repeating: "€", count: 100), 123), ("a" + String(repeating: "😀", count: 40), 121), ("", 0),
            (String(repeating: "a", count: 123), 123),
        ] {
            for key: UInt32? in [nil, 0x1234_5678] {
                var buffer = ByteBuffer()
                Array(reason.utf8).withUnsafeBytes {
                    ClosePayload.appendFrame(CloseCode(rawValue: 3000), reason: $0, key: key, to: &buffer)
                }
                let events = read(Array(buffer.bytes), role: key == nil ? .client : .server)
                #expect(events == [.close(CloseCode(rawValue: 3000), Array(reason.utf8.prefix(kept)))])
            }
        }
    }

    @Test("WS-12 each side sends one Close at most, whoever begins")
    func closeHandshake() {
        var answering = CloseHandshake()
        let mustEcho = answering.receive()
        let mustEchoAgain = answering.receive()
        let maySend = answering.send()
        #expect(mustEcho && !mustEchoAgain && !maySend && answering.isComplete)
        var beginning = CloseHandshake()
        let sends = beginning.send()
        let sendsAgain = beginning.send()
        #expect(sends && !sendsAgain && !beginning.isComplete && beginning.hasSent)
        let echoes = beginning.receive()
        #expect(!echoes && beginning.isComplete && beginning.hasReceived)
    }
}

@Suite("Mutated frames")
struct FrameMutationTests {
    @Test("10,000 mutated streams give events that do not depend on how they are cut")
    func mutations() {
        let seed = UInt64.random(in: .min ... .max)
        print("frame mutation seed \(seed)")
        var random = SeededRandom(seed: seed)
        for round in 0..<10_000 {
            mutate(fuzzFramesSeeds[round % fuzzFramesSeeds.count], using: &random).withUnsafeBytes(fuzzFrames)
        }
    }

    @Test("the seeds themselves hold the invariants")
    func seeds() {
        for seed in fuzzFramesSeeds { seed.withUnsafeBytes(fuzzFrames) }
    }
}
