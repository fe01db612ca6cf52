// A real redis-server for tests: started on a Unix socket or a free port, in a folder of its own, ended by its own
// process id. Readiness is read from its log, so that nothing sleeps.

import Foundation
import Redis
import Testing

/// One redis-server process; killed when it goes out of scope.
final class RedisServer {
    /// The folder that it keeps its files in.
    let folder: String
    private let arguments: [String]
    private var process: Process?
    private var log: FileHandle?
    /// Where it listens.
    let endpoint: RedisEndpoint

    /// Where Debian puts it, or wherever PATH finds it.
    private static func find(_ program: String) -> String? {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        return (path.split(separator: ":").map(String.init) + ["/usr/bin", "/usr/local/bin"])
            .map { $0 + "/" + program }.first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    /// Starts a server; `options` are those of its command line.
    init(unix: Bool = true, options: [String] = []) throws {
        folder = FileManager.default.temporaryDirectory.path + "/redis-\(UUID().uuidString.prefix(13))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var listen: [String]
        if unix {
            endpoint = .unix(path: folder + "/s")
            listen = ["--port", "0", "--unixsocket", folder + "/s"]
        } else {
            let port = try RedisServer.freePort()
            endpoint = .tcp(host: "127.0.0.1", port: port)
            listen = ["--port", String(port), "--bind", "127.0.0.1"]
        }
        listen += ["--dir", folder, "--save", "", "--daemonize", "no", "--loglevel", "notice"]
        arguments = listen + options
        try start()
    }

    deinit {
        end(SIGKILL)
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Starts it again after `end`, and returns when it accepts connections, or when it has logged `line`. The capital
    /// of the former depends on the socket.
    func start(awaiting line: String = "eady to accept connections") throws {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(
            fileURLWithPath: try #require(RedisServer.find("redis-server"), "redis-server is missing"))
        process.arguments = arguments
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        var text = ""
        // Reading blocks until the server writes; a server that ends closes the pipe.
        while !text.contains(line) {
            let piece = pipe.fileHandleForReading.availableData
            try #require(!piece.isEmpty, "redis-server did not start: \(text)")
            text += String(decoding: piece, as: UTF8.self)
        }
        self.process = process
        // Its log is so short that the pipe never fills.
        log = pipe.fileHandleForReading
    }

    /// Sends a signal.
    func signal(_ number: Int32) {
        if let process { kill(process.processIdentifier, number) }
    }

    /// Ends it by `number` and waits until it is gone.
    func end(_ number: Int32) {
        guard let process else { return }
        kill(process.processIdentifier, number)
        kill(process.processIdentifier, SIGCONT)
        process.waitUntilExit()
        self.process = nil
        log = nil
        if case .unix(let path) = endpoint { unlink(path) }
    }

    /// Runs one command by redis-cli and returns what it printed. `input` goes to its last argument, byte for byte.
    @discardableResult
    func command(_ arguments: [String], input: [UInt8]? = nil) throws -> String {
        let (cli, output, source) = try begin(input == nil ? arguments : ["-x"] + arguments)
        if let input { try source.write(contentsOf: Data(input)) }
        try source.close()
        let text = String(decoding: output.readDataToEndOfFile(), as: UTF8.self)
        cli.waitUntilExit()
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Starts one command by redis-cli, which the caller waits for.
    func begin(_ arguments: [String]) throws -> (Process, output: FileHandle, input: FileHandle) {
        let cli = Process()
        let program = try #require(RedisServer.find("redis-cli"), "redis-cli is missing")
        cli.executableURL = URL(fileURLWithPath: program)
        switch endpoint {
        case .unix(let path): cli.arguments = ["-s", path] + arguments
        case .tcp(let host, let port): cli.arguments = ["-h", host, "-p", String(port)] + arguments
        }
        let output = Pipe()
        let source = Pipe()
        cli.standardOutput = output
        cli.standardError = output
        cli.standardInput = source
        try cli.run()
        return (cli, output.fileHandleForReading, source.fileHandleForWriting)
    }

    /// A port that nobody uses now.
    static func freePort() throws -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) | getsockname(descriptor, $0, &length)
            }
        }
        try #require(status == 0)
        return UInt16(bigEndian: address.sin_port)
    }
}
