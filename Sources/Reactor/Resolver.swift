// Host names to addresses, off the loops: getaddrinfo blocks for as long as a name server likes. Called on a loop,
// answers on that loop; each look-up is one short-lived thread, and its caller has at most one under way.

import CLinux
import Glibc

/// Looks host names up.
package enum Resolver {
    /// Addresses of one name that are told at most.
    package static let addressLimit = 8

    /// What a look-up found.
    package enum Answer: Sendable {
        /// In the system's order of preference, at least one.
        case found([SocketAddress])
        /// Why there are none, in the resolver's words.
        case failed(String)
    }

    /// Looks `host` up and calls `done` on `loop`.
    package static func resolve(
        _ host: String, port: UInt16, on loop: Loop, _ done: @escaping @Sendable (Answer) -> Void
    ) {
        DetachedThread.run {
            let answer = addresses(of: host, port: port)
            loop.execute { done(answer) }
        }
    }

    /// Looks `host` up and waits for the answer.
    static func addresses(of host: String, port: UInt16) -> Answer {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, nil, &hints, &list)
        guard status == 0 else { return .failed("\(host): " + String(cString: gai_strerror(status))) }
        defer { freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var entry = list
        while let current = entry, addresses.count < addressLimit {
            entry = current.pointee.ai_next
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let named = getnameinfo(
                current.pointee.ai_addr, current.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0,
                NI_NUMERICHOST)
            let numeric = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if named == 0, let address = SocketAddress(host: numeric, port: port) { addresses.append(address) }
        }
        return addresses.isEmpty ? .failed("\(host) has no usable address") : .found(addresses)
    }
}
