// Close codes and what a Close frame carries. The one authority on which codes may be received, and the one encoder of
// close payloads. Used by the frame reader, drivers and the client on their loop. RFC 6455 sections 5.5.1 and 7.4, and
// the IANA registry (1012 to 1014).

package import Bytes

/// A code of a Close frame.
package struct CloseCode: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    package let rawValue: UInt16

    /// Any number; see `isAllowedOnWire`.
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    /// 1000: done.
    package static let normal = CloseCode(rawValue: 1000)
    /// 1001: the server shuts down or the page was left.
    package static let goingAway = CloseCode(rawValue: 1001)
    /// 1002: the peer broke the framing rules.
    package static let protocolError = CloseCode(rawValue: 1002)
    /// 1003: a kind of message that is not understood here.
    package static let unsupportedData = CloseCode(rawValue: 1003)
    /// 1007: text that is not UTF-8, or a payload that does not inflate.
    package static let invalidPayload = CloseCode(rawValue: 1007)
    /// 1008: the peer broke a rule of this server.
    package static let policyViolation = CloseCode(rawValue: 1008)
    /// 1009: a frame or message above the limit.
    package static let messageTooBig = CloseCode(rawValue: 1009)
    /// 1011: the server failed.
    package static let internalError = CloseCode(rawValue: 1011)

    /// Whether a Close frame may carry the code; the others are reserved for use inside an endpoint, or for nobody.
    package var isAllowedOnWire: Bool {
        switch rawValue {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}

/// Payloads of Close frames.
package enum ClosePayload {
    /// Longest reason in bytes: a control frame's 125 without the code.
    package static let reasonLimit = 123

    /// The longest prefix of `reason` that fits and does not cut a code point.
    package static func truncated(_ reason: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard reason.count > reasonLimit else { return reason }
        var end = reasonLimit
        while end > 0, reason[end] & 0xC0 == 0x80 { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: reason[..<end])
    }

    /// Appends a whole unmasked Close frame; a reason that is too long is cut at a code point.
    package static func appendFrame(
        _ code: CloseCode, reason: UnsafeRawBufferPointer, to buffer: inout ByteBuffer
    ) {
        appendFrame(code, reason: reason, key: nil, to: &buffer)
    }

    /// Appends a whole unmasked Close frame with a constant reason.
    package static func appendFrame(_ code: CloseCode, reason: StaticString, to buffer: inout ByteBuffer) {
        var text = ByteBuffer(capacity: reason.utf8CodeUnitCount)
        text.append(reason)
        appendFrame(code, reason: text.bytes, key: nil, to: &buffer)
    }

    /// Appends a whole Close frame, masked if there is a `key` (a client's).
    package static func appendFrame(
        _ code: CloseCode, reason: UnsafeRawBufferPointer, key: UInt32?, to buffer: inout ByteBuffer
    ) {
        precondition(code.isAllowedOnWire)
        let text = truncated(reason)
        let size = 2 + text.count
        let header = FrameHeader.size(forPayload: size, masked: key != nil)
        let start = buffer.reserve(header + size)
        _ = FrameHeader.write(into: start, .close, length: size, key: key)
        let payload = start + header
        payload.storeBytes(of: code.rawValue.bigEndian, as: UInt16.self)
        if let source = text.baseAddress { (payload + 2).copyMemory(from: source, byteCount: text.count) }
        if let key { Masking.apply(key, to: payload, count: size) }
        buffer.advance(by: header + size)
    }

    /// Takes apart the payload of a received Close frame, or says what is wrong with it.
    static func parse(_ bytes: UnsafeMutableRawBufferPointer) -> FrameEvent {
        if bytes.isEmpty { return .close(nil, reason: UnsafeRawBufferPointer(bytes)) }
        guard bytes.count >= 2 else { return .violation(.closePayload) }
        let code = CloseCode(rawValue: UInt16(bytes[0]) << 8 | UInt16(bytes[1]))
        guard code.isAllowedOnWire else { return .violation(.closeCode) }
        let reason = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[2...])
        guard UTF8Validator.isValid(reason) else { return .violation(.closeReason) }
        return .close(code, reason: reason)
    }
}
