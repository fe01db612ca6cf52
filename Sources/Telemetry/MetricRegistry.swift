// Owns the shards of all loops and sums them. Made once before the loops start and kept until after they have ended:
// shards are plain pointers into its memory. Reading is done off the loops (admin listener) and costs them nothing.

import Synchronization

/// The metric memory of a process: one shard a loop.
package final class MetricRegistry: @unchecked Sendable {
    // Sendable is sound: only `let`s; the cells are atomics, the bounds are written in init only.
    private let storage: UnsafeMutableRawPointer
    private let bounds: UnsafeMutablePointer<UInt64>
    /// Number of loops.
    package let loops: Int
    /// Version of the build, for `martlet_build_info`.
    package let version: String
    private let droppedLogLines: @Sendable () -> UInt64

    /// Cells of a shard, rounded up to 128 bytes: two loops never write to the same (prefetched pair of) cache lines.
    private static let stride = (CellLayout.count * MemoryLayout<UInt64>.stride + 127) / 128 * 128

    /// Makes zeroed shards for `loops` loops (at least one). `droppedLogLines` is asked at each rendering.
    package init(loops: Int, version: String, droppedLogLines: @escaping @Sendable () -> UInt64 = { 0 }) {
        precondition(loops > 0)
        self.loops = loops
        self.version = version
        self.droppedLogLines = droppedLogLines
        storage = UnsafeMutableRawPointer.allocate(byteCount: Self.stride * loops, alignment: 128)
        for loop in 0..<loops {
            let cells = (storage + loop * Self.stride).bindMemory(to: Atomic<UInt64>.self, capacity: CellLayout.count)
            for cell in 0..<CellLayout.count { (cells + cell).initialize(to: Atomic<UInt64>(0)) }
        }
        let table = BucketLadder.allCases.flatMap(\.bounds)
        bounds = UnsafeMutablePointer<UInt64>.allocate(capacity: table.count)
        bounds.initialize(from: table, count: table.count)
    }

    deinit {
        storage.deallocate()
        bounds.deallocate()
    }

    /// The shard that loop `loop` writes.
    package func shard(_ loop: Int) -> MetricShard {
        precondition(loop >= 0 && loop < loops)
        let cells = (storage + loop * Self.stride).assumingMemoryBound(to: Atomic<UInt64>.self)
        return MetricShard(cells: cells, bounds: bounds)
    }

    /// A counter summed over the loops.
    package func total(_ counter: Counter) -> UInt64 { sum(counter.cell) }

    /// A gauge summed over the loops.
    package func total(_ gauge: Gauge) -> Int { Int(Int64(bitPattern: sum(gauge.cell))) }

    /// Whether at least one loop says up and none says down.
    package func isUp(_ state: UpState) -> Bool { up(state.cell) }

    /// Number of values that a histogram took in, over the loops.
    package func count(_ histogram: Histogram) -> UInt64 {
        (0...histogram.ladder.boundCount).reduce(0) { $0 &+ sum(histogram.cell + $1) }
    }

    /// Log lines that were dropped so far.
    var dropped: UInt64 { droppedLogLines() }

    func sum(_ cell: Int) -> UInt64 {
        (0..<loops).reduce(0) { $0 &+ shard($1).read(cell) }
    }

    func up(_ cell: Int) -> Bool {
        var anyUp = false
        for loop in 0..<loops {
            switch shard(loop).read(cell) {
            case 1: return false
            case 2: anyUp = true
            default: break
            }
        }
        return anyUp
    }
}
