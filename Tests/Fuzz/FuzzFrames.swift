// Fuzz target for the frame reader, both roles. Called by the mutation driver and by the unit tests with arbitrary
// bytes; stops the process by `precondition` when an invariant breaks: the same bytes give the same events however they
// are cut, the input is always used up, and memory stays within what the limits allow. RFC 6455 section 5.

import Bytes
package import WebSocket

/// A frame event with its own copy of the bytes, so that transcripts can be compared.
package enum RecordedEvent: Equatable, Sendable {
    case message(MessageKind, compressed: Bool, [UInt8])
    case ping([UInt8])
    case pong([UInt8])
    case close(CloseCode?, [UInt8])
    case violation(FrameViolation)
}

/// A reader together with what it reported and the most memory that it owned.
package struct FrameRecorder: ~Copyable {
    private var reader: FrameReader
    private let limits: FrameLimits
    /// Everything reported so far.
    package private(set) var events: [RecordedEvent] = []
    /// The most bytes that the reader owned after any event.
    package private(set) var mostOwnedBytes = 0
    /// Bytes that the reader owns now.
    package var ownedBytes: Int { reader.ownedBytes }
    /// Whether the reader has ended.
    package var hasEnded: Bool { reader.hasEnded }

    /// A recorder around a new reader.
    package init(role: FrameRole, allowsCompression: Bool = false, limits: FrameLimits) {
        reader = FrameReader(role: role, allowsCompression: allowsCompression)
        self.limits = limits
    }

    /// Feeds a copy of `bytes` that ends where its allocation ends, and scribbles over it afterwards.
    package mutating func feed(_ bytes: some Collection<UInt8>) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { copy.deallocate() }
        copy.copyBytes(from: bytes)
        var input = FrameInput(copy)
        while true {
            let event = reader.next(&input, limits)
            mostOwnedBytes = max(mostOwnedBytes, reader.ownedBytes)
            switch event {
            case .needMore:
                precondition(input.count == 0, "input left over")
                copy.initializeMemory(as: UInt8.self, repeating: 0xDD)
                return
            case .message(let kind, let compressed, let bytes):
                precondition(bytes.count <= limits.messageBytes, "message above its limit")
                events.append(.message(kind, compressed: compressed, Array(bytes)))
            case .ping(let bytes): events.append(.ping(Array(bytes)))
            case .pong(let bytes): events.append(.pong(Array(bytes)))
            case .close(let code, let reason): events.append(.close(code, Array(reason)))
            case .violation(let violation): events.append(.violation(violation))
            }
        }
    }
}

/// Reads `bytes` as frames in one piece, byte by byte and in uneven pieces. The first byte picks role and options.
package func fuzzFrames(_ bytes: UnsafeRawBufferPointer) {
    guard let options = bytes.first else { return }
    let role: FrameRole = options & 1 == 0 ? .server : .client
    let limits =
        options & 4 == 0
        ? FrameLimits(frameBytes: 1 << 16, messageBytes: 1 << 17, fragments: 64)
        : FrameLimits(frameBytes: 96, messageBytes: 128, fragments: 3)
    let stream = Array(bytes.dropFirst())
    func run(_ feed: (inout FrameRecorder) -> Void) -> [RecordedEvent] {
        var recorder = FrameRecorder(role: role, allowsCompression: options & 2 != 0, limits: limits)
        feed(&recorder)
        // A buffer doubles; behind the message there may be one control payload.
        precondition(recorder.mostOwnedBytes <= 2 * (limits.messageBytes + 125) + 64, "memory above the limits")
        return recorder.events
    }
    let whole = run { $0.feed(stream) }
    let single = run { recorder in for byte in stream { recorder.feed(CollectionOfOne(byte)) } }
    precondition(whole == single, "byte by byte differs")
    let pieces = run { recorder in
        var start = 0
        var size = 1
        while start < stream.count {
            let end = min(start + size, stream.count)
            recorder.feed(stream[start..<end])
            size = (size * 7 + Int(stream[start])) % 61 + 1
            start = end
        }
    }
    precondition(whole == pieces, "uneven pieces differ")
    for (index, event) in whole.enumerated() {
        switch event {
        case .message(.text, compressed: false, let text):
            precondition(String(validating: text, as: UTF8.self) != nil, "text that is not UTF-8")
        case .ping(let bytes), .pong(let bytes): precondition(bytes.count <= 125, "control payload too long")
        case .close(let code, let reason):
            precondition(index == whole.count - 1, "an event after the close")
            precondition(code?.isAllowedOnWire != false, "close code that may not be received")
            precondition(String(validating: reason, as: UTF8.self) != nil, "close reason that is not UTF-8")
        case .violation: precondition(index == whole.count - 1, "an event after a violation")
        default: break
        }
    }
}

/// Where mutation starts from: well-formed and nearly well-formed streams behind their option byte.
package let fuzzFramesSeeds: [[UInt8]] = [
    // A masked "Hello", then a masked ping and close 1000.
    [
        0, 0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58, 0x89, 0x80, 1, 2, 3, 4, 0x88, 0x82, 0, 0,
        0, 0, 3, 0xE8,
    ],
    // Client role: "Hel" + "lo" with a ping between, an empty text, an empty binary.
    [1, 0x01, 3, 0x48, 0x65, 0x6C, 0x89, 1, 0x21, 0x80, 2, 0x6C, 0x6F, 0x81, 0, 0x82, 0],
    // Client role: a euro sign cut over three fragments, a close with a reason.
    [1, 0x01, 1, 0xE2, 0x00, 1, 0x82, 0x80, 1, 0xAC, 0x88, 5, 0x0F, 0xA0, 0x62, 0x79, 0x65],
    // Client role, small limits: 16-bit and 64-bit lengths.
    [5, 0x82, 126, 0, 126, 1, 2, 3], [1, 0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9],
    // RSV1 with compression admitted, over two fragments.
    [3, 0x41, 2, 0xF2, 0x48, 0x80, 3, 0xCD, 0xC9, 0x07],
    // A length with the top bit set, unmasked frames for a server, a code that may not be sent.
    [0, 0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 0xDE, 0xAD, 0xBE, 0xEF, 0x41], [0, 0x81, 1, 0x41],
    [1, 0x88, 2, 3, 0xED],
]
