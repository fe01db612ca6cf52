// The head of one request and the incremental parser that makes it: HTTP/1.1 as far as a WebSocket and admin server
// needs it, and nothing else (origin-form targets, no chunked bodies). Called by connection drivers on their loop with
// the bytes that they kept since the request began; bounded by `HeadLimits`. RFC 9112 sections 3 and 5.

/// The methods that somebody here asks about.
package enum HTTPMethod: UInt8, Sendable {
    case get, head, post, put, delete, options, patch, other
}

/// The versions that are spoken.
package enum HTTPVersion: UInt8, Sendable {
    case http10, http11
}

/// The head of one request: a view of the buffer that was parsed, valid as long as that stays where it is.
package struct RequestHead {
    /// The method; `other` is a syntactically correct one that nobody here serves.
    package let method: HTTPMethod
    /// The version.
    package let version: HTTPVersion
    /// The request target as sent: begins with `/`, visible ASCII only, no fragment.
    package let target: UnsafeRawBufferPointer
    /// The field lines.
    package let fields: HeaderFields
    /// Length of the body, if the head announces one.
    package let contentLength: Int?
    private let pathLength: Int

    init(
        method: HTTPMethod, version: HTTPVersion, target: UnsafeRawBufferPointer, fields: HeaderFields,
        contentLength: Int?
    ) {
        self.method = method
        self.version = version
        self.target = target
        self.fields = fields
        self.contentLength = contentLength
        self.pathLength = target.firstIndex(of: 0x3F) ?? target.count
    }

    /// The target up to the first `?`, not decoded: routes are matched exactly, so that no encoding trick reaches one.
    package var path: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: target[..<pathLength]) }

    /// What follows the first `?`; nil if there is none.
    package var query: UnsafeRawBufferPointer? {
        pathLength < target.count ? UnsafeRawBufferPointer(rebasing: target[(pathLength + 1)...]) : nil
    }

    /// Whether the path is exactly `route`.
    package func matches(_ route: StaticString) -> Bool { ASCII.equals(path, route) }

    /// Whether the peer expects the connection to stay open after the response (RFC 9112 section 9.3).
    package var keepsAlive: Bool {
        version == .http11
            ? !fields.contains(token: "close", in: "connection")
            : fields.contains(token: "keep-alive", in: "connection")
    }
}

/// What a request parser made of the bytes so far.
package enum RequestParse {
    /// No verdict yet.
    case needMore
    /// A whole head; `consumed` bytes belong to it, what follows does not.
    case complete(RequestHead, consumed: Int)
    /// Answer with the failure's status and close: nothing after this point can be trusted.
    case failed(HTTPFailure)
}

/// Parses one request head that arrives in pieces. Small, owns no memory; make a new one for the next request.
package struct RequestHeadParser {
    private var scanner = HeadScanner()
    private var rules = FieldRules()
    private var methodEnd = 0
    private var targetEnd = 0
    private var fieldsStart = 0
    private var method = HTTPMethod.other
    private var version = HTTPVersion.http11
    private var failure: HTTPFailure?

    /// A parser at the first byte of a request.
    package init() {}

    /// Goes on with `bytes`: everything since the first byte of this request, each time the same and more.
    ///
    /// Work over all calls is linear in the length of the head. A failure is final.
    package mutating func parse(_ bytes: UnsafeRawBufferPointer, limits: HeadLimits = HeadLimits()) -> RequestParse {
        if let failure { return .failed(failure) }
        while true {
            switch scanner.nextLine(bytes, limits, tooLong: fieldsStart == 0 ? .requestLineTooLong : .fieldLineTooLong)
            {
            case .needMore:
                return .needMore
            case .failed(let failure):
                return fail(failure)
            case .line(let start, let end) where fieldsStart == 0:
                fieldsStart = scanner.scanned
                if let failure = parseRequestLine(UnsafeRawBufferPointer(rebasing: bytes[start..<end])) {
                    return fail(failure)
                }
            case .line(let start, let end) where start == end:
                return finish(bytes, fieldsEnd: start)
            case .line(let start, let end):
                let line = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                if let failure = rules.check(line, limits) { return fail(failure) }
                if rules.hasTransferEncoding { return fail(.transferEncoding) }
            }
        }
    }

    private mutating func fail(_ failure: HTTPFailure) -> RequestParse {
        self.failure = failure
        return .failed(failure)
    }

    private mutating func finish(_ bytes: UnsafeRawBufferPointer, fieldsEnd: Int) -> RequestParse {
        if version == .http11, rules.hostCount == 0 { return fail(.missingHost) }
        let head = RequestHead(
            method: method, version: version,
            target: UnsafeRawBufferPointer(rebasing: bytes[(methodEnd + 1)..<targetEnd]),
            fields: HeaderFields(block: UnsafeRawBufferPointer(rebasing: bytes[fieldsStart..<fieldsEnd])),
            contentLength: rules.contentLength)
        return .complete(head, consumed: scanner.scanned)
    }

    private mutating func parseRequestLine(_ line: UnsafeRawBufferPointer) -> HTTPFailure? {
        guard let firstSpace = line.firstIndex(of: ASCII.space) else { return .requestLine }
        methodEnd = firstSpace
        let name = UnsafeRawBufferPointer(rebasing: line[..<firstSpace])
        guard ASCII.isToken(name) else { return .method }
        method = RequestHeadParser.method(name)
        var end = firstSpace + 1
        while end < line.count, line[end] != ASCII.space { end += 1 }
        guard end < line.count else { return .requestLine }
        targetEnd = end
        let target = UnsafeRawBufferPointer(rebasing: line[(firstSpace + 1)..<end])
        // Only origin-form: nobody uses this server as a proxy, and an authority in the target would be a second Host.
        guard target.first == 0x2F, target.allSatisfy({ ASCII.isVisible($0) && $0 != 0x23 }) else { return .target }
        return parseVersion(UnsafeRawBufferPointer(rebasing: line[(end + 1)...]))
    }

    private mutating func parseVersion(_ text: UnsafeRawBufferPointer) -> HTTPFailure? {
        if ASCII.equals(text, "HTTP/1.1") {
            version = .http11
            return nil
        }
        if ASCII.equals(text, "HTTP/1.0") {
            version = .http10
            return nil
        }
        let wellFormed =
            text.count == 8 && ASCII.equals(UnsafeRawBufferPointer(rebasing: text[..<5]), "HTTP/")
            && ASCII.isDigit(text[5]) && text[6] == 0x2E && ASCII.isDigit(text[7])
        return wellFormed ? .version : .requestLine
    }

    private static func method(_ name: UnsafeRawBufferPointer) -> HTTPMethod {
        if ASCII.equals(name, "GET") { return .get }
        if ASCII.equals(name, "POST") { return .post }
        if ASCII.equals(name, "HEAD") { return .head }
        if ASCII.equals(name, "PUT") { return .put }
        if ASCII.equals(name, "DELETE") { return .delete }
        if ASCII.equals(name, "OPTIONS") { return .options }
        if ASCII.equals(name, "PATCH") { return .patch }
        return .other
    }
}
