// What is a request and what is none, in every cut. Rows of the table of hostile inputs carry their id.

import Fuzz
import HTTP
import Testing

@Suite("Request heads")
struct RequestHeadParserTests {
    static let host = "Host: chat.example\r\n"

    @Test("a browser's upgrade request is taken apart, and bytes behind the head are left alone")
    func browserRequest() {
        let head =
            "GET /connection/websocket?a=b?c HTTP/1.1\r\nHost: chat.example:8000\r\nUpgrade:websocket\r\nX-Empty:\r\n"
            + "X-Spaces: \t a b \t\r\nX-Latin: \u{E9}\r\n\r\n"
        let fields = [
            "Host", "chat.example:8000", "Upgrade", "websocket", "X-Empty", "", "X-Spaces", "a b", "X-Latin", "\u{E9}",
        ]
        let expected = RecordedHead.request(
            .get, .http11, target: Array("/connection/websocket?a=b?c".utf8), fields: fields.map { Array($0.utf8) },
            contentLength: nil, consumed: head.utf8.count)
        #expect(parseEveryWay(head) == expected)
        #expect(parseEveryWay(head + "\u{81}\u{85}next bytes\r\n\r\n") == expected)
    }

    @Test(
        "what is well-formed is accepted",
        arguments: [
            ("POST /api HTTP/1.1\r\n\(host)Content-Length: 12\r\n\r\n", HTTPMethod.post),
            ("BREW / HTTP/1.1\r\n\(host)\r\n", .other), ("get / HTTP/1.1\r\n\(host)\r\n", .other),
            ("HEAD / HTTP/1.0\r\n\r\n", .head), ("GET /%2e%2e//;\\ws%00 HTTP/1.1\r\n\(host)\r\n", .get),
            ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", .get),
            ("GET / HTTP/1.1\r\n\(host)!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n", .get),
        ])
    func wellFormed(text: String, method: HTTPMethod) {
        guard case .request(let parsed, _, _, _, _, let consumed) = parseEveryWay(text) else {
            Issue.record("not accepted: \(text)")
            return
        }
        #expect(parsed == method)
        #expect(consumed == text.utf8.count)
    }

    @Test(
        "malformed request lines are refused",
        arguments: [
            ("\r\nGET / HTTP/1.1\r\n", HTTPFailure.requestLine), ("GET\r\n", .requestLine), ("GET /\r\n", .requestLine),
            ("GET  / HTTP/1.1\r\n", .target), ("GET / HTTP/1.1 \r\n", .requestLine),
            ("GET /  HTTP/1.1\r\n", .requestLine),
            (" GET / HTTP/1.1\r\n", .method), ("G(T / HTTP/1.1\r\n", .method), ("GET\t/\tHTTP/1.1\r\n", .requestLine),
            ("GET http://a/ HTTP/1.1\r\n", .target), ("GET * HTTP/1.1\r\n", .target),
            ("CONNECT a:1 HTTP/1.1\r\n", .target),
            ("OPTIONS * HTTP/1.1\r\n", .target), ("GET /a#b HTTP/1.1\r\n", .target),
            ("GET /\u{E9} HTTP/1.1\r\n", .target),
            ("GET / http/1.1\r\n", .requestLine), ("GET / HTTP/1.10\r\n", .requestLine),
            ("GET / HTTP/1\r\n", .requestLine),
            ("GET / HTTP/1.2\r\n", .version), ("GET / HTTP/2.0\r\n", .version), ("GET / HTTP/0.9\r\n", .version),
            ("GET /\0 HTTP/1.1\r\n", .controlByte), ("GET / HTTP/1.1\n", .bareLineFeed),
            ("GET / HTTP/1.1\rHost: a\r\n", .bareCarriageReturn), ("GET / HTTP/1.1\r\r\n", .bareCarriageReturn),
            ("\u{16}\u{3}\u{1}", .controlByte),
        ])
    func malformedRequestLine(text: String, failure: HTTPFailure) {
        #expect(parseEveryWay(text) == .failed(failure))
    }

