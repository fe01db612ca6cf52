// Host names to addresses, off the loop: getaddrinfo blocks. One lookup is one short-lived thread; the client has at
// most one under way.

import Glibc
import Reactor

/// Looks up host names.
enum HostLookup {
    /// Addresses that are tried at most.
    static let addressLimit = 8

    /// Looks `host` up on a thread of its own and calls `done` there with the addresses, in the order to try them, or
    /// with the resolver's words about why there are none.
    static func start(
        _ host: String, port: UInt16,
        _ done: @escaping @Sendable (_ addresses: [SocketAddress], _ failure: String) -> Void
    ) {
        let job = Job {
            let (addresses, failure) = resolve(host, port)
            done(addresses, failure)
        }
        var thread = pthread_t()
        let raw = Unmanaged.passRetained(job).toOpaque()
        let status = pthread_create(
            &thread, nil,
            { raw in
                if let raw { Unmanaged<Job>.fromOpaque(raw).takeRetainedValue().body() }
                return nil
            }, raw)
        guard status == 0 else {
            Unmanaged<Job>.fromOpaque(raw).release()
            return done([], "no thread for the look-up (error \(status))")
        }
        pthread_detach(thread)
    }

    private final class Job: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    private static func resolve(_ host: String, _ port: UInt16) -> ([SocketAddress], String) {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, nil, &hints, &list)
        guard status == 0 else { return ([], "\(host): " + String(cString: gai_strerror(status))) }
        defer { freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var entry = list
        while let current = entry, addresses.count < addressLimit {
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let named = getnameinfo(
                current.pointee.ai_addr, current.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0,
                NI_NUMERICHOST)
            let numeric = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if named == 0, let address = SocketAddress(host: numeric, port: port) { addresses.append(address) }
            entry = current.pointee.ai_next
        }
        return (addresses, addresses.isEmpty ? "\(host) has no usable address" : "")
    }
}
