// Rooms that take no more for now (111): the publish is told so, waits as the server says, and is sent again with its
// key, once; nothing is lost, doubled or overtaken.

import Bytes
import Testing

@testable import Client

@Suite("Client limits")
struct ClientLimitTests {
    /// The jitter that may be added to the first wait.
    private let jitter = Duration.milliseconds(200)

    private func limit(_ id: Int, _ milliseconds: UInt64) -> String {
        #"{"id":\#(id),"error":{"code":111,"message":"slow mode","temporary":true,"retry_after":\#(milliseconds)}}"#
    }

    private func error(_ wait: Duration) -> ClientError {
        .refused(ServerError(code: 111, message: "slow mode", isTemporary: true, retryAfter: wait))
    }

    private func key(_ command: String) -> Substring? {
        command.split(separator: #""idempotency_key":""#).last?.prefix { $0 != "\"" }
    }

    private func texts(_ commands: [String]) -> [Substring] {
        commands.compactMap { $0.split(separator: #""data":"#).dropFirst().first?.prefix { $0 != "," } }
    }

    private func limits(_ bench: borrowing Bench) -> [Duration] {
        bench.events.compactMap { if case .limited("r", _, let wait) = $0 { wait } else { nil } }
    }

    private func bench(_ seed: UInt64 = 1, _ change: (inout ClientOptions) -> Void = { _ in }) throws -> Bench {
        var bench = try Bench(seed, change)
        bench.connect()
        _ = (bench.takeCommands(), bench.takeEvents())
        return bench
    }

    @Test("It is told at once, waits at least as long as the server says, and is sent again with its key")
    func waiting() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var bench = try bench(seed)
        let request = bench.act { $0.publish(data("1"), to: "r", now: $1) }
        _ = bench.act { $0.publish(data("2"), to: "r", now: $1) }
        _ = bench.act { $0.publish(data("3"), to: "other", now: $1) }
        let first = bench.takeCommands()
        #expect(texts(first) == ["1", "3"])
        bench.say(limit(2, 5000))
        #expect(bench.events == [.limited(room: "r", request, retryAfter: .seconds(5))])
        bench.say(#"{"id":3,"publish":{}}"#)
        bench.pass(.seconds(5) - .nanoseconds(1))
        #expect(bench.takeCommands().isEmpty && bench.session.unanswered == 2, "seed \(seed)")
        bench.pass(jitter)
        let again = bench.takeCommands()
        #expect(texts(again) == ["1"] && key(again[0]) == key(first[0]))
        bench.say(#"{"id":4,"publish":{"offset":1,"epoch":"e"}}"#)
        #expect(texts(bench.takeCommands()) == ["2"], "those behind it follow in order")
        bench.say(limit(5, 5000))
        bench.passToDeadline()
        bench.say(#"{"id":6,"publish":{"offset":2,"epoch":"e"}}"#)
        #expect(
            bench.answers
                == [.success(.published(nil))]
                + [1, 2].map { .success(.published(StreamMark(epoch: "e", offset: $0))) })
        #expect(bench.session.unanswered == 0)
    }

    @Test("A limit holds over a reconnection: it is the room's, not the connection's")
    func reconnection() throws {
        var bench = try bench()
        _ = bench.act { $0.publish(data("1"), to: "r", now: $1) }
        let first = bench.takeCommands()
        bench.say(limit(2, 60_000))
        bench.again()
        bench.pass(.seconds(59))
        #expect(texts(bench.takeCommands()).isEmpty)
        bench.pass(.seconds(1) + jitter)
        let again = bench.takeCommands()
        #expect(texts(again) == ["1"] && key(again[0]) == key(first[0]))
        // The limit ends while there is no connection: nothing spins, and it is sent on the next one.
        bench.say(limit(2, 100))
        for _ in 0..<5 {
            bench.act { $0.linkLost("gone", now: $1) }
            bench.passToDeadline()
            #expect(bench.session.deadline.map { $0 > bench.now } == true)
        }
        for _ in 0..<100 {
            if case .opening = bench.session.state { break }
            bench.passToDeadline()
        }
        bench.establish()
        #expect(texts(bench.takeCommands()) == ["1"])
    }

    @Test("The wait does not count as patience, neither for the head nor for those behind it")
    func patience() throws {
        var bench = try bench { $0.publishPatience = .seconds(30) }
        for number in 1...3 { _ = bench.act { $0.publish(data("\(number)"), to: "r", now: $1) } }
        var id = 2
        for number in 1...3 {
            bench.say(limit(id, 60_000))
            bench.passToDeadline()
            // Afterwards an outage: there is patience for it.
            bench.say(#"{"id":\#(id + 1),"error":{"code":120,"message":"away","temporary":true}}"#)
            #expect(bench.answers.count == number - 1)
            bench.passToDeadline()
            bench.say(#"{"id":\#(id + 2),"publish":{}}"#)
            id += 3
        }
        #expect(bench.answers == Array(repeating: .success(.published(nil)), count: 3))
        // One that only waited behind a limit has its patience, too.
        for number in 4...5 { _ = bench.act { $0.publish(data("\(number)"), to: "r", now: $1) } }
        bench.say(limit(id, 60_000))
        bench.passToDeadline()
        bench.say(#"{"id":\#(id + 1),"publish":{}}"#)
        bench.say(#"{"id":\#(id + 2),"error":{"code":120,"message":"away","temporary":true}}"#)
        #expect(bench.answers.count == 4 && bench.session.unanswered == 1)
    }

    @Test("After its time, or when the server names a longer one, or without patience, it fails as refused")
    func over() throws {
        var bench = try bench { $0.limitPatience = .seconds(100) }
        _ = bench.act { $0.publish(data("1"), to: "r", now: $1) }
        let begin = bench.now
        var id = 2
        while bench.answers.isEmpty, id < 100 {
            bench.say(limit(id, 30_000))
            id += 1
            if bench.answers.isEmpty { bench.passToDeadline() }
        }
        #expect(bench.answers == [.failure(error(.seconds(30)))])
        #expect(id == 6 && bench.now.since(begin) < .seconds(100), "as often as fits, not beyond its time")
        _ = bench.takeEvents()
        for wait in [101_000, UInt64.max] {
            _ = bench.act { $0.publish(data("2"), to: "r", now: $1) }
            bench.say(limit(id, wait))
            id += 1
            #expect(bench.takeEvents().count == 1, "at once")
        }
        var impatient = try self.bench { $0.limitPatience = .zero }
        _ = impatient.act { $0.publish(data("1"), to: "r", now: $1) }
        impatient.say(limit(2, 5000))
        #expect(impatient.answers == [.failure(error(.seconds(5)))])
        #expect(limits(impatient).isEmpty && impatient.session.unanswered == 0)
    }

    @Test(
        "An unknown outcome before the limit is what is told in the end, and bounds the repetitions by their patience")
    func unknownOutcome() throws {
        var bench = try bench { $0.publishPatience = .seconds(30) }
        _ = bench.act { $0.publish(data("1"), to: "r", now: $1) }
        bench.again()
        #expect(texts(bench.takeCommands()) == ["1"])
        bench.say(limit(2, 5000))
        bench.passToDeadline()
        #expect(texts(bench.takeCommands()) == ["1"])
        bench.say(limit(3, 60_000))
        #expect(bench.answers == [.failure(.connectionLost)])
    }

    @Test("A limit without a time is asked again after a jittered, growing wait")
    func withoutTime() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var bench = try bench(seed)
        _ = bench.act { $0.publish(data("1"), to: "r", now: $1) }
        for id in 2..<8 {
            bench.say(#"{"id":\#(id),"error":{"code":111,"message":"m"}}"#)
            bench.passToDeadline()
        }
        let waits = limits(bench)
        #expect(waits.count == 6 && waits.allSatisfy { $0 <= .seconds(2) } && Set(waits).count > 1, "seed \(seed)")
        #expect(texts(bench.takeCommands()).count == 7)
    }

    @Test("What waits can be taken back; what is on its way cannot")
    func cancelling() throws {
        var bench = try bench()
        for number in 1...3 { _ = bench.act { $0.publish(data("\(number)"), to: "r", now: $1) } }
        _ = bench.act { $0.publish(data("9"), to: "other", now: $1) }
        var count = bench.act { session, _ in session.cancelPublishes(in: "r") }
        #expect(count == 2 && bench.answers == [.failure(.cancelled), .failure(.cancelled)])
        _ = (bench.takeEvents(), bench.takeCommands())
        bench.say(limit(2, 5000))
        count = bench.act { session, _ in session.cancelPublishes(in: "r") }
        #expect(count == 1 && bench.answers == [.failure(.cancelled)])
        bench.pass(.seconds(6))
        #expect(bench.takeCommands().isEmpty && bench.session.unanswered == 1)
        _ = bench.takeEvents()
        bench.say(#"{"id":3,"publish":{}}"#)
        #expect(bench.session.unanswered == 0)
        count = bench.act { session, _ in session.cancelPublishes(in: "nowhere") }
        #expect(count == 0)
        // Nobody knows whether this one was published.
        _ = bench.act { $0.publish(data("4"), to: "r", now: $1) }
        bench.act { $0.linkLost("gone", now: $1) }
        _ = bench.takeEvents()
        count = bench.act { session, _ in session.cancelPublishes(in: "r") }
        #expect(count == 1 && bench.answers == [.failure(.connectionLost)])
    }

    /// A server that keeps keys, limits at random, and loses connections.
    private struct Server: ~Copyable {
        var bench: Bench
        var random: SeededRandom
        /// Commands without an answer on this connection.
        var open: [(id: Int, room: String, key: String)] = []
        /// Keys in the order in which they took effect.
        var accepted: [String: [Int]] = [:]
        var answered: [RequestID: Int] = [:]

        mutating func take() {
            for event in bench.takeEvents() {
                if case .answered(let request, _) = event { answered[request, default: 0] += 1 }
                if case .disconnected = event { open = [] }
            }
            for command in bench.takeCommands() where command.contains("publish") {
                let parts = command.split(separator: "\"")
                open.append((Int(parts[2].dropFirst().dropLast()) ?? 0, String(parts[7]), String(parts[13])))
            }
        }

        mutating func answer(limits: Bool) {
            guard !open.isEmpty else { return }
            let (id, room, key) = open.remove(at: Int.random(in: 0..<open.count, using: &random))
            let number = Int(key.split(separator: "-").last ?? "") ?? 0
            let isKnown = accepted[room]?.contains(number) == true
            if limits, !isKnown, Bool.random(using: &random) {
                let wait = Int.random(in: 0...3000, using: &random)
                bench.say(#"{"id":\#(id),"error":{"code":111,"message":"m","temporary":true,"retry_after":\#(wait)}}"#)
            } else {
                if !isKnown { accepted[room, default: []].append(number) }
                // An answer may be lost with its connection.
                if limits, Int.random(in: 0..<10, using: &random) == 0 {
                    bench.act { $0.linkLost("gone", now: $1) }
                } else {
                    bench.say(#"{"id":\#(id),"publish":{}}"#)
                }
            }
        }

        mutating func pass(_ time: Duration) {
            bench.pass(time)
            for _ in 0..<1000 {
                guard case .waiting = bench.session.state else { break }
                bench.passToDeadline()
            }
            guard case .opening = bench.session.state else { return }
            take()
            bench.establish()
        }
    }

    @Test("Each publish has one answer and takes effect once and in order, however often it was limited or lost")
    func accounting() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        for round in 0..<30 as Range<UInt64> {
            let bench = try bench(seed &+ round) { $0.inFlight = 3 }
            var server = Server(bench: bench, random: SeededRandom(seed: seed &+ round))
            var asked: Set<RequestID> = []
            for step in 0..<300 {
                switch Int.random(in: 0..<8, using: &server.random) {
                case 0, 1: asked.insert(server.bench.act { $0.publish(data("1"), to: "r\(step % 4)", now: $1) })
                case 2 where step % 3 == 0: _ = server.bench.act { session, _ in session.cancelPublishes(in: "r1") }
                case 3, 4: server.pass(.milliseconds(Int64.random(in: 1...1500, using: &server.random)))
                default: server.answer(limits: true)
                }
                server.take()
            }
            for _ in 0..<10_000 where server.bench.session.unanswered > 0 {
                server.answer(limits: false)
                if server.open.isEmpty { server.pass(.seconds(1)) }
                server.take()
            }
            #expect(server.answered == Dictionary(uniqueKeysWithValues: asked.map { ($0, 1) }), "seed \(seed)")
            for numbers in server.accepted.values { #expect(numbers == numbers.sorted(), "seed \(seed)") }
            #expect(server.accepted.count == 4, "seed \(seed)")
        }
    }
}
