// A real redis-server on a Unix socket in a folder of its own, and a blocking client, for the tests of the scripts.
// Keys that a script leaves without a TTL are found by a scan of the whole server after every test.

import Bytes
import Foundation
import Redis
import Testing

/// A reply with its own copy of everything.
indirect enum Answer: Equatable {
    case null
    case text([UInt8])
    case error(String)
    case integer(Int64)
    case array([Answer])

    init(_ reply: RedisReply) {
        switch reply.kind {
        case .null: self = .null
        case .status, .bulk: self = .text(Array(reply.bytes))
        case .error: self = .error(String(decoding: reply.bytes, as: UTF8.self))
        case .integer: self = .integer(reply.integer ?? 0)
        case .array: self = .array((0..<reply.count).compactMap { reply[$0].map(Answer.init) })
        }
    }

    var string: String {
        if case .text(let bytes) = self { return String(decoding: bytes, as: UTF8.self) }
        return "\(self)"
    }

    var bytes: [UInt8]? {
        if case .text(let bytes) = self { return bytes }
        return nil
    }

    var elements: [Answer] {
        if case .array(let elements) = self { return elements }
        return []
    }

    var number: Int64? {
        if case .integer(let number) = self { return number }
        return nil
    }
}

/// One redis-server process; killed when it goes out of scope.
final class ScriptServer {
    private let folder: String
    private var process: Process?
    private var log: FileHandle?
    private let options: [String]

    init(options: [String] = []) throws {
        folder = FileManager.default.temporaryDirectory.path + "/scripts-\(UUID().uuidString.prefix(13))"
        self.options = options
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try start()
    }

    deinit {
        kill()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Starts it, again after `kill`; returns when it accepts connections.
    func start() throws {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let program = (path.split(separator: ":").map(String.init) + ["/usr/bin", "/usr/local/bin"])
            .map { $0 + "/redis-server" }.first { FileManager.default.isExecutableFile(atPath: $0) }
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: try #require(program, "redis-server is missing"))
        process.arguments =
            ["--port", "0", "--unixsocket", folder + "/s", "--dir", folder, "--save", "", "--daemonize", "no"] + options
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        var text = ""
        while !text.contains("eady to accept connections") {
            let piece = pipe.fileHandleForReading.availableData
            try #require(!piece.isEmpty, "redis-server did not start: \(text)")
            text += String(decoding: piece, as: UTF8.self)
        }
        self.process = process
        log = pipe.fileHandleForReading
    }

    /// Ends it without a chance to save anything.
    func kill() {
        guard let process else { return }
        Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        self.process = nil
        log = nil
        unlink(folder + "/s")
    }

    func client() throws -> ScriptClient { try ScriptClient(path: folder + "/s") }
}

/// A blocking connection.
final class ScriptClient {
    private let descriptor: Int32
    private var reader = ReplyReader()
    let names: RedisNames

    init(path: String) throws {
        names = try #require(RedisNames(prefix: "martlet"))
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        // A message that never comes fails its test instead of stopping it.
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(status == 0, "the test connects to its server")
    }

    deinit { close(descriptor) }

    /// Sends what `write` appends.
    func send(_ write: (inout ByteBuffer) -> Void) throws {
        var output = ByteBuffer()
        write(&output)
        var done = 0
        while done < output.count {
            let wrote = Glibc.send(
                descriptor, output.bytes.baseAddress.map { $0 + done }, output.count - done, Int32(MSG_NOSIGNAL))
            guard wrote > 0 else { throw POSIXError(.EPIPE) }
            done += wrote
        }
    }

    /// The next reply.
    func receive<Result>(_ read: (RedisReply) throws -> Result) throws -> Result {
        var piece = [UInt8](repeating: 0, count: 65536)
        while true {
            if let reply = reader.next() { return try read(reply) }
            try #require(reader.fault == nil, "the server speaks RESP2")
            let got = recv(descriptor, &piece, piece.count, 0)
            guard got > 0 else { throw POSIXError(got == 0 ? .ECONNRESET : .ETIMEDOUT) }
            piece.withUnsafeBytes { reader.feed(UnsafeRawBufferPointer(rebasing: $0[..<got])) }
        }
    }

    /// Sends one command and waits for its reply.
    @discardableResult
    func command(_ arguments: [[UInt8]]) throws -> Answer {
        try send { output in
            output.beginCommand(arguments.count)
            for argument in arguments { argument.withUnsafeBytes { output.appendArgument($0) } }
        }
        return try receive { Answer($0) }
    }

    @discardableResult
    func command(_ arguments: String...) throws -> Answer { try command(arguments.map { Array($0.utf8) }) }

    /// Sends a script's call, loads the script when the server does not know it, and sends the same call again.
    func call<Result>(
        _ script: RedisScript, _ write: (inout ByteBuffer) -> Void, _ read: (RedisReply) throws -> Result
    ) throws -> Result {
        try send(write)
        var isUnknown = false
        let result: Result? = try receive { reply in
            isUnknown = reply.error == .noScript
            return isUnknown ? nil : try read(reply)
        }
        if let result { return result }
        try #require(isUnknown)
        try send { script.appendLoad(to: &$0) }
        #expect(try receive { script.isLoaded(by: $0) }, "the server computes the same SHA-1")
        try send(write)
        return try receive(read)
    }

    /// A room's key.
    func key(_ key: RedisNames.RoomKey, _ room: [UInt8]) -> [UInt8] {
        var output = ByteBuffer()
        room.withUnsafeBytes { names.appendKey(key, of: $0, to: &output) }
        return Array(output.bytes)
    }

    /// The key of an idempotent publish.
    func idempotencyKey(_ sender: String, _ key: String, _ room: [UInt8]) -> [UInt8] {
        var output = ByteBuffer()
        room.withRaw { room in
            bytes(sender).withRaw { sender in
                bytes(key).withRaw {
                    names.appendIdempotencyKey(sender: sender, key: $0, of: room, to: &output)
                }
            }
        }
        return Array(output.bytes)
    }

    /// Every key of the server.
    func keys() throws -> [[UInt8]] {
        try command("KEYS", "*").elements.compactMap(\.bytes).sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// Fails the test for every key that would stay for ever.
    func expectEveryKeyToExpire(_ location: SourceLocation = #_sourceLocation) throws {
        for key in try keys() {
            let ttl = try command([Array("PTTL".utf8), key]).number ?? 0
            #expect(ttl > 0, "\(String(decoding: key, as: UTF8.self)) has a TTL", sourceLocation: location)
        }
    }
}
