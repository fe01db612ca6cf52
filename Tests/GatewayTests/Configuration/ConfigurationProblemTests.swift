// How a wrong configuration is refused: one line, the key, the way out.

import Bytes
import Testing

@testable import Gateway

@Suite struct ConfigurationProblemTests {
    @Test(arguments: [
        (#"{"prot": 1}"#, "prot: unknown key; did you mean port? (martlet.json)"),
        (
            #"{"client": {"pingIntervall": "1s"}}"#,
            "client.pingIntervall: unknown key; did you mean client.pingInterval?"
        ),
        (#"{"cleint": {"rate": "0"}}"#, "cleint: unknown key; did you mean client?"),
        (#"{"rooms": {"default": {"presense": false}}}"#, "did you mean rooms.default.presence?"),
        (
            #"{"rooms": {"namespaces": {"a": {"historySzie": 1}}}}"#,
            "rooms.namespaces.a.historySzie: unknown key; did you mean rooms.namespaces.a.historySize?"
        ), (#"{"somethingElseAltogether": 1}"#, "somethingElseAltogether: unknown key (martlet.json)"),
        (#"{"client": 5}"#, "client: must be an object, not 5"),
        (#"{"rooms": {"namespaces": []}}"#, "rooms.namespaces: must be an object, not a list"),
        (#"{"rooms": {"namespaces": {"a": true}}}"#, "rooms.namespaces.a: must be an object, not true"),
        (#"{"rooms": {"namespaces": {"a:b": {}}}}"#, #"the name "a:b" must be"#),
        (#"{"rooms": {"namespaces": {"": {}}}}"#, #"the name "" must be"#),
        (#"{"rooms": {"namespaces": {"$a": {}}}}"#, #"the name "$a" must be"#),
        (#"{"client.rate": "0"}"#, "client.rate: write it as nested objects"),
        (#"{"port": {}}"#, "port: must be a value"),
        (#"{"port": null}"#, "port: must not be null"), (#"{"a\nb": 1}"#, #"a\nb: unknown key"#),
        (#"{"port": true}"#, "port: must be a whole number between -1 and 65535, not true"),
        (#"{"port": "8000"}"#, #"port: must be a whole number between -1 and 65535, not "8000""#),
        (#"{"port": 8000.5}"#, "not 8000.5"), (#"{"port": 65536}"#, "not 65536"), (#"{"port": -2}"#, "not -2"),
        (#"{"port": 1e400}"#, "valid JSON"), (#"{"port": 99999999999999999999}"#, "port: must be a whole number"),
        (#"{"echo": 1}"#, "echo: must be true or false, not 1"), (#"{"echo": "true"}"#, #"not "true""#),
        (#"{"loops": 0}"#, "loops: must be a whole number between 1 and 1024, not 0"),
        (#"{"host": ""}"#, "host: must be an address"), (#"{"host": "a b"}"#, "host: must be an address"),
        (#"{"host": 1}"#, "host: must be a text, not 1"),
        (#"{"client": {"pingInterval": 25}}"#, #"client.pingInterval: must be a duration such as "10s""#),
        (#"{"client": {"pingInterval": "1.5s"}}"#, "in whole seconds"),
        (#"{"client": {"pingInterval": "2h"}}"#, "between 1s and 3600s"),
        (#"{"client": {"maxMessageSize": "64KB"}}"#, "client.maxMessageSize: must be a size in bytes"),
        (#"{"client": {"maxMessageSize": 10}}"#, "between 1KiB and 64MiB, not 10"),
        (#"{"client": {"maxMessageSize": true}}"#, "client.maxMessageSize: must be a size"),
        (#"{"client": {"allowedOrigins": "*"}}"#, "client.allowedOrigins: must be a list of texts"),
        (#"{"client": {"allowedOrigins": [1]}}"#, "client.allowedOrigins: must be a list of texts"),
        (#"{"client": {"allowedOrigins": ["example.com"]}}"#, "client.allowedOrigins: must hold origins such as"),
        (#"{"client": {"allowedOrigins": ["https://a/b"]}}"#, "must hold origins"),
        (#"{"client": {"allowedOrigins": ["https://a.*.example"]}}"#, "must hold origins"),
        (#"{"client": {"allowedOrigins": ["https://*.*.example"]}}"#, "must hold origins"),
        (#"{"client": {"allowedOrigins": ["https://"]}}"#, "must hold origins"),
        (#"{"log": {"level": "loud"}}"#, "log.level: must be one of trace, debug"),
        (#"{"engine": {"redis": {"prefix": "a{b}"}}}"#, "engine.redis.prefix: must be"),
        (
            #"{"engine": {"redis": {"url": "rediss://u:s3cr3t@h"}}}"#,
            "engine.redis.url: rediss:// (TLS to Redis) is not built"
        ),
        (#"{"rooms": {"default": {"burst": 5}}}"#, "rooms.default.burst: and rate go together"),
        (#"{"rooms": {"default": {"rate": "0", "burst": 5}}}"#, "rooms.default.burst: and rate go together"),
        (#"{"rooms": {"default": {"rate": "50/s", "burst": 0}}}"#, "rooms.default.burst: must be a whole number"),
        (#"{"rooms": {"default": {"rate": "50"}}}"#, "rooms.default.rate: must be a rate"),
        (#"{"rooms": {"default": {"rate": 50}}}"#, "rooms.default.rate: must be a rate"),
        (#"{"rooms": {"default": {"rate": "1000001/s"}}}"#, "rooms.default.rate: 1000001/s must not be above"),
        (#"{"rooms": {"default": {"rate": "1/999ns"}}}"#, "rooms.default.rate: 1/999ns must not be above"),
        (#"{"rooms": {"default": {"userRate": "1/31d"}}}"#, "rooms.default.userRate: 1/2678400s must not be"),
        (#"{"rooms": {"default": {"userRate": "2/36525d"}}}"#, "rooms.default.userRate: 2/3155760000s must not be"),
        (#"{"rooms": {"default": {"userRate": "9223372036854775807/s"}}}"#, "rooms.default.userRate: "),
        (
            #"{"rooms": {"namespaces": {"n": {"rate": "1/1h", "burst": 1000000}}}}"#,
            "rooms.namespaces.n.rate: 1/3600s must not be above 1000000/s, nor may 1000000 publications"
        ),
        ("[]", "martlet.json: must hold one JSON object, not a list"), ("", "martlet.json: is not valid JSON"),
        ("{", "martlet.json: is not valid JSON"), (#"{"port": 1}}"#, "martlet.json: is not valid JSON"),
        (#"{"port": 08}"#, "martlet.json: is not valid JSON"),
    ])
    func `a wrong file is refused with one line that names the key`(file: String, expected: String) throws {
        let lines = problems(file)
        #expect(lines.count == 1)
        let line = try #require(lines.first)
        #expect(line.contains(expected))
        #expect(!line.contains("\n") && !line.contains("s3cr3t"))
    }

    @Test(arguments: [
        (["MARTLET_PROT": "1"], "MARTLET_PROT: unknown variable; did you mean MARTLET_PORT? (environment)"),
        (
            ["MARTLET_PORT": "x"],
            #"port: must be a whole number between -1 and 65535, not "x" (environment, MARTLET_PORT)"#
        ),
        (["MARTLET_\n\u{1B}[31m": "1"], "MARTLET_\u{FFFD}\u{FFFD}[31m: unknown variable"),
        (["MARTLET_PORT": ""], "port: must be a whole number"), (["MARTLET_ECHO": "ja"], "echo: must be true or false"),
        (["MARTLET_PORT_8000_TCP": "tcp://10.0.0.1:8000"], "enableServiceLinks: false"),
        (["MARTLET_SERVICE_HOST": "10.0.0.1"], "enableServiceLinks: false"),
        (["MARTLET_ROOMS_NAMESPACES_A_PRESENCE": "1"], "namespaces can only be set in the --config file"),
        (["MARTLET_ENGINE_REDIS_URL": "redis://u:s3cr3t@h:x"], "engine.redis.url: must have a port"),
        (["MARTLET_CLIENT_TOKEN_HMAC_SECRET": "s3cr3t"], "client.token.hmacSecret: is not built yet"),
    ])
    func `a wrong variable is refused with one line that names it`(environment: [String: String], expected: String) {
        let lines = problems(environment: environment)
        #expect(lines.count == 1)
        #expect(lines.first?.contains(expected) ?? false, "\(lines)")
        #expect(!lines.contains { $0.contains("s3cr3t") })
    }

    @Test func `a wrong flag is refused by its own name`() {
        var flags = ConfigurationFlags()
        flags.port = 99_999
        flags.redis = "redis://a:s3cr3t@h:0"
        let lines = problems(flags: flags)
        #expect(lines.count == 2)
        #expect(lines.first == "port: must be a whole number between -1 and 65535, not 99999 (--port)")
        #expect(lines.last == "engine.redis.url: must have a port between 1 and 65535 (--redis)")
    }

    @Test func `a wrong value is refused also where a stronger source overrides it`() {
        var flags = ConfigurationFlags()
        flags.port = 1
        #expect(problems(#"{"port": "x"}"#, flags: flags).count == 1)
    }

    @Test func `all problems are collected, the error itself stays one line`() {
        #expect { try load(#"{"prot": 1, "echo": 1, "loops": 0}"#) } throws: { error in
            guard let error = error as? ConfigurationError else { return false }
            return error.problems.count == 3 && error.description.hasSuffix("; and 2 more, see martlet check-config")
                && !error.description.contains("\n")
        }
    }

    @Test func `a setting whose feature does not exist yet is refused by name, its off value is not`() throws {
        var refused = 0
        for setting in SettingTable.all where !setting.isBuilt {
            let (on, off) = Self.samples(setting.kind, setting.status)
            let name = ConfigurationSources.environmentName(setting.key)
            let lines = problems(environment: [name: on])
            #expect(lines.first == "\(setting.key): is not built yet in this version; remove it (environment, \(name))")
            refused += lines.count
            if let off { #expect(problems(environment: [name: off]).isEmpty, "\(name)=\(off)") }
        }
        for setting in RoomSettingTable.all where !setting.isBuilt {
            let (on, off) = Self.samples(setting.kind, setting.status)
            let name = ConfigurationSources.environmentName("rooms.default." + setting.key)
            #expect(problems(environment: [name: on]).first?.contains("is not built yet") ?? false, "\(name)")
            refused += 1
            if let off { #expect(problems(environment: [name: off]).isEmpty, "\(name)=\(off)") }
        }
        #expect(refused == (SettingTable.all.count + RoomSettingTable.all.count) - Self.built)
    }

    private static var built: Int {
        SettingTable.all.filter(\.isBuilt).count + RoomSettingTable.all.filter(\.isBuilt).count
    }

    /// A value that switches the feature on, and the one that says off.
    private static func samples<Root>(_ kind: SettingKind, _ status: Setting<Root>.Status) -> (String, String?) {
        var off: String?
        if case .later(let value) = status {
            off =
                switch value {
                case .boolean(let flag): "\(flag)"
                case .integer(let number): "\(number)"
                case .rate: "0"
                case .duration(let time): ConfigurationUnits.text(time)
                case .text(let text): text
                default: nil
                }
        }
        let on =
            switch kind {
            case .text, .redis: "x"
            case .boolean: "true"
            case .integer(let range): "\(range.upperBound)"
            case .duration(let range, _): ConfigurationUnits.text(range.upperBound)
            case .size: "1GiB"
            case .rate: "1/s"
            case .list: "x"
            case .choice(let words): words.last ?? ""
            }
        return (on, off)
    }

    @Test func `client.rate accepts a rate, and 0 for none`() {
        #expect(problems(#"{"client": {"rate": "0"}}"#).isEmpty)
        #expect(problems(#"{"client": {"rate": "50/s", "burst": 1, "byteRate": "64KiB"}}"#).isEmpty)
        #expect(problems(#"{"client": {"burst": 0}}"#).first?.hasPrefix("client.burst: must be a whole") ?? false)
        #expect(problems(#"{"client": {"rate": 0}}"#).first?.hasPrefix("client.rate: must be a rate") ?? false)
        let personal = problems(#"{"client": {"subscribeToPersonalRoom": true}}"#).first
        #expect(personal?.hasPrefix("client.subscribeToPersonalRoom: is not") ?? false)
        #expect(problems(#"{"client": {"compression": true}}"#).isEmpty)
    }

    @Test(arguments: [
        ("0.0.0.0", false, true), ("::", false, true), ("10.0.0.1", false, true), ("example.com", false, true),
        ("128.0.0.1", false, true), ("127.0.0.1.example.com", false, true), ("127.1.2", false, true),
        ("0.0.0.0", true, false), ("127.0.0.1", false, false), ("127.9.9.9", false, false), ("::1", false, false),
        ("[::1]", false, false), ("localhost", false, false), ("LOCALHOST", false, false),
        ("::ffff:127.0.0.1", false, false), ("::ffff:10.0.0.1", false, true), ("127.0.0.256", false, true),
    ])
    func `a public address is refused with the way out`(host: String, behindProxy: Bool, refused: Bool) {
        for insecure in [false, true] {
            var flags = ConfigurationFlags()
            flags.host = host
            flags.behindProxy = behindProxy
            flags.insecure = insecure
            let lines = problems(flags: flags)
            #expect(lines.count == (refused ? 1 : 0))
            if refused {
                #expect(lines.first?.hasPrefix("host: \(host) can be reached from other machines") ?? false)
                #expect(lines.first?.contains("--host 127.0.0.1") ?? false)
                #expect(lines.first?.contains("--behind-proxy") ?? false)
            }
        }
    }

    @Test(arguments: [
        (#"{"port": -1}"#, "port: -1 leaves no listener"), (#"{"port": 9000}"#, "admin.port: 9000 is the client"),
        (
            #"{"client": {"pongTimeout": "25s"}}"#,
            "client.pongTimeout: 25s must be shorter than client.pingInterval, 25s"
        ),
        (
            #"{"client": {"queueMaxSize": "4KiB"}}"#,
            "client.maxMessageSize: 64KiB must not be above client.queueMaxSize"
        ),
        (
            #"{"rooms": {"default": {"maxMessageSize": "1MiB"}}}"#,
            "rooms.default.maxMessageSize: 1MiB must not be above"
        ),
        (#"{"rooms": {"namespaces": {"a": {"maxMessageSize": "1MiB"}}}}"#, "rooms.namespaces.a.maxMessageSize"),
        (
            #"{"client": {"queueMaxSize": "64KiB"}, "rooms": {"default": {"historySize": 5, "historyTTL": "5s"}}}"#,
            "rooms.default.historySize: a reply with history holds half of client.queueMaxSize"
        ),
        (#"{"rooms": {"default": {"historySize": 5}}}"#, "rooms.default.historySize: and historyTTL go together"),
        (#"{"rooms": {"namespaces": {"a": {"historyTTL": "5s"}}}}"#, "rooms.namespaces.a.historySize: and historyTTL"),
        (#"{"proxyProtocol": true}"#, "proxyProtocol: needs trustedProxies"),
        (#"{"trustedProxies": ["10.0.0.0/8", "10.0.0.1/8"]}"#, "trustedProxies: must hold networks such as"),
        (#"{"trustedProxies": ["balancer.example"]}"#, "trustedProxies: must hold networks such as"),
    ])
    func `an impossible combination is refused by the key to change`(file: String, expected: String) {
        let lines = problems(file)
        #expect(lines.count == 1)
        #expect(lines.first?.hasPrefix(expected) ?? false, "\(lines)")
    }

    @Test func `two listeners may both take a free port, or one port on two addresses`() throws {
        #expect(try load(#"{"port": 0, "admin": {"port": 0}}"#).configuration.port == 0)
        #expect(try load(#"{"port": 9000, "admin": {"host": "127.0.0.2"}}"#).configuration.port == 9000)
    }

    @Test func `trusted proxies are networks of both families`() throws {
        let loaded = try load(#"{"proxyProtocol": true, "trustedProxies": ["10.0.0.0/8", "2001:db8::/32", "::1"]}"#)
        let proxies = try ProxySettings(loaded.configuration)
        #expect(proxies.expectsHeader)
        for (text, isTrusted) in [
            ("10.1.2.3", true), ("11.1.2.3", false), ("2001:db8::7", true), ("::1", true), ("::2", false),
        ] {
            #expect(proxies.trusted.contains(try #require(InternetAddress(text))) == isTrusted, "\(text)")
        }
    }

    @Test func `distances count insertions, deletions, substitutions and swaps`() {
        for (a, b, expected) in [
            ("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("acb", "abc", 1), ("ab", "abc", 1),
            ("xbc", "abc", 1), ("kitten", "sitting", 3),
        ] {
            #expect(NearestName.distance(Array(a.utf8), Array(b.utf8)) == expected, "\(a) \(b)")
        }
        #expect(NearestName.of(String(repeating: "x", count: 1_000_000), among: ["port"]) == nil)
    }

    @Test func `a file that does not exist is refused by its name`() {
        #expect { try ConfigurationFile.read(path: "/nonexistent/martlet.json") } throws: { error in
            "\(error)" == "/nonexistent/martlet.json: no such file (--config)"
        }
        #expect { try ConfigurationFile.read(path: "/") } throws: { error in
            error is ConfigurationError && !"\(error)".contains("\n")
        }
    }

    @Test func `a deep or garbled file is refused, not followed`() {
        let deep = String(repeating: #"{"a":"#, count: 100_000)
        #expect(problems(deep).count == 1)
        #expect(problems("\u{0}\u{1}\u{2}").count == 1)
        #expect(!problems(#"{"port": 1, "port": 2}"#).contains { $0.contains("\n") })
    }
}
