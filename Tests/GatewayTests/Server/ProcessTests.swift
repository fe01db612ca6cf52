// The gateway as a process of its own: what it says on stderr, how it ends, and that floods leave neither memory,
// descriptors nor threads behind. Only here can those be counted: the test process has its own.

import Bytes
import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct ProcessTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func `it says where it listens, serves, and ends with 0 after SIGTERM has closed its clients`() throws {
        for signal in [SIGTERM, SIGINT] {
            let martlet = try MartletProcess(
                configuration: #"{"shutdown": {"drainWindow": "200ms"}}"#, directory: directory)
            let client = try martlet.peer().connected()
            #expect(try RawSocket(port: martlet.adminPort).get("/readyz").status == 200)
            martlet.process.signal(signal)
            #expect(try client.awaitClose().closeCode == 3001)
            #expect(try martlet.process.exitCode() == 0)
            #expect(martlet.process.text(.output).isEmpty, "nothing but results belongs on stdout")
        }
    }

    @Test func `a second signal ends it at once`() throws {
        let martlet = try MartletProcess(configuration: #"{"shutdown": {"drainWindow": "1h"}}"#, directory: directory)
        let client = try martlet.peer().connected()
        martlet.process.signal(SIGTERM)
        _ = try martlet.process.line(.error) { $0.contains("draining") }
        martlet.process.signal(SIGTERM)
        #expect(try martlet.process.exitCode() == 0)
        #expect(client.socket.awaitEnd())
    }

    @Test func `a port that is taken stops the start with one line that says what to do`() throws {
        let first = try MartletProcess(directory: directory)
        let second = try ChildProcess(
            Products.executable("martlet"),
            ["serve", "--insecure", "--port", String(first.port), "--admin-port", "0"])
        #expect(try second.exitCode() == 4)
        let said = second.text(.error).split(separator: "\n")
        #expect(said.count { $0.contains("in use") } == 1, "\(said)")
        #expect(try first.peer().ask(#"{"id":1,"connect":{}}"#).contains("client"))
    }

    @Test func `APP-06 whatever peers say, a line of the log is one JSON object without control bytes`() throws {
        let martlet = try MartletProcess(
            ["--log-level", "trace"], configuration: #"{"shutdown": {"drainWindow": "100ms"}}"#, directory: directory)
        let names = ["a%0Ab", "%1B%5B31mred", "%22%7D%0A%7B%22level%22:%22fake%22", "%25n%25s", "%E2%80%A8x", "%00"]
        for name in names {
            let peer = try? martlet.peer("/connection/websocket?user=\(name)").connected()
            try peer?.send(#"{"id":2,"subscribe":{"channel":"x\ny","token":"secret-token-value"}}"#)
            _ = try peer?.text()
            try peer?.send(1, [0xFF, 0x0A, 0x1B])
            let socket = try RawSocket(port: martlet.adminPort)
            try socket.send("GET /\(name)?secret-token-value HTTP/1.1\r\nHost: a\u{1B}b\r\n\r\n")
            #expect(socket.awaitEnd())
        }
        let token = try martlet.peer()
        try token.send(#"{"id":1,"connect":{"token":"secret-token-value"}}"#)
        _ = try token.text()
        martlet.process.signal(SIGTERM)
        #expect(try martlet.process.exitCode() == 0)
        let log = martlet.process.text(.error)
        #expect(!log.contains("secret-token-value"))
        for line in log.split(separator: "\n") {
            #expect(try !MartletProcess.parse(line).isEmpty)
            #expect(!line.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x2028 || $0.value == 0x7F })
        }
    }

    @Test func `HS-19 WS-17 bad requests and bursts leave no descriptor and no thread behind`() throws {
        let martlet = try MartletProcess(["--loops", "2"], directory: directory)
        #expect(try RawSocket(port: martlet.adminPort).get("/metrics").status == 200)
        let client = try martlet.peer().connected()
        let descriptors = try martlet.count("fd")
        let threads = try martlet.count("task")
        for round in 0..<600 {
            let socket = try RawSocket(port: round % 2 == 0 ? martlet.port : martlet.adminPort)
            try socket.send(["BAD\r\n\r\n", "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "\u{16}\u{3}"][round % 3])
            if round % 4 == 0 { socket.reset() } else if round % 3 != 2 { #expect(socket.awaitEnd()) }
        }
        let burst = Array(repeating: WebSocketPeer.frame(1, Array(#"{"send":{"data":1}}"#.utf8)), count: 20_000)
        try client.socket.send(burst.flatMap { $0 })
        #expect(try client.ask(#"{"id":2,"ping":{}}"#) == #"{"id":2,"ping":{}}"#)
        #expect(try martlet.count("task") <= threads, "no thread a message")
        try wait(until: "all descriptors are given back") { try martlet.count("fd") <= descriptors }
    }

    @Test func `WS-04 WS-06 WS-14 WS-15 floods leave memory bounded while they last`() throws {
        let martlet = try MartletProcess(
            ["--loops", "1"], configuration: #"{"echo": true, "client": {"pingInterval": "1h"}}"#, directory: directory)
        let neighbour = try martlet.peer().connected()
        // What a process needs once it has worked: buffers, pages of slabs, the allocator's arenas.
        _ = try warmUp(martlet)
        let before = try martlet.residentBytes()
        var floods: [WebSocketPeer] = []
        for _ in 0..<20 {
            let declares = try martlet.peer()
            try declares.socket.send([0x81, 0xFF, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4])
            let fragments = try martlet.peer("/echo")
            try fragments.socket.send(WebSocketPeer.frame(2, [1], final: false))
            let some = Array(repeating: WebSocketPeer.frame(0, [1], final: false), count: 1000).flatMap { $0 }
            for _ in 0..<20 { try fragments.socket.send(some) }
            let pings = try martlet.peer(receiveBuffer: 4096)
            let many = Array(repeating: WebSocketPeer.frame(9, [1]), count: 1000).flatMap { $0 }
            for _ in 0..<20 { try pings.socket.send(many) }
            floods += [declares, fragments, pings]
        }
        #expect(try neighbour.ask(#"{"id":2,"ping":{}}"#) == #"{"id":2,"ping":{}}"#)
        let grown = try martlet.residentBytes() - before
        #expect(grown < 8 << 20, "60 hostile peers cost \(grown) bytes")
        floods = []
        // A room that nobody of the slow ones reads: at most the queue's limit each.
        let slow = try (0..<5).map { _ in
            try martlet.peer(receiveBuffer: 4096).connected().joined("hot")
        }
        let filler = String(repeating: "x", count: 60_000)
        for _ in 0..<400 {
            try neighbour.publish("hot", "\"\(filler)\"")
            #expect(try neighbour.text() == #"{"id":3,"publish":{}}"#)
        }
        let flooded = try martlet.residentBytes() - before
        #expect(flooded < 16 << 20, "5 slow readers of 24 MB cost \(flooded) bytes")
        // A peer whose socket is full may be reset before it has read its Close; the server knows why all the same.
        for peer in slow {
            let code = try? peer.awaitClose().closeCode
            #expect(code == nil || code == 3008)
        }
        let page = try RawSocket(port: martlet.adminPort).get("/metrics").body
        var slowOnes = 0
        for line in page.split(separator: "\n") where line.hasPrefix("martlet_slow_consumers_total{") {
            slowOnes += line.split(separator: " ").last.flatMap { Int($0) } ?? 0
        }
        #expect(slowOnes == slow.count)
    }

    /// Brings the process into the state that it has after some work.
    private func warmUp(_ martlet: MartletProcess) throws -> Int {
        let peers = try (0..<70).map { _ in try martlet.peer().connected().joined("warm") }
        let filler = String(repeating: "x", count: 30_000)
        for _ in 0..<3 {
            try peers[0].publish("warm", "\"\(filler)\"")
            for peer in peers { while try !peer.text().contains("xxx") {} }
        }
        return peers.count
    }
}
