// A plain TCP connection that sends whatever a test wants, good or bad, and waits with a deadline for what comes back.
// Blocking, on the test's thread; outside of every event loop.

import Glibc

/// A connected socket.
package final class RawSocket {
    /// The descriptor; -1 when closed.
    package private(set) var descriptor: Int32
    /// Received and not yet taken.
    package var buffer: ArraySlice<UInt8> { storage[offset...] }
    private var storage: [UInt8] = []
    /// How much of the storage has been taken.
    private var offset = 0
    /// How reading ended: 0 the peer's close, otherwise an errno; nil: not yet.
    package private(set) var end: Int32?

    /// Connects to a port of 127.0.0.1. `receiveBuffer` makes the kernel's buffer small, for readers that do not read.
    package init(port: UInt16, receiveBuffer: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw TestFailure("socket: errno \(errno)") }
        if var size = receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else {
            let code = errno
            Glibc.close(descriptor)
            descriptor = -1
            throw TestFailure("connect to port \(port): errno \(code)")
        }
    }

    deinit { close() }

    /// Closes with a FIN, or a reset when something unread is left.
    package func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    /// Closes with a reset.
    package func reset() {
        var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        close()
    }

    /// Says that nothing more will be sent.
    package func shutdownWrite() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Sends everything, waiting while the peer takes nothing. False when the peer has closed.
    @discardableResult
    package func send(_ bytes: some Collection<UInt8>, _ deadline: Deadline = Deadline()) throws -> Bool {
        let all = Array(bytes)
        var sent = 0
        while sent < all.count {
            let count = try sendSome(all[sent...])
            if count < 0 { return false }
            if count == 0, !isReady(Int16(POLLOUT), deadline) { throw TestFailure("the peer takes nothing") }
            sent += count
        }
        return true
    }

    /// Sends text.
    @discardableResult
    package func send(_ text: String, _ deadline: Deadline = Deadline()) throws -> Bool {
        try send(Array(text.utf8), deadline)
    }

    /// Sends what fits now; 0 when nothing does, -1 when the peer has closed.
    package func sendSome(_ bytes: ArraySlice<UInt8>) throws -> Int {
        let count = bytes.withUnsafeBytes {
            Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        }
        if count >= 0 { return count }
        switch errno {
        case EAGAIN, EINTR: return 0
        case EPIPE, ECONNRESET: return -1
        default: throw TestFailure("send: errno \(errno)")
        }
    }

    /// Takes what has come, waiting for it if need be; false when nothing comes any more or the deadline has passed.
    @discardableResult
    package func receive(_ deadline: Deadline = Deadline()) -> Bool {
        guard end == nil, isReady(Int16(POLLIN), deadline) else { return false }
        return poll()
    }

    /// Takes what has come, without waiting; whether something has.
    @discardableResult
    package func poll(most: Int = 65_536) -> Bool {
        guard end == nil else { return false }
        if offset == storage.count {
            storage.removeAll(keepingCapacity: true)
            offset = 0
        }
        let before = storage.count
        let chunk = [UInt8](unsafeUninitializedCapacity: most) { target, count in
            let received = recv(descriptor, target.baseAddress, most, Int32(MSG_DONTWAIT))
            if received == 0 { end = 0 }
            if received < 0, errno != EAGAIN, errno != EINTR { end = errno }
            count = max(0, received)
        }
        storage += chunk
        return storage.count > before
    }

    /// Removes the first bytes of what was received.
    package func take(_ count: Int) -> [UInt8] {
        let taken = Array(buffer.prefix(count))
        offset += taken.count
        return taken
    }

    /// Waits for the peer's end of the connection; false when it does not come. What comes before it stays to be taken.
    package func awaitEnd(_ deadline: Deadline = Deadline()) -> Bool {
        while end == nil, !deadline.hasPassed { receive(deadline) }
        return end != nil
    }

    /// Whether the socket becomes ready before the deadline passes.
    private func isReady(_ events: Int16, _ deadline: Deadline) -> Bool {
        var entry = pollfd(fd: descriptor, events: events, revents: 0)
        while Glibc.poll(&entry, 1, deadline.left) < 0, errno == EINTR {}
        return entry.revents != 0
    }
}

/// Ports for tests that cannot let the server choose.
package enum FreePort {
    /// A port of 127.0.0.1 that nobody listens on at the moment.
    package static func find() throws -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
            }
        }
        guard status == 0 else { throw TestFailure("bind: errno \(errno)") }
        return UInt16(bigEndian: address.sin_port)
    }
}
