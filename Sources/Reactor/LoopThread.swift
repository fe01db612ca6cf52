// Threads for loops. Plain pthreads: a loop never meets Swift concurrency's executors.
// Made and joined by the gateway, one thread a loop; names are cut to what the kernel keeps (15 bytes).

import CLinux
import Glibc

/// A thread that runs one loop until the loop is stopped.
package final class LoopThread {
    private var thread = pthread_t()

    /// Starts a thread that runs `loop`.
    package init(_ loop: Loop, name: String) throws(SystemError) {
        let start = Unmanaged.passRetained(Start(loop: loop, name: name))
        let status = pthread_create(
            &thread, nil,
            { raw in
                guard let raw else { return nil }
                let start = Unmanaged<Start>.fromOpaque(raw).takeRetainedValue()
                martlet_name_thread(start.name)
                start.loop.run()
                return nil
            }, start.toOpaque())
        guard status == 0 else {
            start.release()
            throw SystemError("pthread_create", code: status)
        }
    }

    /// Waits until the loop has ended. Call once.
    package func join() { pthread_join(thread, nil) }

    private final class Start {
        let loop: Loop
        let name: String
        init(loop: Loop, name: String) {
            self.loop = loop
            self.name = name
        }
    }
}
