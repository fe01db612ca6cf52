// A client listener's loop without sockets and threads: clients come over in-memory pipes of any width, the test turns
// the loop, and the time stands still until the test moves it. For what depends on single bytes and on deadlines.

import Bytes
import Fuzz
import Logging
import Reactor
import Telemetry
import TestSupport
import Testing
import WebSocket

@testable import Gateway
@testable import Rooms

/// One loop with its clients, all on the test's thread.
final class PipeGateway {
    private final class Clock {
        var now = MonotonicTime(nanoseconds: 1_000_000_000_000)
    }

    private let clock: Clock
    private let registry: MetricRegistry
    private let gateway: GatewayLoop
    private let ends: Ends
    private let endKind: UInt8
    let loop: Loop

    init(
        settings adjust: (inout ClientSettings) -> Void = { _ in },
        rules adjustRules: (inout RoomRules) -> Void = { _ in }, logger: Logger = TestGateway.quiet
    ) throws {
        let clock = Clock()
        self.clock = clock
        registry = MetricRegistry(loops: 1, version: "test")
        var settings = ClientSettings()
        settings.isInsecure = true
        settings.echo = true
        adjust(&settings)
        var rules = RoomRules()
        rules.isInsecure = true
        adjustRules(&rules)
        let loop = try Loop(metrics: registry.shard(0), clock: { clock.now })
        self.loop = loop
        gateway = GatewayLoop(
            loop: loop, loops: [loop], settings: settings, rules: rules, engine: MemoryEngine(now: { loop.now }),
            logger: logger, admission: Admission(AdmissionLimits()))
        ends = Ends(loop)
        endKind = loop.register(ends)
    }

    deinit {
        loop.stop()
        loop.run()
        gateway.dismantle()
    }

    func total(_ counter: Counter) -> UInt64 { registry.total(counter) }

    func total(_ gauge: Gauge) -> Int { registry.total(gauge) }

    func turn(_ times: Int = 4) { for _ in 0..<times { loop.turn(wait: false) } }

    /// Lets the time pass in small steps.
    func advance(_ duration: Duration) { advance(duration) {} }

    /// The same, and does something at each step.
    func advance(_ duration: Duration, step: Duration = .milliseconds(100), _ each: () throws -> Void) rethrows {
        let end = clock.now + duration
        while clock.now < end {
            clock.now = clock.now + step
            turn(1)
            try each()
        }
    }

    /// A client that is upgraded, over a pipe that holds `capacity` bytes and takes `writeLimit` of them at once.
    func client(
        _ path: String = "/connection/websocket", capacity: Int = 1 << 20, writeLimit: Int = .max,
        extra: [String] = []
    ) throws -> PipeClient {
        let client = connect(capacity: capacity, writeLimit: writeLimit)
        client.send(bytes: Array(WebSocketPeer.handshake(path, extra: extra).utf8))
        while !client.isUpgraded { turn(1) }
        return client
    }

    /// A client that has said nothing yet.
    func connect(capacity: Int = 1 << 20, writeLimit: Int = .max) -> PipeClient {
        let (near, far) = loop.makePipe(gateway.clientKind, endKind, capacity: capacity, writeLimit: writeLimit)
        let client = PipeClient(self, near: near, far: far)
        ends.clients[far] = client
        return client
    }

    /// The far ends of all pipes.
    private final class Ends: ConnectionHandler {
        unowned let loop: Loop
        var clients: [ConnectionID: PipeClient] = [:]

        init(_ loop: Loop) { self.loop = loop }

        func opened(_ id: ConnectionID) {}

        func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
            guard let client = clients[id] else { return }
            client.bytes += bytes
            if client.readsOnce { loop.pauseReading(id) }
        }

        func closed(_ id: ConnectionID, _ reason: CloseReason) { clients[id]?.isEnded = true }
    }
}

/// One client: sends frames, and takes what comes apart strictly.
final class PipeClient {
    private unowned let gateway: PipeGateway
    /// The server's end, for a look at its queue.
    let near: ConnectionID
    private let far: ConnectionID
    fileprivate(set) var isEnded = false
    fileprivate var bytes: [UInt8] = []
    fileprivate var readsOnce = false
    private var taken = 0
    /// There if this client has negotiated compression.
    var bench: DeflateBench?
    /// The payloads of compressed frames as they came.
    private(set) var packed: [[UInt8]] = []

