// The catalogue is the authority: it covers every cell once, its names keep the conventions, and the number of series
// does not depend on what peers do.

import Bytes
import Telemetry
import Testing

@Suite struct MetricCatalogueTests {
    @Test func `the catalogue covers every cell of a shard exactly once`() {
        var owners = [Int](repeating: 0, count: CellLayout.count)
        for metric in MetricCatalogue.all where metric.family != "martlet_connections" {
            let first: Int
            switch metric.source {
            case .sum(let cell), .perLoop(let cell), .up(let cell): first = cell
            case .process: continue
            }
            for cell in first..<first + metric.combinations * metric.cellsPerSeries { owners[cell] += 1 }
        }
        #expect(
            owners.allSatisfy { $0 == 1 },
            "cells with other than one owner: \(owners.indices.filter { owners[$0] != 1 })")
    }

    @Test func `the last label values stay inside their metric`() {
        #expect(Counter.connectionsClosed(.applicationTerminal).cell + 1 == CellLayout.handshakes)
        #expect(Counter.handshakes(.proxyHeader).cell + 1 == CellLayout.receivedBytes)
        #expect(Counter.framesReceived(.pong).cell + 1 == CellLayout.publications)
        #expect(Counter.publications(.api).cell + 1 == CellLayout.deliveries)
        #expect(Counter.slowConsumers(.time).cell + 1 == CellLayout.rooms)
        #expect(Counter.engineCommands(.members, .unavailable).cell + 1 == CellLayout.engineDuration)
        #expect(Counter.engineErrors(.other).cell + 1 == CellLayout.engineProbe)
        #expect(Histogram.engineProbe.cell + BucketLadder.latency.cellCount == CellLayout.engineProbeTimeouts)
        #expect(Counter.engineFences(.refused).cell + 1 == CellLayout.engineBreakerOpen)
        #expect(Counter.gapRepairs(.lost).cell + 1 == CellLayout.recoveries)
        #expect(Counter.recoveries(.lost, .engine).cell + 1 == CellLayout.continuityLosses)
        #expect(Counter.continuityLosses(.mailbox).cell + 1 == CellLayout.members)
        #expect(Counter.memberEvents(.leave).cell + 1 == CellLayout.acceptErrors)
        #expect(Counter.acceptErrors(.other).cell + 1 == CellLayout.rateLimited)
        #expect(Counter.rateLimited(.churn).cell + 1 == CellLayout.connectionsRefused)
        #expect(Counter.connectionsRefused(.untrusted).cell + 1 == CellLayout.commands)
        #expect(Counter.commands(.pong, .other).cell + 1 == CellLayout.count)
        #expect(UpState.engine(.term).cell + 1 == CellLayout.engineCommands)
        #expect(Histogram.engineDuration(.members).cell + BucketLadder.latency.cellCount == CellLayout.engineReconnects)
    }

    @Test func `the bucket table has as many bounds as the layout reserves, in rising order`() {
        var offset = 0
        for ladder in BucketLadder.allCases {
            #expect(ladder.bounds.count == ladder.boundCount)
            #expect(zip(ladder.bounds, ladder.bounds.dropFirst()).allSatisfy { $0 < $1 })
            #expect(ladder.tableOffset == offset)
            offset += ladder.boundCount
        }
        #expect(BucketLadder.latency.bounds.first == 250_000)
        #expect(BucketLadder.latency.bounds.last == 10_000_000_000)
    }

    @Test func `names keep the conventions`() {
        let names = MetricCatalogue.all.map(\.name)
        #expect(Set(names).count == names.count)
        for metric in MetricCatalogue.all {
            #expect(metric.name.hasPrefix("martlet_") || metric.name.hasPrefix("process_"))
            #expect(metric.name.allSatisfy { $0.isASCII && ($0.isLowercase || $0 == "_") }, "\(metric.name)")
            #expect(!metric.family.hasSuffix("_total"))
            #expect(metric.unit.map { metric.family.hasSuffix("_" + $0.rawValue) } ?? true, "\(metric.name)")
            #expect((metric.kind == .histogram) == (metric.ladder != nil))
            #expect(metric.help.hasSuffix(".") && !metric.help.contains("\n") && !metric.help.contains("\\"))
            for label in metric.labels {
                #expect(Set(label.values).count == label.values.count)
                #expect(!["user", "room", "client", "le", "quantile"].contains(label.name))
                #expect(label.values.allSatisfy { $0.allSatisfy { $0.isASCII && $0 != "\"" && $0 != "\\" } })
            }
        }
    }

    @Test func `every error code of the protocol has its own result, any other one shares a single one`() {
        let codes: [UInt32] = [100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 120]
        #expect(Set(codes.map { Labels.Result(errorCode: $0).name }).count == codes.count)
        for code in [0, 99, 113, 119, 121, .max] as [UInt32] { #expect(Labels.Result(errorCode: code) == .other) }
    }

    /// APP-05: a label that peers can extend grows the exposition until the scraper dies.
    @Test func `APP-05 the number of series is the same before and after any traffic`() {
        let registry = MetricRegistry(loops: 2, version: "1")
        let expected = MetricCatalogue.all.reduce(0) { $0 + $1.sampleCount(loops: 2) }
        #expect(Exposition(registry).samples.count == expected)
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededRandom(seed: seed)
        for _ in 0..<100_000 {
            let shard = registry.shard(Int.random(in: 0..<2, using: &random))
            shard.add(.connectionsClosed(Labels.CloseClass(code: UInt16.random(in: 0 ... .max, using: &random))))
            let result = Labels.Result(errorCode: UInt32.random(in: 0 ... .max, using: &random))
            shard.add(.commands(Labels.Command.allCases.randomElement(using: &random) ?? .pong, result))
            shard.observe(.fanoutRecipients, UInt64.random(in: 0 ... .max, using: &random))
        }
        let after = Exposition(registry)
        #expect(after.samples.count == expected, "seed \(seed)")
        #expect(Set(after.samples.map(\.series)).count == expected, "seed \(seed)")
    }
}
