// Replies and pushes: exact bytes as the server writes them, and that a client reads the same.

import Bytes
import Testing
import Wire

/// Every reply and push with all its fields, as the encoder writes it.
let fullMessages = [
    "{}",
    #"{"id":1,"error":{"code":111,"message":"too many requests","temporary":true,"retry_after":1500}}"#,
    #"{"id":1,"error":{"code":103,"message":"permission denied"}}"#,
    #"{"id":1,"connect":{}}"#,
    #"{"id":1,"connect":{"client":"c","version":"v","expires":true,"ttl":60,"data":{"a":1},"#
        + #""subs":{"r":{"recoverable":true}},"ping":25,"pong":true,"session":"s","node":"n","time":1700000000000}}"#,
    #"{"id":2,"subscribe":{}}"#,
    #"{"id":2,"subscribe":{"expires":true,"ttl":5,"recoverable":true,"epoch":"e","#
        + #""publications":[{"data":1,"offset":2}],"#
        + #""recovered":true,"offset":2,"positioned":true,"data":[],"was_recovering":true,"delta":true}}"#,
    #"{"id":3,"unsubscribe":{}}"#,
    #"{"id":4,"publish":{}}"#,
    #"{"id":4,"publish":{"offset":18446744073709551615,"epoch":"e"}}"#,
    #"{"id":5,"presence":{}}"#,
    #"{"id":5,"presence":{"presence":{"c":{"user":"u","client":"c"}}}}"#,
    #"{"id":5,"presence":{"presence":{"c":{"user":"u","client":"c"}},"cursor":"17"}}"#,
    #"{"id":6,"presence_stats":{"num_clients":3,"num_users":2}}"#,
    #"{"id":7,"history":{"publications":[{"data":1},{"data":2}],"epoch":"e","offset":9}}"#,
    #"{"id":8,"ping":{}}"#,
    #"{"id":9,"rpc":{"data":{"x":null}}}"#,
    #"{"id":10,"refresh":{"client":"c","version":"v","expires":true,"ttl":60}}"#,
    #"{"id":4294967295,"sub_refresh":{"expires":true,"ttl":60}}"#,
    #"{"push":{"channel":"r","pub":{"data":{"text":"hi"},"info":{"user":"u","client":"c","conn_info":{"n":1},"#
        + #""chan_info":[2]},"tags":{"k":"v"},"delta":true,"time":1700000000000,"channel":"o","offset":7}}}"#,
    #"{"push":{"channel":"r","pub":{"data":0}}}"#,
    #"{"push":{"channel":"r","pub":{"offset":1}}}"#,
    #"{"push":{"channel":"r","join":{"info":{"user":"u","client":"c"}}}}"#,
    #"{"push":{"channel":"r","leave":{"info":{"client":"c"}}}}"#,
    #"{"push":{"channel":"r","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
    #"{"push":{"message":{"data":"m"}}}"#,
    #"{"push":{"channel":"r","subscribe":{"recoverable":true,"epoch":"e","offset":4,"positioned":true,"data":1}}}"#,
    #"{"push":{"connect":{"client":"c","ping":25}}}"#,
    #"{"push":{"disconnect":{"code":3001,"reason":"shutdown","reconnect":true}}}"#,
    #"{"push":{"refresh":{"expires":true,"ttl":9}}}"#,
]

@Suite struct ServerMessageTests {
    @Test("a message with all its fields is read and written back byte for byte", arguments: fullMessages)
    func roundTrip(line: String) {
        #expect(remessaged(line) == line)
    }

    @Test("replies are written exactly like this")
    func replies() {
        func reply(_ reply: Reply) -> String { encoded { JSONCodec.append(reply, id: 3, to: &$0) } }
        #expect(reply(.publish(PublishResult())) == #"{"id":3,"publish":{}}"#)
        #expect(
            reply(.publish(PublishResult(offset: 5, epoch: lasting("xyz"))))
                == #"{"id":3,"publish":{"offset":5,"epoch":"xyz"}}"#)
        #expect(
            reply(.error(ErrorReply(.internalError)))
                == #"{"id":3,"error":{"code":100,"message":"internal server error","temporary":true}}"#)
        #expect(
            reply(.error(ErrorReply(.engineUnavailable, message: "engine is read-only", retryAfter: 250)))
                == #"{"id":3,"error":{"code":120,"message":"engine is read-only","temporary":true,"retry_after":250}}"#)
        var connect = ConnectResult()
        connect.client = lasting("id")
        connect.version = lasting("martlet 1")
        connect.ping = 25
        connect.pong = true
        #expect(
            reply(.connect(connect))
                == #"{"id":3,"connect":{"client":"id","version":"martlet 1","ping":25,"pong":true}}"#)
        #expect(encoded { JSONCodec.appendPing(to: &$0) } == "{}")
    }

