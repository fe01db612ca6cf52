// Listening sockets and accepting. Each loop has its own socket on a shared port (SO_REUSEPORT), level-triggered, with
// a budget per iteration. Options that every connection needs (TCP_NODELAY, TCP_USER_TIMEOUT) are set on the listener:
// Linux hands them down, which saves two calls per connection.
//
// Out of descriptors, `accept` fails while the connection stays in the backlog, and a level-triggered loop would spin.
// So each loop keeps one descriptor in reserve: it is given up, the connection accepted and closed at once (the client
// learns that it is refused), and taken again. If even that fails the listener rests for a while.
//
// Whom the gate of a listener's kind refuses (AcceptGate.swift) is reset: a reset costs one packet and leaves nothing
// behind in the kernel, where an orderly close would keep an orphan and a TIME_WAIT entry for each refusal of a flood.

import Bytes
import CLinux
import Glibc
import Telemetry

/// One listening socket of a loop.
package struct Listener {
    let descriptor: Int32
    let handler: UInt8
    var isClosed = false
    /// The address it is bound to, with the real port.
    package let address: SocketAddress

    /// Connections that wait to be accepted, at most (the system's `somaxconn` may be lower).
    static let backlog: Int32 = 4096
    /// How long a listener rests when nothing can be accepted.
    static let rest = Duration.milliseconds(100)

    /// Binds and listens on `address`. With `shared`, other sockets of this user may be bound to the same port.
    package static func bind(
        _ address: SocketAddress, shared: Bool, handler: UInt8, userTimeout: Duration = .seconds(30)
    ) throws(SystemError) -> Listener {
        let descriptor = martlet_socket(address.family)
        guard descriptor >= 0 else { throw SystemError("socket") }
        func fail(_ call: String) -> SystemError {
            let error = SystemError(call)
            close(descriptor)
            return error
        }
        martlet_set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        if shared, martlet_set_option(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) != 0 { throw fail("setsockopt") }
        if address.port != nil {
            martlet_set_option(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
            let milliseconds = Int32(clamping: userTimeout.wholeMilliseconds)
            martlet_set_option(descriptor, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, milliseconds)
        }
        guard address.withAddress({ martlet_bind(descriptor, $0, $1) }) == 0 else { throw fail("bind") }
        guard listen(descriptor, Listener.backlog) == 0 else { throw fail("listen") }
        guard let bound = SocketAddress.local(of: descriptor) else { throw fail("getsockname") }
        return Listener(descriptor: descriptor, handler: handler, address: bound)
    }

    /// Closes a listener that was not given to a loop.
    package func discard() { close(descriptor) }
}

/// Holds an address for the life of the process. SO_REUSEPORT would let a second process of the same user share the
/// port without a word and take half of the connections; the claim, an abstract Unix socket named after the address,
/// turns that mistake into "address in use".
package final class PortClaim: Sendable {
    private let descriptor: Int32

    /// Claims `address`; throws EADDRINUSE when another process holds it.
    package init(_ address: SocketAddress) throws(SystemError) {
        // A Unix path needs no claim: the kernel refuses the second bind.
        guard address.port != nil else {
            descriptor = -1
            return
        }
        // Assigned last: once every property has its value, a throwing init runs deinit, which would close it again and
        // hit whoever got the number meanwhile.
        let claim = martlet_socket(AF_UNIX)
        guard claim >= 0 else { throw SystemError("socket") }
        guard let name = SocketAddress(unixPath: "\0martlet-listener-\(address)") else {
            close(claim)
            throw SystemError("bind", code: EINVAL)
        }
        if name.withAddress({ martlet_bind(claim, $0, $1) }) != 0 {
            let error = SystemError("bind")
            close(claim)
            throw error
        }
        descriptor = claim
    }

    deinit { if descriptor >= 0 { close(descriptor) } }
}

extension Loop {
    /// Starts accepting on `listener`.
    package func add(_ listener: Listener) throws(SystemError) {
        let number = UInt32(state.pointee.listeners.count)
        state.pointee.listeners.append(listener)
        let data = UInt64(LoopState.firstListenerEvent + number)
        guard martlet_epoll_ctl(state.pointee.epoll, EPOLL_CTL_ADD, listener.descriptor, EPOLLIN.rawValue, data) == 0
        else { throw SystemError("epoll_ctl") }
    }

    /// Accepts what already waits, then closes the listeners of one kind of connection: closing one resets what is in
    /// its queue.
    package func stopListening(handler: UInt8) {
        for index in state.pointee.listeners.indices where state.pointee.listeners[index].handler == handler {
            // What waits is bounded; a flood of newcomers must not keep a loop here.
            acceptFrom(index, budget: Int(Listener.backlog), refusals: Int(Listener.backlog))
            removeListener(index)
        }
    }

    func removeListener(_ index: Int) {
        let listener = state.pointee.listeners[index]
        guard !listener.isClosed else { return }
        martlet_epoll_ctl(state.pointee.epoll, EPOLL_CTL_DEL, listener.descriptor, 0, 0)
        state.pointee.listeners[index].isClosed = true
        Glibc.close(listener.descriptor)
    }

    func acceptFrom(_ index: Int) {
        acceptFrom(index, budget: limits.acceptsPerIteration, refusals: limits.refusalsPerIteration)
    }

    private func acceptFrom(_ index: Int, budget: Int, refusals: Int) {
        let listener = state.pointee.listeners[index]
        var left = budget
        // A flood that is refused must not hold up those who are there: it gets less of an iteration.
        var refusalsLeft = refusals
        // `opened` may stop listening, and the descriptor may belong to somebody else by now.
        while left > 0, !state.pointee.listeners[index].isClosed {
            left -= 1
            var address = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let descriptor = martlet_accept(listener.descriptor, &address, &length)
            if descriptor >= 0 {
                if welcome(descriptor, address, handler: listener.handler) { continue }
                refusalsLeft -= 1
                if refusalsLeft <= 0 { return }
                continue
            }
            let code = errno
            switch code {
            case EAGAIN: return
            case EINTR, ECONNABORTED:
                metrics.add(.acceptErrors(.aborted), 1)
            case EPROTO, EPERM, ENETDOWN, EHOSTUNREACH, ENETUNREACH, EOPNOTSUPP, ENOPROTOOPT:
                metrics.add(.acceptErrors(.other), 1)
            case EMFILE, ENFILE:
                metrics.add(.acceptErrors(code == EMFILE ? .processDescriptors : .systemDescriptors), 1)
                if !refuseWithReserve(listener) { return restListener(index) }
            default:
                // ENOBUFS, ENOMEM and whatever is new: the kernel needs a pause more than we need a connection.
                metrics.add(.acceptErrors(.memory), 1)
                return restListener(index)
            }
        }
    }

    /// Takes an accepted socket in, unless its gate refuses it; whether it did not.
    private func welcome(_ descriptor: Int32, _ address: sockaddr_storage, handler: UInt8) -> Bool {
        guard let gate = state.pointee.gates[Int(handler)] else {
            adopt(descriptor, handler: handler)
            return true
        }
        guard let peer = gate.admit(InternetAddress(address)) else {
            Transport.reset(descriptor)
            return false
        }
        if !adopt(descriptor, handler: handler, gatedFor: peer) { gate.left(peer) }
        return true
    }

    private func refuseWithReserve(_ listener: Listener) -> Bool {
        guard state.pointee.reserve >= 0 else {
            state.pointee.reserve = martlet_open_null()
            return false
        }
        Glibc.close(state.pointee.reserve)
        state.pointee.reserve = -1
        let descriptor = martlet_accept(listener.descriptor, nil, nil)
        if descriptor >= 0 {
            metrics.add(.connectionsRefused(.descriptors), 1)
            Transport.reset(descriptor)
        }
        state.pointee.reserve = martlet_open_null()
        return descriptor >= 0 && state.pointee.reserve >= 0
    }

    private func restListener(_ index: Int) {
        let listener = state.pointee.listeners[index]
        let data = UInt64(LoopState.firstListenerEvent + UInt32(index))
        martlet_epoll_ctl(state.pointee.epoll, EPOLL_CTL_MOD, listener.descriptor, 0, data)
        schedule(after: Listener.rest) { [unowned self] in
            guard !state.pointee.listeners[index].isClosed else { return }
            if state.pointee.reserve < 0 { state.pointee.reserve = martlet_open_null() }
            martlet_epoll_ctl(state.pointee.epoll, EPOLL_CTL_MOD, listener.descriptor, EPOLLIN.rawValue, data)
        }
    }

    /// Takes a connected socket into the slab and tells its handler; false when the kernel refuses to watch it.
    @discardableResult
    func adopt(_ descriptor: Int32, handler: UInt8, gatedFor peer: PeerAddress? = nil) -> Bool {
        let flags: Connection.Flags = peer == nil ? [] : .gated
        guard let id = install(handler: handler, flags: flags, { $0.descriptor = descriptor }) else {
            Glibc.close(descriptor)
            metrics.add(.acceptErrors(.other), 1)
            return false
        }
        state.pointee.connections[id.slot].pointee.peer = peer ?? .uncounted
        state.pointee.handlers[Int(handler)].opened(id)
        return true
    }

    /// Fills a slot and registers its descriptor; nil when the kernel refuses to watch it.
    func install(handler: UInt8, flags: Connection.Flags = [], _ setup: (inout Transport) -> Void) -> ConnectionID? {
        assertOnLoop()
        let slot = state.pointee.slots.take()
        state.pointee.connections.ensure(slot) { $0.initialize(to: Connection()) }
        let connection = state.pointee.connections[slot]
        setup(&connection.pointee.transport)
        connection.pointee.handler = handler
        connection.pointee.flags = flags
        let id = ConnectionID(slot: slot, generation: connection.pointee.generation)
        let descriptor = connection.pointee.transport.descriptor
        guard descriptor >= 0 else { return id }
        // Registered once, edge-triggered, for both directions: no further epoll_ctl under back-pressure.
        let bits = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue
        guard martlet_epoll_ctl(state.pointee.epoll, EPOLL_CTL_ADD, descriptor, bits, id.word) == 0 else {
            connection.pointee.transport.descriptor = -1
            state.pointee.slots.give(slot)
            return nil
        }
        return id
    }
}
