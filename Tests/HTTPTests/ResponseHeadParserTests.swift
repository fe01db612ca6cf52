// Responses as a client reads them, in every cut.

import Fuzz
import HTTP
import Testing

@Suite("Response heads")
struct ResponseHeadParserTests {
    static func parse(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) -> RecordedHead {
        let bytes = Array(text.utf8)
        let whole = recordResponse(bytes, cuts: [])
        #expect(recordResponse(bytes, cuts: 0..<bytes.count) == whole, "byte by byte", sourceLocation: sourceLocation)
        return whole
    }

    @Test(
        "status lines with and without a reason are understood",
        arguments: [
            ("HTTP/1.1 101 Switching Protocols", 101), ("HTTP/1.1 200 ", 200), ("HTTP/1.1 503", 503),
            ("HTTP/1.0 404 Nicht gefunden \u{E9}", 404),
        ])
    func statusLine(line: String, status: Int) {
        guard case .response(status, _, let fields, nil, _) = Self.parse("\(line)\r\nA: b\r\n\r\n") else {
            Issue.record("refused: \(line)")
            return
        }
        #expect(fields == [[0x41], [0x62]])
    }

    @Test(
        "malformed responses are refused",
        arguments: [
            ("HTTP/1.1 10 x\r\n\r\n", HTTPFailure.statusLine), ("HTTP/1.1 099 x\r\n\r\n", .statusLine),
            ("HTTP/1.1 600 x\r\n\r\n", .statusLine), ("HTTP/1.1 2000\r\n\r\n", .statusLine),
            ("HTTP/1.1  200 x\r\n\r\n", .statusLine), ("HTTP/2.0 200 x\r\n\r\n", .statusLine),
            ("ICY 200 OK okok\r\n\r\n", .statusLine), ("HTTP/1.1 +20 x\r\n\r\n", .statusLine), ("\r\n", .statusLine),
            ("HTTP/1.1 200 x\n\r\n", .bareLineFeed), ("HTTP/1.1 200 \0\r\n\r\n", .controlByte),
            ("HTTP/1.1 200 OK\r\n: a\r\n\r\n", .fieldName), ("HTTP/1.1 200 OK\r\na : a\r\n\r\n", .fieldName),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", .contentLength),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncoding),
        ])
    func malformed(text: String, failure: HTTPFailure) {
        #expect(Self.parse(text) == .failed(failure))
    }

    @Test("a status is reported even if its body is chunked")
    func chunked() {
        var parser = ResponseHeadParser()
        Array("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n".utf8).withUnsafeBytes { raw in
            guard case .complete(let head, _) = parser.parse(raw) else {
                Issue.record("refused")
                return
            }
            #expect(head.status == 403 && head.hasTransferEncoding)
        }
    }

    @Test("an endless status line and endless fields end at the limit")
    func limits() {
        let line = String(repeating: "a", count: 9000)
        #expect(Self.parse("HTTP/1.1 200 \(line)") == .failed(.fieldLineTooLong))
        #expect(
            Self.parse("HTTP/1.1 200 OK\r\n" + String(repeating: "a: b\r\n", count: 101)) == .failed(.tooManyFields))
    }
}
