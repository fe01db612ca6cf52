// The limits of rooms and users as the scripts keep them, on a real Redis. Its clock is its own, so limits of hours are
// used, and the state is put where a test needs it.

import Bytes
import Foundation
import Redis
import Testing

private let hour: UInt64 = 3_600_000_000

/// A limit of one an hour, with a burst.
private func hourly(_ burst: UInt64 = 1) -> ScriptLimit { ScriptLimit(interval: hour, tolerance: (burst - 1) * hour) }

@Suite("Limits by script")
struct RateTests {
    let server: ScriptServer
    let client: ScriptClient

    init() throws {
        server = try ScriptServer()
        client = try server.client()
    }

    /// How a limited publish ended, with or without history.
    private enum Outcome: Equatable {
        case taken(ScriptWaits)
        case repeated
        case limited(ScriptWaits)

        /// Whether it was refused.
        var isLimited: Bool {
            if case .limited = self { return true }
            return false
        }
    }

    private func write(
        _ room: ScriptRoom, _ talker: String, _ limits: (room: ScriptLimit?, user: ScriptLimit?), key: String,
        history: Bool, to output: inout ByteBuffer
    ) {
        let epoch = room.fresh()
        room.name.withRaw { name in
            bytes(talker).withRaw { talker in
                bytes(key).withRaw { key in
                    let limits = ScriptLimits(room: limits.room, user: limits.user, talker: talker)
                    let idempotency = key.isEmpty ? nil : (sender: talker, key: key)
                    if history {
                        PublishCall(
                            room: name, fields: name, term: room.term, freshEpoch: epoch, historySize: room.size,
                            historyTTL: room.ttl, idempotency: idempotency, limits: limits
                        ).append(to: &output, names: client.names)
                    } else {
                        PassLimitedCall(room: name, fields: name, limits: limits, idempotency: idempotency)
                            .append(to: &output, names: client.names)
                    }
                }
            }
        }
    }

    private func publish(
        _ room: ScriptRoom, _ limits: (room: ScriptLimit?, user: ScriptLimit?), history: Bool
    ) throws -> Outcome { try publish(room, "", limits, history: history) }

