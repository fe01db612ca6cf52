// A worker process: holds its share of the connections on one loop and does what the coordinator says. They talk in
// lines of text over the worker's standard input and output:
//
//   in   plan KEY VALUE … | open | go NANOSECONDS | expect DELIVERIES | end of input: exit
//   out  progress OPENED FAILED LOST DELIVERED | ready | published ROOM PUBLISHER COUNT | stopped | results | done
//
// The main thread reads, the loop's thread does everything else. Lines are few and short; a run sends some thousands.

import Bytes
import Glibc
import Reactor
import Telemetry

/// Runs a worker.
package enum Worker {
    /// Serves the coordinator on standard input and output until it closes them; returns the exit code.
    package static func run() -> Int32 {
        var plan = LoadPlan()
        var run: (any WorkerRunning)?
        while let line = readLine() {
            let words = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
            switch words.first {
            case "plan" where words.count == 3:
                guard plan.set(words[1], String(words[2])) else { return refuse("unknown setting: \(line)") }
            case "open":
                do { run = try start(plan) } catch { return refuse("\(error)") }
            case "go":
                guard words.count == 2, let time = UInt64(words[1]), let run else { return refuse(line) }
                run.go(at: MonotonicTime(nanoseconds: time))
            case "expect":
                guard words.count == 2, let count = UInt64(words[1]), let run else { return refuse(line) }
                run.expect(count)
            default: return refuse("unknown line: \(line)")
            }
        }
        return 0
    }

    private static func refuse(_ text: String) -> Int32 {
        _ = SmallFile.writeAll("martlet-load worker: \(text)\n", to: 2)
        return 1
    }

    private static func start(_ plan: LoadPlan) throws(SystemError) -> any WorkerRunning {
        switch plan.mode {
        case .flood: try WorkerRun(plan: plan, driver: IdleDriver(plan: plan))
        case .echo: try WorkerRun(plan: plan, driver: EchoDriver(plan: plan))
        case .fanout: try WorkerRun(plan: plan, driver: FanoutDriver(plan: plan))
        }
    }
}

/// What the main thread asks of a run.
protocol WorkerRunning: Sendable {
    /// Begins the load at `start`.
    func go(at start: MonotonicTime)
    /// The load is over and this worker should have got `deliveries`: wait for them, report, end.
    func expect(_ deliveries: UInt64)
}

/// One run of a worker, all of it on its loop's thread but the three calls from outside.
final class WorkerRun<Driver: LoadDriver>: WorkerRunning, LetterHandler, @unchecked Sendable {
    // Sendable is sound: everything mutable is touched on the loop only; `go` and `expect` go through its mailbox.
    private let plan: LoadPlan
    private let loop: Loop
    private let registry: MetricRegistry
    private let driver: Driver
    private let pool: ConnectionPool<Driver>
    private var thread: LoopThread?
    private var pacer: Pacer?
    private var until = MonotonicTime(nanoseconds: 0)
    private var drainUntil = MonotonicTime(nanoseconds: 0)

    init(plan: LoadPlan, driver: Driver) throws(SystemError) {
        DescriptorLimit.raise()
        guard let targets = Targets(plan: plan) else { throw SystemError("address \(plan.host)", code: EINVAL) }
        self.plan = plan
        self.driver = driver
        registry = MetricRegistry(loops: 1, version: "load")
        loop = try Loop(metrics: registry.shard(0))
        pool = ConnectionPool(loop: loop, plan: plan, driver: driver, targets: targets)
        let pool = pool
        driver.send = { [unowned pool] index, bytes in pool.send(index, bytes) }
        pool.settled = { [unowned self] in
            tellProgress()
            tell(["ready"])
        }
        loop.setLetterHandler(self)
        loop.execute { [self] in
            self.pool.open()
            reportProgress()
        }
        thread = try LoopThread(loop, name: "load")
    }

    func go(at start: MonotonicTime) {
        loop.execute { [self] in
            loop.schedule(after: start.since(.now())) { [unowned self] in begin(start) }
        }
    }

    private func begin(_ start: MonotonicTime) {
        let from = start + .milliseconds(plan.warmup)
        let until = from + .milliseconds(plan.duration)
        self.until = until
        driver.start(at: start, measureFrom: from, until: until)
        if let pacing = driver.pacing {
            let pacer = Pacer(loop: loop, schedule: pacing)
            if pacer.start() { self.pacer = pacer } else { tell(["failure 1 no thread for the pacer"]) }
        }
        loop.schedule(after: until.since(.now())) { [unowned self] in
            // What was due before the end is sent, however late this timer fired: the count follows from the rate.
            driver.paced(now: until)
            driver.stop()
            pacer?.stop()
            tellProgress()
            tell(publishedLines + ["stopped"])
        }
    }

    func expect(_ deliveries: UInt64) {
        loop.execute { [self] in
            drainUntil = .now() + .milliseconds(plan.drain)
            awaitDeliveries(deliveries)
        }
    }

    private func awaitDeliveries(_ deliveries: UInt64) {
        guard driver.delivered < deliveries, .now() < drainUntil else {
            // One more moment for what should not come: a duplicate of the last message.
            loop.schedule(after: .milliseconds(deliveries == 0 ? 0 : 50)) { [unowned self] in report() }
            return
        }
        loop.schedule(after: .milliseconds(10)) { [unowned self] in awaitDeliveries(deliveries) }
    }

    private func report() {
        pool.finish()
        var result = WorkerResult()
        pool.collect(into: &result)
        driver.collect(into: &result)
        // Again, and now final: what was under way when sending stopped may have been refused since.
        tell(publishedLines + result.lines + ["done"])
    }

    private var publishedLines: [String] {
        driver.published.map { "published \($0.room) \($0.publisher) \($0.count)" }
    }

    func receive(_ letter: Letter) {
        if letter.kind == Pacer.letterKind { driver.paced(now: min(.now(), until)) }
    }

    private func reportProgress() {
        tellProgress()
        loop.schedule(after: .milliseconds(250)) { [unowned self] in reportProgress() }
    }

    private func tellProgress() {
        let progress = pool.progress
        tell(["progress \(progress.opened) \(progress.failed) \(progress.lost) \(driver.delivered)"])
    }

    private func tell(_ lines: [String]) {
        // The coordinator is gone when this fails; the main thread sees the end of its input and exits.
        _ = SmallFile.writeAll(lines.joined(separator: "\n") + "\n", to: 1)
    }
}
