// All connections of one worker: opens them as fast as allowed or at a rate, shakes hands, joins rooms, answers pings,
// takes frames apart and hands messages to the driver. Every way in which a connection can fail is counted by reason.
//
// Runs on the worker's loop. Bounded by the plan: `connections` links, `concurrency` of them opening at a time, each
// with `openTimeout` for all of it; a message may be 1 MiB, a response head 16 KiB.

import Bytes
import HTTP
import Reactor
import WebSocket

/// The connections of a worker and what became of them.
final class ConnectionPool<Driver: LoadDriver>: ConnectionHandler {
    /// How the opening stands.
    struct Progress: Equatable, Sendable {
        /// Connections that joined.
        var opened = 0
        /// Connections that never did.
        var failed = 0
        /// Connections that joined and were closed by the server or the network before the end.
        var lost = 0
    }

    private let loop: Loop
    private let plan: LoadPlan
    private let driver: Driver
    private let targets: Targets
    private let limits = FrameLimits(frameBytes: 1 << 20, messageBytes: 1 << 20)
    private let links: UnsafeMutablePointer<Link>
    private let count: Int
    private let own: [Int]
    /// The link of each of the loop's slots.
    private var linkOfSlot: [Int] = []
    private var kind: UInt8 = 0
    private var random: SeededRandom
    private var schedule: RateSchedule?
    private var nextLink = 0
    private var opening = 0
    private var isDone = false
    private var failures: [String: UInt64] = [:]
    private var connectLatency = LatencyHistogram()
    private var pings: UInt64 = 0
    /// How the opening stands.
    private(set) var progress = Progress()
    /// Called once, when every connection has joined or failed.
    var settled: () -> Void = {}

    /// A pool for the connections of `plan` that belong to its worker.
    init(loop: Loop, plan: LoadPlan, driver: Driver, targets: Targets) {
        self.loop = loop
        self.plan = plan
        self.driver = driver
        self.targets = targets
        own = plan.ownConnections
        count = own.count
        links = .allocate(capacity: max(1, count))
        for index in 0..<count { (links + index).initialize(to: Link()) }
        random = SeededRandom(seed: plan.seed &+ UInt64(plan.worker))
        kind = loop.register(self)
    }

    deinit {
        links.deinitialize(count: count)
        links.deallocate()
    }

    // MARK: Opening

    /// Begins to open connections.
    func open() {
        if plan.openRate > 0 {
            schedule = RateSchedule(start: loop.now, rate: plan.openRate / Double(max(1, plan.processes)))
        }
        pump()
        checkSettled()
    }

    private func pump() {
        while nextLink < count, opening < plan.concurrency {
            if schedule != nil, schedule?.take(now: .now()) == nil {
                let wait = schedule.map { $0.next.since(.now()) } ?? .zero
                loop.schedule(after: max(.zero, wait)) { [unowned self] in pump() }
                return
            }
            let index = nextLink
            nextLink += 1
            start(index)
        }
    }

    private func start(_ index: Int) {
        let link = links + index
        link.pointee.started = .now()
        opening += 1
        do {
            let source = targets.source(of: own[index])
            let id = try loop.connect(to: targets.target, from: source, handler: kind)
            if Int(id.slot) >= linkOfSlot.count {
                linkOfSlot += repeatElement(-1, count: Int(id.slot) + 1 - linkOfSlot.count)
            }
            linkOfSlot[Int(id.slot)] = index
            link.pointee.id = id
            link.pointee.stage = .connecting
            loop.setTimer(id, after: .milliseconds(plan.openTimeout))
        } catch {
            fail(index, "\(error)")
        }
    }

    func opened(_ id: ConnectionID) {
        let index = linkOfSlot[Int(id.slot)]
        var nonce: (UInt64, UInt64) = (random.next(), random.next())
        let opening = withUnsafeBytes(of: &nonce) { Opening(handshake: ClientHandshake(nonce: $0)) }
        links[index].opening = opening
        links[index].stage = .upgrading
        var request = ByteBuffer(capacity: 256)
        do {
            let path = LoadProtocol.expand(plan.path, room: plan.room(of: own[index]), connection: own[index])
            try opening.handshake.appendRequest(target: path, host: targets.hostField, to: &request)
            loop.write(id, request.bytes)
        } catch {
            fail(index, "the path or host cannot be sent: \(error)")
        }
    }

    private func finishUpgrade(_ index: Int, _ bytes: UnsafeMutableRawBufferPointer) -> Int? {
        guard let opening = links[index].opening else { return nil }
        let before = opening.head.count
        opening.head.append(UnsafeRawBufferPointer(bytes))
        switch opening.parser.parse(opening.head.bytes) {
        case .needMore: return nil
        case .failed(let failure):
            fail(index, "not an HTTP response: \(failure)")
            return nil
        case .complete(let head, let consumed):
            do {
                _ = try opening.handshake.validate(head, sha1: Digest.sha1)
            } catch .status(let status) {
                fail(index, "upgrade answered with \(status)")
                return nil
            } catch {
                fail(index, "upgrade refused: \(error)")
                return nil
            }
            links[index].opening = nil
            greet(index)
            return consumed - before
        }
    }

    private func greet(_ index: Int) {
        let number = own[index]
        let room = plan.room.isEmpty ? nil : plan.roomName(of: number)
        guard driver.speaksRooms, let greeting = plan.language.greeting(room: room) else {
            join(index)
            return
        }
        links[index].stage = .joining
        var buffer = ByteBuffer(capacity: 128)
        buffer.append(text: greeting)
        send(index, buffer.bytes)
    }

