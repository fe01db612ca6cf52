// What a person sees while a run goes on: one line on stderr that is rewritten on a terminal, and otherwise a line a
// phase and every five seconds, so that a log stays short. Used by the coordinator.

import Bytes
import Glibc
import Reactor

/// Shows progress on stderr.
package final class ProgressLine {
    private let isTerminal: Bool
    private let isQuiet: Bool
    private var phase: Substring = ""
    private var shownAt = MonotonicTime(nanoseconds: 0)

    /// `isQuiet` shows nothing at all.
    package init(isQuiet: Bool) {
        self.isQuiet = isQuiet
        isTerminal = isatty(2) == 1
    }

    /// Shows `line`, whose first word is the phase; not more often than is useful.
    func show(_ line: String) {
        guard !isQuiet else { return }
        let now = MonotonicTime.now()
        let first = line.prefix { $0 != " " }
        let interval = isTerminal ? Duration.milliseconds(100) : .seconds(5)
        guard first != phase || now.since(shownAt) >= interval else { return }
        phase = first
        shownAt = now
        _ = SmallFile.writeAll(isTerminal ? "\r\u{1B}[K\(line)" : line + "\n", to: 2)
    }

    /// Takes the line away.
    func clear() {
        guard !isQuiet, isTerminal, shownAt.nanoseconds > 0 else { return }
        _ = SmallFile.writeAll("\r\u{1B}[K", to: 2)
    }
}
