// The rules of the house as data: who may import whom, what parser modules must not contain, how long things may be.
//
// The checkers in RepositoryChecks.swift are pure functions over (path, text), so that the tests can show them failing
// on made-up trees. This file is the single authority on the import arrows; docs/architecture.md tells them as prose.

/// One file of the repository, its path relative to the top folder.
struct SourceFile {
    let path: String
    let text: String

    /// The target that a Swift file belongs to: `Sources/<target>/…` or `loadtest/<target>/…`.
    var target: String? {
        let parts = path.split(separator: "/")
        guard parts.count > 2, parts[0] == "Sources" || parts[0] == "loadtest" else { return nil }
        return String(parts[1])
    }

    var isSwift: Bool { path.hasSuffix(".swift") }
    var isC: Bool { path.hasSuffix(".c") || path.hasSuffix(".h") }
}

/// A line that breaks a rule.
struct Violation: CustomStringConvertible, Equatable {
    let path: String
    let line: Int
    let problem: String

    var description: String { "\(path):\(line): \(problem)" }
}

/// A single line that may break a rule of `forbiddenInParsers`, with the reason why it cannot hurt.
struct Exemption {
    let path: String
    let line: String
    let reason: String
}

enum RepositoryRules {
    /// Our modules, and which of our modules each may import. An import that is not here is refused. Whoever makes a
    /// loop hands it a metric shard: that is all that clients and the load tester want of Telemetry.
    static let arrows: [String: Set<String>] = [
        "CLinux": [], "COpenSSL": [], "CZlib": [], "CHiredis": [],
        "Bytes": [],
        "HTTP": ["Bytes"],
        "WebSocket": ["Bytes", "HTTP", "CZlib"],
        "Wire": ["Bytes"],
        "Rooms": ["Bytes", "HTTP", "WebSocket", "Wire"],
        "Telemetry": ["Bytes"],
        "Reactor": ["Bytes", "Telemetry", "CLinux", "COpenSSL"],
        "Redis": ["Bytes", "Telemetry", "Reactor", "CHiredis"],
        "Tokens": ["Bytes"],
        "Gateway": ["Bytes", "HTTP", "WebSocket", "Wire", "Rooms", "Telemetry", "Reactor", "Redis", "Tokens"],
        "Client": ["Bytes", "HTTP", "WebSocket", "Wire", "Telemetry", "Reactor"],
        "martlet": ["Bytes", "Gateway", "Telemetry", "Tokens"],
        "martlet-chat": ["Bytes", "Wire", "Telemetry", "Client", "Reactor", "CLinux", "ChatTerminal"],
        "LoadCore": ["Bytes", "HTTP", "WebSocket", "Wire", "Telemetry", "Reactor"],
        "martlet-load": ["Bytes", "LoadCore", "VerifyCore"],
        "VerifyCore": [
            "Bytes", "HTTP", "WebSocket", "Wire", "Telemetry", "Reactor", "Client", "LoadCore", "CLinux",
        ],
    ]

    /// Modules of others that are quarantined, and the only targets that may import them.
    static let quarantine: [String: Set<String>] = [
        "ArgumentParser": ["martlet", "martlet-chat", "martlet-load"],
        "Configuration": ["Gateway", "martlet"],
        "Histogram": ["LoadCore", "martlet-load"],
        "JWTKit": ["Tokens"],
        "Logging": ["Telemetry", "Reactor", "Redis", "Tokens", "Gateway", "martlet"],
        "Metrics": ["Telemetry"],
    ]

    /// Targets that stay free of Foundation: it costs 11 MB of memory and 4 ms of start-up.
    static let withoutFoundation: Set<String> = [
        "Bytes", "HTTP", "WebSocket", "Wire", "Rooms", "Reactor", "Redis", "Telemetry", "Client", "martlet-chat",
        "LoadCore", "VerifyCore", "martlet-load",
    ]
    static let foundations: Set<String> = ["Foundation", "FoundationEssentials", "FoundationNetworking"]

