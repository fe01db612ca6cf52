// Inflating messages: the examples of RFC 7692, bombs, corrupt and cut streams. Rows of the table of hostile inputs
// carry their id.

import Bytes
import Fuzz
import Testing
import WebSocket

@Suite("Inflating messages")
struct InflaterTests {
    static func hex(_ text: String) -> [UInt8] { DeflaterTests.hex(text) }
    static let hello = Array("Hello".utf8)

    @Test(
        "RFC 7692 7.2.3 the examples",
        arguments: [
            "f2 48 cd c9 c9 07 00",  // 7.2.3.1 one block
            "00 05 00 fa ff 48 65 6c 6c 6f 00",  // 7.2.3.3 no compression
            "f3 48 cd c9 c9 07 00 00",  // 7.2.3.4 a last block
            "f2 48 05 00 00 00 ff ff ca c9 c9 07 00",  // 7.2.3.5 two blocks
            "f3 48 cd c9 c9 07 00",  // a last block without the empty one behind it
            "00 00 00 ff ff f2 48 cd c9 c9 07 00", "03 00 f2 48 cd c9 c9 07 00",
        ])
    func examples(payload: String) throws {
        let bench = try DeflateBench()
        #expect(bench.inflate(Self.hex(payload), .text) == .message(Self.hello))
        #expect(bench.inflate(Self.hex(payload), .text, limit: 5) == .message(Self.hello))
        #expect(bench.inflate(Self.hex(payload), .text, limit: 4) == .violation(.messageTooBig))
    }

    @Test("RFC 7692 7.2.3.2 a message that needs the one before is refused: we promised no context")
    func noContext() throws {
        let bench = try DeflateBench()
        #expect(bench.inflate(Self.hex("f2 48 cd c9 c9 07 00"), .text) == .message(Self.hello))
        #expect(bench.inflate(Self.hex("f2 00 11 00 00"), .text) == .violation(.invalidDeflate))
    }

    /// `count` zeros, deflated.
    static func bomb(_ count: Int) throws -> [UInt8] {
        var deflater = try Deflater(windowBits: 15, level: 9, memoryLevel: 9)
        let zeros = [UInt8](repeating: 0, count: count)
        return zeros.withUnsafeBytes { raw in deflater.compress(raw).map { Array($0) } ?? [] }
    }

    @Test(
        "PD-01 PD-02 64 KB that would be 64 MB end at the limit, and memory with them", arguments: [1, 65536, 1 << 20])
    func bombs(limit: Int) throws {
        let payload = try Self.bomb(64 << 20)
        #expect(payload.count < 70_000)
        let bench = try DeflateBench()
        for _ in 0..<3 {
            #expect(bench.inflate(payload, limit: limit) == .violation(.messageTooBig))
            #expect(bench.ownedBytes <= Inflater.keptBytes)
        }
        #expect(bench.inflate(Self.hex("f2 48 cd c9 c9 07 00"), .text) == .message(Self.hello))
    }

    @Test("PD-01 a message of exactly the limit passes, and owns no more than one byte above it")
    func exactly() throws {
        for limit in [1, 1023, 1024, 16383, 16384, 16385, 65536, 100_000, 1 << 20] {
            let bench = try DeflateBench()
            let zeros = [UInt8](repeating: 0, count: limit)
            #expect(bench.inflate(try Self.bomb(limit), limit: limit) == .message(zeros))
            #expect(bench.ownedBytes <= limit + 1)
            #expect(bench.inflate(try Self.bomb(limit + 1), limit: limit) == .violation(.messageTooBig))
        }
    }

    @Test("a limit that makes no sense is no trap", arguments: [Int.min, -1, 0, .max])
    func limits(limit: Int) throws {
        let bench = try DeflateBench()
        let expected: RecordedInflation = limit == .max ? .message(Self.hello) : .violation(.messageTooBig)
        #expect(bench.inflate(Self.hex("f2 48 cd c9 c9 07 00"), limit: limit) == expected)
        #expect(bench.inflate([0], limit: limit) == .message([]))
    }

    @Test(
        "PD-04 corrupt streams",
        arguments: [
            "", "06", "07", "ff ff ff ff", "00 05 00 fa fe 48 65 6c 6c 6f 00", "f2 48 cd c9 c9 07 ff",
            "f3 48 cd c9 c9 07 00 ff", "01 05 00 fa ff 48 65 6c 6c 6f ff", "ed fd ff", "05 00 00",
            "62 00 81", "00 00 00 ff", "78 9c f2 48 cd c9 c9 07 00",
            "1f 8b 08 00 00 00 00 00 00 03 f2 48 cd c9 c9 07 00",
        ])
    func corrupt(payload: String) throws {
        let bench = try DeflateBench()
        #expect(bench.inflate(Self.hex(payload)) == .violation(.invalidDeflate))
        #expect(bench.inflate(Self.hex("f2 48 cd c9 c9 07 00"), .text) == .message(Self.hello))
        #expect(FrameViolation.invalidDeflate.code == .invalidPayload)
    }

