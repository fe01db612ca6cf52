// The configuration that the gateway runs with: typed, checked, complete. The values written here are the defaults; the
// setting tables read them from a fresh instance, so that a default stands in one place only.
//
// Made by ConfigurationLoader before the loops start; immutable afterwards, so every loop may read it.

/// Everything that an operator can set, in effect.
package struct GatewayConfiguration: Sendable, Equatable {
    /// Address of the plain client listener.
    package var host = "127.0.0.1"
    /// Port of the plain client listener; 0 = a free one, -1 = none.
    package var port = 8000
    /// Says that a proxy in front does the encryption, or that only a private network reaches us.
    package var behindProxy = false
    /// Whether connections begin with a PROXY header; then only trusted proxies may connect.
    package var proxyProtocol = false
    /// Networks that are believed when they name a client's address, in CIDR notation.
    package var trustedProxies: [String] = []
    /// Health, metrics and server API.
    package var admin = Admin()
    /// Number of event loops.
    package var loops = GatewayConfiguration.availableCores
    /// What carries messages between instances.
    package var engine = Engine()
    /// Connections of clients.
    package var client = Client()
    /// Admission.
    package var limits = Limits()
    /// Rooms by namespace.
    package var rooms = Rooms()
    /// How the process ends.
    package var shutdown = Shutdown()
    /// The log.
    package var log = Log()
    /// Whether `/echo` answers.
    package var echo = false

    /// The defaults.
    package init() {}

    /// The admin listener.
    package struct Admin: Sendable, Equatable {
        /// Address; loopback unless an operator opens it.
        package var host = "127.0.0.1"
        /// Port; 0 = a free one, -1 = no admin listener.
        package var port = 9000
    }

    /// The engine.
    package struct Engine: Sendable, Equatable {
        /// The cluster engine; not used while its URL is nil.
        package var redis = Redis()
    }

    /// The Redis engine.
    package struct Redis: Sendable, Equatable {
        /// Where Redis is; nil = embedded engine, one process.
        package var url: RedisURL?
        /// First part of every key and channel.
        package var prefix = "martlet"
        /// After this a command's outcome is unknown and its connection is closed.
        package var commandTimeout = Duration.seconds(2)
    }

    /// What holds for one client connection.
    package struct Client: Sendable, Equatable {
        /// Development: everybody may connect and do everything, in every room.
        package var insecure = false
        /// Whether a connection without a token is accepted, as the anonymous user.
        package var allowAnonymous = false
        /// Accepted `Origin` values; empty = only the host that was connected to.
        package var allowedOrigins: [String] = []
        /// Time between two pings of the server; whole seconds, since the client is told in seconds.
        package var pingInterval = Duration.seconds(25)
        /// How long a pong may take.
        package var pongTimeout = Duration.seconds(8)
        /// How long a connection may live without `connect`.
        package var staleCloseDelay = Duration.seconds(10)
        /// Bytes of one message from a client.
        package var maxMessageSize = 65_536
        /// Bytes that may wait for a slow client.
        package var queueMaxSize = 1_048_576
        /// Rooms of one connection.
        package var maxRooms = 128
        /// Bytes of a room's name.
        package var maxRoomNameLength = 255
        /// Longest time without progress on a full socket.
        package var writeTimeout = Duration.seconds(10)
        /// Commands of one connection; nil = no limit, also none of bytes and of churn that is not set on its own.
        package var rate: Rate? = Rate(count: 50, period: .seconds(1))
        /// Commands of one connection at once.
        package var burst = 100
        /// Bytes of messages a second of one connection; 0 = no limit, nil = 1 MiB if `rate` is set, else no limit.
        package var byteRate: Int?
        /// Whether permessage-deflate is negotiated.
        package var compression = false
    }

    /// How much the whole process takes on; 0 = see each of them.
    package struct Limits: Sendable, Equatable {
        /// Open client connections; 0 = 90 % of the descriptors.
        package var maxConnections = 0
        /// Open client connections of one address; 0 = no limit.
        package var maxConnectionsPerIP = 0
        /// New client connections a second; 0 = no limit.
        package var acceptRate = 0
        /// New client connections a second of one address; 0 = no limit.
        package var acceptRatePerIP = 0
        /// Resident memory in bytes beyond which no connection is taken; 0 = 90 % of the control group's limit.
        package var maxMemory = 0
    }

    /// Options of rooms.
    package struct Rooms: Sendable, Equatable {
        /// Rooms without a namespace.
        package var `default` = RoomOptions()
        /// Rooms called `<name>:…`, by that name.
        package var namespaces: [String: RoomOptions] = [:]
    }

    /// Options of the rooms of one namespace.
    package struct RoomOptions: Sendable, Equatable {
        /// Bytes of one publication; nil = only `client.maxMessageSize` counts.
        package var maxMessageSize: Int?
        /// Whether rooms `name#1,2` admit only the users behind the `#`.
        package var allowUserLimitedRooms = false
        /// Users with an id may subscribe without a subscription token.
        package var allowSubscribeForClient = false
        /// Anonymous connections may, too.
        package var allowSubscribeForAnonymous = false
        /// Whoever is subscribed may publish.
        package var allowPublishForSubscriber = false
        /// Users with an id may publish, subscribed or not.
        package var allowPublishForClient = false
        /// Anonymous connections may, too.
        package var allowPublishForAnonymous = false
        /// Whoever is subscribed may ask who is there.
        package var allowPresenceForSubscriber = false
        /// Users with an id may ask who is there.
        package var allowPresenceForClient = false
        /// Anonymous connections may, too.
        package var allowPresenceForAnonymous = false
        /// Whoever is subscribed may read the history.
        package var allowHistoryForSubscriber = false
        /// Users with an id may read the history.
        package var allowHistoryForClient = false
        /// Anonymous connections may, too.
        package var allowHistoryForAnonymous = false

        /// Whether clients may ask who is in the room.
        package var presence = false
        /// Whether joins and leaves are told to those who ask for them.
        package var joinLeave = false
        /// Whether they are told to every member.
        package var forcePushJoinLeave = false
        /// Members above which no single join or leave is told.
        package var joinLeaveMaxMembers = 1000
        /// `client`: each connection joins and leaves; `user`: each user does.
        package var presenceScope = "client"
        /// How long a broken connection stays a member.
        package var presenceGrace = Duration.seconds(5)
        /// Members of a room; 0 = any number.
        package var maxMembers = 0
        /// Publications of a room, all instances together; nil = no limit.
        package var rate: Rate?
        /// Publications at once after a silence; nil = as many as the rate's count.
        package var burst: Int?
        /// Publications of one user in a room (slow mode); nil = no limit.
        package var userRate: Rate?

        /// Publications that are kept; 0 = the room has no history.
        package var historySize = 0
        /// How long publications are kept.
        package var historyTTL = Duration.zero
        /// Every subscription is told that it can recover, asked for or not.
        package var forceRecovery = false
        /// Publications that one recovery or one history reply may bring.
        package var recoveryMaxPublications = 300

        /// The defaults: nothing is allowed, nothing is kept.
        package init() {}
    }

    /// How the process ends.
    package struct Shutdown: Sendable, Equatable {
        /// Time over which connections are closed after SIGTERM.
        package var drainWindow = Duration.seconds(30)
    }

    /// The log.
    package struct Log: Sendable, Equatable {
        /// Least severity that is written.
        package var level = "info"
        /// `json`, `text`, or `auto`: text on a terminal, JSON elsewhere.
        package var format = "auto"
    }
}
