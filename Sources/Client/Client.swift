// The client on a Reactor loop: feeds the session, carries out what it asks for, flushes, re-arms the deadline. All
// decisions are the session's. Everything here runs on the loop; other threads come in by `loop.execute`.
//
// One handler kind of the loop per client, so it suits programs with a few connections.

import Bytes
import Glibc
package import Reactor

/// Hears what happens to a client. Calls come on the loop, and may call the client back.
package protocol ClientDelegate: AnyObject {
    /// Something happened.
    func client(_ client: Client, _ event: ClientEvent)
}

/// A client of the gateway.
package final class Client: ConnectionHandler {
    /// Who hears the events.
    package weak var delegate: (any ClientDelegate)?

    private let loop: Loop
    private var session: ClientSession
    private var kind: UInt8 = 0
    private var link: ConnectionID?
    /// Addresses of the host that the current attempt has not tried.
    private var candidates: [SocketAddress] = []
    /// Whether the session wants a connection: a look-up that took too long finds out that it does not any more.
    private var isOpening = false
    /// Hosts that are being looked up: at most one look-up each.
    private var lookUps: Set<String> = []
    private var timer: (token: TimerToken, at: MonotonicTime)?
    private var isSettling = false

    /// A client on `loop` that does nothing until `connect`. `random` is replaced by tests.
    package init(loop: Loop, options: ClientOptions, random: (() -> UInt64)? = nil) {
        self.loop = loop
        session = ClientSession(
            options: options, sha1: { Digest.sha1($0, $1) },
            random: random
                ?? {
                    var system = SystemRandomNumberGenerator()
                    return system.next()
                })
        kind = loop.register(self)
    }

    // MARK: Wishes (see ClientSession)

    /// Begins to connect, and to come back whenever the connection is lost.
    package func connect() { with { $0.connect(now: $1) } }

    /// Drops the connection and makes a new one at once, at the next gateway if there are several.
    package func reconnect() { with { $0.reconnect(now: $1) } }

    /// Says goodbye for good.
    package func close() { with { $0.close(now: $1) } }

    /// Enters a room; with `joinLeave` it is told who comes and goes. False when there are too many rooms or the client
    /// is closed.
    @discardableResult
    package func subscribe(_ room: String, joinLeave: Bool = false) -> Bool {
        with { $0.subscribe(room, joinLeave: joinLeave, now: $1) }
    }

    /// Leaves a room.
    package func unsubscribe(_ room: String) { with { $0.unsubscribe(room, now: $1) } }

    /// Publishes one JSON value; the answer comes as an event, possibly before this returns.
    @discardableResult
    package func publish(_ data: [UInt8], to room: String) -> RequestID {
        with { $0.publish(data, to: room, now: $1) }
    }

    /// Sends one JSON value to the server's application; false when there is no connection.
    @discardableResult
    package func send(_ data: [UInt8]) -> Bool { with { session, _ in session.send(data) } }

    /// Measures the way to the server and back.
    @discardableResult
    package func ping() -> RequestID { with { $0.ping(now: $1) } }

    /// Takes back the publishes of a room that wait; returns how many.
    @discardableResult
    package func cancelPublishes(in room: String) -> Int { with { session, _ in session.cancelPublishes(in: room) } }

    /// Asks who is in a room; a list with more than `limit` members is cut.
    @discardableResult
    package func presence(_ room: String, limit: Int = .max) -> RequestID {
        with { $0.presence(room, limit: limit, now: $1) }
    }

    /// Asks how many are in a room.
    @discardableResult
    package func presenceStats(_ room: String) -> RequestID { with { $0.presenceStats(room, now: $1) } }

    /// Asks for a room's last publications.
    @discardableResult
    package func history(_ room: String, limit: Int) -> RequestID {
        with { $0.history(room, limit: limit, now: $1) }
    }

    /// Publishes that wait or are unanswered.
    package var unanswered: Int { session.unanswered }

    // MARK: The loop's calls

    package func opened(_ id: ConnectionID) {
        guard id == link else { return }
        candidates = []
        isOpening = false
        with { $0.linkOpened(now: $1) }
    }

    package func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard id == link else { return }
        with { $0.received(bytes, now: $1) }
    }

    package func closed(_ id: ConnectionID, _ reason: CloseReason) {
        guard id == link else { return }
        link = nil
        let words = Self.words(reason)
        // Another address of the same host may answer; only while none has.
        if !candidates.isEmpty { return tryNext(words) }
        with { $0.linkLost(words, now: $1) }
    }

    // MARK: Carrying out

    @discardableResult
    private func with<Result>(_ body: (inout ClientSession, MonotonicTime) -> Result) -> Result {
        loop.assertOnLoop()
        let result = body(&session, loop.now)
        settle()
        return result
    }

    /// Carries out what the session asks for until it asks for nothing more. The delegate's calls back end up in the
    /// same loop instead of nesting.
    private func settle() {
        guard !isSettling else { return }
        isSettling = true
        defer { isSettling = false }
        while true {
            if let link {
                session.takeOutput { loop.write(link, $0) }
            }
            let links = session.takeLinkRequests()
            for request in links { carryOut(request) }
            let events = session.takeEvents()
            if links.isEmpty, events.isEmpty { break }
            for event in events { delegate?.client(self, event) }
        }
        arm()
    }

    private func carryOut(_ request: ClientSession.LinkRequest) {
        switch request {
        case .open: begin()
        case .close, .abort:
            candidates = []
            isOpening = false
            guard let link else { return }
            self.link = nil
            if request == .close { loop.closeAfterFlush(link) } else { loop.close(link) }
        }
    }

    private func begin() {
        isOpening = true
        let (host, port, name) = (session.url.host, session.url.port, session.url.hostField)
        if let numeric = SocketAddress(host: host, port: port) {
            candidates = [numeric]
            return tryNext("")
        }
        // The answer of one that is under way serves this attempt as well.
        guard lookUps.insert(name).inserted else { return }
        Resolver.resolve(host, port: port, on: loop) { [mailbox = Unchecked(self)] in
            mailbox.value.lookedUp(name, $0)
        }
    }

    private func lookedUp(_ name: String, _ answer: Resolver.Answer) {
        lookUps.remove(name)
        guard isOpening, link == nil, session.url.hostField == name else { return }
        switch answer {
        case .found(let addresses):
            candidates = addresses
            tryNext("")
        case .failed(let failure): tryNext(failure)
        }
    }

    private func tryNext(_ failure: String) {
        var failure = failure
        while !candidates.isEmpty {
            let address = candidates.removeFirst()
            do {
                link = try loop.connect(to: address, handler: kind)
                return
            } catch {
                failure = Self.words(.failed(error.code))
            }
        }
        isOpening = false
        with { $0.linkLost(failure, now: $1) }
    }

    private func arm() {
        guard let deadline = session.deadline else {
            if let timer { loop.cancel(timer.token) }
            timer = nil
            return
        }
        if let timer {
            // A deadline that moved away is noticed when the timer fires; only one that came nearer needs a new timer.
            guard deadline < timer.at else { return }
            loop.cancel(timer.token)
        }
        let wait = max(deadline.since(loop.now), .zero)
        let token = loop.schedule(after: wait) { [weak self] in
            guard let self else { return }
            self.timer = nil
            self.with { $0.timerFired(now: $1) }
        }
        timer = (token, deadline)
    }

    private static func words(_ reason: CloseReason) -> String {
        switch reason {
        case .peerClosed: "the server closed the connection"
        case .local: "closed"
        case .failed(let code): String(cString: strerror(code))
        case .stalled: "the server takes no more data"
        }
    }
}

/// Carries a loop-confined object through a Sendable closure that runs on the same loop.
private struct Unchecked<Value>: @unchecked Sendable {
    // Sendable is sound: the value is only touched by the closure, on the loop that owns it.
    let value: Value
    init(_ value: Value) { self.value = value }
}
