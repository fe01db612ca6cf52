// What these tests have in common: one request in every possible cut, as text.

import Bytes
import Fuzz
import HTTP
import Testing

/// Parses `text` whole, byte by byte and cut once at every place; all must agree.
func parseEveryWay(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) -> RecordedHead {
    parseEveryWay(Array(text.utf8), sourceLocation: sourceLocation)
}

func parseEveryWay(_ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> RecordedHead {
    let whole = recordRequest(bytes, cuts: [])
    #expect(recordRequest(bytes, cuts: 0..<bytes.count) == whole, "byte by byte", sourceLocation: sourceLocation)
    for cut in 0..<min(bytes.count, 400) where recordRequest(bytes, cuts: [cut]) != whole {
        Issue.record("cut at \(cut) differs", sourceLocation: sourceLocation)
    }
    return whole
}

/// Runs `body` on the head of `text`, which must be acceptable.
func withHead<Result>(
    _ text: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: (RequestHead) throws -> Result
) throws -> Result {
    var parser = RequestHeadParser()
    return try Array(text.utf8).withUnsafeBytes { raw in
        guard case .complete(let head, _) = parser.parse(raw) else {
            Issue.record("not accepted: \(text)", sourceLocation: sourceLocation)
            throw HTTPFailure.requestLine
        }
        return try body(head)
    }
}

func string(_ bytes: UnsafeRawBufferPointer?) -> String? {
    bytes.map { String(decoding: $0, as: UTF8.self) }
}

func text(_ buffer: borrowing ByteBuffer) -> String { String(decoding: buffer.bytes, as: UTF8.self) }