    private func join(_ index: Int) {
        loop.cancelTimer(links[index].id)
        links[index].stage = .joined
        connectLatency.record(nanoseconds: elapsed(since: links[index].started))
        progress.opened += 1
        settle()
    }

    private func elapsed(since start: MonotonicTime) -> UInt64 {
        UInt64(clamping: MonotonicTime.now().since(start).wholeNanoseconds)
    }

    private func fail(_ index: Int, _ reason: String) {
        let stage = links[index].stage
        guard stage != .ended else { return }
        links[index].stage = .ended
        links[index].opening = nil
        if stage != .waiting { loop.close(links[index].id) }
        guard !isDone else { return }
        failures[reason, default: 0] += 1
        if stage == .joined {
            progress.lost += 1
        } else {
            progress.failed += 1
            settle()
        }
    }

    private func settle() {
        opening -= 1
        checkSettled()
        pump()
    }

    private func checkSettled() {
        guard progress.opened + progress.failed == count else { return }
        let tell = settled
        settled = {}
        tell()
    }

    // MARK: Frames

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        let index = linkOfSlot[Int(id.slot)]
        var rest = bytes
        if links[index].stage == .upgrading {
            guard let used = finishUpgrade(index, bytes), used >= 0, used <= bytes.count else { return }
            rest = UnsafeMutableRawBufferPointer(rebasing: bytes[used...])
        }
        let now = MonotonicTime.now()
        var input = FrameInput(rest)
        while links[index].stage == .joining || links[index].stage == .joined {
            switch links[index].reader.next(&input, limits) {
            case .needMore: return
            case .message(_, _, let message): take(index, UnsafeRawBufferPointer(message), now)
            case .ping(let payload):
                pings += 1
                send(index, UnsafeRawBufferPointer(payload), .pong)
            case .pong: break
            case .close(let code, let reason):
                let text = String(decoding: reason, as: UTF8.self)
                fail(index, "closed with \(code.map { String($0.rawValue) } ?? "no code") \(text)")
            case .violation(let violation): fail(index, "frame violation: \(violation.reason)")
            }
        }
    }

    private func take(_ index: Int, _ message: UnsafeRawBufferPointer, _ now: MonotonicTime) {
        guard driver.speaksRooms else {
            driver.message(index, message, now: now)
            return
        }
        var start = 0
        while start <= message.count {
            let tail = UnsafeRawBufferPointer(rebasing: message[start...])
            let length = tail.firstIndex(of: UInt8(ascii: "\n")) ?? tail.count
            let line = UnsafeRawBufferPointer(rebasing: tail[..<length])
            start += length + 1
            switch plan.language.classify(line, joining: links[index].stage == .joining, room: !plan.room.isEmpty) {
            case .other: driver.message(index, line, now: now)
            case .joined: join(index)
            case .ping:
                pings += 1
                var pong: (UInt8, UInt8) = (UInt8(ascii: "{"), UInt8(ascii: "}"))
                withUnsafeBytes(of: &pong) { send(index, $0) }
            case .refused(let id, let code):
                if id < LoadProtocol.firstPublishID {
                    fail(index, "\(id == LoadProtocol.connectID ? "connect" : "subscribe") answered with error \(code)")
                } else {
                    driver.refused(index, id: id, code: code)
                }
            }
        }
    }

    /// Sends one masked frame; it leaves at the end of the loop's iteration.
    func send(_ index: Int, _ payload: UnsafeRawBufferPointer, _ opcode: Opcode = .text) {
        let key = UInt32(truncatingIfNeeded: random.next())
        let header = FrameHeader.size(forPayload: payload.count, masked: true)
        loop.write(links[index].id, atMost: header + payload.count) { target in
            _ = FrameHeader.write(into: target, opcode, length: payload.count, key: key)
            if let source = payload.baseAddress {
                Masking.copy(key, from: source, to: target + header, count: payload.count)
            }
            return header + payload.count
        }
    }

    // MARK: Ends

    func timerFired(_ id: ConnectionID) {
        let index = linkOfSlot[Int(id.slot)]
        switch links[index].stage {
        case .connecting: fail(index, "no TCP connection within \(plan.openTimeout) ms")
        case .upgrading: fail(index, "no answer to the upgrade within \(plan.openTimeout) ms")
        default: fail(index, "not joined within \(plan.openTimeout) ms")
        }
    }

    func closed(_ id: ConnectionID, _ reason: CloseReason) {
        let index = linkOfSlot[Int(id.slot)]
        guard links[index].id == id, links[index].stage != .ended else { return }
        let when = links[index].stage == .joined ? "while held" : "while \(links[index].stage)"
        switch reason {
        case .failed(let code): fail(index, "\(SystemError("socket", code: code).message) \(when)")
        case .stalled: fail(index, "the server did not read \(when)")
        case .peerClosed, .local: fail(index, "closed without a Close frame \(when)")
        }
    }

    /// From here on connections that end are no failures: the run is over.
    func finish() { isDone = true }

    /// Adds what the pool counted to `result`.
    func collect(into result: inout WorkerResult) {
        result["opened"] += UInt64(progress.opened)
        result["failed"] += UInt64(progress.failed)
        result["closed_early"] += UInt64(progress.lost)
        result["pings"] += pings
        for (reason, times) in failures { result.failures[reason, default: 0] += times }
        result.latencies["connect"] = connectLatency
    }
}

extension SystemError {
    /// The system's text without the name of the call.
    fileprivate var message: String {
        let text = description
        return text.hasPrefix(call + ": ") ? String(text.dropFirst(call.utf8.count + 2)) : text
    }
}
