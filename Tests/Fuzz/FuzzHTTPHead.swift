// Fuzz target for both head parsers, the look-ups and the opening handshake. Called by the mutation driver and by the
// unit tests with arbitrary bytes; stops the process by `precondition` when an invariant breaks: the same bytes give
// the same verdict however they are cut, and whatever is answered is itself a well-formed head. RFC 9112.

package import Bytes
package import HTTP
import WebSocket

/// A parser's verdict with its own copy of what the head says.
package enum RecordedHead: Equatable, Sendable {
    case needMore
    case request(HTTPMethod, HTTPVersion, target: [UInt8], fields: [[UInt8]], contentLength: Int?, consumed: Int)
    case response(Int, HTTPVersion, fields: [[UInt8]], contentLength: Int?, consumed: Int)
    case failed(HTTPFailure)
}

private func record(_ fields: HeaderFields) -> [[UInt8]] {
    var lines: [[UInt8]] = []
    for field in fields { lines += [Array(field.name), Array(field.value)] }
    return lines
}

/// Feeds growing prefixes of `bytes` that end at `cuts` and at last all of them, each in memory of its own, to a
/// request parser, as a driver does whose buffer moves.
package func recordRequest(
    _ bytes: [UInt8], cuts: some Sequence<Int>, limits: HeadLimits = HeadLimits()
) -> RecordedHead {
    var parser = RequestHeadParser()
    for cut in Array(cuts) + [bytes.count] {
        let verdict: RecordedHead = withExactCopy(bytes[..<cut]) { raw in
            switch parser.parse(raw, limits: limits) {
            case .needMore: return .needMore
            case .failed(let failure): return .failed(failure)
            case .complete(let head, let consumed):
                precondition(consumed <= cut && consumed <= limits.headBytes, "consumed more than there is")
                checkHandshake(head)
                return .request(
                    head.method, head.version, target: Array(head.target), fields: record(head.fields),
                    contentLength: head.contentLength, consumed: consumed)
            }
        }
        if verdict != .needMore { return verdict }
    }
    return .needMore
}

/// The same for a response parser.
package func recordResponse(
    _ bytes: [UInt8], cuts: some Sequence<Int>, limits: HeadLimits = HeadLimits()
) -> RecordedHead {
    var parser = ResponseHeadParser()
    for cut in Array(cuts) + [bytes.count] {
        let verdict: RecordedHead = withExactCopy(bytes[..<cut]) { raw in
            switch parser.parse(raw, limits: limits) {
            case .needMore: return .needMore
            case .failed(let failure): return .failed(failure)
            case .complete(let head, let consumed):
                precondition(consumed <= cut && consumed <= limits.headBytes, "consumed more than there is")
                let handshake = [UInt8](repeating: 7, count: 16).withUnsafeBytes {
                    ClientHandshake(nonce: $0, deflate: DeflateOffer())
                }
                if let agreed = try? handshake.agreement(in: head) {
                    precondition((8...15).contains(agreed.serverWindow), "a window that does not exist")
                }
                _ = try? handshake.validate(
                    head, sha1: { _, digest in digest.initializeMemory(as: UInt8.self, repeating: 0) })
                return .response(
                    head.status, head.version, fields: record(head.fields), contentLength: head.contentLength,
                    consumed: consumed)
            }
        }
        if verdict != .needMore { return verdict }
    }
    return .needMore
}

func withExactCopy<Result>(_ bytes: ArraySlice<UInt8>, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    defer { copy.deallocate() }
    copy.copyBytes(from: bytes)
    return body(UnsafeRawBufferPointer(copy))
}

