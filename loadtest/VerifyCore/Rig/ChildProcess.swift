// A child of the driver: started with its output in a file, steered by its process id, always waited for. Children die
// with the driver: setpriv sets the kernel's parent-death signal where it exists, and ClusterRig ends them otherwise.
// Called on the driver's loop; nothing here blocks except `end`, which is bounded.

import Bytes
import Glibc
import LoadCore
package import Reactor

/// How a child ended.
package enum ChildEnd: Equatable, Sendable, CustomStringConvertible {
    case code(Int32)
    case signal(Int32)

    package var description: String {
        switch self {
        case .code(let code): "exit code \(code)"
        case .signal(let number): "signal \(number)"
        }
    }
}

/// A running or ended child process.
package final class ChildProcess {
    /// What it is called in reports.
    package let name: String
    /// Its process id.
    package let pid: Int32
    /// The file that has its output.
    package let logPath: String
    private(set) var end: ChildEnd?
    /// Signals that were sent to end it, so that its end is no surprise.
    package var isExpectedToEnd = false
    private var isStopped = false
    private var logOffset: off_t = 0
    private var logTail: [UInt8] = []

    private static let guardian = "/usr/bin/setpriv"

    /// Starts `arguments[0]`, with its output in `logPath`. Throws when the system refuses.
    package init(_ name: String, _ arguments: [String], logPath: String) throws(SystemError) {
        self.name = name
        self.logPath = logPath
        var words = arguments
        if access(ChildProcess.guardian, X_OK) == 0 {
            words = [ChildProcess.guardian, "--pdeathsig", "KILL", "--"] + arguments
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, logPath, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        // A group of its own: a Ctrl-C of the terminal is for the driver alone, which then ends its children.
        posix_spawnattr_setpgroup(&attributes, 0)
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
        var child: pid_t = 0
        let status = ChildProcess.withCStrings(words) {
            posix_spawnp(&child, words[0], &actions, &attributes, $0, environ)
        }
        posix_spawn_file_actions_destroy(&actions)
        posix_spawnattr_destroy(&attributes)
        guard status == 0 else { throw SystemError("posix_spawn \(arguments[0])", code: status) }
        pid = child
        logOffset = 0
    }

    private static func withCStrings<Result>(
        _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        pointers.append(nil)
        return pointers.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else {
                preconditionFailure("the list ends with nil, so it is not empty")
            }
            return body(base)
        }
    }

    /// Whether it still runs; collects its end.
    package var isRunning: Bool {
        guard end == nil else { return false }
        var status: Int32 = 0
        let found = waitpid(pid, &status, WNOHANG)
        if found == pid { note(status) }
        return end == nil
    }

    /// How it ended; nil while it runs.
    package var ending: ChildEnd? { isRunning ? nil : end }

    private func note(_ status: Int32) {
        end = status & 0x7F == 0 ? .code(status >> 8 & 0xFF) : .signal(status & 0x7F)
    }

    /// Sends a signal; nothing when it has ended.
    package func signal(_ number: Int32) {
        guard isRunning else { return }
        if number == SIGKILL || number == SIGTERM { isExpectedToEnd = true }
        if number == SIGSTOP { isStopped = true }
        if number == SIGCONT { isStopped = false }
        kill(pid, number)
    }

    /// The scheduler's letter for its state: R, S, T (stopped) …
    package var schedulerState: String {
        guard isRunning, let stat = SmallFile.read("/proc/\(pid)/stat"), let name = stat.lastIndex(of: ")") else {
            return ""
        }
        return stat[stat.index(after: name)...].split(separator: " ").first.map(String.init) ?? ""
    }

    /// Ends it for good and waits, at most `patience` before SIGKILL.
    package func end(patience: Duration = .zero) {
        isExpectedToEnd = true
        guard isRunning else { return }
        if isStopped { kill(pid, SIGCONT) }
        let deadline = MonotonicTime.now() + patience
        if patience > .zero { kill(pid, SIGTERM) }
        while patience > .zero, isRunning, MonotonicTime.now() < deadline { usleep(10_000) }
        guard isRunning else { return }
        kill(pid, SIGKILL)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        note(status)
    }

    /// Complete lines of the log since the last call, at most 256 KiB of it.
    package func newLines() -> [String] {
        let descriptor = open(logPath, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 262_144)
        let count = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, logOffset) }
        guard count > 0 else { return [] }
        logOffset += off_t(count)
        logTail += bytes[..<count]
        var lines: [String] = []
        while let newline = logTail.firstIndex(of: 10) {
            lines.append(String(decoding: logTail[..<newline], as: UTF8.self))
            logTail.removeSubrange(...newline)
        }
        return lines
    }

    /// Resident bytes and open descriptors; nil when it is gone.
    package func sample() -> (resident: UInt64, descriptors: Int)? {
        guard let status = SmallFile.read("/proc/\(pid)/status"), let folder = opendir("/proc/\(pid)/fd") else {
            return nil
        }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        return (ProcessProbe.kibibytes("VmRSS:", in: status) * 1024, max(0, count - 2))
    }
}
