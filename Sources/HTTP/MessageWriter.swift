// Writes heads and small bodies into a buffer. The single place that emits HTTP, so the single place that has to refuse
// what would split a head: a value with CR, LF, NUL or another control byte throws before anything of it is written.
// Used by drivers, the handshake and the admin routes on their loop; the buffer grows by what is written. RFC 9112
// sections 3 and 4.

package import Bytes

/// Why a writer refused a value: it would have changed the shape of the head.
package enum HTTPWriteFailure: Error, Sendable, Equatable {
    /// A control byte in a field value.
    case fieldValue
    /// A request target that does not begin with `/` or has anything but visible ASCII.
    case target
}

/// Field lines and the end of a head, common to requests and responses.
package enum FieldWriter {
    /// Appends a field whose value comes from outside; throws and appends nothing if it has a control byte.
    package static func append(
        _ name: StaticString, _ value: UnsafeRawBufferPointer, to buffer: inout ByteBuffer
    ) throws(HTTPWriteFailure) {
        guard !value.contains(where: ASCII.isForbiddenInValue) else { throw .fieldValue }
        buffer.append(name)
        buffer.append(": ")
        buffer.append(value)
        buffer.append("\r\n")
    }

    /// Appends a field whose value comes from outside; throws and appends nothing if it has a control byte.
    package static func append(
        _ name: StaticString, text value: String, to buffer: inout ByteBuffer
    ) throws(HTTPWriteFailure) {
        guard !value.utf8.contains(where: ASCII.isForbiddenInValue) else { throw .fieldValue }
        buffer.append(name)
        buffer.append(": ")
        buffer.append(text: value)
        buffer.append("\r\n")
    }

    /// Appends a field whose value stands in the source code; a control byte there is a programmer's error.
    package static func append(_ name: StaticString, _ value: StaticString, to buffer: inout ByteBuffer) {
        precondition(ASCII.withBytes(of: value) { !$0.contains(where: ASCII.isForbiddenInValue) })
        buffer.append(name)
        buffer.append(": ")
        buffer.append(value)
        buffer.append("\r\n")
    }

    /// Appends a field whose value is a number.
    package static func append(_ name: StaticString, decimal value: Int, to buffer: inout ByteBuffer) {
        precondition(value >= 0)
        buffer.append(name)
        buffer.append(": ")
        buffer.append(decimal: UInt64(value))
        buffer.append("\r\n")
    }

    /// Appends the empty line that ends a head.
    package static func end(_ buffer: inout ByteBuffer) { buffer.append("\r\n") }
}

/// Responses: `begin`, fields by `FieldWriter`, `end`; or one of the ready-made ones.
package enum ResponseWriter {
    /// Appends the status line.
    package static func begin(_ status: Int, to buffer: inout ByteBuffer) {
        precondition((100...599).contains(status))
        buffer.append("HTTP/1.1 ")
        buffer.append(decimal: UInt64(status))
        buffer.append(" ")
        buffer.append(reasonPhrase(status))
        buffer.append("\r\n")
    }

    /// Appends `Content-Length`, the end of the head and the body.
    package static func end(body: UnsafeRawBufferPointer, to buffer: inout ByteBuffer) {
        FieldWriter.append("Content-Length", decimal: body.count, to: &buffer)
        FieldWriter.end(&buffer)
        buffer.append(body)
    }

    /// Appends a whole response with a small body. With `closing` it says that the connection ends after it.
    package static func respond(
        _ status: Int, contentType: StaticString, body: UnsafeRawBufferPointer, closing: Bool,
        to buffer: inout ByteBuffer
    ) {
        begin(status, to: &buffer)
        FieldWriter.append("Content-Type", contentType, to: &buffer)
        if closing { FieldWriter.append("Connection", "close", to: &buffer) }
        end(body: body, to: &buffer)
    }

    /// Appends a whole error response with `reason` as its text; the connection must be closed after it.
    package static func refuse(_ status: Int, reason: StaticString, to buffer: inout ByteBuffer) {
        begin(status, to: &buffer)
        FieldWriter.append("Connection", "close", to: &buffer)
        endWithReason(reason, to: &buffer)
    }

    /// Appends the whole error response to `failure`; the connection must be closed after it.
    package static func refuse(_ failure: HTTPFailure, to buffer: inout ByteBuffer) {
        refuse(failure.status, reason: failure.reason, to: &buffer)
    }

    /// Appends `Content-Type`, `Content-Length`, the end of the head and `reason` and a line feed as plain text body.
    package static func endWithReason(_ reason: StaticString, to buffer: inout ByteBuffer) {
        FieldWriter.append("Content-Type", "text/plain; charset=utf-8", to: &buffer)
        FieldWriter.append("Content-Length", decimal: reason.utf8CodeUnitCount + 1, to: &buffer)
        FieldWriter.end(&buffer)
        buffer.append(reason)
        buffer.append("\n")
    }

    private static func reasonPhrase(_ status: Int) -> StaticString {
        switch status {
        case 101: "Switching Protocols"
        case 200: "OK"
        case 204: "No Content"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 426: "Upgrade Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 505: "HTTP Version Not Supported"
        default: "Status"
        }
    }
}

/// Requests: `begin`, fields by `FieldWriter`, `FieldWriter.end`, and a body if `Content-Length` was written.
package enum RequestWriter {
    /// Appends the request line and `Host`; throws and appends nothing if either would break the head.
    package static func begin(
        _ method: StaticString, target: String, host: String, to buffer: inout ByteBuffer
    ) throws(HTTPWriteFailure) {
        guard target.utf8.first == 0x2F, target.utf8.allSatisfy({ ASCII.isVisible($0) && $0 != 0x23 }) else {
            throw .target
        }
        guard !host.isEmpty, host.utf8.allSatisfy(ASCII.isVisible) else { throw .fieldValue }
        buffer.append(method)
        buffer.append(" ")
        buffer.append(text: target)
        buffer.append(" HTTP/1.1\r\n")
        try FieldWriter.append("Host", text: host, to: &buffer)
    }
}
