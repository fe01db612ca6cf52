// From what an operator wrote to what rooms, connections and engines go by. The one translation, done once at the
// start; the values have been checked, and no default is added here.

import Bytes
import Reactor
import Redis
import Rooms
import WebSocket

extension RoomRules {
    init(_ configuration: GatewayConfiguration, node: String, version: String) {
        self.init()
        let client = configuration.client
        isInsecure = client.insecure
        allowsAnonymous = client.allowAnonymous
        pingInterval = client.pingInterval
        pongTimeout = client.pongTimeout
        staleCloseDelay = client.staleCloseDelay
        maxRooms = client.maxRooms
        maxRoomNameLength = client.maxRoomNameLength
        replyBytes = client.queueMaxSize / 2
        limits = ConnectionLimits(client)
        self.node = node
        self.version = version
        let rooms = configuration.rooms
        setDefault(RoomOptions(rooms.default), limits: RateLimits(rooms.default))
        for (name, options) in rooms.namespaces {
            setNamespace(name, RoomOptions(options), limits: RateLimits(options))
        }
    }
}

extension ConnectionLimits {
    /// Bytes a second where nothing else is said.
    private static let byteRate = 1 << 20
    /// Comings and goings a second: a person who goes through rooms makes a few.
    private static let churnRate = 10

    init(_ client: GatewayConfiguration.Client) {
        self.init()
        let bytesPerSecond = client.byteRate ?? (client.rate == nil ? 0 : ConnectionLimits.byteRate)
        if bytesPerSecond > 0 {
            // Twice the longest message, so that one which fills the limit is not refused for ever.
            bytes = Pace(bytesPerSecond, per: .seconds(1), burst: 2 * client.maxMessageSize)
        }
        guard let rate = client.rate else { return }
        commands = Pace(rate.count, per: rate.period, burst: client.burst)
        // Enough to leave all rooms and to enter as many others.
        churn = Pace(ConnectionLimits.churnRate, per: .seconds(1), burst: 2 * client.maxRooms)
    }
}

extension RoomOptions {
    init(_ options: GatewayConfiguration.RoomOptions) {
        let flags: [(Bool, RoomPermissions)] = [
            (options.allowSubscribeForClient, .subscribeForClient),
            (options.allowSubscribeForAnonymous, .subscribeForAnonymous),
            (options.allowPublishForSubscriber, .publishForSubscriber),
            (options.allowPublishForClient, .publishForClient),
            (options.allowPublishForAnonymous, .publishForAnonymous),
            (options.allowPresenceForSubscriber, .presenceForSubscriber),
            (options.allowPresenceForClient, .presenceForClient),
            (options.allowPresenceForAnonymous, .presenceForAnonymous),
            (options.allowHistoryForSubscriber, .historyForSubscriber),
            (options.allowHistoryForClient, .historyForClient),
            (options.allowHistoryForAnonymous, .historyForAnonymous),
            (options.allowUserLimitedRooms, .userLimitedRooms),
        ]
        var permissions: RoomPermissions = []
        for (isSet, permission) in flags where isSet { permissions.insert(permission) }
        self.init(permissions: permissions, maxMessageSize: options.maxMessageSize)
        if options.historySize > 0 { history = HistoryOptions(size: options.historySize, age: options.historyTTL) }
        presence = PresenceOptions(options)
        forcesRecovery = options.forceRecovery
        recoveryLimit = options.recoveryMaxPublications
    }
}

extension PresenceOptions {
    /// Nil: nothing of the room asks for its members to be tracked.
    init?(_ options: GatewayConfiguration.RoomOptions) {
        guard options.presence || options.joinLeave || options.maxMembers > 0 else { return nil }
        self.init()
        isListed = options.presence
        tellsJoins = options.joinLeave
        forcesPushes = options.forcePushJoinLeave
        mostTold = options.joinLeaveMaxMembers
        mostMembers = options.maxMembers
        scope = options.presenceScope == "user" ? .user : .client
        grace = options.presenceGrace
    }
}

