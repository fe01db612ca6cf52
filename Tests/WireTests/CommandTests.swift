// Commands of clients: every request of the protocol, what is absent, what is refused.

import Bytes
import Fuzz
import Testing
import Wire

/// Every command with all its fields, as our own encoder writes it.
let fullCommands = [
    #"{}"#,
    #"{"id":1,"connect":{}}"#,
    #"{"id":1,"connect":{"token":"t.o.k","data":{"a":[1]},"subs":{"room":{"recover":true,"epoch":"e","offset":9}},"#
        + #""name":"js","version":"1.2","headers":{"martlet-close-hints":"1"}}}"#,
    #"{"id":2,"subscribe":{"channel":"room","token":"t","recover":true,"epoch":"e","offset":18446744073709551615,"#
        + #""data":null,"positioned":true,"recoverable":true,"join_leave":true,"delta":"fossil"}}"#,
    #"{"id":3,"unsubscribe":{"channel":"room"}}"#,
    #"{"id":4,"publish":{"channel":"room","data":{"text":"hi"},"idempotency_key":"k"}}"#,
    #"{"id":5,"presence":{"channel":"room"}}"#,
    #"{"id":5,"presence":{"channel":"room","limit":100,"cursor":"17"}}"#,
    #"{"id":6,"presence_stats":{"channel":"room"}}"#,
    #"{"id":7,"history":{"channel":"room","limit":-1,"since":{"offset":5,"epoch":"e"},"reverse":true}}"#,
    #"{"id":7,"history":{"channel":"room","limit":-2147483648,"since":{}}}"#,
    #"{"id":8,"ping":{}}"#,
    #"{"send":{"data":"x"}}"#,
    #"{"id":9,"send":{"data":[]}}"#,
    #"{"id":10,"rpc":{"data":1.5e3,"method":"m"}}"#,
    #"{"id":11,"refresh":{"token":"t"}}"#,
    #"{"id":4294967295,"sub_refresh":{"channel":"room","token":"t"}}"#,
]

@Suite struct CommandTests {
    @Test("a command with all its fields is read and written back byte for byte", arguments: fullCommands)
    func roundTrip(line: String) {
        #expect(reencoded(line) == line)
    }

