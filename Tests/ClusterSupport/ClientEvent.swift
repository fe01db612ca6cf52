// What clients report, in one form for martlet-chat and for centrifuge-python: both print one JSON object a line with
// these names.

import Foundation

/// One line of a client.
package struct ClientEvent: Decodable, Sendable, CustomStringConvertible {
    /// What happened: connected, joined, message, …
    package let event: String
    /// The client's name among those of the Python process.
    package let client: String?
    package let room: String?
    /// The author of a message.
    package let user: String?
    package let text: String?
    package let code: Int?
    package let reason: String?
    /// Number of martlet-chat's own message, from 1.
    package let number: Int?
    /// What the request that this answers was called.
    package let tag: Int?
    package let version: String?
    /// What a request counted.
    package let count: Int?
    /// What a request found wrong.
    package let faults: [String]?
    /// Where martlet-chat connects to.
    package let url: String?
    /// Where something that a request made listens.
    package let port: UInt16?
    /// How a room was entered: fresh, recovered or lost.
    package let continuity: String?
    /// How many messages follow a recovery.
    package let recovered: Int?
    /// Place of a message, or of a room, in the room's stream.
    package let offset: Int?
    package let epoch: String?
    /// Milliseconds until martlet-chat tries to connect again; nil when it does not.
    package let retry: Int?

    enum CodingKeys: String, CodingKey {
        case event, client, room, user, text, code, reason, number, tag, version, count, faults
        case url, port, continuity, recovered, offset, epoch
        case retry = "retry_ms"
    }

    package var description: String {
        let parts: [(String, Any?)] = [
            ("client", client), ("room", room), ("user", user), ("text", text), ("code", code), ("reason", reason),
            ("number", number), ("tag", tag), ("count", count), ("faults", faults), ("url", url),
            ("continuity", continuity), ("recovered", recovered), ("offset", offset), ("epoch", epoch),
        ]
        return event + parts.compactMap { name, value in value.map { " \(name)=\($0)" } }.joined()
    }

    /// Reads one line; one that is none of a client's becomes an event of its own.
    package static func parse(_ line: String) -> ClientEvent {
        if let event = try? JSONDecoder().decode(ClientEvent.self, from: Data(line.utf8)) { return event }
        return ClientEvent(unreadable: line)
    }

    private init(unreadable line: String) {
        (event, text) = ("unreadable", line)
        (client, room, user, code, reason, number, tag) = (nil, nil, nil, nil, nil, nil, nil)
        (version, count, faults, retry) = (nil, nil, nil, nil)
        (url, port, continuity, recovered, offset, epoch) = (nil, nil, nil, nil, nil, nil)
    }
}

/// What became of a request.
package enum Outcome: Equatable, Sendable {
    case done
    /// The server's error code; 0 where there was no answer.
    case refused(Int)
}

/// A client in one room: what tests of the cluster need of any client.
package protocol Member: Sendable {
    /// What the client said so far.
    var events: EventLog<ClientEvent> { get }
    /// Publishes and waits for the answer.
    func publish(_ text: String, in room: String) async throws -> Outcome
    /// Publishes `count` messages, `text 0` and so on, without waiting in between, then waits for all answers.
    func publish(_ count: Int, _ text: String, in room: String) async throws
    /// Whether an event concerns this client.
    func isMine(_ event: ClientEvent) -> Bool
}

extension Member {
    /// The messages of `room` so far, in order.
    package func texts(in room: String) -> [String] {
        events.all.filter { $0.event == "message" && $0.room == room && isMine($0) }.compactMap(\.text)
    }

    /// The offsets of `room`'s messages so far, in order.
    package func offsets(in room: String) -> [Int] {
        events.all.filter { $0.event == "message" && $0.room == room && isMine($0) }.compactMap(\.offset)
    }

    /// Waits until `text` has come.
    package func hear(_ text: String, in room: String, within patience: Duration = .seconds(30)) async throws {
        try await events.first("the message '\(text)'", within: patience) {
            $0.event == "message" && $0.room == room && $0.text == text && isMine($0)
        }
    }

    /// Waits for the first event called `name`, after position `start`.
    @discardableResult
    package func event(
        _ name: String, from start: Int = 0, within patience: Duration = .seconds(30)
    ) async throws -> ClientEvent {
        try await events.first("'\(name)'", from: start, within: patience) { $0.event == name && isMine($0) }
    }

    /// How often an event called `name` has come.
    package func count(of name: String) -> Int { events.all.count { $0.event == name && isMine($0) } }
}
