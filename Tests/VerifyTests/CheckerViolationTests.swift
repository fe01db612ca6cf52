// Each promise is broken in a scripted run, and exactly its name must be shown.

import Bytes
import LoadCore
import Testing
import VerifyCore

@Suite("The checker names exactly the promise that was broken")
struct CheckerViolationTests {
    @Test("I1: an acknowledged message that a live subscriber never gets is lost")
    func lostAtTheEnd() {
        let script = Script()
        script.join(0, at: 0)
        script.join(1, at: 0)
        let id = script.publish(1)
        script.deliver(1, 1, id)
        #expect(script.broken() == [.lost])
        #expect(script.checker.counts == [.lost: 1])
    }

    @Test("I1: recovered: false for what is still there is a loss")
    func refusedInsideWindow() {
        let script = Script()
        script.join(at: 0)
        script.drop()
        script.publish(1)
        script.resume(since: script.position(0), at: script.position(1), recovered: false)
        #expect(script.broken() == [.lost])
    }

    @Test("I1: at the edge of the window one publication decides")
    func windowEdge() {
        for (count, expected) in [(10, [Invariant.lost]), (11, [])] {
            let script = Script()
            script.join(at: 0)
            script.drop()
            for offset in 1...count { script.publish(UInt64(offset)) }
            script.resume(since: script.position(0), at: script.position(UInt64(count)), recovered: false)
            #expect(script.broken() == expected, "\(count) publications behind a history of 10")
        }
    }

    @Test("I1: a room without history owes what was sent and acknowledged in calm")
    func lostInCalm() {
        let script = Script(.atMostOnce)
        script.join(at: 0)
        script.deliver(0, 0, script.publish(nil))
        script.publish(nil)
        script.deliver(0, 0, script.publish(nil))
        #expect(script.broken() == [.lost])
    }

    @Test("I1: a room without history owes the last message, too")
    func lostTailInCalm() {
        let script = Script(.atMostOnce)
        script.join(at: 0)
        script.deliver(0, 0, script.publish(nil))
        script.publish(nil)
        #expect(script.broken() == [.lost])
    }

    @Test("I2: an offset that is passed over without a word is a silent gap")
    func silentGap() {
        let script = Script()
        script.join(at: 0)
        script.invoke(1)
        let second = script.publish(2)
        script.deliver(0, 2, second)
        #expect(script.checker.counts == [.silentGap: 1])
    }

    @Test("I2: two deliveries in the wrong order are gaps, no duplicates")
    func swapped() {
        let script = Script()
        script.join(at: 0)
        let first = script.publish(1, 0)
        let second = script.publish(2, 1)
        script.deliver(0, 2, second)
        script.deliver(0, 1, first)
        script.deliver(0, 3, script.publish(3))
        #expect(script.broken() == [.silentGap])
    }

    @Test("I3: a live delivery that comes twice is a duplicate")
    func duplicate() {
        let script = Script()
        script.join(at: 0)
        let id = script.publish(1)
        script.deliver(0, 1, id)
        script.deliver(0, 1, id)
        #expect(script.broken() == [.duplicate])
    }

    @Test("I3: a retry that was published again has two offsets in one epoch")
    func retriedTwice() {
        let script = Script()
        script.join(at: 0)
        let id = script.invoke()
        script.deliver(0, 1, id)
        script.checker.unknown(0, id, now: script.now)
        script.ack(id, 2)
        #expect(script.checker.counts == [.duplicate: 1])
    }

    @Test("I3: rooms without history deliver once as well")
    func duplicateAtMostOnce() {
        let script = Script(.atMostOnce)
        script.join(at: 0)
        let id = script.publish(nil)
        script.deliver(0, 0, id)
        script.deliver(0, 0, id)
        #expect(script.broken() == [.duplicate])
    }

    @Test("I4: two observers that see different messages at one offset contradict each other")
    func twoContents() {
        let script = Script()
        script.join(0, at: 0)
        script.join(1, at: 0)
        script.deliver(0, 1, script.publish(1))
        let other = script.invoke(1)
        script.deliver(1, 1, other)
        #expect(script.broken() == [.inconsistentOffset])
    }

    @Test("I4: an offset that is used again after a loss is caught")
    func reused() {
        let script = Script()
        script.join(at: 0)
        script.deliver(0, 1, script.publish(1))
        script.checker.enter(.fault, losesData: true, now: script.now)
        let again = script.invoke(1)
        script.deliver(0, 1, again)
        #expect(script.broken() == [.inconsistentOffset])
    }

    @Test("I4: an offset beyond all that was sent is refused and sizes nothing")
    func absurdOffset() {
        let script = Script()
        script.publish(1 << 60)
        #expect(script.broken() == [.inconsistentOffset])
    }

    @Test("I5: a message that nobody sent is a phantom")
    func phantom() {
        for id in [MessageID(0, 2), MessageID(0, 0), MessageID(7, 1), MessageID(0, 1 << 38)] {
            let script = Script()
            script.join(at: 0)
            script.deliver(0, 1, script.publish(1))
            script.deliver(0, 2, id)
            #expect(script.broken() == [.phantom], "\(id)")
        }
    }

