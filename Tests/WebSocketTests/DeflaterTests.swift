// Deflating messages: the examples of RFC 7692, round trips through both windows, and the version of zlib.

import Bytes
import Fuzz
import Testing
import WebSocket

@Suite("Deflating messages")
struct DeflaterTests {
    static func hex(_ text: String) -> [UInt8] { text.split(separator: " ").compactMap { UInt8($0, radix: 16) } }

    /// Chat-like text, random bytes or a run, by turns.
    static func message(_ count: Int, _ round: Int, _ random: inout SeededRandom) -> [UInt8] {
        switch round % 3 {
        case 0:
            let words = ["hello ", "\"channel\":", "{\"id\":", "martlet ", "42,", "wörld "].map { Array($0.utf8) }
            var text: [UInt8] = []
            while text.count < count { text += words[Int.random(in: 0..<words.count, using: &random)] }
            return Array(text.prefix(count))
        case 1: return (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
        default: return [UInt8](repeating: UInt8.random(in: 0...255, using: &random), count: count)
        }
    }

    @Test("RFC 7692 7.2.3.1 Hello is one fixed block without its tail, in both windows and as often as one likes")
    func example() throws {
        let bench = try DeflateBench()
        for window in DeflateWindow.allCases {
            for _ in 0..<3 { #expect(bench.compress(Array("Hello".utf8), window) == Self.hex("f2 48 cd c9 c9 07 00")) }
        }
    }

    @Test("RFC 7692 7.2.3.6 an empty message is one empty block")
    func empty() throws {
        let bench = try DeflateBench()
        #expect(bench.compress([]) == [0])
        #expect(bench.inflate([0], .text) == .message([]))
    }

    @Test("what is deflated inflates to itself, in any order of sizes and windows")
    func roundTrips() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SeededRandom(seed: seed)
        let bench = try DeflateBench()
        var narrowRefused = 0
        for round in 0..<120 {
            let sizes = [0, 1, 2, 125, 126, 511, 512, 513, 4096, 16383, 16384, 16385, 65535, 65536, 100_000, 200_000]
            let message = Self.message(sizes[round % sizes.count], round, &random)
            for window in DeflateWindow.allCases {
                let packed = try #require(bench.compress(message, window))
                #expect(bench.inflate(packed) == .message(message))
                #expect(bench.inflate(packed, limit: message.count) == .message(message))
                if !message.isEmpty {
                    #expect(bench.inflate(packed, limit: message.count - 1) == .violation(.messageTooBig))
                    narrowRefused += 1
                }
            }
        }
        #expect(narrowRefused > 0)
    }

    @Test("a window of 9 bits never reaches back further than 512 bytes")
    func narrowWindow() throws {
        // 400 random bytes, twice: a reference 400 back is allowed, one 600 back is not.
        var random = SeededRandom(seed: 7)
        let near = Self.message(200, 1, &random)
        let far = Self.message(700, 1, &random)
        let bench = try DeflateBench()
        let nearPacked = try #require(bench.compress(near + near, .narrow))
        #expect(nearPacked.count < 300)
        let farPacked = try #require(bench.compress(far + far, .narrow))
        #expect(farPacked.count >= 1400)
        let widePacked = try #require(bench.compress(far + far, .wide))
        #expect(widePacked.count < 800)
    }

    @Test("no message depends on the one before it")
    func noContext() throws {
        let bench = try DeflateBench()
        let text = Array("{\"push\":{\"channel\":\"lobby\",\"pub\":{\"data\":{\"text\":\"hello\"}}}}".utf8)
        let first = try #require(bench.compress(text))
        #expect(bench.compress(text) == first)
        let other = try DeflateBench()
        #expect(other.inflate(first, .text) == .message(text))
    }

    @Test("what would not get shorter is left alone, and the output buffer does not keep a big message")
    func worthwhile() throws {
        var deflater = try Deflater(windowBits: 15)
        var random = SeededRandom(seed: 1)
        func shortens(_ message: [UInt8]) -> Bool { message.withUnsafeBytes { deflater.deflate($0) != nil } }
        #expect(!shortens([]))
        #expect(!shortens([1, 2, 3]))
        #expect(!shortens(Self.message(1000, 1, &random)))
        #expect(shortens(Self.message(1000, 2, &random)))
        #expect(!shortens(Self.message(1 << 20, 1, &random)))
        let big = deflater.ownedBytes
        #expect(big >= 1 << 20)
        #expect(shortens(Self.message(1000, 2, &random)))
        let small = deflater.ownedBytes
        #expect(small <= Deflater.keptBytes)
    }

    @Test(
        "PD-06 a zlib before 1.2.13 is refused, and so is what cannot be read",
        arguments: [
            ("1.2.13", true), ("1.2.13.1-motley", true), ("1.3", true), ("1.3.1", true), ("1.3.1.zlib-ng", true),
            ("1.2.13-x", true), ("2.0", true), ("10.0.0", true), ("1.2.12", false), ("1.2.11", false),
            ("1.2.11.zlib-ng", false), ("1.2.9", false), ("1.2", false), ("1", false), ("0.9.99", false), ("", false),
            ("x", false), ("1.x", false), ("v1.3.1", false), ("1.2.", false), ("99999999999999999999", true),
        ])
    func versions(version: String, isSound: Bool) {
        let bytes = Array(version.utf8)
        #expect(bytes.withUnsafeBytes { DeflateLibrary.isSound(version: $0) } == isSound)
    }

    @Test("PD-06 the zlib of this machine is sound")
    func library() throws { try DeflateLibrary.check() }
}
