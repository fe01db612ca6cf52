// Slots and their storage: addresses that never move, numbers handed out lowest first.

import Bytes
import Testing

@Suite struct SlabTests {
    @Test func entriesNeverMoveWhileTheSlabGrows() {
        var slab = Slab<Int>()
        #expect(slab.capacity == 0)
        var places: [UnsafeMutablePointer<Int>] = []
        var initialised = 0
        for slot in 0..<UInt32(Slab<Int>.pageSize * 40) {
            slab.ensure(slot) {
                $0.initialize(to: -1)
                initialised += 1
            }
            #expect(slab[slot].pointee == -1)
            slab[slot].pointee = Int(slot)
            places.append(slab[slot])
        }
        #expect(initialised == slab.capacity)
        #expect(places.enumerated().allSatisfy { slab[UInt32($0)] == $1 && $1.pointee == $0 })
    }

    @Test func ensuringADistantSlotMakesAllPagesBeforeIt() {
        var slab = Slab<UInt8>()
        slab.ensure(1000) { $0.initialize(to: 7) }
        #expect(slab.capacity == 1024)
        #expect((0..<1024 as Range<UInt32>).allSatisfy { slab[$0].pointee == 7 })
        slab.ensure(3) { _ in Issue.record("a page that exists is not initialised again") }
    }
}

@Suite struct SlotAllocatorTests {
    @Test(arguments: [21, 22, 23] as [UInt64])
    func theLowestFreeSlotIsAlwaysTaken(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var allocator = SlotAllocator()
        var taken: Set<UInt32> = []
        for step in 0..<4000 {
            // The share of takes swings, so that the table fills and empties.
            let takes = (step / 500) % 2 == 0 ? 3 : 1
            if Int.random(in: 0..<4, using: &random) < takes || taken.isEmpty {
                var lowest: UInt32 = 0
                while taken.contains(lowest) { lowest += 1 }
                let slot = allocator.take()
                guard slot == lowest else {
                    Issue.record("took \(slot) instead of \(lowest); seed \(seed), step \(step)")
                    return
                }
                taken.insert(slot)
            } else if let slot = taken.randomElement(using: &random) {
                taken.remove(slot)
                allocator.give(slot)
            }
            #expect(allocator.used == taken.count)
        }
    }

    @Test func slotsGoOnBeyondAWordOfTheBitmap() {
        var allocator = SlotAllocator()
        #expect((0..<200).map { _ in allocator.take() } == Array(0..<200))
        allocator.give(64)
        allocator.give(0)
        allocator.give(199)
        #expect((0..<4).map { _ in allocator.take() } == [0, 64, 199, 200])
    }
}