    @Test("I5: error 120 means that nothing was published, before or after the error")
    func refusedButDelivered() {
        for isLate in [false, true] {
            let script = Script()
            script.join(at: 0)
            let id = script.invoke()
            if isLate { script.deliver(0, 1, id) }
            script.checker.refused(0, id, now: script.now)
            if !isLate { script.deliver(0, 1, id) }
            #expect(script.broken() == [.phantom])
        }
    }

    @Test("I5: the final history must not hold what was refused")
    func refusedInHistory() {
        let script = Script()
        let id = script.invoke()
        script.checker.refused(0, id, now: script.now)
        script.read([(1, id)], top: 1)
        #expect(script.broken() == [.phantom])
    }

    @Test("I6: a publisher's messages in the wrong order are caught whatever the offsets say")
    func publisherOrder() {
        let script = Script()
        script.join(at: 0)
        let first = script.invoke()
        let second = script.invoke()
        script.deliver(0, 1, second)
        script.deliver(0, 2, first)
        #expect(script.broken().contains(.publisherOrder))
        #expect(script.checker.counts[.publisherOrder] == 1)
        #expect(Set(script.checker.counts.keys).subtracting([.publisherOrder, .errorVisibility]).isEmpty)
    }

    @Test("I6: rooms without history keep the order of a publisher")
    func publisherOrderAtMostOnce() {
        let script = Script(.atMostOnce)
        script.checker.enter(.fault, now: script.now)
        script.join(at: 0)
        let first = script.publish(nil)
        let second = script.publish(nil)
        script.deliver(0, 0, second)
        script.deliver(0, 0, first)
        #expect(script.broken() == [.publisherOrder])
    }

    @Test("I7: what was acknowledged before another was sent has the lower offset")
    func realTimeOrder() {
        let script = Script()
        script.publish(2, 0)
        script.publish(1, 1)
        #expect(script.broken() == [.realTimeOrder])
    }

    @Test("I8: an acknowledged message must be in the history afterwards")
    func notInHistory() {
        let script = Script()
        let first = script.publish(1)
        script.publish(2)
        script.read([(1, first)], top: 1)
        #expect(script.broken() == [.ackHonesty])
    }

    @Test("I8: a history with a hole is incomplete")
    func holeInHistory() {
        let script = Script()
        let ids = (1...3).map { script.publish(UInt64($0)) }
        script.read([(1, ids[0]), (3, ids[2])], top: 3)
        #expect(script.broken() == [.ackHonesty])
    }

    @Test("I8: an acknowledgement in a room with history tells the place")
    func ackWithoutPlace() {
        let script = Script()
        script.publish(nil)
        #expect(script.broken() == [.ackHonesty])
    }

    @Test("I8: an epoch must not change while nothing is lost")
    func needlessEpoch() {
        let script = Script()
        script.publish(1)
        script.publish(1, 0, room: 0, "e1")
        #expect(script.broken() == [.ackHonesty])
    }

    @Test("I8: whoever saw the old epoch must be told of the new one")
    func notTold() {
        let script = Script()
        script.join(at: 0)
        script.deliver(0, 1, script.publish(1))
        script.checker.enter(.fault, losesData: true, now: script.now)
        script.publish(1, 1, room: 0, "e1")
        #expect(script.broken() == [.ackHonesty])
    }

    @Test("I9: recovered: true with a piece missing, at the end, in the middle, or all of it")
    func partialBacklog() {
        for kept in [[1, 2], [1, 3], [2, 3], []] {
            let script = Script()
            script.join(at: 0)
            script.drop()
            let ids = (1...3).map { script.publish(UInt64($0)) }
            script.resume(
                since: script.position(0), at: script.position(3), recovered: true,
                backlog: kept.map { (UInt64($0), ids[$0 - 1]) })
            #expect(script.broken() == [.resumeHonesty], "kept \(kept)")
        }
    }

    @Test(
        "a recovery that stops below what had been acknowledged is late; if the rest never comes, it is lost",
        arguments: [true, false])
    func staleTop(comes: Bool) {
        let script = Script()
        script.join(at: 0)
        script.drop()
        let ids = (1...2).map { script.publish(UInt64($0)) }
        script.resume(since: script.position(0), at: script.position(1), recovered: true, backlog: [(1, ids[0])])
        #expect(script.checker.figures.staleTops == 1)
        let isClean = script.checker.isClean
        #expect(isClean)
        if comes { script.deliver(0, 2, ids[1]) }
        #expect(script.broken() == (comes ? [] : [.lost]))
    }

    @Test("I9: a forged epoch, a future offset and a window that has passed cannot be recovered")
    func impossible() {
        let script = Script()
        for offset in UInt64(1)...11 { script.publish(offset) }
        script.resume(since: Position(epoch: -1, offset: 5), at: script.position(11), recovered: true)
        #expect(script.checker.counts == [.resumeHonesty: 1])
        script.resume(1, since: script.position(12), at: script.position(11), recovered: true)
        #expect(script.checker.counts == [.resumeHonesty: 2])
        script.resume(1, since: script.position(0), at: script.position(11), recovered: true)
        #expect(script.checker.counts == [.resumeHonesty: 3])
        #expect(script.broken() == [.resumeHonesty])
    }

