// The proxy does what its rules say, and nothing else.

import Bytes
import Glibc
import Reactor
import Testing

@testable import VerifyCore

@Suite("The chaos proxy")
struct ChaosProxyTests {
    let test: TestLoop
    let server: Collector
    let client: Collector
    let proxy: ChaosProxy

    init() throws {
        test = try TestLoop()
        server = Collector(test.loop, echoes: true)
        client = Collector(test.loop)
        proxy = try ChaosProxy(test.loop, target: try server.listen(), speaksRESP: true, seed: 1)
    }

    private func connected() throws -> ConnectionID {
        let id = try client.connect(proxy.address)
        try #require(test.turn { !server.connections.isEmpty && !client.connections.isEmpty })
        return id
    }

    @Test("without rules bytes pass unchanged in both directions, and the end passes, too")
    func plain() throws {
        let id = try connected()
        let text = String(repeating: "0123456789", count: 30_000)
        client.send(id, text)
        #expect(test.turn { client.bytes.count == text.utf8.count })
        #expect(client.text == text)
        test.loop.close(id)
        #expect(test.turn { server.ends.count == 1 && proxy.count() == 0 })
    }

    @Test("what is sent before the far side is there is not lost")
    func early() throws {
        let id = try client.connect(proxy.address)
        client.send(id, "early")
        #expect(test.turn { client.text == "early" })
    }

    @Test("a stall holds everything back, and its end lets it all through in order")
    func stall() throws {
        let id = try connected()
        proxy.set(.stall)
        client.send(id, "one")
        #expect(test.turn { proxy.figures.heldBytes == 3 })
        client.send(id, "two")
        #expect(test.turn { proxy.figures.heldBytes == 6 })
        #expect(server.bytes.isEmpty)
        proxy.clear()
        #expect(test.turn { client.text == "onetwo" })
    }

    @Test("a black hole swallows bytes and hides ends")
    func blackhole() throws {
        let id = try connected()
        proxy.set(.blackhole)
        client.send(id, "gone")
        #expect(test.turn { proxy.figures.droppedBytes == 4 })
        test.loop.close(id)
        #expect(test.turn { client.ends.count == 1 })
        test.loop.turn(wait: false)
        #expect(server.ends.isEmpty)
        proxy.clear()
        #expect(test.turn { server.ends.count == 1 })
        #expect(server.bytes.isEmpty)
    }

    @Test("links that are opened after a sparing rule work")
    func sparing() throws {
        let old = try connected()
        proxy.set(.blackhole, sparingNew: true)
        // The loop's clock must have moved on.
        #expect(test.turn { test.loop.now > MonotonicTime(nanoseconds: 0) })
        test.loop.turn()
        let new = try client.connect(proxy.address)
        try #require(test.turn { server.connections.count == 2 })
        client.send(old, "old")
        client.send(new, "new")
        #expect(test.turn { client.text == "new" && proxy.figures.droppedBytes == 3 })
    }

    @Test("a cut with a reset reaches the client as a reset, a polite one as an end")
    func cut() throws {
        _ = try connected()
        proxy.cut(reset: true)
        #expect(test.turn { client.ends.count == 1 })
        #expect(client.ends == [.failed(ECONNRESET)])
        _ = try client.connect(proxy.address)
        try #require(test.turn { server.connections.count == 2 })
        proxy.cut(reset: false)
        #expect(test.turn { client.ends.count == 2 })
        #expect(client.ends.last == .peerClosed)
        #expect(test.turn { server.ends.count == 2 })
    }

    @Test("a refusing proxy takes nobody, and stops refusing")
    func refuse() throws {
        proxy.isRefusing = true
        _ = try client.connect(proxy.address)
        #expect(test.turn { client.ends.count == 1 })
        #expect(proxy.figures.refused == 1)
        #expect(server.connections.isEmpty)
        proxy.clear()
        _ = try connected()
    }

    @Test("byte-wise links deliver every byte by itself")
    func byteWise() throws {
        let id = try connected()
        var rule = LinkRule()
        rule.isByteWise = true
        proxy.set(rule, [.up])
        client.send(id, "twelve bytes")
        #expect(test.turn { client.text == "twelve bytes" })
        #expect(server.reads.count > 6, "reads of \(server.reads)")
    }

