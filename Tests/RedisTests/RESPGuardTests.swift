// The guard and the reader behind it: what is let through, what is refused, and that cutting the stream changes
// neither.

import Bytes
import Fuzz
import Redis
import Testing

struct RESPGuardTests {
    private func read(_ text: String, limits: RESPLimits = RESPLimits()) -> RecordedReplies {
        let whole = recordReplies(bytes(text), limits: limits) { .max / 2 }
        let single = recordReplies(bytes(text), limits: limits) { 1 }
        #expect(whole == single, "byte by byte gives the same")
        return whole
    }

    @Test("Every kind of reply is read, nested ones too")
    func kinds() {
        let record = read(
            "+OK\r\n-ERR no\r\n:-12\r\n$4\r\na\r\nb\r\n$-1\r\n*-1\r\n$0\r\n\r\n*0\r\n"
                + "*2\r\n*2\r\n:1\r\n+x\r\n$1\r\ny\r\n"
        )
        #expect(record.fault == nil)
        #expect(
            record.replies == [
                .status(bytes("OK")), .error(bytes("ERR no")), .integer(-12), .bulk(bytes("a\r\nb")), .null, .null,
                .bulk([]), .array([]), .array([.array([.integer(1), .status(bytes("x"))]), .bulk(bytes("y"))]),
            ])
    }

    @Test("Elements behind nested arrays are found")
    func nestedElements() {
        var reader = ReplyReader()
        bytes("*3\r\n*2\r\n:1\r\n*1\r\n:2\r\n*0\r\n$1\r\nz\r\n").withRaw { reader.feed($0) }
        let reply = reader.next()
        #expect(reply?[2]?.isString("z") == true)
        #expect(reply?[1]?.kind == .array)
        #expect(reply?[0]?[1]?[0]?.integer == 2)
        #expect(reply?[3] == nil)
    }

    @Test(
        "RC-01: lengths that overflow, are negative or no numbers end the stream",
        arguments: [
            "*4294967297\r\n", "*-2\r\n", "$-2\r\n", "$9223372036854775807\r\n", "$18446744073709551616\r\n", "*\r\n",
            "$\r\n", ":\r\n", ":+5\r\n", ":01\r\n", ":-0\r\n", ":--1\r\n", ":9223372036854775808\r\n", "*1 \r\n",
            "$ 1\r\n", "*2147483648\r\n",
            ":-\r\n", "$1e3\r\n", ":-9223372036854775809\r\n",
        ])
    func lengths(_ text: String) {
        let record = read("+before\r\n" + text + "+after\r\n")
        #expect(record.replies == [.status(bytes("before"))], "what was whole before the fault is given out")
        #expect(record.fault != nil)
    }

    @Test("RC-01: the extreme integers that fit are read")
    func extremes() {
        #expect(
            read(":9223372036854775807\r\n:-9223372036854775808\r\n").replies == [.integer(.max), .integer(.min)])
    }

    @Test("RC-01: arrays nested ten thousand deep are refused, seven are read")
    func depth() {
        #expect(read(String(repeating: "*1\r\n", count: 10_000)).fault == .tooDeep)
        let seven = read(String(repeating: "*1\r\n", count: 7) + ":1\r\n")
        #expect(seven.replies.count == 1 && seven.fault == nil)
        #expect(read(String(repeating: "*1\r\n", count: 8) + ":1\r\n").fault == .tooDeep)
    }

    @Test("RC-01: bulk strings, lines, elements and whole replies have limits")
    func limits() {
        var limits = RESPLimits()
        limits.bulkBytes = 10
        limits.lineBytes = 20
        limits.elements = 5
        limits.replyBytes = 60
        #expect(read("$10\r\n0123456789\r\n", limits: limits).fault == nil)
        #expect(read("$11\r\n", limits: limits).fault == .bulkTooLong)
        #expect(read("+" + String(repeating: "x", count: 20) + "\r\n", limits: limits).fault == nil)
        #expect(read("+" + String(repeating: "x", count: 21), limits: limits).fault == .lineTooLong)
        #expect(read("*5\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n", limits: limits).fault == nil)
        #expect(read("*6\r\n", limits: limits).fault == .tooManyElements)
        #expect(read("*2\r\n*3\r\n:1\r\n:1\r\n:1\r\n*1\r\n", limits: limits).fault == .tooManyElements)
        let ten = "$10\r\n0123456789\r\n"
        #expect(read("*3\r\n" + ten + ten + ten, limits: limits).fault == nil)
        #expect(read("*4\r\n" + ten + ten + ten + ten, limits: limits).fault == .replyTooLong)
        #expect(read(ten + ten + ten + ten + ten, limits: limits).replies.count == 5, "limits are per reply")
    }

    @Test("RC-01: a bulk string beyond the default limit is refused at its announcement")
    func hugeBulk() {
        #expect(read("$1073741825\r\n").fault == .bulkTooLong)
    }

    @Test(
        "Line ends must be line ends",
        arguments: [
            "$2\r\nabXX", "$2\r\nab\rX", "+a\rb\r\n", "+a\nb\r\n", ":1\n", "$2\nab\r\n", "?\r\n", "\r\n",
            "HTTP/1.1 400\r\n",
        ])
    func lineEnds(_ text: String) {
        let record = read(text)
        #expect(record.replies.isEmpty)
        #expect(record.fault == .badLineEnd || record.fault == .unknownType || record.fault == .badNumber)
    }

    @Test("After a fault nothing more is read")
    func silentAfterFault() {
        var reader = ReplyReader()
        bytes("?").withRaw { reader.feed($0) }
        bytes("+OK\r\n").withRaw { reader.feed($0) }
        let reply = reader.next()
        let fault = reader.fault
        #expect(reply == nil)
        #expect(fault == .unknownType)
    }

    @Test("A bulk string of several megabytes arrives whole, in pieces")
    func large() {
        let payload = [UInt8](repeating: 0x61, count: 3_000_000)
        let record = recordReplies(bytes("$3000000\r\n") + payload + bytes("\r\n:1\r\n")) { 65_536 }
        #expect(record.replies == [.bulk(payload), .integer(1)])
    }

    @Test("Errors are classified by their first word")
    func errors() {
        let expected: [(String, RedisErrorKind)] = [
            ("NOSCRIPT No matching script. Please use EVAL.", .noScript), ("LOADING Redis is loading", .loading),
            ("READONLY You can't write", .readOnly), ("MISCONF Redis is configured", .misconfigured),
            ("OOM command not allowed", .outOfMemory), ("BUSY Redis is busy", .busy),
            ("NOAUTH Authentication", .noAuthentication),
            ("WRONGPASS invalid", .wrongPassword), ("NOPERM this user", .noPermission),
            ("MASTERDOWN Link", .masterDown),
            ("ERR max number of clients reached", .tooManyClients), ("ERR unknown command", .other), ("", .other),
            ("LOADINGX", .other), ("LOADING", .loading),
        ]
        for (text, kind) in expected {
            #expect(bytes(text).withRaw { RedisErrorKind(message: $0) } == kind, "\(text)")
        }
    }

    @Test("Mutated streams keep every invariant of the fuzz target")
    func mutations() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededRandom(seed: seed)
        print("RESP mutations: seed \(seed)")
        for round in 0..<3000 {
            var stream = fuzzRESPSeeds[round % fuzzRESPSeeds.count]
            for _ in 0..<Int.random(in: 0...4, using: &random) where !stream.isEmpty {
                let place = Int.random(in: 0..<stream.count, using: &random)
                switch UInt8.random(in: 0..<4, using: &random) {
                case 0: stream[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                case 1: stream.remove(at: place)
                case 2: stream.insert(contentsOf: stream[place...].prefix(20), at: place)
                default: stream[place] = bytes("+-:$*019\r\n").randomElement(using: &random) ?? 0
                }
            }
            stream.withUnsafeBytes { fuzzRESP($0) }
        }
    }
}
