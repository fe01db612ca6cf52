// The loop over its in-memory transport: echo under short writes and back-pressure, stalls, closing.

import Bytes
import Testing

@testable import Reactor

@Suite struct PipeEchoTests {
    @Test(arguments: [(1, 64), (7, 10), (7, 65_536), (.max, 1), (.max, 1000), (.max, 65_536)] as [(Int, Int)])
    func everyByteComesBackInOrderThroughNarrowPipes(writeLimit: Int, capacity: Int) throws {
        let loop = try makeLoop()
        let echo = Echo(loop)
        let recorder = Recorder(loop)
        let (client, _) = loop.makePipe(
            loop.register(recorder), loop.register(echo), capacity: capacity, writeLimit: writeLimit)
        let bytes = pattern(capacity == 1 ? 300 : 5000)
        for start in stride(from: 0, to: bytes.count, by: 777) {
            loop.write(client, Array(bytes[start..<min(start + 777, bytes.count)]))
            loop.turn(wait: false)
        }
        var turns = 0
        while recorder.received[client]?.count != bytes.count, turns < 20_000 {
            loop.turn(wait: false)
            turns += 1
        }
        #expect(recorder.received[client] == bytes)
        #expect(loop.queuedBytes(client) == 0)
        #expect(loop.liveFrames == 0)
        dismantleForTest(loop)
    }

    @Test func aHandlerWritesInPlaceAndSharesBlocks() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let pairs = (0..<100).map { _ in loop.makePipe(kind, kind) }
        let frame = loop.makeFrame(capacity: 100)
        Array("shared".utf8).withUnsafeBytes { frame.append($0) }
        for (from, _) in pairs {
            loop.write(from, text: "a")
            #expect(loop.enqueue(from, frame) == 7)
            loop.write(from, atMost: 50) { place in
                place.storeBytes(of: UInt8(ascii: "z"), as: UInt8.self)
                return 1
            }
            loop.write(from, atMost: 50) { _ in 0 }
            #expect(loop.queuedBytes(from) == 8)
        }
        loop.release(frame)
        loop.turn(times: 3)
        for (_, to) in pairs { #expect(recorder.text(to) == "asharedz") }
        #expect(loop.liveFrames == 0)
        dismantleForTest(loop)
    }

    @Test func anEmptyWriteDoesNotBlockWhatFollows() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind)
        loop.write(a, atMost: 10) { _ in 0 }
        loop.turn(wait: false)
        loop.write(a, text: "x")
        loop.turn(times: 2)
        #expect(recorder.text(b) == "x")
        dismantleForTest(loop)
    }
}

