// Clients made with centrifuge-python, an SDK that nobody here wrote. One Python process holds any number of them; it
// is steered by lines of JSON and reports in the same way (Python/driver.py).

import Foundation
import Synchronization
import TestSupport

/// A Python process with clients.
package final class PythonClients: Sendable {
    /// The release that the tests are made for.
    private static let version = "0.7.0"

    package let events: EventLog<ClientEvent>
    private let process: LineProcess
    private let lastTag = Mutex(0)

    /// Starts the process.
    package init() async throws {
        let events = EventLog<ClientEvent>("centrifuge-python")
        self.events = events
        process = try LineProcess(try Programs.python(), [Programs.pythonDriver]) { line in
            events.append(ClientEvent.parse(line))
        }
        let first = try await events.first("the start of Python") { _ in true }
        guard first.event == "ready", first.version == Self.version else {
            throw TestFailure(
                "centrifuge-python \(Self.version) is not in .build/venv (\(first)): run `make setup-tests`")
        }
    }

    /// Sends a signal to the process.
    package func signal(_ number: Int32) { process.signal(number) }

    /// Makes a client and connects it.
    package func connect(_ name: String, to gateway: GatewayProcess) async throws -> PythonClient {
        try await connect(name, url: gateway.url(user: name))
    }

    /// Makes a client and connects it to whatever listens at `url`.
    package func connect(_ name: String, url: String) async throws -> PythonClient {
        let client = PythonClient(name: name, process: self)
        try await client.demand("new", ["url": url])
        try await client.demand("connect")
        return client
    }

    /// Sends a request; returns what answers it.
    package func ask(
        _ operation: String, client: String, _ fields: [String: any Sendable], within patience: Duration
    ) async throws -> ClientEvent {
        let start = events.count
        let tag = send(operation, client: client, fields)
        return try await events.first("the answer to \(operation) of \(client)", from: start, within: patience) {
            $0.tag == tag
        }
    }

    private func send(_ operation: String, client: String, _ fields: [String: any Sendable]) -> Int {
        let tag = lastTag.withLock { tag in
            tag += 1
            return tag
        }
        var object: [String: Any] = fields
        object["do"] = operation
        object["client"] = client
        object["tag"] = tag
        let line = (try? JSONSerialization.data(withJSONObject: object)) ?? Data()
        process.type(String(decoding: line, as: UTF8.self) + "\n")
        return tag
    }
}

/// One client of a Python process: made with the SDK, or a bare socket.
package struct PythonClient: Member {
    package let name: String
    private let process: PythonClients

    /// A client called `name`; the process knows it after the first request.
    package init(name: String, process: PythonClients) {
        self.name = name
        self.process = process
    }

    package var events: EventLog<ClientEvent> { process.events }

    package func isMine(_ event: ClientEvent) -> Bool { event.client == name }

    /// Sends a request; returns what became of it.
    @discardableResult
    package func ask(
        _ operation: String, _ fields: [String: any Sendable] = [:], within patience: Duration = .seconds(30)
    ) async throws -> ClientEvent {
        try await process.ask(operation, client: name, fields, within: patience)
    }

    /// Sends a request that must succeed.
    @discardableResult
    package func demand(
        _ operation: String, _ fields: [String: any Sendable] = [:], within patience: Duration = .seconds(30)
    ) async throws -> ClientEvent {
        let answer = try await ask(operation, fields, within: patience)
        guard answer.event == "done" else { throw TestFailure("\(operation) of \(name) failed: \(answer)") }
        return answer
    }

    /// Sends a request; whether it was done, or with which code it was refused.
    package func outcome(_ operation: String, _ fields: [String: any Sendable] = [:]) async throws -> Outcome {
        let answer = try await ask(operation, fields)
        return answer.event == "done" ? .done : .refused(answer.code ?? 0)
    }

    package func subscribe(_ room: String) async throws { try await demand("subscribe", ["room": room]) }

    package func unsubscribe(_ room: String) async throws { try await demand("unsubscribe", ["room": room]) }

    package func publish(_ text: String, in room: String) async throws -> Outcome {
        try await outcome("publish", ["room": room, "text": text])
    }

    package func publish(_ count: Int, _ text: String, in room: String) async throws {
        try await demand("burst", ["room": room, "text": text, "count": count])
    }
}

/// A load balancer in front of gateways, in a Python process: who is cut off and comes back is at another gateway.
package struct LoadBalancer {
    private let name: PythonClient
    private let port: UInt16

    /// Hands connections on to `gateway`.
    package init(_ process: PythonClients, to gateway: GatewayProcess) async throws {
        name = PythonClient(name: "balancer", process: process)
        guard let port = try await name.demand("balance", ["target": Int(gateway.port)]).port else {
            throw TestFailure("the load balancer has no port")
        }
        self.port = port
    }

    /// What clients connect to.
    package func url(user: String? = nil) -> String {
        "ws://127.0.0.1:\(port)/connection/websocket" + (user.map { "?user=\($0)" } ?? "")
    }

    /// Cuts all connections and hands new ones on to `gateway`; to nobody if that is nil.
    package func turn(to gateway: GatewayProcess?) async throws {
        try await name.demand("switch", ["target": Int(gateway?.port ?? 1)])
    }
}
