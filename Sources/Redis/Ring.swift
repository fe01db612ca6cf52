// A first-in-first-out queue of plain values: what is in flight on a link, and what waits to be subscribed. Grows by
// doubling and never shrinks; its users bound it (`LinkLimits`). No reference counts, no exclusivity checks.

/// A queue of trivial values. Loop-confined.
struct Ring<Element: BitwiseCopyable>: ~Copyable {
    private var storage: UnsafeMutablePointer<Element>
    private var capacity: Int
    private var head = 0
    private(set) var count = 0

    init() {
        capacity = 16
        storage = .allocate(capacity: 16)
    }

    deinit { storage.deallocate() }

    var isEmpty: Bool { count == 0 }

    var first: Element? { count == 0 ? nil : storage[head] }

    mutating func append(_ element: Element) {
        if count == capacity { grow() }
        storage[(head + count) & (capacity - 1)] = element
        count += 1
    }

    mutating func popFirst() -> Element? {
        guard count > 0 else { return nil }
        let element = storage[head]
        head = (head + 1) & (capacity - 1)
        count -= 1
        return element
    }

    /// Replaces the first element, which must exist.
    mutating func replaceFirst(_ element: Element) {
        precondition(count > 0)
        storage[head] = element
    }

    mutating func removeAll() {
        head = 0
        count = 0
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
        for index in 0..<count { (larger + index).initialize(to: storage[(head + index) & (capacity - 1)]) }
        storage.deallocate()
        storage = larger
        capacity *= 2
        head = 0
    }
}
