// The audit of many rooms and publishing once, on a real Redis. Each test has a server of its own.

import Bytes
import Redis
import Testing

@Suite("Auditing rooms, and publishing once")
struct AuditTests {
    let server: ScriptServer
    let client: ScriptClient

    init() throws {
        server = try ScriptServer()
        client = try server.client()
    }

    func audit(_ rooms: [String]) throws -> [RoomRecord?] {
        try client.call(
            .audit,
            { output in
                // One block of memory, since the call wants all names at once.
                let names = rooms.map(bytes)
                names.flatMap { $0 }.withRaw { all in
                    var start = 0
                    var views: [UnsafeRawBufferPointer] = []
                    for name in names {
                        views.append(UnsafeRawBufferPointer(rebasing: all[start..<start + name.count]))
                        start += name.count
                    }
                    AuditCall(rooms: views).append(to: &output, names: client.names)
                }
            },
            { reply in
                let result = try #require(
                    AuditResult(reply, rooms: rooms.count), "the answer is one: \(Answer(reply))")
                var records: [RoomRecord?] = []
                result.forEach { index, record in
                    #expect(index == records.count)
                    records.append(record)
                }
                #expect(records.count == result.count)
                return records
            })
    }

    @Test("records come in the order of the call, with their aliases; what is missing is nil and stays missing")
    func records() throws {
        let (one, two) = (ScriptRoom(client, "one"), ScriptRoom(client, "{two}%"))
        try one.publish(1...3)
        try two.publish(1...2)
        let former = try two.position().top
        two.term = second
        let recordOne = try one.position()
        let recordTwo = try two.position()
        #expect(recordTwo.previous == former)
        let keys = try client.keys()
        let answer = try audit(["missing", "{two}%", "", "one", "missing", "one"])
        #expect(answer == [nil, recordTwo, nil, recordOne, nil, recordOne])
        #expect(try client.keys() == keys, "reading makes nothing")
        two.term = third
        #expect(try audit(["{two}%"]) == [recordTwo], "nor does it bring a room into another term")
        #expect(try audit(["nobody"]) == [nil])
        try client.expectEveryKeyToExpire()
    }

    @Test(
        "F39: a record that makes no sense is as good as none",
        arguments: [
            ["o", "-1"], ["o", "x"], ["o", ""], ["o", "9007199254740991"], ["e", ""], ["e", "00000000000000FF"],
            ["e", "0000000000000000"], ["e", "00000000000000ff0"],
        ])
    func nonsense(_ field: [String]) throws {
        let room = ScriptRoom(client)
        let record = RoomRecord(top: try room.publish("a"), previous: nil)
        #expect(try audit(["x", "room"]) == [nil, record])
        let key = client.key(.position, room.name)
        for (name, value) in [("p", "zz"), ("p", "0000000000000000"), ("s", "-7")] {
            try client.command([bytes("HSET"), key, bytes(name), bytes(value)])
            #expect(try audit(["room"]) == [record], "a senseless alias is none")
        }
        try client.command([bytes("HSET"), key, bytes(field[0]), bytes(field[1])])
        #expect(try audit(["room", "x"]) == [nil, nil])
    }

    @Test("keys of another type are no records and do not spoil the others")
    func foreignKey() throws {
        let room = ScriptRoom(client)
        let record = RoomRecord(top: try room.publish("a"), previous: nil)
        try client.command([bytes("SET"), client.key(.position, bytes("odd")), bytes("v")])
        #expect(try audit(["odd", "room"]) == [nil, record])
        #expect(try client.command("GET", "martlet:{odd}:m").string == "v")
    }

    @Test("as many rooms as a call takes")
    func many() throws {
        var expected: [RoomRecord?] = []
        var names: [String] = []
        for number in 0..<AuditCall.mostRooms {
            names.append("room \(number)")
            let room = ScriptRoom(client, names[number])
            expected.append(number % 3 == 0 ? nil : RoomRecord(top: try room.publish("x"), previous: nil))
        }
        #expect(try audit(names) == expected)
    }

    @Test("a replica that is read only answers, too")
    func replica() throws {
        let room = ScriptRoom(client)
        let record = RoomRecord(top: try room.publish("a"), previous: nil)
        _ = try audit(["room"])
        try client.command("REPLICAOF", "127.0.0.1", "1")
        #expect(try audit(["room", "x"]) == [record, nil])
    }

    // MARK: Publishing once

    @Test("a key publishes once to each sender's name and room, in the room's own channel", arguments: ["r", "{a}:%b"])
    func once(_ name: String) throws {
        let room = ScriptRoom(client, name)
        let listener = try server.client()
        var channel = ByteBuffer()
        room.name.withRaw { client.names.appendChannel($0, to: &channel) }
        try listener.command([bytes("SUBSCRIBE"), Array(channel.bytes)])
        #expect(try room.publishOnce("one", "ada", "k") == .published)
        for _ in 0..<2 { #expect(try room.publishOnce("again", "ada", "k") == .repeated) }
        try client.command("SCRIPT", "FLUSH")
        #expect(try room.publishOnce("again", "ada", "k") == .repeated)
        #expect(try room.publishOnce("two", "bob", "k") == .published, "another sender's key is another key")
        #expect(try room.publishOnce("three", "ada:k}", "") == .published)
        #expect(try ScriptRoom(client, "elsewhere").publishOnce("x", "ada", "k") == .published)
        #expect(try room.publishOnce("four\n\u{0}", "ada", "}:k") == .published)
        for text in ["one", "two", "three", "four\n\u{0}"] {
            let payload = try #require(try listener.receive { Answer($0) }.elements.last?.bytes)
            try payload.withUnsafeBytes { payload in
                let envelope = try PublicationEnvelope(parsing: payload)
                #expect(envelope.offset == 0 && envelope.epoch == 0 && Array(envelope.fields) == bytes(text))
            }
        }
        #expect(try client.keys().count == 5, "nothing is kept but keys")
        let key = client.idempotencyKey("ada", "k", room.name)
        #expect(try client.command([bytes("GET"), key]).string == "-")
        let ttl = try #require(try client.command([bytes("PTTL"), key]).number)
        #expect(ttl <= 300_000 && ttl > 290_000, "a key is known for five minutes")
        try client.expectEveryKeyToExpire()
    }

    @Test("F13: a server that refuses writes publishes nothing and keeps nothing; a known key stays known")
    func refused() throws {
        let room = ScriptRoom(client)
        let listener = try server.client()
        try listener.command("SUBSCRIBE", "martlet:{room}")
        #expect(try room.publishOnce("one", "ada", "1") == .published)
        func error(_ key: String) throws -> RedisErrorKind? {
            try client.send { room.writePublishOnce("lost", "ada", key, to: &$0) }
            return try client.receive { $0.error }
        }
        try client.command("CONFIG", "SET", "maxmemory", "1")
        #expect(try error("2") == .outOfMemory)
        #expect(try room.publishOnce("again", "ada", "1") == .repeated)
        try client.command("CONFIG", "SET", "maxmemory", "0")
        try client.command("REPLICAOF", "127.0.0.1", "1")
        #expect(try error("2") == .readOnly)
        try client.command("REPLICAOF", "NO", "ONE")
        #expect(try client.keys().count == 1)
        #expect(try room.publishOnce("two", "ada", "2") == .published)
        for text in ["one", "two"] {
            #expect(try listener.receive { Answer($0) }.elements.last?.string == "1 0 0\n" + text)
        }
    }

    @Test("a server that forbids the channel keeps no key of what it did not publish")
    func forbiddenChannel() throws {
        let room = ScriptRoom(client)
        _ = try room.publishOnce("one", "ada", "1")
        try client.command("ACL", "SETUSER", "mute", "on", "nopass", "~*", "+@all", "resetchannels")
        try client.command("AUTH", "mute", "x")
        try client.send { room.writePublishOnce("lost", "ada", "2", to: &$0) }
        #expect(try client.receive { $0.error } != nil)
        try client.command("AUTH", "default", "")
        #expect(try client.keys() == [client.idempotencyKey("ada", "1", room.name)])
        #expect(try room.publishOnce("two", "ada", "2") == .published)
    }
}
