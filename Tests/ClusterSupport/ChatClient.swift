// martlet-chat in a pipe, with --json: lines in, events out.

import Foundation
import Synchronization
import TestSupport

/// A running martlet-chat.
package final class ChatClient: Member {
    package let events: EventLog<ClientEvent>
    private let process: LineProcess
    /// Messages so far: what the program numbers its answers by.
    private let sent = Mutex(0)

    /// Starts it with `gateways` and returns when it is in `rooms`.
    ///
    /// - Parameter retryFor: for how many seconds it repeats what is refused for the moment; 0 where a test wants to
    ///   hear every answer of the gateway.
    package convenience init(
        _ gateways: [GatewayProcess], user: String, rooms: [String], retryFor: Int = 30
    ) async throws {
        try await self.init(urls: gateways.map { $0.url() }, user: user, rooms: rooms, retryFor: retryFor)
    }

    /// The same with whatever listens at `urls`.
    package init(urls: [String], user: String, rooms: [String], retryFor: Int = 30) async throws {
        let events = EventLog<ClientEvent>("martlet-chat \(user)")
        self.events = events
        let arguments =
            urls.flatMap { ["--url", $0] } + ["--user", user, "--json", "--retry-for", "\(retryFor)"]
            + rooms.flatMap { ["--room", $0] }
        process = try LineProcess(try Products.executable("martlet-chat"), arguments) { line in
            events.append(ClientEvent.parse(line))
        }
        for room in rooms { try await events.first("entering \(room)") { $0.event == "joined" && $0.room == room } }
    }

    package func isMine(_ event: ClientEvent) -> Bool { true }

    /// Types a line, such as a slash command.
    package func type(_ line: String) { process.type(line + "\n") }

    /// Sends a signal to the process.
    package func signal(_ number: Int32) { process.signal(number) }

    /// Which of `gateways` it is connected to, or tries to be.
    package func place(in gateways: [GatewayProcess]) throws -> Int {
        let url = events.all.last { $0.event == "connecting" }?.url ?? "none"
        guard let index = gateways.firstIndex(where: { url.contains(":\($0.port)/") }) else {
            throw TestFailure("it is at no gateway of ours: \(url)")
        }
        return index
    }

    package func publish(_ text: String, in room: String) async throws -> Outcome {
        let start = events.count
        let number = say([text], in: room)
        let answer = try await events.first("the answer to '\(text)'", from: start) { $0.number == number }
        return answer.event == "published" ? .done : .refused(answer.code ?? 0)
    }

    package func publish(_ count: Int, _ text: String, in room: String) async throws {
        let last = say((0..<count).map { "\(text) \($0)" }, in: room)
        try await events.first("the answer to the last message of '\(text)'") {
            $0.event == "published" && $0.number == last
        }
    }

    /// Types messages; returns the number of the last one.
    package func say(_ texts: [String], in room: String) -> Int {
        // Numbers are given in the order of the input, so both happen under one lock.
        sent.withLock { sent in
            process.type(texts.map { "/msg \(room) \($0)\n" }.joined())
            sent += texts.count
            return sent
        }
    }
}
