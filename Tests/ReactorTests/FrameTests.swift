// Blocks, their pool and the queue of a connection, against simple models.

import Bytes
import Testing

@testable import Reactor

@Suite struct FramePoolTests {
    @Test func aBlockHoldsWhatWasAskedForAndComesBackEmpty() {
        var pool = FramePool()
        for capacity in [0, 1, 223, 224, 225, 1000, 4096, 16_384, 65_536, 70_000, 1 << 20] {
            let frame = pool.allocate(capacity)
            #expect(frame.capacity >= capacity)
            #expect(frame.count == 0)
            #expect(frame.isUnique)
            let bytes = pattern(capacity)
            bytes.withUnsafeBytes { frame.append($0) }
            #expect(frame.bytes.elementsEqual(bytes))
            #expect(pool.liveBlocks == 1)
            pool.release(frame)
            #expect(pool.liveBlocks == 0)
            let again = pool.allocate(capacity)
            #expect(again.count == 0)
            pool.release(again)
        }
    }

    @Test func aSharedBlockReturnsWithItsLastReference() {
        var pool = FramePool()
        let frame = pool.copy(UnsafeRawBufferPointer(start: nil, count: 0))
        for _ in 0..<1000 { frame.retain() }
        #expect(!frame.isUnique)
        for _ in 0..<1000 {
            pool.release(frame)
            #expect(pool.liveBlocks == 1)
        }
        #expect(frame.isUnique)
        pool.release(frame)
        #expect(pool.liveBlocks == 0)
    }

    @Test func aBurstOfBlocksIsReusedNotLeaked() {
        var pool = FramePool()
        for round in 0..<3 {
            let frames = (0..<20_000).map { pool.allocate([10, 500, 3000][$0 % 3]) }
            #expect(pool.liveBlocks == 20_000)
            #expect(Set(frames.map(\.handle)).count == 20_000, "no block is given out twice (round \(round))")
            for frame in frames { pool.release(frame) }
            #expect(pool.liveBlocks == 0)
        }
    }
}

@Suite struct OutputQueueTests {
    private func contents(_ queue: borrowing OutputQueue) -> [UInt8] {
        (0..<queue.frameCount).flatMap { Array(queue.unsent($0)) }
    }

    /// Private bytes are appended to the tail as the loop does it; shared blocks are also held by somebody else.
    @Test(arguments: [41, 42, 43, 44, 45, 46] as [UInt64])
    func randomAppendsAndPartialConsumesKeepEveryByteInOrder(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var pool = FramePool()
        var queue = OutputQueue()
        var model: [UInt8] = []
        var shared: [Frame] = []
        for step in 0..<2000 {
            let growing = (step / 200) % 2 == 0
            switch Int.random(in: 0..<10, using: &random) {
            case 0...(growing ? 3 : 1):
                // As the loop writes: into the private tail, or into a new block.
                let bytes = pattern(Int.random(in: 0...300, using: &random), seed: random.next())
                let target: Frame
                if let tail = queue.tail(space: bytes.count) {
                    target = tail
                } else {
                    target = pool.allocate(bytes.count)
                    queue.append(target, pool: &pool)
                }
                bytes.withUnsafeBytes { target.append($0) }
                queue.grew(by: bytes.count)
                model += bytes
            case 4, 5:
                let bytes = pattern(Int.random(in: 0...700, using: &random), seed: random.next())
                let frame = bytes.withUnsafeBytes { pool.copy($0) }
                frame.retain()
                queue.append(frame, pool: &pool)
                shared.append(frame)
                model += bytes
            case 6:
                if let index = shared.indices.randomElement(using: &random) {
                    pool.release(shared.remove(at: index))
                }
            case 7 where Int.random(in: 0..<40, using: &random) == 0:
                queue.removeAll(pool: &pool)
                model = []
            default:
                let amount = Int.random(in: 0...min(model.count, growing ? 600 : 4000), using: &random)
                queue.consume(amount, pool: &pool)
                model.removeFirst(amount)
            }
            let isSame = queue.bytes == model.count && (step % 16 != 0 || contents(queue) == model)
            guard isSame else {
                Issue.record("queue and model differ with seed \(seed) at step \(step)")
                return
            }
        }
        for frame in shared { pool.release(frame) }
        queue.consume(queue.bytes, pool: &pool)
        #expect(queue.frameCount == 0)
        #expect(pool.liveBlocks == 0, "seed \(seed)")
    }

    @Test func aSharedBlockIsNeverAppendedTo() {
        var pool = FramePool()
        var queue = OutputQueue()
        let frame = pool.allocate(100)
        frame.retain()
        queue.append(frame, pool: &pool)
        #expect(queue.tail(space: 1) == nil)
        pool.release(frame)
        #expect(queue.tail(space: 1) == frame)
        #expect(queue.tail(space: frame.capacity + 1) == nil)
        queue.removeAll(pool: &pool)
        #expect(pool.liveBlocks == 0)
    }

