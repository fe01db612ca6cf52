// What a frame reader reports and what it takes: events, violations with their close codes, limits, and the input
// cursor. The one list of the ways in which a peer can break the framing. RFC 6455 sections 5, 7.4 and 8.1.

/// Whether a message is text or binary.
package enum MessageKind: UInt8, Sendable {
    case text = 1
    case binary = 2

    /// The opcode of a message of this kind.
    package var opcode: Opcode { self == .text ? .text : .binary }
}

/// How a peer broke the framing; each closes the connection with its code.
package enum FrameViolation: UInt8, Error, Sendable, CaseIterable {
    case reservedBits, reservedOpcode, unmasked, masked, lengthOverflow, lengthNotMinimal
    case controlTooLong, controlFragmented, unexpectedContinuation, missingContinuation
    case closePayload, closeCode, closeReason, invalidUTF8, invalidDeflate
    case frameTooBig, messageTooBig, tooManyFragments

    /// The code to close with.
    package var code: CloseCode {
        switch self {
        case .closeReason, .invalidUTF8, .invalidDeflate: .invalidPayload
        case .frameTooBig, .messageTooBig: .messageTooBig
        case .tooManyFragments: .policyViolation
        default: .protocolError
        }
    }

    /// The text of the Close frame; constant.
    package var reason: StaticString {
        switch self {
        case .reservedBits: "reserved bit set"
        case .reservedOpcode: "reserved opcode"
        case .unmasked: "frame not masked"
        case .masked: "frame masked"
        case .lengthOverflow: "payload length above 2^63"
        case .lengthNotMinimal: "payload length not minimal"
        case .controlTooLong: "control frame too long"
        case .controlFragmented: "control frame fragmented"
        case .unexpectedContinuation: "continuation of nothing"
        case .missingContinuation: "continuation expected"
        case .closePayload: "malformed close payload"
        case .closeCode: "invalid close code"
        case .closeReason: "close reason is not UTF-8"
        case .invalidUTF8: "text is not UTF-8"
        case .invalidDeflate: "payload does not inflate"
        case .frameTooBig: "frame too big"
        case .messageTooBig: "message too big"
        case .tooManyFragments: "too many fragments"
        }
    }
}

/// What the reader found next. Bytes are valid until the next call and may be written to (they lie in the read buffer
/// or in the reader's own memory).
package enum FrameEvent {
    /// The input is used up.
    case needMore
    /// A whole message, possibly empty. Text is valid UTF-8 unless `compressed`: then inflate first and check after.
    case message(MessageKind, compressed: Bool, UnsafeMutableRawBufferPointer)
    /// A ping; its bytes go back in a pong.
    case ping(UnsafeMutableRawBufferPointer)
    /// A pong; nobody has to have asked for it.
    case pong(UnsafeMutableRawBufferPointer)
    /// The peer's Close. From here on the reader swallows whatever comes.
    case close(CloseCode?, reason: UnsafeRawBufferPointer)
    /// The peer broke the rules. From here on the reader swallows whatever comes.
    case violation(FrameViolation)
}

/// Limits of what one connection may send. Handed in with each call, so that thousands of readers share one copy and
/// a connection's limits can grow once it is authenticated.
package struct FrameLimits: Sendable, Equatable {
    /// Most payload bytes of one frame; above: 1009.
    package var frameBytes: Int
    /// Most payload bytes of one message, all fragments together; above: 1009.
    package var messageBytes: Int
    /// Most frames of one message, empty ones included; above: 1008.
    package var fragments: Int

    /// Limits in bytes and frames.
    package init(frameBytes: Int, messageBytes: Int, fragments: Int = 1024) {
        self.frameBytes = frameBytes
        self.messageBytes = messageBytes
        self.fragments = fragments
    }
}

/// The bytes that one read delivered, eaten from the front.
package struct FrameInput {
    /// The next byte; nil only if there never was one.
    package private(set) var position: UnsafeMutableRawPointer?
    /// Bytes left.
    package private(set) var count: Int

    /// A cursor over `buffer`, which the reader may overwrite.
    package init(_ buffer: UnsafeMutableRawBufferPointer) {
        position = buffer.baseAddress
        count = buffer.count
    }

    /// Skips `amount` bytes.
    mutating func advance(_ amount: Int) {
        assert(amount >= 0 && amount <= count)
        position = position.map { $0 + amount }
        count -= amount
    }
}