    @Test("PD-04 a stream that is cut anywhere is refused, unless what is left is a message by itself")
    func truncated() throws {
        var random = SeededRandom(seed: 3)
        let bench = try DeflateBench()
        for round in 0..<2 {
            let message = DeflaterTests.message(600, round, &random)
            let packed = try #require(bench.compress(message))
            for length in 0..<packed.count {
                switch bench.inflate(Array(packed[..<length])) {
                case .violation(let violation): #expect(violation == .invalidDeflate)
                // One zero is an empty message; a stored block begins like that.
                case .message([]) where packed[..<length] == [0]: break
                case .message(let bytes): Issue.record("cut at \(length) of \(packed.count): \(bytes.count) bytes")
                }
            }
        }
    }

    @Test("PD-04 more last blocks than the limit are refused; as many as it pass")
    func lastBlocks() throws {
        let bench = try DeflateBench()
        func ends(_ count: Int) -> [UInt8] { [UInt8]([[UInt8]](repeating: [0x03, 0x00], count: count).joined()) + [0] }
        #expect(bench.inflate(ends(Inflater.streamLimit - 1)) == .message([]))
        #expect(bench.inflate(ends(Inflater.streamLimit)) == .violation(.invalidDeflate))
        #expect(bench.inflate(ends(30_000)) == .violation(.invalidDeflate))
    }

    @Test("PD-04 a hundred thousand empty blocks say nothing, and that is all they do")
    func emptyBlocks() throws {
        let bench = try DeflateBench()
        let block: [UInt8] = [0x00, 0x00, 0x00, 0xFF, 0xFF]
        let stored = [UInt8]([[UInt8]](repeating: block, count: 100_000).joined()) + [0]
        #expect(bench.inflate(stored, limit: 10) == .message([]))
    }

    @Test("text is checked after it has been inflated, binary is not")
    func text() throws {
        let bench = try DeflateBench()
        for bytes in [[0xC3, 0x28], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0x41, 0xFF]] as [[UInt8]] {
            let packed = try #require(bench.compress(bytes))
            #expect(bench.inflate(packed, .text) == .violation(.invalidUTF8))
            #expect(bench.inflate(packed, .binary) == .message(bytes))
        }
        let euro = try #require(bench.compress(Array("€".utf8)))
        #expect(bench.inflate(euro, .text) == .message(Array("€".utf8)))
    }

    @Test("PD-04 random and mutated streams keep the promises of the fuzz target")
    func fuzz() {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SeededRandom(seed: seed)
        for seed in fuzzDeflateSeeds { seed.withUnsafeBytes(fuzzDeflate) }
        for round in 0..<600 {
            mutate(fuzzDeflateSeeds[round % fuzzDeflateSeeds.count], using: &random).withUnsafeBytes(fuzzDeflate)
            let noise = (0..<Int.random(in: 0..<400, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            noise.withUnsafeBytes(fuzzDeflate)
        }
    }

    @Test("a compressed message in fragments, cut anywhere, with pings between, inflates as a whole")
    func fragments() throws {
        let bench = try DeflateBench()
        let packed = Self.hex("f2 48 cd c9 c9 07 00")
        for cut in 0...packed.count {
            let stream =
                frame(0x41, Array(packed[..<cut])) + frame(0x89, "p") + frame(0x00, [])
                + frame(0x80, Array(packed[cut...]))
            let events = read(stream, compression: true)
            #expect(events == [.ping([0x70]), .message(.text, compressed: true, packed)])
        }
        #expect(bench.inflate(packed, .text) == .message(Self.hello))
    }

    @Test("WS-09 RSV1 has its place on the first frame of a message only, and plain messages may come between")
    func reservedBit() {
        #expect(read(frame(0x01, "a") + frame(0xC0, "b"), compression: true) == [.violation(.reservedBits)])
        #expect(read(frame(0x41, "a") + frame(0xC0, "b"), compression: true) == [.violation(.reservedBits)])
        for opcode in [0x8, 0x9, 0xA] as [UInt8] {
            #expect(read(frame(0xC0 | opcode, []), compression: true) == [.violation(.reservedBits)])
        }
        for first in [0xA1, 0x91, 0xE1, 0xD1] as [UInt8] {
            #expect(read(frame(first, "a"), compression: true) == [.violation(.reservedBits)])
        }
        #expect(FrameViolation.reservedBits.code == .protocolError)
        #expect(read(frame(0x81, "plain"), compression: true) == [textMessage("plain")])
        #expect(read(frame(0xC1, "x"), compression: false) == [.violation(.reservedBits)])
    }
}
