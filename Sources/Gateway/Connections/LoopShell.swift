// What rooms get of one loop: the implementation of their outlet on the reactor. Sends replies, hands broadcasts to
// members, closes, and posts to the other loops.

import Bytes
import Logging
import Reactor
import Rooms
import Telemetry
import WebSocket
import Wire

/// The outlet of one loop's rooms; owns the drivers of the loop's client connections.
final class LoopShell: Outlet {
    let loop: Loop
    let settings: ClientSettings
    let metrics: MetricShard
    /// All loops of the process, by number.
    private let loops: [Loop]
    let drivers: UnsafeMutablePointer<Slab<Driver>>
    /// Connections whose Close went out in this iteration: their sessions end before the next fan-out.
    private(set) var leaving: [ConnectionID] = []
    /// Who hears of slow clients; set before the loop runs.
    var logger: Logger?
    private var slowOnes = LogSampler()
    private let latencyPath: Labels.Path
    /// Nil where compression is off.
    let compression: LoopCompression?
    private var scratch = ByteBuffer(capacity: 256)
    private var hint = ByteBuffer()
    private var random = SeededRandom.system()
    /// When clients of a draining instance are told to come back: spread, so that they do not all come at once.
    private static let comebackMilliseconds = 200...3000

    init(loop: Loop, loops: [Loop], settings: ClientSettings, path: Labels.Path) {
        self.loop = loop
        self.loops = loops
        self.settings = settings
        latencyPath = path
        // Start has checked zlib; a loop that finds no memory for its streams declines what it is offered.
        compression = settings.compression ? try? LoopCompression() : nil
        metrics = loop.metrics
        drivers = .allocate(capacity: 1)
        drivers.initialize(to: Slab())
    }

    deinit {
        for slot in 0..<UInt32(drivers.pointee.capacity) { drivers.pointee[slot].deinitialize(count: 1) }
        drivers.deinitialize(count: 1)
        drivers.deallocate()
    }

    /// The driver of an open connection, or nil when `id` is stale.
    func driver(_ id: ConnectionID) -> UnsafeMutablePointer<Driver>? {
        guard Int(id.slot) < drivers.pointee.capacity else { return nil }
        let driver = drivers.pointee[id.slot]
        return driver.pointee.generation == id.generation && driver.pointee.phase != .vacant ? driver : nil
    }

    /// Sends one frame; returns the bytes that now wait. Nothing goes behind our Close: its output is sealed.
    @discardableResult
    func sendFrame(
        _ id: ConnectionID, _ opcode: Opcode, _ payload: UnsafeRawBufferPointer, compressed: Bool = false
    ) -> Int {
        loop.write(id, atMost: payload.count + FrameHeader.longest) { target in
            let header = FrameHeader.write(into: target, opcode, compressed: compressed, length: payload.count)
            if let source = payload.baseAddress {
                (target + header).copyMemory(from: source, byteCount: payload.count)
            }
            return header + payload.count
        }
    }

    /// Sends a message, deflated if the connection has a `window` and that makes it shorter.
    func sendMessage(
        _ id: ConnectionID, _ opcode: Opcode, _ message: UnsafeRawBufferPointer, _ window: DeflateWindow?
    ) -> Int {
        guard let window, let packed = compression?.deflate(message, window) else {
            return sendFrame(id, opcode, message)
        }
        return sendFrame(id, opcode, packed, compressed: true)
    }

    /// Sends a short frame that does not wait behind what a client has not read yet.
    private func sendAhead(_ id: ConnectionID, _ opcode: Opcode, _ payload: UnsafeRawBufferPointer) {
        guard loop.isBlocked(id) else {
            sendFrame(id, opcode, payload)
            return
        }
        scratch.removeAll()
        scratch.appendFrame(opcode, payload)
        loop.writeAhead(id, scratch.bytes, at: FrameBoundary.next)
    }

    /// Sends our Close, if it is not out yet, and waits for the peer's.
    func sendClose(_ id: ConnectionID, _ code: CloseCode, _ reason: StaticString) {
        sendClose(id, code, text: UnsafeRawBufferPointer(start: reason.utf8Start, count: reason.utf8CodeUnitCount))
    }

    private func sendClose(_ id: ConnectionID, _ code: CloseCode, text: UnsafeRawBufferPointer) {
        guard let driver = driver(id), driver.pointee.close.send() else { return }
        driver.pointee.closeCode = code.rawValue
        driver.pointee.phase = .closing
        // Where the socket is full, the Close does not wait behind what nobody reads, and the memory is free at once.
        if loop.isBlocked(id) { loop.dropUnsent(id, from: FrameBoundary.next) }
        scratch.removeAll()
        ClosePayload.appendFrame(code, reason: text, to: &scratch)
        loop.write(id, scratch.bytes)
        loop.sealOutput(id)
        loop.resumeReading(id)
        loop.setTimer(id, after: settings.closeTimeout)
        leaving.append(id)
    }

