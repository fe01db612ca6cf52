// The clients of a run, all on one loop: opening and reopening connections with full jitter at another gateway, frames
// in and out, pings, and what a peer that is gone looks like. What is said goes to the checker. Bounded by the plan:
// a fixed number of clients, one connection each; a message may be 1 MiB, a response head 16 KiB.

package import Bytes
import HTTP
import LoadCore
package import Reactor
import WebSocket
import Wire

/// How many clients, and what they do.
package struct ClientPlan: Sendable {
    /// Subscribers.
    package var subscribers = 90
    /// Rooms of each subscriber.
    package var roomsPerSubscriber = 3
    /// Publishers, without the one that sends the markers.
    package var publishers = 9
    /// Rooms.
    package var rooms = 9
    /// Publications a second of all publishers together.
    package var rate = 180.0
    /// Seed of all choices.
    package var seed: UInt64 = 1
    /// Whether rooms keep history, so that positions and keys mean something.
    package var hasHistory = true
    /// Within this time a command must be answered, else the client gives up on the connection.
    package var answerLimit = Duration.seconds(6)
    /// Attempts of one publication.
    package var retryLimit = 8
    /// Only subscribers: publishers, markers and readers are another process' business.
    package var isShare = false
    /// Where connections come from, in turn; empty leaves it to the kernel. One address has some 28,000 ports.
    package var sources: [SocketAddress] = []
    /// Connections that may be opening at a time; 0 is without a bound.
    package var openingLimit = 0

    package init() {}
}

/// What clients counted.
package struct ClientFigures: Sendable {
    /// WebSockets opened.
    package var connects = 0
    /// Connections that the server ended, by Close code; 1006 is an end without a Close frame.
    package var closedByServer: [UInt16: Int] = [:]
    /// The same, by gateway.
    package var closedByGateway: [Int: Int] = [:]
    /// Those of clients that never come and go by themselves, and so have done nothing to deserve it.
    package var steadyDisconnects = 0
    /// Error replies by code.
    package var errors: [UInt32: Int] = [:]
    /// Connections that ended before they were open.
    package var failedConnects = 0
    /// Connections that were given up for lack of an answer.
    package var silentConnections = 0
    /// Publications that were due.
    package var planned = 0
    /// Those due while nothing was broken.
    package var plannedInCalm = 0
    /// Those that nobody could send.
    package var skipped = 0
    /// Deliveries of markers.
    package var markersSeen = 0
    /// What restless subscribers did.
    package var lives: [String: Int] = [:]

    /// Connections that the server ended, all together.
    package var disconnects: Int { closedByServer.values.reduce(0, +) }
    /// Error replies, all together, without the 111 that a limited room gives in calm, too.
    package var errorReplies: Int {
        errors.reduce(0) { $0 + ($1.key == ErrorCode.tooManyRequests.rawValue ? 0 : $1.value) }
    }
}

