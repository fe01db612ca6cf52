// Every setting of the process, one declaration each: the single authority on keys. Loader, printer and document are
// made from this list; the defaults come from GatewayConfiguration.
//
// The order is the order of the document and of print-config.

/// A heading of the document with its settings.
struct SettingGroup: Sendable {
    let title: String
    let introduction: String
    let settings: [Setting<GatewayConfiguration>]
}

enum SettingTable {
    typealias Entry = Setting<GatewayConfiguration>

    static let groups = [
        SettingGroup(
            title: "Listening", introduction: "Where clients and operators connect. Port 0 takes a free port.",
            settings: listening),
        SettingGroup(
            title: "Engine",
            introduction: "What carries messages between instances. Without a URL one process serves all rooms.",
            settings: engine),
        SettingGroup(
            title: "Clients", introduction: "Who may connect, and what holds for one connection.", settings: clients),
        SettingGroup(
            title: "Tokens", introduction: "Keys that connection and subscription tokens are verified with.",
            settings: tokens),
        SettingGroup(
            title: "Admission",
            introduction: "How much the whole process takes on; 0 = no limit, or the default that is named.",
            settings: admission),
        SettingGroup(title: "Operation", introduction: "Log, shutdown and extras.", settings: operation),
    ]

    /// All settings of the process; those of rooms are in RoomSettingTable.
    static let all = groups.flatMap(\.settings)

    private static let ports = -1...65_535

    private static let listening: [Entry] = [
        .text("host", \.host, check: SettingChecks.host, "Address of the plain client listener."),
        .integer("port", \.port, in: ports, "Port of the plain client listener; -1 = none."),
        .boolean(
            "behindProxy", \.behindProxy,
            "Says that a proxy in front does TLS, or that only a private network reaches this address."),
        .text("admin.host", \.admin.host, check: SettingChecks.host, "Address of health checks and metrics."),
        .integer("admin.port", \.admin.port, in: ports, "Port of health checks and metrics; -1 = none."),
        .integer(
            "loops", \.loops, in: 1...1024, defaultText: "one per core", "Event loops, each on its own thread."),
        .later("tls.port", .integer(ports), default: "none", off: .integer(-1), "Port of the TLS client listener."),
        .later("tls.certificate", .text(check: SettingChecks.anything), default: "none", "PEM file with the chain."),
        .later("tls.key", .text(check: SettingChecks.anything), default: "none", "PEM file with the private key."),
        .later(
            "tls.ticketKeys", .text(check: SettingChecks.anything), default: "none",
            "File with session ticket keys that all instances share."),
        .later("tls.minVersion", .choice(["1.2", "1.3"]), default: "1.2", off: .text("1.2"), "Oldest TLS version."),
        .boolean(
            "proxyProtocol", \.proxyProtocol,
            "Whether connections begin with a PROXY v1/v2 header; then only trusted proxies may connect."),
        .list(
            "trustedProxies", \.trustedProxies, check: SettingChecks.network,
            "Networks whose PROXY header, X-Forwarded-For or Forwarded is believed, such as \"10.0.0.0/8\"."),
        .later(
            "api.key", .text(check: SettingChecks.anything), default: "none", secret: true, "Key of the server API."),
        .later(
            "api.public", .boolean, default: "false", off: .boolean(false),
            "Whether the server API is also on the client listener."),
    ]

    private static let engine: [Entry] = [
        .built(
            "engine.redis.url", .redis, defaultText: "none (embedded engine)",
            "redis://user:password@host:port/database or unix:///path?db=N.",
            store: { if case .redis(let url) = $1 { $0.engine.redis.url = url } },
            value: { $0.engine.redis.url.map(SettingValue.redis) }),
        .text(
            "engine.redis.prefix", \.engine.redis.prefix, check: SettingChecks.redisPrefix,
            "First part of every key and channel; instances share rooms when they share it."),
        .duration(
            "engine.redis.commandTimeout", \.engine.redis.commandTimeout, in: .milliseconds(10) ... .seconds(60),
            "After this a command's outcome is unknown and its link is closed."),
        .later(
            "engine.redis.minReplicasAck", .integer(0...16), default: "0", off: .integer(0),
            "Replicas that must have a message before it is acknowledged."),
    ]

