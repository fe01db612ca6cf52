// A gateway dies: clients that know another one go on there, with everything that they had to say.

import ClusterSupport
import Foundation
import TestSupport
import Testing

@Suite("A gateway dies", .ownThread)
struct GatewayLossTests {
    private let room = "lobby"

    @Test("martlet-chat with both gateways goes on at the other one; what it says arrives once, in order")
    func publisher() async throws {
        let redis = try await RedisProcess()
        async let first = GatewayProcess(redis: redis)
        async let second = GatewayProcess(redis: redis)
        let gateways = try await [first, second]
        let ada = try await ChatClient(gateways, user: "ada", rooms: [room])
        let place = try ada.place(in: gateways)
        let (dying, living) = (gateways[place], gateways[1 - place])
        let bob = try await ChatClient([living], user: "bob", rooms: [room])
        let count = 400
        let last = ada.say((0..<count).map { "message \($0)" }, in: room)
        try await bob.hear("message 50", in: room)
        dying.process.signal(SIGKILL)
        try await ada.events.first("the last answer") { $0.event == "published" && $0.number == last }
        try await bob.hear("message \(count - 1)", in: room)
        #expect(bob.texts(in: room) == (0..<count).map { "message \($0)" })
        #expect(ada.count(of: "published") == count && ada.count(of: "error") == 0)
        #expect(try ada.place(in: gateways) == 1 - place)

        // It takes part there, and whoever comes now is not held up by the dead one.
        #expect(try await bob.publish("still there?", in: room) == .done)
        try await ada.hear("still there?", in: room)
        for number in 0..<4 {
            let visitor = try await ChatClient(gateways, user: "visitor-\(number)", rooms: [room])
            #expect(try await visitor.publish("hello \(number)", in: room) == .done)
            try await ada.hear("hello \(number)", in: room)
        }
    }

    @Test("Members of a room that keeps history miss nothing and see nothing twice when they change the gateway")
    func members() async throws {
        let redis = try await RedisProcess()
        let configuration = #"{"rooms": {"default": {"historySize": 1000, "historyTTL": "10m"}}}"#
        async let first = GatewayProcess(configuration: configuration, redis: redis)
        async let second = GatewayProcess(configuration: configuration, redis: redis)
        let gateways = try await [first, second]
        var chats: [ChatClient] = []
        for number in 0..<5 { chats.append(try await ChatClient(gateways, user: "user-\(number)", rooms: [room])) }
        let place = try chats[0].place(in: gateways)
        let count = 100
        let last = chats.map { chat in chat.say((0..<count).map { "message \($0)" }, in: room) }
        try await chats[1].hear("message 30", in: room)
        gateways[place].process.signal(SIGKILL)
        for (chat, last) in zip(chats, last) {
            try await chat.events.first("the last answer") { $0.event == "published" && $0.number == last }
        }
        #expect(try await chats[2].publish("the end", in: room) == .done)
        let all = 5 * count + 1
        for chat in chats { try await chat.hear("the end", in: room) }
        for chat in chats {
            #expect(chat.offsets(in: room) == Array(1...all), "\(chat.count(of: "connected")) connections")
            #expect(chat.texts(in: room) == chats[2].texts(in: room))
            #expect(try chat.place(in: gateways) == 1 - place)
            let entrances = chat.events.all.filter { $0.event == "joined" }.map(\.continuity)
            #expect(entrances.dropFirst().allSatisfy { $0 == "recovered" }, "\(entrances)")
            let answers = chat.events.all.filter { $0.event == "published" }.compactMap(\.offset)
            #expect(answers == answers.sorted() && Set(answers).count == answers.count)
        }
        let authors = chats[2].events.all.filter { $0.event == "message" }
        for number in 0..<5 {
            let own = authors.filter { $0.user == "user-\(number)" && $0.text != "the end" }.compactMap(\.text)
            #expect(own == (0..<count).map { "message \($0)" }, "each once, in the order of sending")
        }
    }
}
