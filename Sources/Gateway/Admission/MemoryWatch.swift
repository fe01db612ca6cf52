// Stops taking connections in before the kernel kills the process for its memory. Looks once a second, on loop 0, at
// the resident memory (one small file in /proc), of which output that waits for slow clients is a part. Bounded by
// being a few words.

import Bytes
import Logging
import Reactor
import Telemetry

/// Sheds newcomers while memory is short.
final class MemoryWatch {
    static let interval = Duration.seconds(1)
    /// Looks between two attempts to give free memory back to the system.
    private static let looksPerTrim = 10

    /// Bytes of resident memory above which nobody is taken in; below 95 % of it everybody is again.
    let limit: UInt64
    private let admission: Admission
    private let logger: Logger
    private let resident: () -> UInt64
    private let trim: () -> Void
    private var isShort = false
    private var looks = 0

    /// Watches for `limit` bytes. `resident` and `trim` are replaced by tests.
    init(
        limit: UInt64, admission: Admission, logger: Logger,
        resident: @escaping () -> UInt64 = { ProcessSample.residentBytes() },
        trim: @escaping () -> Void = { ProcessMemory.trim() }
    ) {
        self.limit = limit
        self.admission = admission
        self.logger = logger
        self.resident = resident
        self.trim = trim
    }

    /// Looks now and then every second. On the loop.
    func start(on loop: Loop) {
        look()
        loop.schedule(after: MemoryWatch.interval) { [weak self, unowned loop] in self?.start(on: loop) }
    }

    /// Looks once.
    func look() {
        let bytes = resident()
        if !isShort, bytes > limit { begin(bytes) }
        if isShort, bytes < limit - limit / 20 { end(bytes) }
        guard isShort else { return }
        // What clients have freed lies in the allocator, and counts as resident until it is given back.
        if looks % MemoryWatch.looksPerTrim == 0 { trim() }
        looks += 1
    }

    /// A quarter of the connections must go before others come, or memory fall. Without that way out a process whose
    /// memory does not shrink (slabs and pools are kept for the next ones) would refuse newcomers for ever, although
    /// what the former ones left behind would serve them.
    private func begin(_ bytes: UInt64) {
        isShort = true
        looks = 0
        let connections = admission.connections
        admission.shed(above: connections - connections / 4)
        say("memory is short: no more connections", bytes, connections, .warning)
    }

    private func end(_ bytes: UInt64) {
        isShort = false
        admission.shed(above: nil)
        say("memory suffices again: taking connections", bytes, admission.connections, .notice)
    }

    private func say(_ text: Logger.Message, _ bytes: UInt64, _ connections: Int, _ level: Logger.Level) {
        logger.log(
            level: level, text,
            metadata: [
                "memory.resident": .stringConvertible(bytes), "memory.limit": .stringConvertible(limit),
                "connections": .stringConvertible(connections),
            ])
    }

    /// The limit to go by: what is configured, else 90 % of the control group's; nil: none.
    static func limit(configured: Int, controlGroup: UInt64?) -> UInt64? {
        configured > 0 ? UInt64(configured) : controlGroup.map { $0 - $0 / 10 }
    }
}
