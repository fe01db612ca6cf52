// What a run does, as one value: made from the command line by the coordinator, sent to every worker as lines of text,
// and put into the report, so that a figure carries the settings that made it.

/// The settings of one run.
package struct LoadPlan: Equatable, Sendable {
    /// Which load.
    package enum Mode: String, Sendable { case flood, echo, fanout }

    package var mode = Mode.flood
    package var language = LoadProtocol.martlet
    /// Target address (numeric) and port.
    package var host = "127.0.0.1"
    package var port: UInt16 = 8000
    package var path = "/"
    /// Connections over all workers.
    package var connections = 1
    /// Worker processes, and which of them this is.
    package var processes = 1
    package var worker = 0
    /// Source addresses, 127.0.0.1 and up; 0 leaves the choice to the kernel.
    package var sources = 0
    /// Connections that may be opening at a time in one worker.
    package var concurrency = 128
    /// flood: connections a second over all workers; 0 is as fast as `concurrency` allows.
    package var openRate = 0.0
    /// A connection that is not joined after so many milliseconds has failed.
    package var openTimeout = 10_000
    /// Room template; empty joins no room.
    package var room = ""
    package var rooms = 1
    /// fanout: publishers in each room.
    package var publishers = 1
    /// Messages in flight: of each connection (echo) or publisher (fanout).
    package var window = 1
    /// Offered messages a second over all workers; 0 is the closed loop.
    package var messageRate = 0.0
    /// Bytes of one message's data.
    package var bytes = 128
    /// Milliseconds before measuring, of measuring, and of waiting for what is still under way.
    package var warmup = 500
    package var duration = 5_000
    package var drain = 5_000
    package var seed: UInt64 = 1

    package init() {}

    /// The room that connection `index` is in.
    package func room(of index: Int) -> Int { index % max(1, rooms) }
    /// Which member of its room connection `index` is.
    package func member(of index: Int) -> Int { index / max(1, rooms) }
    /// Connections in `room`.
    package func members(of room: Int) -> Int {
        connections / max(1, rooms) + (room < connections % max(1, rooms) ? 1 : 0)
    }
    /// The connections that worker `worker` holds.
    package var ownConnections: [Int] { Array(stride(from: worker, to: connections, by: max(1, processes))) }

    private var fields: [(String, String)] {
        [
            ("mode", mode.rawValue), ("protocol", language.rawValue), ("host", host), ("port", String(port)),
            ("path", path), ("connections", String(connections)), ("processes", String(processes)),
            ("worker", String(worker)), ("sources", String(sources)), ("concurrency", String(concurrency)),
            ("open_rate", String(openRate)), ("open_timeout_ms", String(openTimeout)), ("room", room),
            ("rooms", String(rooms)), ("publishers", String(publishers)), ("window", String(window)),
            ("message_rate", String(messageRate)), ("bytes", String(bytes)), ("warmup_ms", String(warmup)),
            ("duration_ms", String(duration)), ("drain_ms", String(drain)), ("seed", String(seed)),
        ]
    }

    /// The plan as `plan key value` lines for a worker.
    package var lines: [String] { fields.map { "plan \($0.0) \($0.1)" } }

    /// The plan for the report.
    package var json: JSONText {
        .object(fields.filter { $0.0 != "worker" }.map { ($0.0, UInt64($0.1).map { .whole($0) } ?? .text($0.1)) })
    }

    /// Takes one setting as `lines` wrote it; false when there is no such key or the value is not one.
    package mutating func set(_ key: Substring, _ value: String) -> Bool {
        func assign<Value>(_ target: inout Value, _ parsed: Value?) -> Bool {
            guard let parsed else { return false }
            target = parsed
            return true
        }
        return switch key {
        case "mode": assign(&mode, Mode(rawValue: value))
        case "protocol": assign(&language, LoadProtocol(rawValue: value))
        case "host": assign(&host, value)
        case "port": assign(&port, UInt16(value))
        case "path": assign(&path, value)
        case "connections": assign(&connections, Int(value))
        case "processes": assign(&processes, Int(value))
        case "worker": assign(&worker, Int(value))
        case "sources": assign(&sources, Int(value))
        case "concurrency": assign(&concurrency, Int(value))
        case "open_rate": assign(&openRate, Double(value))
        case "open_timeout_ms": assign(&openTimeout, Int(value))
        case "room": assign(&room, value)
        case "rooms": assign(&rooms, Int(value))
        case "publishers": assign(&publishers, Int(value))
        case "window": assign(&window, Int(value))
        case "message_rate": assign(&messageRate, Double(value))
        case "bytes": assign(&bytes, Int(value))
        case "warmup_ms": assign(&warmup, Int(value))
        case "duration_ms": assign(&duration, Int(value))
        case "drain_ms": assign(&drain, Int(value))
        case "seed": assign(&seed, UInt64(value))
        default: false
        }
    }
}
