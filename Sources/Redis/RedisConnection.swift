// One connection to Redis on a loop: resolves, connects, waits and tries again as its supervisor says; hands bytes to
// its owner. It knows nothing of what is said; the owner feeds its link and tells when the login is done or the link
// broken.
//
// All of it runs on the loop. A connection that was given up is never heard of again: its id is no longer the current
// one. Bounded: one socket, one look-up and one scheduled wake-up at a time.

package import Bytes
package import Reactor

/// What the owner of a connection hears. Every call comes on the loop.
package protocol RedisConnectionOwner: AnyObject {
    /// The connection is established: say the login.
    func redisOpened(_ connection: RedisConnection)
    /// Bytes have come; gone after the call.
    func redisReceived(_ connection: RedisConnection, _ bytes: UnsafeRawBufferPointer)
    /// The established connection is lost; the next attempt comes by itself.
    func redisLost(_ connection: RedisConnection, _ fault: LinkFault)
    /// An attempt has failed; the next one comes by itself.
    func redisAttemptFailed(_ connection: RedisConnection, _ fault: LinkFault)
    /// Something changed after which the next deadline may be another.
    func redisDeadlineChanged()
}

/// A connection that comes back. Loop-confined.
package final class RedisConnection: ConnectionHandler, @unchecked Sendable {
    // Sendable is sound: it crosses threads only as a reference inside a look-up's answer, which runs on the loop.
    private let loop: Loop
    private let endpoint: RedisEndpoint
    private var kind: UInt8 = 0
    private var supervisor: LinkSupervisor
    private var current: ConnectionID?
    private var isOpen = false
    private var isResolving = false
    private var attempts = 0
    /// Who hears of it. Weak: the owner owns the connection.
    package weak var owner: (any RedisConnectionOwner)?

    /// A connection that does nothing before `start`. Made on the loop, or before it runs.
    package init(loop: Loop, endpoint: RedisEndpoint, settings: LinkSettings, random: SeededRandom) {
        self.loop = loop
        self.endpoint = endpoint
        supervisor = LinkSupervisor(settings: settings, random: random)
        kind = loop.register(self)
    }

    /// Begins the first attempt. On the loop, or before it runs.
    package func start() {
        loop.execute { [weak self] in
            guard let self else { return }
            act(supervisor.start(now: loop.now))
            owner?.redisDeadlineChanged()
        }
    }

    /// Ends for good; the owner hears nothing any more.
    package func stop() {
        supervisor.stop()
        if let current { loop.close(current) }
        current = nil
        isOpen = false
    }

    /// Ends for good once what is queued was sent.
    package func stopAfterFlush() {
        supervisor.stop()
        if let current { loop.closeAfterFlush(current) }
        current = nil
        isOpen = false
    }

    /// Whether the login is done.
    package var isReady: Bool { supervisor.isReady }

    /// How often the login was done.
    package var establishments: Int { supervisor.establishments }

    /// When `tick` is to be called at the latest; nil when nothing is due.
    package var deadline: MonotonicTime? { supervisor.deadline }

    /// The login is done.
    package func established() { supervisor.established(now: loop.now) }

    /// Looks at the clock.
    package func tick() {
        switch supervisor.tick(now: loop.now) {
        case .none: break
        case .connect: act(.connect)
        case .abandon: abandon(.connectTimeout)
        }
    }

    /// Queues a copy of `bytes`; they go out at the end of the iteration.
    package func write(_ bytes: UnsafeRawBufferPointer) {
        if let current { loop.write(current, bytes) }
    }

    /// Bytes that wait to be sent.
    package var queuedBytes: Int { current.map(loop.queuedBytes) ?? 0 }

    /// Closes the connection because its link is not to be used any more, and waits for the next attempt. The owner,
    /// who knows, is not told.
    package func drop() {
        isOpen = false
        if let current { loop.close(current) }
        current = nil
        supervisor.failed(now: loop.now)
        owner?.redisDeadlineChanged()
    }

    // MARK: Attempts

    private func act(_ action: LinkSupervisor.Action) {
        guard action == .connect else { return }
        attempts += 1
        if let address = endpoint.address { return connect(to: address) }
        guard case .tcp(let host, let port) = endpoint else { return abandon(.unresolved) }
        // A look-up that outlived its attempt is waited for: no second thread joins it.
        guard !isResolving else { return }
        isResolving = true
        Resolver.resolve(host, port: port, on: loop) { [weak self] in self?.resolved($0) }
    }

    private func resolved(_ answer: Resolver.Answer) {
        isResolving = false
        guard case .connecting = supervisor.phase, current == nil else { return }
        guard case .found(let addresses) = answer else { return abandon(.unresolved) }
        // Each attempt takes the next address, so that one that is dead does not stand in the way of the others.
        connect(to: addresses[(attempts - 1) % addresses.count])
    }

    private func connect(to address: SocketAddress) {
        do throws(SystemError) {
            current = try loop.connect(to: address, handler: kind)
        } catch {
            abandon(.socket(error.code))
        }
    }

    private func abandon(_ fault: LinkFault) {
        drop()
        owner?.redisAttemptFailed(self, fault)
    }

    // MARK: ConnectionHandler

    package func opened(_ id: ConnectionID) {
        guard id == current else { return }
        isOpen = true
        supervisor.connected()
        owner?.redisOpened(self)
        owner?.redisDeadlineChanged()
    }

    package func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard id == current else { return }
        owner?.redisReceived(self, UnsafeRawBufferPointer(bytes))
    }

    package func closed(_ id: ConnectionID, _ reason: CloseReason) {
        guard id == current else { return }
        current = nil
        let fault: LinkFault
        switch reason {
        case .peerClosed, .local: fault = .closedByServer
        case .failed(let code): fault = .socket(code)
        case .stalled: fault = .timeout
        }
        let wasOpen = isOpen
        isOpen = false
        // The owner asks whether the link was ready; only then it is no longer.
        if wasOpen { owner?.redisLost(self, fault) }
        supervisor.failed(now: loop.now)
        if !wasOpen { owner?.redisAttemptFailed(self, fault) }
        owner?.redisDeadlineChanged()
    }
}
