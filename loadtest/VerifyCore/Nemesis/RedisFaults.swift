// Faults of Redis that lives on, and of the ways to it. F13, F16, F17, F18, F19, F20, F21, F37. See Fault.swift.

import Bytes
import Reactor

final class RedisFull: Fault {
    let name = FaultName.redisFull
    let length = Duration.seconds(3)
    private var isSet = false
    private var errorsBefore = 0

    func inject(_ scene: Scene) {
        errorsBefore = scene.pool.figures.errorReplies
        scene.rig.redisControl?.send(["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        scene.rig.redisControl?.send(["CONFIG", "SET", "maxmemory", "1"]) {
            self.isSet = $0?.first == UInt8(ascii: "+")
        }
    }

    func heal(_ scene: Scene) { scene.rig.redisControl?.send(["CONFIG", "SET", "maxmemory", "0"]) }

    func evidence(_ scene: Scene) -> String? {
        let errors = scene.pool.figures.errorReplies - errorsBefore
        // A plain PUBLISH needs no memory: only rooms with history must be refused.
        guard isSet, errors > 0 || !scene.rig.hasHistory else { return nil }
        return "maxmemory 1, \(errors) publications refused"
    }
}

final class SubscriptionsKilled: Fault {
    let name = FaultName.subscriptionsKilled
    let length = Duration.seconds(1)
    private var killed = 0

    func inject(_ scene: Scene) {
        scene.rig.redisControl?.send(["CLIENT", "KILL", "TYPE", "pubsub"]) { reply in
            guard let reply, reply.first == UInt8(ascii: ":") else { return }
            self.killed = Int(String(decoding: reply.dropFirst().prefix { $0 != 13 }, as: UTF8.self)) ?? 0
        }
    }

    func heal(_ scene: Scene) {}
    func evidence(_ scene: Scene) -> String? { killed > 0 ? "\(killed) connections killed" : nil }
}

/// Redis answers, but not what one wants: one of five ways, chosen by the seed.
final class RedisRefuses: Fault {
    enum Way: String, CaseIterable {
        case noScripts = "SCRIPT FLUSH"
        case busy = "a busy script"
        case noAuth = "a password that nobody knows"
        case readOnly = "a replica without a master"
        case noReplicas = "min-replicas-to-write"
    }
    let name = FaultName.redisRefuses
    let length = Duration.seconds(2)
    private let way: Way
    private var isSet = false

    init(_ way: Way) { self.way = way }

    func inject(_ scene: Scene) {
        let done: ([UInt8]?) -> Void = { if $0?.first == UInt8(ascii: "+") { self.isSet = true } }
        guard let control = scene.rig.redisControl else { return }
        switch way {
        case .noScripts: control.send(["SCRIPT", "FLUSH"], done)
        case .busy:
            // Its reply is an error that comes with SCRIPT KILL.
            control.send(["EVAL", "while true do end", "0"]) {
                self.isSet = $0 == nil || $0?.first == UInt8(ascii: "-")
            }
        case .noAuth:
            control.send(["CONFIG", "SET", "requirepass", "nobody-knows"], done)
            control.send(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            control.send(["CLIENT", "KILL", "TYPE", "pubsub"])
        case .readOnly: control.send(["REPLICAOF", "127.0.0.1", "1"], done)
        case .noReplicas: control.send(["CONFIG", "SET", "min-replicas-to-write", "1"], done)
        }
    }

    func heal(_ scene: Scene) {
        guard let control = scene.rig.redisControl else { return }
        switch way {
        case .noScripts: break
        case .busy:
            control.drop()
            control.send(["SCRIPT", "KILL"])
        case .noAuth: control.send(["CONFIG", "SET", "requirepass", ""])
        case .readOnly: control.send(["REPLICAOF", "NO", "ONE"])
        case .noReplicas: control.send(["CONFIG", "SET", "min-replicas-to-write", "0"])
        }
    }

    func evidence(_ scene: Scene) -> String? { isSet ? way.rawValue : nil }
}

final class RedisBlackholed: Fault {
    let name = FaultName.redisBlackholed
    let length = Duration.seconds(5)
    private var gateway: GatewayNode?
    private var before = 0

    func inject(_ scene: Scene) {
        gateway = scene.anyGateway()
        before = gateway?.redisProxy?.figures.heldBytes ?? 0
        gateway?.redisProxy?.set(.stall)
    }

    func heal(_ scene: Scene) { gateway?.redisProxy?.clear() }
    func evidence(_ scene: Scene) -> String? {
        let held = (gateway?.redisProxy?.figures.heldBytes ?? 0) - before
        return held > 0 ? "gateway \(gateway?.number ?? -1), \(held) bytes held back" : nil
    }
}

final class RedisReset: Fault {
    let name = FaultName.redisReset
    let length = Duration.seconds(3)
    private var gateway: GatewayNode?
    private var before = ProxyFigures()

