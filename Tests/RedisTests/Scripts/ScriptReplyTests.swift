// Replies of the scripts as Redis, or somebody who answers in its place, may send them: nonsense is nil, never a trap.
// No server is needed.

import Bytes
import Redis
import Testing

@Suite("Replies of scripts")
struct ScriptReplyTests {
    func parse<Result>(_ text: String, _ body: (RedisReply) -> Result) -> Result? {
        var reader = ReplyReader()
        Array(text.utf8).withUnsafeBytes { reader.feed($0) }
        return reader.next().map(body)
    }

    @Test("what is no answer of a script is refused and never traps")
    func nonsense() {
        let pieces = [
            "$-1\r\n", "*0\r\n", "*-1\r\n", ":0\r\n", ":1\r\n", ":9\r\n", ":-1\r\n", ":9223372036854775807\r\n",
            ":-9223372036854775808\r\n", "$0\r\n\r\n", "$16\r\n00000000000000a1\r\n", "$16\r\n0000000000000000\r\n",
            "$16\r\nABCDEFABCDEFABCD\r\n", "$18\r\n7.00000000000000a1\r\n", "+OK\r\n", "-ERR x\r\n",
            ":9007199254740992\r\n",
        ]
        var random = SeededRandom(seed: 77)
        for round in 0..<20_000 {
            let count = Int.random(in: 0...10, using: &random)
            var text = "*\(count)\r\n"
            for index in 0..<count {
                text +=
                    index == 0
                    ? [":0\r\n", ":1\r\n", ":2\r\n", ":9\r\n", ":5\r\n"].randomElement(using: &random)!
                    : pieces.randomElement(using: &random)!
            }
            let read: Void? = parse(round % 50 == 0 ? pieces.randomElement(using: &random)! : text) { reply in
                if case .published(let position)? = PublishResult(reply) {
                    #expect(position.offset > 0 && position.offset < 1 << 53 && position.epoch != 0)
                }
                _ = PositionResult(reply)
                _ = FenceResult(reply)
                _ = TermResult(reply)
                _ = BeatResult(reply)
                _ = PublishOnceResult(reply)
                AuditResult(reply, rooms: count)?.forEach { index, _ in #expect(index < count) }
                for mode in [HistoryMode.forward, .reverse, .recover] {
                    guard case .result(let result)? = HistoryResult.read(reply, mode: mode) else { continue }
                    result.forEachEntry { offset, _ in
                        #expect(offset > 0 && offset <= result.record.top.offset)
                    }
                }
            }
            #expect(read != nil)
        }
    }

    @Test("an array is walked from any position, also over nested ones; other values have no elements")
    func walking() {
        func walk(_ text: String, _ first: Int) -> [Answer]? {
            parse(text) { reply in
                var answers: [Answer] = []
                reply.forEach(from: first) { answers.append(Answer($0)) }
                return answers
            }
        }
        let nested = "*4\r\n:1\r\n*2\r\n:2\r\n*1\r\n:3\r\n*0\r\n$1\r\nx\r\n"
        let all: [Answer] = [.integer(1), .array([.integer(2), .array([.integer(3)])]), .array([]), .text([120])]
        for first in -1...6 { #expect(walk(nested, first) == Array(all.dropFirst(max(0, first)))) }
        for text in [":7\r\n", "$1\r\nx\r\n", "*0\r\n", "*-1\r\n"] { #expect(walk(text, 0) == []) }
    }

    @Test("what is not whole in an answer makes it none: audits, beats, entries that are no strings")
    func strictness() {
        let record = "*4\r\n:5\r\n$16\r\n00000000000000a1\r\n$0\r\n\r\n:0\r\n"
        func audit(_ elements: String, _ rooms: Int) -> [RoomRecord?]? {
            let result: [RoomRecord?]?? = parse("*2\r\n" + elements) { reply in
                guard let result = AuditResult(reply, rooms: rooms) else { return nil }
                var records: [RoomRecord?] = []
                result.forEach { _, record in records.append(record) }
                return records
            }
            return result ?? nil
        }
        #expect(audit(record + "$-1\r\n", 2) == [RoomRecord(top: at(5, 0xA1), previous: nil), nil])
        #expect(audit(record + "$-1\r\n", 3) == nil)
        #expect(audit(record + ":0\r\n", 2) == nil)
        #expect(audit(record + record.replacing("a1", with: "A1"), 2) == nil)
        #expect(audit(record + record.replacing("*4", with: "*5") + ":0\r\n", 2) == nil)

        let replication = String(repeating: "b", count: 40)
        func beat(_ id: String) -> BeatResult? {
            let nothing = "$0\r\n\r\n$0\r\n\r\n:0\r\n"
            let text = "*8\r\n:0\r\n$\(id.count)\r\n\(id)\r\n" + nothing + ":7\r\n:0\r\n:0\r\n"
            return parse(text) { BeatResult($0) } ?? nil
        }
        #expect(beat(replication)?.result == .open(number: 7, nodes: []))
        #expect(beat(replication)?.replication == bytes(replication))
        #expect(beat("") == nil && beat(replication + "b") == nil)

        let head = ":0\r\n:5\r\n$16\r\n00000000000000a1\r\n$0\r\n\r\n:0\r\n:1\r\n:1\r\n"
        for (entry, isRead) in [("$1\r\nx\r\n", true), (":1\r\n", false), ("$-1\r\n", false), ("*0\r\n", false)] {
            let text = "*8\r\n" + head + entry
            #expect(parse(text) { HistoryResult.read($0, mode: .forward) != nil } == isRead, "\(entry)")
        }
    }

    @Test("a history with more entries than offsets is refused")
    func tooManyEntries() {
        let head = ":0\r\n:5\r\n$16\r\n00000000000000a1\r\n$0\r\n\r\n:0\r\n:1\r\n"
        func isRead(_ start: Int, _ entries: Int, _ mode: HistoryMode) -> Bool {
            let text = "*\(7 + entries)\r\n" + head + ":\(start)\r\n" + String(repeating: "$1\r\nx\r\n", count: entries)
            return parse(text) { HistoryResult.read($0, mode: mode) != nil } ?? false
        }
        #expect(isRead(1, 5, .forward) && !isRead(1, 6, .forward) && isRead(5, 1, .forward) && !isRead(6, 1, .forward))
        #expect(isRead(5, 5, .reverse) && !isRead(5, 6, .reverse) && !isRead(0, 1, .reverse) && isRead(0, 0, .reverse))
    }
}