    /// Sends our Close for `code`; for a client that wants to know, with the time after which it may come back.
    private func sendClose(_ id: ConnectionID, _ code: DisconnectCode, reconnectIn: Duration?) {
        guard let reconnectIn else { return sendClose(id, CloseCode(rawValue: code.rawValue), code.reason) }
        hint.removeAll()
        CloseHint(reconnectIn: UInt64(clamping: reconnectIn.wholeMilliseconds)).append(code, to: &hint)
        sendClose(id, CloseCode(rawValue: code.rawValue), text: hint.bytes)
    }

    /// Takes the connections that began to close.
    func takeLeaving() -> [ConnectionID] {
        if leaving.isEmpty { return [] }
        defer { leaving.removeAll(keepingCapacity: true) }
        return leaving
    }

    // MARK: Drain

    /// Client connections, the ones being closed included.
    private(set) var connectionCount = 0

    /// Counts a connection in or out.
    func count(_ change: Int) {
        connectionCount += change
        metrics.add(.connections, change)
    }

    /// Begins to close at most `most` connections from `slot` on; returns where to go on. Connections that are not in a
    /// room conversation (heads, echoes) end without a code.
    func closeSome(
        from slot: UInt32, most: Int, _ code: DisconnectCode, hintsWanted: (ConnectionWord) -> Bool
    ) -> UInt32 {
        var slot = slot
        var left = most
        while left > 0, Int(slot) < drivers.pointee.capacity {
            let driver = drivers.pointee[slot]
            let id = ConnectionID(slot: slot, generation: driver.pointee.generation)
            slot += 1
            switch driver.pointee.phase {
            case .rooms:
                let wait = Int.random(in: LoopShell.comebackMilliseconds, using: &random)
                sendClose(id, code, reconnectIn: hintsWanted(id.word) ? .milliseconds(wait) : nil)
            case .echo: sendClose(id, .goingAway, "shutdown")
            case .proxy, .head: loop.close(id)
            case .vacant, .closing, .ended: continue
            }
            left -= 1
        }
        // What came from the backlog after its slot was passed is closed by the next round.
        return Int(slot) < drivers.pointee.capacity ? slot : 0
    }

    // MARK: Outlet

    var now: MonotonicTime { loop.now }

    func send(_ connection: ConnectionWord, _ message: UnsafeRawBufferPointer) {
        let id = ConnectionID(word: connection)
        if LoopShell.isPing(message) { return sendAhead(id, .text, message) }
        if sendMessage(id, .text, message, replyWindow(id, message)) > settings.queueMaxSize { closeIfSlow(id) }
    }

    /// The window for a reply; none for what answers `connect`, lest secrets and strangers' words share a stream.
    private func replyWindow(_ id: ConnectionID, _ message: UnsafeRawBufferPointer) -> DeflateWindow? {
        guard let compression, compression.members > 0, message.count >= LoopCompression.minimumBytes,
            let driver = driver(id), !driver.pointee.awaitsConnect
        else { return nil }
        return driver.pointee.window
    }

    /// The empty object: of all that rooms say it is the only message without a place in an order.
    private static func isPing(_ message: UnsafeRawBufferPointer) -> Bool {
        message.count == 2 && message[0] == UInt8(ascii: "{") && message[1] == UInt8(ascii: "}")
    }

    func hold(_ connection: ConnectionWord) { loop.hold(ConnectionID(word: connection)) }

    func release(_ connection: ConnectionWord, first message: UnsafeRawBufferPointer) {
        let id = ConnectionID(word: connection)
        if !message.isEmpty {
            scratch.removeAll()
            scratch.appendFrame(.text, message)
            loop.writeAhead(id, scratch.bytes, at: FrameBoundary.next)
        }
        loop.unhold(id)
    }

    func sendPingFrame(_ connection: ConnectionWord) {
        sendAhead(ConnectionID(word: connection), .ping, UnsafeRawBufferPointer(start: nil, count: 0))
    }

    func close(_ connection: ConnectionWord, _ code: DisconnectCode) {
        let id = ConnectionID(word: connection)
        // The ping may lie in the kernel's buffer, behind what the client did not read: being behind is its fault then,
        // not being silent.
        if code == .noPong, loop.offer(id) > 0 { return closeSlow(id, .time) }
        sendClose(id, CloseCode(rawValue: code.rawValue), code.reason)
    }

    func setTimer(_ connection: ConnectionWord, after delay: Duration) {
        let id = ConnectionID(word: connection)
        guard let driver = driver(id), driver.pointee.phase == .rooms else { return }
        loop.setTimer(id, after: delay)
    }

