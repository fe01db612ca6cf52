// Child processes for tests. Foundation's Process lets parallel children inherit each other's pipes, so that reading to
// the end waits for strangers; here every descriptor is close-on-exec from its first moment.

import Foundation
import Glibc

/// A running child process with its standard output and error on sockets of ours.
final class Spawned {
    /// The process.
    let pid: Int32
    private let output: Int32
    private let errors: Int32
    private var status: Int32?

    /// Starts `path`; throws when the system refuses.
    init(_ path: String, _ arguments: [String]) throws {
        let (output, outputEnd) = try Spawned.makePair()
        let (errors, errorsEnd) = try Spawned.makePair()
        defer {
            close(outputEnd)
            close(errorsEnd)
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, outputEnd, 1)
        posix_spawn_file_actions_adddup2(&actions, errorsEnd, 2)
        // Threads of a test runner block signals, children inherit that, and then nothing but SIGKILL ends them.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var pointers: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        var environment: [UnsafeMutablePointer<CChar>?] =
            ProcessInfo.processInfo.environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in pointers + environment { free(pointer) } }
        var pid: pid_t = 0
        let status = posix_spawnp(&pid, path, &actions, &attributes, &pointers, &environment)
        guard status == 0 else { throw POSIXError(POSIXErrorCode(rawValue: status) ?? .EIO) }
        self.pid = pid
        self.output = output
        self.errors = errors
    }

    private static func makePair() throws -> (Int32, Int32) {
        var pair: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &pair) == 0 else { throw POSIXError(.EMFILE) }
        return (pair[0], pair[1])
    }

    /// Reads both outputs to their ends and waits for the process.
    func finish() -> (status: Int32, output: String, errors: String) {
        var texts: [Int32: [UInt8]] = [output: [], errors: []]
        var open = [output, errors]
        while !open.isEmpty {
            var descriptors = open.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            guard poll(&descriptors, nfds_t(descriptors.count), -1) > 0 else { continue }
            for entry in descriptors where entry.revents != 0 {
                if let bytes = Spawned.readSome(entry.fd) {
                    texts[entry.fd]? += bytes
                } else {
                    open.removeAll { $0 == entry.fd }
                }
            }
        }
        return (
            wait(), String(decoding: texts[output] ?? [], as: UTF8.self),
            String(decoding: texts[errors] ?? [], as: UTF8.self)
        )
    }

    /// The first line on standard error.
    func firstErrorLine() -> String {
        var line: [UInt8] = []
        while !line.contains(UInt8(ascii: "\n")), let more = Spawned.readSome(errors) { line += more }
        return String(decoding: line.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }

    /// Ends the process and waits for it.
    func terminate() {
        kill(pid, SIGTERM)
        _ = wait()
    }

    private func wait() -> Int32 {
        if let status { return status }
        var raw: Int32 = 0
        while waitpid(pid, &raw, 0) < 0, errno == EINTR {}
        let decoded = raw & 0x7F == 0 ? (raw >> 8) & 0xFF : -(raw & 0x7F)
        status = decoded
        return decoded
    }

    private static func readSome(_ descriptor: Int32) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        return count > 0 ? Array(bytes[..<count]) : nil
    }

    deinit {
        close(output)
        close(errors)
    }
}