    func inject(_ scene: Scene) {
        gateway = scene.anyGateway()
        guard let proxy = gateway?.redisProxy else { return }
        before = proxy.figures
        proxy.isRefusing = true
        proxy.cut(reset: true)
    }

    func heal(_ scene: Scene) { gateway?.redisProxy?.clear() }
    func evidence(_ scene: Scene) -> String? {
        guard let figures = gateway?.redisProxy?.figures, figures.cut > before.cut else { return nil }
        let refused = figures.refused - before.refused
        return "gateway \(gateway?.number ?? -1), \(figures.cut - before.cut) links reset, \(refused) refused"
    }
}

/// The pub/sub connection lives and answers to nothing; one that is opened in its place works.
final class SubscriptionsDeaf: Fault {
    let name = FaultName.subscriptionsDeaf
    let mustNoticeWithin: Duration? = .seconds(3)
    let length = Duration.seconds(6)
    private var gateway: GatewayNode?
    var victimGateway: GatewayNode? { gateway }
    private var before = ProxyFigures()

    func inject(_ scene: Scene) {
        gateway = scene.anyGateway()
        gateway?.noticedDeafness = nil
        before = gateway?.redisProxy?.figures ?? ProxyFigures()
        var rule = LinkRule()
        rule.dropMessagesPer10000 = 10_000
        gateway?.redisProxy?.set(rule, for: [.subscriptions], [.down], sparingNew: true)
    }

    /// Nothing: the link has to be replaced, and the gateway has to find that out by itself.
    func heal(_ scene: Scene) {}
    func evidence(_ scene: Scene) -> String? {
        guard let figures = gateway?.redisProxy?.figures, figures.droppedMessages > before.droppedMessages else {
            return nil
        }
        let replaced = figures.accepted - before.accepted
        return
            "gateway \(gateway?.number ?? -1), \(figures.droppedMessages - before.droppedMessages) messages dropped, "
            + "\(replaced) links opened anew"
    }
}

final class SubscriptionsLossy: Fault {
    let name = FaultName.subscriptionsLossy
    let length = Duration.seconds(6)
    private var before = 0
    private var dropped = 0

    func inject(_ scene: Scene) {
        before = sum(scene)
        var rule = LinkRule()
        rule.dropMessagesPer10000 = 100
        for gateway in scene.rig.gateways { gateway.redisProxy?.set(rule, for: [.subscriptions], [.down]) }
    }

    func heal(_ scene: Scene) {
        dropped = sum(scene) - before
        for gateway in scene.rig.gateways {
            gateway.redisProxy?.clear()
            gateway.redisProxy?.cut([.subscriptions], reset: false)
        }
    }

    private func sum(_ scene: Scene) -> Int {
        scene.rig.gateways.reduce(0) { $0 + ($1.redisProxy?.figures.droppedMessages ?? 0) }
    }

    func evidence(_ scene: Scene) -> String? { dropped > 0 ? "\(dropped) messages dropped" : nil }
}

/// What answers is no Redis: for a while a gateway's connections end at a server that answers too late, in the wrong
/// order, with garbage or with absurd lengths. Nothing of it may be believed.
final class RedisHostile: Fault {
    let name = FaultName.redisHostile
    let length = Duration.seconds(5)
    private var gateway: GatewayNode?
    private var fake: FakeRedis?
    private var genuine: SocketAddress?
    private var random: SeededRandom

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    func inject(_ scene: Scene) {
        gateway = scene.anyGateway()
        guard let proxy = gateway?.redisProxy, let fake = try? FakeRedis(scene.rig.loop) else { return }
        self.fake = fake
        fake.script = { [weak self] command in self?.answer(command) ?? .normal }
        genuine = proxy.target
        proxy.target = fake.address
        proxy.cut(reset: false)
    }

    /// Every third answer is as it should be, so that conversations get further than their first word.
    private func answer(_ command: FakeCommand) -> FakeAnswer {
        switch Int.random(in: 0..<9, using: &random) {
        case 0...2: .normal
        case 3: .shifted(Array("+OK\r\n".utf8))
        case 4: .after(.milliseconds(Int64.random(in: 100...3000, using: &random)), .normal)
        case 5: .silence
        case 6: .close(reset: Bool.random(using: &random))
        default: FakeAnswer.hostile.randomElement(using: &random) ?? .normal
        }
    }

    func heal(_ scene: Scene) {
        guard let proxy = gateway?.redisProxy, let genuine else { return }
        proxy.target = genuine
        proxy.cut(reset: false)
    }

    func evidence(_ scene: Scene) -> String? {
        guard let fake, fake.connectionsSoFar > 0 else { return nil }
        return "gateway \(gateway?.number ?? -1), \(fake.connectionsSoFar) connections, \(fake.commands.count) commands"
    }
}
