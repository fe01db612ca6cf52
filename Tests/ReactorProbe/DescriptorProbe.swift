// NET-08: what a loop does while the process has no descriptors left. Counts iterations, since a loop that spins makes
// thousands of them in the time in which a resting one makes a few.

import Bytes
import CLinux
import Glibc
import Reactor
import Telemetry

struct DescriptorProbe {
    private let registry = MetricRegistry(loops: 1, version: "probe")
    private let loop: Loop
    private let handler: EchoHandler
    private let listener: Listener

    init() throws {
        loop = try Loop(metrics: registry.shard(0))
        handler = EchoHandler(loop)
        guard let any = SocketAddress(host: "127.0.0.1", port: 0) else { throw SystemError("address", code: EINVAL) }
        listener = try Listener.bind(any, shared: false, handler: loop.register(handler))
        try loop.add(listener)
    }

    /// A client's socket that is not yet connected: made early, since later there are no descriptors.
    private func socket() -> Int32 { martlet_socket(AF_INET) }

    private func connect(_ descriptor: Int32) {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = (listener.address.port ?? 0).bigEndian
        inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
        withUnsafePointer(to: &address) {
            _ = martlet_connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }

    /// 1 for bytes, 0 for the end or an error, -1 for nothing yet.
    private func receive(_ descriptor: Int32) -> Int {
        var byte: UInt8 = 0
        let count = recv(descriptor, &byte, 1, Int32(MSG_DONTWAIT))
        return count > 0 ? 1 : count == 0 || errno != EAGAIN ? 0 : -1
    }

    private func send(_ descriptor: Int32) {
        var byte: UInt8 = 1
        _ = martlet_send(descriptor, &byte, 1)
    }

    /// Runs the loop for `milliseconds` and returns the number of iterations.
    private func iterate(milliseconds: Int) -> Int {
        let end = MonotonicTime.now() + .milliseconds(milliseconds)
        let stop = loop.schedule(after: .milliseconds(milliseconds)) {}
        var count = 0
        while MonotonicTime.now() < end {
            loop.turn()
            count += 1
        }
        loop.cancel(stop)
        return count
    }

    /// Whether `descriptor` gets its echo while the loop runs.
    private func echoes(_ descriptor: Int32) -> Bool {
        send(descriptor)
        for _ in 0..<200 {
            let nudge = loop.schedule(after: .milliseconds(20)) {}
            loop.turn()
            loop.cancel(nudge)
            let result = receive(descriptor)
            if result >= 0 { return result == 1 }
        }
        return false
    }

    func run() throws {
        let clients = (0..<60).map { _ in socket() }
        // Room for the loop to accept ten; the rest of the clients is refused by means of the reserve.
        let inUse = lowestFree()
        setDescriptorLimit(UInt(inUse) + 10)
        for client in clients[..<40] { connect(client) }
        _ = iterate(milliseconds: 50)
        report("accepted", handler.opened)
        report("refused", clients[..<40].count { receive($0) == 0 })
        report("served", clients[..<40].count { receive($0) == -1 && echoes($0) })
        report("counted", Int(registry.total(.acceptErrors(.processDescriptors))))
        report("idleIterations", iterate(milliseconds: 300))

        // Not even the reserve helps when the limit lies below what is open: the listener rests.
        setDescriptorLimit(3)
        for client in clients[40..<50] { connect(client) }
        report("restingIterations", iterate(milliseconds: 350))
        report("acceptedWhileResting", handler.opened)
        let survivor = clients[..<40].first { receive($0) == -1 } ?? -1
        report("servedWhileResting", echoes(survivor) ? 1 : 0)

        // Descriptors are back: whoever waits is accepted, and the reserve is there for the next time.
        setDescriptorLimit(256)
        _ = iterate(milliseconds: 250)
        report("acceptedAfterwards", handler.opened)
        report("servedAfterwards", clients[40..<50].count { echoes($0) })
        setDescriptorLimit(UInt(lowestFree()))
        for client in clients[50..<60] { connect(client) }
        _ = iterate(milliseconds: 50)
        report("refusedAgain", clients[50..<60].count { receive($0) == 0 })
        report("connections", loop.connectionCount)
        loop.stop()
        loop.run()
        loop.dismantle()
        report("frames", loop.liveFrames)
    }
}
