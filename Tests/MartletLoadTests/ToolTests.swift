// The program as a person runs it: against the C floor, which this file compiles, and against servers that break their
// promises on purpose. Every run is short, on free ports, in processes of its own.

import Foundation
import Testing

@testable import LoadCore

/// A run of martlet-load.
struct ToolRun {
    let status: Int32
    let report: [String: Any]
    let text: String

    /// Runs the built program; its JSON report, if there is one, is taken apart.
    init(_ arguments: [String]) throws {
        let child = try Spawned(ToolRun.builtFolder.appending(path: "martlet-load").path(), arguments)
        let ended = child.finish()
        status = ended.status
        text = ended.errors
        report = (try? JSONSerialization.jsonObject(with: Data(ended.output.utf8))) as? [String: Any] ?? [:]
    }

    /// Where the programs of this build lie: beside the test bundle.
    static let builtFolder = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()

    /// A number in the report, by its path.
    subscript(_ path: String) -> Int {
        var value: Any? = report
        for key in path.split(separator: ".") { value = (value as? [String: Any])?[String(key)] }
        return (value as? NSNumber)?.intValue ?? -1
    }
}

/// The C floor, compiled once for all tests.
enum FloorBinary {
    static let url: URL? = {
        let source = URL(filePath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appending(path: "loadtest/floor/floor.c")
        let target = FileManager.default.temporaryDirectory.appending(path: "martlet-floor-\(getpid())")
        let arguments = ["-O1", "-Werror", "-Wall", "-Wextra", "-pthread", "-o", target.path(), source.path()]
        guard let compiler = try? Spawned("cc", arguments) else { return nil }
        return compiler.finish().status == 0 ? target : nil
    }()
}

/// A running floor.
final class Floor {
    let port: String
    var pid: String { String(process.pid) }
    private let process: Spawned

    init(threads: Int = 1) throws {
        let binary: URL = try #require(FloorBinary.url, "the floor does not compile")
        process = try Spawned(binary.path(), ["0", String(threads)])
        port = try #require(process.firstErrorLine().split(separator: ":").last.map(String.init))
    }

    deinit { process.terminate() }
}

@Suite("martlet-load against the C floor")
struct FloorTests {
    @Test("an echo run is clean, and what it counts agrees")
    func echo() throws {
        let floor = try Floor()
        let run = try ToolRun([
            "echo", "--protocol", "floor", "-t", "127.0.0.1:\(floor.port)", "-n", "4", "--window", "3", "--warmup",
            "0.1",
            "--seconds", "0.3", "--pid", floor.pid, "--json", "-", "--quiet",
        ])
        #expect(run.status == 0, "\(run.text)")
        #expect(run["connections.opened"] == 4)
        #expect(run["messages.published"] > 0)
        #expect(run["messages.delivered"] == run["messages.published"])
        #expect(run["messages.latency.count"] > 0)
    }

