// How many client connections this process takes, over all loops: what the descriptors allow, less what the process
// needs for itself. Without it clients could use up every descriptor, and health checks and Redis links would be
// refused. Asked once a connection, by any loop.

import Synchronization

/// The process' bound of client connections.
final class ConnectionBudget: Sendable {
    /// Descriptors that stay for listeners, admin connections, engine links and their successors.
    static func reserve(loops: Int) -> UInt64 { 32 + 8 * UInt64(loops) }

    private let limit: Int
    private let taken = Atomic<Int>(0)

    /// A budget for `descriptors` that the process may have.
    init(descriptors: UInt64, loops: Int) {
        let reserve = ConnectionBudget.reserve(loops: loops)
        limit = descriptors > reserve ? Int(clamping: descriptors - reserve) : 1
    }

    /// Takes a place; false when there is none.
    func take() -> Bool {
        if taken.add(1, ordering: .relaxed).newValue <= limit { return true }
        taken.subtract(1, ordering: .relaxed)
        return false
    }

    /// Gives a place back.
    func giveBack() { taken.subtract(1, ordering: .relaxed) }
}
