// Makes the close of a connection a reset: SO_LINGER with zero seconds. The reactor keeps descriptors to itself, so the
// socket is found by the port of its peer. Rare: once for each connection that a fault cuts.

import CLinux
import Glibc
import Reactor

enum Reset {
    private static let descriptorLimit: Int32 = 65_536

    /// The next close of `id` sends a reset.
    static func arm(_ id: ConnectionID, _ loop: Loop) {
        guard let peer = loop.peerAddress(id)?.port else { return }
        var misses = 0
        for descriptor in Int32(3)..<descriptorLimit {
            var address = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let status = withUnsafeMutableBytes(of: &address) {
                martlet_peer_address(descriptor, $0.baseAddress, &length)
            }
            if status != 0 {
                // Descriptors are handed out lowest first: a long run of closed ones is the end.
                misses = errno == EBADF ? misses + 1 : 0
                if misses > 256 { return }
                continue
            }
            misses = 0
            guard address.sin_family == sa_family_t(AF_INET), UInt16(bigEndian: address.sin_port) == peer else {
                continue
            }
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
            return
        }
    }
}
