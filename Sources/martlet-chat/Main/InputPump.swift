// Reads stdin on a thread of its own, since a read from a terminal or a pipe can last for ever, and hands each chunk to
// the loop. It reads on only when the loop has asked for more: what is typed or piped in waits in the kernel, not here.

import Glibc
import Reactor

/// The thread that reads stdin.
final class InputPump: Sendable {
    private let loop: Loop
    private let deliver: @Sendable ([UInt8]?) -> Void
    private let wanted = Semaphore()

    /// Starts reading when `more` is called for the first time. `deliver` is called on the loop with each chunk, and
    /// once with nil at the end of the input.
    init(_ loop: Loop, _ deliver: @escaping @Sendable ([UInt8]?) -> Void) throws(SystemError) {
        self.loop = loop
        self.deliver = deliver
        var thread = pthread_t()
        let raw = Unmanaged.passRetained(self).toOpaque()
        let status = pthread_create(
            &thread, nil,
            { raw in
                if let raw { Unmanaged<InputPump>.fromOpaque(raw).takeRetainedValue().run() }
                return nil
            }, raw)
        guard status == 0 else {
            Unmanaged<InputPump>.fromOpaque(raw).release()
            throw SystemError("pthread_create", code: status)
        }
        pthread_detach(thread)
    }

    /// Asks for the next chunk.
    func more() { wanted.signal() }

    private func run() {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            wanted.wait()
            let count = buffer.withUnsafeMutableBytes { read(STDIN_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR {
                wanted.signal()
                continue
            }
            if count < 0, errno == EAGAIN {
                // A descriptor that somebody else has made non-blocking.
                var entry = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
                poll(&entry, 1, -1)
                wanted.signal()
                continue
            }
            let chunk = count > 0 ? Array(buffer[..<count]) : nil
            loop.execute { self.deliver(chunk) }
            if chunk == nil { return }
        }
    }
}

/// A POSIX semaphore.
private final class Semaphore: @unchecked Sendable {
    // Sendable is sound: sem_t is made for this; its memory never moves.
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { sem_init(semaphore, 0, 0) }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func signal() { sem_post(semaphore) }

    func wait() { while sem_wait(semaphore) != 0 && errno == EINTR {} }
}
