// Who has sent a Close frame already: one byte in a connection's entry, asked by the driver before it writes one. It
// makes "answer once, echo the code, nothing after it" a single question. RFC 6455 sections 5.5.1 and 7.1.

/// The closing handshake of one connection.
package struct CloseHandshake: Sendable {
    /// Whether our Close frame has been queued; nothing may be sent after it.
    package private(set) var hasSent = false
    /// Whether the peer's Close frame has arrived; what it sends after it is ignored.
    package private(set) var hasReceived = false

    /// No Close frame yet in either direction.
    package init() {}

    /// Both have said goodbye; the server now closes the connection, the client waits for that.
    package var isComplete: Bool { hasSent && hasReceived }

    /// Whether a Close frame of our own may be sent now; answers true once.
    package mutating func send() -> Bool {
        defer { hasSent = true }
        return !hasSent
    }

    /// Notes the peer's Close frame; whether it has to be echoed (same code, or an empty payload if it had none).
    package mutating func receive() -> Bool {
        guard !hasReceived else { return false }
        hasReceived = true
        return send()
    }
}
