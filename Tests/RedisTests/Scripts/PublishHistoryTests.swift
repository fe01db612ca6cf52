// Publishing and reading a room's stream by script on a real Redis: offsets, trimming, idempotency, lifetimes of keys.
// Each suite has a server of its own.

import Bytes
import Foundation
import Reactor
import Redis
import Testing

@Suite("Publishing and reading by script")
struct PublishHistoryTests {
    let server: ScriptServer
    let client: ScriptClient

    init() throws {
        server = try ScriptServer()
        client = try server.client()
    }

    @Test("the first publication makes an epoch and has offset 1, the next ones follow")
    func offsets() throws {
        let room = ScriptRoom(client)
        let one = try room.publish("a")
        #expect(one.offset == 1 && one.epoch != 0)
        #expect(try room.publish("b") == at(2, one.epoch))
        let read = try room.read(.forward, since: nil)
        #expect(read.offsets == [1, 2] && read.texts == ["a", "b"] && read.state == .complete)
        #expect(read.record == RoomRecord(top: at(2, one.epoch), previous: nil) && read.oldest == 1)
        try client.expectEveryKeyToExpire()
    }

    @Test("a room's channel carries exactly the envelope that the nodes parse")
    func envelope() throws {
        let listener = try server.client()
        try listener.command([Array("SUBSCRIBE".utf8), Array("martlet:{room}".utf8)])
        let room = ScriptRoom(client)
        for epoch: UInt64 in [0x1, 0x00ff, 0x0123_4567_89ab_cdef, 99_999_999, 100_000_000, .max, 1 << 63] {
            var text = ByteBuffer()
            text.append(hexadecimal: epoch)
            try client.command([
                Array("HSET".utf8), client.key(.position, room.name), Array("e".utf8), Array(text.bytes),
                Array("o".utf8), Array("41".utf8), Array("t".utf8), Array("1.00000000000000a1".utf8),
            ])
            try client.command([Array("DEL".utf8), client.key(.stream, room.name)])
            let fields = Array("\"data\":\"\\u0000\"".utf8) + [0, 10, 13, 255]
            #expect(try room.publishResult(fields) == .published(at(42, epoch)))
            let message = try listener.receive { Answer($0) }.elements
            #expect(message.first?.string == "message")
            let payload = try #require(message.last?.bytes)
            try payload.withUnsafeBytes { payload in
                let envelope = try PublicationEnvelope(parsing: payload)
                #expect(envelope.offset == 42 && envelope.epoch == epoch)
                #expect(Array(envelope.fields) == fields)
            }
        }
    }

    @Test("a repeated key gives the first result and writes nothing, also after a SCRIPT FLUSH")
    func idempotency() throws {
        let room = ScriptRoom(client)
        let listener = try server.client()
        try listener.command([Array("SUBSCRIBE".utf8), Array("martlet:{room}".utf8)])
        let result = try room.publishResult(Array("a".utf8), key: ("ada", "k1"))
        guard case .published(let position) = result else { throw CancellationError() }
        for _ in 0..<3 {
            try client.command("SCRIPT", "FLUSH")
            #expect(try room.publishResult(Array("a".utf8), key: ("ada", "k1")) == .repeated(position))
        }
        #expect(try room.publishResult(Array("b".utf8), key: ("bob", "k1")) == .published(at(2, position.epoch)))
        #expect(try room.publishResult(Array("c".utf8), key: ("ada:k1", "")) == .published(at(3, position.epoch)))
        #expect(try room.publishResult(Array("d".utf8), key: ("ada", "k1:")) == .published(at(4, position.epoch)))
        #expect(try room.read(.forward, since: nil).texts == ["a", "b", "c", "d"])
        for text in ["a", "b", "c", "d"] {
            #expect(try listener.receive { Answer($0) }.elements.last?.string.hasSuffix("\n" + text) == true)
        }
        #expect(try client.keys().count == 6)
        try client.expectEveryKeyToExpire()
        let key = client.idempotencyKey("ada", "k1", room.name)
        let ttl = try #require(try client.command([Array("PTTL".utf8), key]).number)
        #expect(ttl <= 300_000 && ttl > 290_000, "a key is known for five minutes")
    }