    func schedule(after delay: Duration, _ body: @escaping () -> Void) { loop.schedule(after: delay, body) }

    func makeBroadcast(_ frames: UnsafeRawBufferPointer, messages: Int, since: MonotonicTime) -> Broadcast {
        let frame = loop.makeFrame(capacity: frames.count)
        frame.append(frames)
        return Broadcast(handle: frame.handle, messages: messages, since: since)
    }

    func fanOut(_ broadcast: Broadcast, to members: UnsafeBufferPointer<ConnectionWord>) {
        let frame = Frame(handle: broadcast.handle)
        let limit = settings.queueMaxSize
        if let compression, compression.members > 0 {
            fanOut(frame, to: members, compression)
        } else {
            for member in members {
                // A member whose Close is out takes nothing more: its output is sealed.
                let id = ConnectionID(word: member)
                if loop.enqueue(id, frame) > limit { closeIfSlow(id) }
            }
        }
        metrics.add(.deliveries, members.count * broadcast.messages)
        metrics.observe(.fanoutRecipients, UInt64(members.count))
    }

    /// The same where somebody compresses: each class gets its own form, which is made once.
    private func fanOut(
        _ frame: Frame, to members: UnsafeBufferPointer<ConnectionWord>, _ compression: LoopCompression
    ) {
        let limit = settings.queueMaxSize
        var wide: Frame?
        var narrow: Frame?
        for member in members {
            let id = ConnectionID(word: member)
            var chosen = frame
            switch driver(id)?.pointee.window {
            case nil: break
            case .wide:
                chosen = wide ?? form(of: frame, .wide, compression)
                wide = chosen
            case .narrow:
                chosen = narrow ?? form(of: frame, .narrow, compression)
                narrow = chosen
            }
            if loop.enqueue(id, chosen) > limit { closeIfSlow(id) }
        }
    }

    private func form(of frame: Frame, _ window: DeflateWindow, _ compression: LoopCompression) -> Frame {
        compression.form(of: frame, window) { bytes in
            let made = loop.makeFrame(capacity: bytes.count)
            made.append(bytes)
            return made
        }
    }

    func release(_ broadcast: Broadcast) {
        compression?.forget(Frame(handle: broadcast.handle)) { loop.release($0) }
        metrics.observe(.deliveryLatency(latencyPath), MonotonicTime.now().since(broadcast.since))
        loop.release(Frame(handle: broadcast.handle))
    }

    func post(_ message: LoopMessage, to target: Int, urgent: Bool) -> Bool {
        loop.post(
            Letter(kind: message.kind.rawValue, words: message.words, object: message.object), to: loops[target],
            urgent: urgent)
    }

    func random(_ bytes: UnsafeMutableRawBufferPointer) { Digest.random(bytes) }

    func record(_ event: RoomEvent) { metrics.add(Counter(event)) }

    // MARK: Slow clients

    /// Closes a client whose queue is over its limit, unless its socket takes it.
    private func closeIfSlow(_ id: ConnectionID) {
        guard let driver = driver(id), !driver.pointee.close.hasSent, loop.offer(id) > settings.queueMaxSize else {
            return
        }
        closeSlow(id, .bytes)
    }

    /// Closes a client that does not keep up: what waits for it is dropped. It has the close timeout to read what the
    /// kernel holds, the rest of the frame that is half out, and the Close.
    func closeSlow(_ id: ConnectionID, _ reason: Labels.SlowReason) {
        guard let driver = driver(id), !driver.pointee.close.hasSent else { return }
        metrics.add(.slowConsumers(reason))
        logSlow(id, driver, reason)
        sendClose(id, CloseCode(rawValue: DisconnectCode.slow.rawValue), DisconnectCode.slow.reason)
    }

    /// One line a slow client, sampled: in a hot room there may be hundreds in a second.
    private func logSlow(_ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ reason: Labels.SlowReason) {
        guard let logger, logger.logLevel <= .info, let left = slowOnes.admit(at: loop.now) else { return }
        var metadata: Logger.Metadata = [
            "martlet.loop": .stringConvertible(loop.index), "client.address": .string(loop.peer(id).description),
            "martlet.close.code": .stringConvertible(DisconnectCode.slow.rawValue),
            "martlet.close.reason": .string("\(reason)"),
            "martlet.queue.bytes": .stringConvertible(loop.queuedBytes(id)),
            "duration_ms": .stringConvertible(loop.now.since(driver.pointee.opened).wholeMilliseconds),
        ]
        if left > 0 { metadata["martlet.log.suppressed"] = .stringConvertible(left) }
        logger.info("closed a client that does not keep up", metadata: metadata)
    }
}
