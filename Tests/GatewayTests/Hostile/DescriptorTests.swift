// A process that has no descriptors left, and error paths that could keep some. Only a process of its own shows it: the
// test process has descriptors of its own. The tests' names carry the ids of the list of hostile inputs.

import Foundation
import Glibc
import TestSupport
import Testing

@testable import Gateway

@Suite struct DescriptorTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func `NET-08 with 64 descriptors 200 connects harm nobody: clients stop where the process' own begin`() throws
    {
        let prlimit = "/usr/bin/prlimit"
        try #require(access(prlimit, X_OK) == 0)
        let process = try ChildProcess(
            prlimit,
            ["--nofile=64", try Products.executable("martlet"), "serve", "--insecure", "--port", "0", "--admin-port"]
                + ["0", "--loops", "1", "--log-format", "json"])
        let line = try process.line(.error) { $0.contains("listening on") }
        let fields = try #require(MartletProcess.parse(line)["attributes"] as? [String: Any])
        let port = UInt16(clamping: fields["listen.port"] as? Int ?? 0)
        let admin = UInt16(clamping: fields["admin.port"] as? Int ?? 0)
        #expect(fields["connections.limit"] as? Int == 24)
        let client = try WebSocketPeer(port: port).connected()
        let others = (0..<200).compactMap { _ in knock(port) }
        var open = others
        wait(until: "all but 23 are refused") {
            for socket in open { socket.poll() }
            open.removeAll { $0.end != nil }
            return open.count == 23
        }
        #expect(try client.ask(#"{"id":2,"ping":{}}"#) == #"{"id":2,"ping":{}}"#)
        let page = try RawSocket(port: admin).get("/metrics").body
        #expect(page.contains(#"martlet_connections_refused_total{reason="connections"} 177"#))
        #expect(page.contains(#"martlet_accept_errors_total{reason="emfile"} 0"#))
        for socket in others { socket.close() }
        wait(until: "newcomers are served") { (try? WebSocketPeer(port: port).connected()) != nil }
    }

    @Test func `NET-08 without any descriptor newcomers are refused and nothing spins`() throws {
        let martlet = try MartletProcess(["--loops", "1"], directory: directory)
        let inside = try (0..<10).map { _ in try martlet.peer().connected() }
        let before = try martlet.ticks()
        let numbers = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(martlet.process.pid)/fd")
            .compactMap { Int($0) }
        let limit = (numbers.max() ?? 0) + 1
        // Numbers that were given back in between are still to be had.
        let free = limit - numbers.count
        try limitDescriptors(martlet.process.pid, limit)
        let others = (0..<(200 + free)).compactMap { _ in knock(martlet.port) }
        var open = others
        wait(until: "all for whom there is no descriptor are refused") {
            for socket in open { socket.poll() }
            open.removeAll { $0.end != nil }
            return open.count == free
        }
        // Each refusal is one failed accept: a loop that spins has many thousands of them.
        for client in inside {
            #expect(try client.ask(#"{"id":2,"ping":{}}"#) == #"{"id":2,"ping":{}}"#, "who is there is served")
        }
        let spent = try martlet.ticks() - before
        try limitDescriptors(martlet.process.pid, 1024)
        let errors = try martlet.metric(#"martlet_accept_errors_total{reason="emfile"}"#)
        #expect((200.0...400).contains(errors), "\(errors)")
        #expect(try martlet.metric(#"martlet_connections_refused_total{reason="descriptors"}"#) == 200)
        #expect(spent < 50, "\(spent) hundredths of a second")
        let newcomer = try martlet.peer().connected()
        #expect(try martlet.metric("martlet_connections ") == Double(11 + free))
        newcomer.socket.close()
    }

    private func limitDescriptors(_ pid: Int32, _ count: Int) throws {
        let prlimit = try ChildProcess("/usr/bin/prlimit", ["--pid", "\(pid)", "--nofile=\(count):"])
        #expect(try prlimit.exitCode() == 0)
    }

    @Test func `HS-19 ten thousand bad requests to operators' listener leave no descriptor behind`() throws {
        let martlet = try MartletProcess(["--loops", "1"], directory: directory)
        #expect(try RawSocket(port: martlet.adminPort).get("/metrics").status == 200)
        let descriptors = try martlet.count("fd")
        let requests = [
            "BAD\r\n\r\n", "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "POST /livez HTTP/1.1\r\nHost: x\r\n\r\n",
            "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", "GET /livez HTTP/9.9\r\n\r\n",
            "POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        ]
        for round in 0..<10_000 {
            let socket = try RawSocket(port: martlet.adminPort)
            try socket.send(requests[round % requests.count])
            switch round % 5 {
            case 0: socket.reset()
            case 1: socket.close()
            default: #expect(socket.awaitEnd() && !socket.buffer.isEmpty)
            }
        }
        let large = try RawSocket(port: martlet.adminPort)
        try large.send("POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        #expect(try large.response().status == 413)
        try wait(until: "all descriptors are given back") { try martlet.count("fd") <= descriptors }
        #expect(try RawSocket(port: martlet.adminPort).get("/livez").status == 200)
    }
}
