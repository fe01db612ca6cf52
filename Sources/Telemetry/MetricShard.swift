// The numbers of one loop. The loop that owns a shard is its only writer, so counting is a relaxed load and a relaxed
// store, without a locked instruction; any thread may read. A struct of two pointers: no reference count, no
// exclusivity check. The memory belongs to the MetricRegistry, which lives as long as the loops do.
//
// Public rather than package here and in MetricCells and MetricLabels: only `@inlinable public` is inlined into other
// modules (Swift 6.3), and then a counter is one instruction instead of two calls.

public import Synchronization

/// The metric cells of one loop. Only that loop writes; everybody may read.
public struct MetricShard: @unchecked Sendable {
    // Sendable is sound: cells are atomics, bounds are written once before any shard is handed out.
    @usableFromInline let cells: UnsafeMutablePointer<Atomic<UInt64>>
    @usableFromInline let bounds: UnsafePointer<UInt64>

    init(cells: UnsafeMutablePointer<Atomic<UInt64>>, bounds: UnsafePointer<UInt64>) {
        self.cells = cells
        self.bounds = bounds
    }

    /// Counts `amount` more; wraps after 2⁶⁴ like every Prometheus counter that restarts.
    @inlinable public func add(_ counter: Counter, _ amount: UInt64 = 1) { bump(counter.cell, by: amount) }

    /// Counts `amount` more of something whose size is an Int; a negative amount counts nothing.
    @inlinable public func add(_ counter: Counter, _ amount: Int) {
        bump(counter.cell, by: UInt64(max(0, amount)))
    }

    /// Moves a gauge up or down.
    @inlinable public func add(_ gauge: Gauge, _ change: Int) {
        // Two's complement: the sum over the shards is read back as a signed number.
        bump(gauge.cell, by: UInt64(bitPattern: Int64(change)))
    }

    /// Sets this loop's share of a gauge.
    @inlinable public func set(_ gauge: Gauge, _ value: Int) {
        cells[gauge.cell].store(UInt64(bitPattern: Int64(value)), ordering: .relaxed)
    }

    /// Says whether this loop's part is up. A loop that never says anything does not count.
    @inlinable public func set(_ state: UpState, up: Bool) {
        cells[state.cell].store(up ? 2 : 1, ordering: .relaxed)
    }

    /// Takes `value` (nanoseconds, or members) into a histogram, `times` times.
    @inlinable public func observe(_ histogram: Histogram, _ value: UInt64, times: UInt64 = 1) {
        let ladder = histogram.ladder
        let first = bounds + ladder.tableOffset
        let count = ladder.boundCount
        var bucket = 0
        // Linear on purpose: nearly everything lands in the first buckets.
        while bucket < count, value > first[bucket] { bucket += 1 }
        bump(histogram.cell + bucket, by: times)
        bump(histogram.cell + count + 1, by: value &* times)
    }

    /// Takes a duration into a histogram of nanoseconds; a negative one counts as zero.
    @inlinable public func observe(_ histogram: Histogram, _ duration: Duration, times: UInt64 = 1) {
        let (seconds, attoseconds) = duration.components
        let whole = UInt64(clamping: seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let total = whole.partialValue.addingReportingOverflow(UInt64(clamping: attoseconds / 1_000_000_000))
        observe(histogram, whole.overflow || total.overflow ? .max : total.partialValue, times: times)
    }

    /// What a cell holds now.
    package func read(_ cell: Int) -> UInt64 {
        precondition(cell >= 0 && cell < CellLayout.count)
        return cells[cell].load(ordering: .relaxed)
    }

    @inlinable func bump(_ cell: Int, by amount: UInt64) {
        cells[cell].store(cells[cell].load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }
}