    @Test("the SHA-1 of every script is the server's, and a call of an unknown script did nothing")
    func unknownScript() throws {
        for script in RedisScript.all {
            try client.send { script.appendLoad(to: &$0) }
            #expect(try client.receive { script.isLoaded(by: $0) }, "\(script.name)")
        }
        #expect(Set(RedisScript.all.map(\.sha)).count == RedisScript.all.count)
        let room = ScriptRoom(client)
        try client.command("SCRIPT", "FLUSH")
        try client.send { output in
            room.name.withUnsafeBytes { name in
                PublishCall(
                    room: name, fields: name, term: first, freshEpoch: 7, historySize: 1, historyTTL: .seconds(1)
                ).append(to: &output, names: client.names)
            }
        }
        #expect(try client.receive { $0.error } == .noScript)
        #expect(try client.keys().isEmpty)
        for number in 1...20 {
            if number % 3 == 0 { try client.command("SCRIPT", "FLUSH") }
            #expect(try room.publish("m\(number)").offset == UInt64(number))
        }
    }

    @Test("ten thousand publications have contiguous offsets, and the newest ones are kept")
    func many() throws {
        let room = ScriptRoom(client)
        try room.publish("m1")
        var epoch: UInt64 = 0
        for batch in 0..<99 {
            try client.send { output in
                for number in 0..<101 {
                    let fields = Array("m\(2 + batch * 101 + number)".utf8)
                    room.name.withUnsafeBytes { name in
                        fields.withUnsafeBytes { fields in
                            PublishCall(
                                room: name, fields: fields, term: first, freshEpoch: 7, historySize: 100,
                                historyTTL: .seconds(300)
                            ).append(to: &output, names: client.names)
                        }
                    }
                }
            }
            for number in 0..<101 {
                guard case .published(let position)? = try client.receive({ PublishResult($0) }) else {
                    throw CancellationError()
                }
                #expect(position.offset == UInt64(2 + batch * 101 + number))
                epoch = position.epoch
            }
        }
        let read = try room.read(.forward, since: nil)
        #expect(read.record.top == at(10_000, epoch) && read.oldest == 9_901)
        #expect(read.texts == (9_901...10_000).map { "m\($0)" })
        let length = try #require(try client.command([Array("XLEN".utf8), client.key(.stream, room.name)]).number)
        #expect(length >= 100 && length <= 300, "the stream itself is bounded, too")
    }

    @Test("recovery is whole at the exact edge of trimming and refused one before it")
    func trimmingEdge() throws {
        let room = ScriptRoom(client)
        room.size = 10
        try room.publish(1...25)
        let epoch = try room.position().top.epoch
        let inside = try room.read(.recover, since: at(16, epoch))
        #expect(inside.state == .complete && inside.offsets == Array(17...25) && inside.oldest == 16)
        let edge = try room.read(.recover, since: at(15, epoch))
        #expect(edge.state == .complete && edge.offsets == Array(16...25))
        let outside = try room.read(.recover, since: at(14, epoch))
        #expect(outside.state == .trimmed && outside.offsets.isEmpty && outside.record.top == at(25, epoch))
        let forward = try room.read(.forward, since: at(14, epoch))
        #expect(forward.state == .trimmed && forward.offsets == Array(16...25))
        #expect(try room.read(.recover, since: at(25, epoch)).state == .complete)
        #expect(try room.read(.recover, since: at(26, epoch)).state == .ahead)
        #expect(try room.read(.recover, since: at(.max, epoch)).state == .ahead)
        #expect(try room.read(.recover, since: at(20, 0xBAD)).state == .otherEpoch)
        #expect(try room.position().top == at(25, epoch), "no claim of a client changes the room")
    }

    @Test("recovery gives everything or nothing when there is more than allowed")
    func tooMuch() throws {
        let room = ScriptRoom(client)
        try room.publish(1...50)
        let epoch = try room.position().top.epoch
        #expect(try room.read(.recover, since: at(10, epoch), limit: 40).offsets == Array(11...50))
        let over = try room.read(.recover, since: at(9, epoch), limit: 40)
        #expect(over.state == .tooMuch && over.offsets.isEmpty)
        #expect(try room.read(.recover, since: at(48, epoch), bytes: 6).offsets == [49, 50])
        let large = try room.read(.recover, since: at(48, epoch), bytes: 5)
        #expect(large.state == .tooMuch && large.offsets.isEmpty)
        let cut = try room.read(.forward, since: at(48, epoch), bytes: 5)
        #expect(cut.state == .cut && cut.offsets == [49])
    }

