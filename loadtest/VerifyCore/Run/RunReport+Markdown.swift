// The figures of a run as a Markdown table, one row a fault over all its injections, for docs/reliability.md. See
// RunReport.

import Bytes
import LoadCore

extension RunReport {
    /// The table, with the command that makes the run again.
    package var markdown: String {
        let broken = checker.counts.values.reduce(0, +)
        var lines = [
            "`\(plan.command)`", "",
            "\(faults.count) injections, \(checker.figures.acked) acknowledged publications, "
                + "\(checker.figures.deliveries) deliveries, \(broken) violations, "
                + "\(Int(duration.inSeconds.rounded())) s.", "",
        ]
        if !musts.isEmpty {
            lines += ["| demand | measured | held |", "|---|---|---|"]
            lines += musts.map { "| \($0.name) | \($0.measured) | \($0.isHeld ? "yes" : "**no**") |" }
            lines.append("")
        }
        guard !faults.isEmpty else { return lines.joined(separator: "\n") }
        lines += [
            "| fault | what happens | times | recovery ms | first error ms | slowest answer ms | shown by /readyz ms "
                + "| disconnected | told 2500 |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for name in FaultName.allCases {
            let rows = faults.filter { $0.name == name }
            guard !rows.isEmpty else { continue }
            let cells = [
                name.rawValue, name.summary, "\(rows.count)", RunReport.range(rows.map(\.recovery), none: "never"),
                RunReport.range(rows.map(\.firstError), none: "none"),
                RunReport.range(rows.map(\.slowestAnswer), none: "none"),
                RunReport.range(rows.map(\.unready), none: "no"),
                RunReport.range(rows.map(\.disconnects)), RunReport.range(rows.map(\.told)),
            ]
            lines.append("| " + cells.joined(separator: " | ") + " |")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Least and highest in milliseconds; `none` stands for what did not come.
    static func range(_ times: [Duration?], none: String) -> String {
        let known = times.compactMap { $0.map { Int($0.wholeMilliseconds) } }
        guard !known.isEmpty else { return none }
        return range(known) + (known.count < times.count ? " or \(none)" : "")
    }

    static func range(_ numbers: [Int]) -> String {
        guard let least = numbers.min(), let most = numbers.max() else { return "" }
        return least == most ? "\(least)" : "\(least)–\(most)"
    }
}
