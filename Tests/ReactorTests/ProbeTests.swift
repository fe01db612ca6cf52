// Starts the probe, a process of its own, for what would disturb the tests that run beside.

import Glibc
import Testing

@Suite struct ProbeTests {
    /// Runs the probe that lies beside the test bundle and returns its `key=value` lines.
    private func probe(_ check: String) throws -> [String: Int] {
        var raw = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &raw, raw.count)
        try #require(length > 0)
        let own = String(decoding: raw[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let directory = own.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        // With swift-testing's own runner the executable is not the bundle; the bundle's path is then an argument.
        let candidates =
            [directory]
            + CommandLine.arguments.map {
                $0.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
            }
        let path = try #require(candidates.map { $0 + "/reactor-probe" }.first { access($0, X_OK) == 0 })
        let pipe = try #require(popen("'\(path)' \(check)", "r"))
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = fread(&chunk, 1, chunk.count, pipe)
            if count == 0 { break }
            output += chunk[..<count]
        }
        #expect(pclose(pipe) == 0, "the probe ends well")
        var values: [String: Int] = [:]
        for line in String(decoding: output, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: "=")
            if parts.count == 2 { values[String(parts[0])] = Int(parts[1]) }
        }
        return values
    }

    @Test("NET-08 without descriptors newcomers are refused, nobody else suffers, and nothing spins")
    func descriptors() throws {
        let seen = try probe("descriptors")
        #expect(seen["accepted"] == 10)
        #expect(seen["refused"] == 30)
        #expect(seen["served"] == 10)
        #expect(try #require(seen["counted"]) >= 30)
        #expect(try #require(seen["idleIterations"]) < 40)
        #expect(try #require(seen["restingIterations"]) < 60)
        #expect(seen["acceptedWhileResting"] == 10)
        #expect(seen["servedWhileResting"] == 1)
        #expect(seen["acceptedAfterwards"] == 20)
        #expect(seen["servedAfterwards"] == 10)
        #expect(seen["refusedAgain"] == 10)
        #expect(seen["connections"] == 20)
        #expect(seen["frames"] == 0)
    }

    @Test func signalsComeAsEventsOfTheLoop() throws {
        #expect(
            try probe("signals") == ["before": 0, "together": 3, "distinct": 3, "last": 1, "survived": 1])
    }
}
