// Joins and leaves as they travel in a room's channel: read entry by entry, and whatever else lies there is skipped
// without being believed.

import Bytes
import Redis
import Testing

struct MemberEnvelopeTests {
    private struct Read: Equatable {
        var entries: [String] = []
        var isBroken = false
    }

    /// The entries as `+client/user/info`; nil: it is something else. In memory of its own, so that reading outside of
    /// it would be noticed.
    private func read(_ text: [UInt8]) -> Read? {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: text.count, alignment: 1)
        defer { copy.deallocate() }
        copy.copyBytes(from: text)
        guard var envelope = MemberEnvelope(UnsafeRawBufferPointer(copy)) else { return nil }
        var read = Read()
        while let entry = envelope.next() {
            let parts = [entry.client, entry.user, entry.info].map { String(decoding: $0, as: UTF8.self) }
            read.entries.append((entry.isJoin ? "+" : "-") + parts.joined(separator: "/"))
        }
        #expect(envelope.next() == nil, "the end stays the end")
        read.isBroken = envelope.isBroken
        return read
    }

    private func read(_ text: String) -> Read? { read(bytes(text)) }

    /// An entry as the scripts write it.
    private func entry(_ sign: String, _ client: String, _ user: String, _ info: String) -> String {
        "\(sign) \(client.utf8.count) \(user.utf8.count) \(info.utf8.count)\n\(client)\(user)\(info)"
    }

    @Test("What the scripts write is read")
    func parse() {
        #expect(read("2\n" + entry("+", "c1", "ann", "{\"a\":1}")) == Read(entries: ["+c1/ann/{\"a\":1}"]))
        #expect(read("2\n" + entry("-", "c1", "", "{}")) == Read(entries: ["-c1//{}"]), "an anonymous one has no user")
        let many = (0..<300).map { entry($0 % 2 == 0 ? "+" : "-", "c\($0)", "u\n + 1 2", "{\n}") }
        let expected = (0..<300).map { "\($0 % 2 == 0 ? "+" : "-")c\($0)/u\n + 1 2/{\n}" }
        #expect(read("2\n" + many.joined()) == Read(entries: expected), "what is inside is not looked at")
        #expect(read("2\n") == Read(), "nobody")
        let long = String(repeating: "x", count: 100_000)
        #expect(read("2\n" + entry("+", "c", long, long)) == Read(entries: ["+c/\(long)/\(long)"]))
    }

    @Test(
        "What is something else is not read",
        arguments: ["", "2", "2 ", "1\n", "1 0 0\nx", "20\n", "\n2\n", " 2\n", "2\r\n"])
    func others(_ text: String) { #expect(read(text) == nil) }

    @Test(
        "F39: hostile lines and lengths break off what follows, and nothing traps",
        arguments: [
            "x", "+", "+ ", "+ 1", "+ 1 1", "+ 1 1 1", "+ 1 1 1\n", "+ 1 1 1\nab", "* 1 1 1\nabc", "+1 1 1\nabc",
            "+  1 1 1\nabc", "+ 1 1 1 \nabc", "+ 1 1 1\r\nabc", "+ -1 1 1\nabc", "+ 1 1\nabc", "+ a 1 1\nabc",
            "+ 0 1 1\nab", "+ 1 1 0\nab", "+ 0 0 0\n", "\n", " ", "+ 1 1 1 1\nabcd",
            "+ 999999999 999999999 999999999\nabc", "+ 1000000000 0 1\nabc", "+ 9223372036854775807 1 1\nabc",
            "+ 18446744073709551616 1 1\nabc", "+ 1 99999999999999999999999999999999999999999999 1\nabc",
            "+ 1 1 2\nabc", "+ 000000001 000000001 0000000001\nabc", "+\t1\t1\t1\nabc", "+ ١ 1 1\nabc",
        ])
    func hostile(_ text: String) {
        #expect(read("2\n" + text) == Read(isBroken: true))
        let good = entry("+", "c", "u", "{}")
        #expect(read("2\n" + good + text) == Read(entries: ["+c/u/{}"], isBroken: true))
        if text != "+ 1 1 1\nab", text != "+ 1 1 2\nabc", text != "+ 1 1 1\n" {
            // Those would find what they lack in the entry behind them: that is not told apart.
            #expect(read("2\n" + text + good)?.entries.contains("+c/u/{}") == false, "what is behind it is lost")
        }
    }

    @Test("However it is cut, whole entries are read and the cut one is not")
    func cuts() {
        let parts = [
            entry("+", "client-1", "ann", "{\"user\":\"ann\"}"), entry("-", "client-2", "", "{}"),
            entry("+", "client-3", "bob", "{\"x\":[1,2]}"),
        ]
        let all = bytes("2\n" + parts.joined())
        let ends = [2, 2 + parts[0].utf8.count, 2 + parts[0].utf8.count + parts[1].utf8.count, all.count]
        for count in 0...all.count {
            let cut = read(Array(all.prefix(count)))
            guard count >= 2 else {
                #expect(cut == nil)
                continue
            }
            #expect(cut?.entries.count == ends.count { $0 <= count } - 1, "cut at \(count)")
            #expect(cut?.isBroken == !ends.contains(count), "cut at \(count)")
        }
    }

    @Test("F39: whatever bytes change, entries stay inside and the reading ends")
    func mutation() {
        let seed = UInt64.random(in: 0 ... .max)
        print("member envelopes: seed \(seed)")
        var random = SeededRandom(seed: seed)
        let good = bytes(
            "2\n" + (0..<5).map { entry($0 == 3 ? "-" : "+", "client-\($0)", "u", "{\"n\":\($0)}") }.joined())
        let alphabet = bytes("+- 0123456789\n\r\u{0}{}")
        var whole = 0
        var broken = 0
        for _ in 0..<20_000 {
            var text = good
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<text.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: text[place] = alphabet[Int.random(in: alphabet.indices, using: &random)]
                case 1: text.remove(at: place)
                default: text.insert(alphabet[Int.random(in: alphabet.indices, using: &random)], at: place)
                }
            }
            guard let read = read(text) else { continue }
            if read.isBroken { broken += 1 } else { whole += 1 }
            let told = read.entries.reduce(0) { $0 + $1.utf8.count - 3 }
            #expect(told <= text.count, "seed \(seed): more than was there")
        }
        #expect(whole > 0 && broken > 0, "seed \(seed): both happen")
    }
}
