// What every engine must do with limits, whatever is behind it, and what several nodes on one Redis admit together.
// Redis' clock is its own: limits of an hour show exact counts, and those of milliseconds are compared with its time.

import Bytes
import Foundation
import Gateway
import Reactor
import Redis
import Rooms
import Testing

private func hourly(_ burst: Int = 1) throws -> RateLimit {
    try #require(RateLimit(count: 1, period: .seconds(3600), burst: burst))
}

private let kept = HistoryOptions(size: 100, age: .seconds(60))

/// Each engine with and without history.
private struct Variant: CustomTestStringConvertible {
    var kind: EngineKind
    var history: HistoryOptions?

    static let all = EngineKind.allCases.flatMap { [Variant(kind: $0), Variant(kind: $0, history: kept)] }

    var testDescription: String { "\(kind)\(history == nil ? "" : " with history")" }
}

extension EngineRig {
    /// Publishes and returns how it ended.
    fileprivate func outcome(
        _ room: String, _ history: HistoryOptions?, talker: String = "", key: String = "", _ limits: RateLimits?
    ) throws -> PublishOutcome {
        let before = recorder.outcomes.count
        publish(room, "\"data\":1", history: history, sender: talker, key: key, limits: limits, talker: talker)
        try run("answered") { recorder.outcomes.count > before }
        return try #require(recorder.outcomes.last)
    }

    /// Publishes so many times; how many passed.
    fileprivate func passes(
        _ attempts: Int, _ room: String, _ history: HistoryOptions?, talker: String = "", _ limits: RateLimits?
    ) throws -> Int {
        let before = recorder.outcomes.count
        for _ in 0..<attempts {
            publish(room, "\"data\":1", history: history, limits: limits, talker: talker)
        }
        try run("all are answered") { recorder.outcomes.count == before + attempts }
        return recorder.outcomes[before...].count { $0.isTaken }
    }
}

extension PublishOutcome {
    fileprivate var isTaken: Bool {
        if case .taken = self { return true }
        return false
    }

    fileprivate var waits: RateWaits? {
        if case .limited(let waits) = self { return waits }
        return nil
    }
}

@Suite("Engines with limits", .serialized)
struct EngineLimits {
    @Test("A burst passes and not one more, in each room and with each limit by itself", arguments: Variant.all)
    fileprivate func burst(_ variant: Variant) throws {
        try variant.kind.withEngine { rig in
            let limits = RateLimits(room: try hourly(7), user: nil)
            #expect(try rig.passes(50, "a", variant.history, limits) == 7)
            #expect(try rig.passes(50, "b", variant.history, limits) == 7)
            let slow = RateLimits(room: nil, user: try hourly(2))
            #expect(try rig.passes(20, "c", variant.history, talker: "ada", slow) == 2)
            #expect(try rig.passes(20, "c", variant.history, talker: "bob", slow) == 2)
            #expect(try rig.passes(20, "d", variant.history, talker: "ada", slow) == 2)
            #expect(try rig.passes(100, "a", variant.history, nil) == 100, "who is exempt is not limited")
        }
    }

    @Test("A refusal says by which limits and for how long, reaches nobody and changes nothing", arguments: Variant.all)
    fileprivate func refusal(_ variant: Variant) throws {
        try variant.kind.withEngine { rig in
            try rig.join("r", history: variant.history)
            let limits = RateLimits(room: try hourly(2), user: try hourly())
            let hour: UInt64 = 3_600_000_000
            let near = (hour - 60_000_000)...hour
            guard case .taken(_, let next) = try rig.outcome("r", variant.history, talker: "ada", limits) else {
                Issue.record("the first one passes")
                return
            }
            #expect(next?.room == 0 && near.contains(next?.user ?? 0), "\(next as Any)")
            for _ in 0..<3 {
                let waits = try #require(try rig.outcome("r", variant.history, talker: "ada", limits).waits)
                #expect(waits.room == 0 && near.contains(waits.user) && waits.scope == .user, "\(waits)")
            }
            guard case .taken(_, let last) = try rig.outcome("r", variant.history, talker: "bob", limits) else {
                Issue.record("Ada's refusals took nothing of the room")
                return
            }
            #expect(near.contains(last?.room ?? 0) && near.contains(last?.user ?? 0))
            let full = try #require(try rig.outcome("r", variant.history, talker: "cy", limits).waits)
            #expect(near.contains(full.room) && full.user == 0 && full.scope == .room, "\(full)")
            let both = try #require(try rig.outcome("r", variant.history, talker: "bob", limits).waits)
            #expect(near.contains(both.room) && near.contains(both.user), "\(both)")
            // A marker behind all of it.
            #expect(try rig.outcome("r", variant.history, nil).isTaken)
            try rig.run("received") { rig.received.count == 3 }
            if variant.history != nil { #expect(rig.recorder.acknowledged.map(\.offset) == [1, 2, 3]) }
        }
    }

    @Test("A known key is answered as before, whatever the limits say", arguments: Variant.all)
    fileprivate func repetition(_ variant: Variant) throws {
        try variant.kind.withEngine { rig in
            let limits = RateLimits(room: try hourly(), user: try hourly())
            let first = try rig.outcome("r", variant.history, talker: "ada", key: "k", limits)
            guard case .taken(let position, _) = first else {
                Issue.record("the first one passes")
                return
            }
            for _ in 0..<3 {
                #expect(
                    try rig.outcome("r", variant.history, talker: "ada", key: "k", limits) == .taken(position))
            }
            #expect(try rig.outcome("r", variant.history, talker: "ada", key: "other", limits).waits != nil)
            #expect(try rig.outcome("r", variant.history, talker: "ada", limits).waits != nil)
        }
    }