    @Test("a room over two worker processes and two server threads gets every message once and in order")
    func fanout() throws {
        let floor = try Floor(threads: 2)
        let run = try ToolRun([
            "fanout", "--protocol", "floor", "-t", "127.0.0.1:\(floor.port)", "--rooms", "3", "--members", "8",
            "--publishers", "2", "--window", "4", "--procs", "2", "--warmup", "0.1", "--seconds", "0.3", "--json", "-",
            "--quiet",
        ])
        #expect(run.status == 0, "\(run.text)")
        #expect(run["connections.opened"] == 24)
        #expect(run["messages.delivered"] == run["messages.published"] * 8)
        for key in ["lost", "duplicates", "misordered", "strangers"] { #expect(run["messages.\(key)"] == 0, "\(key)") }
    }

    @Test("an offered rate is kept")
    func rate() throws {
        let floor = try Floor()
        let run = try ToolRun([
            "fanout", "--protocol", "floor", "-t", "127.0.0.1:\(floor.port)", "--members", "3", "--rate", "200",
            "--warmup", "0", "--seconds", "0.5", "--json", "-", "--quiet",
        ])
        #expect(run.status == 0, "\(run.text)")
        // 0.5 s at 200/s from time 0, both ends included: the number follows from the rate, however busy the machine.
        #expect(run["messages.published"] == 101)
        #expect(run["messages.send_lag.count"] == run["messages.published"])
    }

    @Test("a flood opens every connection, from several source addresses, and measures their memory")
    func flood() throws {
        let floor = try Floor()
        let run = try ToolRun([
            "flood", "--protocol", "floor", "-t", "127.0.0.1:\(floor.port)", "-n", "200", "--procs", "2", "--sources",
            "3",
            "--room", "r-%i", "--hold", "0.1", "--pid", floor.pid, "--json", "-", "--quiet",
        ])
        #expect(run.status == 0, "\(run.text)")
        #expect(run["connections.opened"] == 200)
        #expect(run["connections.latency.count"] == 200)
        #expect(run["memory.resident_after"] > 0)
    }

    @Test("a flood at a rate takes its time")
    func paced() throws {
        let floor = try Floor()
        let run = try ToolRun([
            "flood", "--protocol", "floor", "-t", "127.0.0.1:\(floor.port)", "-n", "20", "--rate", "100", "--hold", "0",
            "--json", "-", "--quiet",
        ])
        #expect(run.status == 0, "\(run.text)")
        let seconds = ((run.report["connections"] as? [String: Any])?["opening_s"] as? NSNumber)?.doubleValue ?? 0
        #expect(seconds >= 0.19)
    }
}

@Suite("martlet-load finds what a server does wrong")
struct FaultTests {
    private func fanout(_ fault: Fault, _ more: [String] = ["--rate", "300"]) throws -> ToolRun {
        let server = try FaultyServer(fault)
        defer { server.stop() }
        return try ToolRun(
            [
                "fanout", "-t", "127.0.0.1:\(server.port)", "--members", "3", "--warmup", "0", "--seconds", "0.3",
                "--drain", "0.3", "--json", "-", "--quiet",
            ] + more)
    }

    @Test("a server without faults is clean, in the closed loop and at a rate")
    func none() throws {
        for more in [["--rate", "300"], ["--window", "4"]] {
            let run = try fanout(.none, more)
            #expect(run.status == 0, "\(run.text)")
            #expect(run["messages.delivered"] == run["messages.published"] * 3)
            #expect(run["messages.published"] > 20)
        }
    }

    @Test("lost deliveries are counted, exactly")
    func drop() throws {
        let run = try fanout(.drop(10))
        #expect(run.status == 1)
        #expect(run["messages.lost"] == run["messages.published"] / 10)
        #expect(run["messages.duplicates"] == 0)
    }

    @Test("doubled deliveries are counted, exactly")
    func double() throws {
        let run = try fanout(.double(10))
        #expect(run.status == 1)
        #expect(run["messages.duplicates"] == run["messages.published"] / 10)
        #expect(run["messages.lost"] == 0)
    }

    @Test("deliveries out of order are counted and are not lost")
    func swap() throws {
        let run = try fanout(.swap(10))
        #expect(run.status == 1)
        let swaps = run["messages.published"] / 10
        // The last one may still be held when the run ends.
        #expect((swaps - 1...swaps).contains(run["messages.misordered"]))
        #expect(run["messages.lost"] <= 1)
    }

    @Test("messages of another room are strangers, and missing in their own")
    func misroute() throws {
        let run = try fanout(.misroute(10))
        #expect(run.status == 1)
        #expect(run["messages.strangers"] == run["messages.published"] / 10)
        #expect(run["messages.lost"] == run["messages.strangers"])
    }

    @Test("refused publications are no losses, are counted by code, and do not stall the closed loop")
    func refuse() throws {
        let run = try fanout(.refuse(5), ["--window", "2"])
        #expect(run.status == 1)
        #expect(run["messages.refused"] > 3)
        #expect(run["messages.lost"] == 0)
        #expect(run["messages.misordered"] == 0)
        #expect(run["connections.failures.publish answered with error 111"] == run["messages.refused"])
    }

    @Test("altered echoes are counted")
    func alter() throws {
        let server = try FaultyServer(.alter(10))
        defer { server.stop() }
        let run = try ToolRun([
            "echo", "-t", "127.0.0.1:\(server.port)", "-n", "2", "--rate", "300", "--bytes", "64", "--warmup", "0",
            "--seconds", "0.3", "--drain", "0.2", "--json", "-", "--quiet",
        ])
        #expect(run.status == 1)
        #expect(run["messages.altered"] == run["messages.published"] / 10)
    }

