// The coordinator's end of one worker process: starts it, sends it lines, takes its lines apart. Single-threaded;
// bounded by the worker, which is this same program.

import Glibc

/// A worker process as the coordinator sees it.
final class WorkerHandle {
    /// The worker's number.
    let number: Int
    /// Its process.
    let pid: Int32
    /// Where its lines come from; -1 after the end.
    private(set) var output: Int32
    private var input: Int32
    private var partial: [UInt8] = []

    /// Connections joined, failed, lost since, and deliveries, as last told.
    private(set) var progress: (opened: Int, failed: Int, lost: Int, delivered: UInt64) = (0, 0, 0, 0)
    private(set) var isReady = false
    private(set) var isStopped = false
    private(set) var isDone = false
    /// Messages accepted, by room and publisher, as last told.
    private(set) var published: [PublisherID: UInt64] = [:]

    /// A publisher over all workers.
    struct PublisherID: Hashable {
        var room: Int
        var number: Int
    }

    private(set) var result = WorkerResult()

    /// Starts `executable worker` with the plan's share `number`; nil when the system refuses.
    init?(number: Int, executable: String, plan: LoadPlan) {
        var toWorker: (Int32, Int32) = (-1, -1)
        var fromWorker: (Int32, Int32) = (-1, -1)
        guard WorkerHandle.makePipe(&toWorker), WorkerHandle.makePipe(&fromWorker) else { return nil }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, toWorker.0, 0)
        posix_spawn_file_actions_adddup2(&actions, fromWorker.1, 1)
        var child: pid_t = 0
        let status = WorkerHandle.withCStrings([executable, "worker"]) { arguments in
            WorkerHandle.withCStrings(WorkerHandle.environment()) { environment in
                posix_spawn(&child, executable, &actions, nil, arguments, environment)
            }
        }
        posix_spawn_file_actions_destroy(&actions)
        close(toWorker.0)
        close(fromWorker.1)
        self.number = number
        pid = child
        input = toWorker.1
        output = fromWorker.0
        guard status == 0 else {
            end()
            return nil
        }
        var share = plan
        share.worker = number
        tell(share.lines)
    }

    private static func makePipe(_ ends: inout (Int32, Int32)) -> Bool {
        var pair: [Int32] = [-1, -1]
        guard pipe(&pair) == 0 else { return false }
        // This program has one thread here, so nothing can be spawned between the two calls.
        for end in pair where fcntl(end, F_SETFD, FD_CLOEXEC) != 0 { return false }
        ends = (pair[0], pair[1])
        return true
    }

    private static func environment() -> [String] {
        (SmallFile.read("/proc/self/environ") ?? "").split(separator: "\0").map(String.init)
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

    /// Sends lines; a worker that is gone takes nothing.
    func tell(_ lines: [String]) { _ = SmallFile.writeAll(lines.joined(separator: "\n") + "\n", to: input) }

    /// Reads what has come; false at the end of the worker's output.
    func readLines() -> Bool {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = bytes.withUnsafeMutableBytes { read(output, $0.baseAddress, $0.count) }
        guard count > 0 else { return count < 0 && errno == EINTR }
        partial += bytes[..<count]
        while let newline = partial.firstIndex(of: UInt8(ascii: "\n")) {
            take(String(decoding: partial[..<newline], as: UTF8.self))
            partial.removeSubrange(...newline)
        }
        return true
    }

    private func take(_ line: String) {
        let words = line.split(separator: " ").map(String.init)
        switch words.first {
        case "progress" where words.count == 5:
            progress = (
                Int(words[1]) ?? 0, Int(words[2]) ?? 0, Int(words[3]) ?? 0, UInt64(words[4]) ?? 0
            )
        case "published" where words.count == 4:
            published[PublisherID(room: Int(words[1]) ?? 0, number: Int(words[2]) ?? 0)] = UInt64(words[3]) ?? 0
        case "ready": isReady = true
        case "stopped": isStopped = true
        case "done": isDone = true
        default: _ = result.add(line)
        }
    }

    /// Closes the pipes, which ends the worker, and waits for it.
    func end() {
        if input >= 0 { close(input) }
        if output >= 0 { close(output) }
        input = -1
        output = -1
        if pid > 0 {
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        }
    }
}