    @Test("history in both directions, by limit, and only the position")
    func directions() throws {
        let room = ScriptRoom(client)
        try room.publish(1...75)
        let epoch = try room.position().top.epoch
        #expect(try room.read(.forward, since: nil, limit: 3).offsets == [1, 2, 3])
        #expect(try room.read(.forward, since: at(70, 0), limit: 3).offsets == [71, 72, 73])
        #expect(try room.read(.forward, since: at(73, epoch)).offsets == [74, 75])
        #expect(try room.read(.forward, since: at(75, epoch)).offsets == [])
        #expect(try room.read(.reverse, since: nil, limit: 3).offsets == [75, 74, 73])
        #expect(try room.read(.reverse, since: at(5, epoch)).offsets == [4, 3, 2, 1])
        #expect(try room.read(.reverse, since: at(1, epoch)).offsets == [])
        #expect(try room.read(.reverse, since: at(0, epoch)).offsets == [])
        #expect(try room.read(.reverse, since: at(99, epoch), limit: 40).offsets == Array((36...75).reversed()))
        let reverse = try room.read(.reverse, since: at(40, epoch), limit: 2)
        #expect(reverse.texts == ["m39", "m38"])
        let none = try room.read(.forward, since: nil, limit: 0)
        #expect(none.offsets == [] && none.record.top == at(75, epoch) && none.state == .complete)
        #expect(try room.read(.forward, since: at(5, 0xBAD)).state == .otherEpoch)
    }

    @Test("a key of another type under one of the room's names is removed, and the room goes on in another epoch")
    func otherType() throws {
        for suffix in ["m", "s"] {
            let room = ScriptRoom(client, "poisoned-\(suffix)")
            try room.publish(1...3)
            let before = try room.position().top
            try client.command("DEL", "martlet:{poisoned-\(suffix)}:\(suffix)")
            try client.command("SET", "martlet:{poisoned-\(suffix)}:\(suffix)", "x")
            #expect(try room.read(.forward, since: nil).offsets == [])
            try room.publish("new")
            let after = try room.read(.forward, since: nil)
            #expect(after.texts == ["new"] && after.record.top.epoch != before.epoch)
        }
    }

    @Test("entries that are too old are gone, though the stream still holds them")
    func age() throws {
        let room = ScriptRoom(client)
        try room.publish("new")
        let epoch = try room.position().top.epoch
        let now = try client.command("TIME").elements.first.flatMap { Int($0.string) } ?? 0
        let key = client.key(.stream, room.name)
        try client.command([Array("DEL".utf8), key])
        // Forty entries a second apart; the history is 20 s long, and a few more guard against the time of the test.
        for number in 1...40 {
            try client.command([
                Array("XADD".utf8), key, Array("\(number)-0".utf8), Array("d".utf8), Array("m\(number)".utf8),
                Array("t".utf8), Array("\((now - (number <= 25 ? 3600 : 1)) * 1000)".utf8),
            ])
        }
        try client.command([Array("PEXPIRE".utf8), key, Array("90000".utf8)])
        try client.command([Array("HSET".utf8), client.key(.position, room.name), Array("o".utf8), Array("40".utf8)])
        let read = try room.read(.forward, since: nil)
        #expect(read.offsets == Array(26...40) && read.oldest == 26)
        #expect(try room.read(.reverse, since: nil).offsets == Array((26...40).reversed()))
        #expect(try room.read(.recover, since: at(25, epoch)).offsets == Array(26...40))
        #expect(try room.read(.recover, since: at(24, epoch)).state == .trimmed)
        room.ttl = .seconds(86400)
        #expect(try room.read(.recover, since: at(0, epoch)).offsets == Array(1...40))
        room.ttl = .milliseconds(1)
        let old = try room.read(.forward, since: nil)
        #expect(old.offsets.isEmpty && old.oldest == 41)
        #expect(try room.read(.recover, since: at(40, epoch)).state == .complete)
    }

    @Test("when the whole history has expired the position lives on")
    func expiredStream() throws {
        let room = ScriptRoom(client)
        try room.publish(1...3)
        let epoch = try room.position().top.epoch
        try client.command([Array("DEL".utf8), client.key(.stream, room.name)])
        #expect(try room.read(.recover, since: at(3, epoch)).state == .complete)
        #expect(try room.read(.recover, since: at(2, epoch)).state == .trimmed)
        #expect(try room.publish("m4") == at(4, epoch))
        #expect(try room.read(.recover, since: at(3, epoch)).texts == ["m4"])
    }

