// The driver's end of a crowd: starts worker processes, which are this same program, sends them lines, takes their
// progress and reports. On the driver's loop; ends its processes whatever happens.

import Bytes
import Glibc
import LoadCore
import Reactor

/// The workers of a crowd.
final class CrowdFleet: ConnectionHandler {
    private final class Worker {
        let channel: LineChannel
        var progress = CrowdProgress()
        var result = WorkerResult()
        var hasTallied = false
        var hasReported = false
        init(_ channel: LineChannel) { self.channel = channel }
    }

    private let loop: Loop
    private var workers: [(id: ConnectionID, worker: Worker)] = []
    private var children: [ChildProcess] = []
    private var early = 0
    private var isEnding = false
    /// What clients did that is not the usual, since the last question.
    private(set) var tallies: [Int: SeatTally] = [:]

    init(_ loop: Loop) { self.loop = loop }

    /// Starts `count` processes; they are there when `isComplete`.
    func start(_ count: Int, folder: String) throws {
        let kind = loop.register(self)
        guard let any = SocketAddress(host: "127.0.0.1", port: 0) else { throw RigFailure("address") }
        let listener = try Listener.bind(any, shared: false, handler: kind)
        let port = listener.address.port ?? 0
        try loop.add(listener)
        let program = try CrowdFleet.ownPath()
        for number in 0..<count {
            children.append(
                try ChildProcess(
                    "crowd worker \(number)", [program, "crowd-worker", "\(port)"],
                    logPath: "\(folder)/crowd-\(number).log"))
        }
    }

    /// The path of this program.
    static func ownPath() throws -> String {
        var bytes = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink("/proc/self/exe", &bytes, bytes.count - 1)
        guard count > 0 else { throw RigFailure("cannot find the path of this program") }
        return String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Processes of the workers.
    var pids: [Int32] { children.map(\.pid) }
    /// Whether all workers have called.
    var isComplete: Bool { workers.count == children.count }
    /// Workers that ended before they were asked to.
    var hasLost: Bool { early > 0 }
    /// How many there are.
    var count: Int { workers.count }

    /// Sends a line to worker `number`.
    func tell(_ number: Int, _ line: String) { workers[number].worker.channel.send(line) }
    /// Sends a line to all.
    func tell(_ line: String) { for (_, worker) in workers { worker.channel.send(line) } }

    /// All progress together; `settled` counts the workers.
    var progress: CrowdProgress { workers.reduce(CrowdProgress()) { $0 + $1.worker.progress } }
    /// Progress of the first `count` workers.
    func progress(of count: Int) -> CrowdProgress {
        workers.prefix(count).reduce(CrowdProgress()) { $0 + $1.worker.progress }
    }

    /// Asks what each client has done; complete when `hasTallied`.
    func askTallies() {
        tallies = [:]
        for (_, worker) in workers { worker.hasTallied = false }
        tell("tally")
    }
    var hasTallied: Bool { workers.allSatisfy(\.worker.hasTallied) }

    /// Asks for everything that was counted; complete when `hasReported`.
    func askReports() {
        for (_, worker) in workers {
            worker.hasReported = false
            worker.result = WorkerResult()
        }
        tell("report")
    }
    var hasReported: Bool { workers.allSatisfy(\.worker.hasReported) }

    /// What all workers counted.
    var result: WorkerResult {
        var sum = WorkerResult()
        for (_, worker) in workers { for line in worker.result.lines { _ = sum.add(line) } }
        return sum
    }

    /// Ends all workers.
    func end() {
        isEnding = true
        for (id, _) in workers { loop.close(id) }
        loop.turn(wait: false)
        for child in children { child.end(patience: .milliseconds(500)) }
    }

    func opened(_ id: ConnectionID) { workers.append((id, Worker(LineChannel(loop, id)))) }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let worker = workers.first(where: { $0.id == id })?.worker else { return }
        for words in worker.channel.take(bytes) {
            switch words.first {
            case "progress": if let progress = CrowdProgress(words) { worker.progress = progress }
            case "tally": take(words.dropFirst().compactMap { Int($0) })
            case "tallied": worker.hasTallied = true
            case "reported": worker.hasReported = true
            default: _ = worker.result.add(words.joined(separator: " "))
            }
        }
    }

    private func take(_ numbers: [Int]) {
        for start in stride(from: 0, to: numbers.count - numbers.count % 4, by: 4) {
            var tally = SeatTally()
            tally.joins = numbers[start + 1]
            tally.leaves = numbers[start + 2]
            tally.isIn = numbers[start + 3] == 1
            tallies[numbers[start]] = tally
        }
    }

    func closed(_ id: ConnectionID, _ reason: CloseReason) { if !isEnding { early += 1 } }
}