@Suite struct BackPressureTests {
    @Test func drainedComesOnceForEachTimeThatTheTransportWasFull() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind, capacity: 100)
        loop.pauseReading(b)
        loop.write(a, pattern(50))
        loop.turn(times: 3)
        #expect(recorder.drainedIDs.isEmpty, "nothing was held back")
        loop.write(a, pattern(500))
        loop.turn(times: 3)
        #expect(loop.queuedBytes(a) == 450)
        #expect(recorder.drainedIDs.isEmpty)
        loop.resumeReading(b)
        loop.turn(times: 20)
        #expect(loop.queuedBytes(a) == 0)
        #expect(recorder.drainedIDs == [a])
        // What passes without a hindrance afterwards is not "drained" again.
        for _ in 0..<5 {
            loop.write(a, pattern(10))
            loop.turn(times: 3)
        }
        #expect(recorder.drainedIDs == [a])
        #expect(recorder.received[b]?.count == 600)
        dismantleForTest(loop)
    }

    @Test func aHandlerThatWritesWheneverItIsDrainedDoesNotKeepTheLoop() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind, capacity: 100)
        recorder.onDrained = { loop.write($0, pattern(40)) }
        loop.pauseReading(b)
        loop.write(a, pattern(150))
        loop.turn(wait: false)
        loop.resumeReading(b)
        // Returning from these at all is the point.
        loop.turn(times: 10)
        #expect(recorder.drainedIDs == [a])
        #expect(recorder.received[b]?.count == 190)
        dismantleForTest(loop)
    }

    @Test func pausedBytesStayWithThePeerAndComeAfterResuming() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind, capacity: 100)
        recorder.onReceived = { id, _ in if id == b { loop.pauseReading(b) } }
        loop.write(a, pattern(1000))
        loop.turn(times: 10)
        #expect(recorder.received[b]?.count == 100, "one read, then the pause")
        for round in 2...10 {
            loop.resumeReading(b)
            loop.resumeReading(b)
            loop.turn(times: 5)
            #expect(recorder.received[b]?.count == round * 100)
        }
        #expect(recorder.received[b] == pattern(1000))
        dismantleForTest(loop)
    }

    @Test func aPausedConnectionDoesNotKeepTheLoopAwake() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind)
        loop.pauseReading(b)
        loop.write(a, pattern(10))
        loop.turn(times: 3)
        #expect(loop.state.pointee.carried.isEmpty)
        #expect(loop.state.pointee.dirty.isEmpty)
        loop.resumeReading(b)
        loop.turn(times: 2)
        #expect(recorder.received[b]?.count == 10)
        #expect(loop.state.pointee.carried.isEmpty)
        dismantleForTest(loop)
    }

    @Test func aReaderStopsAtItsBudgetAndGoesOnInTheNextIteration() throws {
        var limits = LoopLimits()
        limits.readsPerIteration = 2
        let loop = try makeLoop(limits)
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind, capacity: 1 << 20)
        loop.write(a, pattern(LoopState.readBufferSize * 5))
        loop.turn(wait: false)
        #expect(recorder.receiveCalls == 0)
        for expected in [2, 4, 5] {
            loop.turn(wait: false)
            #expect(recorder.receiveCalls == expected)
        }
        #expect(recorder.received[b] == pattern(LoopState.readBufferSize * 5))
        dismantleForTest(loop)
    }

    @Test func aPeerThatTakesNothingForTheWriteTimeoutIsClosedAsStalled() throws {
        let clock = ManualClock()
        let loop = try makeLoop(clock: clock)
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind, capacity: 10)
        loop.pauseReading(b)
        loop.write(a, pattern(100))
        loop.turn(wait: false)
        for _ in 0..<9 {
            clock.advance(.seconds(1))
            loop.turn(wait: false)
        }
        #expect(recorder.closedIDs.isEmpty)
        for _ in 0..<3 {
            clock.advance(.milliseconds(700))
            loop.turn(wait: false)
        }
        #expect(recorder.closedIDs[a] == .stalled)
        #expect(loop.liveFrames == 0)
        dismantleForTest(loop)
    }

    @Test func aPeerThatTakesAByteNowAndThenIsNotStalled() throws {
        let clock = ManualClock()
        let loop = try makeLoop(clock: clock)
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind, capacity: 10)
        recorder.onReceived = { id, _ in loop.pauseReading(id) }
        loop.write(a, pattern(100))
        for _ in 0..<8 {
            clock.advance(.seconds(8))
            loop.resumeReading(b)
            loop.turn(times: 3)
        }
        #expect(recorder.closedIDs.isEmpty)
        #expect(recorder.received[b]?.count == 80)
        dismantleForTest(loop)
    }

    @Test func anEarlierBlockadeDoesNotShortenTheTimeOfTheNext() throws {
        let clock = ManualClock()
        var limits = LoopLimits()
        limits.writeTimeout = .milliseconds(900)
        let loop = try makeLoop(limits, clock: clock)
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind, capacity: 10)
        loop.pauseReading(b)
        loop.write(a, pattern(20))
        loop.turn(wait: false)
        loop.resumeReading(b)
        loop.turn(times: 4)
        #expect(recorder.drainedIDs == [a])
        // Full again shortly before the check; the earlier progress is nearly a timeout old.
        loop.pauseReading(b)
        loop.write(a, pattern(10))
        loop.turn(wait: false)
        clock.advance(.milliseconds(890))
        loop.turn(wait: false)
        loop.write(a, pattern(10))
        loop.turn(wait: false)
        clock.advance(.milliseconds(20))
        loop.turn(wait: false)
        #expect(recorder.closedIDs.isEmpty)
        for _ in 0..<3 {
            clock.advance(.milliseconds(900))
            loop.turn(wait: false)
        }
        #expect(recorder.closedIDs[a] == .stalled)
        dismantleForTest(loop)
    }
}

