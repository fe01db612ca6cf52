// The report of a run for people: one page of text. See RunReport.

import Bytes
import LoadCore

extension RunReport {
    /// The report for people.
    package var page: String {
        var lines: [String] = []
        let verdict =
            isMutantCaught.map { $0 ? "mutant caught" : "MUTANT NOT CAUGHT" } ?? (isValid ? "valid" : "NOT VALID")
        lines.append("\(verdict)  seed \(plan.clients.seed)  \(JSONText.short(duration.inSeconds)) s")
        if !plan.command.isEmpty { lines.append("again: \(plan.command)") }
        if !hasHistory {
            lines.append("rooms keep no history here: checked is what at-most-once rooms promise")
        }
        lines += vacuity.map { "vacuous: \($0)" }
        lines.append("")
        for invariant in Invariant.allCases {
            let count = checker.counts[invariant, default: 0]
            let isChecked = invariant == .presence ? hasPresence : invariant == .limiter ? hasLimits : true
            let verdict = count > 0 ? "BROKEN \(count) times" : isChecked ? "held" : "not checked"
            lines.append("  \(RunReport.padded(invariant.rawValue, 24)) \(verdict)")
        }
        lines.append("")
        lines += musts.map { "  \($0.isHeld ? "held    " : "NOT HELD") \($0.name): \($0.measured)" }
        if !musts.isEmpty { lines.append("") }
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
            time.map { JSONText.short(($0.inSeconds * 1000).rounded()) } ?? none
        }
        func row(_ cells: [String]) -> String {
            let widths = [5, 11, 14, 17, 10, 12, 4, 6]
            return "  " + zip(cells, widths).map { RunReport.padded($0, $1) }.joined(separator: "  ") + "  "
                + (cells.last ?? "")
        }
        let head = [
            "fault", "recovery ms", "first error ms", "slowest answer ms", "unready ms", "disconnected", "told",
            "errors", "effect",
        ]
        return [row(head)]
            + faults.map { record in
                row([
                    record.name.rawValue, milliseconds(record.recovery, "never"),
                    milliseconds(record.firstError, "none"), milliseconds(record.slowestAnswer, "none"),
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
            "  lists of members \(figures.presenceLists), joins and leaves told \(figures.presenceEvents)"
                + "; limited rooms took \(figures.limitedAcks), refused \(figures.rateRefusals)",
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
