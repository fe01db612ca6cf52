// Two 32-bit numbers in one word: how a slot and its generation travel in epoll events, letters and tickets. Used on
// every loop; nothing here can trap or lose a bit.

extension UInt64 {
    /// The word that holds both numbers.
    package init(high: UInt32, low: UInt32) { self = UInt64(high) << 32 | UInt64(low) }

    /// The number in the upper half.
    package var highHalf: UInt32 { UInt32(self >> 32) }

    /// The number in the lower half.
    package var lowHalf: UInt32 { UInt32(self & 0xFFFF_FFFF) }
}
