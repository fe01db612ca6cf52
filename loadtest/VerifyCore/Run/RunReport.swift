// What a run found, as a page and as JSON: valid or not, which promises were broken how often, what surrounded the
// first of each, what each fault cost, latencies by phase, and how to make the run again. Also judges whether the run
// could have found anything at all: a run in which nothing happened is as wrong as one that broke a promise.

import Bytes
package import LoadCore

/// The outcome of a run.
package struct RunReport {
    let plan: RunPlan
    /// Whether the rooms kept history.
    package let hasHistory: Bool
    let checker: Checker
    let clients: ClientFigures
    /// What each fault did.
    package let faults: [FaultRecord]
    let duration: Duration
    let peaks: [(resident: UInt64, descriptors: Int)]

    /// Why nothing can be concluded from the run; empty when something can.
    package var vacuity: [String] {
        let figures = checker.figures
        var gaps: [String] = []
        if clients.plannedInCalm > 0, figures.ackedInCalm * 10 < clients.plannedInCalm * 9 {
            gaps.append(
                "in calm only \(figures.ackedInCalm) of \(clients.plannedInCalm) planned publications were acknowledged"
            )
        }
        if figures.ackedInCalm == 0 { gaps.append("nothing was acknowledged in calm") }
        if figures.deliveries < figures.acked { gaps.append("fewer deliveries than acknowledgements") }
        for fault in faults where fault.evidence == nil { gaps.append("\(fault.name.rawValue) showed no effect") }
        let breaksConnections = faults.contains {
            [.reconnectStorm, .gatewayKilled, .gatewayDrained].contains($0.name)
        }
        if hasHistory {
            if breaksConnections, figures.recovered == 0 { gaps.append("nobody resumed with recovered: true") }
            if breaksConnections, figures.resumes == 0 { gaps.append("nobody resumed") }
            if figures.historiesRead == 0 { gaps.append("no history was read back") }
            if plan.profile == .std, figures.notRecovered == 0 { gaps.append("nobody was told recovered: false") }
        }
        let breaksRedis = faults.contains { [.redisKilled, .redisFrozen, .redisBlackholed].contains($0.name) }
        if breaksRedis, clients.errorReplies == 0 { gaps.append("Redis was away and nobody got an error") }
        let silences = faults.contains { [.redisFrozen, .redisBlackholed].contains($0.name) }
        if silences, figures.unknown + figures.retriesAcked == 0 {
            gaps.append("Redis was silent and no publish had an unknown outcome")
        }
        return gaps
    }

    /// No promise was broken, and the run could have shown it.
    package var isValid: Bool { checker.isClean && vacuity.isEmpty }

    /// With a mutant: whether it was found, and under one of its own names.
    package var isMutantCaught: Bool? {
        plan.mutant.map { $0.expected.contains { checker.counts[$0, default: 0] > 0 } }
    }

    /// 0 when all is well: no violation, or the mutant was caught.
    package var exitCode: Int32 { (isMutantCaught ?? isValid) ? 0 : 1 }

    /// Violations by name.
    package var counts: [Invariant: Int] { checker.counts }

    // MARK: JSON

    /// The report as a document.
    package var json: JSONText {
        .object([
            ("valid", .flag(isValid)), ("seed", .whole(plan.clients.seed)), ("command", .text(plan.command)),
            ("history", .flag(hasHistory)), ("seconds", .number(RunReport.seconds(duration))),
            ("mutant", plan.mutant.map { .text($0.rawValue) } ?? .null),
            ("mutant_caught", isMutantCaught.map { .flag($0) } ?? .null),
            ("vacuous", .list(vacuity.map { .text($0) })),
            (
                "violations",
                .object(Invariant.allCases.map { ($0.rawValue, .whole(UInt64(checker.counts[$0, default: 0]))) })
            ),
            ("offenders", .list(checker.offenders.map(offender))), ("faults", .list(faults.map(faultRow))),
            ("figures", figuresRow), ("latency", latencyRow),
            (
                "gateways",
                .list(
                    peaks.map {
                        .object([
                            ("peak_resident", .whole($0.resident)),
                            ("peak_descriptors", .whole(UInt64($0.descriptors))),
                        ])
                    })
            ),
        ])
    }

    private func offender(_ violation: ViolationRecord) -> JSONText {
        .object([
            ("invariant", .text(violation.invariant.rawValue)),
            ("ms", .whole(UInt64(max(0, checker.milliseconds(violation.time))))),
            ("room", .text(violation.room < 0 ? "" : RoomNames.name(violation.room))), ("text", .text(violation.text)),
            ("events", .list(checker.lines(of: violation).map { .text($0) })),
        ])
    }

    private func faultRow(_ record: FaultRecord) -> JSONText {
        .object([
            ("fault", .text(record.name.rawValue)), ("what", .text(record.name.summary)),
            ("at_ms", .whole(UInt64(max(0, checker.milliseconds(record.at))))),
            ("evidence", record.evidence.map { .text($0) } ?? .null),
            ("recovery_ms", record.recovery.map { .number(RunReport.seconds($0) * 1000) } ?? .null),
            ("first_error_ms", record.firstError.map { .number(RunReport.seconds($0) * 1000) } ?? .null),
            ("unready_ms", record.unready.map { .number(RunReport.seconds($0) * 1000) } ?? .null),
            ("ready_again_ms", record.ready.map { .number(RunReport.seconds($0) * 1000) } ?? .null),
            ("disconnected_by_server", .whole(UInt64(record.disconnects))), ("told", .whole(UInt64(record.told))),
            ("errors", .whole(UInt64(record.errors))),
        ])
    }

    private var figuresRow: JSONText {
        let figures = checker.figures
        let numbers: [(String, Int)] = [
            ("planned", clients.planned), ("skipped", clients.skipped), ("published", figures.invoked),
            ("acknowledged", figures.acked), ("refused", figures.refused), ("unknown", figures.unknown),
            ("retries_acknowledged", figures.retriesAcked), ("deliveries", figures.deliveries),
            ("backlog_deliveries", figures.backlogDeliveries), ("raw_duplicates", figures.rawDuplicates),
            ("resumes", figures.resumes), ("recovered", figures.recovered), ("not_recovered", figures.notRecovered),
            ("told_2500", figures.told), ("new_epochs", figures.newEpochs), ("histories_read", figures.historiesRead),
            ("connects", clients.connects), ("failed_connects", clients.failedConnects),
            ("silent_connections", clients.silentConnections),
        ]
        let closes = clients.closedByServer.sorted { $0.key < $1.key }.map {
            ("\($0.key)", JSONText.whole(UInt64($0.value)))
        }
        let errors = clients.errors.sorted { $0.key < $1.key }.map { ("\($0.key)", JSONText.whole(UInt64($0.value))) }
        let lives = clients.lives.sorted { $0.key < $1.key }.map { ($0.key, JSONText.whole(UInt64($0.value))) }
        return .object(
            numbers.map { ($0.0, .whole(UInt64($0.1))) }
                + [
                    ("closed_by_server", .object(closes)), ("error_replies", .object(errors)),
                    ("lives", .object(lives)),
                ])
    }

    private var latencyRow: JSONText {
        .object(
            Phase.allCases.map { phase in
                let figures = checker.figures
                return (
                    "\(phase)",
                    .object([
                        ("publish_to_delivery", figures.deliveryLatency[phase.rawValue].json),
                        ("publish_to_ack", figures.ackLatency[phase.rawValue].json),
                        ("ack_to_delivery", figures.stableLatency[phase.rawValue].json),
                    ])
                )
            })
    }

    private static func seconds(_ duration: Duration) -> Double { Double(duration.wholeNanoseconds) / 1e9 }

    // MARK: Page

    /// The report for people.
    package var page: String {
        var lines: [String] = []
        let verdict =
            isMutantCaught.map { $0 ? "mutant caught" : "MUTANT NOT CAUGHT" } ?? (isValid ? "valid" : "NOT VALID")
        lines.append("\(verdict)  seed \(plan.clients.seed)  \(JSONText.short(RunReport.seconds(duration))) s")
        if !plan.command.isEmpty { lines.append("again: \(plan.command)") }
        if !hasHistory {
            lines.append("rooms keep no history here: checked is what at-most-once rooms promise")
        }
        lines += vacuity.map { "vacuous: \($0)" }
        lines.append("")
        for invariant in Invariant.allCases {
            let count = checker.counts[invariant, default: 0]
            lines.append(
                "  \(RunReport.padded(invariant.rawValue, 24)) \(count == 0 ? "held" : "BROKEN \(count) times")")
        }
        lines.append("")
        lines += faultTable
        lines += figureLines
        for phase in Phase.allCases {
            let figures = checker.figures
            guard figures.deliveryLatency[phase.rawValue].count > 0 else { continue }
            lines.append(
                "  \(RunReport.padded("\(phase)", 9)) delivery  \(figures.deliveryLatency[phase.rawValue].line)")
            lines.append("  \(RunReport.padded("", 9)) ack       \(figures.ackLatency[phase.rawValue].line)")
        }
        lines += offenderLines
        return lines.joined(separator: "\n") + "\n"
    }

    private var faultTable: [String] {
        guard !faults.isEmpty else { return [] }
        func milliseconds(_ time: Duration?, _ none: String) -> String {
            time.map { JSONText.short((RunReport.seconds($0) * 1000).rounded()) } ?? none
        }
        func row(_ cells: [String]) -> String {
            let widths = [5, 11, 14, 10, 12, 4, 6]
            return "  " + zip(cells, widths).map { RunReport.padded($0, $1) }.joined(separator: "  ") + "  "
                + (cells.last ?? "")
        }
        let head = [
            "fault", "recovery ms", "first error ms", "unready ms", "disconnected", "told", "errors", "effect",
        ]
        return [row(head)]
            + faults.map { record in
                row([
                    record.name.rawValue, milliseconds(record.recovery, "never"),
                    milliseconds(record.firstError, "none"),
                    milliseconds(record.unready, "not shown"), "\(record.disconnects)", "\(record.told)",
                    "\(record.errors)",
                    record.evidence ?? "NONE OBSERVED",
                ])
            } + [""]
    }

    private var figureLines: [String] {
        let figures = checker.figures
        return [
            "  published \(figures.invoked), acknowledged \(figures.acked), refused \(figures.refused)"
                + ", unknown \(figures.unknown), retries acknowledged \(figures.retriesAcked)"
                + ", skipped \(clients.skipped)",
            "  deliveries \(figures.deliveries), in backlogs \(figures.backlogDeliveries)"
                + ", raw duplicates \(figures.rawDuplicates)",
            "  resumes \(figures.resumes): recovered \(figures.recovered), not \(figures.notRecovered)"
                + "; told 2500: \(figures.told); new epochs \(figures.newEpochs)",
            "  connects \(clients.connects), closed by the server "
                + (Closures.since([:], clients.closedByServer) ?? "none") + ", errors "
                + (clients.errors.isEmpty
                    ? "none"
                    : clients.errors.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }.joined(
                        separator: ", ")),
            "",
        ]
    }

    private var offenderLines: [String] {
        var lines: [String] = []
        for violation in checker.offenders {
            lines.append("")
            lines.append(
                "\(violation.invariant.rawValue) at +\(checker.milliseconds(violation.time)) ms: \(violation.text)")
            let events = checker.lines(of: violation)
            lines += events.suffix(24).map { "    " + $0 }
        }
        return lines
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
