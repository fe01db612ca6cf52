// Whom an accepted connection is charged to: the peer's address in one word, small enough to stay with the connection
// until it closes. Made by the listener right after accept; a handler that learns of another peer (a proxy's header)
// may make one from the address that it read. Pure arithmetic on the address's bytes, nothing is allocated.

package import Bytes
import CLinux
import Glibc

/// An address as accounts know it: an IPv4 address, or the /64 network of an IPv6 address, since whoever has one
/// address there has all of them. An IPv4 address that is mapped into IPv6 (`::ffff:a.b.c.d`) is the IPv4 address.
package struct PeerAddress: Hashable, Sendable, CustomStringConvertible {
    /// The address: 0 nobody, `1 << 32 | address` IPv4, else the upper half of an IPv6 address. Both forms lie in
    /// networks that are nobody's (::/32), but for `::/64` itself, the loopback's, which is `2 << 32`.
    package let word: UInt64

    /// Not charged to any address: Unix sockets, and whoever is exempt.
    package static let uncounted = PeerAddress(word: 0)
    private static let loopback: UInt64 = 2 << 32

    private init(word: UInt64) { self.word = word }

    /// An IPv4 address, its first byte the most significant.
    package init(v4 address: UInt32) { word = 1 << 32 | UInt64(address) }

    /// An IPv6 address, in two halves.
    package init(v6 upper: UInt64, _ lower: UInt64) {
        if upper == 0, lower >> 32 == 0xFFFF {
            self.init(v4: UInt32(truncatingIfNeeded: lower))
        } else {
            self.init(word: upper == 0 ? PeerAddress.loopback : upper)
        }
    }

    /// Whom an address belongs to.
    package init(_ address: InternetAddress) { self.init(v6: address.upper, address.lower) }

    /// The peer that a socket address names.
    package init(_ address: SocketAddress) {
        self = InternetAddress(address.storage).map(PeerAddress.init) ?? .uncounted
    }

    /// `192.0.2.1`, `2001:db8:0:1::/64`, or `local` for what is not counted.
    package var description: String {
        switch word >> 32 {
        case 0 where word == 0: "local"
        case 1: (0..<4).map { "\(word >> (24 - 8 * $0) & 255)" }.joined(separator: ".")
        case 2 where word == PeerAddress.loopback: "::/64"
        default: (0..<4).map { String(word >> (48 - 16 * $0) & 0xFFFF, radix: 16) }.joined(separator: ":") + "::/64"
        }
    }
}

extension InternetAddress {
    /// The address that `accept` gave; nil for a Unix socket.
    init?(_ storage: sockaddr_storage) {
        let address: InternetAddress? = withUnsafeBytes(of: storage) {
            switch Int32(storage.ss_family) {
            case AF_INET:
                InternetAddress(v4: UInt32(bigEndian: $0.loadUnaligned(as: sockaddr_in.self).sin_addr.s_addr))
            case AF_INET6:
                withUnsafeBytes(of: $0.loadUnaligned(as: sockaddr_in6.self).sin6_addr) { bytes in
                    InternetAddress(
                        v6: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                        UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
                }
            default: nil
            }
        }
        guard let address else { return nil }
        self = address
    }
}
