// Sets of addresses in CIDR notation: whom an operator trusts to name the address of a client. Made at the start, asked
// once a connection and once for each hop that a header names, on any loop; work is linear in the operator's list.

/// One network: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
package struct Network: Hashable, Sendable {
    private let base: UInt128
    private let mask: UInt128
    private let isV4: Bool

    /// The network that `text` spells; nil also when bits behind the prefix are set, since then either of the two
    /// numbers is a mistake.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let first = parts.first, let address = InternetAddress(String(first)) else {
            return nil
        }
        let mostBits = address.isV4 && !first.contains(":") ? 32 : 128
        var bits = mostBits
        if parts.count == 2 {
            let digits = parts[1].utf8
            guard !digits.isEmpty, digits.count <= 3, digits.first != UInt8(ascii: "0") || digits.count == 1,
                digits.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }),
                let number = Int(parts[1]), number <= mostBits
            else { return nil }
            bits = number
        }
        bits += 128 - mostBits
        base = address.word
        mask = bits == 0 ? 0 : UInt128.max << UInt128(128 - bits)
        isV4 = address.isV4 && bits >= 96
        guard base & ~mask == 0 else { return nil }
    }

    /// Whether `address` lies in it. An IPv4 address lies in no IPv6 network, `::/0` included: who trusts that one does
    /// not mean the whole of IPv4.
    package func contains(_ address: InternetAddress) -> Bool {
        address.isV4 == isV4 && address.word & mask == base
    }
}

/// A list of networks.
package struct Networks: Sendable, Equatable {
    private var all: [Network]

    /// Those networks.
    package init(_ networks: [Network] = []) { all = networks }

    /// Whether there is none.
    package var isEmpty: Bool { all.isEmpty }

    /// Whether `address` lies in one of them.
    package func contains(_ address: InternetAddress) -> Bool {
        for network in all where network.contains(address) { return true }
        return false
    }
}

extension InternetAddress {
    fileprivate var word: UInt128 { UInt128(upper) << 64 | UInt128(lower) }
}
