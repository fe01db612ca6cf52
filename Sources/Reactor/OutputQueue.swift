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

    /// The first block, sent bytes included; empty without one.
    var head: UnsafeRawBufferPointer { first?.bytes ?? UnsafeRawBufferPointer(start: nil, count: 0) }

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
        place(ringCount, in: ringWithSpace(&pool)).pointee = frame
        ringCount += 1
    }

    private mutating func ringWithSpace(_ pool: inout FramePool) -> Frame {
        guard let ring else {
            let fresh = pool.allocate(256 - Frame.headerSize)
            ring = fresh
            return fresh
        }
        let capacity = ring.capacity / OutputQueue.entrySize
        guard Int(ringCount) == capacity else { return ring }
        let larger = pool.allocate(capacity * 2 * OutputQueue.entrySize)
        for index in 0..<ringCount {
            larger.base.assumingMemoryBound(to: Frame.self)[Int(index)] = place(index, in: ring).pointee
        }
        pool.release(ring)
        self.ring = larger
        ringHead = 0
        return larger
    }

    /// Puts `frame` right behind the first block, ahead of the others.
    private mutating func appendToFirst(_ frame: Frame, pool: inout FramePool) {
        let ring = ringWithSpace(&pool)
        let capacity = UInt32(truncatingIfNeeded: ring.capacity / OutputQueue.entrySize)
        ringHead = (ringHead &+ capacity &- 1) % capacity
        ringCount += 1
        place(0, in: ring).pointee = frame
    }

    /// Puts a copy of `bytes` in at `position` of the first block, which is not in front of what was sent of it. Where
    /// that is in the middle, the block is replaced by a copy: others may hold it, too. What was sent stays in the
    /// copy, so that a block begins where its first frame does.
    mutating func insert(_ bytes: UnsafeRawBufferPointer, at position: Int, pool: inout FramePool) {
        guard let first else { return append(pool.copy(bytes), pool: &pool) }
        precondition(position >= offset && position <= first.count)
        self.bytes += bytes.count
        if position == first.count { return appendToFirst(pool.copy(bytes), pool: &pool) }
        if position == 0 {
            appendToFirst(first, pool: &pool)
            self.first = pool.copy(bytes)
            return
        }
        let copy = pool.allocate(first.count + bytes.count)
        copy.append(UnsafeRawBufferPointer(rebasing: first.bytes[..<position]))
        copy.append(bytes)
        copy.append(UnsafeRawBufferPointer(rebasing: first.bytes[position...]))
        pool.release(first)
        self.first = copy
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

    /// Drops everything from `position` of the first block on. What is not sent of the bytes before it is kept as a
    /// copy, so that not one byte more stays in memory.
    mutating func removeAll(from position: Int, pool: inout FramePool) {
        var rest: Frame?
        if let first, position > offset {
            rest = pool.copy(UnsafeRawBufferPointer(rebasing: first.bytes[offset..<position]))
        }
        removeAll(pool: &pool)
        if let rest { append(rest, pool: &pool) }
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
