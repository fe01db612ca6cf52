// Addresses of the Internet as numbers, read strictly from text: what proxies' headers and the list of trusted networks
// consist of. Used by the reactor for accepted sockets, by the head parsers and by the configuration; any thread. Pure
// arithmetic without allocation; work is linear in the text, of which more than 45 bytes never are an address.

/// An IPv4 or IPv6 address. An IPv4 address is held as the IPv6 address that it is mapped to (`::ffff:a.b.c.d`), so
/// that the two spellings are one address.
package struct InternetAddress: Hashable, Sendable {
    /// The first eight bytes, the first of them the most significant.
    package let upper: UInt64
    /// The last eight bytes.
    package let lower: UInt64

    /// An IPv6 address in two halves.
    package init(v6 upper: UInt64, _ lower: UInt64) {
        self.upper = upper
        self.lower = lower
    }

    /// An IPv4 address, its first byte the most significant.
    package init(v4 address: UInt32) {
        upper = 0
        lower = 0xFFFF_0000_0000 | UInt64(address)
    }

    /// Whether it is an IPv4 address.
    package var isV4: Bool { upper == 0 && lower >> 32 == 0xFFFF }

    /// The address that `text` spells and nothing else: `192.0.2.1`, or any spelling of RFC 4291 section 2.2. No zone,
    /// no port, no brackets, no leading zeros in IPv4 (some read those as octal).
    package init?(_ text: UnsafeRawBufferPointer) {
        guard text.count >= 2, text.count <= InternetAddress.longestText else { return nil }
        if let address = InternetAddress.v4(text) {
            self.init(v4: address)
        } else if let address = InternetAddress.v6(text) {
            self.init(v6: UInt64(address >> 64), UInt64(address & 0xFFFF_FFFF_FFFF_FFFF))
        } else {
            return nil
        }
    }

    private static let longestText = 45
    private static let dot = UInt8(ascii: ".")
    private static let colon = UInt8(ascii: ":")

    /// Four numbers below 256 with dots between them.
    package static func v4(_ text: UnsafeRawBufferPointer) -> UInt32? {
        var address: UInt32 = 0
        var part: UInt32 = 0
        var digits = 0
        var dots = 0
        for byte in text {
            if byte == dot {
                guard digits > 0, dots < 3 else { return nil }
                address = address << 8 | part
                part = 0
                digits = 0
                dots += 1
                continue
            }
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            if digits > 0, part == 0 { return nil }
            part = part * 10 + UInt32(byte & 15)
            digits += 1
            guard part < 256 else { return nil }
        }
        return digits > 0 && dots == 3 ? address << 8 | part : nil
    }

    /// Groups of four hexadecimal digits, at most one `::`, perhaps an IPv4 address at the end.
    package static func v6(_ text: UnsafeRawBufferPointer) -> UInt128? {
        var value: UInt128 = 0
        var groups = 0
        var gap: Int?
        var index = 0
        if text.count >= 2, text[0] == colon {
            guard text[1] == colon else { return nil }
            gap = 0
            index = 2
        }
        while index < text.count {
            var end = index
            var group: UInt128 = 0
            while end < text.count, end - index <= 4, let digit = hexadecimal(text[end]) {
                group = group << 4 | UInt128(digit)
                end += 1
            }
            if end < text.count, text[end] == dot {
                guard groups <= 6, let address = v4(UnsafeRawBufferPointer(rebasing: text[index...])) else {
                    return nil
                }
                value = value << 32 | UInt128(address)
                groups += 2
                break
            }
            guard end > index, end - index <= 4, groups < 8 else { return nil }
            value = value << 16 | group
            groups += 1
            index = end
            guard index < text.count else { break }
            guard text[index] == colon, index + 1 < text.count else { return nil }
            index += 1
            if text[index] == colon {
                guard gap == nil else { return nil }
                gap = groups
                index += 1
            }
        }
        guard let gap else { return groups == 8 ? value : nil }
        guard groups < 8 else { return nil }
        let tail = 16 * (groups - gap)
        // Shifts by 128 give 0: nothing before the gap, or nothing behind it.
        let head = (value >> UInt128(tail)) << UInt128(16 * (8 - gap))
        return head | (value & ((1 << UInt128(tail)) - 1))
    }

    private static func hexadecimal(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte & 15
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"): (byte & 15) + 9
        default: nil
        }
    }
}

extension InternetAddress {
    /// The address that `text` spells.
    package init?(_ text: String) {
        var text = text
        guard let address = text.withUTF8({ InternetAddress(UnsafeRawBufferPointer($0)) }) else { return nil }
        self = address
    }
}
