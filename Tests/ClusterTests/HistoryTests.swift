// Rooms that keep history, on two gateways that share a Redis: one stream with one numbering, wherever somebody
// publishes, listens, or comes back; and what becomes of it when Redis loses its process or its data.

import ClusterSupport
import Foundation
import TestSupport
import Testing

@Suite("History that two gateways share", .ownThread)
struct HistoryTests {
    private static let configuration = #"{"rooms": {"default": {"historySize": 1000, "historyTTL": "10m"}}}"#
    private let room = TwoGateways.room

    private func cluster(_ redis: RedisProcess) async throws -> TwoGateways {
        try await TwoGateways(redis: redis, configuration: HistoryTests.configuration)
    }

    /// The stream as each gateway tells it.
    private func streams(_ cluster: TwoGateways) throws -> [String] {
        try [cluster.a, cluster.b].map {
            try RawClient($0).ask(#""history":{"channel":"\#(room)","limit":-1}"#).reply
        }
    }

    /// How a member entered the room, the last time.
    private func entrance(_ member: any Member) throws -> ClientEvent {
        try #require(member.events.all.last { $0.event == "joined" && member.isMine($0) })
    }

    @Test("What is published at one gateway has the same place everywhere, in pushes, in answers and in the history")
    func oneStream() async throws {
        let cluster = try await cluster(try await RedisProcess())
        let each = 100
        async let ada: Void = cluster.ada.publish(each, "ada", in: room)
        async let bob: Void = cluster.bob.publish(each, "bob", in: room)
        async let eve: Void = cluster.eve.publish(each, "eve", in: room)
        _ = try await (ada, bob, eve)
        #expect(try await cluster.eve.publish("last", in: room) == .done)
        for member in cluster.members { try await member.hear("last", in: room) }
        for member in cluster.members {
            #expect(member.texts(in: room) == cluster.eve.texts(in: room))
            #expect(member.offsets(in: room) == Array(1...(3 * each + 1)))
        }
        for chat in [cluster.ada, cluster.bob] {
            // An answer names the place at which everybody sees the message.
            let user = chat === cluster.ada ? "ada" : "bob"
            let mine = cluster.eve.events.all.filter { $0.event == "message" && $0.user == user }
            let answers = chat.events.all.filter { $0.event == "published" }
            #expect(answers.map(\.offset) == mine.map(\.offset), "\(user)")
            #expect(Set(answers.map(\.epoch)) == [try entrance(cluster.eve).epoch], "\(user)")
        }
        let streams = try streams(cluster)
        #expect(streams[0] == streams[1])
        #expect(Array(RawClient.numbers("offset", in: streams[0]).prefix(300)) == Array(1...300))
    }

    @Test("Whoever was away recovers what the other gateway's clients said, also when it comes back elsewhere")
    func absence() async throws {
        let cluster = try await cluster(try await RedisProcess())
        let balancer = try await LoadBalancer(try await PythonClients(), to: cluster.b)
        let zoe = try await cluster.python.connect("zoe", url: balancer.url(user: "zoe"))
        try await zoe.subscribe(room)
        let max = try await ChatClient(urls: [balancer.url()], user: "max", rooms: [room])
        let travellers: [any Member] = [zoe, max]
        var said = 0
        // Back at the same gateway, then at the other one, then there again.
        for next in [cluster.b, cluster.a, cluster.a, cluster.b] {
            #expect(try await cluster.ada.publish("\(said)", in: room) == .done)
            for member in travellers { try await member.hear("\(said)", in: room) }
            let starts = travellers.map(\.events.count)
            try await balancer.turn(to: nil)
            try await zoe.event("connecting", from: starts[0])
            try await max.event("disconnected", from: starts[1])
            for number in 1...10 {
                let speaker: any Member = number % 2 == 0 ? cluster.ada : cluster.bob
                #expect(try await speaker.publish("\(said + number)", in: room) == .done)
            }
            said += 11
            try await balancer.turn(to: next)
            max.type("/reconnect")
            for (member, start) in zip(travellers, starts) {
                #expect(try await member.event("joined", from: start).continuity == "recovered")
                try await member.hear("\(said - 1)", in: room)
            }
        }
        for member in travellers {
            #expect(member.texts(in: room) == (0..<said).map(String.init))
            #expect(member.offsets(in: room) == Array(1...said))
        }
    }

    @Test("The same key at both gateways is published once and answered with one place, also in rooms without history")
    func oneKey() async throws {
        let redis = try await RedisProcess()
        let rooms = #"{"default": {"historySize": 10, "historyTTL": "60s"}, "namespaces": {"plain": {}}}"#
        async let first = GatewayProcess(configuration: #"{"rooms": \#(rooms)}"#, redis: redis)
        async let second = GatewayProcess(configuration: #"{"rooms": \#(rooms)}"#, redis: redis)
        let gateways = try await [first, second]
        for room in ["lobby", "plain:lobby"] {
            let ada = try gateways.map { try RawClient($0, user: "ada") }
            let listeners = try gateways.map { try RawClient($0) }
            for listener in listeners { _ = try listener.ask(#""subscribe":{"channel":"\#(room)"}"#) }
            let answers = try [0, 1, 0, 1].map { try ada[$0].publish(1, in: room, key: "one") }
            #expect(Set(answers).count == 1, "\(answers)")
            #expect(RawClient.numbers("offset", in: answers[0]) == (room == "lobby" ? [1] : []), "\(answers)")
            // Somebody else's key, and another one of hers.
            _ = try RawClient(gateways[0], user: "bob").publish(2, in: room, key: "one")
            _ = try ada[1].publish(3, in: room, key: "two")
            for listener in listeners { #expect(try listener.hear(3) == [1, 2, 3]) }
        }
    }

    @Test("A Redis that writes down what it acknowledges is killed and comes back: nobody is told, nothing is lost")
    func restart() async throws {
        let redis = try await RedisProcess(isDurable: true)
        let cluster = try await cluster(redis)
        let epoch = try entrance(cluster.eve).epoch
        // Ada tells every refusal, max repeats what was refused.
        let max = try await ChatClient([cluster.b], user: "max", rooms: [room], retryFor: 120)
        let members = cluster.members + [max]
        let count = 1000
        for turn in 0..<2 {
            let start = cluster.ada.events.count
            // Killed while both publish without a pause.
            let texts = (0..<count).map { "turn \(turn) message \($0)" }
            let (told, repeated) = (cluster.ada.say(texts, in: room), max.say(texts, in: room))
            try await cluster.eve.hear("turn \(turn) message 20", in: room)
            try await redis.kill()
            try await cluster.ada.events.first("ada's last answer", from: start) { $0.number == told }
            try await redis.start()
            try await max.events.first("max' last answer") { $0.event == "published" && $0.number == repeated }
            try await cluster.healed()
            #expect(try await cluster.bob.publish("turn \(turn) is over", in: room) == .done)
            for member in members { try await member.hear("turn \(turn) is over", in: room) }
        }
        #expect(cluster.ada.count(of: "error") > 0, "Redis was away while somebody published")
        let said = cluster.eve.events.all.filter { $0.event == "message" }
        let own = said.filter { $0.user == "max" }
        #expect(own.compactMap(\.text) == (0..<2).flatMap { turn in (0..<count).map { "turn \(turn) message \($0)" } })
        for member in members {
            #expect(member.texts(in: room) == cluster.eve.texts(in: room))
            #expect(member.offsets(in: room) == Array(1...said.count), "no hole, nothing twice")
            #expect(member.count(of: "joined") == 1 && member.count(of: "left") == 0, "nobody was told anything")
            #expect(member.count(of: "disconnected") == 0)
        }
        for (chat, user) in [(cluster.ada, "ada"), (max, "max")] {
            let answers = chat.events.all.filter { $0.event == "published" }
            #expect(answers.allSatisfy { $0.epoch == epoch })
            let places = Set(said.filter { $0.user == user }.compactMap(\.offset))
            #expect(Set(answers.compactMap(\.offset)).isSubset(of: places), "what was acknowledged was kept")
        }
        for stream in try streams(cluster) { #expect(try RawClient.epoch(in: stream) == epoch) }
    }

    @Test("Redis loses everything: all members are told, come back with a new epoch, and go on together")
    func flushed() async throws {
        let redis = try await RedisProcess()
        let cluster = try await cluster(redis)
        for number in 1...5 { #expect(try await cluster.ada.publish("before \(number)", in: room) == .done) }
        for member in cluster.members { try await member.hear("before 5", in: room) }
        let epoch = try entrance(cluster.eve).epoch
        let starts = cluster.members.map(\.events.count)
        try await redis.flush()
        #expect(try await cluster.eve.event("joining", from: starts[2]).code == 2500)
        for (member, start) in zip(cluster.members, starts) {
            let back = try await member.event("joined", from: start)
            #expect(back.continuity == "lost" && back.epoch != epoch)
            #expect(member.count(of: "disconnected") == 0)
        }
        #expect(cluster.eve.count(of: "connecting") == 1, "it stayed connected")
        try await cluster.healed()
        for number in 1...3 { #expect(try await cluster.bob.publish("after \(number)", in: room) == .done) }
        for (member, start) in zip(cluster.members, starts) {
            try await member.hear("after 3", in: room)
            let texts = member.texts(in: room)
            #expect(texts == (1...5).map { "before \($0)" } + (1...3).map { "after \($0)" })
            let joined = member.events.all.dropFirst(start).filter { $0.event == "joined" && member.isMine($0) }
            #expect(Set(joined.map(\.epoch)) == [try entrance(cluster.eve).epoch], "once, and all the same")
        }
        let streams = try streams(cluster)
        #expect(streams[0] == streams[1])
    }
}
