// What a run found, and its two forms: JSON for machines, a page for people. The one place that decides whether a run
// was clean. Filled by the coordinator; pure arithmetic, so the tests fill it by hand.

import Bytes

/// The outcome of one run.
package struct RunOutcome: Sendable {
    package let plan: LoadPlan
    /// Whether server processes were watched; without them their figures are left out.
    package let watched: Bool
    package var result = WorkerResult()
    /// Messages that were sent and not refused, and the deliveries that follow from them.
    package var published: UInt64 = 0
    package var expected: UInt64 = 0
    /// How long opening took, and how long was measured.
    package var openingTime = Duration.zero
    package var measured = Duration.zero
    /// The server before anything, when all connections were open, and at both ends of the measured stretch.
    package var serverBefore = ProcessSample()
    package var serverOpened = ProcessSample()
    package var serverFrom = ProcessSample()
    package var serverUntil = ProcessSample()
    /// The tool's workers at both ends of the measured stretch.
    package var toolFrom = ProcessSample()
    package var toolUntil = ProcessSample()

    /// An outcome without figures.
    package init(plan: LoadPlan, watched: Bool) {
        self.plan = plan
        self.watched = watched
    }

    /// Deliveries that should have come and did not.
    package var lost: UInt64 { expected > result["delivered"] ? expected - result["delivered"] : 0 }

    /// What was wrong, in words; empty after a clean run.
    package var problems: [String] {
        let opened = result["opened"]
        var found: [String] = []
        func add(_ count: UInt64, _ text: String) { if count > 0 { found.append("\(count) \(text)") } }
        add(result["failed"], "of \(plan.connections) connections could not be opened")
        let untried = UInt64(plan.connections) - min(UInt64(plan.connections), opened + result["failed"])
        add(untried, "connections were not tried any more: nothing answers")
        add(result["closed_early"], "connections were closed by the server or the network")
        add(lost, "of \(expected) deliveries were lost")
        add(result["duplicates"], "deliveries came twice")
        add(result["misordered"], "deliveries came out of order")
        add(result["altered"], "messages came back altered")
        add(result["strangers"], "messages came to the wrong room")
        add(result["refused"], "publications were refused")
        return found
    }

    /// 0 after a clean run, 4 when no connection could be opened, 1 otherwise.
    package var exitCode: Int32 {
        if problems.isEmpty { return 0 }
        return result["opened"] == 0 ? 4 : 1
    }

    // MARK: Figures

    private var seconds: Double { Double(measured.wholeNanoseconds) / 1e9 }
    private var deliveredPerSecond: Double { seconds > 0 ? Double(result["delivered_in_window"]) / seconds : 0 }
    private var publishedPerSecond: Double { seconds > 0 ? Double(result["published_in_window"]) / seconds : 0 }

    /// The server's processor time per message that was received in the measured stretch, in microseconds.
    package var serverMicrosecondsPerMessage: Double { perMessage(serverFrom, serverUntil) }
    /// The tool's own.
    package var toolMicrosecondsPerMessage: Double { perMessage(toolFrom, toolUntil) }

    private func perMessage(_ from: ProcessSample, _ until: ProcessSample) -> Double {
        let count = result["delivered_in_window"]
        return count > 0 ? RunOutcome.microseconds(from, until) / Double(count) : 0
    }

    private static func microseconds(_ from: ProcessSample, _ until: ProcessSample) -> Double {
        (Double(until.processorTime) - Double(from.processorTime)) / 1000
    }

    /// The server's processor time per opened connection, in microseconds.
    package var serverMicrosecondsPerConnection: Double {
        result["opened"] > 0
            ? RunOutcome.microseconds(serverBefore, serverOpened) / Double(result["opened"]) : 0
    }

    /// Growth of the server's memory since before the first connection, in bytes per open connection.
    private func bytesPerConnection(_ field: KeyPath<ProcessSample, UInt64>) -> Double {
        let open = result["opened"] - min(result["opened"], result["closed_early"])
        guard open > 0 else { return 0 }
        return (Double(serverUntil[keyPath: field]) - Double(serverBefore[keyPath: field])) / Double(open)
    }

    /// Resident bytes per open connection at the end of the measured stretch.
    package var residentPerConnection: Double { bytesPerConnection(\.resident) }
    /// The same with shared pages divided among those who share them.
    package var proportionalPerConnection: Double { bytesPerConnection(\.proportional) }

    // MARK: JSON

    /// The report for machines.
    package func json(machine: MachineFacts) -> JSONText {
        var fields: [(String, JSONText)] = [
            ("tool", .text("martlet-load")), ("mode", .text(plan.mode.rawValue)), ("ok", .flag(problems.isEmpty)),
            ("problems", .list(problems.map { .text($0) })), ("machine", machine.json), ("plan", plan.json),
            ("connections", connectionsJSON),
        ]
        if plan.mode != .flood { fields.append(("messages", messagesJSON)) }
        fields.append(("cpu", cpuJSON))
        if watched { fields.append(("memory", memoryJSON)) }
        return .object(fields)
    }

    private var connectionsJSON: JSONText {
        let failures = result.failures.sorted { $0.key < $1.key }.map { ($0.key, JSONText.whole($0.value)) }
        return .object([
            ("opened", .whole(result["opened"])), ("failed", .whole(result["failed"])),
            ("closed_early", .whole(result["closed_early"])), ("failures", .object(failures)),
            ("opening_s", .number(Double(openingTime.wholeNanoseconds) / 1e9)),
            ("pings_answered", .whole(result["pings"])), ("latency", result.latencies["connect"]?.json ?? .null),
        ])
    }

    private var messagesJSON: JSONText {
        var fields: [(String, JSONText)] = [
            ("published", .whole(published)), ("expected", .whole(expected)),
            ("delivered", .whole(result["delivered"])), ("lost", .whole(lost)),
        ]
        for key in ["duplicates", "misordered", "gaps", "altered", "strangers", "refused"] {
            fields.append((key, .whole(result[key])))
        }
        fields += [
            ("measured_s", .number(seconds)), ("published_per_s", .number(publishedPerSecond)),
            ("delivered_per_s", .number(deliveredPerSecond)), ("latency", result.latencies["message"]?.json ?? .null),
        ]
        if plan.messageRate > 0 { fields.append(("send_lag", result.latencies["send_lag"]?.json ?? .null)) }
        return .object(fields)
    }

    private var cpuJSON: JSONText {
        var fields: [(String, JSONText)] = [
            ("tool_s", .number(RunOutcome.microseconds(toolFrom, toolUntil) / 1e6))
        ]
        if plan.mode != .flood { fields.append(("tool_us_per_message", .number(toolMicrosecondsPerMessage))) }
        if watched {
            fields.append(("server_s", .number(RunOutcome.microseconds(serverFrom, serverUntil) / 1e6)))
            fields.append(("server_us_per_connection", .number(serverMicrosecondsPerConnection)))
            if plan.mode != .flood { fields.append(("server_us_per_message", .number(serverMicrosecondsPerMessage))) }
        }
        return .object(fields)
    }

    private var memoryJSON: JSONText {
        .object([
            ("resident_before", .whole(serverBefore.resident)), ("resident_after", .whole(serverUntil.resident)),
            ("resident_per_connection", .number(residentPerConnection)),
            ("proportional_per_connection", .number(proportionalPerConnection)),
        ])
    }

    // MARK: Page

    /// The report for people.
    package func page(machine: MachineFacts) -> String {
        var lines = ["\(plan.mode.rawValue) on \(plan.host):\(plan.port), protocol \(plan.language.rawValue)"]
        func row(_ name: String, _ text: String) {
            lines.append("  " + name + String(repeating: " ", count: max(1, 14 - name.count)) + text)
        }
        let short = JSONText.short
        row("machine", "\(machine.processor), \(machine.cores) cores, kernel \(machine.kernel)")
        row("commit", "\(machine.commit)   seed \(plan.seed)")
        row(
            "connections",
            "\(result["opened"]) opened in \(short(Double(openingTime.wholeMilliseconds) / 1000)) s, "
                + "\(result["failed"]) failed, \(result["closed_early"]) closed early, "
                + "\(result["pings"]) pings answered")
        if let connect = result.latencies["connect"], connect.count > 0 { row("  connect", connect.line) }
        for (reason, times) in result.failures.sorted(by: { $0.value > $1.value }) {
            row("  failure", "\(times) × \(reason)")
        }
        if plan.mode != .flood { messageRows(row) }
        if watched {
            row("server CPU", "\(short(serverMicrosecondsPerConnection)) µs per connection opened")
            if plan.mode == .flood || residentPerConnection > 0 {
                row("server memory", "\(short(residentPerConnection)) B resident per connection")
            }
        }
        lines.append(problems.isEmpty ? "clean: nothing failed, nothing lost, doubled or out of order" : "NOT CLEAN")
        return (lines + problems.map { "  " + $0 }).joined(separator: "\n") + "\n"
    }

    private func messageRows(_ row: (String, String) -> Void) {
        let short = JSONText.short
        row(
            "messages",
            "\(published) sent, \(result["delivered"]) of \(expected) delivered; lost \(lost), "
                + "twice \(result["duplicates"]), out of order \(result["misordered"])")
        row(
            "rate",
            "\(short(publishedPerSecond)) sent/s, \(short(deliveredPerSecond)) delivered/s over \(short(seconds)) s")
        if let latency = result.latencies["message"], latency.count > 0 { row("latency", latency.line) }
        if let lag = result.latencies["send_lag"], lag.count > 0 { row("  send lag", lag.line) }
        var costs = "tool \(short(toolMicrosecondsPerMessage)) µs per message"
        if watched { costs = "server \(short(serverMicrosecondsPerMessage)) µs, " + costs }
        row("CPU", costs)
    }
}

extension MachineFacts {
    /// The facts for a report.
    package var json: JSONText {
        .object([
            ("processor", .text(processor)), ("cores", .whole(UInt64(max(0, cores)))), ("kernel", .text(kernel)),
            ("memory", .whole(memory)), ("commit", .text(commit)),
        ])
    }
}
