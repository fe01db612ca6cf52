// PROXY headers of both versions: whole, byte by byte, cut at every place, followed by a payload, and broken.

import Bytes
import Fuzz
import Testing

@testable import HTTP

/// The verdict, which must not depend on cuts or on what follows.
private func judge(_ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> ProxyHeaderParse {
    let whole = recordProxyHeader(bytes, cuts: [])
    #expect(recordProxyHeader(bytes, cuts: 0..<bytes.count) == whole, "byte by byte", sourceLocation: sourceLocation)
    for cut in 0..<min(bytes.count, 300) where recordProxyHeader(bytes, cuts: [cut]) != whole {
        Issue.record("cut at \(cut) differs", sourceLocation: sourceLocation)
    }
    if whole != .needMore {
        let followed = recordProxyHeader(bytes + Array("GET / HTTP/1.1\r\n\r\n".utf8), cuts: [])
        #expect(followed == whole, "with a payload in one segment", sourceLocation: sourceLocation)
    }
    return whole
}

private func judge(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) -> ProxyHeaderParse {
    judge(Array(text.utf8), sourceLocation: sourceLocation)
}

private let client = InternetAddress(v4: 0xC000_0201)

@Suite struct ProxyHeaderLineTests {
    @Test func `NET-06 v1 names an address, or nobody`() {
        let line = "PROXY TCP4 192.0.2.1 10.0.0.1 4711 8000\r\n"
        #expect(judge(line) == .complete(source: client, consumed: line.utf8.count))
        let six = "PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"
        #expect(
            judge(six) == .complete(source: InternetAddress(v6: 0x2001_0DB8_0000_0000, 1), consumed: six.utf8.count))
        let mapped = "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"
        #expect(judge(mapped) == .complete(source: client, consumed: mapped.utf8.count))
        for text in [
            "PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "PROXY UNKNOWN \r\n",
        ] {
            #expect(judge(text) == .complete(source: nil, consumed: text.utf8.count))
        }
    }

    @Test(arguments: [
        "TCP4 192.0.2.1 10.0.0.1 65536 1", "TCP4 192.0.2.1 10.0.0.1 1 99999", "TCP4 192.0.2.1 10.0.0.1 -1 1",
        "TCP4 192.0.2.1 10.0.0.1 01 1", "TCP4 192.0.2.1 10.0.0.1 1", "TCP4 192.0.2.1 10.0.0.1 1 2 3",
        "TCP4 192.0.2.1 10.0.0.1 1 2 ", "TCP4  192.0.2.1 10.0.0.1 1 2", "TCP4 192.0.2.1 10.0.0.1  1 2",
        "TCP4 192.0.2.1 10.0.0.1 1 x", "TCP4 192.0.2.1 10.0.0.1 1 ", "TCP4 2001:db8::1 ::1 1 2",
        "TCP6 192.0.2.1 ::1 1 2",
        "TCP4 192.0.2.1 ::1 1 2", "TCP4 192.0.2.256 10.0.0.1 1 2", "TCP4", "TCP4 ", "", " ",
        "TCP5 192.0.2.1 10.0.0.1 1 2",
        "tcp4 192.0.2.1 10.0.0.1 1 2", "UNKNOWNX", "UDP4 192.0.2.1 10.0.0.1 1 2", "TCP4 192.0.2.1\t10.0.0.1 1 2",
        "TCP4 192.0.2.1 10.0.0.1 18446744073709551617 1",
    ])
    func `NET-06 v1 with wrong fields fails`(rest: String) {
        #expect(judge("PROXY \(rest)\r\n") == .failed(.fields))
    }

    @Test func `NET-06 v1 ends within 107 bytes, or at once`() {
        let padding = String(repeating: "x", count: 107 - "PROXY UNKNOWN \r\n".utf8.count)
        #expect(judge("PROXY UNKNOWN \(padding)\r\n") == .complete(source: nil, consumed: 107))
        #expect(judge("PROXY UNKNOWN \(padding)") == .needMore)
        #expect(judge("PROXY UNKNOWN \(padding)\r") == .needMore)
        #expect(judge("PROXY UNKNOWN \(padding)x") == .failed(.line))
        #expect(judge("PROXY UNKNOWN \(padding)x\r\n") == .failed(.line))
        #expect(judge("PROXY " + String(repeating: "A", count: 10_000)) == .failed(.line))
        #expect(judge("PROXY UNKNOWN\n") == .failed(.line))
        #expect(judge("PROXY UNKNOWN\rX") == .failed(.line))
        #expect(judge("PROXY UNKNOWN\r\r\n") == .failed(.line))
    }

    @Test func `what is no PROXY header is refused with its first wrong byte`() {
        #expect(judge([UInt8]()) == .needMore)
        for text in ["G", "PROXX", "PROXY\r\n", "proxy ", " PROXY", "\n", "\r\r", "\r\n\r\nGET", "\u{16}\u{3}\u{1}"] {
            #expect(judge(text) == .failed(.missing), "\(text)")
        }
        for count in 1..<6 { #expect(judge(String("PROXY ".prefix(count))) == .needMore) }
    }
}

@Suite struct ProxyHeaderBinaryTests {
    @Test func `NET-06 v2 names an address, or nobody`() {
        #expect(judge(binaryProxyHeader(0x21, 0x11, proxyAddresses4)) == .complete(source: client, consumed: 28))
        let six: [UInt8] = [0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] + Array(repeating: 7, count: 20)
        #expect(
            judge(binaryProxyHeader(0x21, 0x21, six))
                == .complete(source: InternetAddress(v6: 0x2001_0DB8_0000_0000, 1), consumed: 52))
        let mapped =
            Array(repeating: UInt8(0), count: 10) + [0xFF, 0xFF, 192, 0, 2, 1] + Array(repeating: 7, count: 20)
        #expect(judge(binaryProxyHeader(0x21, 0x21, mapped)) == .complete(source: client, consumed: 52))
        let unix = Array(repeating: UInt8(0x2F), count: 216)
        #expect(judge(binaryProxyHeader(0x21, 0x31, unix)) == .complete(source: nil, consumed: 232))
        #expect(judge(binaryProxyHeader(0x21, 0, [])) == .complete(source: nil, consumed: 16))
        #expect(judge(binaryProxyHeader(0x21, 0, [9, 9, 9])) == .complete(source: nil, consumed: 19))
    }

    @Test func `NET-06 v2 LOCAL names nobody, whatever else it says`() {
        for kind: UInt8 in [0, 0x11, 0x12, 0x21, 0x31, 0xFF] {
            #expect(judge(binaryProxyHeader(0x20, kind, [])) == .complete(source: nil, consumed: 16))
            #expect(judge(binaryProxyHeader(0x20, kind, proxyAddresses4)) == .complete(source: nil, consumed: 28))
            #expect(judge(binaryProxyHeader(0x20, kind, [0xFF, 0xFF])) == .complete(source: nil, consumed: 18))
        }
    }

    @Test func `NET-06 v2 of another version, command, family or transport fails`() {
        for command: UInt8 in [0x00, 0x01, 0x10, 0x11, 0x22, 0x2F, 0x31, 0xFF] {
            #expect(judge(binaryProxyHeader(command, 0x11, proxyAddresses4)) == .failed(.kind))
        }
        for kind: UInt8 in [0x01, 0x10, 0x12, 0x13, 0x20, 0x22, 0x30, 0x32, 0x41, 0xFF] {
            #expect(judge(binaryProxyHeader(0x21, kind, Array(repeating: 1, count: 216))) == .failed(.kind))
        }
    }

    @Test func `NET-06 v2 lengths: shorter than the addresses, the bound, and 65,535`() {
        for (kind, needed) in [(UInt8(0x11), 12), (0x21, 36), (0x31, 216)] {
            for length in [0, 1, needed - 1] {
                let header = binaryProxyHeader(0x21, kind, Array(repeating: 1, count: length))
                #expect(judge(header) == .failed(.length), "known before the block has come")
            }
        }
        let full = proxyAddresses4 + proxyExtension(4, Array(repeating: 0, count: 4096 - 15))
        #expect(judge(binaryProxyHeader(0x21, 0x11, full)) == .complete(source: client, consumed: 16 + 4096))
        for length in [4097, 65_535] {
            #expect(judge(binaryProxyHeader(0x21, 0x11, [], length: length)) == .failed(.length))
            #expect(judge(binaryProxyHeader(0x20, 0, [], length: length)) == .failed(.length))
        }
        #expect(judge(binaryProxyHeader(0x21, 0x11, Array(proxyAddresses4.dropLast()), length: 12)) == .needMore)
    }

    @Test func `NET-06 v2 extensions end where the header ends`() {
        func verdict(_ extensions: [UInt8]) -> ProxyHeaderParse {
            judge(binaryProxyHeader(0x21, 0x11, proxyAddresses4 + extensions))
        }
        let good: [[UInt8]] = [
            [], proxyExtension(0xFF, []), proxyExtension(1, [1]) + proxyExtension(2, [2, 3]),
            proxyExtension(0x20, [0, 0, 0, 0, 0]), proxyExtension(0x20, [7, 0, 0, 0, 0] + proxyExtension(0x21, [1])),
        ]
        for extensions in good {
            #expect(verdict(extensions) == .complete(source: client, consumed: 28 + extensions.count))
        }
        let bad: [[UInt8]] = [
            [1], [1, 0], [1, 0, 1], [1, 0xFF, 0xFF], proxyExtension(1, [1]) + [2],
            proxyExtension(1, [1]) + [2, 0, 2, 9],
            proxyExtension(0x20, []), proxyExtension(0x20, [1, 0, 0, 0]), proxyExtension(0x20, [1, 0, 0, 0, 0, 0x21]),
            // The inner one would fit into the header, but not into the one that holds it.
            proxyExtension(0x20, [1, 0, 0, 0, 0, 0x21, 0, 3]) + [1, 2, 3],
        ]
        for extensions in bad { #expect(verdict(extensions) == .failed(.extensions), "\(extensions)") }
    }

    @Test func `NET-06 TLS extensions nested a thousand deep cost no stack`() {
        var nested: [UInt8] = []
        var depth = 0
        while nested.count + 8 <= ProxyHeader.longestBlock - 12, depth < 1000 {
            nested = proxyExtension(0x20, [1, 0, 0, 0, 0] + nested)
            depth += 1
        }
        #expect(depth == 510)
        let header = binaryProxyHeader(0x21, 0x11, proxyAddresses4 + nested)
        #expect(judge(header) == .complete(source: client, consumed: header.count))
        while depth < 1000 {
            nested = proxyExtension(0x20, [1, 0, 0, 0, 0] + nested)
            depth += 1
        }
        #expect(judge(binaryProxyHeader(0x21, 0x11, proxyAddresses4 + nested)) == .failed(.length))
    }

    @Test func `NET-06 20,000 mutated headers get a verdict that does not depend on how they are cut`() {
        let seed = UInt64.random(in: .min ... .max)
        print("PROXY mutation seed \(seed)")
        var random = SeededRandom(seed: seed)
        var verdicts: [Bool] = []
        for round in 0..<20_000 {
            let bytes = mutate(fuzzProxyHeaderSeeds[round % fuzzProxyHeaderSeeds.count], using: &random)
            bytes.withUnsafeBytes(fuzzProxyHeader)
            if case .complete = recordProxyHeader(bytes, cuts: []) { verdicts.append(true) }
        }
        #expect(verdicts.count > 1000 && verdicts.count < 19_000, "both kinds of verdict are met")
    }
}
