// Where a Redis is, before any name in it has been looked up. Made from the configuration once, then read by the links
// of all loops at each (re)connection.

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
