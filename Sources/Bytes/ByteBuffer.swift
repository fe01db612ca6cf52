// A growable run of bytes: what encoders append to and what holds an incomplete frame.
//
// Owned by one loop, never shared, never copied: `~Copyable`, so that there is no reference count and no exclusivity
// check in front of an append. Growth doubles and is driven by bytes that are really there, never by a length that a
// peer announced; whoever fills one from outside checks `count` against its limit first.

/// A growable, uniquely owned run of bytes.
///
/// Loop-confined. Appending is amortised O(1); an append that would overflow `Int` traps (programmer's error: no
/// caller gets near it, since every input is limited long before).
package struct ByteBuffer: ~Copyable {
    @usableFromInline var storage: UnsafeMutableRawPointer?
    /// Number of bytes appended so far.
    @usableFromInline package private(set) var count: Int
    /// Number of bytes that fit before the next growth.
    @usableFromInline package private(set) var capacity: Int

    /// Makes a buffer with room for `capacity` bytes; zero allocates nothing.
    package init(capacity: Int = 0) {
        self.count = 0
        self.capacity = capacity
        self.storage =
            capacity > 0 ? UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16) : nil
    }

    deinit { storage?.deallocate() }

    /// Whether nothing has been appended.
    package var isEmpty: Bool { count == 0 }

    /// The appended bytes; valid until the next mutation.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: storage, count: count) }

    /// The appended bytes, writable in place; valid until the next mutation.
    package var mutableBytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: storage, count: count)
    }

    /// Makes room for `additional` bytes and returns where they go; `advance(by:)` then counts them.
    package mutating func reserve(_ additional: Int) -> UnsafeMutableRawPointer {
        precondition(additional >= 0)
        if let storage, capacity - count >= additional { return storage + count }
        return grow(additional)
    }

    /// Counts `written` bytes that were stored at the pointer from `reserve`.
    package mutating func advance(by written: Int) {
        precondition(written >= 0 && written <= capacity - count)
        count += written
    }

    private mutating func grow(_ additional: Int) -> UnsafeMutableRawPointer {
        let wanted = max(count + additional, capacity * 2, 64)
        let fresh = UnsafeMutableRawPointer.allocate(byteCount: wanted, alignment: 16)
        if let storage {
            fresh.copyMemory(from: storage, byteCount: count)
            storage.deallocate()
        }
        storage = fresh
        capacity = wanted
        return fresh + count
    }

    /// Appends one byte.
    package mutating func append(_ byte: UInt8) {
        reserve(1).storeBytes(of: byte, as: UInt8.self)
        count += 1
    }

    /// Appends `bytes`; they must not lie in this buffer.
    package mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        reserve(bytes.count).copyMemory(from: source, byteCount: bytes.count)
        count += bytes.count
    }

    /// Appends the UTF-8 of a literal; no String is made.
    package mutating func append(_ literal: StaticString) {
        if literal.hasPointerRepresentation {
            append(UnsafeRawBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
        } else {
            literal.withUTF8Buffer { append(UnsafeRawBufferPointer($0)) }
        }
    }

    /// Appends the UTF-8 of `text`. For cold paths: names, configuration, tests.
    package mutating func append(text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// Appends `value` in decimal, without leading zeros.
    package mutating func append(decimal value: UInt64) {
        var place = reserve(20)
        var digits = 1
        var rest = value
        while rest >= 10 {
            rest /= 10
            digits += 1
        }
        rest = value
        place += digits
        for _ in 0..<digits {
            place -= 1
            place.storeBytes(of: UInt8(truncatingIfNeeded: 48 + rest % 10), as: UInt8.self)
            rest /= 10
        }
        count += digits
    }

    /// Drops the first `amount` bytes by moving the rest to the front.
    package mutating func removeFirst(_ amount: Int) {
        precondition(amount >= 0 && amount <= count)
        guard let storage, amount > 0 else { return }
        storage.copyMemory(from: storage + amount, byteCount: count - amount)
        count -= amount
    }

    /// Keeps only the first `length` bytes.
    package mutating func truncate(to length: Int) {
        precondition(length >= 0 && length <= count)
        count = length
    }

    /// Empties the buffer; its memory stays for the next use unless it is larger than `limit` bytes.
    package mutating func removeAll(keepingAtMost limit: Int = .max) {
        count = 0
        guard capacity > limit else { return }
        storage?.deallocate()
        storage = nil
        capacity = 0
    }
}
