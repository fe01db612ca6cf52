// Faults of processes: killed, drained, frozen. F01, F02, F04, F05, F06, F07. See Fault.swift.

import Bytes
import Glibc
import Reactor

final class GatewayKilled: Fault {
    let name = FaultName.gatewayKilled
    let length = Duration.seconds(2)
    private var gateway: GatewayNode?
    private var victim: ChildProcess?

    func inject(_ scene: Scene) {
        let chosen = scene.anyGateway()
        gateway = chosen
        victim = chosen.process
        chosen.process?.signal(SIGKILL)
    }

    func heal(_ scene: Scene) { if let gateway { scene.restart(gateway) } }
    func isHealed(_ scene: Scene) -> Bool { gateway?.isUp ?? true }
    func evidence(_ scene: Scene) -> String? {
        victim?.ending == .signal(SIGKILL) ? "gateway \(gateway?.number ?? -1) ended by signal 9" : nil
    }
}

final class GatewayDrained: Fault {
    let name = FaultName.gatewayDrained
    let length = Duration.seconds(5)
    private var gateway: GatewayNode?
    private var victim: ChildProcess?

    func inject(_ scene: Scene) {
        let chosen = scene.anyGateway()
        gateway = chosen
        victim = chosen.process
        chosen.process?.signal(SIGTERM)
    }

    func heal(_ scene: Scene) {
        guard let gateway, let victim else { return }
        if victim.isRunning {
            scene.checker.report(
                .errorVisibility, now: scene.now,
                "gateway \(gateway.number) still runs 5 s after SIGTERM, its drain is 3 s")
            victim.end()
        } else if let ending = victim.ending, ending != .code(0) {
            scene.checker.report(.crash, now: scene.now, "gateway \(gateway.number) drained with \(ending)")
        }
        scene.restart(gateway)
    }

    func isHealed(_ scene: Scene) -> Bool { gateway?.isUp ?? true }
    func evidence(_ scene: Scene) -> String? {
        victim?.ending.map { "gateway \(gateway?.number ?? -1) ended with \($0)" }
    }
}

final class GatewayFrozen: Fault {
    let name = FaultName.gatewayFrozen
    let length = Duration.seconds(6)
    private var gateway: GatewayNode?
    var victimGateway: GatewayNode? { gateway }
    private var state = ""

    func inject(_ scene: Scene) {
        let chosen = scene.anyGateway()
        gateway = chosen
        chosen.frozenSince = scene.now
        chosen.process?.signal(SIGSTOP)
    }

    func heal(_ scene: Scene) {
        state = gateway?.process?.schedulerState ?? ""
        gateway?.process?.signal(SIGCONT)
        gateway?.frozenSince = nil
        gateway?.thawedAt = scene.now
    }

    func evidence(_ scene: Scene) -> String? { state == "T" ? "gateway \(gateway?.number ?? -1) was stopped" : nil }
}

final class RedisKilled: Fault {
    let name = FaultName.redisKilled
    let length = Duration.seconds(2)
    private var victim: ChildProcess?
    private var isBack = false

    func inject(_ scene: Scene) {
        victim = scene.rig.redis
        scene.rig.redis?.signal(SIGKILL)
    }

    func heal(_ scene: Scene) { isBack = RedisReturn.begin(scene) { self.isBack = true } }
    func isHealed(_ scene: Scene) -> Bool { isBack }
    func evidence(_ scene: Scene) -> String? { victim?.ending == .signal(SIGKILL) ? "Redis ended by signal 9" : nil }
    var losesData: Bool { mayLose }
    private let mayLose: Bool

    /// Without its log of appends Redis forgets everything.
    init(isDurable: Bool) { mayLose = !isDurable }
}

final class RedisFrozen: Fault {
    let name = FaultName.redisFrozen
    let length = Duration.seconds(3)
    private var state = ""

    func inject(_ scene: Scene) { scene.rig.redis?.signal(SIGSTOP) }
    func heal(_ scene: Scene) {
        state = scene.rig.redis?.schedulerState ?? ""
        scene.rig.redis?.signal(SIGCONT)
    }
    func evidence(_ scene: Scene) -> String? { state == "T" ? "Redis was stopped" : nil }
}

/// All data at once (FLUSHALL), an end without saving and an empty start, or a start from an older snapshot.
final class RedisLosesData: Fault {
    enum Way: String {
        case flush = "FLUSHALL"
        case empty = "an empty restart"
        case snapshot = "a restart from an older snapshot"
    }
    let name = FaultName.redisLosesData
    let length: Duration
    let losesData = true
    private let way: Way
    private var isDone = false
    private var isBack = true

    init(_ way: Way) {
        self.way = way
        length = way == .flush ? .seconds(1) : .seconds(3)
    }

    func inject(_ scene: Scene) {
        switch way {
        case .flush: scene.rig.redisControl?.send(["FLUSHALL"]) { self.isDone = $0?.first == UInt8(ascii: "+") }
        case .empty: end(scene)
        case .snapshot:
            scene.rig.redisControl?.send(["SAVE"]) { reply in
                guard reply?.first == UInt8(ascii: "+"), scene.rig.snapshot(restore: false) else { return }
                // Acknowledged after the snapshot and lost with it.
                scene.after(.milliseconds(1500)) { self.end(scene) }
            }
        }
    }

    private func end(_ scene: Scene) {
        scene.rig.redis?.end()
        if way == .empty { scene.rig.removeRedisData() }
        if way == .snapshot { _ = scene.rig.snapshot(restore: true) }
        isDone = true
    }

    func heal(_ scene: Scene) {
        guard way != .flush else { return }
        isBack = RedisReturn.begin(scene) { self.isBack = true }
    }

    func isHealed(_ scene: Scene) -> Bool { isBack }
    func evidence(_ scene: Scene) -> String? { isDone ? way.rawValue : nil }
}

/// Starting Redis again and finding out when it answers.
enum RedisReturn {
    /// Starts Redis; `done` when it answers a PING. Returns true when it cannot be started at all.
    static func begin(_ scene: Scene, _ done: @escaping () -> Void) -> Bool {
        do {
            try scene.rig.startRedis()
        } catch {
            scene.checker.report(.crash, now: scene.now, "Redis cannot be started: \(error)")
            return true
        }
        ask(scene, done, attempts: 200)
        return false
    }

    private static func ask(_ scene: Scene, _ done: @escaping () -> Void, attempts: Int) {
        scene.rig.redisControl?.send(["PING"]) { reply in
            if reply?.first == UInt8(ascii: "+") || attempts == 0 { return done() }
            scene.after(.milliseconds(50)) { ask(scene, done, attempts: attempts - 1) }
        }
    }
}
