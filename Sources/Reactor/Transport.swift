// How a connection's bytes travel: the one place that asks what kind of transport it has. Nobody above the loop knows.
// A plain socket is the fast path; the in-memory pipe serves tests and simulations; TLS joins here.

import Bytes
import CLinux
import Glibc

/// Result of one read or write on a transport.
enum TransferResult {
    /// That many bytes moved.
    case moved(Int)
    /// Nothing now; an event will tell when.
    case wouldBlock
    /// The peer closed its side (reads only).
    case end
    /// The call failed with this errno.
    case failed(Int32)
}

/// A socket, one end of an in-memory pipe, or nothing (a free slot).
struct Transport: ~Copyable {
    /// The socket, or -1.
    var descriptor: Int32 = -1
    var pipe: MemoryPipe?

    /// Most blocks that one sendmsg takes.
    static let vectorLimit = 64

    func read(into buffer: UnsafeMutableRawBufferPointer) -> TransferResult {
        if descriptor < 0 { return readPipe(into: buffer) }
        while true {
            let count = recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
            if count > 0 { return .moved(count) }
            if count == 0 { return .end }
            let code = errno
            if code == EAGAIN { return .wouldBlock }
            if code != EINTR { return .failed(code) }
        }
    }

    /// Sends as much of `output` as the transport takes in one call.
    func write(_ output: borrowing OutputQueue, vectors: UnsafeMutablePointer<iovec>) -> TransferResult {
        if descriptor < 0 { return writePipe(output.unsent(0)) }
        let frames = min(output.frameCount, Transport.vectorLimit)
        while true {
            var count: Int
            if frames == 1 {
                let bytes = output.unsent(0)
                count = martlet_send(descriptor, bytes.baseAddress, bytes.count)
            } else {
                for index in 0..<frames {
                    let bytes = output.unsent(index)
                    vectors[index] = iovec(
                        iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
                }
                // writev has no MSG_NOSIGNAL, and a library must not depend on its process ignoring SIGPIPE.
                var message = msghdr()
                message.msg_iov = vectors
                message.msg_iovlen = frames
                count = sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            if count >= 0 { return .moved(count) }
            let code = errno
            if code == EAGAIN { return .wouldBlock }
            if code != EINTR { return .failed(code) }
        }
    }

    private func readPipe(into buffer: UnsafeMutableRawBufferPointer) -> TransferResult {
        guard let pipe else { return .end }
        let count = min(buffer.count, pipe.inbound.count)
        guard count > 0 else { return pipe.peerClosed ? .end : .wouldBlock }
        buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: pipe.inbound.bytes[..<count]))
        pipe.inbound.removeFirst(count)
        return .moved(count)
    }

    private func writePipe(_ bytes: UnsafeRawBufferPointer) -> TransferResult {
        guard let other = pipe?.other else { return .failed(EPIPE) }
        if bytes.isEmpty { return .moved(0) }
        let count = min(bytes.count, other.space)
        guard count > 0 else { return .wouldBlock }
        other.inbound.append(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        return .moved(count)
    }

    /// Closes a socket with a reset: what waits in either direction is thrown away.
    static func reset(_ descriptor: Int32) {
        var now = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
        close(descriptor)
    }

    /// Gives the descriptor back; the slot is free afterwards. With `resets` the kernel throws away what the peer has
    /// not taken; otherwise it goes on offering it for minutes, which costs megabytes for each peer that has gone
    /// silent.
    mutating func dispose(resets: Bool = false) {
        if descriptor >= 0 {
            if resets { Transport.reset(descriptor) } else { close(descriptor) }
        }
        descriptor = -1
        pipe?.other?.peerClosed = true
        pipe?.other = nil
        pipe = nil
    }
}
