// Closing at every moment (NET-11) and names of connections that are gone (NET-12), over the in-memory transport.

import Bytes
import Testing

@testable import Reactor

/// NET-11: closing at any moment of any callback is harmless.
@Suite struct CloseInCallbackTests {
    enum Moment: CaseIterable { case opened, received, timer, drained, closed, hook, letter }

    private final class Hook: LoopHook {
        var body: (() -> Void)?
        func beforeFlush() -> Bool {
            let run = body
            body = nil
            run?()
            return false
        }
    }

    @Test("NET-11 close, or close after flush, inside every callback", arguments: Moment.allCases, [0, 1, 2])
    func closeInside(moment: Moment, way: Int) throws {
        let clock = ManualClock()
        let loop = try makeLoop(clock: clock)
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let hook = Hook()
        loop.addHook(hook)
        var hit = false
        let end: (ConnectionID) -> Void = { id in
            hit = true
            loop.write(id, text: "bye")
            if way == 0 { loop.close(id) } else { loop.closeAfterFlush(id) }
            if way == 2 { loop.close(id) }
            // Everything that may follow in the same call does nothing or is dropped.
            loop.write(id, text: "late")
            loop.setTimer(id, after: .zero)
            loop.pauseReading(id)
            loop.resumeReading(id)
            loop.writeAhead(id, text: "ahead")
            loop.dropUnsent(id, from: anyPlace)
            loop.cancelTimer(id)
        }
        if moment == .opened { recorder.onOpened = { if recorder.openedIDs.count == 1 { end($0) } } }
        let (a, b) = loop.makePipe(kind, kind, capacity: 10)
        switch moment {
        case .opened: break
        case .received: recorder.onReceived = { id, _ in if id == b { end(b) } }
        case .timer: recorder.onTimer = end
        case .drained: recorder.onDrained = end
        case .closed: recorder.onClosed = { id in if id == a { end(b) } }
        case .hook: hook.body = { end(a) }
        case .letter: break
        }
        loop.setTimer(a, after: .milliseconds(8))
        loop.write(a, pattern(35))
        if moment == .letter {
            final class Receiver: LetterHandler {
                var body: (() -> Void)?
                func receive(_ letter: Letter) { body?() }
            }
            let receiver = Receiver()
            receiver.body = { end(a) }
            loop.setLetterHandler(receiver)
            loop.send(Letter(kind: 3))
            loop.turn(wait: false)
        }
        loop.turn(times: 10)
        clock.advance(.milliseconds(20))
        loop.turn(times: 10)
        if moment == .closed {
            loop.close(a)
            loop.turn(times: 10)
        }
        #expect(hit)
        #expect(loop.connectionCount == 0)
        #expect(recorder.closedIDs.count == 2)
        #expect(loop.liveFrames == 0)
        #expect(loop.state.pointee.wheel.count <= 1, "at most the stall check is armed")
        dismantleForTest(loop)
    }

    @Test("NET-11 random closes at random callbacks leave nothing behind", arguments: [71, 72, 73, 74] as [UInt64])
    func randomCloses(seed: UInt64) throws {
        let clock = ManualClock()
        let loop = try makeLoop(clock: clock)
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        var random = SeededRandom(seed: seed)
        var live: [ConnectionID] = []
        let act: (ConnectionID) -> Void = { id in
            // Aims at itself or at somebody else, who may be long gone.
            let target = Bool.random(using: &random) ? id : live.randomElement(using: &random) ?? id
            switch Int.random(in: 0..<14, using: &random) {
            case 0: loop.close(target)
            case 1: loop.closeAfterFlush(target)
            case 2: loop.pauseReading(target)
            case 3, 4: loop.resumeReading(target)
            case 5: loop.setTimer(target, after: .milliseconds(Int.random(in: 0..<30, using: &random)))
            case 6: loop.cancelTimer(target)
            case 7: loop.dropUnsent(target, from: anyPlace)
            case 8, 9: loop.writeAhead(target, text: "ahead")
            default: loop.write(target, pattern(Int.random(in: 0..<200, using: &random)))
            }
        }
        recorder.onOpened = act
        recorder.onReceived = { id, _ in act(id) }
        recorder.onTimer = act
        recorder.onDrained = act
        recorder.onClosed = { act($0) }
        for _ in 0..<600 {
            if live.count < 60 || Int.random(in: 0..<5, using: &random) == 0 {
                let (a, b) = loop.makePipe(kind, kind, capacity: Int.random(in: 1..<300, using: &random))
                live += [a, b]
            }
            for _ in 0..<4 { if let id = live.randomElement(using: &random) { act(id) } }
            clock.advance(.milliseconds(Int.random(in: 0..<10, using: &random)))
            loop.turn(wait: false)
            live.removeAll { recorder.closedIDs[$0] != nil && Int($0.generation) % 3 != 0 }
            if live.count > 200 { live.removeFirst(50) }
        }
        recorder.onClosed = nil
        let opened = recorder.openedIDs.count
        dismantleForTest(loop)
        #expect(recorder.closedIDs.count == opened, "seed \(seed): each opened connection is closed once")
        #expect(loop.liveFrames == 0, "seed \(seed)")
        #expect(loop.connectionCount == 0, "seed \(seed)")
    }

    @Test("NET-12 the name of a recycled slot's former connection does nothing to its successor")
    func staleNames() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind)
        loop.setTimer(a, after: .zero)
        loop.close(a)
        loop.turn(times: 3)
        let (c, d) = loop.makePipe(kind, kind)
        #expect(c.slot == a.slot && c.generation != a.generation)
        #expect(Set([c.slot, d.slot]) == Set([a.slot, b.slot]), "slots are reused, lowest first")
        loop.write(a, text: "stale")
        loop.closeAfterFlush(a)
        loop.close(a)
        loop.pauseReading(a)
        loop.setTimer(a, after: .zero)
        loop.writeAhead(a, text: "stale")
        loop.dropUnsent(a, from: anyPlace)
        #expect(loop.queuedBytes(a) == 0)
        #expect(!loop.isOpen(a))
        #expect(!loop.isOpen(ConnectionID(slot: 9_999_999, generation: 1)))
        #expect(!loop.isOpen(ConnectionID(slot: a.slot, generation: 0)))
        loop.write(c, text: "fresh")
        loop.turn(times: 3)
        #expect(recorder.text(d) == "fresh")
        #expect(loop.isOpen(c) && loop.isOpen(d))
        #expect(recorder.timers.isEmpty)
        #expect(ConnectionID(word: c.word) == c)
        dismantleForTest(loop)
    }
}
