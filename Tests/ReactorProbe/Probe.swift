// Checks of the reactor that change the whole process (descriptor limit, signal mask) and so need one of their own. The
// tests start it with the name of a check; it prints `key=value` lines, which the tests judge.

import Bytes
import CLinux
import Glibc
import Reactor
import Telemetry

/// Sends everything back, and counts.
final class EchoHandler: ConnectionHandler {
    unowned let loop: Loop
    var opened = 0
    var ids: [ConnectionID] = []
    init(_ loop: Loop) { self.loop = loop }
    func opened(_ id: ConnectionID) {
        opened += 1
        ids.append(id)
    }
    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        loop.write(id, UnsafeRawBufferPointer(bytes))
    }
    func closed(_ id: ConnectionID, _ reason: CloseReason) {}
}

func report(_ key: String, _ value: Int) { print("\(key)=\(value)") }

func setDescriptorLimit(_ count: UInt) {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = count
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}

/// Closes what the parent's other tests had open when it forked: the checks count descriptors.
func closeInherited() {
    for descriptor in Int32(3)..<4096 { close(descriptor) }
}

/// The lowest descriptor that is free.
func lowestFree() -> Int32 {
    let descriptor = dup(0)
    close(descriptor)
    return descriptor
}

@main struct Probe {
    static func main() throws {
        closeInherited()
        setDescriptorLimit(256)
        switch CommandLine.arguments.dropFirst().first {
        case "descriptors": try DescriptorProbe().run()
        case "signals": try signals()
        default:
            print("usage: reactor-probe descriptors|signals")
            exit(2)
        }
    }

    /// Signals come as events, once each, and do not interrupt or end the process.
    static func signals() throws {
        Signals.prepare([SIGTERM, SIGHUP, SIGUSR1])
        let registry = MetricRegistry(loops: 1, version: "probe")
        let loop = try Loop(metrics: registry.shard(0))
        var seen: [Int32] = []
        try loop.onSignals([SIGTERM, SIGHUP, SIGUSR1]) { seen.append($0) }
        loop.turn(wait: false)
        report("before", seen.count)
        for number in [SIGTERM, SIGHUP, SIGUSR1] { kill(getpid(), number) }
        loop.turn()
        report("together", seen.count)
        report("distinct", Set(seen).count)
        kill(getpid(), SIGTERM)
        loop.turn()
        report("last", Int(seen.last ?? 0) == Int(SIGTERM) ? 1 : 0)
        // SIGPIPE is ignored after prepare.
        kill(getpid(), SIGPIPE)
        report("survived", 1)
        withExtendedLifetime(registry) { loop.dismantle() }
    }
}