@Suite struct PipeClosingTests {
    @Test func aPeerThatClosesLetsItsLastBytesBeRead() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind)
        loop.write(a, text: "last words")
        loop.closeAfterFlush(a)
        loop.turn(times: 4)
        #expect(recorder.text(b) == "last words")
        #expect(recorder.closedIDs == [a: .local, b: .peerClosed])
        #expect(loop.connectionCount == 0)
        #expect(loop.liveFrames == 0)
        dismantleForTest(loop)
    }

    @Test func closeAfterFlushWaitsForTheWholeQueueOfASlowPeer() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind, capacity: 10)
        loop.write(a, pattern(200))
        loop.turn(wait: false)
        loop.closeAfterFlush(a)
        loop.closeAfterFlush(a)
        loop.write(a, text: "not any more")
        loop.turn(times: 100)
        #expect(recorder.received[b] == pattern(200))
        #expect(recorder.closedIDs == [a: .local, b: .peerClosed])
        dismantleForTest(loop)
    }

    @Test func whatIsReceivedAfterCloseAfterFlushIsDiscarded() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind, capacity: 10)
        loop.pauseReading(b)
        loop.write(a, pattern(50))
        loop.turn(wait: false)
        loop.closeAfterFlush(a)
        loop.write(b, text: "unheard")
        loop.turn(times: 5)
        #expect(recorder.received[a] == nil)
        loop.resumeReading(b)
        loop.turn(times: 20)
        #expect(recorder.received[b] == pattern(50))
        #expect(recorder.closedIDs.count == 2)
        dismantleForTest(loop)
    }

    @Test func aPeerThatClosesWhileOutputIsBlockedEndsTheConnectionAtOnce() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind, capacity: 10)
        loop.pauseReading(b)
        loop.write(a, pattern(1000))
        loop.turn(wait: false)
        #expect(loop.queuedBytes(a) == 990)
        loop.close(b)
        loop.turn(times: 4)
        #expect(recorder.closedIDs == [a: .peerClosed, b: .local])
        #expect(loop.liveFrames == 0)
        #expect(loop.connectionCount == 0)
        dismantleForTest(loop)
    }

    @Test func closedComesAtTheEndOfTheIterationAndOnce() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind)
        loop.close(a)
        #expect(!loop.isOpen(a))
        #expect(recorder.closedIDs.isEmpty)
        loop.close(a, .stalled)
        loop.closeAfterFlush(a)
        loop.write(a, text: "late")
        loop.turn(times: 3)
        #expect(recorder.closedIDs == [a: .local, b: .peerClosed])
        #expect(recorder.received[b] == nil)
        dismantleForTest(loop)
    }

    @Test func whatClosedWritesToOthersIsSentWithoutAnEvent() throws {
        let loop = try makeLoop()
        let recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let (a, b) = loop.makePipe(kind, kind)
        let (c, d) = loop.makePipe(kind, kind)
        recorder.onClosed = { if $0 == a { loop.write(c, text: "a has left") } }
        loop.close(b)
        loop.turn(times: 2)
        #expect(recorder.closedIDs.count == 2)
        #expect(loop.hasWork, "closed runs after the flush; without this the loop would sleep on it")
        loop.turn(times: 2)
        #expect(recorder.text(d) == "a has left")
        dismantleForTest(loop)
    }

    @Test func aLoopThatIsDroppedFreesWhatItsConnectionsHold() throws {
        weak var gone: Loop?
        do {
            let loop = try makeLoop()
            gone = loop
            let recorder = Recorder(loop)
            let kind = loop.register(recorder)
            let (a, _) = loop.makePipe(kind, kind, capacity: 10)
            loop.write(a, pattern(1000))
            loop.turn(wait: false)
        }
        #expect(gone == nil)
    }
}
