// The client's side of the opening handshake: writes the request and judges the response. Used by the client library
// and the load tester on their loop, once per connection; the 16 random bytes of the key are handed in. RFC 6455
// sections 4.1 and 4.2.2.

package import Bytes
package import HTTP

/// Why a client did not accept a response; it then closes the connection (section 4.1).
package enum HandshakeFailure: Error, Sendable, Equatable {
    /// The server answered, but not with 101.
    case status(Int)
    /// No `Upgrade: websocket`, or no `Connection: upgrade`.
    case notUpgraded
    /// `Sec-WebSocket-Accept` is missing, given twice or not the answer to our key.
    case acceptKey
    /// A subprotocol that was not offered, or two.
    case subprotocol
    /// An extension that was not offered.
    case extensionNotOffered
    /// permessage-deflate with parameters that are not an answer to what was offered.
    case extensionParameters
}

/// The opening handshake of one client connection.
package struct ClientHandshake {
    private var key = InlineArray<24, UInt8>(repeating: 0)
    private let subprotocols: [StaticString]
    private let deflate: DeflateOffer?

    /// A handshake with the random `nonce` of 16 bytes that offers `subprotocols` in order of preference, and
    /// compression if there is a `deflate`.
    package init(
        nonce: UnsafeRawBufferPointer, subprotocols: [StaticString] = [], deflate: DeflateOffer? = nil
    ) {
        precondition(nonce.count == 16)
        self.subprotocols = subprotocols
        self.deflate = deflate
        withUnsafeMutableBytes(of: &key) { Base64.encode(nonce, into: $0) }
    }

    /// Appends the request without the empty line, so that the caller can add fields (`Origin`, `Authorization`) with
    /// `FieldWriter` and end it. Throws if `target` or `host` would break the head.
    package func beginRequest(target: String, host: String, to buffer: inout ByteBuffer) throws(HTTPWriteFailure) {
        try RequestWriter.begin("GET", target: target, host: host, to: &buffer)
        FieldWriter.append("Upgrade", "websocket", to: &buffer)
        FieldWriter.append("Connection", "Upgrade", to: &buffer)
        buffer.append("Sec-WebSocket-Key: ")
        withUnsafeBytes(of: key) { buffer.append($0) }
        buffer.append("\r\n")
        FieldWriter.append("Sec-WebSocket-Version", "13", to: &buffer)
        deflate?.append(to: &buffer)
        for (index, name) in subprotocols.enumerated() {
            buffer.append(index == 0 ? "Sec-WebSocket-Protocol: " : ", ")
            buffer.append(name)
            if index == subprotocols.count - 1 { buffer.append("\r\n") }
        }
    }

    /// Appends the whole request; throws and appends nothing if `target` or `host` would break the head.
    package func appendRequest(target: String, host: String, to buffer: inout ByteBuffer) throws(HTTPWriteFailure) {
        try beginRequest(target: target, host: host, to: &buffer)
        FieldWriter.end(&buffer)
    }

    /// What the response says about compression; nil: none. `validate` has thrown for whatever this throws for.
    package func agreement(in head: ResponseHead) throws(HandshakeFailure) -> DeflateAgreement? {
        try DeflateOffer.judge(head.fields, offered: deflate)
    }

    /// Judges the response; returns the index of the subprotocol that the server chose, nil if it chose none.
    package func validate(_ head: ResponseHead, sha1: SHA1Function) throws(HandshakeFailure) -> Int? {
        guard head.status == 101 else { throw .status(head.status) }
        let fields = head.fields
        guard head.version == .http11, fields.contains(token: "websocket", in: "upgrade"),
            fields.contains(token: "upgrade", in: "connection")
        else { throw .notUpgraded }
        let expected = withUnsafeBytes(of: key) { AcceptKey(for: $0, sha1: sha1) }
        guard case .one(let accept) = fields.single("sec-websocket-accept"),
            expected.withBytes({ ASCII.equals($0, accept.value) })
        else { throw .acceptKey }
        _ = try agreement(in: head)
        switch fields.single("sec-websocket-protocol") {
        case .absent: return nil
        case .several: throw .subprotocol
        case .one(let field):
            guard let index = subprotocols.firstIndex(where: { ASCII.equals(field.value, $0) }) else {
                throw .subprotocol
            }
            return index
        }
    }
}
