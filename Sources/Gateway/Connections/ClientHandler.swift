// The client listener's connections on one loop: HTTP head, upgrade, frames; commands go to Rooms, echoes come back.
// The shell around the sans-IO parts: it feeds them, carries out what they say and re-arms the connection's one timer.
// Bounded by: head limits (8 KiB a line, 16 KiB in all, `headTimeout`), frame limits, the output limit of the settings.

import Bytes
import HTTP
import Logging
import Reactor
import Rooms
import Telemetry
import WebSocket
import Wire

/// Handles client connections of one loop.
final class ClientHandler: ConnectionHandler, LoopHook, LetterHandler {
    static let echoLimits = FrameLimits(frameBytes: 16 << 20, messageBytes: 16 << 20, fragments: 65_536)
    /// Bytes of echoes that wait before reading pauses.
    static let echoHighWater = 1 << 20
    static let subprotocols: [StaticString] = ["centrifuge-json"]

    let shell: LoopShell
    let rooms: LoopRooms
    let loop: Loop
    let settings: ClientSettings
    let metrics: MetricShard
    /// Asked once a trusted proxy has named the client.
    let gate: AdmissionGate
    /// Only there when somebody reads debug lines, so that the usual case costs nothing.
    private let log: Logger?
    private let limits: FrameLimits
    var scratch = ByteBuffer(capacity: 1024)

    init(shell: LoopShell, rooms: LoopRooms, gate: AdmissionGate, logger: Logger) {
        self.shell = shell
        self.rooms = rooms
        self.gate = gate
        loop = shell.loop
        settings = shell.settings
        metrics = shell.metrics
        log = logger.logLevel <= .debug ? logger : nil
        shell.logger = logger
        limits = FrameLimits(frameBytes: settings.maxMessageSize, messageBytes: settings.maxMessageSize)
    }

    // MARK: ConnectionHandler

