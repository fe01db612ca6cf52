// Names to addresses, off the loops: getaddrinfo may block for as long as a name server likes. One short-lived thread
// per look-up; a link has at most one under way. Called on the loop, answers on the loop.

import CLinux
import Glibc
package import Reactor

/// Where a Redis is.
package enum RedisEndpoint: Sendable, Equatable {
    /// A host's name or address (IPv6 without brackets) and a port.
    case tcp(host: String, port: UInt16)
    /// The path of a Unix socket.
    case unix(path: String)

    /// The address, if no name has to be looked up; nil for names and for paths that no socket can have.
    package var address: SocketAddress? {
        switch self {
        case .tcp(let host, let port): SocketAddress(host: host, port: port)
        case .unix(let path): SocketAddress(unixPath: path)
        }
    }
}

/// Looks names up.
enum HostResolver {
    private final class Job {
        let host: String
        let port: UInt16
        let loop: Loop
        let done: @Sendable ([SocketAddress]) -> Void

        init(_ host: String, _ port: UInt16, _ loop: Loop, _ done: @escaping @Sendable ([SocketAddress]) -> Void) {
            self.host = host
            self.port = port
            self.loop = loop
            self.done = done
        }
    }

    /// Looks `host` up and calls `done` on `loop` with its addresses, none if there are none.
    static func resolve(
        _ host: String, port: UInt16, on loop: Loop, _ done: @escaping @Sendable ([SocketAddress]) -> Void
    ) {
        let job = Unmanaged.passRetained(Job(host, port, loop, done))
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { raw in
                guard let raw else { return nil }
                let job = Unmanaged<Job>.fromOpaque(raw).takeRetainedValue()
                martlet_name_thread("resolver")
                let addresses = HostResolver.addresses(of: job.host, port: job.port)
                let done = job.done
                job.loop.execute { done(addresses) }
                return nil
            }, job.toOpaque())
        guard status == 0 else {
            job.release()
            return loop.execute { done([]) }
        }
        pthread_detach(thread)
    }

    /// The addresses of `host` in the system's order of preference. Blocks.
    static func addresses(of host: String, port: UInt16) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &first) == 0 else { return [] }
        defer { freeaddrinfo(first) }
        var addresses: [SocketAddress] = []
        var next = first
        while let entry = next {
            next = entry.pointee.ai_next
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let status = getnameinfo(
                entry.pointee.ai_addr, entry.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
            let shown = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            guard status == 0, let address = SocketAddress(host: String(decoding: shown, as: UTF8.self), port: port)
            else { continue }
            addresses.append(address)
        }
        return addresses
    }
}
