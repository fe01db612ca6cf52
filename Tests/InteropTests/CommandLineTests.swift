// The `martlet` program as a person and a service manager meet it: exit codes, and one line that says what to do.

import ClusterSupport
import Foundation
import TestSupport
import Testing

@Suite("The martlet program", .ownThread)
struct CommandLineTests {
    /// How a program ended.
    struct Run {
        let code: Int32
        let output: String
        let errors: [String]
    }

    private func run(_ arguments: [String], environment: [String] = []) async throws -> Run {
        let process = try LineProcess(try Products.executable("martlet"), arguments, environment: environment)
        let code = try await process.exit()
        // The end can be known before the last line was read.
        try await process.output.end()
        try await process.errors.end()
        return Run(code: code, output: process.output.all.joined(separator: "\n"), errors: process.errors.all)
    }

    private func refused(
        _ arguments: [String], environment: [String] = [], code: Int32, saying words: String...,
        location: SourceLocation = #_sourceLocation
    ) async throws {
        let run = try await run(arguments, environment: environment)
        #expect(run.code == code, "\(run.errors)", sourceLocation: location)
        #expect(run.errors.count == 1, "one line: \(run.errors)", sourceLocation: location)
        for word in words {
            #expect(run.errors.first?.contains(word) == true, "\(word) in \(run.errors)", sourceLocation: location)
        }
        #expect(run.output.isEmpty, sourceLocation: location)
    }

    @Test("A port in use ends it with 4 and a line that names the port and the way out")
    func portInUse() async throws {
        let gateway = try await GatewayProcess()
        let port = "\(gateway.port)"
        let free = ["--port", "0", "--admin-port", "0"]
        try await refused(
            ["serve", "--insecure", "--port", port, "--admin-port", "0"], code: 4, saying: port,
            "choose another port")
        try await refused(
            ["serve", "--insecure"] + free.prefix(2) + ["--admin-port", "\(gateway.adminPort)"], code: 4,
            saying: "\(gateway.adminPort)")
        #expect(try await gateway.health().isReady, "the first one did not notice")
    }

    @Test("An unknown key is named together with the nearest one that exists, in a file and in the environment")
    func unknownKey() async throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write("typo.json", #"{"client": {"pingIntervall": "5s"}}"#)
        for command in ["serve", "check-config", "print-config"] {
            try await refused(
                [command, "--config", file], code: 2, saying: "client.pingIntervall", "client.pingInterval")
        }
        try await refused(
            ["serve"], environment: ["MARTLET_CLIENT_MAX_ROOMZ=5"], code: 2, saying: "MARTLET_CLIENT_MAX_ROOMZ",
            "MARTLET_CLIENT_MAX_ROOMS")
    }

    @Test("Wrong values, files and flags end it with 2 and one line that says where")
    func wrongValues() async throws {
        let directory = try TemporaryDirectory()
        let broken = try directory.write("broken.json", #"{"port": }"#)
        let wrong = try directory.write("wrong.json", #"{"client": {"pingInterval": "0.5s"}}"#)
        try await refused(["serve", "--config", broken], code: 2, saying: "broken.json")
        try await refused(["serve", "--config", wrong], code: 2, saying: "client.pingInterval", "wrong.json")
        try await refused(["serve", "--config", directory.path + "/none.json"], code: 2, saying: "none.json")
        try await refused(["serve", "--redis", "http://localhost"], code: 2, saying: "redis")
        try await refused(["serve", "--nonsense"], code: 2, saying: "--nonsense", "--help")
        try await refused(["surve"], code: 2, saying: "surve")
    }

    @Test("A public address without TLS and without authentication is refused with the way out")
    func publicAddress() async throws {
        for host in ["0.0.0.0", "::"] {
            try await refused(["serve", "--host", host, "--port", "0"], code: 2, saying: host, "--behind-proxy")
        }
        try await refused(["serve", "--insecure", "--host", "0.0.0.0", "--port", "0"], code: 2, saying: "0.0.0.0")
    }

    @Test("check-config lists every problem, or says that all is fine")
    func checkConfig() async throws {
        let directory = try TemporaryDirectory()
        let bad = try directory.write("bad.json", #"{"prot": 1, "client": {"maxRooms": 0}, "loops": "two"}"#)
        let all = try await run(["check-config", "--config", bad])
        #expect(all.code == 2)
        #expect(all.errors.count == 3, "\(all.errors)")
        for key in ["prot", "client.maxRooms", "loops"] { #expect(all.errors.contains { $0.contains(key) }, "\(key)") }
        let good = try directory.write("good.json", #"{"port": 8100, "client": {"maxRooms": 5}}"#)
        let fine = try await run(["check-config", "--config", good])
        #expect(fine.code == 0)
        #expect(fine.output == "the configuration is fine")
        #expect(fine.errors.isEmpty)
    }

    @Test("print-config shows the value in effect and where it was set; a password is not shown")
    func printConfig() async throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write("martlet.json", #"{"port": 8100, "client": {"maxRooms": 5}}"#)
        let run = try await run(
            ["print-config", "--config", file, "--port", "8200"],
            environment: ["MARTLET_ENGINE_REDIS_URL=redis://ada:secret@localhost:6379", "MARTLET_CLIENT_MAX_ROOMS=6"])
        #expect(run.code == 0, "\(run.errors)")
        let document = try #require(
            try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any], "it is JSON")
        let configuration = try #require(document["configuration"] as? [String: Any])
        let origins = try #require(document["origins"] as? [String: Any])
        #expect(configuration["port"] as? Int == 8200)
        #expect((configuration["client"] as? [String: Any])?["maxRooms"] as? Int == 6)
        #expect("\(origins["port"] ?? "")".contains("--port"), "\(origins)")
        #expect("\(origins["client.maxRooms"] ?? "")".contains("MARTLET_CLIENT_MAX_ROOMS"), "\(origins)")
        #expect(!run.output.contains("secret"))
    }

    @Test("SIGTERM ends a gateway that nobody uses at once, with 0; a second one ends the drain of one that is used")
    func signals() async throws {
        let idle = try await GatewayProcess()
        idle.process.signal(SIGTERM)
        #expect(try await idle.process.exit() == 0)
        // The window is far longer than the patience of this test.
        let busy = try await GatewayProcess(configuration: #"{"shutdown": {"drainWindow": "10m"}}"#)
        let python = try await PythonClients()
        _ = try await python.connect("ada", to: busy)
        // It cannot say goodbye.
        python.signal(SIGSTOP)
        busy.process.signal(SIGTERM)
        _ = try await eventually("a readiness that says 503") { try await busy.health().status == 503 ? true : nil }
        busy.process.signal(SIGTERM)
        #expect(try await busy.process.exit() == 0)
    }

    @Test("version and --help answer on the output and end with 0; every command has a help with an example")
    func answers() async throws {
        let version = try await run(["version"])
        #expect(version.code == 0)
        #expect(version.output.split(separator: ".").count == 3, "\(version.output)")
        #expect(try await run(["--version"]).output == version.output)
        let help = try await run(["--help"])
        #expect(help.code == 0)
        for command in ["serve", "check-config", "print-config", "version"] {
            #expect(help.output.contains(command), "\(command)")
            let own = try await run([command, "--help"])
            #expect(own.code == 0 && !own.output.isEmpty && own.errors.isEmpty, "\(command)")
        }
        #expect(try await run(["serve", "--help"]).output.contains("EXAMPLES"))
    }
}