    @Test("a room without publications has an epoch from which a member recovers")
    func emptyRoom() throws {
        let room = ScriptRoom(client)
        let record = try room.position()
        #expect(record.top.offset == 0 && record.top.epoch != 0 && record.previous == nil)
        #expect(try room.position() == record)
        #expect(try room.publish("a") == at(1, record.top.epoch))
        #expect(try room.read(.recover, since: record.top).texts == ["a"])
        try client.expectEveryKeyToExpire()
    }

    @Test("the record outlives the history, also a very long one, and reading refreshes it")
    func recordTTL() throws {
        let room = ScriptRoom(client)
        let day = 86_400_000
        let key = client.key(.position, room.name)
        for (ttl, least) in [(Duration.seconds(60), 29 * day), (.seconds(40 * 86400), 79 * day)] {
            room.ttl = ttl
            try room.publish("a")
            #expect(try client.command([Array("PTTL".utf8), key]).number ?? 0 > Int64(least))
        }
        try client.command([Array("PEXPIRE".utf8), key, Array("100000".utf8)])
        _ = try room.position()
        #expect(try client.command([Array("PTTL".utf8), key]).number ?? 0 > Int64(29 * day))
        try client.expectEveryKeyToExpire()
    }

    @Test("names of rooms and users with braces, percent signs, line ends, format strings and NUL stay apart")
    func hostileNames() throws {
        let names = ["a", "{a}", "%7Ba%7D", "a}:s", "a:m", "a\r\nFLUSHALL\r\n", "%s%s%n", "*", "[", "a\u{0}", " "]
        var rooms: [ScriptRoom] = []
        for name in names {
            let room = ScriptRoom(client, name)
            rooms.append(room)
            #expect(try room.publishResult(Array(name.utf8), key: (name, name)) != .staleTerm(nil))
        }
        for (room, name) in zip(rooms, names) {
            #expect(try room.read(.forward, since: nil).fields == [Array(name.utf8)])
            guard case .repeated = try room.publishResult(Array(name.utf8), key: (name, name)) else {
                Issue.record("the key of \(name) is known")
                continue
            }
        }
        #expect(try client.keys().count == names.count * 3)
        try client.expectEveryKeyToExpire()
    }

    @Test("fields come back byte for byte, also all bytes, none and many")
    func binary() throws {
        let room = ScriptRoom(client)
        let all = (0...255).map { UInt8($0) }
        let large = [UInt8](repeating: 0, count: 300_000)
        let fields: [[UInt8]] = [all, [], large, Array("d".utf8), Array("\r\n$5\r\n".utf8)]
        for piece in fields { _ = try room.publishResult(piece) }
        #expect(try room.read(.forward, since: nil).fields == fields)
    }

    @Test("offsets beyond fourteen digits are written exactly, and the last one is followed by a new stream")
    func largeOffsets() throws {
        let room = ScriptRoom(client)
        let epoch = try room.position().top.epoch
        let key = client.key(.position, room.name)
        try client.command([Array("HSET".utf8), key, Array("o".utf8), Array("9007199254740988".utf8)])
        #expect(try room.publish("a") == at(9_007_199_254_740_989, epoch))
        #expect(try room.publish("b") == at(9_007_199_254_740_990, epoch))
        #expect(try room.read(.recover, since: at(9_007_199_254_740_988, epoch)).texts == ["a", "b"])
        #expect(try room.publish("c") == at(9_007_199_254_740_991, epoch))
        let next = try room.publish("d")
        #expect(next.offset == 1 && next.epoch != epoch)
        #expect(try room.read(.forward, since: nil).texts == ["d"])
    }

    @Test(
        "F39: a record or stream that makes no sense is replaced, never believed",
        arguments: [
            ["o", "-1"], ["o", "x"], ["o", "1e3"], ["o", ""], ["o", "99999999999999999999"], ["e", ""], ["e", "xyz"],
            ["e", "00000000000000FF"], ["e", "00000000000000ff0"], ["e", "0000000000000000"],
        ])
    func poisonedRecord(_ field: [String]) throws {
        let room = ScriptRoom(client)
        let before = try room.publish("a")
        try client.command([
            Array("HSET".utf8), client.key(.position, room.name), Array(field[0].utf8), Array(field[1].utf8),
        ])
        let after = try room.publish("b")
        #expect(after.offset == 1 && after.epoch != before.epoch)
        #expect(try room.read(.forward, since: nil).texts == ["b"])
        #expect(try room.read(.recover, since: before).state == .otherEpoch)
    }

