// Every command and every kind of garbage in every phase of a session: what comes back, byte for byte, or how the
// connection is closed.

import Bytes
import Testing
import Wire

@testable import Rooms

/// The phases of a session as a test reaches them.
enum PhaseUnderTest: String, CaseIterable, CustomTestStringConvertible {
    case new, connected, subscribed, refused, closing

    var testDescription: String { rawValue }
}

/// One thing that a client may say, and what must follow in each phase.
struct Said: CustomTestStringConvertible {
    let text: String
    /// What a connected client hears; nil: as `subscribed`.
    let connected: [String]
    /// What a client hears that is subscribed to `room`.
    let subscribed: [String]
    /// Whether it opens the conversation, so that a new session may say it.
    var opens = false

    init(_ text: String, _ connected: [String], subscribed: [String]? = nil, opens: Bool = false) {
        self.text = text
        self.connected = connected
        self.subscribed = subscribed ?? connected
        self.opens = opens
    }

    var testDescription: String { text }
}

private let close3501 = ["close 3501"]

@Suite struct SessionTableTests {
    static let connectReply =
        #"{"id":7,"connect":{"client":"00000000-0000-4000-\#(variant)","version":"1.2","ping":25,"#
        + #""pong":true,"node":"n1"}}"#
    private static let variant = "8000-000000000001"

    static let own =
        #"{"push":{"channel":"room","pub":{"data":{"a":1},"info":{"client":"00000000-0000-4000-8000-000000000001"}}}}"#