    @Test("Rooms and users with hostile names are counted apart", arguments: Variant.all)
    fileprivate func hostileNames(_ variant: Variant) throws {
        try variant.kind.withEngine { rig in
            let names = ["a\r\nFLUSHALL\r\n", "%s", "{tag}", "tag", "}", "a b", "a", "c", "r", "u", "\0", " "]
            let limits = RateLimits(room: try hourly(24), user: try hourly())
            for room in names {
                for talker in names {
                    #expect(try rig.passes(2, room, variant.history, talker: talker, limits) == 1, "\(room) \(talker)")
                }
            }
        }
    }

    @Test("APP-04: what the embedded engine keeps of rooms and users is bounded, and time gives the burst back")
    func embeddedTime() throws {
        var now = MonotonicTime(nanoseconds: 1_000_000_000_000)
        let rig = try EngineRig { _ in MemoryEngine(now: { now }) }
        let limits = RateLimits(room: RateLimit(count: 50, period: .seconds(1), burst: 10), user: nil)
        #expect(try rig.passes(20, "r", nil, limits) == 10)
        now = now + .milliseconds(19)
        #expect(try rig.passes(20, "r", nil, limits) == 0)
        now = now + .milliseconds(1)
        #expect(try rig.passes(20, "r", nil, limits) == 1)
        // Bursts at the edge of any window: what was not used before the edge is not given twice behind it.
        now = now + .milliseconds(990)
        #expect(try rig.passes(20, "r", nil, limits) == 10)
        now = now + .milliseconds(20)
        #expect(try rig.passes(20, "r", nil, limits) == 1)
        now = now + .seconds(1_000_000_000)
        #expect(try rig.passes(20, "r", nil, limits) == 10)
    }

    @Test("APP-04: three nodes on one Redis admit together what one would", arguments: [nil, kept])
    func sum(_ history: HistoryOptions?) throws {
        let cluster = try EngineCluster(3)
        let limits = RateLimits(room: try hourly(50), user: nil)
        for round in 1...40 {
            for node in 0..<3 { cluster.publish("r", from: node, history: history, limits: limits) }
            try cluster.run("all are answered") {
                cluster.rigs.allSatisfy { $0.recorder.outcomes.count == round }
            }
        }
        try cluster.check()
        let passed = cluster.rigs.map { $0.recorder.outcomes.count { $0.isTaken } }
        #expect(passed.reduce(0, +) == 50, "\(passed)")
        #expect(passed.allSatisfy { $0 > 0 }, "no node is left out: \(passed)")
    }

    @Test("APP-04: over time three nodes admit the burst and one each spacing of Redis' clock, no more")
    func rate() throws {
        let cluster = try EngineCluster(3)
        func time() throws -> UInt64 {
            let parts = try cluster.server.command(["TIME"]).split(whereSeparator: \.isNewline).compactMap {
                UInt64($0)
            }
            return try #require(parts.first) * 1_000_000 + (try #require(parts.last))
        }
        let limits = RateLimits(room: RateLimit(count: 200, period: .seconds(1), burst: 5), user: nil)
        func passed() -> UInt64 {
            UInt64(cluster.rigs.reduce(0) { $0 + $1.recorder.outcomes.count { $0.isTaken } })
        }
        let start = try time()
        while passed() < 100 {
            for node in 0..<3 { cluster.publish("r", from: node, history: nil, limits: limits) }
            cluster.turn()
        }
        try cluster.check()
        let elapsed = try time() - start
        #expect(passed() <= 5 + elapsed / 5000, "\(passed()) in \(elapsed) µs")
    }

    @Test("While Redis is away a limited publish is 120; without its data the limit begins anew")
    func loss() throws {
        let server = try RedisServer()
        let rig = try redisRig(server.endpoint) { $0.backoffCap = .milliseconds(50) }
        try rig.runUntilAvailable()
        let limits = RateLimits(room: try hourly(3), user: nil)
        #expect(try rig.passes(10, "r", nil, limits) == 3)
        server.end(SIGKILL)
        try rig.run("the loss is noticed") { !rig.engine.isAvailable }
        #expect(try rig.outcome("r", nil, limits) == .failed(.unavailable))
        try server.start()
        try rig.runUntilAvailable()
        #expect(try rig.passes(10, "r", nil, limits) == 3)
    }

    @Test("After SCRIPT FLUSH limited publishes work again, and none was charged for nothing", arguments: [nil, kept])
    func scriptFlush(_ history: HistoryOptions?) throws {
        let server = try RedisServer()
        let rig = try redisRig(server.endpoint)
        try rig.runUntilAvailable()
        let limits = RateLimits(room: try hourly(3), user: nil)
        #expect(try rig.outcome("r", history, limits).isTaken)
        try server.command(["SCRIPT", "FLUSH"])
        #expect(try rig.outcome("r", history, limits) == .failed(.unavailable))
        #expect(try rig.passes(10, "r", history, limits) == 2)
    }
}
