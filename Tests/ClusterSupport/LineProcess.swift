// A process that a test talks with line by line, while others do the same: its lines are events of an EventLog. It
// inherits no environment, so that nothing of whoever runs the tests changes what it does; it is killed, by its id,
// when nobody needs it any more. Threads that block on its descriptors feed the logs.

import Foundation
import Synchronization
import TestSupport

/// A running program.
package final class LineProcess: Sendable {
    /// The lines of its standard output, unless `onLine` takes them.
    package let output: EventLog<String>
    /// The lines of its error output.
    package let errors: EventLog<String>
    /// Its exit code, or the negative number of the signal that ended it: one event.
    private let end: EventLog<Int32>
    private let input: Int32
    /// nil once it was waited for: the number may belong to another process then.
    private let id: Mutex<pid_t?>

    /// Starts `path`.
    ///
    /// - Parameter onLine: called for each line of the output, on a thread of its own.
    package init(
        _ path: String, _ arguments: [String], environment: [String] = [],
        onLine: (@Sendable (String) -> Void)? = nil
    ) throws {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        output = EventLog("\(name)'s output")
        errors = EventLog("\(name)'s error output")
        end = EventLog("\(name)'s end")
        let (childInput, ourInput) = try Self.channel()
        let (ourOutput, childOutput) = try Self.channel()
        let (ourErrors, childErrors) = try Self.channel()
        defer { for descriptor in [childInput, childOutput, childErrors] { close(descriptor) } }
        input = ourInput
        let started = try Self.spawn(path, arguments, environment, [childInput, childOutput, childErrors])
        id = Mutex(started)
        let (output, errors) = (output, errors)
        Self.read(ourOutput, then: output.finish) { if let onLine { onLine($0) } else { output.append($0) } }
        Self.read(ourErrors, then: errors.finish) { errors.append($0) }
        Thread.detachNewThread { [weak self, end] in
            // Without reaping, so that the number stays taken until nobody can send a signal to it any more.
            var information = siginfo_t()
            waitid(P_PID, id_t(started), &information, WEXITED | WNOWAIT)
            self?.id.withLock { $0 = nil }
            var status: Int32 = 0
            waitpid(started, &status, 0)
            end.append(status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F))
        }
    }

    deinit {
        signal(SIGKILL)
        close(input)
    }

    /// Writes to its input.
    package func type(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { send(input, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }

    /// Sends a signal, if it still runs.
    package func signal(_ number: Int32) {
        id.withLock { id in
            if let id { _ = kill(id, number) }
        }
    }

    /// Waits for the end; the exit code, or the negative number of the signal that ended it.
    @discardableResult
    package func exit(within patience: Duration = .seconds(30)) async throws -> Int32 {
        try await end.first("the end", within: patience) { _ in true }
    }

    // MARK: How it is done

    /// A socket pair rather than a pipe, because that can be born with close-on-exec: a pipe's end could leak into
    /// another test's process.
    private static func channel() throws -> (Int32, Int32) {
        var ends: [Int32] = [0, 0]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw TestFailure("no socket pair for a process") }
        return (ends[0], ends[1])
    }

    private static func read(
        _ descriptor: Int32, then finish: @escaping @Sendable () -> Void, onLine: @escaping @Sendable (String) -> Void
    ) {
        Thread.detachNewThread {
            var rest: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { break }
                rest += buffer[..<count]
                var start = 0
                while let newline = rest[start...].firstIndex(of: 0x0A) {
                    onLine(String(decoding: rest[start..<newline], as: UTF8.self))
                    start = newline + 1
                }
                rest.removeFirst(start)
            }
            if !rest.isEmpty { onLine(String(decoding: rest, as: UTF8.self)) }
            close(descriptor)
            finish()
        }
    }

    private static func spawn(
        _ path: String, _ arguments: [String], _ environment: [String], _ descriptors: [Int32]
    ) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (number, descriptor) in descriptors.enumerated() {
            posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(number))
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Signals as a shell leaves them, whatever the test runner does with its own.
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let base = ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/", "LC_ALL=C.UTF-8"]
        var argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = (base + environment).map { strdup($0) } + [nil]
        defer { for text in argv + envp { free(text) } }
        var id = pid_t()
        let status = posix_spawn(&id, path, &actions, &attributes, &argv, &envp)
        guard status == 0 else { throw TestFailure("\(path): \(String(cString: strerror(status)))") }
        return id
    }
}
