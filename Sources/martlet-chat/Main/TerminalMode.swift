// Takes the terminal over and gives it back, whatever happens: normal end, error, signal, crash, Ctrl-Z. The one place
// that changes termios. Main thread only, but for the crash handlers.
//
// A crash handler may use only what POSIX calls async-signal-safe (signal-safety(7)): write, tcsetattr, sigaction,
// raise. Therefore everything it needs lies ready in memory that is allocated once and never freed.

import ChatTerminal
import Glibc

/// The terminal in full-screen mode.
enum TerminalMode {
    /// What the crash handlers need.
    private struct Saved {
        var attributes = termios()
        var isActive = false
    }

    // Sound: written on the main thread only, while no handler of another thread can run that would write; a handler
    // that reads it half-way restores a terminal that is being changed anyway.
    nonisolated(unsafe) private static let saved: UnsafeMutablePointer<Saved> = {
        let memory = UnsafeMutablePointer<Saved>.allocate(capacity: 1)
        memory.initialize(to: Saved())
        return memory
    }()

    private static let crashes = [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGQUIT, SIGSYS]

    /// Enters raw mode and the alternate screen; false when the terminal does not let us. Also after a suspension.
    static func enter() -> Bool {
        var attributes = termios()
        guard tcgetattr(STDIN_FILENO, &attributes) == 0 else { return false }
        if !saved.pointee.isActive { saved.pointee.attributes = attributes }
        cfmakeraw(&attributes)
        guard tcsetattr(STDIN_FILENO, TCSADRAIN, &attributes) == 0 else { return false }
        saved.pointee.isActive = true
        write(ScreenRenderer.enter)
        return true
    }

    /// Gives the terminal back. Does nothing if it is not ours.
    static func leave() { restore() }

    /// Makes sure that the terminal is given back when the process ends in any way that can be caught.
    static func guardExits() {
        _ = saved.pointee.isActive  // touched here, so that no handler runs the lazy initialiser
        atexit { TerminalMode.restore() }
        for number in crashes {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { number in
                TerminalMode.restore()
                // SA_RESETHAND has put the default back: now the process ends as it would have.
                raise(number)
            }
            action.sa_flags = Int32(bitPattern: SA_RESETHAND) | SA_NODEFER
            sigaction(number, &action, nil)
        }
    }

    /// Stops the process as Ctrl-Z does, and returns when it goes on.
    static func stopProcess() {
        // SIGTSTP is blocked for signalfd; here it has to do what it always does.
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTSTP)
        kill(getpid(), SIGTSTP)
        pthread_sigmask(SIG_UNBLOCK, &set, nil)
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    private static func restore() {
        guard saved.pointee.isActive else { return }
        saved.pointee.isActive = false
        write(ScreenRenderer.leave)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &saved.pointee.attributes)
    }

    private static func write(_ sequence: StaticString) {
        var (place, left) = (UnsafeRawPointer(sequence.utf8Start), sequence.utf8CodeUnitCount)
        while left > 0 {
            let count = Glibc.write(STDOUT_FILENO, place, left)
            if count > 0 {
                place += count
                left -= count
            } else if errno != EINTR {
                return
            }
        }
    }
}
