// Mutated texts from a printed seed: whatever an operator's file, variable or URL holds, the answer is a configuration
// or a list of one-line problems, never a trap.

import Bytes
import Testing

@testable import Gateway

@Suite struct ConfigurationFuzzTests {
    private static let file = """
        {"port": 8001, "admin": {"port": 9001}, "client": {"pingInterval": "30s", "maxMessageSize": "2KiB", "rate": "0",
         "allowedOrigins": ["https://a.example", "*"]}, "engine": {"redis": {"url": "redis://u:p%20@[::1]:6379/2"}},
         "rooms": {"default": {"presence": false, "userRate": "1/5s"}, "namespaces": {"n": {"historyTTL": "300s"}}}}
        """

    /// Replaces, doubles, drops or inserts a few bytes; pieces that parsers trip over are preferred.
    private static func mutate(_ text: String, _ random: inout SeededRandom) -> [UInt8] {
        var bytes = Array(text.utf8)
        let pieces = [
            "9999999999999999999", "-1", "1e309", "%", "%f", "\u{0}", "\"", "{", "[", "null", "\\ud800", "@", ":",
        ]
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes.insert(contentsOf: Array((pieces.randomElement(using: &random) ?? "").utf8), at: place)
            case 1 where place < bytes.count: bytes[place] = UInt8.random(in: 0 ... .max, using: &random)
            case 2: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 0...8, using: &random)))
            default: bytes.insert(contentsOf: bytes.suffix(from: place).prefix(8), at: place)
            }
        }
        return bytes
    }

    @Test func `a mutated file gives a configuration or one-line problems`() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededRandom(seed: seed)
        var refused = 0
        for _ in 0..<200 {
            let file = ConfigurationFile(path: "f.json", bytes: Self.mutate(Self.file, &random))
            do {
                let loaded = try ConfigurationLoader.load(file: file)
                #expect(loaded.configuration.port >= 0, "seed \(seed)")
            } catch {
                refused += 1
                #expect(!error.problems.isEmpty, "seed \(seed)")
                for problem in error.problems { #expect(!problem.description.contains("\n"), "seed \(seed)") }
            }
        }
        #expect(refused > 0, "seed \(seed)")
    }

    @Test func `mutated URLs, durations, sizes and rates are read or refused`() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededRandom(seed: seed)
        for _ in 0..<1000 {
            func text(_ sample: String) -> String { String(decoding: Self.mutate(sample, &random), as: UTF8.self) }
            if let url = try? RedisURL(text("redis://user:pass@[::1]:6379/2")), url.password == nil {
                #expect((try? RedisURL(url.description)) == url, "seed \(seed): \(url)")
            }
            _ = try? RedisURL(text("unix://user:pass@/run/redis.sock?db=1"))
            if let time = ConfigurationUnits.duration(text("1234.567s")) {
                #expect(ConfigurationUnits.duration(ConfigurationUnits.text(time)) == time, "seed \(seed): \(time)")
            }
            if let size = ConfigurationUnits.size(text("1024KiB")) {
                #expect(ConfigurationUnits.size(ConfigurationUnits.text(size: size)) == size, "seed \(seed): \(size)")
            }
            if let rate = ConfigurationUnits.rate(text("50/10s")) {
                #expect(ConfigurationUnits.rate(ConfigurationUnits.text(rate)) == .some(rate), "seed \(seed)")
            }
            _ = SettingChecks.origin(text("https://*.example.com:8443"))
            _ = SettingChecks.isLoopback(text("::ffff:127.0.0.1"))
        }
    }
}
