// One event loop: a thread, an epoll instance, its connections, timers, read buffer and output blocks.
//
// An iteration: wait → carried reads and events (bounded per connection) → timers → mailbox → hooks (fan-out) → flush
// every dirty connection once → free what was closed. Producing output and sending it are two moments, and nothing is
// freed inside a call chain. All state lies in a struct behind a pointer: a class's `var` would cost an exclusivity
// check per access. Everything but `send`, `execute` and `stop` asserts that it runs on the loop's thread.

package import Bytes
import CLinux
import Glibc
package import Telemetry

/// Bounds of a loop's work and memory.
package struct LoopLimits: Sendable {
    /// Letters that wait in the mailbox; more are refused.
    package var mailbox = 65_536
    /// Connections accepted per listener and iteration; the rest comes with the next one.
    package var acceptsPerIteration = 64
    /// Newcomers that a gate refuses per listener and iteration; the rest comes with the next one.
    package var refusalsPerIteration = 16
    /// Reads of one connection per iteration, 64 KiB each; the rest comes with the next one.
    package var readsPerIteration = 4
    /// Time without progress on a full socket after which the connection's handler may end it; otherwise it is closed
    /// as stalled.
    package var writeTimeout = Duration.seconds(10)
    /// Time that a half-closed connection gets to close its side.
    package var lingerTimeout = Duration.seconds(5)

    package init() {}
}

/// Work at the end of each iteration, before output is flushed: where room messages become output.
package protocol LoopHook: AnyObject {
    /// Produces output; true when there is more to do, so that the loop does not sleep.
    func beforeFlush() -> Bool
}

/// Takes the letters that are not closures.
package protocol LetterHandler: AnyObject {
    /// One letter, in the order of its sender.
    func receive(_ letter: Letter)
}

