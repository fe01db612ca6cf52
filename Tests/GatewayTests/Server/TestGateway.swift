// Gateways for tests, in this process and on ports of their own: a whole GatewayServer, and bare loops with settings
// that no operator can set (short deadlines, small limits). Both end with the object.

import Bytes
import Glibc
import Logging
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import Gateway
@testable import Reactor
@testable import Rooms

/// A running gateway with two loops, the embedded engine and an insecure client listener unless told otherwise.
final class TestGateway {
    let server: GatewayServer
    let port: UInt16
    let adminPort: UInt16
    private var isRunning = true

    static func configuration(_ adjust: (inout GatewayConfiguration) -> Void = { _ in }) -> GatewayConfiguration {
        var configuration = GatewayConfiguration()
        configuration.port = 0
        configuration.admin.port = 0
        configuration.loops = 2
        configuration.client.insecure = true
        // Tests say much in a short time; those of the limit set it.
        configuration.client.rate = nil
        configuration.shutdown.drainWindow = .milliseconds(50)
        adjust(&configuration)
        return configuration
    }

    static var quiet: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }

    init(_ adjust: (inout GatewayConfiguration) -> Void = { _ in }) throws {
        server = GatewayServer(configuration: TestGateway.configuration(adjust), logger: TestGateway.quiet)
        try server.start()
        port = server.clientAddress?.port ?? 0
        adminPort = server.adminAddress?.port ?? 0
    }

    deinit { stop() }

    /// Drains and waits for the end.
    func stop() {
        guard isRunning else { return }
        isRunning = false
        server.stop()
        server.wait()
    }

    /// A connection that is upgraded; nothing has been said.
    func peer(_ path: String = "/connection/websocket", receiveBuffer: Int32? = nil) throws -> WebSocketPeer {
        try WebSocketPeer(port: port, path, receiveBuffer: receiveBuffer)
    }

    /// A client that is connected.
    func client(receiveBuffer: Int32? = nil) throws -> WebSocketPeer {
        try peer(receiveBuffer: receiveBuffer).connected()
    }

    /// The health check and the metrics page as an operator sees them.
    func admin(_ path: String, method: String = "GET", fields: [String] = []) throws -> HTTPAnswer {
        try RawSocket(port: adminPort).get(path, method: method, fields: fields)
    }

    /// The samples of the metrics page whose line begins with `prefix`, added up.
    func metric(_ prefix: String) throws -> Double {
        try admin("/metrics").body.split(separator: "\n").filter { $0.hasPrefix(prefix) && !$0.hasPrefix("#") }
            .compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }.reduce(0, +)
    }
}

extension WebSocketPeer {
    /// Says `connect` and checks the reply.
    func connected() throws -> WebSocketPeer {
        let reply = try ask(#"{"id":1,"connect":{}}"#)
        guard reply.hasPrefix(#"{"id":1,"connect":{"client":""#) else { throw TestFailure("connect: \(reply)") }
        return self
    }

    /// Joins a room.
    @discardableResult
    func joined(_ room: String) throws -> WebSocketPeer {
        let reply = try ask(#"{"id":2,"subscribe":{"channel":"\#(room)"}}"#)
        guard reply == #"{"id":2,"subscribe":{}}"# else { throw TestFailure("subscribe: \(reply)") }
        return self
    }

    /// Publishes without waiting for the reply.
    func publish(_ room: String, _ data: String) throws {
        try send(#"{"id":3,"publish":{"channel":"\#(room)","data":\#(data)}}"#)
    }
}

/// Runs a test of bad input beside a client that minds its own business; afterwards the server must answer its health
/// check, that client must have seen nothing but what it asked for, and newcomers must be served.
func besideNeighbour(_ gateway: TestGateway, _ body: (TestGateway) throws -> Void) throws {
    let neighbour = try gateway.client()
    try neighbour.joined("neighbours")
    try body(gateway)
    try neighbour.publish("neighbours", #""still here""#)
    // Its acknowledgement and its push, in either order: the room may be at home on another loop.
    let heard = [try neighbour.text(), try neighbour.text()]
    #expect(heard.contains(#"{"id":3,"publish":{}}"#), "the neighbour saw nothing but its own: \(heard)")
    #expect(heard.contains { $0.contains("still here") }, "the neighbour saw nothing but its own: \(heard)")
    #expect(try gateway.admin("/livez").status == 200)
    let newcomer = try gateway.client()
    #expect(try newcomer.ask(#"{"id":9,"ping":{}}"#) == #"{"id":9,"ping":{}}"#)
}

func besideNeighbour(_ body: (TestGateway) throws -> Void) throws { try besideNeighbour(TestGateway(), body) }

/// One loop with the client handler alone, so that deadlines and limits can be short.
final class TestLoop {
    let port: UInt16
    private let registry: MetricRegistry
    private let gateway: GatewayLoop
    private var thread: LoopThread?

    /// `sendBuffer` bounds what the kernel holds for each client, which by itself grows to megabytes at its own time.
    init(
        limits: LoopLimits = LoopLimits(), sendBuffer: Int32? = nil,
        admission: Admission = Admission(AdmissionLimits()),
        settings adjust: (inout ClientSettings) -> Void = { _ in },
        rules adjustRules: (inout RoomRules) -> Void = { _ in }
    ) throws {
        registry = MetricRegistry(loops: 1, version: "test")
        var settings = ClientSettings()
        settings.isInsecure = true
        settings.echo = true
        adjust(&settings)
        var roomRules = RoomRules()
        roomRules.isInsecure = true
        adjustRules(&roomRules)
        let loop = try Loop(limits: limits, metrics: registry.shard(0))
        gateway = GatewayLoop(
            loop: loop, loops: [loop], settings: settings, rules: roomRules, engine: MemoryEngine(now: { loop.now }),
            logger: TestGateway.quiet, admission: admission)
        let address = try #require(SocketAddress(host: "127.0.0.1", port: 0))
        let listener = try Listener.bind(address, shared: false, handler: gateway.clientKind)
        port = try #require(listener.address.port)
        if var size = sendBuffer {
            // Inherited by the accepted sockets.
            setsockopt(
                listener.descriptor, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        try loop.add(listener)
        thread = try LoopThread(loop, name: "test-loop")
    }

    deinit {
        gateway.loop.stop()
        thread?.join()
        gateway.dismantle()
    }

    func peer(_ path: String = "/connection/websocket", receiveBuffer: Int32? = nil) throws -> WebSocketPeer {
        try WebSocketPeer(port: port, path, receiveBuffer: receiveBuffer)
    }

    func total(_ counter: Counter) -> UInt64 { registry.total(counter) }

    func total(_ gauge: Gauge) -> Int { registry.total(gauge) }

    /// Bytes that wait for peers that do not read.
    func waitingOutput() throws -> Int { try onLoop { $0.loop.waitingOutput } }

    /// Rooms that the loop knows, the ones without members included.
    func roomCount() throws -> Int { try onLoop { $0.rooms.names.count } }

    /// Asks the loop, on the loop.
    private func onLoop(_ body: @escaping @Sendable (GatewayLoop) -> Int) throws -> Int {
        let answer = Answer()
        gateway.loop.execute { [gateway] in answer.value.store(body(gateway), ordering: .releasing) }
        wait(until: "the loop has answered") { answer.value.load(ordering: .acquiring) >= 0 }
        return answer.value.load(ordering: .acquiring)
    }

    private final class Answer: Sendable {
        let value = Atomic<Int>(-1)
    }
}
