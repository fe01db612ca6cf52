// A close reason that also says when to come back: `{"reason":"shutdown","reconnect_in":1500}`. Written by the drain
// for clients that asked for it in `connect`, read by our client. A Close frame holds 123 bytes of reason; this stays
// below.

package import Bytes

/// A close reason with a time to reconnect.
package struct CloseHint: Equatable, Sendable {
    /// The header of `connect` by which a client asks for hints, with the value "1".
    package static let header: StaticString = "martlet-close-hints"

    /// Milliseconds to wait before reconnecting.
    package var reconnectIn: UInt64

    package init(reconnectIn: UInt64) { self.reconnectIn = reconnectIn }

    /// Appends the close reason for `code` with this hint.
    package func append(_ code: DisconnectCode, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.key("reason", &out)
            out.append(UInt8(ascii: "\""))
            out.append(code.reason)
            out.append(UInt8(ascii: "\""))
            members.key("reconnect_in", &out)
            out.append(decimal: reconnectIn)
        }
    }

    /// The hint in a close reason, or nil when the reason is plain text.
    package init?(closeReason: WireBytes, scratch: inout ByteBuffer) {
        guard closeReason.first == UInt8(ascii: "{") else { return nil }
        var found: UInt64?
        do throws(WireError) {
            try JSONCodec.scan(closeReason, scratch: &scratch) { scanner throws(WireError) in
                var seen = SeenFields()
                try scanner.object { scanner, key throws(WireError) in
                    guard case "reconnect_in" = key else { return try scanner.skipValue() }
                    try seen.mark(0)
                    found = try scanner.unsigned()
                }
            }
        } catch {
            return nil
        }
        guard let found else { return nil }
        reconnectIn = found
    }
}
