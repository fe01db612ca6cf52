// Faults of clients and of the ways from them. F22, F23, F24, F25, F32. See Fault.swift.

import Bytes
import Reactor

final class ClientLinksByteWise: Fault {
    let name = FaultName.clientLinksByteWise
    let length = Duration.seconds(3)
    private var before = 0
    private var held = 0

    func inject(_ scene: Scene) {
        before = sum(scene)
        var rule = LinkRule()
        rule.isByteWise = true
        for gateway in scene.rig.gateways { gateway.clientProxy.set(rule, [.up]) }
    }

    func heal(_ scene: Scene) {
        held = sum(scene) - before
        for gateway in scene.rig.gateways { gateway.clientProxy.clear() }
    }

    private func sum(_ scene: Scene) -> Int { scene.rig.gateways.reduce(0) { $0 + $1.clientProxy.figures.heldBytes } }
    func evidence(_ scene: Scene) -> String? { held > 0 ? "\(held) bytes, one a segment" : nil }
}

final class SlowReaders: Fault {
    let name = FaultName.slowReaders
    let length = Duration.seconds(10)
    private var victims: [Int] = []
    private var before: [UInt16: Int] = [:]

    func inject(_ scene: Scene) {
        victims = scene.pool.victims(from: 1)
        before = scene.pool.figures.closedByServer
        // Big enough to fill the kernel's buffers and the queue behind them within the fault.
        // Small enough that a whole history still fits into half of the queue, above which a server refuses recovery.
        scene.pool.padding = min(4000, 400_000 / max(1, scene.checker.plan.historySize))
        scene.pool.slowDown(victims, rate: 1000, until: scene.now + length)
    }

    func heal(_ scene: Scene) { scene.pool.padding = 0 }
    func isHealed(_ scene: Scene) -> Bool { scene.pool.connected(victims) == victims.count }
    func evidence(_ scene: Scene) -> String? {
        Closures.since(before, scene.pool.figures.closedByServer).map { "\(victims.count) readers; closed: \($0)" }
    }
}

final class FrozenClients: Fault {
    let name = FaultName.frozenClients
    let length = Duration.seconds(9)
    private var victims: [Int] = []
    private var before: [UInt16: Int] = [:]

    func inject(_ scene: Scene) {
        victims = scene.pool.victims(from: 2)
        before = scene.pool.figures.closedByServer
        scene.pool.freeze(victims, until: scene.now + length)
    }

    func heal(_ scene: Scene) {}
    func isHealed(_ scene: Scene) -> Bool { scene.pool.connected(victims) == victims.count }
    func evidence(_ scene: Scene) -> String? {
        Closures.since(before, scene.pool.figures.closedByServer).map { "\(victims.count) clients; closed: \($0)" }
    }
}

/// What is sent over the links that exist vanishes, in both directions; new ones work.
final class HalfOpenClients: Fault {
    let name = FaultName.halfOpenClients
    let length = Duration.seconds(10)
    private var before = 0
    private var dropped = 0
    private var links = 0

    func inject(_ scene: Scene) {
        before = sum(scene)
        links = scene.rig.gateways.reduce(0) { $0 + $1.clientProxy.count() }
        for gateway in scene.rig.gateways { gateway.clientProxy.set(.blackhole, sparingNew: true) }
    }

    func heal(_ scene: Scene) {
        dropped = sum(scene) - before
        for gateway in scene.rig.gateways { gateway.clientProxy.clear() }
    }

    private func sum(_ scene: Scene) -> Int {
        scene.rig.gateways.reduce(0) { $0 + $1.clientProxy.figures.droppedBytes }
    }
    func evidence(_ scene: Scene) -> String? { dropped > 0 ? "\(links) links, \(dropped) bytes vanished" : nil }
}

final class ReconnectStorm: Fault {
    let name = FaultName.reconnectStorm
    let length = Duration.milliseconds(100)
    private var count = 0

    func inject(_ scene: Scene) { count = scene.pool.storm() }
    func heal(_ scene: Scene) {}
    func evidence(_ scene: Scene) -> String? { count > 0 ? "\(count) clients" : nil }
}

/// What closed between two counts, as text.
enum Closures {
    static func since(_ before: [UInt16: Int], _ after: [UInt16: Int]) -> String? {
        let new = after.compactMap { code, count -> (UInt16, Int)? in
            let more = count - before[code, default: 0]
            return more > 0 ? (code, more) : nil
        }
        return new.isEmpty ? nil : new.sorted { $0.0 < $1.0 }.map { "\($0.1) × \($0.0)" }.joined(separator: ", ")
    }
}
