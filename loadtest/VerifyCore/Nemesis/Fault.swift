// What a fault is: something that breaks the cluster, something that mends it, and the proof that it took effect.
// Faults run on the driver's loop; each is made anew for each injection, from the schedule's seed.

import Bytes
import Reactor

/// The faults that the nemesis knows, by the names of the fault table in docs/reliability.md.
package enum FaultName: String, CaseIterable, Sendable {
    case gatewayKilled = "F01"
    case gatewayDrained = "F02"
    case gatewayFrozen = "F04"
    case redisKilled = "F05"
    case redisLosesData = "F06"
    case redisFrozen = "F07"
    case redisFull = "F13"
    case subscriptionsKilled = "F16"
    case redisRefuses = "F17"
    case redisBlackholed = "F18"
    case redisReset = "F19"
    case subscriptionsDeaf = "F20"
    case subscriptionsLossy = "F21"
    case clientLinksByteWise = "F22"
    case slowReaders = "F23"
    case frozenClients = "F24"
    case halfOpenClients = "F25"
    case reconnectStorm = "F32"
    case redisHostile = "F37"

    /// One line for reports.
    package var summary: String {
        switch self {
        case .gatewayKilled: "kill -9 of a gateway, back after 2 s"
        case .gatewayDrained: "SIGTERM to a gateway, back after its drain"
        case .gatewayFrozen: "SIGSTOP of a gateway for 6 s, longer than its lease"
        case .redisKilled: "kill -9 of Redis, back after 2 s"
        case .redisLosesData: "Redis loses its data"
        case .redisFrozen: "SIGSTOP of Redis for 3 s"
        case .redisFull: "Redis out of memory for 3 s"
        case .subscriptionsKilled: "Redis kills all pub/sub connections"
        case .redisRefuses: "Redis refuses: scripts gone, busy, no auth, read-only, no replicas"
        case .redisBlackholed: "nothing passes between a gateway and Redis for 5 s"
        case .redisReset: "a gateway's connections to Redis are reset and refused for 3 s"
        case .subscriptionsDeaf: "a gateway's pub/sub connection goes deaf"
        case .subscriptionsLossy: "1 % of pub/sub messages vanish for 6 s, then the links are cut"
        case .clientLinksByteWise: "client links deliver one byte a segment"
        case .slowReaders: "a tenth of the subscribers reads 1 KB/s of big messages"
        case .frozenClients: "a tenth of the subscribers freezes for 9 s"
        case .halfOpenClients: "client links go silent without an end"
        case .reconnectStorm: "all subscribers reconnect at once"
        case .redisHostile: "a gateway's connections to Redis end at something that answers garbage"
        }
    }
}

/// What faults act upon.
package final class Scene {
    let rig: ClusterRig
    let pool: ClientPool
    let checker: Checker
    var random: SeededRandom

    init(rig: ClusterRig, pool: ClientPool, checker: Checker, seed: UInt64) {
        self.rig = rig
        self.pool = pool
        self.checker = checker
        random = SeededRandom(seed: seed)
    }

    var now: MonotonicTime { rig.loop.now }

    /// A gateway, chosen by the seed.
    func anyGateway() -> GatewayNode {
        rig.gateways[Int.random(in: 0..<rig.gateways.count, using: &random)]
    }

    func after(_ delay: Duration, _ body: @escaping () -> Void) { rig.loop.schedule(after: delay, body) }

    func restart(_ gateway: GatewayNode) {
        do {
            try rig.startGateway(gateway)
        } catch {
            checker.report(.crash, now: now, "gateway \(gateway.number) cannot be started: \(error)")
        }
    }
}

/// One injection of a fault.
package protocol Fault: AnyObject {
    var name: FaultName { get }
    /// How long it lasts until `heal`.
    var length: Duration { get }
    /// Whether what Redis acknowledged may be gone.
    var losesData: Bool { get }
    /// Within this time the gateway that is hit must have noticed that a link is deaf; nil where none is.
    var mustNoticeWithin: Duration? { get }
    /// The gateway that is hit, where it is one.
    var victimGateway: GatewayNode? { get }
    func inject(_ scene: Scene)
    func heal(_ scene: Scene)
    /// Whether the healing is complete, so that recovery is measured from now on.
    func isHealed(_ scene: Scene) -> Bool
    /// What shows that it took effect; nil when nothing does.
    func evidence(_ scene: Scene) -> String?
}

extension Fault {
    package var losesData: Bool { false }
    package var mustNoticeWithin: Duration? { nil }
    package var victimGateway: GatewayNode? { nil }
    package func isHealed(_ scene: Scene) -> Bool { true }
}
