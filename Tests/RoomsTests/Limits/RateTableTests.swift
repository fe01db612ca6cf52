// What is kept of limits: the ledger of the embedded engine and the memory of a home. Both bounded, whoever is
// invented.

import Bytes
import Testing

@testable import Rooms

private func raw<Result>(_ text: String, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try Array(text.utf8).withUnsafeBytes { try body($0) }
}

private func time(_ seconds: Double) -> MonotonicTime {
    MonotonicTime(nanoseconds: 1_000_000_000_000 + UInt64(seconds * 1_000_000_000))
}

@Suite struct RateLedgerTests {
    /// What a publication is told; it is charged if it passes.
    private func publish(
        _ ledger: inout RateLedger, _ room: String, _ talker: String, _ limits: RateLimits, at seconds: Double
    ) -> (isAdmitted: Bool, waits: RateWaits) {
        raw(room) { room in
            raw(talker) { talker in
                let judgement = ledger.judge(room: room, talker: talker, limits, now: time(seconds))
                if judgement.isAdmitted { ledger.charge(room: room, talker: talker, judgement, now: time(seconds)) }
                return (judgement.isAdmitted, judgement.waits)
            }
        }
    }

    @Test func `a limit that refuses leaves the other one as it was`() throws {
        let limits = try #require(
            RateLimits(room: limit(2, per: .seconds(10)), user: limit(1, per: .seconds(10))))
        var ledger = RateLedger()
        #expect(publish(&ledger, "r", "ada", limits, at: 0) == (true, RateWaits(room: 0, user: 10_000_000)))
        for _ in 0..<5 {
            #expect(publish(&ledger, "r", "ada", limits, at: 1) == (false, RateWaits(room: 0, user: 9_000_000)))
        }
        // Ada's refusals took nothing of the room's second one.
        #expect(
            publish(&ledger, "r", "bob", limits, at: 1) == (true, RateWaits(room: 4_000_000, user: 10_000_000)))
        for _ in 0..<5 {
            #expect(publish(&ledger, "r", "cy", limits, at: 1) == (false, RateWaits(room: 4_000_000, user: 0)))
        }
        #expect(publish(&ledger, "r", "ada", limits, at: 1) == (false, RateWaits(room: 4_000_000, user: 9_000_000)))
        // The room's refusals took nothing of Cy's one.
        #expect(publish(&ledger, "r", "cy", limits, at: 5).isAdmitted)
    }

    @Test func `rooms and users are counted apart, also those whose names run into each other`() throws {
        let slow = try #require(RateLimits(room: nil, user: limit(1, per: .seconds(10))))
        var ledger = RateLedger()
        for (room, talker) in [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("1:a", "b"), ("1", ":ab")] {
            #expect(publish(&ledger, room, talker, slow, at: 0).isAdmitted, "\(room) \(talker)")
            #expect(!publish(&ledger, room, talker, slow, at: 0).isAdmitted, "\(room) \(talker)")
        }
        #expect(ledger.count == 6)
    }

    @Test func `APP-04 rooms and users that were there once do not pile up`() throws {
        let limits = try #require(
            RateLimits(room: limit(1, per: .seconds(1)), user: limit(1, per: .seconds(1))))
        var ledger = RateLedger(limit: 1000)
        for number in 0..<20_000 {
            // A thousand a second: at each moment about two thousand entries matter.
            _ = publish(&ledger, "room \(number)", "u\(number % 7)", limits, at: Double(number) / 1000)
            #expect(ledger.count <= 1000)
        }
        var roomy = RateLedger(limit: 100_000)
        for number in 0..<20_000 {
            _ = publish(&roomy, "room \(number)", "u", limits, at: Double(number) / 100)
        }
        #expect(roomy.count == 40_000, "below half of the bound nothing has to go")
        for number in 20_000..<60_000 {
            _ = publish(&roomy, "room \(number)", "u", limits, at: Double(number) / 100)
        }
        #expect(roomy.count <= 50_010, "what is over goes: \(roomy.count)")
    }

    @Test func `at the bound, who would have been free soonest goes first`() throws {
        let short = try #require(RateLimits(room: limit(1, per: .seconds(1)), user: nil))
        let long = try #require(RateLimits(room: limit(1, per: .seconds(1000)), user: nil))
        var ledger = RateLedger(limit: 8)
        for number in 0..<7 { _ = publish(&ledger, "long \(number)", "", long, at: 0) }
        _ = publish(&ledger, "short", "", short, at: 0)
        _ = publish(&ledger, "new", "", long, at: 0)
        #expect(ledger.count == 8)
        for number in 0..<7 { #expect(!publish(&ledger, "long \(number)", "", long, at: 0).isAdmitted) }
        #expect(publish(&ledger, "short", "", short, at: 0).isAdmitted)
    }
}

