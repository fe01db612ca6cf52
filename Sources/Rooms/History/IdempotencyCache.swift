// What the embedded engine remembers of publications with an idempotency key, so that a repeated one gets the first
// one's position and is not published again. Redis keeps the same by itself.
//
// Owned by one loop, asked once for each publish with a key. Bounded in number, bytes and age; at a bound the oldest
// entry goes, and a repetition of that one would be published anew (`evicted` counts them). Memory: the key's bytes and
// about 100 bytes an entry.

package import Bytes

/// Keys of publications with the positions that they got. Loop-confined.
package struct IdempotencyCache: ~Copyable {
    /// Bounds.
    package struct Limits: Sendable {
        package var entries = 65_536
        /// Bytes of the rooms' names, senders and keys together.
        package var bytes = 8 * 1024 * 1024
        package var age = Duration.seconds(300)

        package init() {}
    }

    private struct Entry {
        var position = StreamPosition.none
        var time = MonotonicTime(nanoseconds: 0)
        var bytes = 0
    }

    private let limits: Limits
    private var names = NameTable()
    private var entries: [Entry] = []
    // Numbers in the order of their coming; `first` is the oldest.
    private var order: [UInt32] = []
    private var first = 0
    private var scratch = ByteBuffer()
    /// Bytes of the keys that are remembered.
    package private(set) var bytes = 0
    /// Entries that went before their time.
    package private(set) var evicted = 0

    package init(limits: Limits = Limits()) {
        precondition(limits.entries > 0)
        self.limits = limits
    }

    /// Entries that are remembered.
    package var count: Int { names.count }

    /// The position that the publication of `sender` with `key` in `room` got; nil when it is not known.
    package mutating func find(
        room: UnsafeRawBufferPointer, sender: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer, now: MonotonicTime
    ) -> StreamPosition? {
        expire(now: now)
        compose(room, sender, key)
        guard let number = names.find(scratch.bytes, hash: NameTable.hash(scratch.bytes)) else { return nil }
        return entries[Int(number)].position
    }

    /// Remembers a publication; a known one keeps what it has.
    package mutating func insert(
        room: UnsafeRawBufferPointer, sender: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer,
        position: StreamPosition, now: MonotonicTime
    ) {
        expire(now: now)
        compose(room, sender, key)
        let hash = NameTable.hash(scratch.bytes)
        guard scratch.count <= limits.bytes, names.find(scratch.bytes, hash: hash) == nil else { return }
        while count >= limits.entries || bytes > limits.bytes - scratch.count {
            dropOldest()
            evicted += 1
        }
        let number = names.insert(scratch.bytes, hash: hash)
        if Int(number) == entries.count { entries.append(Entry()) }
        entries[Int(number)] = Entry(position: position, time: now, bytes: scratch.count)
        bytes += scratch.count
        order.append(number)
    }

    /// Forgets what is too old.
    package mutating func expire(now: MonotonicTime) {
        while first < order.count, entries[Int(order[first])].time + limits.age <= now { dropOldest() }
    }

    private mutating func dropOldest() {
        let number = order[first]
        bytes -= entries[Int(number)].bytes
        names.remove(number)
        first += 1
        // The part in front is given back when it is the larger one: constant work for each entry.
        if first > 64, first * 2 > order.count {
            order.removeFirst(first)
            first = 0
        }
    }

    /// One name of three parts: the lengths in front of it keep them apart.
    private mutating func compose(
        _ room: UnsafeRawBufferPointer, _ sender: UnsafeRawBufferPointer, _ key: UnsafeRawBufferPointer
    ) {
        scratch.removeAll(keepingAtMost: 4096)
        scratch.append(decimal: UInt64(room.count))
        scratch.append(":")
        scratch.append(decimal: UInt64(sender.count))
        scratch.append(":")
        scratch.append(room)
        scratch.append(sender)
        scratch.append(key)
    }
}
