// What the operating system wants: another window size, job control, the end. Signals come as events of the loop.

import CLinux
import ChatTerminal
import Glibc

extension ChatShell {
    /// Signals that arrive as events of the loop.
    static let signals = [SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP, SIGCONT]

    func signal(_ number: Int32) {
        switch number {
        case SIGWINCH: resize()
        case SIGTSTP: suspend()
        case SIGCONT: resume()
        default: end(.done)
        }
    }

    /// Gives the terminal back, stops as Ctrl-Z does, and takes the terminal again when the process goes on.
    func suspend() {
        if screen != nil { TerminalMode.leave() }
        TerminalMode.stopProcess()
        resume()
    }

    private func resume() {
        guard screen != nil, !isEnding else { return }
        guard TerminalMode.enter() else { return end(.failed, "the terminal is gone") }
        screen?.invalidate()
        resize()
    }

    private func resize() {
        screen?.resize(Self.terminalSize())
        needsDrawing = true
    }

    static func terminalSize() -> TerminalSize {
        var (rows, columns): (UInt16, UInt16) = (0, 0)
        let isKnown = martlet_window_size(STDOUT_FILENO, &rows, &columns) == 0 && rows > 0 && columns > 0
        return isKnown ? TerminalSize(rows: Int(rows), columns: Int(columns)) : TerminalSize(rows: 24, columns: 80)
    }

    static func localTime() -> LocalTime {
        var now = time(nil)
        var parts = tm()
        localtime_r(&now, &parts)
        return LocalTime(
            year: Int(parts.tm_year) + 1900, month: Int(parts.tm_mon) + 1, day: Int(parts.tm_mday),
            hour: Int(parts.tm_hour), minute: Int(parts.tm_min))
    }
}
