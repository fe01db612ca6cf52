// What a loop owns, in one struct behind a pointer (see Loop.swift for why).
// Touched on its loop only, except before the loop runs and after it has ended.

import Bytes
import CLinux
import Glibc

struct LoopState: ~Copyable {
    static let eventLimit: Int32 = 512
    static let readBufferSize = 65_536
    // Event data with generation 0 names something of the loop itself.
    static let mailboxEvent: UInt32 = 0
    static let signalEvent: UInt32 = 1
    static let firstListenerEvent: UInt32 = 2

    let epoll: Int32
    let events: UnsafeMutablePointer<epoll_event>
    let readBuffer: UnsafeMutableRawBufferPointer
    let vectors: UnsafeMutablePointer<iovec>
    var now: MonotonicTime

    var connections = Slab<Connection>()
    var slots = SlotAllocator()
    var pool = FramePool()
    var wheel: TimerWheel
    var fired: [FiredTimer] = []
    var closures: [TimerToken: () -> Void] = [:]

    var handlers: [any ConnectionHandler] = []
    /// Who decides on newcomers, by kind of connection as `handlers`.
    var gates: [(any AcceptGate)?] = []
    var hooks: [any LoopHook] = []
    var letterHandler: (any LetterHandler)?
    var signalHandler: ((Int32) -> Void)?
    var listeners: [Listener] = []

    /// Slots with output to flush at the end of this iteration.
    var dirty: [ConnectionID] = []
    /// Connections that stopped reading at their budget: bytes may wait without another event.
    var carried: [ConnectionID] = []
    var carriedBefore: [ConnectionID] = []
    /// Connections to free at the end of this iteration.
    var doomed: [ConnectionID] = []
    /// Connections whose output waits for the socket; looked at once a second.
    var watched: [ConnectionID] = []

    var signalDescriptor: Int32 = -1
    /// An open descriptor that is given up for a moment when the process has no more (see Listener.swift).
    var reserve: Int32
    var mailRang = false
    /// Letters to other loops wake them at the end of this part of the iteration.
    var isGathering = false
    var toWake: [Loop] = []
    var hookPending = false
    var stopped = false
    private var thread: pthread_t?

    init(epoll: Int32, now: MonotonicTime) {
        self.epoll = epoll
        self.now = now
        events = .allocate(capacity: Int(LoopState.eventLimit))
        readBuffer = .allocate(byteCount: LoopState.readBufferSize, alignment: 64)
        vectors = .allocate(capacity: Transport.vectorLimit)
        wheel = TimerWheel(now: now)
        reserve = martlet_open_null()
    }

    deinit {
        for listener in listeners where !listener.isClosed { close(listener.descriptor) }
        if signalDescriptor >= 0 { close(signalDescriptor) }
        if reserve >= 0 { close(reserve) }
        close(epoll)
        events.deallocate()
        readBuffer.deallocate()
        vectors.deallocate()
    }

    mutating func enter() { if thread == nil { thread = pthread_self() } }

    var isCurrent: Bool {
        guard let thread else { return true }
        return pthread_equal(thread, pthread_self()) != 0
    }
}
