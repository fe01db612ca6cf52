// What a loop counts is what a reader sums: counters, gauges, up states, histogram edges.

import Telemetry
import Testing

@Suite struct MetricShardTests {
    @Test func `counters of all loops are summed`() {
        let registry = MetricRegistry(loops: 3, version: "1")
        for loop in 0..<3 { registry.shard(loop).add(.deliveries, loop + 1) }
        registry.shard(1).add(.deliveries)
        #expect(registry.total(.deliveries) == 7)
    }

    @Test func `a negative size counts nothing`() {
        let registry = MetricRegistry(loops: 1, version: "1")
        registry.shard(0).add(.receivedBytes, -5)
        #expect(registry.total(.receivedBytes) == 0)
    }

    @Test func `a gauge may fall below zero on one loop and the sum is still right`() {
        let registry = MetricRegistry(loops: 2, version: "1")
        registry.shard(0).add(.connections, 5)
        registry.shard(1).add(.connections, -2)
        #expect(registry.total(.connections) == 3)
        registry.shard(0).set(.connections, -1)
        #expect(registry.total(.connections) == -3)
    }

    @Test func `up means that some loop says up and none says down`() {
        let registry = MetricRegistry(loops: 3, version: "1")
        let state = UpState.engine(.commands)
        #expect(!registry.isUp(state))
        registry.shard(0).set(state, up: true)
        #expect(registry.isUp(state))
        registry.shard(2).set(state, up: false)
        #expect(!registry.isUp(state))
        registry.shard(2).set(state, up: true)
        #expect(registry.isUp(state))
        #expect(!registry.isUp(.engine(.subscriptions)))
    }

    @Test(arguments: BucketLadder.allCases)
    func `a value on a bucket's bound belongs to it and the next one to the bucket above`(ladder: BucketLadder) {
        let histogram = ladder == .latency ? Histogram.loopLag : .fanoutRecipients
        for (index, bound) in ladder.bounds.enumerated() {
            let registry = MetricRegistry(loops: 1, version: "1")
            let shard = registry.shard(0)
            shard.observe(histogram, bound)
            #expect(shard.read(histogram.cell + index) == 1, "bound \(bound)")
            shard.observe(histogram, bound + 1)
            #expect(shard.read(histogram.cell + index + 1) == 1, "above \(bound)")
            #expect(registry.count(histogram) == 2)
            #expect(shard.read(histogram.cell + ladder.boundCount + 1) == 2 * bound + 1)
        }
    }

    @Test func `the largest number lands above the last bound`() {
        let registry = MetricRegistry(loops: 1, version: "1")
        registry.shard(0).observe(.loopLag, UInt64.max)
        #expect(registry.shard(0).read(Histogram.loopLag.cell + BucketLadder.latency.boundCount) == 1)
    }

    @Test func `durations count in nanoseconds, negative ones as zero and endless ones as the largest`() {
        let registry = MetricRegistry(loops: 1, version: "1")
        let shard = registry.shard(0)
        let sum = Histogram.loopLag.cell + BucketLadder.latency.boundCount + 1
        shard.observe(.loopLag, .milliseconds(3))
        #expect(shard.read(sum) == 3_000_000)
        shard.observe(.loopLag, .seconds(-1))
        #expect(shard.read(sum) == 3_000_000)
        #expect(shard.read(Histogram.loopLag.cell) == 1)
        shard.observe(.loopLag, .seconds(Int64.max))
        #expect(shard.read(Histogram.loopLag.cell + BucketLadder.latency.boundCount) == 1)
    }

    @Test func `one observation can stand for many`() {
        let registry = MetricRegistry(loops: 1, version: "1")
        registry.shard(0).observe(.deliveryLatency(.engine), 400_000, times: 1000)
        #expect(registry.count(.deliveryLatency(.engine)) == 1000)
        #expect(registry.count(.deliveryLatency(.local)) == 0)
    }

    @Test(
        arguments: [
            (nil, Labels.CloseClass.none), (1000, .websocket), (1999, .websocket), (2000, .unassigned),
            (0, .unassigned),
            (3000, .reconnect), (3499, .reconnect), (3500, .terminal), (3999, .terminal), (4000, .applicationReconnect),
            (4499, .applicationReconnect), (4500, .applicationTerminal), (4999, .applicationTerminal),
            (5000, .unassigned), (65535, .unassigned),
        ] as [(UInt16?, Labels.CloseClass)])
    func `every close code has a class`(code: UInt16?, expected: Labels.CloseClass) {
        #expect(Labels.CloseClass(code: code) == expected)
    }
}
