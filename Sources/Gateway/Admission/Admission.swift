// Who may connect, over all loops of the process: how many connections in total and of one address, how many new ones
// a second, and none while memory is short. Asked once a connection by the loops' gates, right after accept; refusing
// costs two or three atomic operations and at most one lock of one in 64 shards, held for a table look-up.
// Bounded: the account of addresses has an entry for each address with open connections, and at most 65,536 others.

import Bytes
import Reactor
import Rooms
import Synchronization
import Telemetry

/// What is admitted. 0 = no limit.
struct AdmissionLimits: Sendable {
    /// Open client connections of the process; at least one is always possible.
    var connections = Int.max
    /// Open client connections of one address.
    var connectionsPerAddress = 0
    /// New client connections a second; a second's worth may come at once.
    var acceptRate = 0
    /// New client connections a second of one address; a second's worth may come at once.
    var acceptRatePerAddress = 0

    /// Descriptors that stay for listeners, admin connections, engine links and their successors.
    static func reserve(loops: Int) -> UInt64 { 32 + 8 * UInt64(loops) }

    /// Client connections for `configured` (0: 90 % of the descriptors), if the process may have `descriptors`. Clients
    /// could use up every descriptor otherwise, and health checks and Redis links would be refused.
    static func connections(configured: Int, descriptors: UInt64, loops: Int) -> Int {
        let reserve = reserve(loops: loops)
        let possible = descriptors > reserve ? Int(clamping: descriptors - reserve) : 1
        let wanted = configured > 0 ? configured : Int(clamping: descriptors - descriptors / 10)
        return max(1, min(wanted, possible))
    }
}

/// The process' account of client connections. Shared by all loops.
final class Admission: Sendable {
    let limits: AdmissionLimits
    private let open = Atomic<Int>(0)
    /// While memory is short, the number of open connections at which no more are taken.
    private let memoryCeiling = Atomic<Int>(.max)
    private let accepts: Pace
    private let acceptsDue = Atomic<UInt64>(0)
    private let addresses: AddressTable?

    init(_ limits: AdmissionLimits) {
        self.limits = limits
        accepts = Admission.pace(limits.acceptRate)
        let isPerAddress = limits.connectionsPerAddress > 0 || limits.acceptRatePerAddress > 0
        addresses =
            isPerAddress
            ? AddressTable(most: limits.connectionsPerAddress, pace: Admission.pace(limits.acceptRatePerAddress))
            : nil
    }

    private static func pace(_ rate: Int) -> Pace {
        rate > 0 ? Pace(rate, per: .seconds(1), burst: rate) : .none
    }

    /// Takes a place for a connection of `peer`, or says what forbids it. Any loop.
    ///
    /// An address over its own limit is refused before the total rate is asked, so that a flood from few addresses
    /// does not use up what the others need.
    func admit(_ peer: PeerAddress, at now: MonotonicTime) -> Labels.Refusal? {
        let count = open.add(1, ordering: .relaxed).newValue
        let refusal = refusal(count, peer, at: now)
        if refusal != nil { open.subtract(1, ordering: .relaxed) }
        return refusal
    }

    private func refusal(_ count: Int, _ peer: PeerAddress, at now: MonotonicTime) -> Labels.Refusal? {
        if count > limits.connections { return .connections }
        if count > memoryCeiling.load(ordering: .relaxed) { return .memory }
        if let refusal = admitAddress(peer, at: now) { return refusal }
        if accepts.isOn, !takeAccept(at: now) {
            leftAddress(peer, at: now)
            return .rate
        }
        return nil
    }

    /// Gives the place of a connection of `peer` back. Any loop.
    func left(_ peer: PeerAddress, at now: MonotonicTime) {
        leftAddress(peer, at: now)
        open.subtract(1, ordering: .relaxed)
    }

    /// The part of `admit` that concerns the address: for a connection that was admitted before its peer was known.
    func admitAddress(_ peer: PeerAddress, at now: MonotonicTime) -> Labels.Refusal? {
        peer == .uncounted ? nil : addresses?.admit(peer, at: now)
    }

    /// The reverse of `admitAddress`.
    func leftAddress(_ peer: PeerAddress, at now: MonotonicTime) {
        if peer != .uncounted { addresses?.left(peer, at: now) }
    }

    private func takeAccept(at now: MonotonicTime) -> Bool {
        var due = acceptsDue.load(ordering: .relaxed)
        while true {
            let (next, wait) = accepts.next(due, at: now)
            if wait > 0 { return false }
            let (isOurs, found) = acceptsDue.compareExchange(expected: due, desired: next, ordering: .relaxed)
            if isOurs { return true }
            due = found
        }
    }

    /// Client connections that are open. Any thread.
    var connections: Int { open.load(ordering: .relaxed) }

    /// Addresses in the account. Any thread.
    var knownAddresses: Int { addresses?.count ?? 0 }

    // MARK: Memory

    /// Takes no more than `ceiling` connections while memory is short; nil ends that. Any thread.
    func shed(above ceiling: Int?) { memoryCeiling.store(ceiling ?? .max, ordering: .relaxed) }

    /// Whether newcomers are refused since memory is short. Any thread.
    var isShedding: Bool { connections >= memoryCeiling.load(ordering: .relaxed) }
}
