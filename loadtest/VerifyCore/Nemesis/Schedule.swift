// Which fault comes when: a pure function of profile and seed, so that a run can be made again.

import Bytes

/// How long a run is and what it breaks.
package enum Profile: Sendable, Equatable {
    /// At most 90 seconds: the faults that find most, once each.
    case smoke
    /// Ten minutes: every fault twice.
    case std
    /// One fault, so many times.
    case single(FaultName, times: Int)
    /// Nothing is broken.
    case calm(seconds: Int)
    /// One promise against exact limits.
    case scenario(ScenarioPlan)
}

/// One entry of a schedule.
package struct ScheduledFault: Equatable, Sendable {
    /// The earliest moment, from the beginning of the faults.
    package let at: Duration
    /// Which fault.
    package let name: FaultName
    /// What the fault draws its choices from.
    package let seed: UInt64
}

/// Makes schedules and faults.
package enum Schedule {
    /// How long recovery and calm after a fault are planned to take.
    static let rest = Duration.milliseconds(3500)

    /// The faults of `profile`. A rig without Redis gets those of gateways and clients only.
    package static func make(_ profile: Profile, seed: UInt64, hasRedis: Bool = true) -> [ScheduledFault] {
        var random = SeededRandom(seed: seed)
        var names: [FaultName] = []
        switch profile {
        case .calm, .scenario: break
        case .smoke:
            names = [
                .subscriptionsKilled, .gatewayKilled, .redisKilled, .subscriptionsDeaf, .gatewayDrained, .redisFrozen,
                .reconnectStorm, .slowReaders,
            ].shuffled(using: &random)
        case .std:
            // Two rounds, so that each fault also comes after others than the first time.
            for _ in 0..<2 { names += FaultName.allCases.shuffled(using: &random) }
        case .single(let name, let times): names = Array(repeating: name, count: times)
        }
        if !hasRedis { names = names.filter { !needsRedis($0) } }
        var at = Duration.zero
        return names.map { name in
            let seed = random.next()
            defer { at += fault(name, seed: seed, isDurable: true).length + rest }
            return ScheduledFault(at: at, name: name, seed: seed)
        }
    }

    /// Whether `name` breaks Redis or the way to it.
    package static func needsRedis(_ name: FaultName) -> Bool {
        switch name {
        case .gatewayKilled, .gatewayDrained, .gatewayFrozen, .clientLinksByteWise, .slowReaders, .frozenClients,
            .halfOpenClients, .reconnectStorm:
            false
        default: true
        }
    }

    /// The fault of an entry; choices follow from its seed.
    package static func fault(_ name: FaultName, seed: UInt64, isDurable: Bool) -> any Fault {
        switch name {
        case .gatewayKilled: GatewayKilled()
        case .gatewayDrained: GatewayDrained()
        case .gatewayFrozen: GatewayFrozen()
        case .redisKilled: RedisKilled(isDurable: isDurable)
        case .redisLosesData:
            isDurable
                ? RedisLosesData(seed % 2 == 0 ? .flush : .empty) : RedisLosesData(seed % 3 == 0 ? .flush : .snapshot)
        case .redisFrozen: RedisFrozen()
        case .redisFull: RedisFull()
        case .subscriptionsKilled: SubscriptionsKilled()
        case .redisRefuses: RedisRefuses(RedisRefuses.Way.allCases[Int(seed % 5)])
        case .redisBlackholed: RedisBlackholed()
        case .redisReset: RedisReset()
        case .subscriptionsDeaf: SubscriptionsDeaf()
        case .subscriptionsLossy: SubscriptionsLossy()
        case .clientLinksByteWise: ClientLinksByteWise()
        case .slowReaders: SlowReaders()
        case .frozenClients: FrozenClients()
        case .halfOpenClients: HalfOpenClients()
        case .reconnectStorm: ReconnectStorm()
        case .redisHostile: RedisHostile(seed: seed)
        }
    }
}
