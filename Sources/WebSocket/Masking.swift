// XOR with the masking key, in place and while copying: the one pass over every byte that a client sends. Called by the
// frame reader and the frame writer on their loop, bounded by the piece at hand. 32 bytes a step on unaligned SIMD
// loads, about the speed of memcpy; SSE2 or NEON is enough for that. RFC 6455 section 5.3.

/// Masks and unmasks payload bytes; both are the same operation.
///
/// A key is a `UInt32` whose lowest byte belongs to the first payload byte, on machines of either byte order.
package enum Masking {
    /// The key for what follows after `count` bytes were masked with `key`.
    package static func advance(_ key: UInt32, by count: Int) -> UInt32 {
        let bits = UInt32(count & 3) * 8
        return key &>> bits | key &<< ((32 - bits) & 31)
    }

    /// Reads the key from the four bytes at `source`, which may be unaligned.
    package static func loadKey(_ source: UnsafeRawPointer) -> UInt32 {
        UInt32(littleEndian: source.loadUnaligned(as: UInt32.self))
    }

    /// Masks the `count` bytes at `bytes`.
    package static func apply(_ key: UInt32, to bytes: UnsafeMutableRawPointer, count: Int) {
        copy(key, from: UnsafeRawPointer(bytes), to: bytes, count: count)
    }

    /// Writes the `count` bytes at `source`, masked, to `target`; the two are the same place or do not overlap.
    package static func copy(
        _ key: UInt32, from source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, count: Int
    ) {
        let pair = (UInt64(key) | UInt64(key) << 32).littleEndian
        let block = SIMD4<UInt64>(repeating: pair)
        var offset = 0
        while offset + 32 <= count {
            let masked = source.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self) ^ block
            target.storeBytes(of: masked, toByteOffset: offset, as: SIMD4<UInt64>.self)
            offset += 32
        }
        while offset + 8 <= count {
            let masked = source.loadUnaligned(fromByteOffset: offset, as: UInt64.self) ^ pair
            target.storeBytes(of: masked, toByteOffset: offset, as: UInt64.self)
            offset += 8
        }
        if offset + 4 <= count {
            let masked = source.loadUnaligned(fromByteOffset: offset, as: UInt32.self) ^ key.littleEndian
            target.storeBytes(of: masked, toByteOffset: offset, as: UInt32.self)
            offset += 4
        }
        // Every step so far was a multiple of four, so that the key is in phase for the last bytes.
        var rest = key
        while offset < count {
            let masked = source.load(fromByteOffset: offset, as: UInt8.self) ^ UInt8(rest & 0xFF)
            target.storeBytes(of: masked, toByteOffset: offset, as: UInt8.self)
            rest >>= 8
            offset += 1
        }
    }
}
