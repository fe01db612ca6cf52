// X-Forwarded-For and Forwarded: the last hop that is not ours, whatever a client wrote before it.

import Bytes
import HTTP
import Testing

private let proxies = Networks(["10.0.0.0/8", "2001:db8:aaaa::/48"].compactMap(Network.init))

private func client(_ lines: [String], sourceLocation: SourceLocation = #_sourceLocation) throws -> InternetAddress? {
    let head = (["GET / HTTP/1.1", "Host: a"] + lines + ["", ""]).joined(separator: "\r\n")
    return try withHead(head, sourceLocation: sourceLocation) { $0.client(behind: proxies) }
}

@Suite struct ForwardedAddressTests {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), (" 192.0.2.1 ", "192.0.2.1"), ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"), ("[2001:db8::1]", "2001:db8::1"), ("[2001:db8::1]:80", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"), ("6.6.6.6, 192.0.2.1", "192.0.2.1"),
        ("6.6.6.6,192.0.2.1,10.1.1.1", "192.0.2.1"),
        ("6.6.6.6, 192.0.2.1, 10.1.1.1, 2001:db8:aaaa::9", "192.0.2.1"), ("10.9.9.9, 192.0.2.1", "192.0.2.1"),
        ("garbage, 192.0.2.1", "192.0.2.1"), ("\", 192.0.2.1", "192.0.2.1"), ("192.0.2.1, ,", "192.0.2.1"),
        ("192.0.2.1, ::ffff:10.1.1.1", "192.0.2.1"),
    ])
    func `NET-07 the right-most hop that is not trusted is the client`(value: String, expected: String) throws {
        #expect(try client(["X-Forwarded-For: " + value]) == InternetAddress(expected))
    }

    @Test(arguments: [
        "", ",", "unknown", "6.6.6.6, unknown", "6.6.6.6, 1.2.3", "6.6.6.6, _hidden, 10.1.1.1", "10.1.1.1",
        "10.1.1.1, 10.2.2.2",
        "192.0.2.1:", "192.0.2.1:123456", "192.0.2.1:x", "[192.0.2.1]", "[2001:db8::1", "[2001:db8::1]x",
        "2001:db8::1]:80",
        "192.0.2.01", "\"192.0.2.1\"", "for=192.0.2.1", "192.0.2.1 192.0.2.2", "\u{FF}\u{FE}", "-1",
    ])
    func `NET-07 what names nobody leaves the peer's own address`(value: String) throws {
        #expect(try client(["X-Forwarded-For: " + value]) == nil)
    }

    @Test func `several field lines are one list, in their order`() throws {
        #expect(
            try client(["X-Forwarded-For: 6.6.6.6", "A: b", "x-forwarded-for: 192.0.2.1", "X-FORWARDED-FOR: 10.1.1.1"])
                == InternetAddress("192.0.2.1"))
        #expect(try client(["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: junk"]) == nil)
        #expect(try client([]) == nil)
    }

    @Test(arguments: [
        ("for=192.0.2.1", "192.0.2.1"), ("For=\"192.0.2.1:80\"", "192.0.2.1"), ("for=192.0.2.1:80", "192.0.2.1"),
        ("for=\"[2001:db8::1]\"", "2001:db8::1"), ("for=\"[2001:db8::1]:_port\";proto=https", "2001:db8::1"),
        ("proto=https;by=10.0.0.1;FOR=192.0.2.1;host=a", "192.0.2.1"),
        ("for=6.6.6.6, for=192.0.2.1;proto=http", "192.0.2.1"),
        ("for=6.6.6.6, for=192.0.2.1, for=10.1.1.1", "192.0.2.1"), ("for=192.0.2.1 ; proto=http", "192.0.2.1"),
        ("for=192.0.2.1;", "192.0.2.1"), ("for=\", for=192.0.2.1", "192.0.2.1"),
        ("for=\"x\\\", for=192.0.2.1", "192.0.2.1"),
    ])
    func `NET-07 Forwarded names it as RFC 7239 writes it`(value: String, expected: String) throws {
        #expect(try client(["Forwarded: " + value]) == InternetAddress(expected))
    }

    @Test(arguments: [
        "for=unknown", "for=_hidden", "proto=https", "for=192.0.2.1;for=192.0.2.2", "for=2001:db8::1", "for=", "for",
        "=192.0.2.1", "for=\"192.0.2.1", "for=192.0.2.1\"", "for=\"192.0.2\\.1\"", "for=\"\"", "f r=192.0.2.1",
        "for=192.0.2.1;host=\"x, for=6.6.6.6\"", "for=6.6.6.6, by=10.1.1.1", "for= 192.0.2.1", "192.0.2.1",
    ])
    func `a Forwarded that names nobody leaves the peer's own address`(value: String) throws {
        #expect(try client(["Forwarded: " + value]) == nil)
    }

    @Test func `NET-07 X-Forwarded-For counts alone: a client's own Forwarded passes through most proxies`() throws {
        #expect(
            try client(["Forwarded: for=6.6.6.6", "X-Forwarded-For: 192.0.2.1"]) == InternetAddress("192.0.2.1"))
        #expect(try client(["X-Forwarded-For: unknown", "Forwarded: for=6.6.6.6"]) == nil)
    }

    @Test func `random fields end in an address or in none`() throws {
        let seed = UInt64.random(in: .min ... .max)
        print("forwarded seed \(seed)")
        var random = SeededRandom(seed: seed)
        let pieces = [
            ",", ";", "=", "for=", "\"", "\\", "[", "]", ":", "::", "192.0.2.1", "10.1.1.1", "2001:db8::1", " ", "\t",
            "80",
            "_x", "unknown", "\u{80}",
        ]
        for _ in 0..<5_000 {
            let value = (0..<Int.random(in: 0...12, using: &random)).map { _ in
                pieces[Int.random(in: 0..<pieces.count, using: &random)]
            }.joined()
            for name in ["X-Forwarded-For", "Forwarded"] {
                // What a proxy of ours appends decides, whatever stood before.
                let appended = name == "Forwarded" ? "for=198.51.100.9" : "198.51.100.9"
                #expect(
                    try client(["\(name): \(value), \(appended)"]) == InternetAddress("198.51.100.9"), "seed \(seed)")
                _ = try client(["\(name): \(value)"])
            }
        }
    }
}
