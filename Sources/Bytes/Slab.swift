// Storage whose entries never move: pages of entries, found by slot number. The reactor keeps its connections in one,
// handlers keep theirs in another under the same slots. Grows page by page, never shrinks below its peak: slots are
// reused lowest first, so that a process that was full once does not spread a few connections over many pages.

/// A table of `Element`s at stable addresses. Loop-confined.
package struct Slab<Element: ~Copyable>: ~Copyable {
    /// Entries of a page.
    package static var pageSize: Int { 256 }

    private var pages: UnsafeMutablePointer<UnsafeMutablePointer<Element>>
    private var pageCount = 0
    private var pageCapacity = 16

    /// An empty slab.
    package init() { pages = .allocate(capacity: 16) }

    // Entries are plain storage: whoever initialised one deinitialises it.
    deinit {
        for index in 0..<pageCount { pages[index].deallocate() }
        pages.deallocate()
    }

    /// Number of entries that have storage.
    package var capacity: Int { pageCount * Slab.pageSize }

    /// Makes sure that `slot` has storage; `initialize` is called for every entry of a new page.
    package mutating func ensure(_ slot: UInt32, initialize: (UnsafeMutablePointer<Element>) -> Void) {
        while Int(slot) >= capacity {
            if pageCount == pageCapacity {
                let larger = UnsafeMutablePointer<UnsafeMutablePointer<Element>>.allocate(capacity: pageCapacity * 2)
                larger.moveInitialize(from: pages, count: pageCount)
                pages.deallocate()
                pages = larger
                pageCapacity *= 2
            }
            let page = UnsafeMutablePointer<Element>.allocate(capacity: Slab.pageSize)
            for index in 0..<Slab.pageSize { initialize(page + index) }
            pages[pageCount] = page
            pageCount += 1
        }
    }

    /// The entry of `slot`, which must have storage.
    package subscript(_ slot: UInt32) -> UnsafeMutablePointer<Element> {
        assert(Int(slot) < capacity)
        return pages[Int(slot >> 8)] + Int(slot & 255)
    }
}

/// Hands out slot numbers, lowest first, and takes them back. A bitmap, 1 bit a slot. Loop-confined.
package struct SlotAllocator: ~Copyable {
    private var free: [UInt64] = []
    private var hint = 0
    /// Slots in use.
    package private(set) var used = 0

    /// An allocator with all slots free.
    package init() {}

    /// Takes the lowest free slot.
    package mutating func take() -> UInt32 {
        used += 1
        while hint < free.count, free[hint] == 0 { hint += 1 }
        if hint == free.count { free.append(.max) }
        let bit = free[hint].trailingZeroBitCount
        free[hint] &= ~(1 << UInt64(bit))
        return UInt32(hint * 64 + bit)
    }

    /// Gives `slot` back.
    package mutating func give(_ slot: UInt32) {
        let word = Int(slot / 64)
        assert(free[word] & (1 << UInt64(slot % 64)) == 0, "a slot is given back once")
        free[word] |= 1 << UInt64(slot % 64)
        hint = min(hint, word)
        used -= 1
    }
}
