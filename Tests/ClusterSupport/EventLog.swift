// What a process says, in order, and waiting for it. Written by the threads that read from processes, read by tests.
// Nothing polls: whoever waits is woken by the event, or by the end of its patience.

import Foundation
import Synchronization
import TestSupport

/// Events in the order in which they came.
package final class EventLog<Event: Sendable>: Sendable {
    private struct Waiter {
        var isSatisfied: (Event) -> Bool
        var continuation: CheckedContinuation<Event, any Error>
    }

    private struct State {
        var events: [Event] = []
        var isOver = false
        var waiters: [Int: Waiter] = [:]
        var nextWaiter = 0
    }

    private let name: String
    private let state = Mutex(State())

    /// A log that calls itself `name` in messages.
    package init(_ name: String) { self.name = name }

    /// Everything so far.
    package var all: [Event] { state.withLock { $0.events } }

    /// How many there are so far: the position from which later ones can be waited for.
    package var count: Int { state.withLock { $0.events.count } }

    /// Adds an event and wakes those who waited for it.
    package func append(_ event: Event) {
        let satisfied = state.withLock { state in
            guard !state.isOver else { return [CheckedContinuation<Event, any Error>]() }
            state.events.append(event)
            let numbers = state.waiters.filter { $0.value.isSatisfied(event) }.map(\.key)
            return numbers.compactMap { state.waiters.removeValue(forKey: $0)?.continuation }
        }
        for continuation in satisfied { continuation.resume(returning: event) }
    }

    /// No event will follow; those who still wait hear so.
    package func finish() {
        let waiters = state.withLock { state in
            state.isOver = true
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.continuation.resume(throwing: missing("it ended before")) }
    }

    /// Waits until it is certain that no event will follow.
    package func end(within patience: Duration = .seconds(30)) async throws {
        guard !state.withLock({ $0.isOver }) else { return }
        _ = try? await first("the end", from: .max, within: patience) { _ in false }
        guard state.withLock({ $0.isOver }) else { throw missing("it did not end") }
    }

    /// The first event for which `condition` holds, among those since position `start` and those to come.
    ///
    /// `condition` is called once for each event, in order, until it holds: it may count.
    @discardableResult
    package func first(
        _ what: String, from start: Int = 0, within patience: Duration = .seconds(30),
        where condition: @escaping @Sendable (Event) -> Bool
    ) async throws -> Event {
        let number = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        var alarm: Int?
        defer { if let alarm { AlarmClock.shared.cancel(alarm) } }
        return try await withCheckedThrowingContinuation { continuation in
            let outcome: Result<Event, any Error>? = state.withLock { state in
                if let event = state.events.dropFirst(start).first(where: condition) { return .success(event) }
                if state.isOver { return .failure(TestFailure("")) }
                state.waiters[number] = Waiter(isSatisfied: condition, continuation: continuation)
                return nil
            }
            switch outcome {
            case .success(let event): continuation.resume(returning: event)
            case .failure: continuation.resume(throwing: missing("it ended before \(what)"))
            case nil:
                alarm = AlarmClock.shared.set(after: patience) { [weak self] in
                    guard let self else { return }
                    let waiter = state.withLock { $0.waiters.removeValue(forKey: number) }
                    waiter?.continuation.resume(throwing: missing("\(what) never came"))
                }
            }
        }
    }

    private func missing(_ what: String) -> TestFailure {
        let last = all.suffix(12).map { "\($0)" }.joined(separator: "\n  ")
        return TestFailure("\(name): \(what); the last events were:\n  \(last)")
    }
}

extension Duration {
    /// In seconds, as Dispatch wants it.
    package var seconds: Double {
        let (whole, fraction) = components
        return Double(whole) + Double(fraction) / 1e18
    }
}

/// Asks again and again, shortly after each answer, until there is one; fails after `patience`.
package func eventually<Value>(
    _ what: String, within patience: Duration = .seconds(20), isolation: isolated (any Actor)? = #isolation,
    _ probe: () async throws -> Value?
) async throws -> Value {
    let end = ContinuousClock.now + patience
    while true {
        if let value = try await probe() { return value }
        guard ContinuousClock.now < end else { throw TestFailure("\(what): not within \(patience)") }
        await pause()
    }
}

/// Runs blocking code on a thread of its own, so that tests that wait do not take the threads of others.
package func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result(catching: body)) }
    }
}