    @Test(
        "why connections fail is said",
        arguments: [
            (Fault.unavailable, "upgrade answered with 503", Int32(4)),
            (.denySubscribe, "subscribe answered with error 103", 4),
            (.closeAfterJoin, "closed with 3501 by design", 1),
        ])
    func failures(fault: Fault, reason: String, status: Int32) throws {
        let server = try FaultyServer(fault)
        defer { server.stop() }
        let run = try ToolRun([
            "flood", "-t", "127.0.0.1:\(server.port)", "-n", "3", "--room", "a", "--hold", "0.3", "--json", "-",
            "--quiet",
        ])
        #expect(run.status == status)
        #expect(run["connections.failures.\(reason)"] == 3, "\(run.report)")
    }

    @Test("pings of both kinds are answered while connections are held")
    func pings() throws {
        let server = try FaultyServer(.demandPongs)
        defer { server.stop() }
        let run = try ToolRun([
            "flood", "-t", "127.0.0.1:\(server.port)", "-n", "3", "--room", "a", "--hold", "1.5", "--json", "-",
            "--quiet",
        ])
        #expect(run.status == 0, "\(run.text)")
        #expect(run["connections.pings_answered"] == 6)
    }

    @Test("good clients, newcomers and attackers are counted apart")
    func attack() throws {
        let server = try FaultyServer(.none)
        defer { server.stop() }
        let run = try ToolRun([
            "flood", "-t", "127.0.0.1:\(server.port)", "--good", "20", "--good-rooms", "2", "--good-rate", "40",
            "--newcomers", "20", "--baseline", "1", "--attack-seconds", "1", "--attack", "bad-upgrade",
            "--attack-rate", "100", "--ratio-limit", "0", "--json", "-", "--quiet",
        ])
        #expect(run.status == 0, "\(run.text)")
        #expect(run["good"] == 20)
        #expect(run["delivery_baseline.count"] > 0)
        #expect(run["delivery_bad-upgrade.count"] > 0)
        #expect(run["newcomers_bad-upgrade.count"] > 0)
        #expect(run["attack_bad-upgrade_attempts"] > 0)
    }

    @Test("a server that is not there is a network failure")
    func absent() throws {
        let server = try FaultyServer(.none)
        server.stop()
        let run = try ToolRun(["flood", "-t", "127.0.0.1:\(server.port)", "-n", "3", "--json", "-", "--quiet"])
        #expect(run.status == 4)
        #expect(run["connections.failures.Connection refused while connecting"] == 3)
    }

    @Test(
        "wrong usage is refused with exit code 2 and a line that says what to mend",
        arguments: [
            (["flood", "-t", "10.0.0.1:80"], "not on this machine"),
            (["flood", "-t", "example.org:80"], "not a numeric"),
            (["flood", "-t", "127.0.0.1"], "ADDRESS:PORT"), (["fanout", "--bytes", "10"], "--bytes"),
            (["echo", "--rate", "5", "--bytes", "20"], "--bytes"), (["fanout", "--publishers", "0"], "--publishers"),
            (["flood", "--pid", "999999999"], "no such process"), (["flood", "--room", "a\"b"], "--room"),
            (["flood", "--nonsense"], "nonsense"), (["presence"], "--martlet"), (["limits"], "--url"),
            (["presence", "-u", "10.0.0.1:80"], "on this machine"),
            (["presence", "-u", "127.0.0.1:1", "--members", "20000"], "--procs"),
            (["presence", "-u", "127.0.0.1:1", "--kill"], "--martlet"),
            (["presence", "--martlet", "/nowhere"], "no such program"),
            (["limits", "-u", "127.0.0.1:1", "--rate", "0"], "--rate"),
            (["flood", "--good", "10", "--attack-addresses", "500"], "--attack-addresses"),
            (["flood", "--good", "10", "--attack", "nicely"], "nicely"),
        ])
    func usage(arguments: [String], hint: String) throws {
        let run = try ToolRun(arguments)
        #expect(run.status == 2)
        #expect(run.text.contains(hint), "\(run.text)")
    }
}
