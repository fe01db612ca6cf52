// What a connection still has to send: references to blocks, in order. Owned by the connection's slab entry.
//
// An idle connection has none of it: the first block is stored inline, a ring of further ones comes from the loop's
// pool only while more than one is waiting, and goes back as soon as the queue is empty. Its bound is the caller's
// (`client.queueMaxSize`): `bytes` is what is compared with it.

/// The outgoing blocks of one connection. Loop-confined; 40 bytes when empty.
struct OutputQueue: ~Copyable {
    private var first: Frame?
    private var ring: Frame?
    private var ringHead: UInt32 = 0
    private var ringCount: UInt32 = 0
    /// Bytes of the first block that the socket has taken already.
    private(set) var offset = 0
    /// Bytes that wait, over all blocks.
    private(set) var bytes = 0

    var isEmpty: Bool { first == nil }
    var frameCount: Int { first == nil ? 0 : Int(ringCount) + 1 }

    private static var entrySize: Int { MemoryLayout<Frame>.size }

    private func place(_ index: UInt32, in ring: Frame) -> UnsafeMutablePointer<Frame> {
        let capacity = UInt32(truncatingIfNeeded: ring.capacity / OutputQueue.entrySize)
        return ring.base.assumingMemoryBound(to: Frame.self) + Int((ringHead &+ index) % capacity)
    }

    /// The last block, if it is still private to this queue and has `space` bytes left.
    func tail(space: Int) -> Frame? {
        guard let first else { return nil }
        var last = first
        if let ring, ringCount > 0 { last = place(ringCount - 1, in: ring).pointee }
        return last.isUnique && last.space >= space ? last : nil
    }

    /// Counts bytes that were added to the private last block.
    mutating func grew(by amount: Int) { bytes += amount }

    /// Appends a block; the queue takes over one reference.
    mutating func append(_ frame: Frame, pool: inout FramePool) {
        bytes += frame.count
        guard first != nil else {
            first = frame
            return
        }
        if ring == nil { ring = pool.allocate(256 - Frame.headerSize) }
        guard var ring else { return }
        let capacity = ring.capacity / OutputQueue.entrySize
        if Int(ringCount) == capacity {
            let larger = pool.allocate(capacity * 2 * OutputQueue.entrySize)
            for index in 0..<ringCount {
                larger.base.assumingMemoryBound(to: Frame.self)[Int(index)] = place(index, in: ring).pointee
            }
            pool.release(ring)
            self.ring = larger
            ringHead = 0
            ring = larger
        }
        place(ringCount, in: ring).pointee = frame
        ringCount += 1
    }

    /// The unsent bytes of block `index`.
    func unsent(_ index: Int) -> UnsafeRawBufferPointer {
        guard let first else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        if index == 0 {
            return UnsafeRawBufferPointer(start: first.base + offset, count: first.count - offset)
        }
        guard let ring, index <= Int(ringCount) else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return place(UInt32(truncatingIfNeeded: index - 1), in: ring).pointee.bytes
    }

    /// Drops the first `amount` bytes, which the transport took.
    mutating func consume(_ amount: Int, pool: inout FramePool) {
        precondition(amount >= 0 && amount <= bytes)
        bytes -= amount
        var rest = amount
        while let frame = first {
            let left = frame.count - offset
            guard rest >= left else {
                offset += rest
                return
            }
            rest -= left
            pool.release(frame)
            offset = 0
            if let ring, ringCount > 0 {
                first = place(0, in: ring).pointee
                ringHead = (ringHead &+ 1) % UInt32(truncatingIfNeeded: ring.capacity / OutputQueue.entrySize)
                ringCount -= 1
            } else {
                first = nil
            }
        }
        releaseRing(&pool)
    }

    /// Drops every block of which nothing was sent yet; a block that is half sent stays, since its peer would take what
    /// follows for its rest.
    mutating func removeUnsent(pool: inout FramePool) {
        guard let frame = first, offset > 0 else { return removeAll(pool: &pool) }
        let sent = offset
        frame.retain()
        removeAll(pool: &pool)
        first = frame
        offset = sent
        bytes = frame.count - sent
    }

    /// Drops everything.
    mutating func removeAll(pool: inout FramePool) {
        // Consuming everything releases empty blocks, too.
        consume(bytes, pool: &pool)
    }

    private mutating func releaseRing(_ pool: inout FramePool) {
        guard let ring, first == nil else { return }
        pool.release(ring)
        self.ring = nil
        ringHead = 0
        ringCount = 0
    }
}
