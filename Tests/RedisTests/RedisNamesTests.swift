// Names of channels and keys: injective, reversible, and out of reach for whoever chooses a room's name.

import Bytes
import Redis
import Testing

struct RedisNamesTests {
    private func names() throws -> RedisNames { try #require(RedisNames(prefix: "martlet")) }

    private func text(_ body: (inout ByteBuffer) -> Void) -> String {
        var output = ByteBuffer()
        body(&output)
        return String(decoding: output.bytes, as: UTF8.self)
    }

    private func channel(_ room: [UInt8]) throws -> [UInt8] {
        let names = try names()
        var output = ByteBuffer()
        room.withRaw { names.appendChannel($0, to: &output) }
        #expect(room.withRaw { names.channelLength($0) } == output.count, "the announced length is the length")
        return Array(output.bytes)
    }

    @Test("Channels carry the hash tag; braces and per cent signs are encoded")
    func channels() throws {
        #expect(try channel(bytes("lobby")) == bytes("martlet:{lobby}"))
        #expect(try channel(bytes("a{b}c%d")) == bytes("martlet:{a%7Bb%7Dc%25d}"))
        #expect(try channel([]) == bytes("martlet:{}"))
    }

    @Test("A prefix that would break the hash tag is refused", arguments: ["", "a{b", "a}", "a b", "a\n", "ä"])
    func prefixes(_ prefix: String) { #expect(RedisNames(prefix: prefix) == nil) }

    @Test("RC-07: no two rooms share a channel, and every channel leads back to its room")
    func injective() throws {
        let names = try names()
        let seed = UInt64.random(in: 0 ... .max)
        print("room names: seed \(seed)")
        var random = SeededRandom(seed: seed)
        var seen: [[UInt8]: [UInt8]] = [:]
        var rooms: [[UInt8]] = [
            "x:presence", "{tag}", "*", "[a-z]", "?", "%7B", "%257B", "{", "}", "}:s", "a}:m", "a\r\nFLUSHALL\r\n",
            "%s%s%n", "",
        ].map(bytes)
        let alphabet = bytes("ab:%{}7BD25\0\r\n ")
        for _ in 0..<3000 {
            rooms.append(
                (0..<Int.random(in: 0...6, using: &random)).compactMap { _ in alphabet.randomElement(using: &random) })
        }
        for room in rooms {
            let made = try channel(room)
            #expect(seen[made, default: room] == room, "two rooms with one channel")
            seen[made] = room
            var back = ByteBuffer()
            let isRoom = made.withRaw { names.appendRoom(ofChannel: $0, to: &back) }
            let decoded = Array(back.bytes)
            #expect(isRoom && decoded == room)
            #expect(made.filter { $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: "}") }.count == 2)
        }
    }

    @Test(
        "What is no room's channel is recognised, also in forms that we never write",
        arguments: [
            "", "martlet", "martlet:control", "martlet:{", "martlet:{a", "other:{a}", "martlet:{a}b}", "martlet:{%}",
            "martlet:{%7}",
            "martlet:{%7b}", "martlet:{%41}", "martlet:{a{b}", "martlet:}",
        ])
    func foreign(_ channel: String) throws {
        let names = try names()
        var output = ByteBuffer()
        let isRoom = bytes(channel).withRaw { names.appendRoom(ofChannel: $0, to: &output) }
        #expect(!isRoom)
        #expect(output.count == 0)
    }

    @Test("Keys look as documented")
    func keys() throws {
        let names = try names()
        func key(_ key: RedisNames.RoomKey, _ room: String = "r") -> String {
            text { output in bytes(room).withRaw { names.appendKey(key, of: $0, to: &output) } }
        }
        #expect(key(.stream) == "martlet:{r}:s")
        #expect(key(.position) == "martlet:{r}:m")
        #expect(key(.rate) == "martlet:{r}:r")
        #expect(key(.members) == "martlet:{r}:p")
        #expect(key(.users) == "martlet:{r}:u")
        #expect(key(.lingering) == "martlet:{r}:g")
        #expect(key(.nodeMembers(node: bytes("n1"))) == "martlet:{r}:n:n1")
        #expect(key(.nodeMembers(node: bytes("n1.0:2"))) == "martlet:{r}:n:n1.0%3A2")
        #expect(idempotency(names, "u", "k:1") == "martlet:{r}:i:u:k:1")
        #expect(text { names.appendTerm(to: &$0) } == "martlet:term")
        #expect(text { names.appendControl(to: &$0) } == "martlet:control")
        #expect(text { names.appendNodeChannel(bytes("n1"), to: &$0) } == "martlet:node:n1")
        #expect(text { names.appendNodeRooms(bytes("n1"), to: &$0) } == "martlet:node:n1:rooms")
        #expect(text { names.appendNodeRooms(bytes("n1:2"), to: &$0) } == "martlet:node:n1%3A2:rooms")
    }

    @Test("RC-07: what one incarnation brought is nobody else's, whatever nodes and rooms are called")
    func incarnations() throws {
        let names = try names()
        let pieces = ["", "a", "a:1", "a:1:rooms", ":", "%3A", "{r}", "}:n:a", "rooms"]
        var seen: Set<String> = []
        for room in pieces {
            for node in pieces {
                seen.insert(
                    text { output in
                        bytes(room).withRaw {
                            names.appendKey(.nodeMembers(node: bytes(node)), of: $0, to: &output)
                        }
                    })
            }
        }
        #expect(seen.count == pieces.count * pieces.count)
        let lists = Set(pieces.map { node in text { names.appendNodeRooms(bytes(node), to: &$0) } })
        let channels = Set(pieces.map { node in text { names.appendNodeChannel(bytes(node), to: &$0) } })
        #expect(lists.count == pieces.count && channels.count == pieces.count)
        #expect(lists.isDisjoint(with: channels), "a list of rooms is no node's channel")
    }

    @Test("The presence scripts get their four keys, in their order")
    func presenceKeys() throws {
        let names = try names()
        for room in ["r", "a{b}", "r\r\n"] {
            for node in ["n", "n.0:2", "{n}%"] {
                let keys: [RedisNames.RoomKey] = [.members, .users, .lingering, .nodeMembers(node: bytes(node))]
                let expected = keys.map { kind in
                    let key = text { output in bytes(room).withRaw { names.appendKey(kind, of: $0, to: &output) } }
                    return "$\(key.utf8.count)\r\n\(key)\r\n"
                }
                let written = text { output in
                    bytes(room).withRaw { names.appendPresenceKeys($0, node: bytes(node), to: &output) }
                }
                #expect(written == expected.joined())
            }
            let list = text { names.appendNodeRooms(bytes(room), to: &$0) }
            #expect(
                text { names.appendNodeRoomsArgument(bytes(room), to: &$0) } == "$\(list.utf8.count)\r\n\(list)\r\n")
        }
    }

    @Test("RC-07: a colon in a sender's name cannot swallow another sender's key")
    func senders() throws {
        let names = try names()
        #expect(idempotency(names, "a:b", "c") != idempotency(names, "a", "b:c"))
        #expect(idempotency(names, "a%3Ab", "c") != idempotency(names, "a:b", "c"))
    }

    @Test("Arguments announce the length that they have, whatever the names hold")
    func arguments() throws {
        let names = try names()
        let pieces = ["", "a", "a:b", "{x}%", "\r\n", "é:"]
        for room in pieces {
            for part in pieces {
                let key = idempotency(names, part, part, room)
                #expect(
                    idempotencyArgument(names, part, part, room) == "$\(key.utf8.count)\r\n\(key)\r\n")
            }
            let channel = text { names.appendNodeChannel(bytes(room), to: &$0) }
            #expect(
                text { names.appendNodeChannelArgument(bytes(room), to: &$0) }
                    == "$\(channel.utf8.count)\r\n\(channel)\r\n")
        }
    }

    private func idempotency(_ names: RedisNames, _ sender: String, _ key: String, _ room: String = "r") -> String {
        text { output in
            with(room, sender, key) { names.appendIdempotencyKey(sender: $1, key: $2, of: $0, to: &output) }
        }
    }

    private func idempotencyArgument(
        _ names: RedisNames, _ sender: String, _ key: String, _ room: String
    ) -> String {
        text { output in
            with(room, sender, key) { names.appendIdempotencyArgument(sender: $1, key: $2, of: $0, to: &output) }
        }
    }

    private func with(
        _ room: String, _ sender: String, _ key: String,
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void
    ) {
        bytes(room).withRaw { room in
            bytes(sender).withRaw { sender in bytes(key).withRaw { body(room, sender, $0) } }
        }
    }
}