    @Test("F39: entries that others put into the stream are never shown, and publishing goes on in a new epoch")
    func poisonedStream() throws {
        let room = ScriptRoom(client)
        try room.publish(1...3)
        let before = try room.position().top
        let key = client.key(.stream, room.name)
        try client.command([Array("XADD".utf8), key, Array("9-0".utf8), Array("x".utf8), Array("y".utf8)])
        #expect(try room.read(.forward, since: nil).offsets == [1, 2, 3])
        let after = try room.publish("m4")
        #expect(after.offset == 4 && after.epoch != before.epoch)
        #expect(try room.read(.recover, since: before).texts == ["m4"], "who had everything continues")
        #expect(try room.read(.recover, since: at(2, before.epoch)).state == .trimmed)
        try client.command([Array("XDEL".utf8), key, Array("4-0".utf8)])
        try room.publish("m5")
        #expect(try room.read(.recover, since: at(3, after.epoch)).state == .trimmed, "a hole is a loss")
        #expect(try room.read(.recover, since: at(4, after.epoch)).texts == ["m5"])
        try client.expectEveryKeyToExpire()
    }

    @Test("a hole in the middle of the stream is a loss, in every direction")
    func hole() throws {
        let room = ScriptRoom(client)
        try room.publish(1...9)
        let epoch = try room.position().top.epoch
        try client.command([Array("XDEL".utf8), client.key(.stream, room.name), Array("5-0".utf8)])
        let recovery = try room.read(.recover, since: at(2, epoch))
        #expect(recovery.state == .trimmed && recovery.offsets.isEmpty)
        let forward = try room.read(.forward, since: at(2, epoch))
        #expect(forward.state == .trimmed && forward.texts == ["m3", "m4"])
        let reverse = try room.read(.reverse, since: nil)
        #expect(reverse.state == .trimmed && reverse.texts == ["m9", "m8", "m7", "m6"])
        #expect(try room.read(.recover, since: at(5, epoch)).texts == ["m6", "m7", "m8", "m9"])
    }

    @Test("an epoch that was used before is refused where a fresh one is needed, and nothing changes")
    func usedEpoch() throws {
        let room = ScriptRoom(client)
        let top = try room.publish("a")
        for term in [second, first] {
            try client.send { output in
                room.name.withUnsafeBytes { name in
                    PublishCall(
                        room: name, fields: name, term: term, freshEpoch: top.epoch, historySize: 9,
                        historyTTL: .seconds(9), seen: term == first ? at(5, top.epoch) : nil
                    ).append(to: &output, names: client.names)
                }
            }
            #expect(try client.receive { $0.error } == .other)
        }
        #expect(try room.position() == RoomRecord(top: top, previous: nil))
        #expect(try room.read(.forward, since: nil).texts == ["a"])
    }

    @Test("after FLUSHALL and after an empty restart the room has another epoch")
    func lostStore() throws {
        let room = ScriptRoom(client)
        let one = try room.publish("a")
        try client.command("FLUSHALL")
        let two = try room.publish("b")
        #expect(two.offset == 1 && two.epoch != one.epoch)
        #expect(try room.read(.recover, since: one).state == .otherEpoch)
        server.kill()
        try server.start()
        let again = ScriptRoom(try server.client())
        _ = again.fresh()
        _ = again.fresh()
        _ = again.fresh()
        let three = try again.publish("c")
        #expect(three.offset == 1 && three.epoch != one.epoch && three.epoch != two.epoch)
    }

    @Test("F13: a server out of memory refuses as a whole, by its own name")
    func outOfMemory() throws {
        let room = ScriptRoom(client)
        let before = try room.publish("a")
        try client.command("CONFIG", "SET", "maxmemory", "1")
        for name in [room, ScriptRoom(client, "other")] {
            try client.send { output in
                name.name.withUnsafeBytes { bytes in
                    PublishCall(
                        room: bytes, fields: bytes, term: first, freshEpoch: name.fresh(), historySize: 9,
                        historyTTL: .seconds(9), idempotency: (bytes, bytes)
                    ).append(to: &output, names: client.names)
                }
            }
            #expect(try client.receive { $0.error } == .outOfMemory)
        }
        try client.command("CONFIG", "SET", "maxmemory", "0")
        #expect(try client.keys().count == 2)
        #expect(try room.publish("b") == at(before.offset + 1, before.epoch))
        #expect(try room.read(.forward, since: nil).texts == ["a", "b"])
    }
}
