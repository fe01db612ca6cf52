// The limits of one connection: the arithmetic of a pace, what a client hears that is too fast, and when it is closed.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct PaceTests {
    private static let start = MonotonicTime(nanoseconds: 1_000_000_000_000)

    @Test func `a burst passes at once, then one in each interval`() {
        let pace = Pace(50, per: .seconds(1), burst: 5)
        var due: UInt64 = 0
        var now = Self.start
        for _ in 0..<5 { #expect(pace.take(&due, at: now) == 0) }
        #expect(pace.take(&due, at: now) == 20_000_000, "the wait is what is missing")
        now = now + .nanoseconds(19_999_999)
        #expect(pace.take(&due, at: now) == 1)
        now = now + .nanoseconds(1)
        #expect(pace.take(&due, at: now) == 0)
        #expect(pace.take(&due, at: now) == 20_000_000)
        now = now + .seconds(3600)
        for _ in 0..<5 { #expect(pace.take(&due, at: now) == 0, "rest gives the burst back, and no more") }
        #expect(pace.take(&due, at: now) > 0)
    }

    @Test func `at the edge of any window no more passes than burst and rate allow`() {
        let pace = Pace(10, per: .seconds(1), burst: 10)
        for seed in 0..<20 as Range<UInt64> {
            var random = SeededRandom(seed: seed)
            var due: UInt64 = 0
            var now = Self.start
            var passed: [MonotonicTime] = []
            for _ in 0..<2000 {
                now = now + .microseconds(Int64.random(in: 0...40_000, using: &random))
                if pace.take(&due, at: now) == 0 { passed.append(now) }
            }
            for (index, first) in passed.enumerated() {
                let inWindow = passed[index...].prefix { $0.since(first) < .seconds(1) }.count
                #expect(inWindow <= 20, "seed \(seed)")
            }
            let seconds = Double(now.since(Self.start).components.seconds) + 1
            #expect(Double(passed.count) <= 10 * seconds + 10, "seed \(seed)")
            #expect(Double(passed.count) >= 10 * seconds * 0.95 - 10, "nothing is lost to rounding; seed \(seed)")
        }
    }

    @Test func `bytes cost fractions of nanoseconds, and what is longer than the burst never passes`() {
        let pace = Pace(1 << 30, per: .seconds(1), burst: 128 << 10)
        var due: UInt64 = 0
        #expect(pace.take(&due, 128 << 10, at: Self.start) == 0)
        #expect(pace.take(&due, 1, at: Self.start) <= 1)
        var fresh: UInt64 = 0
        #expect(pace.take(&fresh, (128 << 10) + 2, at: Self.start) > 0)
    }

    @Test(arguments: [
        (1, Duration.seconds(3_155_760_000), 1_000_000), (Int.max, .nanoseconds(1), 1), (1, .nanoseconds(1), Int.max),
        (0, .zero, 0), (-5, .seconds(-1), -1),
    ])
    func `extreme values trap nowhere`(units: Int, period: Duration, burst: Int) {
        let pace = Pace(units, per: period, burst: burst)
        for moment in [0, 1, 1 << 62] as [UInt64] {
            var due: UInt64 = 0
            let now = MonotonicTime(nanoseconds: moment)
            for count in [0, 1, 64 << 20, Int.max, -1] { _ = pace.take(&due, count, at: now) }
        }
        var due: UInt64 = 0
        #expect(pace.take(&due, at: Self.start) == 0, "the first one passes")
    }
}

@Suite struct ConnectionLimitTests {
    /// 10 commands a second, 5 at once.
    private static func house(_ adjust: (inout ConnectionLimits) -> Void = { _ in }) -> House {
        House {
            $0.isInsecure = true
            $0.limits.commands = Pace(10, per: .seconds(1), burst: 5)
            adjust(&$0.limits)
        }
    }

    private static let ping = #"{"id":7,"ping":{}}"#
    private static let pong = #"{"id":7,"ping":{}}"#

    private static func refusal(_ id: Int, retryAfter: Int) -> String {
        #"{"id":\#(id),"error":{"code":111,"message":"too many requests","temporary":true,"# + #""retry_after":"#
            + "\(retryAfter)}}"
    }

    @Test func `what comes too fast gets error 111 and the time to wait, and is served after it`() {
        let house = Self.house()
        let client = house.connected()
        for _ in 0..<5 { #expect(client.ask(Self.ping) == [Self.pong]) }
        #expect(client.ask(Self.ping) == [Self.refusal(7, retryAfter: 101)])
        house.pass(.milliseconds(101))
        #expect(client.ask(Self.ping) == [Self.pong])
        #expect(client.ask(Self.ping) == [Self.refusal(7, retryAfter: 100)])
        #expect(house.outlets[0].refusals == [.connection: 2])
    }

    @Test func `every command of a frame counts, whatever it is, and connect does not`() {
        let house = Self.house()
        let client = house.connected()
        let commands = [
            #"{"id":1,"ping":{}}"#, #"{"id":2,"rpc":{"method":"m"}}"#, #"{"id":3,"subscribe":{"channel":"a"}}"#,
            #"{"id":4,"publish":{"channel":"a","data":1}}"#, #"{"id":5,"refresh":{"token":"t"}}"#,
            #"{"id":6,"presence":{"channel":"a"}}"#, #"{"id":7,"unsubscribe":{"channel":"a"}}"#,
        ]
        let heard = client.ask(commands.joined(separator: "\n"))
        #expect(heard.filter { $0.contains(#""code":111"#) } == [6, 7].map { Self.refusal($0, retryAfter: 101) })
        #expect(heard.contains(#"{"id":3,"subscribe":{}}"#) && heard.contains(#"{"id":4,"publish":{}}"#))
        #expect(house.loops[0].subscriptionCount == 1, "what was refused was not done")
    }

    @Test func `a send has no answer: it is dropped and counted`() {
        let house = Self.house()
        let client = house.connected()
        let sends = Array(repeating: #"{"send":{"data":1}}"#, count: 8).joined(separator: "\n")
        #expect(client.ask(sends) == [])
        let counted = house.outlets[0].commands.filter { $0.0 == .send }
        #expect(counted.count { $0.1 == nil } == 5 && counted.count { $0.1 == .tooManyRequests } == 3)
    }

    @Test func `pongs are neither limited nor counted`() {
        let house = Self.house { $0.bytes = Pace(100, per: .seconds(1), burst: 100) }
        let client = house.connected()
        _ = client.ask(Array(repeating: Self.ping, count: 9).joined(separator: "\n"))
        for _ in 0..<50 {
            client.fireTimer()
            #expect(client.ask("{}") == [], "it is accepted, and the next ping is due")
            #expect(client.rooms.session(client.word)?.pointee.awaitsPong == false)
        }
        #expect(client.ask("{}") == ["close 3501"], "an unasked one stays a fault")
    }

    @Test func `a message beyond the bytes is refused as a whole, and passes after the time to wait`() {
        let house = Self.house {
            $0.commands = .none
            $0.bytes = Pace(1000, per: .seconds(1), burst: 2000)
        }
        let client = house.connected()
        let long = #"{"id":7,"rpc":{"method":"\#(String(repeating: "m", count: 1472))"}}"#
        #expect(long.utf8.count == 1500)
        #expect(client.ask(long).first?.contains(#""code":104"#) == true)
        #expect(client.ask(long) == [Self.refusal(7, retryAfter: 1001)])
        #expect(client.ask(Self.ping) == [Self.pong], "what fits passes")
        house.pass(.milliseconds(1001 + 18))
        #expect(client.ask(long).first?.contains(#""code":104"#) == true)
    }

    @Test func `APP-11 entering and leaving rooms has a pace of its own`() {
        let house = Self.house {
            $0.commands = .none
            $0.churn = Pace(10, per: .seconds(1), burst: 6)
        }
        let client = house.connected()
        for index in 0..<3 {
            client.join("r\(index)")
            #expect(client.ask(#"{"id":3,"unsubscribe":{"channel":"r\#(index)"}}"#) == [#"{"id":3,"unsubscribe":{}}"#])
        }
        let subscribe = #"{"id":7,"subscribe":{"channel":"r9"}}"#
        #expect(client.ask(subscribe) == [Self.refusal(7, retryAfter: 101)])
        #expect(client.ask(Self.ping) == [Self.pong], "other commands go on")
        #expect(house.outlets[0].refusals == [.churn: 1])
        house.pass(.milliseconds(101))
        #expect(client.ask(subscribe) == [#"{"id":7,"subscribe":{}}"#])
    }

    @Test func `who goes on while told to wait is closed with 3013 after the patience`() {
        let house = Self.house()
        let client = house.connected()
        var waited = Duration.zero
        // 50 a second where 10 are allowed.
        while client.ask(Self.ping) != ["close 3013"] {
            house.pass(.milliseconds(20))
            waited += .milliseconds(20)
            guard waited < .seconds(30) else { break }
        }
        #expect((Duration.seconds(5)...Duration.seconds(7)).contains(waited), "\(waited)")
        #expect(client.ask(Self.ping) == [], "nothing is served any more")
    }

    @Test func `a flood of sends is closed, too`() {
        let house = Self.house()
        let client = house.connected()
        var rounds = 0
        while client.ask(#"{"send":{"data":1}}"#) != ["close 3013"], rounds < 1000 {
            house.pass(.milliseconds(20))
            rounds += 1
        }
        #expect(rounds < 400)
    }

    @Test func `a client that heeds retry_after is never closed, whatever it wants`() throws {
        for seed in 0..<10 as Range<UInt64> {
            var random = SeededRandom(seed: seed)
            let house = Self.house { $0.churn = Pace(2, per: .seconds(1), burst: 4) }
            let client = house.connected()
            for step in 0..<3000 {
                let command = [
                    Self.ping, #"{"id":7,"subscribe":{"channel":"a"}}"#, #"{"id":7,"unsubscribe":{"channel":"a"}}"#,
                ][Int.random(in: 0...2, using: &random)]
                let heard = client.ask(command)
                #expect(!heard.contains { $0.hasPrefix("close") }, "seed \(seed) step \(step)")
                let field = heard.first?.split(separator: #""retry_after":"#).dropFirst().first
                if let wait = field.flatMap({ Int64($0.prefix { $0.isNumber }) }) { house.pass(.milliseconds(wait)) }
            }
        }
    }

    @Test func `one burst far above the limit is refused, and who then keeps still is not closed`() {
        let house = Self.house()
        let client = house.connected()
        for _ in 0..<20 {
            let heard = client.ask(Array(repeating: Self.ping, count: 500).joined(separator: "\n"))
            #expect(!heard.contains { $0.hasPrefix("close") } && heard.count == 500)
            house.pass(.seconds(2))
        }
    }

    @Test func `nothing is limited where nothing is set, and the limits of one are not those of another`() {
        let free = House().connected()
        for _ in 0..<1000 { #expect(free.ask(Self.ping) == [Self.pong]) }
        let house = Self.house()
        let greedy = house.connected()
        let other = house.connected()
        _ = greedy.ask(Array(repeating: Self.ping, count: 100).joined(separator: "\n"))
        #expect(other.ask(Self.ping) == [Self.pong])
        // The slot's next tenant begins anew.
        greedy.close()
        let next = house.open(slot: UInt32(greedy.word & 0xFFFF_FFFF))
        _ = next.ask(#"{"id":1,"connect":{}}"#)
        #expect(next.ask(Self.ping) == [Self.pong])
    }

    @Test func `a session is as small as the documents say`() {
        #expect(MemoryLayout<Session>.stride == 112)
    }

    @Test func `HS-18 before connect nothing reaches the engine`() {
        for command in [
            #"{"id":1,"subscribe":{"channel":"a"}}"#, #"{"id":1,"publish":{"channel":"a","data":1}}"#,
            #"{"id":1,"history":{"channel":"a"}}"#, #"{"send":{"data":1}}"#, "{}",
        ] {
            let house = House { $0.allowsAnonymous = false }
            let client = house.open()
            #expect(client.ask(command) == ["close 3501"], "\(command)")
            let refused = house.open()
            let connect = #"{"id":1,"connect":{"token":"x","subs":{"a":{},"b":{"recover":true}}}}"#
            #expect(refused.ask(connect).first?.contains(#""error""#) == true)
            #expect(refused.ask(command) == ["close 3501"])
            #expect(house.engines[0].flows.isEmpty && house.loops[0].names.count == 0, "\(command)")
            #expect(house.outlets[0].publications == 0)
        }
    }
}
