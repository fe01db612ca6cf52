// What is written is exactly what was meant, and nothing that would split a head can be written at all.

import Bytes
import HTTP
import Testing

@Suite("Writing heads and bodies")
struct MessageWriterTests {
    @Test("an error response closes the connection and carries its reason as text")
    func refusal() {
        var buffer = ByteBuffer()
        ResponseWriter.refuse(.headTooLong, to: &buffer)
        #expect(
            text(buffer) == "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
                + "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 14\r\n\r\nhead too long\n")
    }

    @Test("a response with a body has its length")
    func response() {
        var buffer = ByteBuffer()
        Array("{\"result\":{}}".utf8).withUnsafeBytes {
            ResponseWriter.respond(200, contentType: "application/json", body: $0, closing: false, to: &buffer)
        }
        #expect(
            text(buffer)
                == "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"result\":{}}")
    }

    @Test(
        "HS-09 a value with a control byte is refused and leaves no trace",
        arguments: ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b", "\u{1B}[0m", "a\u{7F}"])
    func injection(value: String) {
        var buffer = ByteBuffer()
        #expect(throws: HTTPWriteFailure.fieldValue) { try FieldWriter.append("X-Id", text: value, to: &buffer) }
        Array(value.utf8).withUnsafeBytes { raw in
            _ = #expect(throws: HTTPWriteFailure.fieldValue) { try FieldWriter.append("X-Id", raw, to: &buffer) }
        }
        #expect(throws: HTTPWriteFailure.fieldValue) {
            try RequestWriter.begin("GET", target: "/", host: value, to: &buffer)
        }
        #expect(throws: HTTPWriteFailure.target) {
            try RequestWriter.begin("GET", target: "/" + value, host: "a", to: &buffer)
        }
        #expect(text(buffer) == "")
    }

    @Test("targets that are no origin-form are refused", arguments: ["", "ws", "http://a/", "/a b", "/a#b", "/é"])
    func targets(target: String) {
        var buffer = ByteBuffer()
        #expect(throws: HTTPWriteFailure.target) {
            try RequestWriter.begin("GET", target: target, host: "a", to: &buffer)
        }
        #expect(text(buffer) == "")
    }

    @Test("what the request writer writes, the request parser accepts")
    func roundTrip() throws {
        var buffer = ByteBuffer()
        try RequestWriter.begin("POST", target: "/api/publish?x=1", host: "[::1]:8000", to: &buffer)
        try FieldWriter.append("X-API-Key", text: "k e y é", to: &buffer)
        FieldWriter.append("Content-Length", decimal: 0, to: &buffer)
        FieldWriter.end(&buffer)
        try withHead(text(buffer)) { head in
            #expect(head.method == .post && head.contentLength == 0)
            #expect(string(head.target) == "/api/publish?x=1")
            #expect(string(head.fields.first("x-api-key")) == "k e y é")
            #expect(string(head.fields.first("host")) == "[::1]:8000")
        }
    }
}

@Suite("Bodies")
struct BodyCollectorTests {
    @Test("a body is complete after exactly its length, in any pieces, and the rest is left")
    func pieces() throws {
        for size in 1...6 {
            var collector = try BodyCollector(contentLength: 5, limit: 5)
            let input = Array("hello next".utf8)
            var position = 0
            while !collector.isComplete {
                let end = min(position + size, input.count)
                position += input[position..<end].withUnsafeBytes { collector.feed($0) }
            }
            #expect(position == 5)
            #expect(string(collector.bytes) == "hello")
            #expect(input.withUnsafeBytes { collector.feed($0) } == 0)
        }
    }

    @Test("HS-19 an announced length above the limit is 413 before a byte arrives; at the limit it costs nothing yet")
    func limit() throws {
        #expect(throws: HTTPFailure.bodyTooLarge) { try makeCollector(length: 65537, limit: 65536) }
        #expect(throws: HTTPFailure.bodyTooLarge) { try makeCollector(length: .max, limit: 65536) }
        #expect(HTTPFailure.bodyTooLarge.status == 413)
        let endless = try BodyCollector(contentLength: .max, limit: .max)
        #expect(string(endless.bytes) == "")
        let empty = try BodyCollector(contentLength: 0, limit: 0)
        let isComplete = empty.isComplete
        #expect(isComplete)
    }

    private func makeCollector(length: Int, limit: Int) throws {
        _ = try BodyCollector(contentLength: length, limit: limit)
    }
}
