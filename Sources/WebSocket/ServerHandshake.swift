// The server's side of the opening handshake: one question about a request head and the two answers to it. Called by
// the connection driver on its loop, once per connection. Whatever is refused must be followed by closing the socket;
// no byte behind a refused upgrade may be read as another request. RFC 6455 section 4.2.

package import Bytes
package import HTTP

/// Judges upgrade requests and writes the answers.
package enum ServerHandshake {
    /// An upgrade that was accepted.
    package struct Acceptance {
        /// What proves to the client that we speak WebSocket.
        package let acceptKey: AcceptKey
        /// Index of the chosen subprotocol in the list of supported ones; nil if none was offered that is known.
        package let subprotocol: Int?
        /// The answer to an offer of compression; nil if there is none, or it is not wanted.
        package let deflate: DeflateAnswer?
    }

    /// The verdict on a request.
    package enum Verdict {
        /// Send `appendAcceptance` and read frames from the next byte on.
        case accept(Acceptance)
        /// Send `appendRefusal` and close.
        case refuse(HTTPFailure)
    }

    /// Judges `head`, whose path the caller has routed here already.
    ///
    /// Of `subprotocols` the first that the client offers wins, in the client's order; what it offers besides is
    /// ignored and never repeated to it. Extensions are declined by silence, and so is compression unless the caller
    /// `compresses`: then the frame reader must allow it.
    package static func evaluate(
        _ head: RequestHead, subprotocols: [StaticString], origins: OriginPolicy, compresses: Bool = false,
        sha1: SHA1Function
    ) -> Verdict {
        guard head.method == .get else { return .refuse(.handshakeMethod) }
        guard head.version == .http11 else { return .refuse(.oldVersion) }
        if let length = head.contentLength, length > 0 { return .refuse(.unexpectedBody) }
        let fields = head.fields
        guard fields.contains(token: "websocket", in: "upgrade"), fields.contains(token: "upgrade", in: "connection")
        else { return .refuse(.notUpgrade) }
        guard isVersionThirteen(fields) else { return .refuse(.webSocketVersion) }
        guard case .one(let key) = fields.single("sec-websocket-key"), Base64.isSixteenBytes(key.value) else {
            return .refuse(.handshakeKey)
        }
        guard origins.admits(fields) else { return .refuse(.originForbidden) }
        return .accept(
            Acceptance(
                acceptKey: AcceptKey(for: key.value, sha1: sha1),
                subprotocol: select(from: subprotocols, offered: fields),
                deflate: compresses ? DeflateAnswer.to(fields) : nil))
    }

    /// Exactly `13`, with at most the one customary space before it: whoever pads it is probing for a lax parser.
    private static func isVersionThirteen(_ fields: HeaderFields) -> Bool {
        guard case .one(let field) = fields.single("sec-websocket-version") else { return false }
        return ASCII.equals(field.rawValue, "13") || ASCII.equals(field.rawValue, " 13")
    }

    private static func select(from supported: [StaticString], offered fields: HeaderFields) -> Int? {
        var selected: Int?
        fields.forEachElement(of: "sec-websocket-protocol") { element in
            selected = supported.firstIndex { ASCII.equals(element, $0) }
            return selected == nil
        }
        return selected
    }

    /// Appends the 101 response. `subprotocols` is the list that `evaluate` was given.
    package static func appendAcceptance(
        _ acceptance: Acceptance, subprotocols: [StaticString], to buffer: inout ByteBuffer
    ) {
        ResponseWriter.begin(101, to: &buffer)
        FieldWriter.append("Upgrade", "websocket", to: &buffer)
        FieldWriter.append("Connection", "Upgrade", to: &buffer)
        buffer.append("Sec-WebSocket-Accept: ")
        acceptance.acceptKey.withBytes { buffer.append($0) }
        buffer.append("\r\n")
        if let index = acceptance.subprotocol {
            FieldWriter.append("Sec-WebSocket-Protocol", subprotocols[index], to: &buffer)
        }
        acceptance.deflate?.append(to: &buffer)
        FieldWriter.end(&buffer)
    }

    /// Appends the error response to a refused upgrade; a 426 says which version is spoken (section 4.4).
    package static func appendRefusal(_ failure: HTTPFailure, to buffer: inout ByteBuffer) {
        guard failure.status == 426 else { return ResponseWriter.refuse(failure, to: &buffer) }
        ResponseWriter.begin(426, to: &buffer)
        FieldWriter.append("Connection", "close, upgrade", to: &buffer)
        FieldWriter.append("Upgrade", "websocket", to: &buffer)
        FieldWriter.append("Sec-WebSocket-Version", "13", to: &buffer)
        ResponseWriter.endWithReason(failure.reason, to: &buffer)
    }
}