    func opened(_ id: ConnectionID) {
        shell.drivers.pointee.ensure(id.slot) { $0.initialize(to: Driver()) }
        let driver = shell.drivers.pointee[id.slot]
        driver.pointee.generation = id.generation
        driver.pointee.phase = settings.proxies.expectsHeader ? .proxy : .head
        driver.pointee.opened = loop.now
        loop.setTimer(id, after: settings.headTimeout)
        metrics.add(.connectionsOpened)
        shell.count(1)
    }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let driver = shell.driver(id) else { return }
        switch driver.pointee.phase {
        case .echo:
            driver.pointee.wasHeard = true
            readFrames(id, driver, bytes)
        case .rooms, .closing: readFrames(id, driver, bytes)
        case .head: readHead(id, driver, bytes)
        case .proxy: readProxyHeader(id, driver, bytes)
        case .vacant, .ended: break
        }
    }

    func timerFired(_ id: ConnectionID) {
        guard let driver = shell.driver(id) else { return }
        switch driver.pointee.phase {
        case .head:
            metrics.add(.handshakes(.timeout))
            refuse(id, driver) { ResponseWriter.refuse(408, reason: "request head timeout", to: &$0) }
        case .proxy: dropUnnamed(id, driver)
        case .rooms: rooms.timerFired(id.word)
        // Our last words are out, or there is no hope for them: then the kernel need not keep what is before them.
        case .closing, .ended: loop.close(id, loop.queuedBytes(id) > 0 ? .stalled : .local)
        case .echo where driver.pointee.wasHeard:
            driver.pointee.wasHeard = false
            loop.setTimer(id, after: settings.echoIdleTimeout)
        case .echo: shell.sendClose(id, .goingAway, "idle")
        case .vacant: break
        }
    }

    func stalled(_ id: ConnectionID) -> Bool {
        guard let driver = shell.driver(id) else { return false }
        switch driver.pointee.phase {
        case .rooms, .echo:
            shell.closeSlow(id, .time)
            return true
        // The close timeout counts already.
        case .closing: return true
        case .proxy, .head, .vacant, .ended: return false
        }
    }

    func drained(_ id: ConnectionID) {
        guard let driver = shell.driver(id) else { return }
        if let ping = driver.pointee.unansweredPing {
            driver.pointee.unansweredPing = nil
            shell.sendFrame(id, .pong, ping.bytes)
        }
        if driver.pointee.phase == .echo { loop.resumeReading(id) }
    }

    func closed(_ id: ConnectionID, _ reason: CloseReason) {
        guard let driver = shell.driver(id) else { return }
        rooms.closed(id.word, isAbrupt: true)
        logClosed(id, driver, reason)
        let code = driver.pointee.closeCode
        metrics.add(.connectionsClosed(Labels.CloseClass(code: code == 0 ? nil : code)))
        shell.count(-1)
        if driver.pointee.window != nil { shell.compression?.count(-1) }
        driver.pointee = Driver()
    }

    /// One line a closed connection, at debug: what an operator needs who looks into one client's trouble.
    private func logClosed(_ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ reason: CloseReason) {
        guard let log else { return }
        var metadata: Logger.Metadata = [
            "client.address": .string(loop.peer(id).description), "martlet.close.reason": .string("\(reason)"),
            "martlet.messages.received": .stringConvertible(driver.pointee.messages),
            "duration_ms": .stringConvertible(loop.now.since(driver.pointee.opened).wholeMilliseconds),
        ]
        if driver.pointee.closeCode != 0 {
            metadata["martlet.close.code"] = .stringConvertible(driver.pointee.closeCode)
        }
        log.debug("connection closed", metadata: metadata)
    }

    // MARK: LoopHook, LetterHandler

    func beforeFlush() -> Bool {
        for id in shell.takeLeaving() { rooms.closed(id.word, isAbrupt: mayComeBack(id)) }
        return rooms.beforeFlush()
    }

    func receive(_ letter: Letter) {
        guard let kind = LoopMessage.Kind(rawValue: letter.kind) else { return }
        rooms.receive(LoopMessage(kind, letter.words, object: letter.object))
    }

    /// Whether a client that we close comes back by itself.
    private func mayComeBack(_ id: ConnectionID) -> Bool {
        shell.driver(id).map { DisconnectCode.reconnects($0.pointee.closeCode) } ?? true
    }

    // MARK: Frames

    func readFrames(_ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ bytes: UnsafeMutableRawBufferPointer)
    {
        let isEcho = driver.pointee.phase == .echo
        var input = FrameInput(bytes)
        while true {
            let isEarly = driver.pointee.awaitsConnect && !isEcho
            switch driver.pointee.reader.next(&input, isEcho ? ClientHandler.echoLimits : limits) {
            case .needMore:
                // What a stranger makes us hold is bounded by what a token needs; a buffer may be twice its content.
                if isEarly, driver.pointee.reader.ownedBytes > 2 * rooms.rules.preConnectBytes {
                    shell.close(id.word, .badRequest)
                }
                return
            case .message(let kind, let isCompressed, var message):
                metrics.add(.framesReceived(kind == .text ? .text : .binary))
                driver.pointee.messages &+= 1
                guard !driver.pointee.close.hasSent else { continue }
                if isCompressed {
                    switch inflate(kind, message, isEcho: isEcho, isEarly: isEarly) {
                    case .message(let whole): message = whole
                    case .violation(let violation): return fail(id, driver, violation)
                    }
                }
                if isEcho {
                    echo(id, driver, kind.opcode, UnsafeRawBufferPointer(message))
                    // It may have found the socket broken.
                    guard shell.driver(id) != nil else { return }
                } else if kind == .text {
                    rooms.received(id.word, UnsafeRawBufferPointer(message))
                    if isEarly { driver.pointee.awaitsConnect = rooms.awaitsConnect(id.word) }
                } else {
                    shell.sendClose(id, .unsupportedData, "text frames expected")
                }
            case .ping(let payload):
                metrics.add(.framesReceived(.ping))
                pong(id, driver, UnsafeRawBufferPointer(payload))
            case .pong:
                metrics.add(.framesReceived(.pong))
                if driver.pointee.phase == .rooms { rooms.receivedPongFrame(id.word) }
            case .close(let code, reason: _):
                metrics.add(.framesReceived(.close))
                finish(id, driver, code)
                return
            case .violation(let violation): return fail(id, driver, violation)
            }
        }
    }

    private func fail(_ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ violation: FrameViolation) {
        shell.sendClose(id, violation.code, violation.reason)
        driver.pointee.phase = .ended
        loop.closeAfterFlush(id)
    }

    /// What was compressed may become as long as a plain message, and a stranger's no longer than a token needs.
    private func inflate(
        _ kind: MessageKind, _ payload: UnsafeMutableRawBufferPointer, isEcho: Bool, isEarly: Bool
    ) -> InflatedMessage {
        var limit = isEcho ? ClientHandler.echoLimits.messageBytes : limits.messageBytes
        if isEarly { limit = min(limit, rooms.rules.preConnectBytes) }
        return shell.compression?.inflate(kind, payload, limit: limit) ?? .violation(.reservedBits)
    }

    private func echo(
        _ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ opcode: Opcode, _ message: UnsafeRawBufferPointer
    ) {
        // One that sends without reading must not fill our memory: it feels back-pressure instead. The socket is asked
        // first: nobody would wake a reader up that paused for output which the socket then took whole.
        if shell.sendMessage(id, opcode, message, driver.pointee.window) > ClientHandler.echoHighWater,
            loop.offer(id) > ClientHandler.echoHighWater
        {
            loop.pauseReading(id)
        }
    }

    /// One pong may wait at a time: a peer that pings and does not read gets the answer to what it asked last, when it
    /// reads again (RFC 6455 section 5.5.3 allows to answer only the most recent ping), and our memory stays flat.
    private func pong(_ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ payload: UnsafeRawBufferPointer) {
        guard !driver.pointee.close.hasSent else { return }
        if loop.isBlocked(id) {
            driver.pointee.unansweredPing = Payload(copying: payload)
        } else {
            shell.sendFrame(id, .pong, payload)
        }
    }

    /// The peer's Close: echoed if ours is not out, then the connection ends.
    private func finish(_ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ code: CloseCode?) {
        if driver.pointee.close.receive() {
            driver.pointee.closeCode = code?.rawValue ?? 1005
            scratch.removeAll()
            if let code {
                ClosePayload.appendFrame(code, reason: "", to: &scratch)
            } else {
                scratch.appendFrame(.close, UnsafeRawBufferPointer(start: nil, count: 0))
            }
            loop.write(id, scratch.bytes)
        }
        driver.pointee.phase = .ended
        // Whoever closes normally, or without a word on why, has left; everything else may be a page that reloads.
        rooms.closed(id.word, isAbrupt: code != nil && code != .normal)
        loop.setTimer(id, after: settings.closeTimeout)
        loop.closeAfterFlush(id)
    }
}
