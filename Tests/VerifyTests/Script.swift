// A scripted run for the checker's tests: publishers and subscribers that do what the test says, with a clock that
// advances by a millisecond an event. Nothing here knows the invariants.

import Bytes
import LoadCore
import VerifyCore

/// Feeds a checker.
final class Script {
    let checker: Checker
    private(set) var now = MonotonicTime(nanoseconds: 1_000_000_000)
    private var sent: [[Int]]
    let epoch: String

    init(_ plan: CheckerPlan = .small, epoch: String = "e0") {
        checker = Checker(plan, now: now)
        sent = Array(repeating: Array(repeating: 0, count: plan.publishers + 1), count: plan.rooms)
        self.epoch = epoch
    }

    func tick(_ milliseconds: Int = 1) { now = now + .milliseconds(milliseconds) }

    func epochNumber(_ room: Int = 0, _ name: String? = nil) -> Int32 {
        Array((name ?? epoch).utf8).withUnsafeBytes { checker.epoch(room, $0) }
    }

    func position(_ offset: UInt64, _ name: String? = nil, room: Int = 0) -> Position {
        Position(epoch: epochNumber(room, name), offset: offset)
    }

    /// Sends the publisher's next message and returns its name.
    @discardableResult
    func invoke(_ publisher: Int = 0, room: Int = 0) -> MessageID {
        tick()
        sent[room][publisher] += 1
        let id = MessageID(publisher, sent[room][publisher])
        checker.invoked(room, id, now: now)
        return id
    }

    func ack(_ id: MessageID, _ offset: UInt64?, _ name: String? = nil, room: Int = 0) {
        tick()
        checker.acked(room, id, at: offset.map { position($0, name, room: room) }, now: now)
    }

    /// Sends and acknowledges.
    @discardableResult
    func publish(_ offset: UInt64?, _ publisher: Int = 0, room: Int = 0, _ name: String? = nil) -> MessageID {
        let id = invoke(publisher, room: room)
        ack(id, offset, name, room: room)
        return id
    }

    func join(_ subscriber: Int = 0, at offset: UInt64, room: Int = 0, _ name: String? = nil) {
        tick()
        checker.subscribing(subscriber, room, since: nil, now: now)
        checker.subscribed(subscriber, room, SubscribeOutcome(position: position(offset, name, room: room)), now: now)
    }

    /// Asks for what came after `since`; the server answers with `outcome` and `backlog`.
    func resume(
        _ subscriber: Int = 0, since: Position, at: Position, recovered: Bool,
        backlog: [(UInt64, MessageID)] = [], room: Int = 0
    ) {
        tick()
        checker.subscribing(subscriber, room, since: since, now: now)
        answer(subscriber, at: at, recovered: recovered, backlog: backlog, room: room)
    }

    func answer(
        _ subscriber: Int = 0, at: Position, recovered: Bool, backlog: [(UInt64, MessageID)] = [], room: Int = 0
    ) {
        tick()
        let outcome = SubscribeOutcome(position: at, recovered: recovered, wasRecovering: true)
        checker.subscribed(subscriber, room, outcome, now: now)
        for (offset, id) in backlog { deliver(subscriber, offset, id, room: room, isBacklog: true) }
        checker.caughtUp(subscriber, room, now: now)
    }

    func deliver(
        _ subscriber: Int = 0, _ offset: UInt64, _ id: MessageID, room: Int = 0, writtenIn: Int? = nil,
        isBacklog: Bool = false
    ) {
        tick()
        let mark = Marker(
            time: now.nanoseconds, room: writtenIn ?? room, publisher: id.publisher, sequence: UInt64(id.sequence))
        checker.delivered(subscriber, room, offset: offset, mark, isBacklog: isBacklog, now: now)
    }

    func drop(_ subscriber: Int = 0) {
        tick()
        checker.closed(subscriber, code: nil, now: now)
    }

    func read(_ entries: [(UInt64, MessageID?)], top: UInt64, _ name: String? = nil, room: Int = 0, writtenIn: Int = 0)
    {
        tick()
        let list = entries.map { offset, id in
            (
                offset: offset,
                mark: id.map {
                    Marker(time: 0, room: writtenIn, publisher: $0.publisher, sequence: UInt64($0.sequence))
                }
            )
        }
        checker.historyRead(room, gateway: 0, position(top, name, room: room), list, now: now)
    }

    /// Ends the run and returns the names of what was broken.
    func broken() -> [Invariant] {
        tick(5000)
        checker.finish(now: now)
        return Invariant.allCases.filter { checker.counts[$0, default: 0] > 0 }
    }
}

extension CheckerPlan {
    /// Two rooms with history of 10, two subscribers, two publishers.
    static var small: CheckerPlan {
        var plan = CheckerPlan()
        plan.rooms = 2
        plan.subscribers = 2
        plan.publishers = 2
        plan.historySize = 10
        return plan
    }

    /// The same without history.
    static var atMostOnce: CheckerPlan {
        var plan = small
        plan.hasHistory = false
        return plan
    }
}
