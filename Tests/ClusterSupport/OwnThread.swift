// A thread for each test. Tests of other suites block the few threads that Swift's tasks share; one that measures the
// time that a process takes, or gives it a limit, must not wait for them. So these tests run on a thread of their own,
// and their alarms come from another one.

import Foundation
import Synchronization
package import Testing

/// Runs a test, with all its child tasks, on a thread of its own.
package struct OwnThread: TestTrait, SuiteTrait, TestScoping {
    package var isRecursive: Bool { true }

    package func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        guard testCase != nil else { return try await function() }
        let executor = ThreadExecutor()
        defer { executor.stop() }
        try await withTaskExecutorPreference(executor, operation: function)
    }
}

extension Trait where Self == OwnThread {
    /// The test runs on a thread of its own.
    package static var ownThread: OwnThread { OwnThread() }
}

/// Runs jobs one after the other on one thread.
final class ThreadExecutor: TaskExecutor {
    private struct State: ~Copyable {
        var jobs: [UnownedJob] = []
        var isStopped = false
    }

    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)

    init() { Thread.detachNewThread { [self] in run() } }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.jobs.append(job) }
        wake.signal()
    }

    /// Ends the thread when nothing is left to do.
    func stop() {
        state.withLock { $0.isStopped = true }
        wake.signal()
    }

    private func run() {
        while true {
            wake.wait()
            let (jobs, isStopped) = state.withLock { state in
                defer { state.jobs = [] }
                return (state.jobs, state.isStopped)
            }
            for job in jobs { job.runSynchronously(on: asUnownedTaskExecutor()) }
            if isStopped, jobs.isEmpty { return }
        }
    }
}

/// Calls back when a time has passed, from a thread that does nothing else.
final class AlarmClock: Sendable {
    static let shared = AlarmClock()

    private struct State {
        var alarms: [Int: (time: ContinuousClock.Instant, ring: @Sendable () -> Void)] = [:]
        var last = 0
        /// When the thread looks again by itself.
        var next = ContinuousClock.now
    }

    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)

    private init() { Thread.detachNewThread { [self] in run() } }

    /// Sets an alarm; returns its number.
    @discardableResult
    func set(after time: Duration, _ ring: @escaping @Sendable () -> Void) -> Int {
        let due = ContinuousClock.now + time
        let (number, isNext) = state.withLock { state in
            state.last += 1
            state.alarms[state.last] = (due, ring)
            let isNext = due < state.next
            if isNext { state.next = due }
            return (state.last, isNext)
        }
        if isNext { wake.signal() }
        return number
    }

    /// Forgets an alarm.
    func cancel(_ number: Int) { state.withLock { _ = $0.alarms.removeValue(forKey: number) } }

    private func run() {
        while true {
            let now = ContinuousClock.now
            let (due, next) = state.withLock { state in
                let due = state.alarms.filter { $0.value.time <= now }
                for number in due.keys { state.alarms[number] = nil }
                state.next = state.alarms.values.map(\.time).min() ?? now + .seconds(3600)
                return (due.values.map(\.ring), state.next)
            }
            for ring in due { ring() }
            _ = wake.wait(timeout: .now() + max(.zero, next - ContinuousClock.now).seconds)
        }
    }
}

/// Waits a moment before the next look at something that cannot be waited for.
package func pause(_ time: Duration = .milliseconds(20)) async {
    await withCheckedContinuation { continuation in
        AlarmClock.shared.set(after: time) { continuation.resume() }
    }
}
