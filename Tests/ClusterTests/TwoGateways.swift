// Two gateways that share a Redis, and the three clients that the product promises to bring together: martlet-chat on
// each, and one made with centrifuge-python on the second.

import ClusterSupport
import Foundation
import TestSupport

/// What a test of the cluster starts with. Everything ends with it. The clients tell every answer of their gateway,
/// instead of repeating what was refused for the moment.
struct TwoGateways {
    static let room = "lobby"

    let redis: RedisProcess
    let a: GatewayProcess
    let b: GatewayProcess
    let ada: ChatClient
    let bob: ChatClient
    let python: PythonClients
    let eve: PythonClient

    var members: [any Member] { [ada, bob, eve] }

    init(redis: RedisProcess, configuration: String = "{}") async throws {
        self.redis = redis
        async let python = PythonClients()
        async let first = GatewayProcess(configuration: configuration, redis: redis)
        async let second = GatewayProcess(configuration: configuration, redis: redis)
        (a, b) = (try await first, try await second)
        self.python = try await python
        ada = try await ChatClient([a], user: "ada", rooms: [Self.room], retryFor: 0)
        bob = try await ChatClient([b], user: "bob", rooms: [Self.room], retryFor: 0)
        eve = try await self.python.connect("eve", to: b)
        try await eve.subscribe(Self.room)
    }

    /// Waits until both gateways say that they are ready.
    func healed(within patience: Duration = .seconds(20)) async throws {
        for gateway in [a, b] {
            _ = try await eventually("readiness of both gateways", within: patience) {
                try await gateway.health().isReady ? true : nil
            }
        }
    }

    /// Waits until neither gateway says that it is ready, and returns what they say.
    func broken() async throws -> [String] {
        var answers: [String] = []
        for gateway in [a, b] {
            answers.append(
                try await eventually("unreadiness of both gateways") {
                    let health = try await gateway.health()
                    return health.status == 503 ? health.text : nil
                })
        }
        return answers
    }
}

/// What became of messages that were published while Redis was in trouble.
struct Account {
    var acknowledged: Set<String> = []
    /// Refused with 120: nobody may ever see them.
    var refused: Set<String> = []
    /// Answered with 100: everybody sees them once, or nobody.
    var unknown: Set<String> = []

    /// Publishes `text` as `member` and notes the answer.
    mutating func publish(_ text: String, as member: any Member) async throws {
        try note(text, try await member.publish(text, in: TwoGateways.room))
    }

    /// Notes the answer to `text`.
    mutating func note(_ text: String, _ outcome: Outcome) throws {
        switch outcome {
        case .done: acknowledged.insert(text)
        case .refused(120): refused.insert(text)
        case .refused(100): unknown.insert(text)
        case .refused(let code): throw TestFailure("\(text) was answered with \(code)")
        }
    }
}