    @Test("I9: whoever is let in below its own position, which was acknowledged, was served by somebody who lags")
    func letInBelow() {
        for (claim, expected) in [(UInt64(3), [Invariant.resumeHonesty]), (4, [])] {
            let script = Script()
            script.join(1, at: 0)
            for offset in UInt64(1)...3 { script.deliver(1, offset, script.publish(offset)) }
            script.resume(since: script.position(claim), at: script.position(2), recovered: false)
            script.deliver(0, 3, MessageID(0, 3))
            #expect(script.broken() == expected, "claim \(claim)")
        }
    }

    @Test("I9: another epoch cannot be recovered while nothing was lost")
    func otherEpoch() {
        let script = Script()
        _ = script.epochNumber(0, "older")
        script.publish(1)
        script.resume(since: script.position(0, "older"), at: script.position(1), recovered: true)
        #expect(script.broken() == [.resumeHonesty])
    }

    @Test("I8: an epoch that changes after the fault that lost data is over, and another one has begun, is needless")
    func lateEpoch() {
        let script = Script()
        script.checker.enter(.fault, losesData: true, now: script.now)
        script.checker.enter(.calm, now: script.now)
        script.publish(1)
        script.checker.enter(.fault, now: script.now)
        script.publish(1, 0, room: 0, "e1")
        #expect(script.broken() == [.ackHonesty])
    }

    @Test("I9: whoever asks for recovery is told so, whatever comes of it")
    func notEchoed() {
        let script = Script()
        script.join(at: 0)
        script.drop()
        for offset in UInt64(1)...11 { script.publish(offset) }
        script.checker.subscribing(0, 0, since: script.position(0), now: script.now)
        script.checker.subscribed(0, 0, SubscribeOutcome(position: script.position(11)), now: script.now)
        #expect(script.broken() == [.resumeHonesty])
    }

    @Test("I10: a publish that never completes is seen at the end, one without an answer at once")
    func silence() {
        let script = Script()
        let id = script.invoke()
        script.tick(10_000)
        #expect(script.broken() == [.errorVisibility])
        let other = Script()
        let second = other.invoke()
        other.checker.silent(0, second, gateway: 1, since: other.now, now: other.now + .seconds(7))
        other.checker.unknown(0, second, now: other.now)
        #expect(other.broken() == [.errorVisibility])
        _ = id
    }

    @Test("I10: a subscriber that does not get back into its room is seen")
    func notBack() {
        let script = Script()
        script.join(at: 0)
        script.drop()
        #expect(script.broken() == [.errorVisibility])
    }

    @Test("I14: a process that ends by itself, and one that reports a bug")
    func crash() {
        let script = Script()
        script.checker.exited("gateway 1", "signal 5", now: script.now)
        script.checker.complained("gateway 1", "Fatal error: index out of range", now: script.now)
        #expect(script.checker.counts == [.crash: 2])
        #expect(script.broken() == [.crash])
    }

    @Test("I15: slow deliveries in calm, not those during a fault")
    func latency() {
        for phase in [Phase.calm, .fault] {
            let script = Script()
            script.join(at: 0)
            script.checker.enter(phase, now: script.now)
            let id = script.publish(1)
            script.tick(3000)
            script.deliver(0, 1, id)
            #expect(script.broken() == (phase == .calm ? [.latency] : []))
        }
    }

    @Test("I16: a message of one room in another, and one for somebody who is not in the room")
    func isolation() {
        let script = Script()
        script.join(0, at: 0)
        script.join(0, at: 0, room: 1)
        let id = script.publish(1, 0, room: 1)
        script.deliver(0, 1, id, room: 0, writtenIn: 1)
        #expect(script.checker.counts == [.isolation: 1])
        script.deliver(1, 1, id, room: 1)
        #expect(script.checker.counts == [.isolation: 2])
    }

    @Test("a violation shows the events of its room around it, and no others")
    func window() throws {
        let script = Script()
        script.join(0, at: 0)
        script.join(0, at: 0, room: 1)
        script.publish(1)
        script.tick(60_000)
        let id = script.publish(2)
        script.publish(1, 0, room: 1)
        script.deliver(0, 2, id)
        script.tick(60_000)
        script.publish(3)
        _ = script.broken()
        let violation = try #require(script.checker.offenders.first { $0.invariant == .silentGap })
        #expect(violation.window.contains { $0.kind == .delivered && $0.offset == 2 })
        #expect(violation.window.allSatisfy { $0.room == 0 || $0.room == -1 })
        #expect(violation.window.count <= 6)
        #expect(script.checker.lines(of: violation).count == violation.window.count)
    }

    @Test("only the first eight of a kind are kept, all are counted")
    func offenders() {
        let script = Script()
        for _ in 0..<100 { script.checker.exited("gateway", "again", now: script.now) }
        #expect(script.checker.counts == [.crash: 100])
        #expect(script.checker.offenders.count == 8)
    }
}