    @Test(
        "fields that say nothing are absent, unknown ones are passed over, whitespace does not matter",
        arguments: [
            (#"{"id":0}"#, #"{}"#),
            (#" { } "#, #"{}"#),
            ("{}\r", #"{}"#),
            (#"{"id":null,"connect":null}"#, #"{}"#),
            (#"{"id":1,"connect":null,"ping":{}}"#, #"{"id":1,"ping":{}}"#),
            (#"{"id":1,"connect":{"token":"","subs":{},"headers":{ },"name":null}}"#, #"{"id":1,"connect":{}}"#),
            (#"{"id":1,"connect":{"subs":null,"headers":null}}"#, #"{"id":1,"connect":{}}"#),
            (#"{"x":[{"y":"\u00e9"}],"id":2,"ping":{"a":1}}"#, #"{"id":2,"ping":{}}"#),
            (#"{"id":2,"publish":{"channel":"r"}}"#, #"{"id":2,"publish":{"channel":"r"}}"#),
            (#"{"id":2,"publish":{}}"#, #"{"id":2,"publish":{}}"#),
            (#"{"id":2,"subscribe":{"recover":false,"offset":0}}"#, #"{"id":2,"subscribe":{}}"#),
            ("\t{ \"id\" : 2 ,\r \"history\" : { \"limit\" : -0 } }", #"{"id":2,"history":{}}"#),
            (#"{"\u0069d":3,"p\u0069ng":{}}"#, #"{"id":3,"ping":{}}"#),
            (
                #"{"id":3,"presence":{"channel":"\u0061\/\"\\\n\ud83d\ude00"}}"#,
                #"{"id":3,"presence":{"channel":"a/\"\\\n😀"}}"#
            ),
        ])
    func equivalents(line: String, same: String) {
        #expect(reencoded(line) == same)
    }

    @Test("of several requests the first in the protocol's order counts, wherever it stands")
    func order() {
        #expect(reencoded(#"{"id":1,"publish":{"channel":"p"},"subscribe":{"channel":"s"}}"#).contains("subscribe"))
        #expect(reencoded(#"{"id":1,"subscribe":{"channel":"s"},"publish":{"channel":"p"}}"#).contains("subscribe"))
        #expect(reencoded(#"{"sub_refresh":{},"id":1,"rpc":{},"ping":{}}"#) == #"{"id":1,"ping":{}}"#)
        #expect(reencoded(#"{"id":1,"subscribe":{},"publish":{"channel":5}}"#) == "wrongType")
    }

    @Test(
        "WS-16 a command that is none is refused with the reason",
        arguments: [
            ("", "blankLine"), ("  ", "blankLine"), ("[]", "wrongType"), ("null", "wrongType"), ("1", "wrongType"),
            ("{", "unexpectedEnd"), ("{}{}", "syntax"), ("{},", "syntax"), ("{} x", "syntax"), ("{,}", "syntax"),
            (#"{"id":1,}"#, "syntax"), (#"{"id" 1}"#, "syntax"), (#"{'id':1}"#, "syntax"), (#"{id:1}"#, "syntax"),
            (#"{"id":-1}"#, "outOfRange"), (#"{"id":4294967296,"ping":{}}"#, "outOfRange"),
            (#"{"id":99999999999999999999999,"ping":{}}"#, "outOfRange"), (#"{"id":1.0,"ping":{}}"#, "wrongType"),
            (#"{"id":1e400,"ping":{}}"#, "wrongType"), (#"{"id":"1","ping":{}}"#, "wrongType"),
            (#"{"id":01,"ping":{}}"#, "number"), (#"{"id":true,"ping":{}}"#, "wrongType"),
            (#"{"id":{},"ping":{}}"#, "wrongType"), (#"{"id":1}"#, "unknownKind"), (#"{"id":1,"x":{}}"#, "unknownKind"),
            (#"{"x":{}}"#, "unknownKind"), (#"{"ping":{}}"#, "missingID"), (#"{"id":0,"connect":{}}"#, "missingID"),
            (#"{"publish":{},"send":{}}"#, "missingID"),
            (#"{"id":1,"id":1,"ping":{}}"#, "duplicateField"), (#"{"id":1,"ping":{},"ping":{}}"#, "duplicateField"),
            (#"{"id":1,"publish":{"channel":"a","channel":"b"}}"#, "duplicateField"),
            (#"{"id":1,"publish":{"channel":"a","c\u0068annel":"b"}}"#, "duplicateField"),
            (#"{"id":1,"publish":{"data":1,"data":2}}"#, "duplicateField"),
            (#"{"id":1,"ping":[]}"#, "wrongType"), (#"{"id":1,"publish":"x"}"#, "wrongType"),
            (#"{"id":1,"publish":{"channel":7}}"#, "wrongType"), (#"{"id":1,"connect":{"subs":[]}}"#, "wrongType"),
            (#"{"id":1,"subscribe":{"recover":1}}"#, "wrongType"), (#"{"id":1,"subscribe":{"recover":tru}}"#, "syntax"),
            (#"{"id":1,"subscribe":{"offset":-1}}"#, "outOfRange"),
            (#"{"id":1,"subscribe":{"offset":18446744073709551616}}"#, "outOfRange"),
            (#"{"id":1,"history":{"limit":2147483648}}"#, "outOfRange"),
            (#"{"id":1,"history":{"limit":-2147483649}}"#, "outOfRange"),
            (#"{"id":1,"history":{"limit":-}}"#, "number"),
            (#"{"id":1,"history":{"since":5}}"#, "wrongType"),
            (#"{"id":1,"rpc":{"method":"\ud800"}}"#, "loneSurrogate"),
            (#"{"id":1,"rpc":{"method":"\udc00\ud800"}}"#, "loneSurrogate"),
            (#"{"id":1,"rpc":{"method":"\ud800\u0061"}}"#, "loneSurrogate"),
            (#"{"id":1,"rpc":{"method":"\ud800x"}}"#, "loneSurrogate"),
            (#"{"id":1,"rpc":{"method":"\x"}}"#, "escape"), (#"{"id":1,"rpc":{"method":"\u00g0"}}"#, "escape"),
            ("{\"id\":1,\"rpc\":{\"method\":\"a\tb\"}}", "controlCharacter"),
            ("{\"id\":1,\"rpc\":{\"method\":\"\u{0}\"}}", "controlCharacter"),
            ("{\"id\":1,\u{0B}\"ping\":{}}", "syntax"), ("\u{FEFF}{}", "wrongType"),
            ("{\"id\":1\u{0},\"ping\":{}}", "syntax"),
        ])
    func refused(line: String, reason: String) {
        #expect(reencoded(line) == reason)
    }

    @Test("WS-16 nesting of ten thousand levels is refused in every place where values are skipped or kept")
    func deepNesting() {
        let deep = String(repeating: "[", count: 10_000)
        let closed = deep + String(repeating: "]", count: 10_000)
        let objects = String(repeating: #"{"a":"#, count: 10_000)
        for value in [deep, closed, objects] {
            #expect(reencoded(#"{"id":1,"publish":{"data":"# + value + "}}") == "tooDeep")
            #expect(reencoded(#"{"x":"# + value + "}") == "tooDeep")
            #expect(reencoded(#"{"id":1,"connect":{"subs":{"a":"# + value + "}}}") == "tooDeep")
            #expect(reencoded(value) != #"{}"#)
        }
    }

    @Test("a command cut off at any byte is refused, and whole it is accepted", arguments: fullCommands)
    func truncated(line: String) {
        let bytes = Array(line.utf8)
        for length in 0..<bytes.count {
            let result = reencoded(Array(bytes[..<length]))
            #expect(result == (length == 0 ? "blankLine" : "unexpectedEnd"), "cut at \(length)")
        }
    }

    @Test("any byte outside ASCII, alone or in strings, does no harm")
    func anyByte() {
        for byte in UInt8.min...UInt8.max {
            _ = reencoded([byte])
            _ = reencoded(Array(#"{"id":1,"publish":{"channel":""#.utf8) + [byte] + Array(#""}}"#.utf8))
            _ = reencoded(Array(#"{"id":1,"publish":{"data":"#.utf8) + [byte] + Array(#"}}"#.utf8))
        }
    }

    @Test("strings with escapes go through the scratch buffer, which never holds more than the line")
    func scratchIsBounded() throws {
        let key = String(repeating: #"\u0061"#, count: 500)
        let line = lasting(#"{"id":1,"connect":{"token":""# + key + #"","name":"\n\t","version":"plain","x\n":1}}"#)
        var scratch = ByteBuffer()
        let command = try JSONCodec.command(line, scratch: &scratch)
        guard case .connect(let connect) = command.request else { throw WireError.unknownKind }
        #expect(text(connect.token) == String(repeating: "a", count: 500))
        #expect(text(connect.name) == "\n\t")
        #expect(text(connect.version) == "plain")
        #expect(scratch.count < line.count)
        #expect(scratch.capacity == line.count)
    }

    @Test("a command without escapes leaves the scratch buffer empty and points into the line")
    func slices() throws {
        let line = lasting(#"{"id":3,"publish":{"channel":"room1","data":{"text":"hi"}}}"#)
        var scratch = ByteBuffer()
        guard case .publish(let publish) = try JSONCodec.command(line, scratch: &scratch).request else {
            throw WireError.unknownKind
        }
        let used = scratch.count
        #expect(used == 0)
        #expect(publish.room.baseAddress == line.baseAddress.map { $0 + 30 })
        #expect(text(publish.data) == #"{"text":"hi"}"#)
    }

    @Test("WS-16 mutated commands break no invariant")
    func mutations() {
        var seed = SystemRandomNumberGenerator()
        mutate(fullCommands, rounds: 10_000, seed: seed.next())
    }
}

/// Feeds `rounds` mutated lines of `corpus` to the fuzz target.
func mutate(_ corpus: [String], rounds: Int, seed: UInt64) {
    print("mutation seed \(seed)")
    var random = SeededRandom(seed: seed)
    let dictionary = Array(#"{}[]":,\u0ndtfe-+.19 "#.utf8) + [0, 10, 13, 9, 0x1F, 0x7F, 0x80, 0xFF]
    let lines = corpus.map { Array($0.utf8) }
    for _ in 0..<rounds {
        var bytes = lines[Int.random(in: 0..<lines.count, using: &random)]
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            let byte = dictionary[Int.random(in: 0..<dictionary.count, using: &random)]
            switch Int.random(in: 0..<5, using: &random) {
            case 0: bytes.insert(byte, at: place)
            case 1: if place < bytes.count { bytes[place] = byte }
            case 2: if place < bytes.count { bytes.remove(at: place) }
            case 3: bytes.removeSubrange(place...)
            default:
                let other = lines[Int.random(in: 0..<lines.count, using: &random)]
                bytes.insert(contentsOf: other[Int.random(in: 0...other.count, using: &random)...], at: place)
            }
        }
        bytes.withUnsafeBytes { fuzzCommands($0) }
    }
}