@Suite struct RateMemoryTests {
    private let ticket = Ticket(connection: 7, command: 8, loop: 0)

    /// Calls `body` with the options of a publication into a room with both limits.
    private func withOptions<Result>(
        _ talker: String = "u", key: String = "", _ body: (PublishOptions) throws -> Result
    ) throws -> Result {
        let limits = try #require(
            RateLimits(room: limit(1, per: .seconds(1)), user: limit(1, per: .seconds(1))))
        return try raw(talker) { talker in
            try raw(key) { try body(PublishOptions(key: $0, limits: limits, talker: talker)) }
        }
    }

    private func ask(
        _ memory: inout RateMemory, _ room: String, _ talker: String = "u", at seconds: Double,
        _ outcome: PublishOutcome
    ) throws {
        let asked = try withOptions(talker) { options in
            raw(room) { memory.ask(ticket, room: $0, options, now: time(seconds)) }
        }
        #expect(asked.loop == RateMemory.ticketLoop)
        #expect(memory.answered(asked, outcome) == ticket)
        #expect(memory.answered(asked, outcome) == nil, "an answer counts once")
    }

    private func refusal(
        _ memory: inout RateMemory, _ room: String, _ talker: String = "u", key: String = "", at seconds: Double
    ) throws -> RateWaits? {
        try withOptions(talker, key: key) { options in
            raw(room) { memory.refusal(room: $0, options, now: time(seconds)) }
        }
    }

    @Test func `a refusal is remembered from when the command was sent, and never for longer than it holds`() throws {
        var memory = RateMemory()
        #expect(try refusal(&memory, "r", at: 0) == nil)
        // Sent at 0; the answer comes at any later time and says 1 s.
        try ask(&memory, "r", at: 0, .limited(RateWaits(room: 1_000_000, user: 0)))
        #expect(try refusal(&memory, "r", at: 0.5) == RateWaits(room: 499_000, user: 0))
        #expect(try refusal(&memory, "r", "other", at: 0.5) == RateWaits(room: 499_000, user: 0))
        #expect(try refusal(&memory, "other", at: 0.5) == nil)
        #expect(try refusal(&memory, "r", at: 0.998) != nil)
        #expect(try refusal(&memory, "r", at: 0.999) == nil, "a thousandth earlier, since clocks differ")
    }

    @Test func `an accepted publication says when the next one passes; a user's wait is that user's`() throws {
        var memory = RateMemory()
        try ask(&memory, "r", "ada", at: 0, .taken(.none, next: RateWaits(room: 0, user: 5_000_000)))
        #expect(try refusal(&memory, "r", "ada", at: 1) == RateWaits(room: 0, user: 3_995_000))
        #expect(try refusal(&memory, "r", "bob", at: 1) == nil)
        #expect(try refusal(&memory, "s", "ada", at: 1) == nil)
        // The engine has taken one after all: it has lost its state, and its word counts.
        try ask(&memory, "r", "ada", at: 2, .taken(.none, next: .zero))
        #expect(try refusal(&memory, "r", "ada", at: 2) == nil)
    }

    @Test func `a failure says nothing, nor does a repetition`() throws {
        var memory = RateMemory()
        try ask(&memory, "r", at: 0, .limited(RateWaits(room: 1_000_000, user: 0)))
        try ask(&memory, "r", at: 0.1, .taken(StreamPosition(offset: 1, epoch: 1)))
        try ask(&memory, "r", at: 0.1, .failed(.unavailable))
        #expect(try refusal(&memory, "r", at: 0.5) != nil)
        #expect(memory.asking == 0)
    }

    @Test func `publications with a key pass a refusal once in a while, for each room and user`() throws {
        var memory = RateMemory()
        try ask(&memory, "r", at: 0, .limited(RateWaits(room: 10_000_000, user: 0)))
        var passed = 0
        for step in 0..<1000 {
            if try refusal(&memory, "r", "u\(step)", key: "k\(step)", at: 0.001 * Double(step)) == nil { passed += 1 }
            #expect(try refusal(&memory, "r", at: 0.001 * Double(step)) != nil, "without a key none passes")
        }
        #expect(passed == 4, "a flood with keys costs four calls a second")
        try ask(&memory, "s", "ada", at: 0, .limited(RateWaits(room: 0, user: 10_000_000)))
        try ask(&memory, "s", "bob", at: 0, .limited(RateWaits(room: 0, user: 10_000_000)))
        #expect(try refusal(&memory, "s", "ada", key: "k", at: 1) == nil)
        #expect(try refusal(&memory, "s", "ada", key: "k", at: 1) != nil)
        #expect(try refusal(&memory, "s", "bob", key: "k", at: 1) == nil, "the other one's turn is its own")
    }

    /// Asks for as many as the memory lets through at one moment, and answers nothing; how many that were.
    private func asked(
        _ memory: inout RateMemory, _ attempts: Int, _ limits: RateLimits?, key: String = "", at seconds: Double
    ) -> Int {
        raw("r") { room in
            raw(key) { key in
                raw("u") { talker in
                    (0..<attempts).count { _ in
                        let options = PublishOptions(key: key, limits: limits, talker: talker)
                        let isFree = memory.refusal(room: room, options, now: time(seconds)) == nil
                        if isFree { _ = memory.ask(ticket, room: room, options, now: time(seconds)) }
                        return isFree
                    }
                }
            }
        }
    }

    @Test func `of what comes at one moment only as many go out as can have become free`() throws {
        let tenth = try limit(10, per: .seconds(1))
        for limits in [RateLimits(room: tenth, user: nil), RateLimits(room: nil, user: tenth)] {
            var memory = RateMemory()
            #expect(asked(&memory, 20, limits, at: 0) == 20, "nothing is known yet")
            let last = Ticket(connection: 19, command: 0, loop: RateMemory.ticketLoop)
            let isRoom = limits?.room != nil
            let full = RateWaits(room: isRoom ? 100_000 : 0, user: isRoom ? 0 : 100_000)
            #expect(memory.answered(last, .limited(full)) == ticket)
            #expect(asked(&memory, 20, limits, at: 0.05) == 0)
            #expect(asked(&memory, 20, limits, at: 0.1) == 1)
            #expect(asked(&memory, 20, limits, at: 0.101) == 1, "a moment later the engine may know better")
            #expect(asked(&memory, 20, limits, at: 0.35) == 3)
            #expect(asked(&memory, 20, limits, at: 9) == 20)
        }
        // Of two limits the other one may refuse, and a key may be known: those do not stand for others.
        var memory = RateMemory()
        try ask(&memory, "r", at: 0, .limited(RateWaits(room: 100_000, user: 0)))
        #expect(asked(&memory, 20, RateLimits(room: tenth, user: tenth), at: 1) == 20)
        #expect(asked(&memory, 20, RateLimits(room: tenth, user: nil), key: "k", at: 2) == 20)
        // Once a publication has passed without a wait, it is not known how many more may.
        try ask(&memory, "r", at: 2, .taken(.none, next: .zero))
        #expect(asked(&memory, 20, RateLimits(room: tenth, user: nil), at: 2) == 20)
    }

    @Test func `APP-04 the memory is bounded, and what it forgets costs a call but no wrong refusal`() throws {
        var memory = RateMemory(entries: 100)
        for number in 0..<10_000 {
            try ask(&memory, "r\(number)", "u\(number)", at: 0, .limited(RateWaits(room: 1_000_000_000, user: 1)))
            #expect(memory.count <= 100)
        }
        var remembered = 0
        for number in 0..<10_000 where try refusal(&memory, "r\(number)", "u\(number)", at: 1) != nil {
            remembered += 1
        }
        #expect(remembered > 40 && remembered <= 100)
        #expect(try refusal(&memory, "never", at: 1) == nil)
    }

    @Test func `an answer whose entry has gone meanwhile is nobody else's`() throws {
        var memory = RateMemory(entries: 2)
        let asked = try withOptions { options in raw("old") { memory.ask(ticket, room: $0, options, now: time(0)) } }
        for number in 0..<10 { try ask(&memory, "r\(number)", "u\(number)", at: 0, .failed(.unavailable)) }
        #expect(memory.answered(asked, .limited(RateWaits(room: 1_000_000, user: 1_000_000))) == ticket)
        for number in 0..<10 { #expect(try refusal(&memory, "r\(number)", "u\(number)", at: 0) == nil) }
    }

    @Test func `tickets that were never given are nobody's`() {
        var memory = RateMemory()
        for word: UInt64 in [0, 1, .max] {
            let stray = Ticket(connection: word, command: 0, loop: RateMemory.ticketLoop)
            #expect(memory.answered(stray, .taken(.none)) == nil)
        }
    }
}
