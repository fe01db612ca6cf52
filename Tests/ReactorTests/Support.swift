// What the reactor's tests share: a loop with its metrics, a clock that tests turn, a handler that writes down what it
// hears, and a plain blocking socket as the other side.

import Bytes
import CLinux
import Glibc
import Synchronization
import Telemetry
import Testing

@testable import Reactor

/// Metrics of all loops of these tests; never freed, so that no loop outlives it. Nothing reads the sums.
let sharedMetrics = MetricRegistry(loops: 1, version: "test")

func makeLoop(_ limits: LoopLimits = LoopLimits(), clock: ManualClock? = nil) throws -> Loop {
    guard let clock else { return try Loop(limits: limits, metrics: sharedMetrics.shard(0)) }
    return try Loop(limits: limits, metrics: sharedMetrics.shard(0), clock: { clock.now })
}

/// Lets go of what the loop and its handlers hold of each other.
func dismantleForTest(_ loop: Loop) {
    loop.stop()
    loop.run()
    for handler in loop.state.pointee.handlers { (handler as? Recorder)?.forget() }
    loop.dismantle()
}

/// A clock that stands still until a test moves it.
final class ManualClock {
    var now = MonotonicTime(nanoseconds: 1_000_000_000_000)
    func advance(_ duration: Duration) { now = now + duration }
}

/// Writes down every call; the closures let a test act inside one.
final class Recorder: ConnectionHandler {
    unowned let loop: Loop
    var openedIDs: [ConnectionID] = []
    var received: [ConnectionID: [UInt8]] = [:]
    var receiveCalls = 0
    var timers: [ConnectionID] = []
    var drainedIDs: [ConnectionID] = []
    var closedIDs: [ConnectionID: CloseReason] = [:]
    var onOpened: ((ConnectionID) -> Void)?
    var onReceived: ((ConnectionID, [UInt8]) -> Void)?
    var onTimer: ((ConnectionID) -> Void)?
    var onDrained: ((ConnectionID) -> Void)?
    /// What `stalled` answers; nil: as a handler without it.
    var onStalled: ((ConnectionID) -> Bool)?
    var onClosed: ((ConnectionID) -> Void)?

    init(_ loop: Loop) { self.loop = loop }

    func opened(_ id: ConnectionID) {
        #expect(loop.isOpen(id), "opened comes for an open connection")
        openedIDs.append(id)
        onOpened?(id)
    }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        #expect(closedIDs[id] == nil, "nothing comes after closed")
        #expect(!bytes.isEmpty)
        receiveCalls += 1
        received[id, default: []] += Array(bytes)
        onReceived?(id, Array(bytes))
    }

    func timerFired(_ id: ConnectionID) {
        #expect(closedIDs[id] == nil, "nothing comes after closed")
        timers.append(id)
        onTimer?(id)
    }

    func drained(_ id: ConnectionID) {
        #expect(closedIDs[id] == nil, "nothing comes after closed")
        drainedIDs.append(id)
        onDrained?(id)
    }

    func stalled(_ id: ConnectionID) -> Bool {
        #expect(closedIDs[id] == nil, "nothing comes after closed")
        return onStalled?(id) ?? false
    }

    func closed(_ id: ConnectionID, _ reason: CloseReason) {
        #expect(closedIDs[id] == nil, "closed comes once")
        closedIDs[id] = reason
        onClosed?(id)
    }

    /// Lets go of the closures, which mostly hold the loop and this recorder.
    func forget() {
        onOpened = nil
        onReceived = nil
        onTimer = nil
        onDrained = nil
        onStalled = nil
        onClosed = nil
    }

    func text(_ id: ConnectionID) -> String { String(decoding: received[id] ?? [], as: UTF8.self) }
}

/// Sends everything back.
final class Echo: ConnectionHandler {
    unowned let loop: Loop
    var closedReasons: [CloseReason] = []
    init(_ loop: Loop) { self.loop = loop }
    func opened(_ id: ConnectionID) {}
    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        loop.write(id, UnsafeRawBufferPointer(bytes))
    }
    func closed(_ id: ConnectionID, _ reason: CloseReason) { closedReasons.append(reason) }
}

