// Output blocks and their pool: the bytes that connections send. Used by the loop and by whoever encodes for it.
//
// A block never leaves its loop, so its reference count is a plain integer: giving one block to a thousand members
// costs a thousand increments, no atomic operation and no allocation. Freed blocks are kept in free lists, bounded by
// `FramePool.retainedBytesLimit` per size class; above that they go back to the system.

/// One loop-confined, reference-counted block of output bytes. Written while it has one owner, immutable once shared.
///
/// Manual counting: `retain` and `FramePool.release` must balance. That is what keeps the fan-out loop free of ARC.
package struct Frame: Equatable {
    struct Header {
        var references: Int32
        var sizeClass: Int32
        var count: Int
        var capacity: Int
        var nextFree: UnsafeMutablePointer<Header>?
    }
    let header: UnsafeMutablePointer<Header>

    init(header: UnsafeMutablePointer<Header>) { self.header = header }

    /// The frame that `handle` was taken from.
    package init(handle: UnsafeMutableRawPointer) { header = handle.assumingMemoryBound(to: Header.self) }

    /// The frame as an opaque pointer; carries no reference of its own.
    package var handle: UnsafeMutableRawPointer { UnsafeMutableRawPointer(header) }

    static var headerSize: Int { MemoryLayout<Header>.size }

    /// Bytes stored so far.
    package var count: Int { header.pointee.count }
    /// Bytes that fit.
    package var capacity: Int { header.pointee.capacity }
    /// Where the bytes start.
    package var base: UnsafeMutableRawPointer { UnsafeMutableRawPointer(header) + Frame.headerSize }
    /// The stored bytes.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }
    /// Whether only one place refers to it, so that it may still be appended to.
    var isUnique: Bool { header.pointee.references == 1 }

    /// Room left.
    package var space: Int { header.pointee.capacity - header.pointee.count }

    /// Appends `bytes`; the caller has checked `space` and is the only owner.
    package func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        precondition(bytes.count <= space)
        (base + header.pointee.count).copyMemory(from: source, byteCount: bytes.count)
        header.pointee.count += bytes.count
    }

    /// Counts `written` bytes that were stored behind the last one.
    package func advance(by written: Int) {
        precondition(written >= 0 && written <= space)
        header.pointee.count += written
    }

    /// One more reference.
    package func retain() { header.pointee.references += 1 }
}

/// Free lists of output blocks, one pool a loop.
package struct FramePool: ~Copyable {
    /// How much each size class keeps for reuse before it frees; a burst's memory goes back to the system.
    static let retainedBytesLimit = 1 << 20
    private static let classSizes = (256, 1024, 4096, 16384, 65536 + 1024)
    static let classCount = 5

    private var free: InlineArray<5, UnsafeMutablePointer<Frame.Header>?> = .init(repeating: nil)
    private var retained: InlineArray<5, Int> = .init(repeating: 0)
    /// Blocks in use; zero after everything was released (a leak test reads it).
    package private(set) var liveBlocks = 0

    /// An empty pool.
    package init() {}

    deinit {
        for index in 0..<FramePool.classCount {
            var block = free[index]
            while let current = block {
                block = current.pointee.nextFree
                UnsafeMutableRawPointer(current).deallocate()
            }
        }
    }

    private static func size(of index: Int) -> Int {
        switch index {
        case 0: classSizes.0
        case 1: classSizes.1
        case 2: classSizes.2
        case 3: classSizes.3
        default: classSizes.4
        }
    }

    /// A block with one reference and room for at least `capacity` bytes.
    package mutating func allocate(_ capacity: Int) -> Frame {
        precondition(capacity >= 0)
        liveBlocks += 1
        let wanted = capacity + Frame.headerSize
        for index in 0..<FramePool.classCount where wanted <= FramePool.size(of: index) {
            if let block = free[index] {
                free[index] = block.pointee.nextFree
                retained[index] -= FramePool.size(of: index)
                block.pointee.references = 1
                block.pointee.count = 0
                return Frame(header: block)
            }
            return FramePool.make(size: FramePool.size(of: index), sizeClass: Int32(index))
        }
        return FramePool.make(size: wanted, sizeClass: -1)
    }

    private static func make(size: Int, sizeClass: Int32) -> Frame {
        let raw = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        let header = raw.bindMemory(to: Frame.Header.self, capacity: 1)
        header.initialize(
            to: .init(
                references: 1, sizeClass: sizeClass, count: 0, capacity: size - Frame.headerSize, nextFree: nil))
        return Frame(header: header)
    }

    /// A block that holds a copy of `bytes`.
    package mutating func copy(_ bytes: UnsafeRawBufferPointer) -> Frame {
        let frame = allocate(bytes.count)
        frame.append(bytes)
        return frame
    }

    /// One reference less; the last one returns the block.
    package mutating func release(_ frame: Frame) {
        let header = frame.header
        header.pointee.references -= 1
        assert(header.pointee.references >= 0)
        guard header.pointee.references == 0 else { return }
        liveBlocks -= 1
        let sizeClass = Int(header.pointee.sizeClass)
        if sizeClass >= 0, retained[sizeClass] < FramePool.retainedBytesLimit {
            retained[sizeClass] += FramePool.size(of: sizeClass)
            header.pointee.nextFree = free[sizeClass]
            free[sizeClass] = header
        } else {
            UnsafeMutableRawPointer(header).deallocate()
        }
    }
}
