// Addresses of listeners and peers: IPv4, IPv6 and Unix paths. Parsing here is numeric only; names are resolved off the
// loops by `Resolver`.

import CLinux
import Glibc

/// An address that a socket binds or connects to.
package struct SocketAddress: Sendable, CustomStringConvertible {
    var storage: sockaddr_storage
    var length: socklen_t

    init(storage: sockaddr_storage, length: socklen_t) {
        self.storage = storage
        self.length = length
    }

    /// A numeric IPv4 or IPv6 address with a port; nil when `host` is not numeric.
    package init?(host: String, port: UInt16) {
        storage = sockaddr_storage()
        length = 0
        var v4 = sockaddr_in()
        var v6 = sockaddr_in6()
        if inet_pton(AF_INET, host, &v4.sin_addr) == 1 {
            v4.sin_family = sa_family_t(AF_INET)
            v4.sin_port = port.bigEndian
            length = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: v4, as: sockaddr_in.self) }
        } else if inet_pton(AF_INET6, host, &v6.sin6_addr) == 1 {
            v6.sin6_family = sa_family_t(AF_INET6)
            v6.sin6_port = port.bigEndian
            length = socklen_t(MemoryLayout<sockaddr_in6>.size)
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: v6, as: sockaddr_in6.self) }
        } else {
            return nil
        }
    }

    /// A Unix socket's path; nil when it is longer than the kernel allows (107 bytes) or empty.
    /// A leading NUL names the abstract namespace.
    package init?(unixPath path: String) {
        storage = sockaddr_storage()
        let bytes = Array(path.utf8)
        var address = sockaddr_un()
        guard !bytes.isEmpty, bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        // The kernel would end a path at a NUL inside it and so bind another file than the one that was named.
        guard bytes[0] == 0 || !bytes.contains(0) else { return nil }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let head = MemoryLayout.size(ofValue: address) - MemoryLayout.size(ofValue: address.sun_path)
        // An abstract name ends where the length says; a path ends with its NUL.
        length = socklen_t(head + bytes.count + (bytes[0] == 0 ? 0 : 1))
        withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: address, as: sockaddr_un.self) }
    }

    var family: Int32 { Int32(storage.ss_family) }

    /// The port; nil for Unix sockets.
    package var port: UInt16? {
        withUnsafeBytes(of: storage) {
            switch family {
            case AF_INET: UInt16(bigEndian: $0.loadUnaligned(as: sockaddr_in.self).sin_port)
            case AF_INET6: UInt16(bigEndian: $0.loadUnaligned(as: sockaddr_in6.self).sin6_port)
            default: nil
            }
        }
    }

    /// The address without the port, in its usual text form; an IPv4-mapped IPv6 address is shown as IPv4.
    package var host: String {
        withUnsafeBytes(of: storage) { bytes in
            var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
            switch family {
            case AF_INET:
                var address = bytes.loadUnaligned(as: sockaddr_in.self).sin_addr
                inet_ntop(AF_INET, &address, &text, socklen_t(text.count))
            case AF_INET6:
                var address = bytes.loadUnaligned(as: sockaddr_in6.self).sin6_addr
                inet_ntop(AF_INET6, &address, &text, socklen_t(text.count))
            default: return "unix"
            }
            let shown = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            return shown.hasPrefix("::ffff:") && shown.contains(".") ? String(shown.dropFirst(7)) : shown
        }
    }

    /// `host:port`, with brackets around IPv6.
    package var description: String {
        guard let port else { return host }
        return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Calls `body` with the address as the kernel wants it.
    func withAddress<Result>(_ body: (UnsafeRawPointer?, socklen_t) -> Result) -> Result {
        withUnsafeBytes(of: storage) { body($0.baseAddress, length) }
    }

    /// The local address of `descriptor`.
    static func local(of descriptor: Int32) -> SocketAddress? { ask(martlet_local_address, descriptor) }
    /// The address of the peer of `descriptor`.
    static func peer(of descriptor: Int32) -> SocketAddress? { ask(martlet_peer_address, descriptor) }

    private static func ask(
        _ call: (Int32, UnsafeMutableRawPointer?, UnsafeMutablePointer<socklen_t>) -> Int32, _ descriptor: Int32
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let status = withUnsafeMutableBytes(of: &storage) {
            call(descriptor, $0.baseAddress, &length)
        }
        return status == 0 ? SocketAddress(storage: storage, length: length) : nil
    }
}