    @Test("a publication is encoded once and pushed with its room and offset")
    func publicationPush() {
        let info = ClientInfo(user: lasting("ada \"l\""), client: lasting("c"))
        let fields = lasting(
            encoded { JSONCodec.appendFields(of: Publication(data: lasting("{\n}"), info: info), to: &$0) })
        #expect(text(fields) == #""data":{},"info":{"user":"ada \"l\"","client":"c"}"#)
        func push(_ room: String, _ fields: WireBytes, _ offset: UInt64) -> String {
            encoded { JSONCodec.appendPublicationPush(room: lasting(room), fields: fields, offset: offset, to: &$0) }
        }
        #expect(
            push("room1", fields, 77)
                == #"{"push":{"channel":"room1","pub":{"data":{},"#
                + #""info":{"user":"ada \"l\"","client":"c"},"offset":77}}}"#
        )
        #expect(push("room1", lasting(#""data":1"#), 0) == #"{"push":{"channel":"room1","pub":{"data":1}}}"#)
        #expect(
            push(#"q"\"#, lasting(#""data":1"#), .max)
                == #"{"push":{"channel":"q\"\\","pub":{"data":1,"offset":18446744073709551615}}}"#)
        #expect(push("r", .empty, 3) == #"{"push":{"channel":"r","pub":{"offset":3}}}"#)
        #expect(
            encoded { JSONCodec.appendUnsubscribePush(room: lasting("r"), .expired, to: &$0) }
                == #"{"push":{"channel":"r","unsubscribe":{"code":2501,"reason":"subscription expired"}}}"#)
    }

    @Test(
        "a client passes over what it does not know and refuses what is no message",
        arguments: [
            (#"{"push":{"channel":"r","future":{"x":1}}}"#, "unknownPush"), (#"{"push":{}}"#, "unknownPush"),
            (#"{"id":1,"publish":{"new":[1]},"extra":"x"}"#, #"{"id":1,"publish":{}}"#),
            (
                #" { "push" : { "pub" : { "data" : 1 } , "channel" : "r" } } "#,
                #"{"push":{"channel":"r","pub":{"data":1}}}"#
            ),
            (#"{"push":{"channel":"r","join":{}}}"#, #"{"push":{"channel":"r","join":{"info":{}}}}"#),
            (#"{"id":0,"publish":{}}"#, "missingID"), (#"{"id":1}"#, "unknownKind"), (#"{"x":1}"#, "unknownKind"),
            (#"{"id":1,"publish":{},"error":{}}"#, "duplicateField"),
            (#"{"id":1,"publish":{},"push":{"pub":{}}}"#, "unknownKind"),
            (#"{"push":{"pub":{},"join":{}}}"#, "duplicateField"), (#"{"push":[]}"#, "wrongType"),
            (#"{"push":{"pub":{"offset":"7"}}}"#, "wrongType"), (#"{"push":{"pub":{"data":1e}}}"#, "number"),
            (#"{"id":1,"history":{"publications":{}}}"#, "wrongType"), ("x", "wrongType"), ("", "blankLine"),
        ])
    func moderate(line: String, result: String) {
        #expect(remessaged(line) == result)
    }

    @Test("a message cut off at any byte is refused", arguments: fullMessages)
    func truncated(line: String) {
        let bytes = Array(line.utf8)
        for length in 1..<bytes.count {
            #expect(
                remessaged(String(decoding: bytes[..<length], as: UTF8.self)) == "unexpectedEnd", "cut at \(length)")
        }
    }

    @Test("WS-16 mutated messages break no invariant")
    func mutations() {
        mutate(fullMessages, rounds: 10_000, seed: .random(in: 0...UInt64.max))
    }
}
