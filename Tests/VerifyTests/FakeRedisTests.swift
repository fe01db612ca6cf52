// The fake behaves by default, and misbehaves as told.

import Bytes
import Reactor
import Testing

@testable import VerifyCore

@Suite("The fake Redis")
struct FakeRedisTests {
    let test: TestLoop
    let redis: FakeRedis
    let client: Collector
    let id: ConnectionID

    init() throws {
        test = try TestLoop()
        redis = try FakeRedis(test.loop)
        client = Collector(test.loop)
        id = try client.connect(redis.address)
    }

    private func send(_ words: String...) {
        client.send(id, String(decoding: FakeRedis.array(words.map { Array($0.utf8) }), as: UTF8.self))
    }

    @Test("set-up commands, subscriptions and publications work as with Redis")
    func behaves() throws {
        send("ping")
        send("AUTH", "x")
        send("SUBSCRIBE", "a", "b")
        send("PUBLISH", "a", "hello")
        send("UNSUBSCRIBE", "a")
        let expected =
            "+PONG\r\n+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
            + "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n"
        #expect(test.turn { client.bytes.count >= expected.utf8.count })
        #expect(client.text == expected)
    }

    @Test("answers may come late, never, shifted, or as an end")
    func misbehaves() throws {
        redis.script = { command in
            switch (command.name, command.ordinal) {
            case ("PING", 0): .silence
            case ("PING", 1): .after(.milliseconds(20), .normal)
            case ("PING", 2): .shifted(Array(":7\r\n".utf8))
            case ("PING", 3): .close(reset: true)
            default: .normal
            }
        }
        send("PING")
        send("PING")
        send("ECHO")
        #expect(test.turn { client.text.hasSuffix("+PONG\r\n") })
        #expect(client.text.hasPrefix("-ERR"), "the late answer comes behind the later one")
        client.bytes = []
        send("PING")
        #expect(test.turn { client.text == ":7\r\n+PONG\r\n" })
        send("PING")
        #expect(test.turn { client.ends.count == 1 })
        #expect(redis.commands.count == 5)
    }

    @Test("a command that is not answered has been carried out all the same")
    func unknownOutcome() throws {
        redis.script = { $0.name == "PUBLISH" ? .silence : .normal }
        send("SUBSCRIBE", "a")
        send("PUBLISH", "a", "x")
        #expect(test.turn { client.text.contains("message") })
        #expect(!client.text.contains(":1\r\n*3\r\n$7\r\nmessage") || !client.text.hasSuffix(":1\r\n"))
    }

    @Test("the rig's line to Redis matches replies to commands and gives up on silence")
    func control() throws {
        let control = RedisControl(test.loop, redis.address, patience: .milliseconds(100))
        var replies: [String?] = []
        func note(_ reply: [UInt8]?) { replies.append(reply.map { String(decoding: $0, as: UTF8.self) }) }
        control.send(["PING"], note)
        control.send(["NONSENSE"], note)
        #expect(test.turn { replies.count == 2 })
        #expect(replies.first == "+PONG\r\n")
        redis.script = { _ in .silence }
        control.send(["PING"], note)
        #expect(test.turn { replies.count == 3 })
        #expect(replies.last == .some(nil))
        redis.script = nil
        control.send(["PING"], note)
        #expect(test.turn { replies.count == 4 })
        #expect(replies.last == "+PONG\r\n")
    }
}
