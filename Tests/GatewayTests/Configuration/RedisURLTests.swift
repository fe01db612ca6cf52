// Redis URLs: what is understood, what is refused and how, and that a password stays inside.

import Testing

@testable import Gateway

@Suite struct RedisURLTests {
    @Test func `host, port, database and credentials are read`() throws {
        let url = try RedisURL("redis://alice:s%2Fe%40cret@redis.example.com:6380/3")
        #expect(url.endpoint == .tcp(host: "redis.example.com", port: 6380))
        #expect(url.user == "alice")
        #expect(url.password == "s/e@cret")
        #expect(url.database == 3)
    }

    @Test(
        arguments: [
            ("redis://127.0.0.1", "127.0.0.1", 6379), ("redis://h:1/", "h", 1), ("redis://[::1]:7000/0", "::1", 7000),
            ("redis://[fe80::1]", "fe80::1", 6379), ("REDIS://h", "h", 6379), ("redis://h:65535", "h", 65_535),
        ] as [(String, String, UInt16)])
    func `the usual forms are read`(text: String, host: String, port: UInt16) throws {
        let url = try RedisURL(text)
        #expect(url.endpoint == .tcp(host: host, port: port))
        #expect(url.user == nil && url.password == nil && url.database == 0)
    }

    @Test func `a password alone means the default user`() throws {
        let url = try RedisURL("redis://:pass:word@h")
        #expect(url.user == nil)
        #expect(url.password == "pass:word")
        #expect(try RedisURL("redis://:p@ss@h").password == "p@ss")
    }

    @Test func `a socket path is read`() throws {
        let url = try RedisURL("unix:///run/my%20redis.sock?db=2")
        #expect(url.endpoint == .unix(path: "/run/my redis.sock"))
        #expect(url.database == 2)
        #expect(try RedisURL("unix://u:p@/run/r.sock").password == "p")
    }

    @Test(arguments: [
        ("", "must look like"), ("127.0.0.1:6379", "must look like"), ("http://h", "must begin"),
        ("rediss://h", "not built yet"), ("redis+sentinel://h1,h2/master", "not built yet"),
        ("redis-sentinel://h/m", "not built yet"), ("redis+cluster://h1,h2", "not built yet"), ("redis://", "one host"),
        ("redis://:6379", "one host"), ("redis://h1,h2", "one host"), ("redis://h h", "one host"),
        ("redis://h:0", "port"), ("redis://h:65536", "port"), ("redis://h:-1", "port"), ("redis://h:+1", "port"),
        ("redis://h:99999999999999999999", "port"), ("redis://::1", "[brackets]"), ("redis://[::1", "without ]"),
        ("redis://[::1]x", "odd behind ]"), ("redis://h/x", "number"), ("redis://h/-1", "number"),
        ("redis://h/99999999999999999999", "number"), ("redis://h/1/2", "number"), ("redis://user@h", "no password"),
        ("redis://u:%zz@h", "%-escape"), ("redis://u:%f@h", "%-escape"), ("redis://u:%+1@h", "%-escape"),
        ("redis://u:%ff@h", "%-escape"), ("redis://h?x=1", "no options"), ("unix://", "absolute path"),
        ("unix://relative/r.sock", "absolute path"), ("unix:///", "absolute path"), ("unix:///r?x=1", "?db=N"),
        ("unix:///r%00", "socket path"), ("unix:///" + String(repeating: "x", count: 107), "socket path"),
    ])
    func `anything else is refused with the reason`(text: String, reason: String) {
        #expect { try RedisURL(text) } throws: { error in
            (error as? RedisURL.Problem)?.text.contains(reason) ?? false
        }
    }

    @Test(arguments: [
        "redis://alice:s3cr3t@h:6379/0", "redis://:s3cr3t@h:6379/0", "unix://:s3cr3t@/r.sock", "redis://h:s3cr3t",
        "redis://a:s3cr3t@h:0", "redis://a:s3cr3t@", "redis://a:s3cr3t@[::1", "rediss://a:s3cr3t@h", "x:s3cr3t@h",
        "redis://a:s3cr3t@h/x",
    ])
    func `the password is in no description and in no refusal`(text: String) {
        var printed = ""
        do {
            let url = try RedisURL(text)
            dump(url, to: &printed)
            printed += "\(url) \(String(reflecting: url)) \(SettingValue.redis(url).json(.redis))"
            #expect(printed.contains("***"))
        } catch {
            printed = "\(error)"
        }
        #expect(!printed.contains("s3cr3t"))
    }

    @Test(arguments: [
        "redis://127.0.0.1:6379/0", "redis://[::1]:6379/5", "unix:///run/r%20s.sock?db=2", "redis://h:1/0",
    ])
    func `a URL without a password is printed so that it reads the same`(text: String) throws {
        #expect(try RedisURL(text).description == text)
    }
}
