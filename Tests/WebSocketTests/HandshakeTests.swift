// The opening handshake from both sides, and who is refused with what. Rows of the table of hostile inputs carry
// their id.

import Bytes
import HTTP
import Testing
import WebSocket

@Suite("Opening handshake of a server")
struct ServerHandshakeTests {
    static let good = [
        "Host: chat.example", "Upgrade: websocket", "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
    ]

    /// The whole response to a request with `lines`.
    static func answer(
        _ lines: [String], requestLine: String = "GET /ws HTTP/1.1", origins: OriginPolicy = .sameHost,
        compresses: Bool = false
    ) -> String {
        let subprotocols: [StaticString] = ["centrifuge-json", "centrifuge-protobuf"]
        let text = "\(requestLine)\r\n" + lines.map { "\($0)\r\n" }.joined() + "\r\n"
        var parser = RequestHeadParser()
        var output = ByteBuffer()
        Array(text.utf8).withUnsafeBytes { raw in
            switch parser.parse(raw) {
            case .needMore: break
            case .failed(let failure): ServerHandshake.appendRefusal(failure, to: &output)
            case .complete(let head, _):
                let verdict = ServerHandshake.evaluate(
                    head, subprotocols: subprotocols, origins: origins, compresses: compresses, sha1: sha1)
                switch verdict {
                case .refuse(let failure): ServerHandshake.appendRefusal(failure, to: &output)
                case .accept(let acceptance):
                    ServerHandshake.appendAcceptance(acceptance, subprotocols: subprotocols, to: &output)
                }
            }
        }
        return String(decoding: output.bytes, as: UTF8.self)
    }

    static func status(_ answer: String) -> Int { Int(answer.dropFirst(9).prefix(3)) ?? 0 }

    @Test("the example of RFC 6455 section 1.3 is answered with its accept key")
    func example() {
        #expect(
            Self.answer(Self.good)
                == "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
    }

    @Test("tokens are found without regard to case and inside lists")
    func tokens() {
        let lines = [
            "HOST: a", "UPGRADE: h2c, WebSocket", "CONNECTION: UPGRADE", "SEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version:13",
        ]
        #expect(Self.status(Self.answer(lines)) == 101)
    }

    @Test(
        "HS-11 other versions get 426 with the version that is spoken",
        arguments: ["7", "8", "0", " 13 ", "13 ", "13,8", "8, 13", "+13", "013", "1 3", "", "thirteen"])
    func versions(version: String) {
        let answer = Self.answer(Self.good.dropLast() + ["Sec-WebSocket-Version: \(version)"])
        #expect(Self.status(answer) == 426)
        #expect(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"))
        #expect(answer.contains("\r\nConnection: close"))
    }

    @Test("HS-11 two versions and none get 426")
    func versionCount() {
        #expect(Self.status(Self.answer(Self.good + ["Sec-WebSocket-Version: 13"])) == 426)
        #expect(Self.status(Self.answer(Self.good.dropLast())) == 426)
    }

    @Test("HS-11 without the upgrade tokens it is 426", arguments: [1, 2])
    func noUpgrade(missing: Int) {
        var lines = Self.good
        lines.remove(at: missing)
        #expect(Self.status(Self.answer(lines)) == 426)
        lines.append(missing == 1 ? "Upgrade: websockets" : "Connection: upgraded, keep-alive")
        #expect(Self.status(Self.answer(lines)) == 426)
    }

    @Test(
        "HS-11 other methods, old versions and bodies get 400 and a close",
        arguments: ["POST /ws HTTP/1.1", "HEAD /ws HTTP/1.1", "get /ws HTTP/1.1", "GET /ws HTTP/1.0"])
    func requestLines(line: String) {
        let answer = Self.answer(Self.good, requestLine: line)
        #expect(Self.status(answer) == 400)
        #expect(answer.contains("\r\nConnection: close\r\n"))
    }

    @Test("HS-11 missing and double hosts, and a body, get 400")
    func hostAndBody() {
        #expect(Self.status(Self.answer(Array(Self.good.dropFirst()))) == 400)
        #expect(Self.status(Self.answer(Self.good + ["Host: chat.example"])) == 400)
        #expect(Self.status(Self.answer(Self.good + ["Content-Length: 5"])) == 400)
        #expect(Self.status(Self.answer(Self.good + ["Content-Length: 0"])) == 101)
    }

