// Rooms that two gateways share through Redis: everybody sees everything, in one order, and nothing else.

import ClusterSupport
import Foundation
import TestSupport
import Testing

@Suite("Two gateways that share a Redis", .ownThread)
struct SharedRoomTests {
    @Test("Messages of three clients on two gateways reach all three, once, in one order")
    func order() async throws {
        let cluster = try await TwoGateways(redis: try await RedisProcess())
        let room = TwoGateways.room
        // More listeners than loops, so that every loop of both gateways delivers.
        let crowd = try await PythonClients()
        var listeners: [any Member] = cluster.members
        for number in 0..<8 {
            let listener = try await crowd.connect("listener-\(number)", to: number % 2 == 0 ? cluster.a : cluster.b)
            try await listener.subscribe(room)
            listeners.append(listener)
        }
        let each = 300
        async let ada: Void = cluster.ada.publish(each, "ada", in: room)
        async let bob: Void = cluster.bob.publish(each, "bob", in: room)
        async let eve: Void = cluster.eve.publish(each, "eve", in: room)
        _ = try await (ada, bob, eve)
        // What is published after all others were acknowledged comes last.
        #expect(try await cluster.eve.publish("last", in: room) == .done)
        for listener in listeners { try await listener.hear("last", in: room) }
        let orders = listeners.map { $0.texts(in: room) }
        #expect(orders[0].count == 3 * each + 1)
        for (number, order) in orders.enumerated() {
            #expect(order == orders[0], "listener \(number) sees the order that the first one sees")
        }
        for name in ["ada", "bob", "eve"] {
            let own = orders[0].filter { $0.hasPrefix(name) }
            #expect(own == (0..<each).map { "\(name) \($0)" }, "\(name)'s messages: each once, in the order of sending")
        }
        for member in cluster.members {
            let authors = Set(member.events.all.filter { $0.event == "message" && member.isMine($0) }.map(\.user))
            #expect(authors == ["ada", "bob", "eve"], "authors are known across gateways")
        }
    }

    @Test("Members that come and go see only messages of the room that they are in; no subscription outlives them")
    func churn() async throws {
        let redis = try await RedisProcess()
        async let first = GatewayProcess(redis: redis)
        async let second = GatewayProcess(redis: redis)
        let gateways = try await [first, second]
        async let talking = PythonClients()
        async let roaming = PythonClients()
        let (talkers, roamers) = (try await talking, try await roaming)
        let rooms = ["red", "blue", "red2"]
        try await withThrowingTaskGroup(of: Void.self) { pumps in
            var speakers: [PythonClient] = []
            for (number, gateway) in gateways.enumerated() {
                let speaker = try await talkers.connect("speaker-\(number)", to: gateway)
                speakers.append(speaker)
                pumps.addTask { try await speaker.demand("pump", ["rooms": rooms]) }
            }
            try await withThrowingTaskGroup(of: ClientEvent.self) { members in
                for number in 0..<12 {
                    let member = PythonClient(name: "member-\(number)", process: roamers)
                    let url = gateways[number % 2].url()
                    // Half of them go round the other way.
                    let order = number / 2 % 2 == 0 ? rooms : rooms.reversed()
                    members.addTask {
                        try await member.demand(
                            "churn", ["url": url, "rooms": order, "rounds": 15, "messages": 3])
                    }
                }
                for try await result in members {
                    #expect(result.faults == [], "nothing comes before the reply, after the leave, or of another room")
                    #expect(result.count ?? 0 >= 45)
                }
            }
            for speaker in speakers { try await speaker.demand("stop_pump") }
            try await pumps.waitForAll()
        }
        _ = try await eventually("an end of all subscriptions in Redis") {
            try await redis.subscribedRooms() == 0 ? true : nil
        }
    }

    @Test("A gateway that drains says so, sends its clients away with 3001 and ends with 0; the other one goes on")
    func drain() async throws {
        let cluster = try await TwoGateways(
            redis: try await RedisProcess(), configuration: #"{"shutdown": {"drainWindow": "3s"}}"#)
        let room = TwoGateways.room
        let visitors = try await PythonClients()
        var others: [PythonClient] = []
        for number in 0..<5 { others.append(try await visitors.connect("visitor-\(number)", to: cluster.a)) }
        // A client that cannot say goodbye keeps the drain going until the end of its window.
        let stopped = try await PythonClients()
        _ = try await stopped.connect("stopped", to: cluster.a)
        stopped.signal(SIGSTOP)
        defer { stopped.signal(SIGCONT) }

        cluster.a.process.signal(SIGTERM)
        let answer = try await eventually("a readiness that says 503") {
            let health = try await cluster.a.health()
            return health.status == 503 ? health.text : nil
        }
        #expect(answer.contains("draining"), "\(answer)")
        let log = cluster.a.process.errors.all
        #expect(log.allSatisfy { !$0.contains("\"stopped\"") }, "it says so while it still runs")
        for visitor in others {
            let start = visitor.events.all.firstIndex { $0.event == "connected" && visitor.isMine($0) } ?? 0
            #expect(try await visitor.event("connecting", from: start).code == 3001)
        }
        #expect(try await cluster.ada.event("disconnected").code == 3001)
        #expect(cluster.ada.events.all.count { $0.event == "disconnected" && $0.retry == nil } == 0, "it tries again")

        #expect(try await cluster.bob.publish("we go on", in: room) == .done)
        try await cluster.eve.hear("we go on", in: room)
        // Twice the window: the end must come by itself, not by a second signal.
        #expect(try await cluster.a.process.exit(within: .seconds(6)) == 0)
        #expect(try await cluster.b.health().isReady)
        #expect(cluster.bob.count(of: "disconnected") == 0)
        #expect(cluster.eve.count(of: "connecting") == 1)
    }
}