/// Runs every look-up and the handshake on an accepted head; the answer must be one whole response head and body.
private func checkHandshake(_ head: RequestHead) {
    _ = try? head.queryParameter("format")
    _ = head.keepsAlive
    var answer = ByteBuffer()
    let verdict = ServerHandshake.evaluate(
        head, subprotocols: ["centrifuge-json"], origins: .sameHost, compresses: true,
        sha1: { _, digest in digest.initializeMemory(as: UInt8.self, repeating: 0) })
    switch verdict {
    case .accept(let acceptance):
        ServerHandshake.appendAcceptance(acceptance, subprotocols: ["centrifuge-json"], to: &answer)
    case .refuse(let failure): ServerHandshake.appendRefusal(failure, to: &answer)
    }
    var parser = ResponseHeadParser()
    guard case .complete(let response, let consumed) = parser.parse(answer.bytes) else {
        preconditionFailure("an answer that is no response")
    }
    precondition(consumed + (response.contentLength ?? 0) == answer.count, "an answer of the wrong length")
    // Whatever was offered: what is answered says nothing that a client of ours would refuse.
    if case .accept(let acceptance) = verdict {
        let agreed = try? DeflateOffer.judge(response.fields, offered: DeflateOffer())
        precondition(agreed?.serverWindow == acceptance.deflate.map { Int($0.window.rawValue) }, "a bad answer")
    }
}

/// Parses `bytes` as a request and as a response: in one piece, byte by byte and cut in two places.
package func fuzzHTTPHead(_ bytes: UnsafeRawBufferPointer) {
    let stream = Array(bytes.prefix(20_000))
    let third = stream.count / 3
    let request = recordRequest(stream, cuts: [])
    let response = recordResponse(stream, cuts: [])
    precondition(request == recordRequest(stream, cuts: [third, 2 * third]), "a request cut in three differs")
    precondition(response == recordResponse(stream, cuts: [third, 2 * third]), "a response cut in three differs")
    // Each prefix is copied to memory of its own, which is quadratic here (not in the parser): only for short inputs.
    guard stream.count <= 1024 else { return }
    precondition(request == recordRequest(stream, cuts: 0..<stream.count), "a request byte by byte differs")
    precondition(response == recordResponse(stream, cuts: 0..<stream.count), "a response byte by byte differs")
}

/// Where mutation starts from.
package let fuzzHTTPHeadSeeds: [[UInt8]] = [
    "GET /connection/websocket?format=json&user=a%20b HTTP/1.1\r\nHost: chat.example:8000\r\nUpgrade: websocket\r\n"
        + "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: centrifuge-json, x\r\n"
        + "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=\"1\\0\", permessage-deflate; "
        + "client_max_window_bits\r\n"
        + "Origin: http://chat.example:8000\r\n\r\n",
    "POST /api/publish HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 2\r\nX-API-Key: k\r\n\r\n{}",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    "HTTP/1.1 503\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n",
].map { Array($0.utf8) }

/// One to four random changes: flip, insert, delete, repeat, replace by a byte that parsers stumble over.
package func mutate(_ seed: [UInt8], using random: inout SeededRandom) -> [UInt8] {
    var bytes = seed
    for _ in 0..<Int.random(in: 1...4, using: &random) {
        let place = bytes.isEmpty ? 0 : Int.random(in: 0..<bytes.count, using: &random)
        let special: [UInt8] = [0, 9, 10, 13, 32, 44, 58, 0x7D, 0x7E, 0x7F, 0x80, 0xC0, 0xE2, 0xFF]
        switch UInt8.random(in: 0..<6, using: &random) {
        case 0 where !bytes.isEmpty: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes.insert(special[Int.random(in: 0..<special.count, using: &random)], at: place)
        case 2 where !bytes.isEmpty: bytes.remove(at: place)
        case 3 where !bytes.isEmpty: bytes[place] = special[Int.random(in: 0..<special.count, using: &random)]
        case 4: bytes.insert(contentsOf: bytes[place...].prefix(Int.random(in: 1...40, using: &random)), at: place)
        default: bytes.removeLast(min(bytes.count, Int.random(in: 0...8, using: &random)))
        }
    }
    return bytes
}
