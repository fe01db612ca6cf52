// Frame headers and whole frames on their way out. Called by whoever encodes messages, once per broadcast and not once
// per member; writes into memory that the caller has reserved. Nothing here is left uninitialised: every byte that is
// counted has been stored. RFC 6455 section 5.2.

package import Bytes

/// What a frame is.
package enum Opcode: UInt8, Sendable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10
}

/// Sizes and bytes of frame headers.
package enum FrameHeader {
    /// Longest header: 64-bit length and a masking key.
    package static let longest = 14

    /// Size of the header of a frame with `count` payload bytes.
    package static func size(forPayload count: Int, masked: Bool = false) -> Int {
        let length = count < 126 ? 2 : count <= 0xFFFF ? 4 : 10
        return masked ? length + 4 : length
    }

    /// Writes a header to `target`, which has room for `size(forPayload:masked:)` bytes, and returns its size.
    ///
    /// `compressed` sets RSV1. A `key` is written behind the length; masking the payload with it is the caller's.
    package static func write(
        into target: UnsafeMutableRawPointer, _ opcode: Opcode, isFinal: Bool = true, compressed: Bool = false,
        length: Int, key: UInt32? = nil
    ) -> Int {
        precondition(length >= 0)
        let first = opcode.rawValue | (isFinal ? 0x80 : 0) | (compressed ? 0x40 : 0)
        let maskBit: UInt8 = key == nil ? 0 : 0x80
        var size = 2
        target.storeBytes(of: first, as: UInt8.self)
        if length < 126 {
            target.storeBytes(of: UInt8(length) | maskBit, toByteOffset: 1, as: UInt8.self)
        } else if length <= 0xFFFF {
            target.storeBytes(of: 126 | maskBit, toByteOffset: 1, as: UInt8.self)
            target.storeBytes(of: UInt16(length).bigEndian, toByteOffset: 2, as: UInt16.self)
            size = 4
        } else {
            target.storeBytes(of: 127 | maskBit, toByteOffset: 1, as: UInt8.self)
            target.storeBytes(of: UInt64(length).bigEndian, toByteOffset: 2, as: UInt64.self)
            size = 10
        }
        if let key {
            target.storeBytes(of: key.littleEndian, toByteOffset: size, as: UInt32.self)
            size += 4
        }
        return size
    }
}

extension ByteBuffer {
    /// Appends a whole frame with `payload`: unmasked (a server's), or masked with `key` (a client's).
    package mutating func appendFrame(
        _ opcode: Opcode, _ payload: UnsafeRawBufferPointer, isFinal: Bool = true, compressed: Bool = false,
        key: UInt32? = nil
    ) {
        let header = FrameHeader.size(forPayload: payload.count, masked: key != nil)
        let start = reserve(header + payload.count)
        _ = FrameHeader.write(
            into: start, opcode, isFinal: isFinal, compressed: compressed, length: payload.count, key: key)
        if let source = payload.baseAddress {
            if let key {
                Masking.copy(key, from: source, to: start + header, count: payload.count)
            } else {
                (start + header).copyMemory(from: source, byteCount: payload.count)
            }
        }
        advance(by: header + payload.count)
    }
}
