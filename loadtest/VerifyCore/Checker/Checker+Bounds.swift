// I13: what gateways and Redis use, sampled once a second: each sample must stay within its bound, and in the end
// everything but memory must be back where it was in calm. Part of the checker; on the driver's loop, a few numbers a
// gateway.

package import Bytes

/// What gateways may use.
package struct ResourceBounds: Sendable {
    /// Resident bytes of a gateway.
    package var resident: UInt64 = 512 << 20
    /// Open descriptors of a gateway.
    package var descriptors = 4096
    /// Descriptors above the baseline that the gateways together may still have at the end.
    package var descriptorSlack = 64
    /// Bytes that may wait in a gateway for one connection.
    package var queuedBytesPerConnection: UInt64 = 1 << 20
    /// Bytes that may wait in the end in each gateway.
    package var queuedBytesAtEnd: UInt64 = 1 << 20
    /// Resident bytes above its baseline that a gateway may have in the end.
    package var residentSlack: UInt64 = 128 << 20
    /// Connections to Redis above the baseline, for each gateway: old and new ones overlap for a moment.
    package var redisConnectionSlack = 6

    package init() {}
}

/// One sample of one gateway; nil is what could not be found out.
package struct GatewayGauges: Sendable, Equatable {
    /// Resident bytes.
    package var resident: UInt64?
    /// Open descriptors.
    package var descriptors: Int?
    /// Bytes in the output queues of all connections.
    package var queuedBytes: UInt64?
    /// Open client connections.
    package var connections: Int?
    /// Lines of its metrics page.
    package var series: Int?

    package init() {}
}

/// Least, last and highest of a number.
struct GaugeRecord {
    var baseline: UInt64?
    var last: UInt64 = 0
    var peak: UInt64 = 0
    var isOver = false

    mutating func note(_ value: UInt64) {
        last = value
        peak = max(peak, value)
    }
}

/// What a gateway used.
struct GatewayBooks {
    var resident = GaugeRecord()
    var descriptors = GaugeRecord()
    var queuedBytes = GaugeRecord()
    var connections = GaugeRecord()
    var series = GaugeRecord()
}

/// All that is sampled.
struct GaugeBooks {
    var gateways: [Int: GatewayBooks] = [:]
    var redisConnections = GaugeRecord()
}

extension Checker {
    /// A sample of a gateway.
    package func sampled(_ gateway: Int, _ sample: GatewayGauges, now: MonotonicTime) {
        var books = gauges.gateways[gateway, default: GatewayBooks()]
        defer { gauges.gateways[gateway] = books }
        let bounds = plan.bounds
        if let resident = sample.resident {
            books.resident.note(resident)
            hold(&books.resident, to: bounds.resident, "bytes resident", gateway, now)
        }
        if let descriptors = sample.descriptors {
            books.descriptors.note(UInt64(max(0, descriptors)))
            hold(&books.descriptors, to: UInt64(bounds.descriptors), "descriptors", gateway, now)
        }
        if let connections = sample.connections { books.connections.note(UInt64(max(0, connections))) }
        if let queued = sample.queuedBytes {
            books.queuedBytes.note(queued)
            // Connections that are closing are in no count any more but may still have output.
            let connections = max(books.connections.last, books.connections.baseline ?? 0) + 16
            hold(&books.queuedBytes, to: connections * bounds.queuedBytesPerConnection, "bytes queued", gateway, now)
        }
        if let series = sample.series {
            books.series.note(UInt64(max(0, series)))
            // Every label value is known beforehand: what happens must not make new series.
            if let baseline = books.series.baseline {
                hold(&books.series, to: baseline, "series on its metrics page", gateway, now)
            }
        }
    }

    private func hold(
        _ record: inout GaugeRecord, to bound: UInt64, _ what: String, _ gateway: Int, _ now: MonotonicTime
    ) {
        let isOver = record.last > bound
        if isOver, !record.isOver {
            violate(.bounds, room: -1, now: now, "gateway \(gateway) has \(record.last) \(what), more than \(bound)")
        }
        record.isOver = isOver
    }

    /// How many connections Redis has.
    package func sampledRedis(connections: Int, gateways: Int, now: MonotonicTime) {
        gauges.redisConnections.note(UInt64(max(0, connections)))
        guard let baseline = gauges.redisConnections.baseline else { return }
        let bound = baseline + UInt64(gateways * plan.bounds.redisConnectionSlack)
        let isOver = gauges.redisConnections.last > bound
        if isOver, !gauges.redisConnections.isOver {
            violate(.bounds, room: -1, now: now, "Redis has \(connections) connections, \(baseline) in calm")
        }
        gauges.redisConnections.isOver = isOver
    }

    /// From here on what was sampled last is what is used in calm with all clients connected.
    package func setBaseline() {
        gauges.redisConnections.baseline = gauges.redisConnections.last
        for gateway in gauges.gateways.keys {
            var books = gauges.gateways[gateway, default: GatewayBooks()]
            books.resident.baseline = books.resident.last
            books.descriptors.baseline = books.descriptors.last
            books.queuedBytes.baseline = books.queuedBytes.last
            books.connections.baseline = books.connections.last
            if books.series.last > 0 { books.series.baseline = books.series.last }
            gauges.gateways[gateway] = books
        }
    }

    /// Whether all is back where it was in calm.
    func finishBounds(now: MonotonicTime) {
        let bounds = plan.bounds
        // Clients may have moved from one gateway to another; all together are as many as before.
        let before = gauges.gateways.values.reduce(0) { $0 + ($1.descriptors.baseline ?? $1.descriptors.last) }
        let after = gauges.gateways.values.reduce(0) { $0 + $1.descriptors.last }
        if after > before + UInt64(bounds.descriptorSlack) {
            violate(.bounds, room: -1, now: now, "gateways have \(after) descriptors, \(before) before the faults")
        }
        for (gateway, books) in gauges.gateways {
            if books.queuedBytes.last > bounds.queuedBytesAtEnd {
                violate(
                    .bounds, room: -1, now: now, "gateway \(gateway) still has \(books.queuedBytes.last) bytes queued")
            }
            if let baseline = books.resident.baseline, books.resident.last > baseline + bounds.residentSlack {
                violate(
                    .bounds, room: -1, now: now,
                    "gateway \(gateway) has \(books.resident.last >> 20) MiB resident, \(baseline >> 20) in calm")
            }
        }
        if let baseline = gauges.redisConnections.baseline, gauges.redisConnections.last > baseline + 2 {
            violate(
                .bounds, room: -1, now: now,
                "Redis has \(gauges.redisConnections.last) connections in the end, \(baseline) in calm")
        }
    }
}