    static let everything: [Said] = [
        // The commands.
        Said(#"{"id":7,"connect":{}}"#, close3501, opens: true),
        Said(#"{"id":7,"connect":{"name":"js","version":"5","data":{"x":[1,2]}}}"#, close3501, opens: true),
        Said(
            #"{"id":7,"subscribe":{"channel":"room"}}"#, [#"{"id":7,"subscribe":{}}"#],
            subscribed: [errorReply(7, .alreadySubscribed)]),
        Said(
            #"{"id":7,"subscribe":{"channel":"room","recover":true}}"#,
            [#"{"id":7,"subscribe":{"was_recovering":true}}"#], subscribed: [errorReply(7, .alreadySubscribed)]),
        Said(#"{"id":7,"unsubscribe":{"channel":"room"}}"#, [#"{"id":7,"unsubscribe":{}}"#]),
        Said(
            #"{"id":7,"publish":{"channel":"room","data":{"a":1}}}"#, [#"{"id":7,"publish":{}}"#],
            subscribed: [#"{"id":7,"publish":{}}"#, own]),
        Said(#"{"id":7,"presence":{"channel":"room"}}"#, [errorReply(7, .notAvailable)]),
        Said(#"{"id":7,"presence_stats":{"channel":"room"}}"#, [errorReply(7, .notAvailable)]),
        Said(#"{"id":7,"history":{"channel":"room","limit":-1}}"#, [errorReply(7, .notAvailable)]),
        Said(#"{"id":7,"ping":{}}"#, [#"{"id":7,"ping":{}}"#]),
        Said(#"{"send":{"data":{"a":1}}}"#, []),
        Said(#"{"id":7,"send":{"data":1}}"#, []),
        Said(#"{"id":7,"rpc":{"method":"m","data":{}}}"#, [errorReply(7, .methodNotFound)]),
        Said(#"{"id":7,"refresh":{"token":"t"}}"#, [errorReply(7, .notAvailable)]),
        Said(#"{"id":7,"sub_refresh":{"channel":"room","token":"t"}}"#, [errorReply(7, .notAvailable)]),
        // The first field in the protocol's order counts, wherever it stands.
        Said(#"{"id":7,"ping":{},"connect":{}}"#, close3501, opens: true),
        Said(#"{"id":7,"rpc":{},"ping":{}}"#, [#"{"id":7,"ping":{}}"#]),
        Said(#"{"ping":{},"id":7}"#, [#"{"id":7,"ping":{}}"#]),
        // Rooms that cannot be.
        Said(#"{"id":7,"subscribe":{"channel":""}}"#, close3501),
        Said(#"{"id":7,"subscribe":{}}"#, close3501),
        Said(#"{"id":7,"unsubscribe":{}}"#, close3501),
        Said(#"{"id":7,"publish":{"data":1}}"#, close3501),
        Said(#"{"id":7,"presence":{}}"#, close3501),
        Said(#"{"id":7,"history":{}}"#, close3501),
        Said(#"{"id":7,"subscribe":{"channel":":x"}}"#, [errorReply(7, .unknownRoom)]),
        Said(#"{"id":7,"publish":{"channel":":x","data":1}}"#, [errorReply(7, .unknownRoom)]),
        Said(#"{"id":7,"subscribe":{"channel":"b\u0007ll"}}"#, [errorReply(7, .badRequest)]),
        Said(#"{"id":7,"subscribe":{"channel":"café"}}"#, [errorReply(7, .badRequest)]),
        Said(
            #"{"id":7,"subscribe":{"channel":"\#(String(repeating: "x", count: 256))"}}"#,
            [errorReply(7, .badRequest)]),
        Said(
            #"{"id":7,"subscribe":{"channel":"\#(String(repeating: "x", count: 255))"}}"#,
            [#"{"id":7,"subscribe":{}}"#]),
        // Publications that cannot be.
        Said(#"{"id":7,"publish":{"channel":"room"}}"#, [errorReply(7, .badRequest)]),
        Said(
            #"{"id":7,"publish":{"channel":"room","data":1,"#
                + #""idempotency_key":"\#(String(repeating: "k", count: 65))"}}"#,
            [errorReply(7, .badRequest)]),
        // What is no command.
        Said("{}", close3501),
        Said("", close3501),
        Said("\n", close3501),
        Said("[]", close3501),
        Said("null", close3501),
        Said("{", close3501),
        Said("{}{}", close3501),
        Said("hello", close3501),
        Said(#"{"id":7}"#, close3501),
        Said(#"{"id":7,"nothing":{}}"#, close3501),
        Said(#"{"ping":{}}"#, close3501),
        Said(#"{"id":0,"ping":{}}"#, close3501),
        Said(#"{"id":-1,"ping":{}}"#, close3501),
        Said(#"{"id":4294967296,"ping":{}}"#, close3501),
        Said(#"{"id":1e400,"ping":{}}"#, close3501),
        Said(#"{"id":"7","ping":{}}"#, close3501),
        Said(#"{"id":7,"id":7,"ping":{}}"#, close3501),
        Said(#"{"id":7,"ping":{}} x"#, close3501),
        Said(#"{"id":7,"publish":{"channel":"room","data":[1,}}"#, close3501),
        Said(#"{"id":7,"publish":{"channel":"\uD800","data":1}}"#, close3501),
        Said(#"{"id":7,"publish":{"channel":7,"data":1}}"#, close3501),
        Said(
            #"{"id":7,"publish":{"channel":"room","data":"# + String(repeating: "[", count: 10_000), close3501),
        Said("{\"id\":7,\n\"ping\":{}}", close3501),
    ]

    @Test(arguments: PhaseUnderTest.allCases, everything)
    func `every input has its answer in every phase`(phase: PhaseUnderTest, said: Said) {
        let house = House()
        let client: Client
        switch phase {
        case .new: client = house.open()
        case .connected: client = house.connected()
        case .subscribed:
            client = house.connected()
            client.join("room")
        case .refused:
            let strict = House { $0.isInsecure = false }
            let refused = strict.open()
            #expect(refused.ask(#"{"id":1,"connect":{}}"#) == [errorReply(1, .unauthorized)])
            #expect(refused.ask(said.text) == close3501, "after a refused connect every command closes")
            #expect(refused.ask(#"{"id":9,"ping":{}}"#) == [], "nothing is heard after the close")
            return
        case .closing:
            client = house.connected()
            client.ask("[]")
            #expect(client.ask(said.text) == [], "nothing is answered after the close")
            return
        }
        let heard = client.ask(said.text)
        switch phase {
        case .new where said.opens: #expect(heard == [SessionTableTests.connectReply])
        case .new: #expect(heard == close3501)
        case .connected: #expect(heard == said.connected)
        default: #expect(heard == said.subscribed)
        }
        // Whoever was not closed is served as before.
        if heard != close3501 {
            #expect(client.ask(#"{"id":8,"ping":{}}"#) == [#"{"id":8,"ping":{}}"#])
        } else {
            #expect(client.ask(#"{"id":8,"ping":{}}"#) == [])
        }
        client.close()
        house.pass(.seconds(10))
        house.pass(.seconds(10))
        house.checkEmpty(said.text)
    }
}
