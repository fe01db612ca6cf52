// The text of /metrics: what a scraper reads out of it is what was counted, in both formats.

import Bytes
import Telemetry
import Testing

@Suite struct ExpositionTests {
    @Test func `values arrive under their names and labels`() {
        let registry = MetricRegistry(loops: 2, version: "1.2.3", droppedLogLines: { 42 })
        registry.shard(0).add(.connections, 7)
        registry.shard(1).add(.connections, 5)
        registry.shard(1).add(.commands(.presenceStats, .notAvailable), 3)
        registry.shard(0).add(.publications(.client), 9)
        registry.shard(0).set(.engine(.commands), up: true)
        let read = Exposition(registry)
        #expect(read.value("martlet_connections") == 12)
        #expect(read.value("martlet_loop_connections{loop=\"0\"}") == 7)
        #expect(read.value("martlet_loop_connections{loop=\"1\"}") == 5)
        #expect(read.value("martlet_commands_total{command=\"presence_stats\",result=\"not_available\"}") == 3)
        #expect(read.value("martlet_commands_total{command=\"connect\",result=\"ok\"}") == 0)
        #expect(read.value("martlet_publications_total{origin=\"client\"}") == 9)
        #expect(read.value("martlet_engine_up{role=\"commands\"}") == 1)
        #expect(read.value("martlet_engine_up{role=\"subscriptions\"}") == 0)
        #expect(read.value("martlet_log_dropped_total") == 42)
        #expect(read.value("martlet_build_info{version=\"1.2.3\"}") == 1)
    }

    @Test(arguments: [ExpositionFormat.prometheus, .openMetrics])
    func `histograms are cumulative, in seconds, and end with +Inf equal to the count`(format: ExpositionFormat) {
        let registry = MetricRegistry(loops: 2, version: "1")
        registry.shard(0).observe(.deliveryLatency(.local), 250_000)
        registry.shard(1).observe(.deliveryLatency(.local), 250_001)
        registry.shard(1).observe(.deliveryLatency(.local), 11_000_000_000)
        let read = Exposition(registry, format)
        let buckets = read.samples.filter {
            $0.name == "martlet_delivery_latency_seconds_bucket" && $0.labels["path"] == "local"
        }
        #expect(buckets.map(\.value) == [1] + [Double](repeating: 2, count: 14) + [3])
        #expect(buckets.first?.labels["le"] == "0.00025")
        #expect(buckets.last?.labels["le"] == "+Inf")
        #expect(buckets[11].labels["le"] == (format == .openMetrics ? "1.0" : "1"))
        #expect(read.value("martlet_delivery_latency_seconds_sum{path=\"local\"}") == 11.000500001)
        #expect(read.value("martlet_delivery_latency_seconds_count{path=\"local\"}") == 3)
        #expect(read.value("martlet_delivery_latency_seconds_count{path=\"engine\"}") == 0)
    }

    @Test func `the older format describes every sample's family and ends without a mark`() {
        let read = Exposition(MetricRegistry(loops: 1, version: "1"))
        #expect(!read.endsWithMark)
        for metric in MetricCatalogue.all {
            #expect(read.types[metric.name] == (metric.kind == .info ? "gauge" : metric.kind.rawValue))
            #expect(read.samples.contains { $0.name == metric.name || $0.name == metric.name + "_bucket" })
        }
        #expect(read.units.isEmpty)
    }

    @Test func `OpenMetrics names families without the suffix, gives units and ends with its mark`() {
        let read = Exposition(MetricRegistry(loops: 1, version: "1"), .openMetrics)
        #expect(read.endsWithMark)
        for metric in MetricCatalogue.all {
            #expect(read.types[metric.family] == metric.kind.rawValue)
            #expect(read.units[metric.family] == metric.unit?.rawValue)
        }
        #expect(read.value("martlet_deliveries_total") == 0)
    }

    @Test func `a version with quotes, backslashes and newlines cannot break the text`() {
        let version = "1.0\"\\\n{}"
        let read = Exposition(MetricRegistry(loops: 1, version: version))
        #expect(read.samples.first { $0.name == "martlet_build_info" }?.labels["version"] == version)
    }

    @Test func `a negative gauge is printed with its sign`() {
        let registry = MetricRegistry(loops: 1, version: "1")
        registry.shard(0).set(.rooms, -3)
        #expect(Exposition(registry).value("martlet_rooms") == -3)
    }

    @Test func `without a process sample only the process metrics are missing`() {
        let registry = MetricRegistry(loops: 1, version: "1")
        var buffer = ByteBuffer()
        registry.render(into: &buffer, format: .prometheus, process: nil)
        let text = String(decoding: buffer.bytes, as: UTF8.self)
        #expect(!text.contains("process_"))
        #expect(text.contains("martlet_log_dropped_total 0"))
    }

    @Test(arguments: [
        ("", false), ("*/*", false), ("text/plain;version=0.0.4", false),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", true),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", true), ("application/openmetrics-text", true),
        ("application/openmetrics-text;version=0.0.1;q=0.75,text/plain", false),
        ("APPLICATION/OPENMETRICS-TEXT", true), ("application/openmetrics-text;q=0", false),
        ("application/openmetrics-textile", false), (";;,=,", false),
    ])
    func `the Accept header chooses the format`(accept: String, openMetrics: Bool) {
        #expect((ExpositionFormat(accept: accept) == .openMetrics) == openMetrics)
    }
}
