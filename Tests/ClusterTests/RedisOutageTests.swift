// Redis dies, comes back, or stops answering: clients keep their connections, nobody is told that a message was
// published which was not, and everything works again by itself.

import ClusterSupport
import Foundation
import TestSupport
import Testing

@Suite("Redis in trouble", .ownThread)
struct RedisOutageTests {
    private let room = TwoGateways.room

    @Test("Redis is killed and comes back: clients stay, publishing says 120 or 100 and works again within 3 s")
    func killed() async throws {
        let redis = try await RedisProcess(usesPort: true)
        let cluster = try await TwoGateways(redis: redis)
        var account = Account()
        for (number, member) in cluster.members.enumerated() {
            try await account.publish("before \(number)", as: member)
        }
        #expect(account.acknowledged.count == 3)
        for member in cluster.members { try await member.hear("before 2", in: room) }

        // Killed under load: what is on its way has an unknown outcome, and nothing waits for ever.
        async let load = underLoad(cluster)
        for index in 0..<3 { try await cluster.bob.hear("load 0 of \(index)", in: room) }
        try await redis.kill()
        for health in try await cluster.broken() { #expect(health.contains("engine"), "it names the check: \(health)") }
        let during = try await load
        account.acknowledged.formUnion(during.acknowledged)
        account.unknown.formUnion(during.unknown)
        account.refused.formUnion(during.refused)
        // Away for so long that both gateways try as seldom as they ever will: one attempt a second and link.
        for gateway in [cluster.a, cluster.b] {
            _ = try await eventually("many attempts in vain") {
                let failures = try await gateway.metric("martlet_engine_commands_total") {
                    $0.contains(#"command="setup""#) && !$0.contains(#"result="ok""#)
                }
                return failures >= 32 ? true : nil
            }
        }
        for (number, member) in cluster.members.enumerated() {
            let outcome = try await member.publish("away \(number)", in: room)
            #expect(outcome == .refused(120))
            try account.note("away \(number)", outcome)
        }

        try await redis.start()
        _ = try await eventually("an answer to PING") { try await redis.answersPing() ? true : nil }
        // From here on the promise holds: both ways, within 3 s.
        let answered = ContinuousClock.now
        async let there: Void = works(from: cluster.ada, to: cluster.eve, "there")
        async let back: Void = works(from: cluster.eve, to: cluster.ada, "back")
        _ = try await (there, back)
        let elapsed = ContinuousClock.now - answered
        #expect(elapsed < .seconds(3), "it took \(elapsed) from the answer to PING")

        try await cluster.healed()
        var after = Account()
        for number in 0..<20 {
            for (index, member) in cluster.members.enumerated() {
                try await after.publish("after \(number) of \(index)", as: member)
            }
        }
        #expect(after.acknowledged.count == 60, "\(after.refused) \(after.unknown)")
        try await settle(cluster)
        for member in cluster.members {
            let texts = member.texts(in: room)
            #expect(Set(texts).count == texts.count, "nothing comes twice")
            #expect(after.acknowledged.isSubset(of: texts), "what was acknowledged after healing reaches everybody")
            #expect(account.refused.isDisjoint(with: texts), "what was refused was not published")
        }
        expectNobodyLeft(cluster)
    }

    @Test("Redis stops answering for a while: every publish is answered, and replies never shift after it goes on")
    func suspended() async throws {
        let redis = try await RedisProcess()
        defer { redis.resume() }
        let cluster = try await TwoGateways(
            redis: redis, configuration: #"{"engine": {"redis": {"commandTimeout": "400ms"}}}"#)
        for turn in 0..<2 {
            var account = Account()
            redis.suspend()
            // Written and not answered: 100. Afterwards the links are known to be dead: 120. Nothing is acknowledged,
            // above all not by a reply that belongs to another command.
            for round in 0..<4 {
                for (index, member) in cluster.members.enumerated() {
                    try await account.publish("turn \(turn) round \(round) of \(index)", as: member)
                }
            }
            #expect(account.acknowledged.isEmpty, "acknowledged by a Redis that does not run: \(account.acknowledged)")
            #expect(!account.unknown.isEmpty)
            #expect(account.refused.count + account.unknown.count == 12)
            for health in try await cluster.broken() { #expect(health.contains("engine"), "\(health)") }
            redis.resume()
            try await cluster.healed()

            var after = Account()
            for (index, member) in cluster.members.enumerated() {
                for number in 0..<10 {
                    try await after.publish("turn \(turn) healed \(number) of \(index)", as: member)
                }
            }
            #expect(after.acknowledged.count == 30)
            try await settle(cluster)
            for member in cluster.members {
                let texts = member.texts(in: room)
                #expect(Set(texts).count == texts.count, "nothing comes twice")
                #expect(after.acknowledged.isSubset(of: texts))
                #expect(account.refused.isDisjoint(with: texts))
            }
        }
        expectNobodyLeft(cluster)
    }

    @Test("Redis drops the subscriptions' links alone: they come back by themselves, and nobody is told or missed")
    func subscribersDropped() async throws {
        let redis = try await RedisProcess()
        let cluster = try await TwoGateways(redis: redis)
        for turn in 0..<3 {
            let lines = cluster.a.process.errors.count
            #expect(try await redis.endSubscribers() >= 2)
            try await cluster.a.process.errors.first("the log's word on it", from: lines) {
                $0.contains("redis is available")
            }
            try await cluster.healed()
            for (index, member) in cluster.members.enumerated() {
                #expect(try await member.publish("turn \(turn) of \(index)", in: room) == .done)
            }
            try await settle(cluster)
        }
        for member in cluster.members {
            let texts = member.texts(in: room).filter { $0.hasPrefix("turn") }
            #expect(texts == (0..<3).flatMap { turn in (0..<3).map { "turn \(turn) of \($0)" } })
        }
        expectNobodyLeft(cluster)
    }

    @Test("Gateways that start before Redis let clients in, refuse with 120, and begin to work when Redis is there")
    func lateRedis() async throws {
        let redis = try await RedisProcess(usesPort: true, isAway: true)
        async let first = GatewayProcess(redis: redis, awaitsReadiness: false)
        async let second = GatewayProcess(redis: redis, awaitsReadiness: false)
        let gateways = try await [first, second]
        let python = try await PythonClients()
        let members = [
            try await python.connect("member-0", to: gateways[0]),
            try await python.connect("member-1", to: gateways[1]),
        ]
        for (member, gateway) in zip(members, gateways) {
            #expect(try await gateway.health().status == 503)
            #expect(try await member.publish("too early", in: room) == .refused(120))
        }
        async let firstJoined: Void = members[0].subscribe(room)
        async let secondJoined: Void = members[1].subscribe(room)
        for member in members {
            #expect(try await member.event("refused").code == 120, "a refusal that the SDK retries")
        }
        try await redis.start()
        _ = try await (firstJoined, secondJoined)
        for gateway in gateways {
            _ = try await eventually("readiness") { try await gateway.health().isReady ? true : nil }
        }
        #expect(try await members[0].publish("at last", in: room) == .done)
        for member in members {
            try await member.hear("at last", in: room)
            #expect(member.texts(in: room) == ["at last"])
            #expect(member.count(of: "connecting") == 1)
        }
    }

    /// Publishes from both gateways until something is refused; every publish must be answered.
    private func underLoad(_ cluster: TwoGateways) async throws -> Account {
        try await withThrowingTaskGroup(of: Account.self) { group in
            for (index, member) in cluster.members.enumerated() {
                group.addTask {
                    var account = Account()
                    for number in 0..<100_000 where account.refused.isEmpty {
                        try await account.publish("load \(number) of \(index)", as: member)
                    }
                    return account
                }
            }
            return try await group.reduce(into: Account()) { sum, account in
                sum.acknowledged.formUnion(account.acknowledged)
                sum.refused.formUnion(account.refused)
                sum.unknown.formUnion(account.unknown)
            }
        }
    }

    /// Publishes until a message was acknowledged and has reached `listener`, on the other gateway.
    private func works(from speaker: any Member, to listener: any Member, _ text: String) async throws {
        for number in 0..<1000 {
            let text = "\(text) \(number)"
            guard try await speaker.publish(text, in: room) == .done else {
                await pause()
                continue
            }
            // The listener's gateway may come back a little later than the speaker's: then this one is lost to it.
            if (try? await listener.hear(text, in: room, within: .milliseconds(100))) != nil { return }
        }
        throw TestFailure("publishing does not work again")
    }

    /// Returns when everything that was published so far has been delivered.
    private func settle(_ cluster: TwoGateways) async throws {
        for member in cluster.members {
            let mark = "mark \(UUID().uuidString)"
            #expect(try await member.publish(mark, in: room) == .done)
            for other in cluster.members { try await other.hear(mark, in: room) }
        }
    }

    private func expectNobodyLeft(_ cluster: TwoGateways) {
        for chat in [cluster.ada, cluster.bob] {
            #expect(chat.count(of: "disconnected") == 0)
            #expect(chat.count(of: "left") == 0)
            #expect(chat.count(of: "joined") == 1)
        }
        #expect(cluster.eve.count(of: "connecting") == 1, "only its own connect")
        #expect(cluster.eve.count(of: "disconnected") + cluster.eve.count(of: "left") == 0)
        #expect(cluster.eve.count(of: "joined") == 1)
    }
}