    @Test("jitter never reorders")
    func jitter() throws {
        let id = try connected()
        var rule = LinkRule()
        rule.delay = .milliseconds(5)
        rule.jitter = .milliseconds(30)
        proxy.set(rule)
        var text = ""
        for number in 0..<20 {
            client.send(id, "\(number),")
            text += "\(number),"
            test.loop.turn(wait: false)
        }
        #expect(test.turn { client.bytes.count == text.utf8.count })
        #expect(client.text == text)
    }

    @Test("corruption changes bytes, not their number")
    func corrupt() throws {
        let id = try connected()
        var rule = LinkRule()
        rule.corruptPerMille = 1000
        proxy.set(rule, [.up])
        client.send(id, "abcdefgh")
        #expect(test.turn { client.bytes.count == 8 })
        #expect(client.text != "abcdefgh")
        #expect(proxy.figures.corrupted > 0)
    }
}

@Suite("The chaos proxy before Redis")
struct RedisProxyTests {
    let test: TestLoop
    let redis: FakeRedis
    let client: Collector
    let proxy: ChaosProxy

    init() throws {
        test = try TestLoop()
        redis = try FakeRedis(test.loop)
        client = Collector(test.loop)
        proxy = try ChaosProxy(test.loop, target: redis.address, speaksRESP: true, seed: 1)
    }

    private func command(_ words: String...) -> String {
        String(decoding: FakeRedis.array(words.map { Array($0.utf8) }), as: UTF8.self)
    }

    @Test("connections show by their first real command what they are, however it is cut")
    func classes() throws {
        let subscriber = try client.connect(proxy.address)
        let publisher = try client.connect(proxy.address)
        for byte in Array((command("CLIENT", "SETNAME", "x") + command("subscribe", "a")).utf8) {
            client.send(subscriber, String(decoding: [byte], as: UTF8.self))
            test.loop.turn(wait: false)
        }
        client.send(publisher, command("PING") + command("PUBLISH", "b", "1"))
        #expect(test.turn { proxy.count([.subscriptions]) == 1 && proxy.count([.commands]) == 1 })
    }

    @Test("messages are taken out whole, confirmations and a node's own channel stay")
    func messages() throws {
        let id = try client.connect(proxy.address)
        client.send(id, command("SUBSCRIBE", "m:{r}", "m:node:1"))
        try #require(test.turn { client.text.contains(":2\r\n") })
        var rule = LinkRule()
        rule.dropMessagesPer10000 = 10_000
        rule.sparesOwnChannel = true
        proxy.set(rule, for: [.subscriptions], [.down])
        client.bytes = []
        for _ in 0..<5 { redis.push(FakeRedis.message("m:{r}", Array("room".utf8)), to: "m:{r}") }
        redis.push(FakeRedis.message("m:node:1", Array("probe".utf8)), to: "m:node:1")
        #expect(test.turn { proxy.figures.messages == 6 })
        #expect(
            test.turn {
                client.text == String(decoding: FakeRedis.message("m:node:1", Array("probe".utf8)), as: UTF8.self)
            })
        #expect(proxy.figures.droppedMessages == 5)
        rule.sparesOwnChannel = false
        proxy.set(rule, for: [.subscriptions], [.down])
        client.bytes = []
        redis.push(FakeRedis.message("m:node:1", Array("probe".utf8)), to: "m:node:1")
        #expect(test.turn { proxy.figures.droppedMessages == 6 })
        #expect(client.bytes.isEmpty)
    }
}

@Suite("The extent of RESP values")
struct RESPFramesTests {
    private func extent(_ text: String) -> RESPExtent { Array(text.utf8).withUnsafeBytes { RESPFrames.extent($0) } }

    @Test("whole values are measured, every beginning of one needs more")
    func lengths() {
        for text in [
            "+OK\r\n", ":12\r\n", "$5\r\nhello\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
        ] {
            let bytes = Array(text.utf8)
            #expect(extent(text + "rest") == .length(bytes.count))
            for count in 0..<bytes.count {
                #expect(bytes[..<count].withUnsafeBytes { RESPFrames.extent($0) } == .needMore, "\(count) of \(text)")
            }
        }
    }

    @Test("RC-01: counts, lengths and depths beyond all bounds are broken or wait, never allocate")
    func hostile() {
        for text in ["*4294967297\r\n", "*-2\r\n", "$9223372036854775807\r\n", "!x\r\n", "$x\r\n"] {
            #expect(extent(text) == .broken, "\(text)")
        }
        #expect(extent(String(repeating: "*1\r\n", count: 10_000)) == .broken)
    }
}
