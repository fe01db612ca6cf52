// Look-ups in an accepted head: fields, lists, path and query.

import Fuzz
import HTTP
import Testing

@Suite("Looking things up in a head")
struct RequestHeadTests {
    @Test("names and tokens are found without regard to case, in lists and over several fields")
    func tokens() throws {
        let text =
            "GET / HTTP/1.1\r\nHost: a\r\nCONNECTION: keep-alive,, Upgrade\r\nUpgrade: h2c\r\nupgrade: ,WebSocket , x"
            + "\r\nX-Close: close\r\n\r\n"
        try withHead(text) { head in
            #expect(head.fields.contains(token: "upgrade", in: "connection"))
            #expect(head.fields.contains(token: "keep-alive", in: "Connection"))
            #expect(head.fields.contains(token: "websocket", in: "upgrade"))
            #expect(!head.fields.contains(token: "close", in: "connection"))
            #expect(!head.fields.contains(token: "keep", in: "connection"))
            #expect(!head.fields.contains(token: "", in: "connection"))
            #expect(string(head.fields.first("X-CLOSE")) == "close")
            #expect(head.fields.first("close") == nil)
            #expect(head.fields.count(of: "upgrade") == 2)
        }
    }

    @Test("one, none and several fields of a name are told apart")
    func single() throws {
        try withHead("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n") { head in
            guard case .several = head.fields.single("a"), case .absent = head.fields.single("c"),
                case .one(let field) = head.fields.single("b")
            else {
                Issue.record("wrong count")
                return
            }
            #expect(string(field.value) == "2")
            #expect(string(field.rawValue) == " 2")
        }
    }

    @Test("HS-01 a list full of spaces is walked once and yields one odd element", arguments: [1000, 4000, 8000])
    func spaces(count: Int) throws {
        let spaces = String(repeating: " ", count: count)
        try withHead("GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: b\(spaces)x\r\n\r\n") { head in
            var lengths: [Int] = []
            head.fields.forEachElement(of: "sec-websocket-protocol") { element in
                lengths.append(element.count)
                return true
            }
            #expect(lengths == [count + 2])
        }
    }

    @Test(
        "HS-20 path and query are split at the first question mark and a route matches only exactly",
        arguments: [
            ("/ws", "/ws", nil, true), ("/ws?", "/ws", "", true), ("/ws?a?b", "/ws", "a?b", true),
            ("/ws/", "/ws/", nil, false), ("//ws", "//ws", nil, false), ("/ws%00", "/ws%00", nil, false),
            ("/%77s", "/%77s", nil, false), ("/ws;a", "/ws;a", nil, false), ("/WS", "/WS", nil, false),
            ("/\\ws", "/\\ws", nil, false), ("/%2e%2e/ws", "/%2e%2e/ws", nil, false), ("/../ws", "/../ws", nil, false),
        ] as [(String, String, String?, Bool)])
    func path(target: String, path: String, query: String?, matches: Bool) throws {
        try withHead("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n") { head in
            #expect(string(head.path) == path)
            #expect(string(head.query) == query)
            #expect(head.matches("/ws") == matches)
        }
    }

    @Test(
        "query parameters are decoded",
        arguments: [
            ("user=ada", "ada"), ("a=b&user=ada&c", "ada"), ("user", ""), ("user=", ""), ("&&user=x&&", "x"),
            ("user=a%20b+c", "a b c"), ("user=%C3%A9%e2%82%ac", "é€"), ("user=a=b", "a=b"), ("users=x", nil), ("", nil),
            ("xuser=x&User=y", nil), ("user=%25", "%"),
        ] as [(String, String?)])
    func query(query: String, value: String?) throws {
        let found = try withHead("GET /ws?\(query) HTTP/1.1\r\nHost: a\r\n\r\n") { try $0.queryParameter("user") }
        #expect(found == value)
    }

    @Test(
        "HS-09 query parameters that are not exactly right are refused",
        arguments: [
            "user=%", "user=%4", "user=%4g", "user=%%20", "user=%ff", "user=%C3", "user=%00", "user=%0d%0aX",
            "user=%7f",
            "user=a&user=b", "user=a&user", "user=%ED%A0%80", "user=%+1",
        ])
    func malformedQuery(query: String) throws {
        try withHead("GET /ws?\(query) HTTP/1.1\r\nHost: a\r\n\r\n") { head in
            _ = #expect(throws: HTTPFailure.queryEncoding) { try head.queryParameter("user") }
        }
    }

    @Test("connections are kept as the version and the Connection field say")
    func keepsAlive() throws {
        #expect(try withHead("GET / HTTP/1.1\r\nHost: a\r\n\r\n") { $0.keepsAlive })
        #expect(try !withHead("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n") { $0.keepsAlive })
        #expect(try !withHead("GET / HTTP/1.0\r\n\r\n") { $0.keepsAlive })
        #expect(try withHead("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n") { $0.keepsAlive })
    }
}
