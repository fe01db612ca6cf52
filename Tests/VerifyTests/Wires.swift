// Loops and peers for the tests of proxy and fake: a client that collects, a server that echoes or collects. Stepped by
// the test; a deadline is the last resort.

import Bytes
import Reactor
import Telemetry

/// A loop of a test.
final class TestLoop {
    let registry = MetricRegistry(loops: 1, version: "test")
    let loop: Loop

    init() throws { loop = try Loop(index: 0, metrics: registry.shard(0)) }
    deinit { loop.dismantle() }

    /// Turns the loop until `condition` holds; false after 30 seconds.
    func turn(until condition: () -> Bool) -> Bool {
        let deadline = MonotonicTime.now() + .seconds(30)
        while !condition() {
            if MonotonicTime.now() > deadline { return false }
            loop.schedule(after: .milliseconds(4)) {}
            loop.turn()
        }
        return true
    }
}

/// Collects what comes; as a server it may echo.
final class Collector: ConnectionHandler {
    let loop: Loop
    var kind: UInt8 = 0
    var echoes = false
    var bytes: [UInt8] = []
    /// Sizes of the reads.
    var reads: [Int] = []
    var connections: [ConnectionID] = []
    var ends: [CloseReason] = []

    init(_ loop: Loop, echoes: Bool = false) {
        self.loop = loop
        self.echoes = echoes
        kind = loop.register(self)
    }

    func listen() throws -> SocketAddress {
        guard let any = SocketAddress(host: "127.0.0.1", port: 0) else { throw SystemError("bind", code: 22) }
        let listener = try Listener.bind(any, shared: false, handler: kind)
        try loop.add(listener)
        return listener.address
    }

    func connect(_ address: SocketAddress) throws -> ConnectionID { try loop.connect(to: address, handler: kind) }

    func send(_ id: ConnectionID, _ text: String) { Array(text.utf8).withUnsafeBytes { loop.write(id, $0) } }

    var text: String { String(decoding: bytes, as: UTF8.self) }

    func opened(_ id: ConnectionID) { connections.append(id) }
    func received(_ id: ConnectionID, _ piece: UnsafeMutableRawBufferPointer) {
        bytes += UnsafeRawBufferPointer(piece)
        reads.append(piece.count)
        if echoes { loop.write(id, UnsafeRawBufferPointer(piece)) }
    }
    func closed(_ id: ConnectionID, _ reason: CloseReason) { ends.append(reason) }
}
