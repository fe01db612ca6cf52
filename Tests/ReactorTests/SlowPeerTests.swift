// Peers that are behind: what goes ahead of the queue, what is dropped from it, and what a handler may do about a peer
// that takes nothing. Over the in-memory transport, down to one byte a write.

import Bytes
import Testing

@testable import Reactor

@Suite struct SlowPeerTests {
    /// A loop with a pipe whose second end does not read until told to.
    private struct Line {
        let clock = ManualClock()
        let loop: Loop
        let recorder: Recorder
        let near: ConnectionID
        let far: ConnectionID

        init(_ limits: LoopLimits = LoopLimits(), capacity: Int = 10, writeLimit: Int = .max) throws {
            loop = try makeLoop(limits, clock: clock)
            recorder = Recorder(loop)
            let kind = loop.register(recorder)
            (near, far) = loop.makePipe(kind, kind, capacity: capacity, writeLimit: writeLimit)
            loop.pauseReading(far)
        }

        /// Lets the far end read to the end of what there is.
        func readOn() {
            loop.resumeReading(far)
            var idle = 0
            while idle < 3 {
                let before = recorder.received[far]?.count
                loop.turn(wait: false)
                idle = recorder.received[far]?.count == before ? idle + 1 : 0
            }
        }

        func advance(_ seconds: Int) {
            for _ in 0..<seconds {
                clock.advance(.seconds(1))
                loop.turn(wait: false)
            }
        }

        func write(_ payload: [UInt8]) { loop.write(near, Chunk.make(payload)) }

        func writeAhead(_ payload: [UInt8]) {
            Chunk.make(payload).withUnsafeBytes { loop.writeAhead(near, $0, at: Chunk.boundary) }
        }

        func end() { dismantleForTest(loop) }
    }

    @Test(arguments: 0...20) func aFrameThatGoesAheadNeverCutsAnother(sent: Int) throws {
        let line = try Line(capacity: max(1, sent))
        // One block of five frames; a second one behind it.
        for index in 0..<5 { line.write([UInt8(index), 0, 0, 0]) }
        line.loop.turn(wait: false)
        for index in 5..<8 { line.write([UInt8(index), 0, 0, 0]) }
        let inFlight = min(max(1, sent), 25)
        #expect(line.loop.queuedBytes(line.near) == 40 - inFlight)
        line.writeAhead([99])
        line.writeAhead([98])
        #expect(line.loop.queuedBytes(line.near) == 44 - inFlight)
        line.readOn()
        let begun = (inFlight + 4) / 5
        var expected = (0..<8).map { [UInt8($0), 0, 0, 0] }
        expected.insert(contentsOf: [[98], [99]], at: begun)
        #expect(Chunk.payloads(line.recorder.received[line.far] ?? []) == expected)
        #expect(line.loop.liveFrames == 0)
        line.end()
    }

    /// Byte by byte, with frames going ahead at every moment: each chunk arrives whole, the queued ones in order.
    @Test(arguments: [61, 62, 63] as [UInt64]) func byteByByteEveryFrameArrivesWhole(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let line = try Line(capacity: 3, writeLimit: 1)
        line.loop.resumeReading(line.far)
        let frame = line.loop.makeFrame(capacity: 64)
        for index in 0..<4 { Chunk.make([7, UInt8(index), 1, 2, 3]).withUnsafeBytes { frame.append($0) } }
        var queued: [[UInt8]] = []
        var ahead = 0
        for step in 0..<600 {
            switch Int.random(in: 0..<12, using: &random) {
            case 0, 1:
                let payload = [UInt8(step & 0x7F), UInt8(queued.count & 0x7F)]
                line.write(payload)
                queued.append(payload)
            case 2:
                line.loop.enqueue(line.near, frame)
                queued += (0..<4).map { [7, UInt8($0), 1, 2, 3] }
            case 3:
                line.writeAhead([255, UInt8(ahead & 0x7F)])
                ahead += 1
            default: line.loop.turn(wait: false)
            }
        }
        line.loop.release(frame)
        line.readOn()
        let arrived = try #require(Chunk.payloads(line.recorder.received[line.far] ?? []), "seed \(seed)")
        #expect(arrived.filter { $0[0] != 255 } == queued, "seed \(seed)")
        #expect(arrived.count { $0[0] == 255 } == ahead && ahead > 10, "seed \(seed)")
        #expect(line.loop.liveFrames == 0)
        line.end()
    }

    @Test(arguments: 1...12) func aLastWordWaitsForTheFrameThatIsHalfOutAndForNothingElse(sent: Int) throws {
        let line = try Line(capacity: sent)
        for index in 0..<200 { line.write([UInt8(index), 0, 0, 0]) }
        line.loop.turn(wait: false)
        line.loop.dropUnsent(line.near, from: Chunk.boundary)
        let begun = (sent + 4) / 5
        #expect(line.loop.queuedBytes(line.near) == begun * 5 - sent)
        #expect(line.loop.liveFrames <= 1, "the memory is free at once")
        line.write([99])
        line.loop.sealOutput(line.near)
        line.write([1])
        line.writeAhead([2])
        line.readOn()
        let expected = (0..<begun).map { [UInt8($0), 0, 0, 0] } + [[99]]
        #expect(Chunk.payloads(line.recorder.received[line.far] ?? []) == expected)
        line.end()
    }