    @Test(
        "HS-06 HS-07 HS-08 malformed fields are refused",
        arguments: [
            (": x\r\n", HTTPFailure.fieldName), ("a b: x\r\n", .fieldName), ("a\tb: x\r\n", .fieldName),
            ("a : x\r\n", .fieldName), ("a\0: x\r\n", .controlByte), ("\u{E9}: x\r\n", .fieldName),
            ("no colon\r\n", .fieldName), ("nocolon\r\n", .fieldName), ("a(b): x\r\n", .fieldName),
            (" folded\r\n", .foldedField), ("\tfolded\r\n", .foldedField), ("a: b\r\n c\r\n", .foldedField),
            ("a: b\nc: d\r\n", .bareLineFeed), ("a: b\r c\r\n", .bareCarriageReturn), ("a: \0\r\n", .controlByte),
            ("a: \u{B}\r\n", .controlByte), ("a: \u{7F}\r\n", .controlByte), ("a: \u{1B}[31m\r\n", .controlByte),
            ("Transfer-Encoding: chunked\r\n", .transferEncoding),
            ("transfer-encoding: identity\r\n", .transferEncoding),
            ("Transfer-Encoding: xchunked\r\n", .transferEncoding),
            ("Transfer-Encoding: chunked, identity\r\n", .transferEncoding),
            ("Transfer-Encoding: \u{B}chunked\r\n", .controlByte), ("Transfer-Encoding:\r\n", .transferEncoding),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", .transferEncoding),
            ("Transfer-Encoding:\r\n chunked\r\n", .transferEncoding),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", .contentLength),
            ("Content-Length: 5\r\ncontent-LENGTH: 6\r\n", .contentLength), ("Content-Length:\r\n", .contentLength),
            ("Content-Length: +5\r\n", .contentLength), ("Content-Length: -5\r\n", .contentLength),
            ("Content-Length: 5,5\r\n", .contentLength), ("Content-Length: 5 5\r\n", .contentLength),
            ("Content-Length: 0x5\r\n", .contentLength), ("Content-Length: 5.0\r\n", .contentLength),
            ("Content-Length: 12345678901234567890\r\n", .contentLength),
            ("Content-Length: 9223372036854775808\r\n", .contentLength),
            ("Content-Length: 00000000000000000005\r\n", .contentLength),
            ("Host: b\r\n", .severalHosts), ("host: chat.example\r\n", .severalHosts),
        ])
    func malformedField(lines: String, failure: HTTPFailure) {
        #expect(parseEveryWay("POST / HTTP/1.1\r\n\(Self.host)\(lines)\r\n") == .failed(failure))
    }

    @Test(
        "a Host that is no host is refused",
        arguments: ["", "a b", "a,b", "a/b", "user@a", "a\\b", "\u{E9}", "a\"", "<a>", "a?b", "a#b"])
    func malformedHost(host: String) {
        #expect(parseEveryWay("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n") == .failed(.host))
    }

    @Test("HTTP/1.1 without Host is refused, HTTP/1.0 without is not")
    func missingHost() {
        #expect(parseEveryWay("GET / HTTP/1.1\r\nA: b\r\n\r\n") == .failed(.missingHost))
        guard case .request(_, .http10, _, _, _, _) = parseEveryWay("GET / HTTP/1.0\r\nA: b\r\n\r\n") else {
            Issue.record("HTTP/1.0 without Host was refused")
            return
        }
    }

    @Test("HS-06 after a refused request nothing behind it is ever parsed")
    func failureIsFinal() {
        var parser = RequestHeadParser()
        let bytes = Array(
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        bytes.withUnsafeBytes { raw in
            for _ in 0..<3 {
                guard case .failed(.transferEncoding) = parser.parse(raw) else {
                    Issue.record("the failure was forgotten")
                    return
                }
            }
        }
    }

    @Test("every proper prefix of a good request asks for more")
    func prefixes() {
        let bytes = fuzzHTTPHeadSeeds[0]
        for length in 0..<bytes.count {
            #expect(recordRequest(Array(bytes[..<length]), cuts: []) == .needMore)
        }
    }

    @Test("HS-15 each failure has a status of its class and a reason that fits a response")
    func failures() {
        for raw in UInt8.min...UInt8.max {
            guard let failure = HTTPFailure(rawValue: raw) else { continue }
            #expect([400, 403, 413, 414, 426, 431, 502, 505].contains(failure.status))
            #expect(!failure.reason.description.isEmpty)
        }
    }
}
