// martlet-chat in rooms that keep history, against one gateway: what it says and shows after it was away.

import ClusterSupport
import Foundation
import TestSupport
import Testing

@Suite("martlet-chat comes back to a room that keeps history", .ownThread)
struct ChatRecoveryTests {
    private let room = "lobby"

    @Test("What it missed is told and shown once; too much of it is told as lost; its own messages have their places")
    func recovery() async throws {
        let gateway = try await GatewayProcess(
            configuration: #"{"rooms": {"default": {"historySize": 5, "historyTTL": "60s"}}}"#)
        let balancer = try await LoadBalancer(try await PythonClients(), to: gateway)
        let ada = try await ChatClient(urls: [balancer.url()], user: "ada", rooms: [room])
        let bob = try await ChatClient([gateway], user: "bob", rooms: [room])
        let first = try await ada.event("joined")
        #expect(first.continuity == "fresh" && first.offset == 0)
        #expect(try await ada.publish("1", in: room) == .done)
        let published = try await ada.event("published")
        #expect(published.offset == 1 && published.epoch == first.epoch && first.epoch?.isEmpty == false)

        /// Lets `texts` be published while ada is away; returns how it comes back.
        func absence(_ texts: [String]) async throws -> ClientEvent {
            let start = ada.events.count
            try await balancer.turn(to: nil)
            try await ada.event("disconnected", from: start)
            for text in texts { #expect(try await bob.publish(text, in: room) == .done) }
            try await balancer.turn(to: gateway)
            ada.type("/reconnect")
            return try await ada.event("joined", from: start)
        }
        let back = try await absence(["2", "3", "4"])
        #expect(back.continuity == "recovered" && back.recovered == 3 && back.offset == 4)
        let nothing = try await absence([])
        #expect(nothing.continuity == "recovered" && nothing.recovered == 0)
        let lost = try await absence((5...12).map(String.init))
        #expect(lost.continuity == "lost" && lost.offset == 12 && lost.epoch == first.epoch)
        #expect(try await bob.publish("13", in: room) == .done)
        for chat in [ada, bob] { try await chat.hear("13", in: room) }
        #expect(ada.texts(in: room) == ["1", "2", "3", "4", "13"])
        #expect(ada.offsets(in: room) == [1, 2, 3, 4, 13])
        #expect(bob.texts(in: room) == (1...13).map(String.init))
    }

    @Test("Messages that it publishes while its connections break are published once, in order")
    func brokenConnections() async throws {
        let gateway = try await GatewayProcess(
            configuration: #"{"rooms": {"default": {"historySize": 1000, "historyTTL": "60s"}}}"#)
        let balancer = try await LoadBalancer(try await PythonClients(), to: gateway)
        let ada = try await ChatClient(urls: [balancer.url()], user: "ada", rooms: [room])
        let bob = try await ChatClient([gateway], user: "bob", rooms: [room])
        let count = 400
        let last = ada.say((0..<count).map { "message \($0)" }, in: room)
        for number in 1..<8 {
            try await bob.hear("message \(number * 50)", in: room)
            try await balancer.turn(to: gateway)
            ada.type("/reconnect")
        }
        try await ada.events.first("the last answer") { $0.event == "published" && $0.number == last }
        let expected = (0..<count).map { "message \($0)" }
        try await bob.hear("message \(count - 1)", in: room)
        try await ada.hear("message \(count - 1)", in: room)
        #expect(bob.texts(in: room) == expected)
        #expect(ada.texts(in: room) == expected, "its own messages, too, come once, over all its connections")
        let offsets = ada.events.all.filter { $0.event == "published" }.map(\.offset)
        #expect(offsets == (1...count).map { $0 }, "answered in order, each with its place")
        #expect(ada.count(of: "error") == 0 && ada.count(of: "connected") >= 4)
    }
}