package final class Loop: @unchecked Sendable {
    // Sendable is sound: the mailbox is thread-safe, the rest is confined to the loop's thread.
    let state: UnsafeMutablePointer<LoopState>
    let mailbox: Mailbox
    /// The loop's number within its group.
    package let index: Int
    /// The loop's share of the metrics.
    package let metrics: MetricShard
    /// The loop's bounds.
    package let limits: LoopLimits
    let clock: () -> MonotonicTime

    /// Makes a loop that does not run yet. `clock` is replaced by tests.
    package init(
        index: Int = 0, limits: LoopLimits = LoopLimits(), metrics: MetricShard,
        clock: @escaping () -> MonotonicTime = { MonotonicTime.now() }
    ) throws(SystemError) {
        let epoll = martlet_epoll_create()
        guard epoll >= 0 else { throw SystemError("epoll_create1") }
        do {
            mailbox = try Mailbox(limit: limits.mailbox)
        } catch {
            Glibc.close(epoll)
            throw error
        }
        self.index = index
        self.limits = limits
        self.metrics = metrics
        self.clock = clock
        state = .allocate(capacity: 1)
        state.initialize(to: LoopState(epoll: epoll, now: clock()))
        let wake = UInt64(LoopState.mailboxEvent)
        guard
            martlet_epoll_ctl(epoll, EPOLL_CTL_ADD, mailbox.wakeDescriptor, EPOLLIN.rawValue | EPOLLET.rawValue, wake)
                == 0
        else { throw SystemError("epoll_ctl") }
    }

    deinit {
        freeConnections()
        state.deinitialize(count: 1)
        state.deallocate()
    }

    /// The moment at which this iteration's events were taken.
    package var now: MonotonicTime { state.pointee.now }

    /// Number of connections, the ones being closed included.
    package var connectionCount: Int { state.pointee.slots.used }

    /// Asserts (in debug builds) that the caller is on the loop's thread.
    package func assertOnLoop() { assert(state.pointee.isCurrent, "this may only run on its loop") }

    // MARK: From any thread

    /// Puts a letter into the mailbox. False when the mailbox is full and the letter is not urgent: then nothing
    /// happened, and repairing that is the sender's business. Any thread.
    @discardableResult
    package func send(_ letter: Letter, urgent: Bool = false) -> Bool { mailbox.send(letter, urgent: urgent) }

    /// Runs `body` on the loop, after what was sent before. Any thread.
    package func execute(_ body: @escaping @Sendable () -> Void) {
        _ = mailbox.send(Letter(kind: 0, object: Work(body)), urgent: true)
    }

    /// Ends `run` after the current iteration. Any thread.
    package func stop() { execute { self.state.pointee.stopped = true } }

    /// Puts a letter into another loop's mailbox, from this loop. What an iteration brings for a loop wakes it once,
    /// when events, timers and mail are done: so it finds all of it together, and a burst stays one batch and one
    /// system call per member on the other side, too. False as `send` says.
    package func post(_ letter: Letter, to target: Loop, urgent: Bool) -> Bool {
        guard state.pointee.isGathering else { return target.send(letter, urgent: urgent) }
        guard target.mailbox.send(letter, urgent: urgent, wakes: false) else { return false }
        if !state.pointee.toWake.contains(where: { $0 === target }) { state.pointee.toWake.append(target) }
        return true
    }

    private func wakeOthers() {
        state.pointee.isGathering = false
        for target in state.pointee.toWake { target.mailbox.wake() }
        state.pointee.toWake.removeAll(keepingCapacity: true)
    }

    // MARK: Running

    /// Runs iterations until `stop`. The calling thread becomes the loop's.
    package func run() {
        while !state.pointee.stopped { turn() }
        closeAll()
    }

    /// One iteration. With `wait` false it does not sleep (tests).
    package func turn(wait: Bool = true) {
        state.pointee.enter()
        let count = poll(wait: wait)
        let started = clock()
        state.pointee.now = started
        state.pointee.isGathering = true
        runCarried()
        for index in 0..<count { dispatch(index) }
        fireTimers()
        if state.pointee.mailRang || !mailbox.isEmpty { readMail() }
        wakeOthers()
        var more = false
        for hook in state.pointee.hooks where hook.beforeFlush() { more = true }
        state.pointee.hookPending = more
        flushDirty()
        reap()
        let spent = clock().since(started)
        metrics.observe(.loopIteration, spent)
    }

    /// Whether something is left to do without an event. Output is among it, since `closed` is called after the flush
    /// and may write to other connections.
    var hasWork: Bool {
        !state.pointee.carried.isEmpty || state.pointee.hookPending || !mailbox.isEmpty
            || !state.pointee.doomed.isEmpty || !state.pointee.dirty.isEmpty
    }

    private func poll(wait: Bool) -> Int {
        var timeout: Int32 = 0
        if wait, !hasWork {
            timeout = 1000
            if let wake = state.pointee.wheel.nextWake() {
                let until = wake.since(clock()).wholeNanoseconds
                timeout = Int32(clamping: min(1000, max(0, (until + 999_999) / 1_000_000)))
            }
        }
        var count = epoll_wait(state.pointee.epoll, state.pointee.events, LoopState.eventLimit, timeout)
        // A process that was stopped wakes up here without an event, although much may wait. Read first what has come:
        // the deadlines that follow would take everybody for silent, peers and Redis alike.
        while count < 0, errno == EINTR {
            count = epoll_wait(state.pointee.epoll, state.pointee.events, LoopState.eventLimit, 0)
        }
        return Int(max(0, count))
    }

    private func dispatch(_ index: Int) {
        let data = martlet_event_data(state.pointee.events, Int32(index))
        let bits = martlet_event_bits(state.pointee.events, Int32(index))
        let id = ConnectionID(word: data)
        if id.generation == 0 {
            dispatchInternal(id.slot)
            return
        }
        let connection = state.pointee.connections[id.slot]
        // A stale event: the descriptor was closed and its slot recycled since the kernel queued it.
        guard connection.pointee.generation == id.generation, connection.pointee.isOpen else { return }
        if connection.pointee.flags.contains(.connecting) {
            finishConnect(id, connection)
            guard connection.pointee.isOpen, !connection.pointee.flags.contains(.connecting) else { return }
        }
        if bits & EPOLLOUT.rawValue != 0, connection.pointee.flags.contains(.blocked) {
            connection.pointee.flags.remove(.blocked)
            flush(id.slot, connection)
        }
        if bits & (EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 {
            connection.pointee.flags.insert(.readToEnd)
        }
        if bits & ~EPOLLOUT.rawValue != 0, connection.pointee.isOpen { readFrom(id, connection) }
    }

    private func dispatchInternal(_ slot: UInt32) {
        if slot == LoopState.mailboxEvent {
            mailbox.acknowledgeWake()
            state.pointee.mailRang = true
        } else if slot == LoopState.signalEvent {
            readSignals()
        } else {
            acceptFrom(Int(slot - LoopState.firstListenerEvent))
        }
    }

    private func readMail() {
        state.pointee.mailRang = false
        mailbox.drain { letter in
            if letter.kind == 0 {
                (letter.object as? Work)?.run()
            } else {
                state.pointee.letterHandler?.receive(letter)
            }
        }
    }

    private func runCarried() {
        guard !state.pointee.carried.isEmpty else { return }
        swap(&state.pointee.carried, &state.pointee.carriedBefore)
        for index in 0..<state.pointee.carriedBefore.count {
            let id = state.pointee.carriedBefore[index]
            let connection = state.pointee.connections[id.slot]
            guard connection.pointee.generation == id.generation else { continue }
            connection.pointee.flags.remove(.carried)
            if connection.pointee.isOpen { readFrom(id, connection) }
        }
        state.pointee.carriedBefore.removeAll(keepingCapacity: true)
    }

    // MARK: Set-up (on the loop, or before it runs)

    /// Registers a kind of connection; at most 255.
    package func register(_ handler: any ConnectionHandler) -> UInt8 {
        state.pointee.handlers.append(handler)
        state.pointee.gates.append(nil)
        precondition(state.pointee.handlers.count <= 255)
        return UInt8(state.pointee.handlers.count - 1)
    }

    /// Adds work to the end of each iteration.
    package func addHook(_ hook: any LoopHook) { state.pointee.hooks.append(hook) }

    /// Sets who takes the letters.
    package func setLetterHandler(_ handler: any LetterHandler) { state.pointee.letterHandler = handler }

    /// Lets go of handlers, hooks and letters, which refer back to the loop. After `run` has ended.
    package func dismantle() {
        state.pointee.handlers = []
        state.pointee.gates = []
        state.pointee.hooks = []
        state.pointee.letterHandler = nil
        state.pointee.signalHandler = nil
        state.pointee.closures = [:]
        // Letters that came too late, a second `stop` for one, hold the loop that holds them.
        mailbox.drain { _ in }
    }
}