extension Loop {
    func write(_ id: ConnectionID, text: String) { Array(text.utf8).withUnsafeBytes { write(id, $0) } }
    func write(_ id: ConnectionID, _ bytes: [UInt8]) { bytes.withUnsafeBytes { write(id, $0) } }
    func writeAhead(_ id: ConnectionID, text: String) {
        Array(text.utf8).withUnsafeBytes { writeAhead(id, $0, at: anyPlace) }
    }

    /// Runs iterations that do not sleep.
    func turn(times: Int) { for _ in 0..<times { turn(wait: false) } }

    /// Runs iterations until `condition` holds; a test that waits in vain fails instead of hanging.
    func turn(until what: String, location: SourceLocation = #_sourceLocation, _ condition: () -> Bool) {
        let deadline = MonotonicTime.now() + .seconds(20)
        while !condition() {
            guard MonotonicTime.now() < deadline else {
                Issue.record("waited in vain until \(what)", sourceLocation: location)
                return
            }
            // Something short is always armed, so that an iteration without events ends soon.
            let nudge = schedule(after: .milliseconds(20)) {}
            turn()
            cancel(nudge)
        }
    }
}

/// A boundary for output that has no frames.
func anyPlace(_ block: UnsafeRawBufferPointer, _ sent: Int) -> Int { sent }

/// The tests' own framing: a byte that says how many follow.
enum Chunk {
    static func make(_ payload: [UInt8]) -> [UInt8] { [UInt8(payload.count)] + payload }

    static func boundary(_ block: UnsafeRawBufferPointer, _ sent: Int) -> Int {
        var position = 0
        while position < sent { position += 1 + Int(block[position]) }
        return position
    }

    /// Takes a stream apart; nil when it does not end with a whole chunk.
    static func payloads(_ stream: [UInt8]) -> [[UInt8]]? {
        var payloads: [[UInt8]] = []
        var position = 0
        while position < stream.count {
            let end = position + 1 + Int(stream[position])
            guard end <= stream.count else { return nil }
            payloads.append(Array(stream[(position + 1)..<end]))
            position = end
        }
        return payloads
    }
}

/// Bytes that are easy to compare and do not repeat with a short period.
func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var random = SeededRandom(seed: seed)
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        let raw = UnsafeMutableRawBufferPointer(buffer)
        for start in stride(from: 0, to: count, by: 8) {
            withUnsafeBytes(of: random.next()) { word in
                for index in 0..<min(8, count - start) { raw[start + index] = word[index] }
            }
        }
        filled = count
    }
}

func loopback(_ port: UInt16 = 0) throws -> SocketAddress { try #require(SocketAddress(host: "127.0.0.1", port: port)) }

/// The other side of a connection: a socket of its own, outside of any loop. Non-blocking unless said otherwise.
final class Peer {
    private(set) var descriptor: Int32
    var bytes: [UInt8] = []
    /// How reading ended: 0 is the peer's close, otherwise an errno.
    var end: Int32?

    init(descriptor: Int32) { self.descriptor = descriptor }

    init(to address: SocketAddress) throws {
        descriptor = martlet_socket(address.family)
        try #require(descriptor >= 0)
        let status = address.withAddress { martlet_connect(descriptor, $0, $1) }
        try #require(status == 0 || errno == EINPROGRESS, "connect: \(errno)")
    }

    deinit { close() }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    /// Closes with a reset instead of a FIN.
    func reset() {
        var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        close()
    }

    func shutdownWrite() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Sends what fits; returns how many bytes that were, or -1.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Int { bytes.withUnsafeBytes { martlet_send(descriptor, $0.baseAddress, $0.count) } }
    @discardableResult
    func send(_ text: String) -> Int { send(Array(text.utf8)) }

    /// Reads what is there, at most `limit` bytes.
    func poll(limit: Int = .max) {
        guard end == nil else { return }
        var left = limit
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while left > 0 {
            let count = recv(descriptor, &chunk, min(chunk.count, left), Int32(MSG_DONTWAIT))
            if count < 0 {
                if errno != EAGAIN { end = errno }
                return
            }
            if count == 0 {
                end = 0
                return
            }
            bytes += chunk[..<count]
            left -= count
        }
    }

    var text: String { String(decoding: bytes, as: UTF8.self) }
}