    @Test func aFrameGoesAheadOfNothingToo() throws {
        let line = try Line()
        line.writeAhead([1])
        line.loop.dropUnsent(line.far, from: Chunk.boundary)
        line.loop.writeAhead(line.near, UnsafeRawBufferPointer(start: nil, count: 0), at: Chunk.boundary)
        line.readOn()
        #expect(line.recorder.received[line.far] == [1, 1])
        line.end()
    }

    @Test func aHandlerMayEndAStalledPeerInItsOwnWay() throws {
        let line = try Line()
        var asked = 0
        line.recorder.onStalled = { id in
            asked += 1
            guard asked == 1 else { return true }
            line.loop.dropUnsent(id, from: anyPlace)
            line.loop.write(id, text: "bye")
            line.loop.sealOutput(id)
            return true
        }
        line.loop.write(line.near, pattern(100))
        line.loop.turn(wait: false)
        line.advance(9)
        #expect(asked == 0)
        line.advance(2)
        #expect(asked == 1)
        #expect(line.loop.isOpen(line.near))
        #expect(line.loop.queuedBytes(line.near) == 3)
        // Nothing moves: it is asked again after another such time, not every second.
        line.advance(8)
        #expect(asked == 1)
        line.advance(3)
        #expect(asked == 2)
        line.readOn()
        #expect(line.recorder.received[line.far] == pattern(10) + Array("bye".utf8))
        line.advance(30)
        #expect(asked == 2, "forgotten when its output is out")
        #expect(line.recorder.closedIDs.isEmpty)
        line.end()
    }

    /// The kernel reports room only when a third of a socket's buffer is free.
    @Test func aPeerIsAskedOnceMoreBeforeTheVerdictSinceNoEventTellsOfALittleRoom() throws {
        let line = try Line()
        line.loop.write(line.near, pattern(100))
        line.loop.turn(wait: false)
        let end = line.loop.state.pointee.connections[line.far.slot].pointee.transport.pipe
        let pipe = try #require(end)
        for round in 1...4 {
            // Read, and nobody is told.
            pipe.inbound.removeFirst(min(3, pipe.inbound.count))
            line.advance(11)
            #expect(line.loop.isOpen(line.near))
            #expect(line.loop.queuedBytes(line.near) == 90 - 3 * round)
        }
        // Whose last word waits is asked every second.
        line.loop.sealOutput(line.near)
        pipe.inbound.removeFirst(min(3, pipe.inbound.count))
        line.advance(2)
        #expect(line.loop.queuedBytes(line.near) == 75)
        line.advance(12)
        #expect(line.recorder.closedIDs[line.near] == .stalled)
        line.end()
    }

    @Test func aVerdictComesWithinATenthOfASecondOfItsTime() throws {
        let line = try Line()
        line.loop.write(line.near, pattern(100))
        line.loop.turn(wait: false)
        var tenths = 0
        while line.loop.isOpen(line.near), tenths < 200 {
            line.clock.advance(.milliseconds(100))
            line.loop.turn(wait: false)
            tenths += 1
        }
        #expect(tenths == 100 || tenths == 101)
        #expect(line.recorder.closedIDs[line.near] == .stalled)
        line.end()
    }

    @Test func onlyOneCheckIsArmedHoweverManyPeersAreHeldBack() throws {
        let line = try Line()
        let kind = line.loop.register(line.recorder)
        line.recorder.onStalled = { id in
            // Somebody new is held back while the list is looked through.
            let (a, b) = line.loop.makePipe(kind, kind, capacity: 10)
            line.loop.pauseReading(b)
            line.loop.write(a, pattern(50))
            _ = line.loop.offer(a)
            return false
        }
        for _ in 0..<20 {
            let (a, b) = line.loop.makePipe(kind, kind, capacity: 10)
            line.loop.pauseReading(b)
            line.loop.write(a, pattern(50))
        }
        line.loop.turn(wait: false)
        for _ in 0..<5 {
            line.advance(11)
            #expect(line.loop.state.pointee.wheel.count <= 1)
            #expect(line.loop.state.pointee.watched.count == 20)
        }
        line.recorder.onStalled = nil
        line.advance(12)
        #expect(line.loop.state.pointee.watched.isEmpty)
        #expect(line.loop.state.pointee.wheel.count == 0, "nobody is held back: nothing is looked at")
        line.end()
    }

    @Test func aBusyReaderIsNeverTakenForStalled() throws {
        let line = try Line(capacity: 1, writeLimit: 1)
        line.recorder.onReceived = { id, _ in line.loop.pauseReading(id) }
        line.loop.write(line.near, pattern(60))
        for _ in 0..<40 {
            line.advance(9)
            line.loop.resumeReading(line.far)
            line.loop.turn(times: 3)
        }
        #expect(line.recorder.closedIDs.isEmpty)
        #expect(line.recorder.received[line.far] == Array(pattern(60).prefix(40)))
        line.end()
    }
}
