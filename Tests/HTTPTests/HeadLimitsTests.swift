// The limits of a head: exactly at them is fine, one more is 414 or 431, and no length overflows an index.

import Fuzz
import HTTP
import Testing

@Suite("Limits of a head")
struct HeadLimitsTests {
    static func request(targetBytes: Int) -> [UInt8] {
        Array("GET /".utf8) + Array(repeating: 0x61, count: targetBytes - 1)
            + Array(" HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
    }

    @Test("a request line of exactly the limit is accepted, one byte more is 414")
    func requestLine() {
        let fixed = "GET  HTTP/1.1".utf8.count
        guard case .request = recordRequest(Self.request(targetBytes: 8192 - fixed), cuts: []) else {
            Issue.record("a line of 8192 bytes was refused")
            return
        }
        #expect(recordRequest(Self.request(targetBytes: 8193 - fixed), cuts: []) == .failed(.requestLineTooLong))
    }

    @Test("HS-13 targets around the sizes of narrow integers are 414", arguments: [65535, 65536, 65537, 131_072])
    func narrowIntegers(size: Int) {
        #expect(recordRequest(Self.request(targetBytes: size), cuts: []) == .failed(.requestLineTooLong))
        #expect(HTTPFailure.requestLineTooLong.status == 414)
    }

    @Test("a field line of exactly the limit is accepted, one byte more is 431")
    func fieldLine() {
        func request(_ lineBytes: Int) -> [UInt8] {
            Array("GET / HTTP/1.1\r\nHost: a\r\nX: ".utf8) + Array(repeating: 0x61, count: lineBytes - 3)
                + Array("\r\n\r\n".utf8)
        }
        guard case .request = recordRequest(request(8192), cuts: []) else {
            Issue.record("a field line of 8192 bytes was refused")
            return
        }
        #expect(recordRequest(request(8193), cuts: []) == .failed(.fieldLineTooLong))
        #expect(HTTPFailure.fieldLineTooLong.status == 431)
    }

    @Test("HS-02 exactly 100 fields are accepted, 101 and 2000 are 431")
    func fieldCount() {
        func request(_ fields: Int) -> [UInt8] {
            let lines = (1..<fields).map { "X\($0): \($0)\r\n" }.joined()
            return Array("GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n".utf8)
        }
        guard case .request(_, _, _, let fields, _, _) = recordRequest(request(100), cuts: []) else {
            Issue.record("100 fields were refused")
            return
        }
        #expect(fields.count == 200)
        #expect(recordRequest(request(101), cuts: []) == .failed(.tooManyFields))
        #expect(recordRequest(request(2000), cuts: []) == .failed(.tooManyFields))
    }

    @Test("HS-05 a head of exactly 16 KiB is accepted, and one that does not end there is 431 at that byte")
    func headSize() {
        let line = String(repeating: "b", count: 7000)
        let start = Array("GET / HTTP/1.1\r\nHost: a\r\nA: \(line)\r\nA: \(line)".utf8)
        func request(_ bytes: Int) -> [UInt8] {
            let head = start + Array("\r\nB: ".utf8)
            return head + Array(repeating: 0x63, count: bytes - head.count - 4) + Array("\r\n\r\n".utf8)
        }
        guard case .request(_, _, _, _, _, let consumed) = recordRequest(request(16384), cuts: []) else {
            Issue.record("a head of 16 KiB was refused")
            return
        }
        #expect(consumed == 16384)
        #expect(recordRequest(request(16385), cuts: []) == .failed(.headTooLong))
        let unended = Array(request(16385).prefix(16384))
        #expect(recordRequest(Array(unended.prefix(16383)), cuts: []) == .needMore)
        #expect(recordRequest(unended, cuts: []) == .failed(.headTooLong))
    }

    @Test(
        "HS-04 a head that drips in by bytes fails at the limit, and no byte is looked at twice before its line ends"
    )
    func drip() {
        var parser = RequestHeadParser()
        let prefix = Array("GET / HTTP/1.1\r\nHost: a\r\nX: ".utf8)
        var bytes = prefix
        var length = 0
        for _ in 0..<1_000_000 {
            length += 1
            if length > prefix.count { bytes.append(0x61) }
            let verdict = bytes.withUnsafeBytes { parser.parse(UnsafeRawBufferPointer(rebasing: $0[..<length])) }
            // What was scanned becomes a byte that would fail at once if it were scanned again; the first two lines are
            // judged when they end, so they stay.
            if length > prefix.count { bytes[length - 1] = 0 }
            if case .needMore = verdict { continue }
            guard case .failed(.fieldLineTooLong) = verdict else { Issue.record("wrong verdict"); return }
            #expect(length == prefix.count - 3 + 8193)
            return
        }
        Issue.record("no limit")
    }

    @Test("the parser stays small, so that a connection without a handshake costs bytes")
    func size() {
        #expect(MemoryLayout<RequestHeadParser>.size <= 96)
    }
}
