// Runs a load: starts the workers, lets all of them open their connections, starts them at one moment, reads the
// server's and the tool's processor time at the two ends of the measured stretch, tells every worker how many
// deliveries to wait for, and adds up what they found. Single-threaded, driven by poll(2).

import Bytes
import Glibc
import Reactor

/// Why a run could not be made. What a run found wrong is no error but part of its outcome.
package enum RunFailure: Error, CustomStringConvertible, Equatable {
    /// The plan cannot be carried out.
    case plan(String)
    /// A process of the tool failed.
    case worker(String)
    /// The server's process cannot be read.
    case process(String)

    package var description: String {
        switch self {
        case .plan(let text), .worker(let text), .process(let text): text
        }
    }
}

/// Carries out one plan.
package final class Coordinator {
    /// Failures without one success after which opening is given up: the server is not there.
    static let hopelessLimit = 200

    private let plan: LoadPlan
    private let pids: [Int32]
    private let progress: ProgressLine
    private var workers: [WorkerHandle] = []
    private var outcome: RunOutcome

    /// A coordinator for `plan` that watches the server's processes `pids`.
    package init(plan: LoadPlan, pids: [Int32], progress: ProgressLine) {
        self.plan = plan
        self.pids = pids
        self.progress = progress
        outcome = RunOutcome(plan: plan, watched: !pids.isEmpty)
    }

    /// Carries the plan out; `executable` is this program.
    package func run(executable: String = "/proc/self/exe") throws(RunFailure) -> RunOutcome {
        signal(SIGPIPE, SIG_IGN)
        defer {
            for worker in workers { worker.end() }
            progress.clear()
        }
        outcome.serverBefore = try sampleServer()
        for number in 0..<max(1, plan.processes) {
            guard let worker = WorkerHandle(number: number, executable: executable, plan: plan) else {
                throw .worker("cannot start worker \(number): \(String(cString: strerror(errno)))")
            }
            workers.append(worker)
        }
        let openingSince = MonotonicTime.now()
        for worker in workers { worker.tell(["open"]) }
        let isHopeless = try open()
        outcome.openingTime = MonotonicTime.now().since(openingSince)
        outcome.serverOpened = try sampleServer()
        let allJoined = workers.allSatisfy { $0.progress.failed == 0 }
        if isHopeless || (plan.mode != .flood && !allJoined) {
            // A room that is not complete, or no connection at all: there is nothing to measure.
            try finish(expecting: workers.map { _ in 0 })
        } else {
            try load()
        }
        return outcome
    }

    private func open() throws(RunFailure) -> Bool {
        var isHopeless = false
        try wait(until: nil) {
            let opened = workers.reduce(0) { $0 + $1.progress.opened }
            let failed = workers.reduce(0) { $0 + $1.progress.failed }
            progress.show("opening  \(opened) of \(plan.connections)" + (failed > 0 ? "  failed \(failed)" : ""))
            isHopeless = opened == 0 && failed >= Coordinator.hopelessLimit
            return isHopeless || workers.allSatisfy(\.isReady)
        }
        return isHopeless
    }

    private func load() throws(RunFailure) {
        let start = MonotonicTime.now() + .milliseconds(50)
        for worker in workers { worker.tell(["go \(start.nanoseconds)"]) }
        let from = start + .milliseconds(plan.warmup)
        let until = from + .milliseconds(plan.duration)
        try show("warming up", until: from)
        let began = MonotonicTime.now()
        outcome.serverFrom = try sampleServer()
        outcome.toolFrom = sampleTool()
        try show(plan.mode == .flood ? "holding" : "measuring", until: until)
        outcome.serverUntil = try sampleServer()
        outcome.toolUntil = sampleTool()
        outcome.measured = MonotonicTime.now().since(began)
        try wait(until: .now() + .seconds(10)) { workers.allSatisfy(\.isStopped) }
        guard workers.allSatisfy(\.isStopped) else { throw .worker("a worker does not stop") }
        try finish(expecting: accountForPublished())
    }

    private func show(_ phase: String, until: MonotonicTime) throws(RunFailure) {
        try wait(until: until) {
            let left = JSONText.short((Double(until.since(.now()).wholeMilliseconds) / 100).rounded() / 10)
            let delivered = workers.reduce(0) { $0 + $1.progress.delivered }
            let lost = workers.reduce(0) { $0 + $1.progress.lost }
            var line = "\(phase)  \(left) s left"
            if plan.mode != .flood { line += "  delivered \(delivered)" }
            progress.show(line + (lost > 0 ? "  connections lost \(lost)" : ""))
            return false
        }
    }

    /// What every worker should have got, from what all publishers say they sent.
    @discardableResult
    private func accountForPublished() -> [UInt64] {
        if plan.mode == .echo {
            let shares = workers.map { $0.published.values.reduce(0, +) }
            outcome.published = shares.reduce(0, +)
            outcome.expected = outcome.published
            return shares
        }
        var ofRoom: [Int: UInt64] = [:]
        for (publisher, count) in workers.flatMap(\.published) { ofRoom[publisher.room, default: 0] += count }
        outcome.published = ofRoom.values.reduce(0, +)
        let shares = workers.map { worker in
            var own = plan
            own.worker = worker.number
            return own.ownConnections.reduce(UInt64(0)) { $0 + (ofRoom[plan.room(of: $1)] ?? 0) }
        }
        outcome.expected = shares.reduce(0, +)
        return shares
    }

    private func finish(expecting shares: [UInt64]) throws(RunFailure) {
        for (worker, share) in zip(workers, shares) { worker.tell(["expect \(share)"]) }
        try wait(until: .now() + .milliseconds(plan.drain) + .seconds(20)) {
            progress.show("waiting for what is under way")
            return workers.allSatisfy(\.isDone)
        }
        guard workers.allSatisfy(\.isDone) else { throw .worker("a worker does not report") }
        accountForPublished()
        for worker in workers {
            for line in worker.result.lines { _ = outcome.result.add(line) }
        }
    }

    // MARK: Waiting and watching

    /// Takes the workers' lines until `isOver` says so or `deadline` is reached.
    private func wait(until deadline: MonotonicTime?, _ isOver: () -> Bool) throws(RunFailure) {
        while !isOver() {
            let left = deadline.map { $0.since(.now()).wholeNanoseconds } ?? 100_000_000
            guard left > 0 else { return }
            var descriptors = workers.map { pollfd(fd: $0.output, events: Int16(POLLIN), revents: 0) }
            let timeout = Int32(clamping: min(100, (left + 999_999) / 1_000_000))
            guard poll(&descriptors, nfds_t(descriptors.count), timeout) > 0 else { continue }
            for (index, entry) in descriptors.enumerated() where entry.revents != 0 {
                guard workers[index].readLines() else { throw .worker("worker \(index) ended before the run did") }
            }
        }
    }

    private func sampleServer() throws(RunFailure) -> ProcessSample {
        guard let sample = ProcessProbe.sample(pids) else {
            throw .process(
                "cannot read /proc of the server's processes \(pids.map(String.init).joined(separator: ", "))")
        }
        return sample
    }

    private func sampleTool() -> ProcessSample { ProcessProbe.sample(workers.map(\.pid)) ?? ProcessSample() }
}
