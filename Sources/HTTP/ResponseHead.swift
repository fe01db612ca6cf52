// The head of one response and the incremental parser that makes it, for the client side: as strict as the request
// parser, because a client of ours talks to servers that it does not know either. Called by the client's connection on
// its loop; bounded by `HeadLimits`. RFC 9112 section 4.

/// The head of one response: a view of the buffer that was parsed, valid as long as that stays where it is.
package struct ResponseHead {
    /// The status code, 100 to 599.
    package let status: Int
    /// The version.
    package let version: HTTPVersion
    /// The field lines.
    package let fields: HeaderFields
    /// Length of the body, if the head announces one.
    package let contentLength: Int?
    /// Whether the body is framed by a transfer coding, which nobody here decodes: read such a body to its end.
    package let hasTransferEncoding: Bool
}

/// What a response parser made of the bytes so far.
package enum ResponseParse {
    /// No verdict yet.
    case needMore
    /// A whole head; `consumed` bytes belong to it, what follows does not.
    case complete(ResponseHead, consumed: Int)
    /// Close the connection.
    case failed(HTTPFailure)
}

/// Parses one response head that arrives in pieces. Small, owns no memory.
package struct ResponseHeadParser {
    private var scanner = HeadScanner()
    private var rules = FieldRules()
    private var fieldsStart = 0
    private var status = 0
    private var version = HTTPVersion.http11
    private var failure: HTTPFailure?

    /// A parser at the first byte of a response.
    package init() {}

    /// Goes on with `bytes`: everything since the first byte of this response, each time the same and more.
    package mutating func parse(_ bytes: UnsafeRawBufferPointer, limits: HeadLimits = HeadLimits()) -> ResponseParse {
        if let failure { return .failed(failure) }
        while true {
            switch scanner.nextLine(bytes, limits, tooLong: .fieldLineTooLong) {
            case .needMore:
                return .needMore
            case .failed(let failure):
                return fail(failure)
            case .line(let start, let end) where fieldsStart == 0:
                fieldsStart = scanner.scanned
                if let failure = parseStatusLine(UnsafeRawBufferPointer(rebasing: bytes[start..<end])) {
                    return fail(failure)
                }
            case .line(let start, let end) where start == end:
                return finish(bytes, fieldsEnd: start)
            case .line(let start, let end):
                let line = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                if let failure = rules.check(line, limits) { return fail(failure) }
            }
        }
    }

    private mutating func fail(_ failure: HTTPFailure) -> ResponseParse {
        self.failure = failure
        return .failed(failure)
    }

    private mutating func finish(_ bytes: UnsafeRawBufferPointer, fieldsEnd: Int) -> ResponseParse {
        if rules.hasTransferEncoding, rules.contentLength != nil { return fail(.transferEncoding) }
        let head = ResponseHead(
            status: status, version: version,
            fields: HeaderFields(block: UnsafeRawBufferPointer(rebasing: bytes[fieldsStart..<fieldsEnd])),
            contentLength: rules.contentLength, hasTransferEncoding: rules.hasTransferEncoding)
        return .complete(head, consumed: scanner.scanned)
    }

    /// `HTTP/1.1 SP 3DIGIT SP [reason]`; the space before an absent reason may be missing, as many servers do.
    private mutating func parseStatusLine(_ line: UnsafeRawBufferPointer) -> HTTPFailure? {
        guard line.count >= 12, line[8] == ASCII.space, line.count == 12 || line[12] == ASCII.space else {
            return .statusLine
        }
        let protocolName = UnsafeRawBufferPointer(rebasing: line[..<8])
        if ASCII.equals(protocolName, "HTTP/1.1") {
            version = .http11
        } else if ASCII.equals(protocolName, "HTTP/1.0") {
            version = .http10
        } else {
            return .statusLine
        }
        guard let code = ASCII.decimal(UnsafeRawBufferPointer(rebasing: line[9..<12])), (100...599).contains(code)
        else { return .statusLine }
        status = code
        return nil
    }
}
