// A client that nobody here wrote talks to one gateway: what an application with an existing SDK meets. Each test has a
// gateway of its own.

import ClusterSupport
import Foundation
import Testing

@Suite("centrifuge-python against a gateway", .ownThread)
struct SDKTests {
    @Test("It connects, joins, publishes, hears itself and others, and hears nothing after it has left")
    func conversation() async throws {
        let gateway = try await GatewayProcess()
        let python = try await PythonClients()
        let ada = try await python.connect("ada", to: gateway)
        let bob = try await python.connect("bob", to: gateway)
        try await ada.subscribe("lobby")
        try await bob.subscribe("lobby")
        #expect(try await ada.publish("hello", in: "lobby") == .done)
        #expect(try await bob.publish("hello yourself", in: "lobby") == .done)
        for client in [ada, bob] {
            try await client.hear("hello yourself", in: "lobby")
            #expect(client.texts(in: "lobby") == ["hello", "hello yourself"])
            let users = client.events.all.filter { $0.event == "message" && client.isMine($0) }.map(\.user)
            #expect(users == ["ada", "bob"], "each message names its author")
        }
        try await ada.unsubscribe("lobby")
        #expect(try await bob.publish("is ada still here?", in: "lobby") == .done)
        try await bob.hear("is ada still here?", in: "lobby")
        // The answer comes after everything that was sent to ada before it.
        try await ada.subscribe("elsewhere")
        #expect(ada.texts(in: "lobby").count == 2)
        try await ada.subscribe("lobby")
        #expect(try await ada.publish("back again", in: "lobby") == .done)
        try await ada.hear("back again", in: "lobby")
        #expect(ada.texts(in: "lobby") == ["hello", "hello yourself", "back again"], "a room keeps no history")
        try await ada.demand("disconnect")
        #expect(try await ada.event("disconnected").code == 0)
    }

    @Test("Any JSON that the SDK publishes arrives as the same JSON")
    func data() async throws {
        let gateway = try await GatewayProcess()
        let python = try await PythonClients()
        let ada = try await python.connect("ada", to: gateway)
        try await ada.subscribe("data")
        let texts = ["", "\u{0}\u{7F}", "line\nbreak\r\ttab", "😀 \u{1F468}\u{200D}\u{1F469}", "\"\\\u{2028}", "<&>"]
        for text in texts { #expect(try await ada.publish(text, in: "data") == .done) }
        try await ada.hear("<&>", in: "data")
        #expect(ada.texts(in: "data") == texts)
    }

    @Test("What is not built yet is refused with 108, an rpc with 104, a wrong room name with 107")
    func refusals() async throws {
        let gateway = try await GatewayProcess()
        let python = try await PythonClients()
        let ada = try await python.connect("ada", to: gateway)
        try await ada.subscribe("lobby")
        for operation in ["presence", "presence_stats", "history"] {
            #expect(try await ada.outcome(operation, ["room": "lobby"]) == .refused(108), "\(operation)")
        }
        #expect(try await ada.outcome("rpc") == .refused(104))
        #expect(try await ada.publish("x", in: "é") == .refused(107))
        #expect(try await ada.publish("x", in: String(repeating: "r", count: 256)) == .refused(107))
        #expect(try await ada.publish("still connected", in: "lobby") == .done)
        #expect(ada.count(of: "connecting") == 1)
    }

    @Test("A room too many is refused with 106 and the SDK gives up on that room alone; leaving one makes place")
    func roomLimit() async throws {
        let gateway = try await GatewayProcess(configuration: #"{"client": {"maxRooms": 2}}"#)
        let python = try await PythonClients()
        let ada = try await python.connect("ada", to: gateway)
        try await ada.subscribe("one")
        try await ada.subscribe("two")
        let refusal = try await ada.ask("subscribe", ["room": "three"])
        #expect(refusal.event == "failed")
        #expect(try await ada.event("left").code == 106)
        #expect(try await ada.publish("fine", in: "two") == .done)
        try await ada.hear("fine", in: "two")
        try await ada.unsubscribe("one")
        try await ada.subscribe("three")
    }

    @Test("The same room twice on one connection is refused with 105")
    func sameRoomTwice() async throws {
        // The SDK would never ask twice, so this one speaks by hand.
        let gateway = try await GatewayProcess()
        let raw = PythonClient(name: "raw", process: try await PythonClients())
        try await raw.demand("raw_open", ["url": gateway.url()])
        try await raw.demand(
            "raw_send",
            [
                "text": #"{"id":1,"connect":{}}"# + "\n" + #"{"id":2,"subscribe":{"channel":"r"}}"# + "\n"
                    + #"{"id":3,"subscribe":{"channel":"r"}}"# + "\n" + #"{"id":4,"publish":{"channel":"r","data":1}}"#
            ])
        let reply = try await raw.events.first("the reply to the second subscribe") {
            $0.event == "raw" && $0.text?.contains(#""id":3"#) == true
        }
        #expect(reply.text?.contains(#""code":105"#) == true, "\(reply)")
        try await raw.events.first("the connection goes on") { $0.text?.contains(#""id":4"#) == true }
    }

    @Test("The SDK answers every ping and stays; a client that stops answering is closed with 3012 and comes back")
    func heartbeat() async throws {
        let gateway = try await GatewayProcess(
            configuration: #"{"client": {"pingInterval": "1s", "pongTimeout": "900ms"}}"#)
        let (awake, asleep) = (try await PythonClients(), try await PythonClients())
        let ada = try await awake.connect("ada", to: gateway)
        let bob = try await asleep.connect("bob", to: gateway)
        try await ada.event("ping")
        try await bob.event("ping")
        asleep.signal(SIGSTOP)
        // Four more pings are three intervals at least: longer than bob's next ping and the patience with him.
        for _ in 0..<4 { try await ada.event("ping", from: ada.events.count) }
        asleep.signal(SIGCONT)
        let start = bob.events.all.firstIndex { $0.event == "connected" } ?? 0
        #expect(try await bob.event("connecting", from: start).code == 3012)
        try await bob.event("connected", from: start + 1)
        #expect(ada.count(of: "connecting") == 1, "ada was there all the time")
    }

    @Test("When the gateway is gone and comes back on its port, the SDK reconnects, joins its rooms again and goes on")
    func restart() async throws {
        var gateway: GatewayProcess? = try await GatewayProcess()
        let port = try #require(gateway?.port)
        let python = try await PythonClients()
        let ada = try await python.connect("ada", to: try #require(gateway))
        try await ada.subscribe("lobby")
        let before = ada.events.count
        gateway?.process.signal(SIGKILL)
        try await gateway?.process.exit()
        gateway = nil
        try await ada.event("connecting", from: before)
        let next = try await GatewayProcess(port: port)
        try await ada.event("connected", from: before)
        try await ada.event("joined", from: before)
        #expect(try await ada.publish("anybody here?", in: "lobby") == .done)
        try await ada.hear("anybody here?", in: "lobby")
        #expect(ada.texts(in: "lobby") == ["anybody here?"])
        #expect(next.port == port)
    }
}
