// Deadlines by name, never more than a fixed number of them: what rate limits keep of rooms and users, whom anybody can
// invent (APP-04). Used by RateLedger (the limits' state in the embedded engine) and RateMemory (refusals that a home
// remembers). Loop-confined.
//
// Work for each call is constant. Once the table is half full, each new name clears away up to `sweep` that are over;
// at the limit the one of a few that ends soonest goes before its time. Memory: the names, and about 100 bytes each.

import Bytes

/// Deadlines by name, in microseconds of whatever clock the caller has.
struct DeadlineTable: ~Copyable {
    /// Entries that each new name looks at.
    static let sweep = 8

    struct Entry {
        /// When the entry has nothing to say any more.
        var until: UInt64 = 0
        /// A second moment, the caller's own.
        var mark: UInt64 = 0
        /// A third one, and how often something was done at it; the caller's own.
        var batchAt: UInt64 = 0
        var batch: UInt64 = 0
        /// The same of what may count or not.
        var doubtful: UInt64 = 0
        /// Tells one life of the number from the next.
        var generation: UInt64 = 0
        fileprivate var isUsed = false
    }

    /// An entry that is looked for again later, if it is still the same.
    struct Reference {
        fileprivate var number: UInt32
        fileprivate var generation: UInt64

        /// No entry.
        static let none = Reference(number: .max, generation: 0)
    }

    private let limit: Int
    private var names = NameTable()
    private var entries: [Entry] = []
    private var hand = 0

    init(limit: Int) {
        precondition(limit > 0)
        self.limit = limit
    }

    /// Names in the table.
    var count: Int { names.count }

    /// The number of `name`, or nil.
    func find(_ name: UnsafeRawBufferPointer) -> UInt32? {
        names.count == 0 ? nil : names.find(name, hash: NameTable.hash(name))
    }

    /// The number of `name`, which is added if need be.
    mutating func make(_ name: UnsafeRawBufferPointer, now: UInt64) -> UInt32 {
        let hash = NameTable.hash(name)
        if let number = names.find(name, hash: hash) { return number }
        if names.count * 2 >= limit { clear(now) }
        let number = names.insert(name, hash: hash)
        if Int(number) == entries.count { entries.append(Entry()) }
        let generation = entries[Int(number)].generation + 1
        entries[Int(number)] = Entry(generation: generation, isUsed: true)
        return number
    }

    /// The entry of a number that is in use.
    subscript(_ number: UInt32) -> Entry {
        get { entries[Int(number)] }
        set { entries[Int(number)] = newValue }
    }

    /// A reference to a number that is in use.
    func reference(_ number: UInt32) -> Reference {
        Reference(number: number, generation: entries[Int(number)].generation)
    }

    /// The number that `reference` was made of, unless its name has gone since.
    func resolve(_ reference: Reference) -> UInt32? {
        guard Int(reference.number) < entries.count else { return nil }
        let entry = entries[Int(reference.number)]
        return entry.isUsed && entry.generation == reference.generation ? reference.number : nil
    }

    private mutating func clear(_ now: UInt64) {
        var soonest: Int?
        for _ in 0..<min(DeadlineTable.sweep, entries.count) {
            if hand >= entries.count { hand = 0 }
            let entry = entries[hand]
            if entry.isUsed, entry.until <= now {
                remove(hand)
            } else if entry.isUsed, soonest.map({ entry.until < entries[$0].until }) ?? true {
                soonest = hand
            }
            hand += 1
        }
        guard names.count >= limit else { return }
        // A full table has no free entries, so there is one.
        if let soonest { remove(soonest) }
    }

    private mutating func remove(_ index: Int) {
        names.remove(UInt32(index))
        entries[index].isUsed = false
    }
}
