// The currency of this module: bytes that somebody else owns. Views of commands and messages are made of these, so that
// parsing copies and allocates nothing; they are valid as long as the frame and the scratch buffer they point into.

package import Bytes

/// A run of bytes inside a frame, a scratch buffer or an encoder's output. Never outlives those.
package typealias WireBytes = UnsafeRawBufferPointer

extension UnsafeRawBufferPointer {
    /// No bytes: how a view says that a field is absent. On the wire absent and empty are the same.
    package static var empty: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }
}

/// The id of a client connection: a random UUID (RFC 9562, version 4).
package struct ClientID: Hashable, Sendable {
    private let high: UInt64
    private let low: UInt64

    /// Bytes of the text form.
    package static let textLength = 36

    /// Makes an id of 128 random bits, six of which give way to version and variant.
    package init(random: (UInt64, UInt64)) {
        high = (random.0 & 0xFFFF_FFFF_FFFF_0FFF) | 0x4000
        low = (random.1 & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
    }

    /// The id as two words, for messages between loops.
    package var words: (UInt64, UInt64) { (high, low) }

    /// The id that `words` gave.
    package init(words: (UInt64, UInt64)) { (high, low) = words }

    /// Appends the text form, 36 bytes in lower case.
    package func append(to out: inout ByteBuffer) {
        let place = out.reserve(ClientID.textLength)
        let groups = (
            ClientID.digits(high >> 32), ClientID.digits(high & 0xFFFF_FFFF), ClientID.digits(low >> 32),
            ClientID.digits(low & 0xFFFF_FFFF)
        )
        // 8-4-4-4-12: the middle groups are halves, cut out by writing eight digits and a dash over the last four.
        place.storeBytes(of: groups.0.littleEndian, as: UInt64.self)
        place.storeBytes(of: groups.1.littleEndian, toByteOffset: 9, as: UInt64.self)
        place.storeBytes(of: (groups.1 >> 32).littleEndian, toByteOffset: 14, as: UInt64.self)
        place.storeBytes(of: groups.2.littleEndian, toByteOffset: 19, as: UInt64.self)
        place.storeBytes(of: (groups.2 >> 32).littleEndian, toByteOffset: 24, as: UInt64.self)
        place.storeBytes(of: groups.3.littleEndian, toByteOffset: 28, as: UInt64.self)
        for dash in stride(from: 8, through: 23, by: 5) {
            place.storeBytes(of: UInt8(ascii: "-"), toByteOffset: dash, as: UInt8.self)
        }
        out.advance(by: ClientID.textLength)
    }

    /// Eight hexadecimal digits for the 32 bits of `word`, the first in the lowest byte.
    private static func digits(_ word: UInt64) -> UInt64 {
        var lanes = word
        // Each step moves the lower half of every piece up, until each byte has one digit; the last digit is lowest.
        lanes = (lanes | lanes << 16) & 0x0000_FFFF_0000_FFFF
        lanes = (lanes | lanes << 8) & 0x00FF_00FF_00FF_00FF
        lanes = (lanes | lanes << 4) & 0x0F0F_0F0F_0F0F_0F0F
        let letters = (lanes + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        // "a" is 39 behind what follows "9". No lane carries into the next one.
        return (lanes + 0x3030_3030_3030_3030 + letters * 39).byteSwapped
    }
}