    /// Targets that do no I/O and own no clock: bytes and `now` come in, events and bytes go out.
    static let sansIO: Set<String> = ["Bytes", "HTTP", "WebSocket", "Wire", "Rooms"]
    static let forbiddenInSansIO: [(pattern: String, problem: String)] = [
        (
            #"\b(ContinuousClock|SuspendingClock|clock_gettime|gettimeofday|DispatchQueue|DispatchTime)\b"#,
            "owns a clock or a queue"
        ),
        (#"\b(epoll_\w+|recv|recvmsg|sendmsg|accept4|eventfd)\("#, "does I/O"),
        (#"\bprint\("#, "prints"),
        (#"\bTask\s*(\.detached\s*)?\{"#, "starts a task"),
        (#"\b(async|await)\b"#, "crosses into Swift concurrency"),
    ]

    /// Targets that read bytes from the network or from Redis. Nothing that comes from outside may trap (HS-14, HS-15).
    static let parsers: Set<String> = ["Bytes", "HTTP", "WebSocket", "Wire", "Rooms", "Redis"]
    static let forbiddenInParsers: [(pattern: String, problem: String)] = [
        (#"\btry!"#, "try! traps on an error"),
        (#"\bas!"#, "as! traps on another type"),
        (#"(?<!\btry)(?<!\bas)(?<=[\w\)\]\?>])!(?![=\w])"#, "a force unwrap traps on nil"),
        (#"\bunsafelyUnwrapped\b"#, "an unchecked unwrap"),
        (#"\bfatalError\("#, "fatalError ends the process of everybody"),
        (#"\btruncatingIfNeeded:"#, "drops bits of a number without a word"),
        (#"\bunsafeBitCast\("#, "an unchecked conversion"),
        (#"&[+*-]"#, "arithmetic that wraps without a word"),
    ]

    /// Lines that are exempt from `forbiddenInParsers`. One that matches nothing any more is a violation itself.
    static let exemptions: [Exemption] = [
        Exemption(
            path: "Sources/Bytes/ByteBuffer.swift",
            line: "place.storeBytes(of: UInt8(truncatingIfNeeded: 48 + rest % 10), as: UInt8.self)",
            reason: "48...57 always fits"),
        Exemption(
            path: "Sources/Bytes/SeededRandom.swift", line: "mixer &+= 0x9E37_79B9_7F4A_7C15",
            reason: "the generator is defined modulo 2^64"),
        Exemption(
            path: "Sources/Bytes/SeededRandom.swift", line: "z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9",
            reason: "the generator is defined modulo 2^64"),
        Exemption(
            path: "Sources/Bytes/SeededRandom.swift", line: "z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB",
            reason: "the generator is defined modulo 2^64"),
        Exemption(
            path: "Sources/Bytes/SeededRandom.swift", line: "let scaled = state.1 &* 5",
            reason: "the generator is defined modulo 2^64"),
        Exemption(
            path: "Sources/Bytes/SeededRandom.swift", line: "let result = ((scaled << 7) | (scaled >> 57)) &* 9",
            reason: "the generator is defined modulo 2^64"),
    ]

    static let fileLineLimit = 500
    static let functionLineLimit = 70
    static let columnLimit = 120
    /// Comment lines that a Swift file of a product target opens with, at least.
    static let headerLines = 1

    /// What belongs to one machine or to how the work is organised, not to the product. Put together from halves, so
    /// that this file does not break the rule itself.
    static let forbiddenEverywhere: [(pattern: String, problem: String)] = [
        ("shared/" + "(design|bench)", "names a folder that a clone does not have"),
        ("(?<![\\w.])/(wo" + "rk|ro" + "ot|ho" + "me|opt/swift)[/-]", "an absolute path of one machine"),
        ("/tmp/" + "(team|dev)", "an absolute path of one machine"),
        ("\\b[Ii]ssue" + " #?\\d", "an issue number: say what it is instead"),
        ("\\b(hel" + "per agent|sub" + "agent|Clau" + "de|L" + "LM)\\b", "says who typed it, not what it does"),
    ]
}