    fileprivate init(_ gateway: PipeGateway, near: ConnectionID, far: ConnectionID) {
        self.gateway = gateway
        self.near = near
        self.far = far
    }

    /// Bytes that wait for this client outside of the pipe.
    var backlog: Int { gateway.loop.queuedBytes(near) }

    // MARK: Reading

    func stopReading() { gateway.loop.pauseReading(far) }

    /// Reads on until nothing more comes.
    func readAll() {
        readsOnce = false
        gateway.loop.resumeReading(far)
        var idle = 0
        while idle < 4 {
            let before = bytes.count
            gateway.turn(1)
            idle = bytes.count == before ? idle + 1 : 0
        }
    }

    /// Takes what the pipe holds, and stops again.
    func readOnce() {
        readsOnce = true
        gateway.loop.resumeReading(far)
        gateway.turn(2)
    }

    /// Everything that has come.
    var received: [UInt8] { bytes }

    /// What has come of the answer to the handshake and of everything since.
    var text: String { String(decoding: bytes, as: UTF8.self) }

    var isUpgraded: Bool {
        let end = Array("\r\n\r\n".utf8)
        guard let head = bytes.indices.first(where: { bytes[$0...].starts(with: end) }) else { return false }
        guard bytes.starts(with: Array("HTTP/1.1 101 ".utf8)) else { return false }
        taken = head + 4
        return true
    }

    /// The whole frames that have come since the last call.
    func frames() throws -> [ServerFrame] {
        var frames: [ServerFrame] = []
        while let frame = try next() { frames.append(frame) }
        return frames
    }

    /// Bytes of a frame that has not come wholly.
    var openBytes: Int { bytes.count - taken }

    private func next() throws -> ServerFrame? {
        let left = bytes[taken...]
        guard left.count >= 2 else { return nil }
        let start = left.startIndex
        let isCompressed = bench != nil && left[start] & 0x40 != 0
        guard left[start] & (isCompressed ? 0xB0 : 0xF0) == 0x80, [1, 2, 8, 9, 10].contains(left[start] & 15),
            left[start + 1] & 0x80 == 0
        else {
            throw TestFailure("no frame of a server: \(left.prefix(16))")
        }
        var length = Int(left[start + 1])
        var header = 2
        if length >= 126 {
            header = length == 126 ? 4 : 10
            guard left.count >= header else { return nil }
            length = left[(start + 2)..<(start + header)].reduce(0) { $0 << 8 | Int($1) }
        }
        guard left.count >= header + length else { return nil }
        taken += header + length
        var payload = Array(left[(start + header)..<(start + header + length)])
        if isCompressed, let bench {
            guard left[start] & 0x08 == 0, case .message(let whole) = bench.inflate(payload, .text) else {
                throw TestFailure("does not inflate: \(payload.prefix(16))")
            }
            packed.append(payload)
            payload = whole
        }
        return ServerFrame(opcode: left[start] & 15, payload: payload)
    }

    // MARK: Saying

    /// Sends, and lets all of it arrive, however narrow the pipe is.
    func send(bytes: [UInt8]) {
        bytes.withUnsafeBytes { gateway.loop.write(far, $0) }
        var turns = 0
        while gateway.loop.queuedBytes(far) > 0, turns < 100_000 {
            gateway.turn(1)
            turns += 1
        }
    }

    func send(_ text: String) { send(bytes: WebSocketPeer.frame(1, Array(text.utf8))) }

    /// Connects, and joins a room if one is given.
    @discardableResult
    func connected(_ room: String? = nil) throws -> PipeClient {
        send(#"{"id":1,"connect":{}}"#)
        if let room { send(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#) }
        let expected = room == nil ? 1 : 2
        var count = 0
        while count < expected {
            gateway.turn(1)
            for frame in try frames() {
                guard !frame.text.contains("error") else { throw TestFailure(frame.text) }
                count += 1
            }
        }
        return self
    }

    /// Publishes and lets the loop carry it to its members' queues; takes the answer.
    func publish(_ room: String, _ data: String) throws {
        send(#"{"id":3,"publish":{"channel":"\#(room)","data":\#(data)}}"#)
        gateway.turn()
        for frame in try frames() where frame.text.contains("error") { throw TestFailure(frame.text) }
    }
}
