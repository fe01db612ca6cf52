// What a run found: valid or not, which promises were broken how often, what surrounded the first of each, what each
// fault cost, latencies by phase, what was used, and how to make the run again; as JSON here, as a page and as Markdown
// beside. Also judges whether the run could have found anything at all: a run in which nothing happened is as wrong as
// one that broke a promise.

import Bytes
package import LoadCore

/// The outcome of a run.
package struct RunReport {
    let plan: RunPlan
    /// Whether the rooms kept history.
    package let hasHistory: Bool
    /// Whether some rooms showed their members.
    package let hasPresence: Bool
    /// Whether some rooms limited their rate.
    package let hasLimits: Bool
    let checker: Checker
    let clients: ClientFigures
    /// What each fault did.
    package let faults: [FaultRecord]
    /// What a scenario demanded.
    package let musts: [Must]
    private let extras: [(String, JSONText)]
    let duration: Duration

    init(_ run: VerifyRun, duration: Duration) {
        plan = run.plan
        hasHistory = run.rig.hasHistory
        hasPresence = run.rig.hasPresence
        hasLimits = run.rig.hasLimits
        checker = run.checker
        clients = run.pool.figures
        faults = run.records
        musts = run.musts
        extras = run.extras
        self.duration = duration
    }

    /// Why nothing can be concluded from the run; empty when something can.
    package var vacuity: [String] {
        let figures = checker.figures
        var gaps: [String] = []
        // What a limited room refuses is answered as it ought to be.
        let answered = figures.ackedInCalm + figures.rateRefusalsInCalm
        if clients.plannedInCalm > 0, answered * 10 < clients.plannedInCalm * 9 {
            gaps.append(
                "in calm only \(figures.ackedInCalm) of \(clients.plannedInCalm) planned publications were acknowledged"
            )
        }
        if figures.ackedInCalm == 0 { gaps.append("nothing was acknowledged in calm") }
        if figures.deliveries < figures.acked { gaps.append("fewer deliveries than acknowledgements") }
        for fault in faults where fault.evidence == nil { gaps.append("\(fault.name.rawValue) showed no effect") }
        // A scenario demands its own evidence.
        if case .scenario = plan.profile { return gaps }
        let breaksConnections = faults.contains {
            [.reconnectStorm, .gatewayKilled, .gatewayDrained].contains($0.name)
        }
        if hasPresence {
            if figures.presenceLists == 0 { gaps.append("no list of members was shown") }
            if figures.presenceEvents == 0 { gaps.append("nobody was told of a join or leave") }
        }
        if hasLimits {
            if figures.limitedAcks == 0 { gaps.append("no room with a limit took anything") }
            if figures.rateRefusals == 0 { gaps.append("no room with a limit refused anything") }
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

    /// No promise was broken, every demand was met, and the run could have shown it.
    package var isValid: Bool { checker.isClean && vacuity.isEmpty && musts.allSatisfy(\.isHeld) }

    /// With a mutant: whether it was found, and under one of its own names.
    package var isMutantCaught: Bool? { plan.mutant.map { $0.isCaught(by: checker.counts) } }

    /// A line of the table of mutants: what was put in, by which promise it was found and after how many seconds.
    package var mutantLine: String {
        guard let mutant = plan.mutant else { return "" }
        let found = checker.offenders.first { mutant.expected.contains($0.invariant) }
        let seconds = found.map { Double(checker.milliseconds($0.time)) / 1000 }
        let others = checker.counts.keys.filter { !mutant.expected.contains($0) }.map(\.rawValue).sorted()
        return "| \(mutant.rawValue) | \(mutant.summary) | \(found?.invariant.rawValue ?? "**not found**") | "
            + "\(seconds.map { JSONText.short($0) } ?? "–") | \(others.joined(separator: ", ")) |"
    }

    /// The head of the table of mutants.
    package static let mutantHead =
        "| mutant | defect | found by | after s | other promises broken |\n|---|---|---|---|---|"

    /// 0 when all is well: no violation, or the mutant was caught.
    package var exitCode: Int32 { (isMutantCaught ?? isValid) ? 0 : 1 }

    /// Violations by name.
    package var counts: [Invariant: Int] { checker.counts }

    // MARK: JSON

    /// The report as a document.
    package var json: JSONText {
        .object([
            ("valid", .flag(isValid)), ("seed", .whole(plan.clients.seed)), ("command", .text(plan.command)),
            ("history", .flag(hasHistory)), ("presence", .flag(hasPresence)),
            ("limits", .flag(hasLimits)), ("seconds", .number(duration.inSeconds)),
            ("mutant", plan.mutant.map { .text($0.rawValue) } ?? .null),
            ("mutant_caught", isMutantCaught.map { .flag($0) } ?? .null),
            ("vacuous", .list(vacuity.map { .text($0) })),
            (
                "violations",
                .object(Invariant.allCases.map { ($0.rawValue, .whole(UInt64(checker.counts[$0, default: 0]))) })
            ),
            ("offenders", .list(checker.offenders.map(offender))), ("faults", .list(faults.map(faultRow))),
            ("musts", .list(musts.map(mustRow))), ("figures", figuresRow), ("extras", .object(extras)),
            ("latency", latencyRow), ("gauges", gaugesRow),
        ])
    }

    private func mustRow(_ must: Must) -> JSONText {
        .object([("must", .text(must.name)), ("measured", .text(must.measured)), ("held", .flag(must.isHeld))])
    }

    private var gaugesRow: JSONText {
        func row(_ record: GaugeRecord) -> JSONText {
            .object([
                ("calm", record.baseline.map { .whole($0) } ?? .null), ("peak", .whole(record.peak)),
                ("end", .whole(record.last)),
            ])
        }
        let gateways = checker.gauges.gateways.sorted { $0.key < $1.key }.map { _, books in
            JSONText.object([
                ("resident_bytes", row(books.resident)), ("descriptors", row(books.descriptors)),
                ("queued_bytes", row(books.queuedBytes)), ("connections", row(books.connections)),
                ("series", row(books.series)),
            ])
        }
        return .object([
            ("gateways", .list(gateways)), ("redis_connections", row(checker.gauges.redisConnections)),
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
            ("recovery_ms", record.recovery.map { .number($0.inSeconds * 1000) } ?? .null),
            ("first_error_ms", record.firstError.map { .number($0.inSeconds * 1000) } ?? .null),
            ("slowest_answer_ms", record.slowestAnswer.map { .number($0.inSeconds * 1000) } ?? .null),
            ("unready_ms", record.unready.map { .number($0.inSeconds * 1000) } ?? .null),
            ("ready_again_ms", record.ready.map { .number($0.inSeconds * 1000) } ?? .null),
            ("unready_reason", .text(record.reason)),
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
            ("stale_tops", figures.staleTops),
            ("told_2500", figures.told), ("new_epochs", figures.newEpochs), ("histories_read", figures.historiesRead),
            ("presence_lists", figures.presenceLists), ("presence_events", figures.presenceEvents),
            ("limited_acknowledged", figures.limitedAcks), ("rate_refusals", figures.rateRefusals),
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
}
