// Runs that keep every promise, also in ways that look odd: the checker must stay silent.

import Bytes
import LoadCore
import Testing
import VerifyCore

@Suite("The checker is silent about runs that keep the contract")
struct CheckerCleanTests {
    @Test("messages of two publishers, delivered to two subscribers, are clean")
    func plain() {
        let script = Script()
        script.join(0, at: 0)
        script.join(1, at: 0)
        for offset in UInt64(1)...200 {
            let id = script.publish(offset, Int(offset % 2))
            script.deliver(0, offset, id)
            script.deliver(1, offset, id)
        }
        #expect(script.broken() == [])
        #expect(script.checker.figures.deliveries == 400)
        #expect(script.checker.figures.ackedInCalm == 200)
    }

    @Test("a delivery may overtake the acknowledgement")
    func deliveryBeforeAck() {
        let script = Script()
        script.join(at: 0)
        let id = script.invoke()
        script.deliver(0, 1, id)
        script.ack(id, 1)
        #expect(script.broken() == [])
    }

    @Test("a resume that brings all that was missed continues the interval")
    func resume() {
        let script = Script()
        script.join(at: 0)
        script.deliver(0, 1, script.publish(1))
        script.drop()
        let missed = [script.publish(2), script.publish(3)]
        script.resume(
            since: script.position(1), at: script.position(3), recovered: true,
            backlog: [(2, missed[0]), (3, missed[1])])
        script.deliver(0, 4, script.publish(4))
        #expect(script.broken() == [])
        #expect(script.checker.figures.recovered == 1)
    }

    @Test("a repetition right behind a backlog is counted, not held against the server")
    func overlap() {
        let script = Script()
        script.join(at: 0)
        let first = script.publish(1)
        script.drop()
        script.resume(since: script.position(0), at: script.position(1), recovered: true, backlog: [(1, first)])
        script.deliver(0, 1, first)
        script.deliver(0, 2, script.publish(2))
        #expect(script.broken() == [])
        #expect(script.checker.figures.rawDuplicates == 1)
    }

    @Test("past the window recovered: false begins a new interval without a complaint")
    func pastWindow() {
        let script = Script()
        script.join(at: 0)
        script.drop()
        for offset in UInt64(1)...11 { script.publish(offset) }
        script.resume(since: script.position(0), at: script.position(11), recovered: false)
        script.deliver(0, 12, script.publish(12))
        #expect(script.broken() == [])
        #expect(script.checker.figures.notRecovered == 1)
    }

    @Test("a publish that was given up may be in once, late, or not at all")
    func unknown() {
        let script = Script()
        script.join(at: 0)
        let lateOne = script.invoke()
        script.checker.unknown(0, lateOne, now: script.now)
        let never = script.invoke()
        script.checker.unknown(0, never, now: script.now)
        let next = script.publish(1)
        script.deliver(0, 1, next)
        script.deliver(0, 2, lateOne)
        #expect(script.broken() == [])
    }

    @Test("an unanswered publish whose retry is acknowledged under its first offset is one message")
    func retry() {
        let script = Script()
        script.join(at: 0)
        let id = script.invoke()
        script.checker.unknown(0, id, now: script.now)
        script.deliver(0, 1, id)
        script.ack(id, 1)
        #expect(script.broken() == [])
    }

    @Test("after a loss of Redis' data a new epoch is legal for those who are told")
    func newEpoch() {
        let script = Script()
        script.join(at: 0)
        script.deliver(0, 1, script.publish(1))
        script.checker.enter(.fault, losesData: true, now: script.now)
        script.checker.told(0, 0, code: 2500, now: script.now)
        script.publish(1, 0, room: 0, "e1")
        script.resume(since: script.position(1), at: script.position(1, "e1"), recovered: false)
        script.checker.enter(.calm, now: script.now)
        script.deliver(0, 2, script.publish(2, 0, room: 0, "e1"))
        #expect(script.broken() == [])
    }

    @Test("a new epoch may vouch for the beginning that it shares with the old one")
    func alias() {
        let script = Script()
        script.join(0, at: 0)
        let first = script.publish(1)
        script.deliver(0, 1, first)
        script.checker.enter(.fault, losesData: true, now: script.now)
        script.drop()
        let second = script.publish(2, 0, room: 0, "e1")
        script.resume(
            since: script.position(1), at: script.position(2, "e1"), recovered: true, backlog: [(2, second)])
        script.checker.enter(.calm, now: script.now)
        script.read([(1, first), (2, second)], top: 2, "e1")
        #expect(script.broken() == [])
    }

    @Test("rooms without history may lose while something is broken")
    func atMostOnce() {
        let script = Script(.atMostOnce)
        script.join(at: 0)
        script.deliver(0, 0, script.publish(nil))
        script.checker.enter(.fault, now: script.now)
        script.publish(nil)
        script.checker.enter(.calm, now: script.now)
        script.deliver(0, 0, script.publish(nil))
        #expect(script.broken() == [])
    }

    @Test("rooms without history owe nothing to a subscriber that was away")
    func atMostOnceAway() {
        let script = Script(.atMostOnce)
        script.join(at: 0)
        script.deliver(0, 0, script.publish(nil))
        script.drop()
        script.publish(nil)
        script.join(at: 0)
        script.deliver(0, 0, script.publish(nil))
        #expect(script.broken() == [])
    }

    @Test("a trimmed history that holds the newest publications is whole")
    func trimmed() {
        let script = Script()
        var ids: [MessageID] = []
        for offset in UInt64(1)...15 { ids.append(script.publish(offset)) }
        script.read((6...15).map { (UInt64($0), ids[$0 - 1]) }, top: 15)
        #expect(script.broken() == [])
    }

    @Test("whoever was told that continuity is lost may get again what it had seen")
    func startsOver() {
        let script = Script()
        script.join(at: 0)
        let ids = (1...3).map { script.publish(UInt64($0)) }
        for (index, id) in ids.enumerated() { script.deliver(0, UInt64(index) + 1, id) }
        script.drop()
        // A claim that nobody can honour, at a gateway that lags.
        script.resume(since: Position(epoch: -1, offset: 3), at: script.position(1), recovered: false)
        script.deliver(0, 2, ids[1])
        script.deliver(0, 3, ids[2])
        #expect(script.broken() == [])
    }
}
