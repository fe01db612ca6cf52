// Fuzz target for the streams of permessage-deflate. Called by the mutation driver and by the unit tests with
// arbitrary bytes; stops the process by `precondition` when an invariant breaks: whatever comes in ends with a verdict,
// never with more bytes than the limit, the stream works again afterwards, and what is deflated inflates to itself.
// RFC 7692.

import Bytes
package import WebSocket

/// What became of a compressed message, with its own copy of the bytes.
package enum RecordedInflation: Equatable, Sendable {
    case message([UInt8])
    case violation(FrameViolation)
}

/// An inflater and the two windows of a server, made once, as a loop has them.
package final class DeflateBench {
    private var inflater: Inflater
    private var wide: Deflater
    private var narrow: Deflater

    /// Fresh streams.
    package init() throws(DeflateFailure) {
        let inflater = try Inflater()
        let wide = try Deflater(windowBits: 15)
        let narrow = try Deflater(windowBits: 9)
        self.inflater = inflater
        self.wide = wide
        self.narrow = narrow
    }

    /// Bytes that the inflater owns besides its stream.
    package var ownedBytes: Int { inflater.ownedBytes }

    /// Inflates a copy of `payload` that ends where its allocation ends.
    package func inflate(
        _ payload: [UInt8], _ kind: MessageKind = .binary, limit: Int = 1 << 20
    ) -> RecordedInflation {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: payload.count, alignment: 1)
        defer { copy.deallocate() }
        copy.copyBytes(from: payload)
        switch inflater.inflate(kind, copy, limit: limit) {
        case .message(let bytes):
            precondition(bytes.count <= max(0, limit), "more bytes than the limit")
            return .message(Array(bytes))
        case .violation(let violation): return .violation(violation)
        }
    }

    /// The compressed form of `message`, however long.
    package func compress(_ message: [UInt8], _ window: DeflateWindow = .wide) -> [UInt8]? {
        message.withUnsafeBytes { raw in
            let bytes = window == .wide ? wide.compress(raw) : narrow.compress(raw)
            return bytes.map { Array($0) }
        }
    }
}

/// Inflates `bytes` (the first says as what and how far), then a sound message, and deflates them.
package func fuzzDeflate(_ bytes: UnsafeRawBufferPointer) {
    do {
        run(bytes, try DeflateBench())
    } catch {
        preconditionFailure("no zlib: \(error)")
    }
}

private func run(_ bytes: UnsafeRawBufferPointer, _ bench: DeflateBench) {
    guard let options = bytes.first else { return }
    let payload = Array(bytes.dropFirst())
    let kind: MessageKind = options & 1 == 0 ? .text : .binary
    let limit = options & 2 == 0 ? 1 << 17 : Int(options >> 2)
    switch bench.inflate(payload, kind, limit: limit) {
    case .message(let message):
        precondition(kind == .binary || String(validating: message, as: UTF8.self) != nil, "text that is not UTF-8")
    case .violation(let violation):
        precondition(
            [.messageTooBig, .invalidDeflate, .invalidUTF8].contains(violation), "a violation of something else")
    }
    precondition(bench.ownedBytes <= max(2 * limit + 1, Inflater.keptBytes), "memory above the limit")
    let hello: [UInt8] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]
    precondition(bench.inflate(hello, .text) == .message(Array("Hello".utf8)), "the stream did not recover")
    for window in DeflateWindow.allCases {
        guard let packed = bench.compress(payload, window) else { preconditionFailure("it does not deflate") }
        precondition(bench.inflate(packed) == .message(payload), "it does not inflate to itself")
    }
}

/// Where mutation starts from: an option byte and the examples of RFC 7692 section 7.2.3, and stored and dynamic
/// blocks.
package let fuzzDeflateSeeds: [[UInt8]] = [
    [0, 0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
    [0, 0xF2, 0x00, 0x11, 0x00, 0x00],
    [0, 0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
    [1, 0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
    [0, 0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
    [1, 0x00], [0xFE, 0x62, 0x60, 0x18, 0x05, 0xA3, 0x60, 0x14, 0x0C, 0x77, 0x00, 0x00],
    [1, 0xED, 0xC0, 0x01, 0x01, 0x00, 0x00, 0x00, 0x80, 0x90, 0xFE, 0xAF, 0x6E, 0x08],
]