    private func publish(
        _ room: ScriptRoom, _ talker: String, _ limits: (room: ScriptLimit?, user: ScriptLimit?),
        key: String = "", history: Bool
    ) throws -> Outcome {
        try client.call(
            history ? .publishLimited : .passLimited,
            { write(room, talker, limits, key: key, history: history, to: &$0) },
            { reply in
                if history {
                    switch try #require(PublishResult(reply), "\(Answer(reply))") {
                    case .published: return .taken(try #require(PublishResult.waits(reply)))
                    case .repeated: return .repeated
                    case .limited(let waits): return .limited(waits)
                    case .staleTerm: throw CancellationError()
                    }
                }
                switch try #require(PassLimitedResult(reply), "\(Answer(reply))") {
                case .published(let next): return .taken(next)
                case .repeated: return .repeated
                case .limited(let waits): return .limited(waits)
                }
            })
    }

    private func rates(_ room: ScriptRoom) -> [UInt8] { client.key(.rate, room.name) }

    /// The hash, by field.
    private func state(_ room: ScriptRoom) throws -> [String: String] {
        let all = try client.command([bytes("HGETALL"), rates(room)]).elements.map(\.string)
        return Dictionary(uniqueKeysWithValues: stride(from: 0, to: all.count, by: 2).map { (all[$0], all[$0 + 1]) })
    }

    /// Redis' own time in microseconds.
    private func now() throws -> UInt64 {
        let parts = try client.command("TIME").elements.compactMap { UInt64($0.string) }
        return parts[0] * 1_000_000 + parts[1]
    }

    private func set(_ room: ScriptRoom, _ field: String, _ value: String) throws {
        try client.command([bytes("HSET"), rates(room), bytes(field), bytes(value)])
        try client.command([bytes("PEXPIRE"), rates(room), bytes("600000000")])
    }

    @Test("a burst passes, the next one is told how long to wait, and every key expires", arguments: [true, false])
    func burst(_ history: Bool) throws {
        let room = ScriptRoom(client, "{a}:%b")
        for number in 1...5 {
            guard case .taken(let next) = try publish(room, (hourly(5), nil), history: history) else {
                Issue.record("publication \(number) passes")
                return
            }
            #expect(next.user == 0)
            #expect(number < 5 ? next.room == 0 : next.room > hour - 60_000_000 && next.room <= hour)
        }
        let before = try state(room)
        for _ in 0..<5 {
            guard case .limited(let waits) = try publish(room, (hourly(5), nil), history: history) else {
                Issue.record("the sixth is refused")
                return
            }
            #expect(waits.user == 0 && waits.room > hour - 60_000_000 && waits.room <= hour)
        }
        #expect(try state(room) == before, "a refusal writes nothing")
        try client.expectEveryKeyToExpire()
        let ttl = try #require(try client.command([bytes("PTTL"), rates(room)]).number)
        #expect(ttl >= 5 * 3_600_000 - 60_000, "the state lives as long as it matters")
        #expect(try publish(ScriptRoom(client, "other"), (hourly(), nil), history: history).isLimited == false)
    }

    @Test("a refusal writes nothing at all: no record, no epoch, no key", arguments: [true, false])
    func refusalWritesNothing(_ history: Bool) throws {
        let room = ScriptRoom(client)
        try set(room, "r \(hour) 0", "\(try now() + hour)")
        let before = try client.keys()
        #expect(try publish(room, "ada", (hourly(), hourly()), key: "k", history: history).isLimited)
        #expect(try client.keys() == before)
        #expect(try state(room).count == 1)
    }

    @Test("a limit that refuses leaves the other one as it was", arguments: [true, false])
    func independent(_ history: Bool) throws {
        let room = ScriptRoom(client)
        let limits = (hourly(2), hourly())
        #expect(try publish(room, "ada", limits, history: history).isLimited == false)
        for _ in 0..<3 {
            guard case .limited(let waits) = try publish(room, "ada", limits, history: history) else {
                Issue.record("Ada is refused")
                return
            }
            #expect(waits.room == 0 && waits.user > 0, "by her own limit")
        }
        #expect(try publish(room, "bob", limits, history: history).isLimited == false, "the room has one left")
        guard case .limited(let waits) = try publish(room, "cy", limits, history: history) else {
            Issue.record("the room is full")
            return
        }
        #expect(waits.room > 0 && waits.user == 0)
        #expect(try state(room)["u \(hour) 0 cy"] == nil)
    }

    @Test("a known key is repeated whatever the limits say, and costs nothing", arguments: [true, false])
    func repetition(_ history: Bool) throws {
        let room = ScriptRoom(client)
        let limits = (hourly(), hourly())
        #expect(try publish(room, "ada", limits, key: "k", history: history).isLimited == false)
        let before = try state(room)
        for _ in 0..<3 { #expect(try publish(room, "ada", limits, key: "k", history: history) == .repeated) }
        #expect(try publish(room, "ada", limits, key: "other", history: history).isLimited)
        #expect(try state(room) == before)
        #expect(try client.command([bytes("EXISTS"), client.idempotencyKey("ada", "other", room.name)]).number == 0)
    }

    @Test("what passes is published in the room's channel, with and without history", arguments: [true, false])
    func channel(_ history: Bool) throws {
        let room = ScriptRoom(client)
        let listener = try server.client()
        try listener.command("SUBSCRIBE", "martlet:{room}")
        for _ in 0..<3 { _ = try publish(room, "ada", (hourly(2), nil), history: history) }
        for number in 1...2 {
            let payload = try #require(try listener.receive { Answer($0) }.elements.last?.bytes)
            try payload.withUnsafeBytes { payload in
                let envelope = try PublicationEnvelope(parsing: payload)
                #expect(envelope.offset == (history ? UInt64(number) : 0) && Array(envelope.fields) == room.name)
            }
        }
        if history { #expect(try room.read(.forward, since: nil).offsets == [1, 2]) }
    }

    @Test(
        "APP-04: the boundary, a clock that jumps, an old state and a value that makes no sense",
        arguments: [true, false])
    func clock(_ history: Bool) throws {
        let room = ScriptRoom(client)
        let field = "r \(hour) 0"
        // Due in the past by a moment: it passes. Due a minute ahead: it does not.
        try set(room, field, "\(try now())")
        #expect(try publish(room, (hourly(), nil), history: history).isLimited == false)
        try set(room, field, "\(try now() + 60_000_000)")
        #expect(try publish(room, (hourly(), nil), history: history).isLimited)
        // The clock went back by years: one passes, and the limit goes on from here.
        try set(room, field, "\(try now() + 100_000 * hour)")
        #expect(try publish(room, (hourly(), nil), history: history).isLimited == false)
        #expect(try publish(room, (hourly(), nil), history: history).isLimited)
        // Idle for years, and nonsense: as if there were nothing.
        for value in ["1", "-5", "x", "", "1e300", "99999999999999999999", "0x10", "nan"] {
            try set(room, field, value)
            #expect(try publish(room, (hourly(), nil), history: history).isLimited == false, "\(value)")
            #expect(try publish(room, (hourly(), nil), history: history).isLimited, "\(value)")
        }
        // The longest limits that can be configured.
        let longest = ScriptLimit(interval: 720 * hour, tolerance: 0)
        let finest = ScriptLimit(interval: 1, tolerance: 720 * hour - 1)
        #expect(try publish(room, "u", (finest, longest), history: history).isLimited == false)
        #expect(try publish(room, "u", (finest, longest), history: history).isLimited)
        try client.expectEveryKeyToExpire()
    }

    @Test("nodes with different limits keep both, and neither resets the other's", arguments: [true, false])
    func twoConfigurations(_ history: Bool) throws {
        let room = ScriptRoom(client)
        var passed = 0
        for _ in 0..<20 {
            if try !publish(room, (hourly(3), nil), history: history).isLimited { passed += 1 }
            if try !publish(room, (hourly(4), nil), history: history).isLimited { passed += 1 }
        }
        #expect(passed == 7)
    }

    @Test("a key of another type under the limits' name does not shut the room", arguments: [true, false])
    func foreignKey(_ history: Bool) throws {
        let room = ScriptRoom(client)
        try client.command([bytes("SET"), rates(room), bytes("x")])
        #expect(try publish(room, "u", (hourly(), hourly()), history: history).isLimited == false)
        #expect(try publish(room, "u", (hourly(), hourly()), history: history).isLimited)
        try client.expectEveryKeyToExpire()
    }

    @Test(
        "F13: a server that refuses writes publishes nothing and charges nothing, and refusals go on",
        arguments: [true, false])
    func refused(_ history: Bool) throws {
        let room = ScriptRoom(client)
        let limits = (hourly(2), hourly(2))
        #expect(try publish(room, "ada", limits, history: history).isLimited == false)
        let before = try state(room)
        let keys = try client.keys()
        func error(_ key: String) throws -> RedisErrorKind? {
            try client.send { write(room, "ada", limits, key: key, history: history, to: &$0) }
            return try client.receive { $0.error }
        }
        try client.command("CONFIG", "SET", "maxmemory", "1")
        #expect(try error("1") == .outOfMemory)
        try client.command("CONFIG", "SET", "maxmemory", "0")
        try client.command("REPLICAOF", "127.0.0.1", "1")
        #expect(try error("2") == .readOnly)
        try client.command("REPLICAOF", "NO", "ONE")
        #expect(try state(room) == before)
        #expect(try client.keys() == keys)
        #expect(try publish(room, "ada", limits, history: history).isLimited == false, "the second one is still there")
        try client.command("CONFIG", "SET", "maxmemory", "1")
        #expect(try publish(room, "ada", limits, history: history).isLimited, "a refusal needs no write")
    }

    @Test("a server that forbids the channel keeps no key of what it did not publish")
    func forbiddenChannel() throws {
        let room = ScriptRoom(client)
        _ = try publish(room, "ada", (hourly(9), nil), key: "1", history: false)
        try client.command("ACL", "SETUSER", "mute", "on", "nopass", "~*", "+@all", "resetchannels")
        try client.command("AUTH", "mute", "x")
        try client.send { write(room, "ada", (hourly(9), nil), key: "2", history: false, to: &$0) }
        #expect(try client.receive { $0.error } != nil)
        try client.command("AUTH", "default", "")
        #expect(try client.command([bytes("EXISTS"), client.idempotencyKey("ada", "2", room.name)]).number == 0)
        #expect(try publish(room, "ada", (hourly(9), nil), key: "2", history: false).isLimited == false)
    }

    @Test("APP-04: users whose wait is over are swept, so that the hash stays as small as what matters")
    func sweep() throws {
        let room = ScriptRoom(client)
        let short = ScriptLimit(interval: 1, tolerance: 0)
        for number in 0..<5000 {
            #expect(try publish(room, "user \(number)", (nil, short), history: false).isLimited == false)
        }
        let few = try #require(try client.command([bytes("HLEN"), rates(room)]).number)
        #expect(few < 1000, "\(few) fields are left of 5000 users")
        // Users that still have to wait are not swept.
        for number in 0..<300 { _ = try publish(room, "slow \(number)", (nil, hourly()), history: false) }
        for number in 0..<2000 { _ = try publish(room, "again \(number)", (nil, short), history: false) }
        for number in 0..<300 {
            #expect(try publish(room, "slow \(number)", (nil, hourly()), history: false).isLimited, "\(number)")
        }
        for value in ["x", "99999999999999999999999999 0", "-1 0", "5", "18446744073709551615 0"] {
            try set(room, "c", value)
            #expect(try publish(room, "cursor \(value)", (nil, short), history: false).isLimited == false)
        }
    }

    @Test("APP-04: with very many users at once the hash has an end, and none of them is locked out")
    func explosion() throws {
        let room = ScriptRoom(client)
        let due = "\(try now() + hour)"
        for thousand in 0..<66 {
            var command = [bytes("HSET"), rates(room)]
            for number in 0..<1000 {
                command += [bytes("u \(hour) 0 \(thousand * 1000 + number)"), bytes(due)]
            }
            try client.command(command)
        }
        #expect(try client.command([bytes("HLEN"), rates(room)]).number == 66_000)
        for number in 0..<800 {
            #expect(try publish(room, "new \(number)", (nil, hourly()), history: false).isLimited == false)
        }
        let left = try #require(try client.command([bytes("HLEN"), rates(room)]).number)
        #expect(left <= 65_600, "\(left) fields")
        try client.expectEveryKeyToExpire()
    }

    @Test("what is no answer is none")
    func replies() throws {
        let room = ScriptRoom(client)
        try client.command("SET", "x", "1")
        try client.send { output in
            output.beginCommand(4)
            for text in ["EVAL", "return {2, 0, 0}", "0", "x"] { output.appendArgument(text: text) }
        }
        try client.receive { reply in
            #expect(PassLimitedResult(reply) == nil && PublishResult(reply) == nil, "a refusal has a reason")
        }
        for text in ["return {2, 1}", "return {2, -1, 5}", "return {3, 1, 1}", "return {1, 1}", "return {2, '1', '1'}"]
        {
            try client.send { output in
                output.beginCommand(3)
                for argument in ["EVAL", text, "0"] { output.appendArgument(text: argument) }
            }
            try client.receive { reply in
                #expect(PassLimitedResult(reply) == nil && PublishResult(reply) == nil, "\(text)")
            }
        }
        _ = room
    }
}