    private static let clients: [Entry] = [
        .boolean(
            "client.insecure", \.client.insecure,
            "Development only: everybody may connect, subscribe and publish, in every room."),
        .boolean(
            "client.allowAnonymous", \.client.allowAnonymous,
            "Whether a connection without a token is accepted as the anonymous user."),
        .list(
            "client.allowedOrigins", \.client.allowedOrigins, live: true, check: SettingChecks.origin,
            "Accepted Origin headers; an empty list = only pages of the same host."),
        .duration(
            "client.pingInterval", \.client.pingInterval, in: .seconds(1) ... .seconds(3600), wholeSeconds: true,
            live: true, "Time between two pings of the server."),
        .duration(
            "client.pongTimeout", \.client.pongTimeout, in: .milliseconds(100) ... .seconds(3600), live: true,
            "How long the answer to a ping may take; shorter than the ping interval."),
        .duration(
            "client.staleCloseDelay", \.client.staleCloseDelay, in: .milliseconds(100) ... .seconds(3600), live: true,
            "How long a connection may live without a connect command."),
        .size(
            "client.maxMessageSize", \.client.maxMessageSize, in: 1024...(64 << 20), live: true,
            "Longest message from a client."),
        .size(
            "client.queueMaxSize", \.client.queueMaxSize, in: 4096...(1 << 30), live: true,
            "Bytes that may wait for a slow client before it is closed with 3008."),
        .integer("client.maxRooms", \.client.maxRooms, in: 1...100_000, live: true, "Rooms of one connection."),
        .integer(
            "client.maxRoomNameLength", \.client.maxRoomNameLength, in: 1...1024, live: true,
            "Longest room name in bytes."),
        .duration(
            "client.writeTimeout", \.client.writeTimeout, in: .milliseconds(100) ... .seconds(3600), live: true,
            "Longest time without progress on a full socket before it is closed with 3008."),
        .built(
            "client.rate", .rate, live: true,
            "Commands of one connection (error 111, then 3013); \"0\" = no limit, nor one of bytes or churn.",
            store: { if case .rate(let rate) = $1 { $0.client.rate = rate } }, value: { .rate($0.client.rate) }),
        .integer(
            "client.burst", \.client.burst, in: 1...1_000_000, live: true,
            "Commands of one connection at once before the rate counts."),
        .built(
            "client.byteRate", .size(0...(1 << 40)), defaultText: "1MiB; none if client.rate is \"0\"", live: true,
            "Bytes of messages a second of one connection; 0 = no limit.",
            store: { if case .integer(let bytes) = $1 { $0.client.byteRate = bytes } },
            value: { $0.client.byteRate.map(SettingValue.integer) }),
        .later(
            "client.subscribeToPersonalRoom", .boolean, default: "false", off: .boolean(false),
            "Whether every user is subscribed to the room #<user>."),
        .boolean(
            "client.compression", \.client.compression,
            "Whether permessage-deflate is negotiated: less bandwidth, more processor time."),
    ]

    private static let tokens: [Entry] = [
        tokenText("hmacSecret", secret: true, "Secret of HS256, HS384 and HS512."),
        tokenText("rsaPublicKey", "PEM public key of RS256, RS384 and RS512."),
        tokenText("ecdsaPublicKey", "PEM public key of ES256, ES384 and ES512."),
        tokenText("ed25519PublicKey", "PEM public key of EdDSA."),
        tokenText("jwksFile", "File with a JWKS document."),
        tokenText("audience", "Required aud."),
        tokenText("issuer", "Required iss."),
        .later(
            "client.token.allowWeakSecret", .boolean, default: "false", off: .boolean(false),
            "Development only: accepts an HMAC secret under 32 bytes."),
    ]

    private static func tokenText(_ name: String, secret: Bool = false, _ help: String) -> Entry {
        .later(
            "client.token." + name, .text(check: SettingChecks.anything), default: "none", secret: secret, help)
    }

    private static let admission: [Entry] = [
        limit(
            "maxConnections", \.limits.maxConnections, defaultText: "90 % of the descriptor limit",
            "Open client connections."),
        limit(
            "maxConnectionsPerIP", \.limits.maxConnectionsPerIP,
            "Open client connections of one address (IPv6: /64)."),
        limit("acceptRate", \.limits.acceptRate, "New client connections a second."),
        limit(
            "acceptRatePerIP", \.limits.acceptRatePerIP,
            "New client connections a second from one address (IPv6: /64)."),
        .built(
            "limits.maxMemory", .size(0...(1 << 50)), defaultText: "90 % of the control group's limit",
            "Resident memory beyond which no client connection is accepted.",
            store: { if case .integer(let bytes) = $1 { $0.limits.maxMemory = bytes } },
            value: { .integer($0.limits.maxMemory) }),
    ]

    private static func limit(
        _ name: String, _ path: Entry.Path<Int>, defaultText: String? = nil, _ help: String
    ) -> Entry {
        .integer("limits." + name, path, in: 0...100_000_000, defaultText: defaultText, help)
    }

    private static let operation: [Entry] = [
        .choice(
            "log.level", \.log.level, of: ["trace", "debug", "info", "notice", "warning", "error", "critical"],
            live: true, "Least severity that is logged."),
        .choice(
            "log.format", \.log.format, of: ["auto", "json", "text"],
            "Form of log lines; auto = text on a terminal, JSON elsewhere."),
        .duration(
            "shutdown.drainWindow", \.shutdown.drainWindow, in: .zero ... .seconds(3600), live: true,
            "Time over which connections are closed after SIGTERM."),
        .boolean("echo", \.echo, "Whether /echo sends every message back, for conformance tests."),
        .later("demo", .boolean, default: "false", off: .boolean(false), "Whether / serves the demo page."),
    ]
}
