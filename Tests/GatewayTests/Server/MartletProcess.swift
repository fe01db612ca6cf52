// The built program as a process of its own, with a look at what the kernel knows of it. It ends with the object.

import Foundation
import Glibc
import TestSupport
import Testing

/// A running `martlet serve`.
final class MartletProcess {
    let process: ChildProcess
    let port: UInt16
    let adminPort: UInt16

    /// Without a limit of commands unless told otherwise: tests say much in a short time.
    init(
        _ arguments: [String] = [], configuration: String? = nil, directory: TemporaryDirectory,
        environment: [String: String] = ["MARTLET_CLIENT_RATE": "0"]
    ) throws {
        var all = ["serve", "--insecure", "--port", "0", "--admin-port", "0", "--log-format", "json"] + arguments
        if let configuration { all += ["--config", try directory.write("martlet.json", configuration)] }
        process = try ChildProcess(Products.executable("martlet"), all, environment: environment)
        let line = try process.line(.error) { $0.contains("listening on") }
        let fields = try #require(MartletProcess.parse(line)["attributes"] as? [String: Any])
        port = UInt16(clamping: fields["listen.port"] as? Int ?? 0)
        adminPort = UInt16(clamping: fields["admin.port"] as? Int ?? 0)
    }

    static func parse(_ line: some StringProtocol) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
    }

    /// Resident memory in bytes.
    func residentBytes() throws -> Int {
        let text = try String(contentsOfFile: "/proc/\(process.pid)/statm", encoding: .utf8)
        let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) }
        return try #require(pages) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    func count(_ what: String) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process.pid)/\(what)").count
    }

    func peer(_ path: String = "/connection/websocket", receiveBuffer: Int32? = nil) throws -> WebSocketPeer {
        try WebSocketPeer(port: port, path, receiveBuffer: receiveBuffer)
    }

    /// The samples of the metrics page whose line begins with `prefix`, added up.
    func metric(_ prefix: String) throws -> Double {
        try RawSocket(port: adminPort).get("/metrics").body.split(separator: "\n").filter { $0.hasPrefix(prefix) }
            .compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }.reduce(0, +)
    }

    /// Processor time so far, in ticks of a hundredth of a second.
    func ticks() throws -> Int {
        let stat = try String(contentsOfFile: "/proc/\(process.pid)/stat", encoding: .utf8)
        let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
        return try (11...12).reduce(0) { try $0 + #require(Int(fields[$1])) }
    }
}
