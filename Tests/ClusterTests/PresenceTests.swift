// Who is there, over three gateways, while one of them dies, freezes, or is restarted again and again.

import ClusterSupport
import Foundation
import TestSupport
import Testing

@Suite("Presence over gateways", .ownThread)
struct PresenceTests {
    private static let configuration =
        #"{"rooms": {"default": {"presence": true, "joinLeave": true, "forcePushJoinLeave": true}, "#
        + #""namespaces": {"user": {"presence": true, "joinLeave": true, "forcePushJoinLeave": true, "#
        + #""presenceScope": "user"}}}}"#

    /// Three gateways, an observer on each of the first two, and members on the third.
    private struct Scene {
        let redis: RedisProcess
        let gateways: [GatewayProcess]
        let observers: [RawClient]
        let members: [RawClient]
        let users: [String]

        init(room: String, members count: Int) async throws {
            let server = try await RedisProcess()
            redis = server
            async let one = GatewayProcess(configuration: PresenceTests.configuration, redis: server)
            async let two = GatewayProcess(configuration: PresenceTests.configuration, redis: server)
            async let three = GatewayProcess(configuration: PresenceTests.configuration, redis: server)
            let running = try await [one, two, three]
            let names = (0..<count).map { "user-\($0)" }
            gateways = running
            users = names
            observers = try (0..<2).map { try RawClient(running[$0], user: "observer-\($0)") }
            members = try names.map { try RawClient(running[2], user: $0) }
            for client in observers + members { _ = try client.ask(#""subscribe":{"channel":"\#(room)"}"#) }
            // Each hears itself; the first one hears the second one, too.
            let joined = try observers.enumerated().map { Set(try $1.hearMembers(count + 2 - $0)) }
            for heard in joined { #expect(heard.isSuperset(of: names.map { "+" + $0 })) }
        }
    }

    @Test("kill -9: each member leaves once, for every observer, and the lists are exact")
    func killed() async throws {
        let scene = try await Scene(room: "lobby", members: 40)
        scene.gateways[2].process.signal(SIGKILL)
        for (number, observer) in scene.observers.enumerated() {
            let left = try observer.hearMembers(40)
            #expect(left.sorted() == scene.users.map { "-" + $0 }.sorted())
            let (users, pushes) = try observer.members(of: "lobby")
            #expect(users == ["observer-0", "observer-1"], "seen by \(number)")
            #expect(pushes.flatMap { RawClient.memberEvents(in: $0) }.isEmpty, "nobody leaves twice")
        }
    }

    @Test("SIGSTOP until it is taken for dead: its members leave once, and join once when it goes on")
    func frozen() async throws {
        let scene = try await Scene(room: "user:lobby", members: 20)
        // One who watches from inside: what its gateway slept through must not look to it as if nobody had left.
        let insider = try RawClient(scene.gateways[2], user: "insider")
        _ = try insider.ask(#""subscribe":{"channel":"user:lobby"}"#)
        for observer in scene.observers + [insider] { #expect(try observer.hearMembers(1) == ["+insider"]) }
        scene.gateways[2].process.signal(SIGSTOP)
        let all = scene.users + ["insider"]
        for observer in scene.observers {
            #expect(try observer.hearMembers(21).sorted() == all.map { "-" + $0 }.sorted())
        }
        scene.gateways[2].process.signal(SIGCONT)
        for observer in scene.observers {
            #expect(try observer.hearMembers(21).sorted() == all.map { "+" + $0 }.sorted())
            let (users, pushes) = try observer.members(of: "user:lobby")
            #expect(users == Set(all + ["observer-0", "observer-1"]))
            #expect(pushes.flatMap { RawClient.memberEvents(in: $0) }.isEmpty)
        }
        // Who leaves now, leaves: nothing stale stays behind.
        for member in scene.members { _ = try member.ask(#""unsubscribe":{"channel":"user:lobby"}"#) }
        #expect(try scene.observers[0].hearMembers(20).sorted() == scene.users.map { "-" + $0 }.sorted())
        // The leave and the join of the meantime may have met and cancelled each other out; a join alone would be the
        // second one of somebody who is there.
        var first: [Substring: Character] = [:]
        while scene.users.contains(where: { first[Substring($0)] == nil }) {
            for event in try insider.hearMembers(1) where first[event.dropFirst()] == nil {
                first[event.dropFirst()] = event.first
            }
        }
        #expect(scene.users.allSatisfy { first[Substring($0)] == "-" }, "\(first)")
    }

    @Test("A user who drops and comes back to another gateway within the grace has neither left nor joined")
    func returns() async throws {
        let scene = try await Scene(room: "user:lobby", members: 3)
        scene.members[1].vanish()
        let back = try RawClient(scene.gateways[0], user: "user-1")
        _ = try back.ask(#""subscribe":{"channel":"user:lobby"}"#)
        scene.members[2].vanish()
        // The grace of the one who did not come back ends after that of the one who did.
        for observer in scene.observers { #expect(try observer.hearMembers(1) == ["-user-2"]) }
        let (users, pushes) = try scene.observers[1].members(of: "user:lobby")
        #expect(users == ["observer-0", "observer-1", "user-0", "user-1"])
        #expect(pushes.flatMap { RawClient.memberEvents(in: $0) }.isEmpty)
    }
}
