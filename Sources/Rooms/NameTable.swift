// Rooms by name: an open-addressing table whose keys are bytes, so that a lookup makes no String. Used twice per loop:
// for the rooms that have members here, and for those whose home is here.
//
// The hash is SipHash with a seed of this process (Swift's Hasher): peers choose the names and must not be able to
// choose the collisions. Bounded by its users: local rooms by connections × rooms per connection, home rooms by local
// rooms over all loops.

/// Room names, each with a small stable number. Loop-confined.
package struct NameTable: ~Copyable {
    private struct Entry {
        var hash: UInt64 = 0
        var bytes: UnsafeMutableRawPointer?
        var count = 0
    }

    // slots holds number + 1; 0 is an empty slot. Linear probing, backward-shift deletion: no tombstones.
    private var slots: [UInt32]
    private var entries: [Entry] = []
    private var freeNumbers: [UInt32] = []
    /// Number of names.
    package private(set) var count = 0

    /// An empty table.
    package init() { slots = Array(repeating: 0, count: 16) }

    deinit { for entry in entries { entry.bytes?.deallocate() } }

    /// The hash under which `name` is found, the same in every table of the process.
    package static func hash(_ name: UnsafeRawBufferPointer) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(bytes: name)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    /// The number of `name`, or nil.
    package func find(_ name: UnsafeRawBufferPointer, hash: UInt64) -> UInt32? {
        var slot = place(hash)
        while slots[slot] != 0 {
            let number = slots[slot] - 1
            if matches(number, name, hash) { return number }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    /// Adds `name`, which is not there yet, and returns its number. Numbers of removed names are used again.
    package mutating func insert(_ name: UnsafeRawBufferPointer, hash: UInt64) -> UInt32 {
        if (count + 1) * 4 > slots.count * 3 { grow() }
        let number: UInt32
        if let reused = freeNumbers.popLast() {
            number = reused
        } else {
            number = UInt32(entries.count)
            entries.append(Entry())
        }
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: max(1, name.count), alignment: 1)
        if let source = name.baseAddress { bytes.copyMemory(from: source, byteCount: name.count) }
        entries[Int(number)] = Entry(hash: hash, bytes: bytes, count: name.count)
        put(number, hash)
        count += 1
        return number
    }

    /// The name of `number`; valid until it is removed.
    package func name(of number: UInt32) -> UnsafeRawBufferPointer {
        let entry = entries[Int(number)]
        return UnsafeRawBufferPointer(start: entry.bytes, count: entry.count)
    }

    /// The hash of `number`'s name.
    package func hash(of number: UInt32) -> UInt64 { entries[Int(number)].hash }

    /// Forgets the name of `number`.
    package mutating func remove(_ number: UInt32) {
        var hole = place(entries[Int(number)].hash)
        while slots[hole] != number + 1 {
            precondition(slots[hole] != 0, "a number that is removed was inserted")
            hole = (hole + 1) & (slots.count - 1)
        }
        // Close the hole: whatever was pushed past it by probing moves back.
        var next = (hole + 1) & (slots.count - 1)
        while slots[next] != 0 {
            let ideal = place(entries[Int(slots[next] - 1)].hash)
            let distance = (next - ideal) & (slots.count - 1)
            if distance >= (next - hole) & (slots.count - 1) {
                slots[hole] = slots[next]
                hole = next
            }
            next = (next + 1) & (slots.count - 1)
        }
        slots[hole] = 0
        entries[Int(number)].bytes?.deallocate()
        entries[Int(number)] = Entry()
        freeNumbers.append(number)
        count -= 1
    }

    private func place(_ hash: UInt64) -> Int { Int(hash & UInt64(slots.count - 1)) }

    private func matches(_ number: UInt32, _ name: UnsafeRawBufferPointer, _ hash: UInt64) -> Bool {
        let entry = entries[Int(number)]
        guard entry.hash == hash, entry.count == name.count else { return false }
        return UnsafeRawBufferPointer(start: entry.bytes, count: entry.count).elementsEqual(name)
    }

    private mutating func put(_ number: UInt32, _ hash: UInt64) {
        var slot = place(hash)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = number + 1
    }

    private mutating func grow() {
        let before = slots
        slots = Array(repeating: 0, count: before.count * 2)
        for value in before where value != 0 { put(value - 1, entries[Int(value - 1)].hash) }
    }
}
