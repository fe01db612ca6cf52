// Outbound connections (Redis links, the client library, load tests) and the in-memory pipe.
// Called on the loop; a connection that is being established has its slot from the start, so it counts like any other.

import CLinux
import Glibc

extension Loop {
    /// Begins a connection to `address`, from `source` if given. Its handler hears `opened` when it is established, or
    /// `closed(.failed(errno))`. Throws when the call fails at once.
    package func connect(
        to address: SocketAddress, from source: SocketAddress? = nil, handler: UInt8
    ) throws(SystemError) -> ConnectionID {
        let descriptor = martlet_socket(address.family)
        guard descriptor >= 0 else { throw SystemError("socket") }
        if address.port != nil { martlet_set_option(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1) }
        if let source {
            // Leaves the choice of the port to connect(): many connections may share one source address.
            martlet_set_option(descriptor, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1)
            guard source.withAddress({ martlet_bind(descriptor, $0, $1) }) == 0 else {
                let error = SystemError("bind")
                Glibc.close(descriptor)
                throw error
            }
        }
        let status = address.withAddress { martlet_connect(descriptor, $0, $1) }
        guard status == 0 || errno == EINPROGRESS else {
            let error = SystemError("connect")
            Glibc.close(descriptor)
            throw error
        }
        guard let id = install(handler: handler, flags: .connecting, { $0.descriptor = descriptor }) else {
            let error = SystemError("epoll_ctl")
            Glibc.close(descriptor)
            throw error
        }
        return id
    }

    func finishConnect(_ id: ConnectionID, _ connection: UnsafeMutablePointer<Connection>) {
        let code = martlet_get_option(connection.pointee.transport.descriptor, SOL_SOCKET, SO_ERROR)
        if code == EINPROGRESS { return }
        guard code == 0, SocketAddress.peer(of: connection.pointee.transport.descriptor) != nil else {
            // An event without a peer and without an error: still under way.
            if code != 0 { close(id, .failed(code)) }
            return
        }
        connection.pointee.flags.remove(.connecting)
        state.pointee.handlers[Int(connection.pointee.handler)].opened(id)
        if !connection.pointee.output.isEmpty, connection.pointee.isOpen { flush(id.slot, connection) }
    }

    /// Joins two handlers by an in-memory pipe: `capacity` bytes wait in each direction at most, one write moves at
    /// most `writeLimit`. Both hear `opened` at once.
    package func makePipe(
        _ first: UInt8, _ second: UInt8, capacity: Int = 65_536, writeLimit: Int = .max
    ) -> (ConnectionID, ConnectionID) {
        let ends = (
            MemoryPipe(capacity: capacity, writeLimit: writeLimit),
            MemoryPipe(capacity: capacity, writeLimit: writeLimit)
        )
        ends.0.other = ends.1
        ends.1.other = ends.0
        guard let a = install(handler: first, { $0.pipe = ends.0 }),
            let b = install(handler: second, { $0.pipe = ends.1 })
        else { preconditionFailure("a pipe needs no descriptor, so the kernel cannot refuse it") }
        ends.0.owner = a
        ends.1.owner = b
        state.pointee.handlers[Int(first)].opened(a)
        state.pointee.handlers[Int(second)].opened(b)
        return (a, b)
    }

    /// The address of the connection's peer; nil once it is gone, or for a pipe.
    package func peerAddress(_ id: ConnectionID) -> SocketAddress? {
        guard let connection = find(id), connection.pointee.transport.descriptor >= 0 else { return nil }
        return SocketAddress.peer(of: connection.pointee.transport.descriptor)
    }
}
