// What the sources say together: order, types, unknown names, features that do not exist yet, combinations.

import Bytes
import Rooms
import Testing

@testable import Gateway
@testable import Rooms

/// Loads from dictionaries and a text; nothing of the process is touched.
func load(
    _ json: String? = nil, environment: [String: String] = [:], flags: ConfigurationFlags = ConfigurationFlags()
) throws(ConfigurationError) -> LoadedConfiguration {
    try ConfigurationLoader.load(
        flags: flags, environment: environment,
        file: json.map { ConfigurationFile(path: "martlet.json", bytes: Array($0.utf8)) })
}

/// The lines of everything that is wrong; empty when nothing is.
func problems(
    _ json: String? = nil, environment: [String: String] = [:], flags: ConfigurationFlags = ConfigurationFlags()
) -> [String] {
    do {
        _ = try load(json, environment: environment, flags: flags)
        return []
    } catch { return error.problems.map(\.description) }
}

@Suite struct ConfigurationLoaderTests {
    @Test func `nothing given gives the defaults`() throws {
        let loaded = try load()
        #expect(loaded.configuration == GatewayConfiguration())
        #expect(loaded.origins.isEmpty)
        #expect(loaded.configuration.host == "127.0.0.1")
        #expect(loaded.configuration.port == 8000)
        #expect(loaded.configuration.client.maxMessageSize == 64 << 10)
        #expect(loaded.configuration.client.queueMaxSize == 1 << 20)
        #expect(loaded.configuration.loops >= 1)
        #expect(try load("{}").configuration == GatewayConfiguration())
    }

