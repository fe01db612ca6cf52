// The receiving half of RFC 6455: bytes in, messages and control frames out, for servers and clients. One per
// connection, called by its driver on its loop with the loop's read buffer, which is always used up. A frame that lies
// whole in the input is unmasked where it lies and handed out as a slice of it. Memory is owned only while something is
// incomplete, grows with what has arrived (never with a declared length) and is bounded by `FrameLimits`: at most one
// message and one control payload. RFC 6455 sections 5 and 8.1.

import Bytes

/// Which end of the connection reads: a server demands masked frames, a client unmasked ones (section 5.1).
package enum FrameRole: UInt8, Sendable {
    case server, client
}

/// Reads the frames of one connection. One cache line of 64 bytes, and no memory beyond that between messages.
///
/// Call `next` with one input until it answers `needMore`: until then the bytes of the last message may still be held.
package struct FrameReader: ~Copyable {
    /// The incomplete message's bytes, behind them those of an incomplete control frame.
    private var assembly = ByteBuffer()
    /// Payload bytes of the current frame that are still to come.
    private var remaining = 0
    /// The bytes of a header that was cut by the end of an input.
    private var partial = InlineArray<14, UInt8>(repeating: 0)
    private var partialCount: UInt8 = 0
    private var first: UInt8 = 0
    private var key: UInt32 = 0
    private var fragments: UInt32 = 0
    private var text = UTF8Validator()
    private var controlCount: UInt8 = 0
    private var phase = Phase.header
    private var message = PartialMessage.none
    private var held = Held.nothing
    private let mode: Mode

    private enum Phase: UInt8 { case header, payload, ended }
    private enum PartialMessage: UInt8 { case none, text, binary, compressedText, compressedBinary }
    /// What the event handed out last still occupies in `assembly`.
    private enum Held: UInt8 { case nothing, control, message }

    /// Role and options in one byte, which is what keeps the reader within its cache line.
    private struct Mode: OptionSet {
        let rawValue: UInt8
        static let server = Mode(rawValue: 1)
        static let compression = Mode(rawValue: 2)
    }

    private struct Header {
        var first: UInt8 = 0
        var size = 0
        var length = 0
        var key: UInt32 = 0

        var isControl: Bool { first & 0x08 != 0 }
        var isFinal: Bool { first & 0x80 != 0 }
        var opcode: UInt8 { first & 0x0F }
    }

    private enum HeaderCheck {
        case incomplete, complete
        case violation(FrameViolation)
    }

    /// A reader at the first byte after the opening handshake. `allowsCompression` admits RSV1 on data messages
    /// (RFC 7692), which are then reported as compressed.
    package init(role: FrameRole, allowsCompression: Bool = false) {
        mode = (role == .server ? .server : Mode()).union(allowsCompression ? .compression : Mode())
    }

    /// Whether frames must be masked.
    private var isServer: Bool { mode.contains(.server) }

    /// Bytes of memory that the reader owns; 0 between messages.
    package var ownedBytes: Int { assembly.capacity }

    /// Whether a Close or a violation was reported, so that nothing more will be.
    package var hasEnded: Bool { phase == .ended }

    /// The next event in `input`. `needMore` means that the input is used up and may be overwritten.
    package mutating func next(_ input: inout FrameInput, _ limits: FrameLimits) -> FrameEvent {
        if held != .nothing { release() }
        while let position = input.position, input.count > 0 || (phase == .payload && remaining == 0) {
            switch phase {
            case .header where partialCount == 0:
                var header = Header()
                switch check(position, input.count, limits, &header) {
                case .incomplete:
                    stash(&input)
                case .violation(let violation):
                    return fail(violation, &input)
                case .complete where isWhole(header, input.count):
                    let payload = UnsafeMutableRawBufferPointer(start: position + header.size, count: header.length)
                    input.advance(header.size + header.length)
                    if isServer { Masking.apply(header.key, to: position + header.size, count: header.length) }
                    return deliver(header, payload, &input)
                case .complete:
                    input.advance(header.size)
                    begin(header)
                }
            case .header:
                if let violation = continueHeader(&input, limits) { return fail(violation, &input) }
            case .payload:
                if let event = continuePayload(&input) { return event }
            case .ended:
                input.advance(input.count)
            }
        }
        return .needMore
    }

    /// Whether the frame can be handed out without copying: all of it is there and it is no part of a longer message.
    private func isWhole(_ header: Header, _ available: Int) -> Bool {
        header.length <= available - header.size
            && (header.isControl || (header.isFinal && header.opcode != Opcode.continuation.rawValue))
    }

    // MARK: Headers

    /// Judges the `available` header bytes at `bytes` as soon as each of them can be judged.
    private func check(
        _ bytes: UnsafeMutableRawPointer, _ available: Int, _ limits: FrameLimits, _ header: inout Header
    ) -> HeaderCheck {
        header.first = bytes.load(as: UInt8.self)
        if let violation = checkFirst(header) { return .violation(violation) }
        guard available >= 2 else { return .incomplete }
        let second = bytes.load(fromByteOffset: 1, as: UInt8.self)
        if (second & 0x80 != 0) != isServer { return .violation(isServer ? .unmasked : .masked) }
        let short = second & 0x7F
        if header.isControl, short > 125 { return .violation(.controlTooLong) }
        header.size = 2
        header.length = Int(short)
        if short == 126 {
            guard available >= 4 else { return .incomplete }
            header.size = 4
            header.length = Int(UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
            if header.length < 126 { return .violation(.lengthNotMinimal) }
        } else if short == 127 {
            guard available >= 10 else { return .incomplete }
            let wide = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt64.self))
            guard let length = Int(exactly: wide) else { return .violation(.lengthOverflow) }
            if length <= 0xFFFF { return .violation(.lengthNotMinimal) }
            header.size = 10
            header.length = length
        }
        if !header.isControl, let violation = checkLimits(header, limits) { return .violation(violation) }
        if isServer {
            guard available >= header.size + 4 else { return .incomplete }
            header.key = Masking.loadKey(bytes + header.size)
            header.size += 4
        }
        return .complete
    }

    private func checkFirst(_ header: Header) -> FrameViolation? {
        if header.first & 0x30 != 0 { return .reservedBits }
        let compressed = header.first & 0x40 != 0
        switch header.opcode {
        case 0:
            if compressed { return .reservedBits }
            return message == .none ? .unexpectedContinuation : nil
        case 1, 2:
            if compressed, !mode.contains(.compression) { return .reservedBits }
            return message == .none ? nil : .missingContinuation
        case 8, 9, 10:
            if compressed { return .reservedBits }
            return header.isFinal ? nil : .controlFragmented
        default:
            return compressed ? .reservedBits : .reservedOpcode
        }
    }

    /// Data frames only: what is assembled so far is then the message's bytes alone.
    private func checkLimits(_ header: Header, _ limits: FrameLimits) -> FrameViolation? {
        if header.length > limits.frameBytes { return .frameTooBig }
        // Both are lengths of real things, so that the difference cannot overflow; the sum could.
        if header.length > limits.messageBytes - assembly.count { return .messageTooBig }
        let frames = header.opcode == 0 ? Int(fragments) + 1 : 1
        return frames > min(limits.fragments, Int(UInt32.max)) ? .tooManyFragments : nil
    }

    /// Keeps the beginning of a header, at most 13 bytes.
    private mutating func stash(_ input: inout FrameInput) {
        while input.count > 0 { stashByte(&input) }
    }

    private mutating func stashByte(_ input: inout FrameInput) {
        guard let position = input.position else { return }
        partial[Int(partialCount)] = position.load(as: UInt8.self)
        partialCount += 1
        input.advance(1)
    }

    /// Goes on with a header that an earlier input began, byte by byte: it is short, and rare.
    private mutating func continueHeader(_ input: inout FrameInput, _ limits: FrameLimits) -> FrameViolation? {
        while input.count > 0 {
            stashByte(&input)
            var header = Header()
            var bytes = partial
            let outcome = withUnsafeMutableBytes(of: &bytes) { raw -> HeaderCheck in
                guard let base = raw.baseAddress else { return .incomplete }
                return check(base, Int(partialCount), limits, &header)
            }
            switch outcome {
            case .incomplete: continue
            case .violation(let violation): return violation
            case .complete:
                partialCount = 0
                begin(header)
                return nil
            }
        }
        return nil
    }

    /// Starts a frame whose payload is not whole or has to be joined with others.
    private mutating func begin(_ header: Header) {
        first = header.first
        key = header.key
        remaining = header.length
        phase = .payload
        let compressed = header.first & 0x40 != 0
        switch header.opcode {
        case 0: fragments += 1
        case 1: startMessage(compressed ? .compressedText : .text)
        case 2: startMessage(compressed ? .compressedBinary : .binary)
        default: controlCount = UInt8(clamping: header.length)
        }
    }

    private mutating func startMessage(_ kind: PartialMessage) {
        message = kind
        fragments = 1
        text = UTF8Validator()
    }

    // MARK: Payloads

    /// A frame that lies whole and unmasked in the input.
    private mutating func deliver(
        _ header: Header, _ payload: UnsafeMutableRawBufferPointer, _ input: inout FrameInput
    ) -> FrameEvent {
        let compressed = header.first & 0x40 != 0
        switch header.opcode {
        case 1:
            guard compressed || UTF8Validator.isValid(UnsafeRawBufferPointer(payload)) else {
                return fail(.invalidUTF8, &input)
            }
            return .message(.text, compressed: compressed, payload)
        case 2: return .message(.binary, compressed: compressed, payload)
        default: return control(header.opcode, payload, &input)
        }
    }

    private mutating func control(
        _ opcode: UInt8, _ payload: UnsafeMutableRawBufferPointer, _ input: inout FrameInput
    ) -> FrameEvent {
        switch opcode {
        case 9: return .ping(payload)
        case 10: return .pong(payload)
        default:
            let event = ClosePayload.parse(payload)
            if case .violation(let violation) = event { return fail(violation, &input) }
            phase = .ended
            // The reason may lie in `assembly`: let go of that at the next call.
            held = .message
            input.advance(input.count)
            return event
        }
    }

    /// Takes what the input has of the current payload; an event if that completes something or breaks a rule.
    private mutating func continuePayload(_ input: inout FrameInput) -> FrameEvent? {
        let isControl = first & 0x08 != 0
        let taken = min(remaining, input.count)
        if taken > 0, let source = input.position {
            let target = assembly.reserve(taken)
            if isServer {
                Masking.copy(key, from: source, to: target, count: taken)
                key = Masking.advance(key, by: taken)
            } else {
                target.copyMemory(from: source, byteCount: taken)
            }
            assembly.advance(by: taken)
            remaining -= taken
            input.advance(taken)
            if !isControl, message == .text, !text.feed(UnsafeRawBufferPointer(start: target, count: taken)) {
                return fail(.invalidUTF8, &input)
            }
        }
        guard remaining == 0 else { return nil }
        phase = .header
        if isControl {
            held = .control
            let payload = UnsafeMutableRawBufferPointer(rebasing: assembly.mutableBytes.suffix(Int(controlCount)))
            return control(first & 0x0F, payload, &input)
        }
        return first & 0x80 != 0 ? finishMessage(&input) : nil
    }

    private mutating func finishMessage(_ input: inout FrameInput) -> FrameEvent {
        let kind = message
        message = .none
        held = .message
        let bytes = assembly.mutableBytes
        switch kind {
        case .text:
            return text.isComplete ? .message(.text, compressed: false, bytes) : fail(.invalidUTF8, &input)
        case .compressedText: return .message(.text, compressed: true, bytes)
        case .compressedBinary: return .message(.binary, compressed: true, bytes)
        case .binary, .none: return .message(.binary, compressed: false, bytes)
        }
    }

    // MARK: Ends

    /// Lets go of what the last event showed; memory stays only under an incomplete message.
    private mutating func release() {
        if held == .control, message != .none {
            assembly.truncate(to: assembly.count - Int(controlCount))
        } else {
            assembly.removeAll(keepingAtMost: 0)
        }
        held = .nothing
    }

    private mutating func fail(_ violation: FrameViolation, _ input: inout FrameInput) -> FrameEvent {
        phase = .ended
        message = .none
        held = .nothing
        assembly.removeAll(keepingAtMost: 0)
        input.advance(input.count)
        return .violation(violation)
    }
}
