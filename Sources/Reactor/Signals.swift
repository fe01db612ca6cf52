// Signals arrive as events of one loop (signalfd), so that no code runs in a signal handler.
// Called by executables before they start threads, then on the one loop that takes the signals.

import CLinux
import Glibc

/// Blocking signals for the whole process. Call on the main thread before any other thread starts: threads inherit it.
package enum Signals {
    /// Blocks `signals` everywhere and ignores SIGPIPE (a write to a closed socket then fails with EPIPE).
    package static func prepare(_ signals: [Int32]) {
        signal(SIGPIPE, SIG_IGN)
        var set = makeSet(signals)
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    static func makeSet(_ signals: [Int32]) -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for number in signals { sigaddset(&set, number) }
        return set
    }
}

extension Loop {
    /// Delivers `signals`, which `Signals.prepare` has blocked, to `body` on this loop.
    package func onSignals(_ signals: [Int32], _ body: @escaping (Int32) -> Void) throws(SystemError) {
        precondition(state.pointee.signalDescriptor < 0, "signals are set up once")
        var set = Signals.makeSet(signals)
        let descriptor = martlet_signalfd(&set)
        guard descriptor >= 0 else { throw SystemError("signalfd") }
        state.pointee.signalDescriptor = descriptor
        state.pointee.signalHandler = body
        let data = UInt64(LoopState.signalEvent)
        guard martlet_epoll_ctl(state.pointee.epoll, EPOLL_CTL_ADD, descriptor, EPOLLIN.rawValue, data) == 0
        else { throw SystemError("epoll_ctl") }
    }

    func readSignals() {
        var info = signalfd_siginfo()
        while read(state.pointee.signalDescriptor, &info, MemoryLayout<signalfd_siginfo>.size) > 0 {
            state.pointee.signalHandler?(Int32(clamping: info.ssi_signo))
        }
    }
}