    @Test(
        "HS-11 a key that is not the base64 of 16 bytes gets 400",
        arguments: [
            "", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25jZQ-=", "dGhl IHNhbXBsZSBub25jZ==",
            "dGhlIHNhbXBsZSBub25j_Q==",
            "dGhlIHNhbXBsZSBub25jZQA=", "AAAA", "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        ])
    func keys(key: String) {
        var lines = Self.good
        lines[3] = "Sec-WebSocket-Key: \(key)"
        #expect(Self.status(Self.answer(lines)) == 400)
    }

    @Test("HS-11 two keys and none get 400")
    func keyCount() {
        #expect(Self.status(Self.answer(Self.good + [Self.good[3]])) == 400)
        var lines = Self.good
        lines.remove(at: 3)
        #expect(Self.status(Self.answer(lines)) == 400)
    }

    @Test(
        "WS-19 HS-09 the first known subprotocol of the client's list is chosen and nothing else is ever repeated",
        arguments: [
            (["centrifuge-json"], "centrifuge-json"),
            (["x, centrifuge-protobuf, centrifuge-json"], "centrifuge-protobuf"),
            (["x", "centrifuge-json"], "centrifuge-json"), (["x, secret-token"], nil), ([], nil), ([""], nil),
            (["CENTRIFUGE-JSON"], nil), (["centrifuge-json;q=1"], nil), ([" , ,centrifuge-json,"], "centrifuge-json"),
            (["a%0d%0aSet-Cookie:b"], nil),
        ] as [([String], String?)])
    func subprotocols(offers: [String], chosen: String?) {
        let answer = Self.answer(Self.good + offers.map { "Sec-WebSocket-Protocol: \($0)" })
        #expect(Self.status(answer) == 101)
        #expect(answer.contains("Sec-WebSocket-Protocol") == (chosen != nil))
        if let chosen { #expect(answer.contains("\r\nSec-WebSocket-Protocol: \(chosen)\r\n")) }
        #expect(!answer.contains("secret") && !answer.contains("Cookie"))
    }

    @Test(
        "HS-03 extension offers of any shape are declined by silence",
        arguments: [
            "permessage-deflate", "constructor; __proto__=1", "a; b=\"unterminated",
            (0..<1500).map { "x;p\($0)" }.joined(separator: ","),
        ])
    func extensions(offer: String) {
        let answer = Self.answer(Self.good + ["Sec-WebSocket-Extensions: \(offer.prefix(8000))"])
        #expect(Self.status(answer) == 101)
        #expect(!answer.contains("Extensions"))
    }
}

@Suite("Origin")
struct OriginTests {
    static func status(_ origins: [String], host: String = "chat.example", policy: OriginPolicy) -> Int {
        let lines = ["Host: \(host)"] + ServerHandshakeTests.good.dropFirst() + origins.map { "Origin: \($0)" }
        return ServerHandshakeTests.status(ServerHandshakeTests.answer(lines, origins: policy))
    }

    static let attacks = [
        "https://chat.example.evil", "https://evilchat.example", "http://chat.example", "https://chat.example:444",
        "null",
        "HTTPS://CHAT.EXAMPLE", "https://CHAT.example", "https://chat.example.", "https://chat.example@evil",
        "https://evil@chat.example", "https://chat.example/", "https://chat.example`", "https://chat.example$", "",
        "chat.example", "//chat.example", "https://", "https:// chat.example", "https://chat.example https://evil",
        "https://evil, https://chat.example", "wss://chat.example", "https://*.example", "*",
    ]

    @Test("AU-01 only the exact tuple of the list passes", arguments: attacks)
    func list(origin: String) throws {
        let allowed = try #require(AllowedOrigin("https://chat.example"))
        #expect(Self.status([origin], policy: .list([allowed])) == 403)
    }

    @Test("AU-01 the listed origin passes, none passes, two do not")
    func listed() throws {
        let policy = OriginPolicy.list([
            try #require(AllowedOrigin("https://other.example")), try #require(AllowedOrigin("https://chat.example")),
        ])
        #expect(Self.status(["https://chat.example"], policy: policy) == 101)
        #expect(Self.status([], policy: policy) == 101)
        #expect(Self.status(["https://chat.example", "https://chat.example"], policy: policy) == 403)
        #expect(Self.status([], policy: .list([])) == 101)
        #expect(Self.status(["https://chat.example"], policy: .list([])) == 403)
    }

    @Test("configured origins are brought into a browser's form, and what is no origin is refused")
    func configuration() {
        #expect(AllowedOrigin("HTTPS://Chat.Example:443") == AllowedOrigin("https://chat.example"))
        #expect(AllowedOrigin("http://localhost:80") == AllowedOrigin("http://localhost"))
        #expect(AllowedOrigin("http://localhost:443") != AllowedOrigin("http://localhost"))
        #expect(AllowedOrigin("http://[::1]:8080") != nil)
        for text in [
            "", "*", "chat.example", "https://", "https://a/", "https://a/b", "https://*.a", "https://u@a", "://a",
        ] {
            #expect(AllowedOrigin(text) == nil, "\(text)")
        }
    }

    @Test(
        "a page of the same host passes, with and without a default port, on either scheme",
        arguments: [
            ("https://chat.example", "chat.example"), ("http://chat.example", "chat.example"),
            ("https://chat.example", "chat.example:443"), ("http://chat.example", "chat.example:80"),
            ("http://localhost:8000", "localhost:8000"), ("https://chat.example", "CHAT.example"),
            ("http://[::1]:8000", "[::1]:8000"), ("http://[::1]", "[::1]:80"),
        ])
    func sameHost(origin: String, host: String) {
        #expect(Self.status([origin], host: host, policy: .sameHost) == 101)
    }

    @Test("AU-01 every other page is refused where only the same host may connect", arguments: attacks)
    func otherHosts(origin: String) {
        guard origin != "http://chat.example" else { return }
        #expect(Self.status([origin], policy: .sameHost) == 403)
    }

    @Test("AU-01 a port is part of the host")
    func ports() {
        #expect(Self.status(["http://localhost:8001"], host: "localhost:8000", policy: .sameHost) == 403)
        #expect(Self.status(["http://localhost"], host: "localhost:8000", policy: .sameHost) == 403)
        #expect(Self.status(["http://localhost:8000"], host: "localhost", policy: .sameHost) == 403)
        #expect(Self.status(["http://chat.example"], host: "chat.example:443", policy: .sameHost) == 403)
    }

    @Test("any origin passes where that is the policy, but never two")
    func any() {
        #expect(Self.status(["null"], policy: .any) == 101)
        #expect(Self.status(["https://a", "https://b"], policy: .any) == 403)
    }
}

@Suite("Opening handshake of a client")
struct ClientHandshakeTests {
    static let nonce = Array("the sample nonce".utf8)

    static func handshake(_ subprotocols: [StaticString] = [], deflate: DeflateOffer? = nil) -> ClientHandshake {
        nonce.withUnsafeBytes { ClientHandshake(nonce: $0, subprotocols: subprotocols, deflate: deflate) }
    }

    /// What a client that offered `deflate` makes of a response with `lines`, once it has validated it.
    static func agreement(_ lines: [String], deflate: DeflateOffer?) throws -> DeflateAgreement? {
        let text = "HTTP/1.1 101 x\r\n" + lines.map { "\($0)\r\n" }.joined() + "\r\n"
        var parser = ResponseHeadParser()
        return try Array(text.utf8).withUnsafeBytes { raw in
            guard case .complete(let head, _) = parser.parse(raw) else { throw HTTPFailure.statusLine }
            let client = handshake(deflate: deflate)
            _ = try client.validate(head, sha1: sha1)
            return try client.agreement(in: head)
        }
    }

    static func validate(
        _ lines: [String], status: String = "HTTP/1.1 101 Switching Protocols", subprotocols: [StaticString] = []
    ) throws -> Int? {
        let text = "\(status)\r\n" + lines.map { "\($0)\r\n" }.joined() + "\r\n"
        var parser = ResponseHeadParser()
        return try Array(text.utf8).withUnsafeBytes { raw in
            guard case .complete(let head, _) = parser.parse(raw) else { throw HTTPFailure.statusLine }
            return try handshake(subprotocols).validate(head, sha1: sha1)
        }
    }

    static let good = [
        "Upgrade: WebSocket", "Connection: upgrade", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ]

    @Test("the request is one that our server accepts, and its answer is accepted in turn")
    func bothSides() throws {
        var request = ByteBuffer()
        let client = Self.handshake(["x", "centrifuge-json"])
        try client.appendRequest(target: "/ws?a=b", host: "chat.example:8000", to: &request)
        var parser = RequestHeadParser()
        guard case .complete(let head, let consumed) = parser.parse(request.bytes) else {
            Issue.record("not accepted")
            return
        }
        #expect(consumed == request.bytes.count)
        let subprotocols: [StaticString] = ["centrifuge-json"]
        guard
            case .accept(let acceptance) = ServerHandshake.evaluate(
                head, subprotocols: subprotocols, origins: .sameHost, sha1: sha1)
        else {
            Issue.record("refused")
            return
        }
        var response = ByteBuffer()
        ServerHandshake.appendAcceptance(acceptance, subprotocols: subprotocols, to: &response)
        var responseParser = ResponseHeadParser()
        guard case .complete(let responseHead, _) = responseParser.parse(response.bytes) else {
            Issue.record("no response")
            return
        }
        #expect(try client.validate(responseHead, sha1: sha1) == 1)
    }

    @Test("a correct response is accepted with and without a subprotocol")
    func accepted() throws {
        #expect(try Self.validate(Self.good) == nil)
        let lines = Self.good + ["Sec-WebSocket-Protocol: b"]
        #expect(try Self.validate(lines, subprotocols: ["a", "b"]) == 1)
        #expect(try Self.validate(Self.good, subprotocols: ["a", "b"]) == nil)
    }

    @Test("HS-10 anything but 101 is no upgrade", arguments: [200, 301, 401, 403, 426, 503])
    func status(status: Int) {
        #expect(throws: HandshakeFailure.status(status)) {
            try Self.validate(Self.good, status: "HTTP/1.1 \(status) Whatever")
        }
    }

    @Test("a missing token, a wrong accept key, an unknown subprotocol or extension is refused")
    func refused() {
        for missing in 0...1 {
            var lines = Self.good
            lines.remove(at: missing)
            #expect(throws: HandshakeFailure.notUpgraded) { try Self.validate(lines) }
        }
        #expect(throws: HandshakeFailure.acceptKey) { try Self.validate(Array(Self.good.dropLast())) }
        #expect(throws: HandshakeFailure.acceptKey) { try Self.validate(Self.good + [Self.good[2]]) }
        let wrong: [String] = Self.good.dropLast() + ["Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO="]
        #expect(throws: HandshakeFailure.acceptKey) { try Self.validate(wrong) }
        #expect(throws: HandshakeFailure.subprotocol) {
            try Self.validate(Self.good + ["Sec-WebSocket-Protocol: c"], subprotocols: ["a", "b"])
        }
        #expect(throws: HandshakeFailure.subprotocol) { try Self.validate(Self.good + ["Sec-WebSocket-Protocol: a"]) }
        #expect(throws: HandshakeFailure.subprotocol) {
            try Self.validate(
                Self.good + ["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"], subprotocols: ["a"])
        }
        #expect(throws: HandshakeFailure.extensionNotOffered) {
            try Self.validate(Self.good + ["Sec-WebSocket-Extensions: permessage-deflate"])
        }
    }

    @Test("HS-09 a host or target that would break the head is refused and nothing is written")
    func injection() {
        var buffer = ByteBuffer()
        let client = Self.handshake()
        #expect(throws: HTTPWriteFailure.self) {
            try client.appendRequest(target: "/a\r\nX: y", host: "a", to: &buffer)
        }
        #expect(throws: HTTPWriteFailure.self) { try client.appendRequest(target: "/", host: "a\r\nX: y", to: &buffer) }
        #expect(Array(buffer.bytes) == [])
    }
}
