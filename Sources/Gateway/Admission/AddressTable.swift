// The account of addresses: open connections and the pace of new ones, for each address that has any. In 64 shards,
// each with a lock of its own that is held for one look-up; touched once when a connection comes and once when it
// goes, never by a message.
//
// Bounds. An address with open connections has an entry for as long as it has them: their number is bounded by the
// connections. When the last one has gone, the entry stays only while the pace still remembers something (at most a
// second), and no more than 1,024 of those are kept in a shard: then the one that has waited longest is forgotten, and
// its address begins with a fresh burst. To profit from that an attacker needs 65,536 addresses within a second, and
// the total rate stands before all of them.

import Bytes
import Reactor
import Rooms
import Synchronization
import Telemetry

/// Connections by address. Thread-safe.
final class AddressTable: Sendable {
    static let shardCount = 64
    /// Entries of a shard without a connection.
    static let idleLimit = 1024

    private struct Entry {
        var connections: UInt32 = 0
        /// On the shard's list of idle entries.
        var isListed = false
        /// State of the pace.
        var due: UInt64 = 0
    }

    private struct Shard {
        var entries: [UInt64: Entry] = [:]
        /// Addresses whose entries may be idle, the oldest first, from `first` on.
        var idle: [UInt64] = []
        var first = 0
    }

    private final class Cell: Sendable {
        let shard = Mutex(Shard())
    }

    private let most: Int
    private let pace: Pace
    private let cells: [Cell]

    /// At most `most` connections of an address (0: no limit), new ones at `pace`.
    init(most: Int, pace: Pace) {
        self.most = most
        self.pace = pace
        cells = (0..<AddressTable.shardCount).map { _ in Cell() }
    }

    /// Fibonacci hashing: neighbouring networks fall into different shards. Which shard an address falls into is no
    /// secret; within a shard the dictionary's hash is seeded.
    private func cell(_ peer: PeerAddress) -> Cell { cells[Int((peer.word &* 0x9E37_79B9_7F4A_7C15) >> 58)] }

    /// Counts a connection of `peer`, unless it has too many or they come too fast.
    func admit(_ peer: PeerAddress, at now: MonotonicTime) -> Labels.Refusal? {
        cell(peer).shard.withLock { shard in
            var entry = shard.entries[peer.word] ?? Entry()
            if most > 0, entry.connections >= most { return .address }
            if pace.isOn, pace.take(&entry.due, at: now) > 0 { return .addressRate }
            entry.connections += 1
            shard.entries[peer.word] = entry
            return nil
        }
    }

    /// A connection of `peer` is gone.
    func left(_ peer: PeerAddress, at now: MonotonicTime) {
        cell(peer).shard.withLock { shard in
            guard var entry = shard.entries[peer.word], entry.connections > 0 else { return }
            entry.connections -= 1
            if entry.connections > 0 || entry.isListed {
                shard.entries[peer.word] = entry
            } else if entry.due <= now.nanoseconds {
                shard.entries[peer.word] = nil
            } else {
                entry.isListed = true
                shard.entries[peer.word] = entry
                shard.idle.append(peer.word)
            }
            AddressTable.forget(&shard, at: now)
        }
    }

    /// Takes what has nothing more to say off the front of the list, and whatever is beyond the bound. Two for each one
    /// that may have been added, so that the list shrinks.
    private static func forget(_ shard: inout Shard, at now: MonotonicTime) {
        for _ in 0..<2 where shard.first < shard.idle.count {
            let word = shard.idle[shard.first]
            guard var entry = shard.entries[word] else {
                shard.first += 1
                continue
            }
            let isIdle = entry.connections == 0
            guard !isIdle || entry.due <= now.nanoseconds || shard.idle.count - shard.first > idleLimit else { break }
            shard.first += 1
            entry.isListed = false
            shard.entries[word] = isIdle ? nil : entry
        }
        if shard.first > idleLimit {
            shard.idle.removeFirst(shard.first)
            shard.first = 0
        }
    }

    /// Addresses that have an entry.
    var count: Int { cells.reduce(0) { $0 + $1.shard.withLock { $0.entries.count } } }
}