    @Test func `flags beat the environment, the environment beats the file, the file beats the defaults`() throws {
        let file = #"{"port": 1, "admin": {"port": 2}, "client": {"maxRooms": 3}}"#
        var flags = ConfigurationFlags()
        flags.port = 11
        let loaded = try load(
            file, environment: ["MARTLET_PORT": "21", "MARTLET_ADMIN_PORT": "22", "PATH": "/bin"], flags: flags)
        #expect(loaded.configuration.port == 11)
        #expect(loaded.configuration.admin.port == 22)
        #expect(loaded.configuration.client.maxRooms == 3)
        #expect(
            loaded.origins == [
                "port": "--port", "admin.port": "environment, MARTLET_ADMIN_PORT", "client.maxRooms": "martlet.json",
            ])
    }

    @Test func `every flag reaches its key`() throws {
        var flags = ConfigurationFlags()
        flags.host = "localhost"
        flags.port = 0
        flags.adminHost = "::1"
        flags.adminPort = -1
        flags.loops = 3
        flags.redis = "redis://h:7/1"
        flags.insecure = true
        flags.behindProxy = true
        flags.logLevel = "debug"
        flags.logFormat = "text"
        let configuration = try load(flags: flags).configuration
        #expect(configuration.host == "localhost")
        #expect(configuration.port == 0)
        #expect(configuration.admin == .init(host: "::1", port: -1))
        #expect(configuration.loops == 3)
        #expect(configuration.engine.redis.url?.endpoint == .tcp(host: "h", port: 7))
        #expect(configuration.client.insecure)
        #expect(configuration.behindProxy)
        #expect(configuration.log == .init(level: "debug", format: "text"))
    }

    @Test func `a whole file is read`() throws {
        let file = """
            {"host": "127.0.0.2", "port": 8001, "loops": 2, "echo": true,
             "admin": {"host": "localhost", "port": 9001},
             "engine": {"redis": {"url": "redis://127.0.0.1:6379", "prefix": "p", "commandTimeout": "1.5s"}},
             "client": {"insecure": true, "allowAnonymous": true, "allowedOrigins": ["https://a.example", "*"],
                        "pingInterval": "30s", "pongTimeout": "250ms", "staleCloseDelay": "1m", "maxMessageSize": 2048,
                        "queueMaxSize": "2MiB", "maxRooms": 5, "maxRoomNameLength": 6, "writeTimeout": "7s",
                        "rate": "0", "burst": 8, "byteRate": "3KiB", "compression": false},
             "limits": {"maxConnections": 11, "maxConnectionsPerIP": 12, "acceptRate": 13, "acceptRatePerIP": 14,
                        "maxMemory": "1GiB"},
             "shutdown": {"drainWindow": "0s"}, "log": {"level": "trace", "format": "json"}, "demo": false,
             "rooms": {"default": {"allowSubscribeForClient": true, "maxMessageSize": "1KiB", "presence": false},
                       "namespaces": {"slow.1": {"allowPublishForAnonymous": true, "historySize": 0}, "bare": {}}}}
            """
        let read = try load(file).configuration
        #expect(read.host == "127.0.0.2" && read.port == 8001 && read.loops == 2 && read.echo)
        #expect(read.admin == .init(host: "localhost", port: 9001))
        #expect(read.engine.redis.prefix == "p" && read.engine.redis.commandTimeout == .milliseconds(1500))
        #expect(read.client.insecure && read.client.allowAnonymous)
        #expect(read.client.allowedOrigins == ["https://a.example", "*"])
        #expect(read.client.pingInterval == .seconds(30) && read.client.pongTimeout == .milliseconds(250))
        #expect(read.client.staleCloseDelay == .seconds(60) && read.client.writeTimeout == .seconds(7))
        #expect(read.client.maxMessageSize == 2048 && read.client.queueMaxSize == 2 << 20)
        #expect(read.client.maxRooms == 5 && read.client.maxRoomNameLength == 6)
        #expect(read.client.rate == nil && read.client.burst == 8 && read.client.byteRate == 3072)
        #expect(read.limits.maxConnections == 11 && read.limits.maxConnectionsPerIP == 12)
        #expect(read.limits.acceptRate == 13 && read.limits.acceptRatePerIP == 14 && read.limits.maxMemory == 1 << 30)
        #expect(read.shutdown.drainWindow == .zero)
        #expect(read.log == .init(level: "trace", format: "json"))
        #expect(read.rooms.default.allowSubscribeForClient && read.rooms.default.maxMessageSize == 1024)
        #expect(read.rooms.namespaces.keys.sorted() == ["bare", "slow.1"])
        #expect(read.rooms.namespaces["slow.1"]?.allowPublishForAnonymous == true)
        #expect(read.rooms.namespaces["slow.1"]?.allowSubscribeForClient == false, "nothing is inherited")
    }

    /// Those that are no flags, and the one that needs another.
    private static let others = [
        "maxMessageSize", "historySize", "historyTTL", "recoveryMaxPublications", "forcePushJoinLeave",
        "joinLeaveMaxMembers", "presenceScope", "presenceGrace", "maxMembers",
        "rate", "burst", "userRate",
    ]

    @Test(arguments: RoomSettingTable.all.filter(\.isBuilt).map(\.key).filter { !others.contains($0) })
    func `each permission of a room is stored in its own field`(option: String) throws {
        let loaded = try load(
            #"{"rooms": {"default": {"\#(option)": true}, "namespaces": {"n": {"\#(option)": true}}}}"#)
        let set = Mirror(reflecting: loaded.configuration.rooms.default).children.filter { $0.value as? Bool == true }
        #expect(set.map(\.label) == [option])
        #expect(loaded.configuration.rooms.namespaces["n"] == loaded.configuration.rooms.default)
    }

    @Test func `the options of history are stored in their own fields`() throws {
        let loaded = try load(
            #"{"rooms": {"default": {"historySize": 7, "historyTTL": "90s", "recoveryMaxPublications": 5}}}"#)
        let options = loaded.configuration.rooms.default
        #expect(options.historySize == 7 && options.historyTTL == .seconds(90))
        #expect(options.recoveryMaxPublications == 5 && !options.forceRecovery)
        #expect(GatewayConfiguration.RoomOptions().recoveryMaxPublications == 300)
    }

    @Test func `limits are stored in their own fields, and the rooms get them in microseconds`() throws {
        let loaded = try load(
            #"{"rooms": {"default": {"rate": "50/s", "burst": 5, "userRate": "3/10s"},"#
                + #" "namespaces": {"n": {"rate": "0"}}}}"#
        )
        let options = loaded.configuration.rooms.default
        #expect(options.rate == Rate(count: 50, period: .seconds(1)) && options.burst == 5)
        #expect(options.userRate == Rate(count: 3, period: .seconds(10)))
        let limits = try #require(RateLimits(options))
        #expect(limits.room?.interval == 20_000 && limits.room?.tolerance == 80_000)
        #expect(limits.user?.interval == 3_333_334 && limits.user?.tolerance == 6_666_668, "three at once")
        let free = try #require(loaded.configuration.rooms.namespaces["n"])
        #expect(free.rate == nil && RateLimits(free) == nil)
        var plain = free
        plain.rate = Rate(count: 50, period: .seconds(1))
        #expect(RateLimits(plain)?.room?.tolerance == 49 * 20_000, "the burst is the count")
        #expect(RateLimits(plain)?.user == nil)
        let rules = RoomRules(loaded.configuration, node: "n", version: "v")
        Array("n".utf8).withUnsafeBytes { name in
            #expect(rules.options(namespace: name)?.isLimited == false && rules.limits(namespace: name) == nil)
        }
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        #expect(rules.options(namespace: none)?.isLimited == true && rules.limits(namespace: none) == limits)
    }

    @Test func `the limits of a connection have defaults, and "0" switches all of them off but what is set`() throws {
        let limits = ConnectionLimits(try load().configuration.client)
        #expect(limits.commands.isOn && limits.bytes.isOn && limits.churn.isOn)
        let none = ConnectionLimits(try load(#"{"client": {"rate": "0"}}"#).configuration.client)
        #expect(!none.isOn)
        let bytes = ConnectionLimits(try load(#"{"client": {"rate": "0", "byteRate": 1024}}"#).configuration.client)
        #expect(bytes.bytes.isOn && !bytes.commands.isOn && !bytes.churn.isOn)
        let commands = ConnectionLimits(try load(#"{"client": {"byteRate": 0}}"#).configuration.client)
        #expect(commands.commands.isOn && !commands.bytes.isOn)
        // The longest message passes, again and again.
        let client = try load(#"{"client": {"byteRate": 1, "maxMessageSize": "1MiB"}}"#).configuration.client
        var due: UInt64 = 0
        #expect(ConnectionLimits(client).bytes.take(&due, 1 << 20, at: MonotonicTime(nanoseconds: 1)) == 0)
        #expect(ConnectionLimits(client).bytes.take(&due, 1 << 20, at: MonotonicTime(nanoseconds: 1)) == 0)
        #expect(ConnectionLimits(client).bytes.take(&due, 1 << 20, at: MonotonicTime(nanoseconds: 1)) > 0)
    }

    @Test func `every key can be set by its variable`() throws {
        let samples: [(String, String)] = SettingTable.all.filter(\.isBuilt).map { setting in
            let text =
                switch setting.kind {
                case .text: "localhost"
                case .boolean: "true"
                case .integer(let range): "\(range.upperBound)"
                case .duration: "2s"
                case .size: "16KiB"
                case .rate: "1/s"
                case .list where setting.key == "trustedProxies": "10.0.0.0/8,::1"
                case .list: "https://a.example,https://b.example"
                case .choice(let words): words[0]
                case .redis: "redis://h"
                }
            return (setting.key, text)
        }
        for (key, text) in samples {
            let name = ConfigurationSources.environmentName(key)
            // A value that breaks a combination was still read; only reading is of interest here.
            let complaints = problems(environment: [name: text]).filter { $0.contains("environment") }
            #expect(complaints.isEmpty)
            guard let loaded = try? load(environment: [name: text]) else { continue }
            #expect(loaded.origins == [key: "environment, \(name)"])
        }
        let origins = try load(environment: ["MARTLET_CLIENT_ALLOWED_ORIGINS": "https://a.example, *"])
        #expect(origins.configuration.client.allowedOrigins == ["https://a.example", "*"])
        let room = try load(environment: ["MARTLET_ROOMS_DEFAULT_ALLOW_PUBLISH_FOR_SUBSCRIBER": "true"])
        #expect(room.configuration.rooms.default.allowPublishForSubscriber)
    }

    @Test(arguments: [
        ("client.token.hmacSecret", "MARTLET_CLIENT_TOKEN_HMAC_SECRET"), ("port", "MARTLET_PORT"),
        ("limits.maxConnectionsPerIP", "MARTLET_LIMITS_MAX_CONNECTIONS_PER_IP"),
        ("client.token.ed25519PublicKey", "MARTLET_CLIENT_TOKEN_ED25519_PUBLIC_KEY"),
        ("engine.redis.url", "MARTLET_ENGINE_REDIS_URL"), ("behindProxy", "MARTLET_BEHIND_PROXY"),
        ("rooms.default.historyTTL", "MARTLET_ROOMS_DEFAULT_HISTORY_TTL"),
    ])
    func `keys have the agreed variables`(key: String, name: String) {
        #expect(ConfigurationSources.environmentName(key) == name)
        #expect(ConfigurationLoader.keys.contains(key))
    }

    @Test func `every variable that is documented is read by the provider`() {
        let names = ConfigurationLoader.keys.map(ConfigurationSources.environmentName)
        #expect(Set(names).count == names.count, "two keys share a variable")
        // No setting takes this text, so whoever reads its variable complains or stores it.
        for (key, name) in zip(ConfigurationLoader.keys, names) {
            let seen = !problems(environment: [name: "\u{1}"]).isEmpty
            #expect(seen, "\(name) is not read for \(key)")
        }
    }
}