    @Test func emptyBlocksAreReleasedAlthoughNoByteWaits() {
        var pool = FramePool()
        var queue = OutputQueue()
        for _ in 0..<50 { queue.append(pool.allocate(10), pool: &pool) }
        #expect(queue.bytes == 0)
        queue.removeAll(pool: &pool)
        #expect(queue.frameCount == 0)
        #expect(pool.liveBlocks == 0)

        for _ in 0..<3 { queue.append(pool.allocate(10), pool: &pool) }
        queue.consume(0, pool: &pool)
        #expect(queue.frameCount == 0)
        #expect(pool.liveBlocks == 0)
    }

    @Test func aFullyConsumedQueueGivesItsRingBack() {
        var pool = FramePool()
        var queue = OutputQueue()
        for round in 1...5 {
            for index in 0..<(100 * round) {
                queue.append([UInt8(truncatingIfNeeded: index)].withUnsafeBytes { pool.copy($0) }, pool: &pool)
            }
            #expect(queue.frameCount == 100 * round)
            queue.consume(queue.bytes, pool: &pool)
            #expect(pool.liveBlocks == 0)
        }
    }

    @Test func droppingFromABoundaryKeepsTheRestOfTheFrameThatIsHalfSent() {
        var pool = FramePool()
        var queue = OutputQueue()
        let shared = Array((0..<10).flatMap { Chunk.make([$0, 1, 2]) }).withUnsafeBytes { pool.copy($0) }
        for _ in 0..<40 {
            shared.retain()
            queue.append(shared, pool: &pool)
        }
        queue.consume(6, pool: &pool)
        queue.removeAll(from: Chunk.boundary(queue.head, queue.offset), pool: &pool)
        #expect(contents(queue) == [1, 2])
        #expect(queue.bytes == 2)
        #expect(pool.liveBlocks == 2, "a small block, and the shared one of the test")
        pool.release(shared)
        #expect(pool.liveBlocks == 1, "the queue does not hold the shared block for the sake of two bytes")
        queue.consume(2, pool: &pool)
        #expect(pool.liveBlocks == 0)
        // At a boundary, or with nothing sent: everything goes.
        for sent in [0, 4] {
            for _ in 0..<3 { queue.append((Chunk.make([1, 2, 3]) * 2).withUnsafeBytes { pool.copy($0) }, pool: &pool) }
            queue.consume(sent, pool: &pool)
            queue.removeAll(from: Chunk.boundary(queue.head, queue.offset), pool: &pool)
            #expect(queue.frameCount == 0 && queue.bytes == 0)
            #expect(pool.liveBlocks == 0)
        }
    }

    /// Whatever was sent of whatever block, what is inserted stands behind the chunk that was begun, ahead of the rest.
    @Test(arguments: [51, 52, 53, 54, 55, 56] as [UInt64])
    func whatIsInsertedAtABoundaryOvertakesEverythingButTheFrameThatIsHalfSent(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var pool = FramePool()
        var queue = OutputQueue()
        // Parcels that are not sent yet, the first one less what was sent of it.
        var model: [[UInt8]] = []
        var firstIsCut = false
        var shared: [Frame] = []
        for step in 0..<3000 {
            switch Int.random(in: 0..<8, using: &random) {
            case 0, 1:
                let chunks = (0..<Int.random(in: 1...8, using: &random)).map { _ in
                    Chunk.make(pattern(Int.random(in: 0...60, using: &random), seed: random.next()))
                }
                let frame = chunks.flatMap { $0 }.withUnsafeBytes { pool.copy($0) }
                if Bool.random(using: &random) {
                    frame.retain()
                    shared.append(frame)
                }
                queue.append(frame, pool: &pool)
                model += chunks
            case 2, 3:
                let urgent = Chunk.make([255, UInt8(truncatingIfNeeded: step)])
                let place = Chunk.boundary(queue.head, queue.offset)
                urgent.withUnsafeBytes { queue.insert($0, at: place, pool: &pool) }
                model.insert(urgent, at: firstIsCut ? 1 : 0)
            case 4: if let frame = shared.popLast() { pool.release(frame) }
            case 5 where Int.random(in: 0..<60, using: &random) == 0:
                queue.removeAll(from: Chunk.boundary(queue.head, queue.offset), pool: &pool)
                #expect(contents(queue) == (firstIsCut ? model[0] : []), "seed \(seed), step \(step)")
                queue.consume(queue.bytes, pool: &pool)
                model = []
                firstIsCut = false
            default:
                var amount = Int.random(in: 0...min(queue.bytes, 200), using: &random)
                queue.consume(amount, pool: &pool)
                while let first = model.first, amount > 0 {
                    let taken = min(amount, first.count)
                    amount -= taken
                    firstIsCut = taken < first.count
                    if firstIsCut { model[0].removeFirst(taken) } else { model.removeFirst() }
                }
            }
            guard contents(queue) == model.flatMap({ $0 }), queue.bytes == contents(queue).count else {
                Issue.record("queue and model differ with seed \(seed) at step \(step)")
                return
            }
        }
        for frame in shared { pool.release(frame) }
        queue.removeAll(pool: &pool)
        #expect(pool.liveBlocks == 0, "seed \(seed)")
    }
}

private func * (bytes: [UInt8], times: Int) -> [UInt8] { Array(repeating: bytes, count: times).flatMap { $0 } }
