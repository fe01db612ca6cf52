// Everything that can be wrong with an HTTP message of a peer: the one list of status codes and reasons that the head
// parsers, the body collector and the opening handshake answer with. One byte, so that a parser remembers its verdict
// for nothing. RFC 9110 section 15, RFC 9112 sections 2 to 6.

/// What a peer did wrong. A value, never a trap: it costs that peer its connection and nobody else anything.
package enum HTTPFailure: UInt8, Error, Sendable, Equatable {
    case bareLineFeed, bareCarriageReturn, controlByte
    case requestLine, method, target, fieldName, foldedField, fieldValue
    case host, severalHosts, missingHost
    case transferEncoding, contentLength, unexpectedBody
    case oldVersion, queryEncoding
    case handshakeMethod, handshakeKey
    case originForbidden, bodyTooLarge
    case requestLineTooLong, notUpgrade, webSocketVersion
    case fieldLineTooLong, headTooLong, tooManyFields
    case version, statusLine

    /// The status code to answer with; 502 for what only a server can do wrong.
    package var status: Int {
        switch self {
        case .originForbidden: 403
        case .bodyTooLarge: 413
        case .requestLineTooLong: 414
        case .notUpgrade, .webSocketVersion: 426
        case .fieldLineTooLong, .headTooLong, .tooManyFields: 431
        case .statusLine: 502
        case .version: 505
        default: 400
        }
    }

    /// A short text for the peer and the log; constant, so that nothing of the peer's comes back in it.
    package var reason: StaticString {
        switch self {
        case .bareLineFeed: "line feed without carriage return"
        case .bareCarriageReturn: "carriage return without line feed"
        case .controlByte: "control byte in the head"
        case .requestLine: "malformed request line"
        case .method: "malformed method"
        case .target: "malformed request target"
        case .fieldName: "malformed field name"
        case .foldedField: "folded field line"
        case .fieldValue: "malformed field value"
        case .host: "malformed Host"
        case .severalHosts: "more than one Host"
        case .missingHost: "missing Host"
        case .transferEncoding: "Transfer-Encoding is not supported"
        case .contentLength: "malformed Content-Length"
        case .unexpectedBody: "unexpected body"
        case .oldVersion: "HTTP/1.1 required"
        case .queryEncoding: "malformed query"
        case .handshakeMethod: "WebSocket handshake must be a GET"
        case .handshakeKey: "malformed Sec-WebSocket-Key"
        case .originForbidden: "origin not allowed"
        case .bodyTooLarge: "body too large"
        case .requestLineTooLong: "request line too long"
        case .notUpgrade: "WebSocket upgrade required"
        case .webSocketVersion: "WebSocket version 13 required"
        case .fieldLineTooLong: "field line too long"
        case .headTooLong: "head too long"
        case .tooManyFields: "too many fields"
        case .version: "HTTP version not supported"
        case .statusLine: "malformed status line"
        }
    }
}

/// Limits of one head. At each of them the parser fails with 414 or 431 without having kept anything of the head.
package struct HeadLimits: Sendable, Equatable {
    /// Longest line in bytes, its CRLF not counted.
    package var lineBytes: Int
    /// Longest head in bytes, the empty line at its end included.
    package var headBytes: Int
    /// Most field lines.
    package var fields: Int

    /// 8 KiB a line, 16 KiB a head, 100 fields unless told otherwise.
    package init(lineBytes: Int = 8192, headBytes: Int = 16384, fields: Int = 100) {
        self.lineBytes = lineBytes
        self.headBytes = headBytes
        self.fields = fields
    }
}
