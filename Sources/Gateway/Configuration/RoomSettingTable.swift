// Every option of a namespace, one declaration each: the single authority on the keys below `rooms.default` and
// `rooms.namespaces.<name>`.

enum RoomSettingTable {
    typealias Entry = Setting<GatewayConfiguration.RoomOptions>

    static let all: [Entry] = permissions + limits + presence + history

    private static let permissions: [Entry] = [
        .boolean("allowSubscribeForClient", \.allowSubscribeForClient, live: true, "Users with an id may subscribe."),
        .boolean(
            "allowSubscribeForAnonymous", \.allowSubscribeForAnonymous, live: true, "Anonymous users may subscribe."),
        .boolean("allowPublishForSubscriber", \.allowPublishForSubscriber, live: true, "Members may publish."),
        .boolean("allowPublishForClient", \.allowPublishForClient, live: true, "Users with an id may publish."),
        .boolean("allowPublishForAnonymous", \.allowPublishForAnonymous, live: true, "Anonymous users may publish."),
        .boolean(
            "allowPresenceForSubscriber", \.allowPresenceForSubscriber, live: true, "Members may see who is there."),
        .boolean(
            "allowPresenceForClient", \.allowPresenceForClient, live: true, "Users with an id may see who is there."),
        .boolean(
            "allowPresenceForAnonymous", \.allowPresenceForAnonymous, live: true,
            "Anonymous users may see who is there."),
        .boolean("allowHistoryForSubscriber", \.allowHistoryForSubscriber, live: true, "Members may read the history."),
        .boolean(
            "allowHistoryForClient", \.allowHistoryForClient, live: true, "Users with an id may read the history."),
        .boolean(
            "allowHistoryForAnonymous", \.allowHistoryForAnonymous, live: true,
            "Anonymous users may read the history."),
        .boolean(
            "allowUserLimitedRooms", \.allowUserLimitedRooms, live: true,
            "Rooms name#1,2 admit the users 1 and 2 only."),
    ]

    private static let limits: [Entry] = [
        .built(
            "maxMessageSize", .size(1...(64 << 20)), defaultText: "client.maxMessageSize", live: true,
            "Longest publication; not above client.maxMessageSize.",
            store: { if case .integer(let bytes) = $1 { $0.maxMessageSize = bytes } },
            value: { $0.maxMessageSize.map(SettingValue.integer) }),
        .built(
            "rate", .rate, defaultText: "none", live: true,
            "Publications of a room, all instances together, evenly spaced: \"50/s\" is one each 20 ms.",
            store: { if case .rate(let rate) = $1 { $0.rate = rate } },
            value: { $0.rate.map { .rate($0) } }),
        .built(
            "burst", .integer(1...1_000_000), defaultText: "the count of rate", live: true,
            "Publications of a room that pass at once after a silence; needs rate.",
            store: { if case .integer(let count) = $1 { $0.burst = count } },
            value: { $0.burst.map(SettingValue.integer) }),
        .built(
            "userRate", .rate, defaultText: "none", live: true,
            "Publications of one user in a room (slow mode): \"1/5s\" is one each 5 s, \"3/10s\" three at once and "
                + "then one each 3.3 s. An anonymous client counts by itself.",
            store: { if case .rate(let rate) = $1 { $0.userRate = rate } },
            value: { $0.userRate.map { .rate($0) } }),
        .later(
            "allowedDeltaTypes", .list(check: SettingChecks.anything), default: "[]", off: .list([]),
            "Delta compressions that a client may ask for."),
        .later(
            "deltaPublish", .boolean, default: "false", off: .boolean(false), "Whether publications go out as deltas."),
    ]

    private static let presence: [Entry] = [
        .boolean("presence", \.presence, live: true, "Whether clients may ask who is in the room."),
        .boolean(
            "joinLeave", \.joinLeave, live: true, "Whether joins and leaves are told to members who ask for them."),
        .boolean(
            "forcePushJoinLeave", \.forcePushJoinLeave, live: true,
            "Whether every member is told of joins and leaves, asked for or not; needs joinLeave."),
        .integer(
            "joinLeaveMaxMembers", \.joinLeaveMaxMembers, in: 0...100_000, live: true,
            "Above this many members no single join or leave is told; clients ask for the list or the counts."),
        .choice(
            "presenceScope", \.presenceScope, of: ["client", "user"], live: true,
            "Whether each connection joins and leaves, or each user with the first and the last one."),
        .duration(
            "presenceGrace", \.presenceGrace, in: .zero ... .seconds(3600), live: true,
            "How long a broken connection stays a member; whoever is back within it has not left."),
        .integer(
            "maxMembers", \.maxMembers, in: 0...100_000_000, live: true,
            "Members of a room, all instances together; one more is refused with error 106; 0 = any number."),
    ]

    private static let history: [Entry] = [
        .built(
            "historySize", .integer(0...1_000_000), defaultText: "0", live: true,
            "Publications that are kept; needs historyTTL.",
            store: { if case .integer(let count) = $1 { $0.historySize = count } },
            value: { .integer($0.historySize) }),
        .built(
            "historyTTL", .duration(.zero ... .seconds(2_592_000)), defaultText: "none", live: true,
            "How long publications are kept.",
            store: { if case .duration(let age) = $1 { $0.historyTTL = age } },
            value: { $0.historyTTL == .zero ? nil : .duration($0.historyTTL) }),
        .boolean(
            "forceRecovery", \.forceRecovery, live: true,
            "Every subscription is told that it can recover, asked for or not."),
        .built(
            "recoveryMaxPublications", .integer(1...100_000), defaultText: "300", live: true,
            "Publications that one recovery or one history reply may bring.",
            store: { if case .integer(let count) = $1 { $0.recoveryMaxPublications = count } },
            value: { .integer($0.recoveryMaxPublications) }),
    ]
}
