// A client that speaks the protocol by hand, one command after the other: for what no SDK sends, and for answers that
// an SDK does not show. It blocks the thread of its test.

import TestSupport
import Testing

/// A connection that has been through `connect`.
package struct RawClient {
    private let peer: WebSocketPeer

    /// Connects, as `user` if one is given.
    package init(_ gateway: GatewayProcess, user: String? = nil) throws {
        let query = user.map { "?user=\($0)" } ?? ""
        peer = try WebSocketPeer(port: gateway.port, "/connection/websocket" + query)
        _ = try ask(#""connect":{}"#, id: 1)
    }

    /// The reply to a command, and the pushes that came before it.
    package func ask(_ command: String, id: Int = 2) throws -> (reply: String, pushes: [String]) {
        try peer.send(#"{"id":\#(id),\#(command)}"#)
        var pushes: [String] = []
        while true {
            let text = try peer.text()
            if text.hasPrefix(#"{"id":\#(id),"#) { return (text, pushes) }
            pushes.append(text)
        }
    }

    /// Publishes a number; the reply.
    package func publish(_ number: Int, in room: String, key: String? = nil) throws -> String {
        let tail = key.map { #","idempotency_key":"\#($0)""# } ?? ""
        return try ask(#""publish":{"channel":"\#(room)","data":\#(number)\#(tail)}"#).reply
    }

    /// The data of the next `count` pushes.
    package func hear(_ count: Int) throws -> [Int] {
        try (0..<count).flatMap { _ in RawClient.numbers("data", in: try peer.text()) }
    }

    /// Joins (`+user`) and leaves (`-user`) as they come, until there are `count` of them.
    package func hearMembers(_ count: Int) throws -> [String] {
        var events: [String] = []
        while events.count < count { events += RawClient.memberEvents(in: try peer.text()) }
        return events
    }

    /// Joins and leaves in `text`.
    package static func memberEvents(in text: String) -> [String] {
        text.split(separator: "\n").compactMap { line in
            let isJoin = line.contains(#""join":{"#)
            guard isJoin || line.contains(#""leave":{"#) else { return nil }
            return (isJoin ? "+" : "-")
                + (pieces(of: String(line), after: #""user":""#).first?.prefix { $0 != "\"" } ?? "")
        }
    }

    /// The users in the reply to `presence`.
    package func members(of room: String) throws -> (users: Set<String>, pushes: [String]) {
        let (reply, pushes) = try ask(#""presence":{"channel":"\#(room)"}"#)
        return (Set(RawClient.pieces(of: reply, after: #""user":""#).map { String($0.prefix { $0 != "\"" }) }), pushes)
    }

    /// Ends without a word, as a lost network does.
    package func vanish() { peer.socket.close() }

    /// The numbers called `name` in `text`, in order.
    package static func numbers(_ name: String, in text: String) -> [Int] {
        pieces(of: text, after: #""\#(name)":"#).compactMap { Int($0.prefix { $0.isNumber }) }
    }

    /// The epoch in `text`.
    package static func epoch(in text: String) throws -> String {
        let epoch = try #require(pieces(of: text, after: #""epoch":""#).first, "\(text)").prefix { $0 != "\"" }
        #expect(epoch.count == 16)
        return String(epoch)
    }

    private static func pieces(of text: String, after separator: String) -> [Substring] {
        Array(text.split(separator: separator, omittingEmptySubsequences: false).dropFirst())
    }
}
