// Giving free memory back to the system. Rare: called while memory is short, by whoever watches it.

import CLinux

/// The allocator's memory.
package enum ProcessMemory {
    /// Gives free pages back, on a thread of its own: it walks through all of the heap, and takes the allocator's
    /// locks one after the other.
    package static func trim() { DetachedThread.run { _ = martlet_trim_memory() } }
}
