// The only door into a loop from another thread: a lock-free list of letters and one eventfd.
//
// A producer pushes by compare-exchange and writes the eventfd only when the list was empty, so a burst costs one wake.
// The loop takes the whole list at once and reverses it: letters of one sender arrive in the order in which they were
// sent. Bounded by `Limits`: a full mailbox refuses (`send` returns false) and never blocks the sender's loop; what was
// refused is for the sender to repair.

import CLinux
import Glibc
import Synchronization

/// What is sent to a loop: a kind that the receiver defines, four words, and at most one object.
package struct Letter: @unchecked Sendable {
    // Sendable is sound: `object` is either immutable (a payload) or handed over for good (a closure's box).
    /// Meaning of the letter; 0 is reserved for closures.
    package var kind: UInt32
    /// Four words whose meaning `kind` gives.
    package var words: (UInt64, UInt64, UInt64, UInt64)
    /// An object that the receiver takes over.
    package var object: AnyObject?

    /// A letter of `kind`.
    package init(kind: UInt32, words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0), object: AnyObject? = nil) {
        self.kind = kind
        self.words = words
        self.object = object
    }
}

/// Boxes a closure for a letter of kind 0.
final class Work {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
}

/// A bounded queue of letters with many producers and one consumer.
final class Mailbox: Sendable {
    struct Node {
        var letter: Letter
        var next: UInt
    }

    /// Readable when letters wait.
    let wakeDescriptor: Int32
    private let head = Atomic<UInt>(0)
    private let waiting = Atomic<Int>(0)
    private let limit: Int

    init(limit: Int) throws(SystemError) {
        wakeDescriptor = martlet_eventfd()
        guard wakeDescriptor >= 0 else { throw SystemError("eventfd") }
        self.limit = limit
    }

    deinit {
        drain { _ in }
        close(wakeDescriptor)
    }

    /// Puts `letter` in; false when the mailbox is full. `urgent` letters (control, not messages) ignore the limit.
    /// With `wakes` false the caller promises to call `wake` soon, for this letter and those that others put behind it.
    func send(_ letter: Letter, urgent: Bool, wakes: Bool = true) -> Bool {
        let (before, _) = waiting.add(1, ordering: .relaxed)
        if before >= limit, !urgent {
            waiting.subtract(1, ordering: .relaxed)
            return false
        }
        let node = UnsafeMutablePointer<Node>.allocate(capacity: 1)
        node.initialize(to: Node(letter: letter, next: 0))
        var seen = head.load(ordering: .relaxed)
        while true {
            node.pointee.next = seen
            let (exchanged, original) = head.weakCompareExchange(
                expected: seen, desired: UInt(bitPattern: node), ordering: .acquiringAndReleasing)
            if exchanged { break }
            seen = original
        }
        if seen == 0, wakes { wake() }
        return true
    }

    func wake() {
        var one: UInt64 = 1
        // EAGAIN means that the counter is at its maximum: the loop is awake anyway.
        _ = write(wakeDescriptor, &one, 8)
    }

    /// Takes everything that waits, oldest first. On the loop only (or after its end).
    func drain(_ receive: (consuming Letter) -> Void) {
        var node = UnsafeMutablePointer<Node>(bitPattern: head.exchange(0, ordering: .acquiringAndReleasing))
        var oldest: UnsafeMutablePointer<Node>?
        while let current = node {
            node = UnsafeMutablePointer<Node>(bitPattern: current.pointee.next)
            current.pointee.next = UInt(bitPattern: oldest)
            oldest = current
        }
        while let current = oldest {
            oldest = UnsafeMutablePointer<Node>(bitPattern: current.pointee.next)
            let letter = current.move().letter
            current.deallocate()
            waiting.subtract(1, ordering: .relaxed)
            receive(letter)
        }
    }

    /// Clears the eventfd's counter.
    func acknowledgeWake() {
        var count: UInt64 = 0
        _ = read(wakeDescriptor, &count, 8)
    }

    var isEmpty: Bool { head.load(ordering: .acquiring) == 0 }
}
