// What a bench found: demands with what was measured, figures by name, where and how it was made. Two forms: a page for
// people, JSON for machines. Filled on the driver's loop.

import Bytes
package import LoadCore

/// The outcome of a bench.
package struct BenchReport {
    let title: String
    let seed: UInt64
    let command: String
    /// How long it took.
    var seconds = 0.0
    /// What was demanded.
    package var musts: [Must] = []
    /// What went wrong beside the demands.
    package var problems: [String] = []
    /// Lines for people: a name and what was seen.
    private(set) var rows: [(String, String)] = []
    /// Fields for machines.
    private var fields: [(String, JSONText)] = []

    init(title: String, seed: UInt64, command: String) {
        self.title = title
        self.seed = seed
        self.command = command
    }

    /// A figure: a line for people, and for machines under `key`.
    mutating func add(_ name: String, _ text: String, _ key: String, _ value: JSONText) {
        rows.append((name, text))
        fields.append((key, value))
    }

    /// A whole number.
    mutating func add(_ name: String, _ key: String, _ value: Int) {
        add(name, "\(value)", key, .whole(UInt64(max(0, value))))
    }

    /// A latency.
    mutating func add(_ name: String, _ key: String, _ histogram: LatencyHistogram) {
        guard histogram.count > 0 else { return }
        add(name, histogram.line, key, histogram.json)
    }

    /// Whether every demand was met and nothing else went wrong.
    package var isHeld: Bool { problems.isEmpty && musts.allSatisfy(\.isHeld) }
    /// 0 when all is well.
    package var exitCode: Int32 { isHeld ? 0 : 1 }

    /// The report for people.
    package func page(machine: MachineFacts) -> String {
        var lines = ["\(title): \(isHeld ? "all demands were met" : "NOT ALL DEMANDS WERE MET")"]
        if !command.isEmpty { lines.append("again: \(command)") }
        func row(_ name: String, _ text: String) {
            lines.append("  " + name + String(repeating: " ", count: max(1, 24 - name.count)) + text)
        }
        row("machine", "\(machine.processor), \(machine.cores) cores, kernel \(machine.kernel)")
        row("commit", "\(machine.commit)   seed \(seed)   \(JSONText.short((seconds * 10).rounded() / 10)) s")
        for (name, text) in rows { row(name, text) }
        lines.append("")
        for must in musts { lines.append("  \(must.isHeld ? "held    " : "NOT HELD") \(must.name): \(must.measured)") }
        for problem in problems { lines.append("  PROBLEM  \(problem)") }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The report for machines.
    package func json(machine: MachineFacts) -> JSONText {
        let demands = musts.map { must in
            JSONText.object([
                ("must", .text(must.name)), ("measured", .text(must.measured)), ("held", .flag(must.isHeld)),
            ])
        }
        return .object(
            [
                ("tool", .text("martlet-load")), ("mode", .text(title)), ("ok", .flag(isHeld)),
                ("command", .text(command)), ("seed", .whole(seed)), ("seconds", .number(seconds)),
                ("machine", machine.json), ("musts", .list(demands)),
                ("problems", .list(problems.map { .text($0) })),
            ] + fields)
    }
}
