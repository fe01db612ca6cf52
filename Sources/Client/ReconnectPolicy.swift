// Whether and when to come back. The one authority on what close codes mean for a client; the classes are part of the
// protocol, so that a server can tell every SDK in the same way.

import Bytes
import WebSocket
import Wire

/// What a close code asks for.
package enum ReconnectPolicy {
    /// Whether a client comes back after `code` (nil: the connection broke without a Close frame).
    ///
    /// 3000–3499 and 4000–4499 ask for it, 3500–3999 and 4500–4999 forbid it. Of WebSocket's own codes only 1009 is
    /// final: the same message would be too big again.
    package static func reconnects(after code: UInt32?) -> Bool {
        guard let code, let wire = UInt16(exactly: code) else { return true }
        return wire != CloseCode.messageTooBig.rawValue && DisconnectCode.reconnects(wire)
    }

    /// The wait that the server names in the reason of a Close frame; only shutdown and force reconnect may have one.
    static func hint(code: UInt32?, reason: String, cap: Duration) -> Duration? {
        guard let code = code.flatMap(UInt16.init(exactly:)).flatMap(DisconnectCode.init(rawValue:)),
            code == .shutdown || code == .forceReconnect
        else { return nil }
        var scratch = ByteBuffer()
        return Array(reason.utf8).withUnsafeBytes { raw in
            CloseHint(closeReason: raw, scratch: &scratch).map { hint in
                min(.milliseconds(Int64(clamping: hint.reconnectIn)), cap)
            }
        }
    }
}
