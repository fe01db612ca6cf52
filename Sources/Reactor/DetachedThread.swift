// Work that would block a loop and is rare: resolving a name, rendering a page. A thread for each; the caller bounds
// how many are under way.

import Glibc

/// One-off threads.
package enum DetachedThread {
    private final class Start {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Runs `body` on a thread of its own. If none can be made, `body` runs here: late is better than never.
    package static func run(_ body: @escaping @Sendable () -> Void) {
        let start = Unmanaged.passRetained(Start(body))
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { raw in
                if let raw { Unmanaged<Start>.fromOpaque(raw).takeRetainedValue().body() }
                return nil
            }, start.toOpaque())
        if status == 0 {
            pthread_detach(thread)
        } else {
            start.takeRetainedValue().body()
        }
    }
}
