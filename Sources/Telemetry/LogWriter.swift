// The only way from a logging call to a descriptor: a bounded queue and one writer thread. Whoever logs copies a line
// under a mutex that is never held during a write, so a full disk or a stopped pipe costs lines, never a loop's time.
//
// Bounded by `queueLimit` bytes waiting (and as much again being written). A line that does not fit is dropped and
// counted; the writer then says so in the log itself.

import Glibc
package import Logging
import Synchronization

/// Takes finished log lines from any thread and writes them to one descriptor.
package final class LogWriter: @unchecked Sendable {
    // Sendable is sound: mutable state is only touched under `mutex`, the counter is atomic.
    private let descriptor: Int32
    private let queueLimit: Int
    private let clock: @Sendable () -> Int64
    private let dropped = Atomic<UInt64>(0)
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let filled: UnsafeMutablePointer<pthread_cond_t>
    private let drained: UnsafeMutablePointer<pthread_cond_t>
    private var pending: [UInt8] = []
    private var writing = false
    private var stopping = false

    /// Form of the lines.
    package let style: LogStyle

    /// Bytes that may wait by default.
    package static let defaultQueueLimit = 1 << 20

    /// Starts the writer thread, which keeps this object until `stop`. `descriptor` stays the caller's; `clock` gives
    /// milliseconds since the Unix epoch.
    package init(
        descriptor: Int32, style: LogStyle, queueLimit: Int = LogWriter.defaultQueueLimit,
        clock: @escaping @Sendable () -> Int64 = LogWriter.systemMilliseconds
    ) {
        self.descriptor = descriptor
        self.style = style
        self.queueLimit = queueLimit
        self.clock = clock
        mutex = .allocate(capacity: 1)
        filled = .allocate(capacity: 1)
        drained = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        // Deadlines of flush run on the monotonic clock: a stepped wall clock must not prolong an exit.
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(filled, &attributes)
        pthread_cond_init(drained, &attributes)
        pthread_condattr_destroy(&attributes)
        startThread()
    }

    deinit {
        // The thread holds a reference, so it has ended.
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(filled)
        pthread_cond_destroy(drained)
        mutex.deallocate()
        filled.deallocate()
        drained.deallocate()
    }

    /// Lines dropped so far, because the queue was full or the descriptor failed.
    package var droppedLines: UInt64 { dropped.load(ordering: .relaxed) }

    /// Formats an event and queues it; never waits for the descriptor.
    package func log(
        _ level: Logger.Level, _ body: String, _ attributes: [(key: String, value: Logger.MetadataValue)] = []
    ) {
        submit(LogLine.make(style, milliseconds: clock(), level: level, body: body, attributes: attributes))
    }

    /// Waits until everything queued so far has been written, at most `timeout`; false when time ran out.
    @discardableResult
    package func flush(timeout: Duration) -> Bool {
        var deadline = Self.deadline(after: timeout)
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while !pending.isEmpty || writing {
            if pthread_cond_timedwait(drained, mutex, &deadline) == ETIMEDOUT { return false }
        }
        return true
    }

    /// Flushes, then ends the thread; later lines are dropped. False when the flush ran out of time.
    @discardableResult
    package func stop(timeout: Duration) -> Bool {
        let flushed = flush(timeout: timeout)
        pthread_mutex_lock(mutex)
        stopping = true
        pthread_cond_signal(filled)
        pthread_mutex_unlock(mutex)
        return flushed
    }

    /// Milliseconds since the Unix epoch by the system's clock.
    package static let systemMilliseconds: @Sendable () -> Int64 = {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
    }

    private func submit(_ line: [UInt8]) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        guard !stopping, pending.count + line.count <= queueLimit else {
            dropped.wrappingAdd(1, ordering: .relaxed)
            return
        }
        let wasEmpty = pending.isEmpty
        pending.append(contentsOf: line)
        if wasEmpty { pthread_cond_signal(filled) }
    }

    private static func deadline(after timeout: Duration) -> timespec {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        // A day is as good as forever here, and cannot overflow.
        let (seconds, attoseconds) = min(max(timeout, .zero), .seconds(86_400)).components
        var nanoseconds = Int64(now.tv_nsec) + attoseconds / 1_000_000_000
        var whole = Int64(now.tv_sec) + seconds
        if nanoseconds >= 1_000_000_000 {
            nanoseconds -= 1_000_000_000
            whole += 1
        }
        return timespec(tv_sec: Int(whole), tv_nsec: Int(nanoseconds))
    }
}

// The writer thread.
extension LogWriter {
    private func startThread() {
        // Signals belong to the loop that reads them from a signalfd: the new thread starts with all of them blocked.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self)
        let failure = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                LogWriter.nameThread("martlet-log")
                Unmanaged<LogWriter>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        guard failure == 0 else {
            // Without a thread the log is silent, but the gateway serves: every line counts as dropped.
            context.release()
            stopping = true
            return
        }
        pthread_detach(thread)
    }

    /// For `top -H`; the calls made for this are GNU extensions or variadic and do not import.
    private static func nameThread(_ name: StaticString) {
        let comm = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard comm >= 0 else { return }
        _ = Glibc.write(comm, name.utf8Start, name.utf8CodeUnitCount)
        close(comm)
    }

    private func run() {
        var batch: [UInt8] = []
        var reported: UInt64 = 0
        while takeBatch(into: &batch) {
            let lost = droppedLines
            if lost > reported {
                let attributes: [(key: String, value: Logger.MetadataValue)] = [
                    ("martlet.log.dropped", .stringConvertible(lost - reported))
                ]
                batch += LogLine.make(
                    style, milliseconds: clock(), level: .warning, body: "log lines were dropped",
                    attributes: attributes)
                reported = lost
            }
            write(batch)
        }
    }

    /// Swaps what waits into `batch`; false when the writer is to end.
    private func takeBatch(into batch: inout [UInt8]) -> Bool {
        // The memory of an unusual burst is not kept for ever.
        if batch.capacity > 65_536 { batch = [] } else { batch.removeAll(keepingCapacity: true) }
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        writing = false
        if pending.isEmpty { pthread_cond_broadcast(drained) }
        while pending.isEmpty {
            if stopping { return false }
            pthread_cond_wait(filled, mutex)
        }
        swap(&batch, &pending)
        writing = true
        return true
    }

    private func write(_ batch: [UInt8]) {
        batch.withUnsafeBytes { bytes in
            var written = 0
            while written < bytes.count {
                let result = Glibc.write(descriptor, bytes.baseAddress?.advanced(by: written), bytes.count - written)
                if result > 0 {
                    written += result
                } else if errno == EINTR {
                    continue
                } else if errno == EAGAIN {
                    var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    Glibc.poll(&poll, 1, 1000)
                } else {
                    // Disk full, pipe closed: this batch is lost, the next one is tried again.
                    let lines = bytes[written...].reduce(UInt64(0)) { $0 + ($1 == UInt8(ascii: "\n") ? 1 : 0) }
                    dropped.wrappingAdd(lines, ordering: .relaxed)
                    return
                }
            }
        }
    }
}
