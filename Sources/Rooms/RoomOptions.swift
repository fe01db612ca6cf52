// What an operator sets per kind of room, as the rooms see it, and the limits of one client. Made from the
// configuration once, then immutable and shared by all loops.

/// What a namespace allows. Each option stands for the configuration key of the same name.
package struct RoomPermissions: OptionSet, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let subscribeForClient = RoomPermissions(rawValue: 1 << 0)
    package static let subscribeForAnonymous = RoomPermissions(rawValue: 1 << 1)
    package static let publishForSubscriber = RoomPermissions(rawValue: 1 << 2)
    package static let publishForClient = RoomPermissions(rawValue: 1 << 3)
    package static let publishForAnonymous = RoomPermissions(rawValue: 1 << 4)
    package static let presenceForSubscriber = RoomPermissions(rawValue: 1 << 5)
    package static let presenceForClient = RoomPermissions(rawValue: 1 << 6)
    package static let presenceForAnonymous = RoomPermissions(rawValue: 1 << 7)
    package static let historyForSubscriber = RoomPermissions(rawValue: 1 << 8)
    package static let historyForClient = RoomPermissions(rawValue: 1 << 9)
    package static let historyForAnonymous = RoomPermissions(rawValue: 1 << 10)
    package static let userLimitedRooms = RoomPermissions(rawValue: 1 << 11)
}

/// Options of one namespace.
package struct RoomOptions: Sendable, Equatable {
    /// Who may do what.
    package var permissions: RoomPermissions = []
    /// Largest `data` of a publication in bytes; nil: only the limit of a message counts.
    package var maxMessageSize: Int?
    /// How much of the past is kept; nil: nothing, and publications are at most once.
    package var history: HistoryOptions?
    /// Who is there is known; nil: nobody keeps track.
    package var presence: PresenceOptions?
    /// Every subscriber may recover, also one that did not ask for it.
    package var forcesRecovery = false
    /// Publishing is limited: `RoomRules.limits` says how much. Not kept here: options are copied with each command.
    package fileprivate(set) var isLimited = false
    /// Most publications of one recovery or one `history` reply.
    package var recoveryLimit = 300

    /// Whether the room's home lets each subscriber in; else only the first one of a loop asks there.
    var isAttended: Bool { history != nil || presence != nil }

    package init(permissions: RoomPermissions = [], maxMessageSize: Int? = nil) {
        self.permissions = permissions
        self.maxMessageSize = maxMessageSize
    }
}

/// Limits and habits of one client connection, and the rooms' options.
package struct RoomRules: Sendable {
    /// Anonymous connections may do everything everywhere (development).
    package var isInsecure = false
    /// Connections without a token are let in, as the anonymous user.
    package var allowsAnonymous = false
    /// Time between pings, announced to the client in whole seconds.
    package var pingInterval = Duration.seconds(25)
    /// Time that a pong may take.
    package var pongTimeout = Duration.seconds(8)
    /// Time that a connection may go without its `connect` command.
    package var staleCloseDelay = Duration.seconds(10)
    /// Bytes that a client may send before it is connected.
    package var preConnectBytes = 16 * 1024
    /// Rooms of one connection; one more is answered with error 106.
    package var maxRooms = 128
    /// Bytes of a room's name; longer ones are answered with error 107.
    package var maxRoomNameLength = 255
    /// Commands of one connection that wait for the engine; one more is answered with error 111.
    package var maxPendingCommands = 1024
    /// How fast a client may talk; off here, the configuration sets it.
    package var limits = ConnectionLimits()
    /// Time that a room without members stays subscribed, since people come back.
    package var roomLinger = Duration.seconds(3)
    /// Deliveries of one loop iteration; the rest of a very large room comes with the next one.
    package var fanOutBudget = 4096
    /// Bytes of publications that wait for the end of the iteration, per room; more are sent off at once.
    package var batchBytes = 64 * 1024
    /// Bytes of the publications in one reply: half of what may wait for a client, so that the reply itself does not
    /// make it a slow one.
    package var replyBytes = 512 * 1024
    /// Subscribers of one room with history that wait for the engine; one more is answered with error 120.
    package var waitingRecoveries = 4096
    /// Name of this node and version of the server, as `connect` tells them.
    package var node = ""
    package var version = ""

    private var defaultOptions = RoomOptions()
    private var defaultLimits: RateLimits?
    // A list, not a dictionary: looked through for each command, where a dictionary would need a key of its own.
    private var namespaces: [(name: [UInt8], options: RoomOptions, limits: RateLimits?)] = []

    package init() {}

    /// Sets the options of rooms without a namespace, and how fast clients may publish there (nil: as they like).
    package mutating func setDefault(_ options: RoomOptions, limits: RateLimits? = nil) {
        defaultOptions = options
        defaultOptions.isLimited = limits != nil
        defaultLimits = limits
    }

    /// Sets the options of the rooms `name:…`, and how fast clients may publish there (nil: as they like).
    package mutating func setNamespace(_ name: String, _ options: RoomOptions, limits: RateLimits? = nil) {
        var options = options
        options.isLimited = limits != nil
        namespaces.removeAll { $0.name.elementsEqual(name.utf8) }
        namespaces.append((Array(name.utf8), options, limits))
    }

    /// The options for a namespace (empty: the default one), or nil when it is not configured.
    package func options(namespace: UnsafeRawBufferPointer) -> RoomOptions? {
        if namespace.isEmpty { return defaultOptions }
        for entry in namespaces where entry.name.elementsEqual(namespace) { return entry.options }
        return isInsecure ? defaultOptions : nil
    }

    /// The limits for a namespace whose options are limited.
    package func limits(namespace: UnsafeRawBufferPointer) -> RateLimits? {
        if namespace.isEmpty { return defaultLimits }
        for entry in namespaces where entry.name.elementsEqual(namespace) { return entry.limits }
        return isInsecure ? defaultLimits : nil
    }
}
