// The configuration that the rig's gateways get: rooms of each kind that the checker knows, and short timeouts, so that
// a cycle of faults fits into seconds. What a martlet has not built yet is left out, step by step. Made once, before
// the first gateway starts.

/// How the rooms with members and with limits are set up: the rig configures it, the checker holds gateways to it.
package enum RigRooms {
    /// A limited room takes about half of what publishers send to it.
    package static let limited = RoomLimit(rate: 10, burst: 10)
    /// An ample one takes several times as much.
    package static let ample = RoomLimit(rate: 100, burst: 100)
    /// Whoever drops its connection is kept so long.
    package static let grace = 2

    /// The rooms of `count` that show their members.
    package static func presence(_ count: Int) -> [Int: PresenceScope] {
        var rooms: [Int: PresenceScope] = [:]
        for room in 0..<count {
            switch RoomNames.kind(room) {
            case .crowds: rooms[room] = .client
            case .people: rooms[room] = .user
            default: break
            }
        }
        return rooms
    }

    /// The rooms of `count` that have a limit.
    package static func limits(_ count: Int) -> [Int: RoomLimit] {
        var rooms: [Int: RoomLimit] = [:]
        for room in 0..<count {
            switch RoomNames.kind(room) {
            case .limits: rooms[room] = limited
            case .ampler: rooms[room] = ample
            default: break
            }
        }
        return rooms
    }
}

/// What of the wanted configuration a martlet knows.
struct RigFeatures {
    var hasHistory: Bool
    var hasPresence: Bool
    var hasLimits: Bool

    /// From everything to the least.
    static let all = [
        RigFeatures(hasHistory: true, hasPresence: true, hasLimits: true),
        RigFeatures(hasHistory: true, hasPresence: true, hasLimits: false),
        RigFeatures(hasHistory: true, hasPresence: false, hasLimits: true),
        RigFeatures(hasHistory: true, hasPresence: false, hasLimits: false),
        RigFeatures(hasHistory: false, hasPresence: false, hasLimits: false),
    ]

    /// The configuration as JSON.
    func text(_ plan: RigPlan) -> String {
        var parts = [
            """
            "client": {"rate": "0", "pingInterval": "5s", "pongTimeout": "2s", "writeTimeout": "5s", \
            "queueMaxSize": "1MiB"}, "shutdown": {"drainWindow": "3s"}
            """
        ]
        guard hasHistory else { return "{\(parts[0])}\n" }
        let history = "\"historySize\": \(plan.historySize), \"historyTTL\": \"300s\", \"forceRecovery\": true"
        var rooms = "\"rooms\": {\"default\": {\(history)}, \"namespaces\": {"
        rooms += RoomKind.allCases.filter { $0 != .plain }.map { kind in
            "\"\(kind.rawValue.dropLast())\": {\(history)\(options(kind))}"
        }.joined(separator: ", ")
        parts.append(rooms + "}}")
        return "{" + parts.joined(separator: ", ") + "}\n"
    }

    private func options(_ kind: RoomKind) -> String {
        func members(_ scope: String) -> String {
            guard hasPresence else { return "" }
            return ", \"presence\": true, \"joinLeave\": true, \"presenceScope\": \"\(scope)\""
                + ", \"presenceGrace\": \"\(RigRooms.grace)s\""
        }
        func rate(_ limit: RoomLimit) -> String {
            guard hasLimits else { return "" }
            return ", \"rate\": \"\(Int(limit.rate))/s\", \"burst\": \(Int(limit.burst))"
        }
        return switch kind {
        case .plain: ""
        case .crowds: members("client")
        case .people: members("user")
        case .limits: rate(RigRooms.limited)
        case .ampler: rate(RigRooms.ample)
        }
    }
}
