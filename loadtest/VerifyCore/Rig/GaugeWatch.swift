// Samples once a second what gateways and Redis use: memory and descriptors from /proc, queues, connections and series
// from /metrics, connections from Redis itself. Tells the checker, which judges. On the driver's loop; at most one
// question of a kind under way.

import Bytes
import Reactor

final class GaugeWatch {
    private let rig: ClusterRig
    private let checker: Checker
    private let pages: AdminClient
    /// A line of its own: a command that Redis does not answer must not take the faults' commands with it.
    private let redis: RedisControl?
    private var isAskingRedis = false
    private var isAsking: Set<Int> = []
    /// Samples of all that were complete.
    private(set) var rounds = 0

    init(_ loop: Loop, rig: ClusterRig, checker: Checker) {
        self.rig = rig
        self.checker = checker
        pages = AdminClient(loop)
        redis = SocketAddress(host: "127.0.0.1", port: rig.redisPort).flatMap {
            rig.plan.isEmbedded ? nil : RedisControl(loop, $0)
        }
    }

    /// Whether nothing is under way.
    var isIdle: Bool { isAsking.isEmpty && !isAskingRedis }

    /// Takes a sample of everything that answers.
    func sample(now: MonotonicTime) {
        for gateway in rig.gateways where gateway.isUp && !isAsking.contains(gateway.number) {
            guard let process = gateway.process?.sample() else { continue }
            let number = gateway.number
            var gauges = GatewayGauges()
            gauges.resident = process.resident
            gauges.descriptors = process.descriptors
            isAsking.insert(number)
            pages.get("/metrics", port: gateway.adminPort, patience: .seconds(2)) { [weak self] answer in
                guard let self else { return }
                isAsking.remove(number)
                if let answer, answer.status == 200 { GaugeWatch.read(answer.body, into: &gauges) }
                checker.sampled(number, gauges, now: rig.loop.now)
            }
        }
        guard let redis, !isAskingRedis, rig.redis?.isRunning == true else { return }
        isAskingRedis = true
        redis.send(["INFO", "clients"]) { [weak self] reply in
            guard let self else { return }
            isAskingRedis = false
            guard let reply, let count = RedisInfo.number("connected_clients:", in: reply) else { return }
            checker.sampledRedis(connections: count, gateways: rig.gateways.count, now: rig.loop.now)
        }
    }

    func stop() { redis?.drop() }

    /// Takes queue, connections and the number of series out of a metrics page.
    static func read(_ page: [UInt8], into gauges: inout GatewayGauges) {
        var series = 0
        for line in page.split(separator: 10) where line.first != UInt8(ascii: "#") {
            series += 1
            if let value = value(of: "martlet_outbound_queue_bytes ", in: line) { gauges.queuedBytes = UInt64(value) }
            if let value = value(of: "martlet_connections ", in: line) { gauges.connections = Int(value) }
        }
        gauges.series = series
    }

    private static func value(of name: String, in line: ArraySlice<UInt8>) -> Double? {
        guard line.starts(with: name.utf8) else { return nil }
        let text = String(decoding: line.dropFirst(name.utf8.count), as: UTF8.self)
        return Double(text.prefix { $0 != " " }).flatMap { $0 >= 0 && $0 < 1e15 ? $0 : nil }
    }
}

/// Reads the answers of INFO.
enum RedisInfo {
    /// The whole number behind `key`.
    static func number(_ key: String, in reply: [UInt8]) -> Int? {
        for line in reply.split(separator: 10) where line.starts(with: key.utf8) {
            let digits = line.dropFirst(key.utf8.count).prefix { (48...57).contains($0) }
            return Int(String(decoding: digits, as: UTF8.self))
        }
        return nil
    }

    /// Calls of `command` in the answer of INFO commandstats; 0 when there was none.
    static func calls(_ command: String, in reply: [UInt8]) -> Int {
        number("cmdstat_\(command):calls=", in: reply) ?? 0
    }
}