/// The clients.
package final class ClientPool: ConnectionHandler {
    let loop: Loop
    let directory: any GatewayDirectory
    let checker: Checker
    let plan: ClientPlan
    var kind: UInt8 = 0
    let limits = FrameLimits(frameBytes: 1 << 20, messageBytes: 1 << 20)
    private(set) var clients: [VerifyClient] = []
    var clientOfSlot: [Int] = []
    /// What was counted.
    package var figures = ClientFigures()
    /// Whether clients come and go by themselves.
    package var isRestless = false
    var isPublishing = false
    var publishDue = 0.0
    var publishClock = MonotonicTime(nanoseconds: 0)
    var nextPublisher = 0
    /// Bytes that are added to every message.
    package var padding = 0
    var isFinishing = false
    /// Called when an error reaches a client for the first time since it was set.
    package var onTrouble: (() -> Void)?
    /// The longest that a publish waited for any answer, or for the end of its connection, since this was set.
    package var slowestAnswer = Duration.zero
    /// Since when acknowledgements are watched, and the first one of each gateway for what was sent after that.
    package var ackWatch: (since: MonotonicTime, first: [Int: MonotonicTime]) = (MonotonicTime(nanoseconds: .max), [:])
    var out = ByteBuffer()
    var scratch = ByteBuffer()
    var entryScratch = ByteBuffer()
    var histories: [(gateway: Int, room: Int)] = []
    /// What the watchers were shown last, by gateway and room.
    var lists: [ListKey: [ListedMember]] = [:]
    var counts: [ListKey: (clients: Int, users: Int)] = [:]
    var nextListed = 0
    private var opening = 0
    private var waitingToOpen: ArraySlice<Int> = []

    /// The clients of `plan`, not connected yet.
    package init(_ loop: Loop, directory: any GatewayDirectory, checker: Checker, plan: ClientPlan) {
        self.loop = loop
        self.directory = directory
        self.checker = checker
        self.plan = plan
        kind = loop.register(self)
        let now = MonotonicTime.now()
        func add(_ role: ClientRole, rooms: [Int], isProxied: Bool, isRestless: Bool, fixed: Int? = nil) {
            let number = clients.count
            clients.append(
                VerifyClient(
                    number: number, role: role, rooms: rooms, gateway: fixed ?? number % directory.gatewayCount,
                    isProxied: isProxied, isRestless: isRestless, fixedGateway: fixed, seed: plan.seed, now: now))
        }
        for subscriber in 0..<plan.subscribers {
            let rooms = Set((0..<plan.roomsPerSubscriber).map { (subscriber + $0 * 2) % plan.rooms }).sorted()
            add(.subscriber(subscriber), rooms: rooms, isProxied: subscriber % 4 == 1, isRestless: subscriber % 3 == 0)
        }
        guard !plan.isShare else { return }
        // One more publisher, which sends the markers of the end.
        for publisher in 0...plan.publishers {
            add(.publisher(publisher), rooms: [], isProxied: false, isRestless: false)
        }
        for gateway in 0..<directory.gatewayCount {
            add(.reader, rooms: [], isProxied: false, isRestless: false, fixed: gateway)
        }
        guard !checker.plan.presence.isEmpty else { return }
        for gateway in 0..<directory.gatewayCount {
            add(.watcher, rooms: [], isProxied: false, isRestless: false, fixed: gateway)
        }
        // What a fault does to a proxied link its client may not know.
        for client in clients where client.isProxied {
            if let subscriber = client.subscriber {
                checker.doubt(subscriber, until: MonotonicTime(nanoseconds: .max))
            }
        }
    }

    /// Begins to connect, and to look after the clients.
    package func start() {
        for client in clients where client.role != .reader { connect(client) }
        tick()
        watchPresence()
    }

    // MARK: Connecting

    func connect(_ client: VerifyClient) {
        guard client.stage == .idle else { return }
        client.reconnectAt = nil
        if plan.openingLimit > 0, opening >= plan.openingLimit {
            waitingToOpen.append(client.number)
            return
        }
        guard let address = directory.address(client.gateway, proxied: client.isProxied) else { return retry(client) }
        do {
            let source = plan.sources.isEmpty ? nil : plan.sources[client.number % plan.sources.count]
            let id = try loop.connect(to: address, from: source, handler: kind)
            let slot = Int(id.slot)
            if slot >= clientOfSlot.count { clientOfSlot += repeatElement(-1, count: slot + 1 - clientOfSlot.count) }
            clientOfSlot[slot] = client.number
            client.id = id
            client.connectedGateway = client.gateway
            enter(client, .connecting)
            client.reader = FrameReader(role: .client)
            client.closeCode = nil
            client.isOwnClose = false
            client.isPausedForReading = false
        } catch {
            retry(client)
        }
    }

    /// Lets those open that had to wait for others.
    private func openNext() {
        while opening < plan.openingLimit, let next = waitingToOpen.popFirst() {
            if clients[next].life == .live { connect(clients[next]) }
        }
    }

    func enter(_ client: VerifyClient, _ stage: ClientStage) {
        opening += (stage.isOpening ? 1 : 0) - (client.stage.isOpening ? 1 : 0)
        client.stage = stage
        client.stageSince = loop.now
        client.lastHeard = loop.now
        if !stage.isOpening, !waitingToOpen.isEmpty { openNext() }
    }

    /// Comes back later, at another gateway.
    func retry(_ client: VerifyClient) {
        if client.fixedGateway == nil { client.gateway = (client.gateway + 1) % directory.gatewayCount }
        guard !client.isOffline else { return }
        client.reconnectAt = loop.now + client.backoff.next(using: &client.random)
    }

    func find(_ id: ConnectionID) -> VerifyClient? {
        guard Int(id.slot) < clientOfSlot.count, clientOfSlot[Int(id.slot)] >= 0 else { return nil }
        let client = clients[clientOfSlot[Int(id.slot)]]
        return client.id == id ? client : nil
    }

    package func opened(_ id: ConnectionID) {
        guard let client = find(id) else { return }
        var nonce: (UInt64, UInt64) = (client.random.next(), client.random.next())
        let opening = withUnsafeBytes(of: &nonce) { ClientOpening(ClientHandshake(nonce: $0)) }
        client.opening = opening
        enter(client, .upgrading)
        var request = ByteBuffer(capacity: 256)
        do {
            let path = "/connection/websocket?user=v\(client.number)"
            try opening.handshake.appendRequest(target: path, host: "127.0.0.1", to: &request)
            loop.write(id, request.bytes)
        } catch {
            preconditionFailure("the request holds nothing that is not ours")
        }
    }

    // MARK: Ends

    package func closed(_ id: ConnectionID, _ reason: CloseReason) {
        guard let client = find(id) else { return }
        clientOfSlot[Int(id.slot)] = -1
        let wasOpen = client.stage == .joined || client.stage == .greeting
        client.id = nil
        client.opening = nil
        enter(client, .idle)
        client.subscribing = [:]
        client.subscribed = []
        client.retryRooms = []
        client.histories = [:]
        client.listings = [:]
        let code = client.closeCode ?? 1006
        if !client.isOwnClose, !isFinishing || !client.isService {
            if wasOpen {
                figures.closedByServer[code, default: 0] += 1
                figures.closedByGateway[client.connectedGateway, default: 0] += 1
                if isSteady(client) { figures.steadyDisconnects += 1 }
            } else {
                figures.failedConnects += 1
            }
            if isSteady(client) { onTrouble?() }
        }
        if let subscriber = client.subscriber { checker.closed(subscriber, code: client.closeCode, now: loop.now) }
        lostConnection(client)
        if (3500...3999).contains(code) || (4500...4999).contains(code) {
            checker.report(.crash, now: loop.now, "client \(client.number) was turned away for good with \(code)")
        }
        retry(client)
    }

    /// Whether what a client meets is the server's doing, and not of its own restless life.
    func isSteady(_ client: VerifyClient) -> Bool { !client.isRestless || !isRestless }

    /// Ends a client's connection from its own side.
    func drop(_ client: VerifyClient) {
        guard let id = client.id else { return }
        client.isOwnClose = true
        loop.close(id)
    }

    // MARK: Looking after

    /// Runs ten times a second: reconnects, retries, patience, life.
    private func tick() {
        let now = loop.now
        openNext()
        for client in clients {
            if let at = client.reconnectAt, at <= now { connect(client) }
            watch(client, now)
            live(client, now)
            retryOperations(client, now)
        }
        loop.schedule(after: .milliseconds(50)) { [weak self] in self?.tick() }
    }

    private func watch(_ client: VerifyClient, _ now: MonotonicTime) {
        guard client.stage != .idle, let id = client.id else { return }
        if case .frozen = client.life { return }
        let isJoined = client.stage == .joined && client.subscribing.isEmpty
        if !isJoined, now.since(client.stageSince) > plan.answerLimit + .seconds(2) {
            reportSilence(client, now)
            figures.silentConnections += 1
            client.isOwnClose = true
            return loop.close(id)
        }
        if now.since(client.lastHeard) > client.patience, client.life == .live {
            figures.silentConnections += 1
            client.isOwnClose = true
            return loop.close(id)
        }
        while let first = client.retryRooms.first, first.at <= now {
            client.retryRooms.removeFirst()
            subscribe(client, first.room)
        }
    }

    private func reportSilence(_ client: VerifyClient, _ now: MonotonicTime) {
        // A frozen process, a dead one and a link that the proxy silences cannot answer.
        let isOwed = directory.mustAnswer(client.gateway, since: client.stageSince)
        guard isOwed, !client.isProxied, client.life == .live else {
            return
        }
        checker.report(
            .errorVisibility, now: now,
            "client \(client.number) waits at stage \(client.stage) of gateway \(client.gateway) without an answer")
    }

    // MARK: For the run

    /// Subscriptions that ought to be live: those of subscribers which are not away on purpose.
    package var expectedSubscriptions: Int {
        clients.reduce(0) { $0 + ($1.subscriber != nil && $1.life == .live ? $1.rooms.count : 0) }
    }

    /// Whether every subscriber that is not away on purpose is in all its rooms.
    package var areSubscribersComplete: Bool {
        clients.allSatisfy { $0.subscriber == nil || $0.life != .live || $0.isComplete }
    }

    /// Whether everybody is connected, in all rooms, and has nothing under way.
    package var isComplete: Bool { clients.allSatisfy { $0.isService || $0.isComplete } }

    /// Who is not, for messages.
    package var incomplete: String {
        let waiting = clients.filter { !$0.isService && !$0.isComplete }
        return waiting.prefix(5).map {
            "\($0.role) \($0.stage) at gateway \($0.gateway), \($0.subscribed.count) of \($0.rooms.count) rooms, "
                + "\($0.operations.count) publications under way"
        }.joined(separator: "; ")
    }
}
