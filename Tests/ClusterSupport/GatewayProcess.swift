// A gateway as an operator starts it: the built program, on free ports of its own, its log as events.

import Foundation
import TestSupport

/// A running gateway.
package final class GatewayProcess: Sendable {
    /// The process; its error output is the log, one JSON object a line.
    package let process: LineProcess
    /// Port of the clients' listener.
    package let port: UInt16
    /// Port of the admin listener.
    package let adminPort: UInt16
    private let directory: TemporaryDirectory

    private struct Announcement: Decodable {
        struct Attributes: Decodable {
            let port: UInt16
            let adminPort: UInt16

            enum CodingKeys: String, CodingKey {
                case port = "listen.port"
                case adminPort = "admin.port"
            }
        }
        let attributes: Attributes
    }

    /// Starts `martlet serve --insecure` with two loops and returns when it listens and is ready.
    ///
    /// - Parameters:
    ///   - configuration: the text of a configuration file.
    ///   - awaitsReadiness: false where Redis is not there yet.
    package init(
        configuration: String = "{}", redis: RedisProcess? = nil, port: UInt16 = 0, awaitsReadiness: Bool = true
    ) async throws {
        directory = try TemporaryDirectory()
        let file = try directory.write("martlet.json", configuration)
        var arguments = ["serve", "--insecure", "--config", file, "--loops", "2", "--log-format", "json"]
        arguments += ["--port", "\(port)", "--admin-port", "0"]
        if let redis { arguments += ["--redis", redis.url] }
        // Tests say more in a second than a person does.
        process = try LineProcess(
            try Products.executable("martlet"), arguments, environment: ["MARTLET_CLIENT_RATE=0"])
        let line = try await process.errors.first("the line that says where it listens") {
            $0.contains("listening on")
        }
        let announcement = try JSONDecoder().decode(Announcement.self, from: Data(line.utf8))
        self.port = announcement.attributes.port
        adminPort = announcement.attributes.adminPort
        guard awaitsReadiness else { return }
        _ = try await eventually("readiness") { try await health().isReady ? true : nil }
    }

    /// What clients connect to.
    package func url(user: String? = nil) -> String {
        "ws://127.0.0.1:\(port)/connection/websocket" + (user.map { "?user=\($0)" } ?? "")
    }

    /// What /readyz says now; status 0 when nobody listens.
    package func health() async throws -> (status: Int, text: String, isReady: Bool) {
        let answer = try await get("/readyz")
        let status = answer.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        return (status, answer, status == 200)
    }

    /// The sum of the metric `name` over all series whose labels satisfy `condition`.
    package func metric(_ name: String, where condition: (Substring) -> Bool = { _ in true }) async throws -> Double {
        let lines = try await get("/metrics").split(whereSeparator: \.isNewline)
        return lines.filter { $0.hasPrefix(name + "{") || $0.hasPrefix(name + " ") }.filter(condition)
            .compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }.reduce(0, +)
    }

    private func get(_ path: String) async throws -> String {
        let request = "GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        return try await LocalSocket.ask(.port(adminPort), request, within: .seconds(5)) { _ in false } ?? ""
    }
}
