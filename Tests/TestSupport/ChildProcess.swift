// Runs the products of this build as processes of their own. They end with the object that started them.

import Glibc

/// Where the build has put its products: beside the running test executable.
package enum Products {
    /// The directory's path.
    package static func directory() throws -> String {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        guard count > 0 else { throw TestFailure("readlink: errno \(errno)") }
        let executable = String(decoding: path[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard let slash = executable.lastIndex(of: "/") else { throw TestFailure("no directory in \(executable)") }
        return String(executable[..<slash])
    }

    /// The path of an executable of this package; throws when it has not been built.
    package static func executable(_ name: String) throws -> String {
        let path = "\(try directory())/\(name)"
        guard access(path, X_OK) == 0 else { throw TestFailure("\(path) has not been built") }
        return path
    }
}

/// A child process whose output is read with deadlines.
package final class ChildProcess {
    /// Its process id.
    package let pid: Int32
    /// How it ended, as `waitpid` says it; nil while it runs.
    package private(set) var status: Int32?
    private var output: [Pipe] = []

    /// The streams that are read.
    package enum Stream: Int, Sendable { case output, error }

    private struct Pipe {
        let descriptor: Int32
        var bytes: [UInt8] = []
        var hasEnded = false
    }

    /// Starts `path`. The environment is the test's, with `environment` put over it.
    package init(_ path: String, _ arguments: [String] = [], environment: [String: String] = [:]) throws {
        var pipes: [(read: Int32, write: Int32)] = []
        for _ in 0..<2 {
            var ends: [Int32] = [0, 0]
            // A pair of sockets: closed in other children without a moment in which it is not.
            let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw TestFailure("socketpair: errno \(errno)") }
            pipes.append((ends[0], ends[1]))
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, pipes[0].write, 1)
        posix_spawn_file_actions_adddup2(&actions, pipes[1].write, 2)
        // Gateways in the test process block the signals that end a process: the child must not inherit that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var child: pid_t = 0
        let code = ChildProcess.withStrings([path] + arguments) { argv in
            ChildProcess.withStrings(ChildProcess.merged(environment)) { envp in
                posix_spawn(&child, path, &actions, &attributes, argv, envp)
            }
        }
        for pipe in pipes { close(pipe.write) }
        pid = child
        output = pipes.map { Pipe(descriptor: $0.read) }
        guard code == 0 else { throw TestFailure("posix_spawn \(path): errno \(code)") }
    }

    deinit {
        if status == nil {
            kill(pid, SIGKILL)
            var ended: Int32 = 0
            waitpid(pid, &ended, 0)
        }
        for pipe in output { close(pipe.descriptor) }
    }

    private static func merged(_ environment: [String: String]) -> [String] {
        var all: [String: String] = [:]
        var entry = environ
        while let pointer = entry.pointee {
            let text = String(cString: pointer)
            if let sign = text.firstIndex(of: "=") {
                all[String(text[..<sign])] = String(text[text.index(after: sign)...])
            }
            entry += 1
        }
        return all.merging(environment) { $1 }.map { "\($0.key)=\($0.value)" }
    }

    private static func withStrings<Value>(
        _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Value
    ) -> Value {
        var copies = strings.map { strdup($0) }
        copies.append(nil)
        defer { for copy in copies { free(copy) } }
        return copies.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { preconditionFailure("the list ends with nil") }
            return body(base)
        }
    }

    /// Sends a signal.
    package func signal(_ number: Int32) { if status == nil { kill(pid, number) } }

    /// Everything that a stream has said so far.
    package func text(_ stream: Stream) -> String {
        drain(Deadline(seconds: 0))
        return String(decoding: output[stream.rawValue].bytes, as: UTF8.self)
    }

    /// Waits for a line that satisfies `isWanted` and returns it.
    package func line(
        _ stream: Stream, _ deadline: Deadline = Deadline(), where isWanted: (Substring) -> Bool
    ) throws -> String {
        while true {
            let text = String(decoding: output[stream.rawValue].bytes, as: UTF8.self)
            // The last piece is no line yet.
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            if let line = lines.first(where: isWanted) { return String(line) }
            guard !output[stream.rawValue].hasEnded, !deadline.hasPassed else {
                throw TestFailure("the line did not come; the process said: \(text)")
            }
            drain(deadline)
        }
    }

    /// Waits for the end and returns the exit code, or the negated signal that ended the process.
    package func exitCode(_ deadline: Deadline = Deadline()) throws -> Int32 {
        while status == nil {
            var ended: Int32 = 0
            if waitpid(pid, &ended, WNOHANG) == pid { status = ended }
            guard status == nil else { break }
            guard !deadline.hasPassed else { throw TestFailure("the process does not end") }
            // A child that is reading the end of its own pipes' life must not block on a full one.
            drain(Deadline(seconds: 0.005))
        }
        drain(Deadline(seconds: 0))
        let ended = status ?? 0
        return ended & 0x7F == 0 ? ended >> 8 & 0xFF : -(ended & 0x7F)
    }

    /// Reads what comes on either stream, waiting for the first of it.
    private func drain(_ deadline: Deadline) {
        var entries = output.map { pollfd(fd: $0.hasEnded ? -1 : $0.descriptor, events: Int16(POLLIN), revents: 0) }
        guard poll(&entries, nfds_t(entries.count), deadline.left) > 0 else { return }
        for index in entries.indices where entries[index].revents != 0 {
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = read(output[index].descriptor, &chunk, chunk.count)
            if count > 0 { output[index].bytes += chunk[..<count] } else { output[index].hasEnded = true }
        }
    }
}