extension RateLimits {
    /// Nil: nothing is limited.
    init?(_ options: GatewayConfiguration.RoomOptions) {
        self.init(
            room: options.rate.flatMap { RateLimit($0, burst: options.burst) },
            user: options.userRate.flatMap { RateLimit($0) })
    }
}

extension RateLimit {
    /// The limit that a rate stands for; the burst is as many as the rate's count if nothing else is said. Nil when the
    /// rate is beyond what limits can be.
    init?(_ rate: Rate, burst: Int? = nil) {
        self.init(count: rate.count, period: rate.period, burst: burst ?? rate.count)
    }
}

extension ClientSettings {
    init(_ configuration: GatewayConfiguration) throws(GatewayFailure) {
        self.init()
        maxMessageSize = configuration.client.maxMessageSize
        queueMaxSize = configuration.client.queueMaxSize
        echo = configuration.echo
        compression = configuration.client.compression
        if compression {
            do throws(DeflateFailure) {
                try DeflateLibrary.check()
            } catch {
                throw GatewayFailure(
                    .failed,
                    "client.compression: the zlib of this machine is older than 1.2.13; update it or turn this off")
            }
        }
        isInsecure = configuration.client.insecure
        var allowed: [AllowedOrigin] = []
        for text in configuration.client.allowedOrigins {
            guard let origin = AllowedOrigin(text) else {
                throw GatewayFailure(
                    .failed, "client.allowedOrigins: \(text) is not an origin; write it as https://chat.example")
            }
            allowed.append(origin)
        }
        if !allowed.isEmpty { origins = .list(allowed) }
        proxies = try ProxySettings(configuration)
    }
}

extension ProxySettings {
    init(_ configuration: GatewayConfiguration) throws(GatewayFailure) {
        self.init()
        expectsHeader = configuration.proxyProtocol
        var networks: [Network] = []
        for text in configuration.trustedProxies {
            guard let network = Network(text) else {
                throw GatewayFailure(.failed, "trustedProxies: \(text) is not a network; write it as 10.0.0.0/8")
            }
            networks.append(network)
        }
        trusted = Networks(networks)
    }
}

extension AdmissionLimits {
    init(_ configuration: GatewayConfiguration, descriptors: UInt64) {
        let limits = configuration.limits
        self.init(
            connections: AdmissionLimits.connections(
                configured: limits.maxConnections, descriptors: descriptors, loops: configuration.loops),
            connectionsPerAddress: limits.maxConnectionsPerIP, acceptRate: limits.acceptRate,
            acceptRatePerAddress: limits.acceptRatePerIP)
    }
}

extension RedisEngineSettings {
    init(_ configuration: GatewayConfiguration, url: RedisURL, node: String) throws(GatewayFailure) {
        let options = configuration.engine.redis
        guard let names = RedisNames(prefix: options.prefix) else {
            throw GatewayFailure(.failed, "engine.redis.prefix: \(options.prefix) cannot be part of a Redis key here")
        }
        var link = LinkSettings()
        link.user = url.user
        link.password = url.password
        link.database = url.database
        link.commandTimeout = options.commandTimeout
        link.clientName = "martlet-\(node)"
        let endpoint: RedisEndpoint =
            switch url.endpoint {
            case .tcp(let host, let port): .tcp(host: host, port: port)
            case .unix(let path): .unix(path: path)
            }
        // A publication is a client's message and what we add: author, envelope.
        self.init(
            endpoint: endpoint, link: link, names: names,
            publicationBytes: max(1 << 20, configuration.client.maxMessageSize + 64 * 1024))
    }
}

/// Names of nodes: random, so that a restarted process is another node.
enum NodeName {
    /// 16 hexadecimal digits.
    static func make() -> String {
        var bytes: [UInt8] = Array(repeating: 0, count: 8)
        bytes.withUnsafeMutableBytes { Digest.random($0) }
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
