// Several gateways: where a client begins, where it goes on, how long it waits, and what it takes along.

import Bytes
import Testing

@testable import Client

@Suite("Client with several gateways")
struct GatewaysTests {
    private let hosts = ["a", "b", "c"]

    private func seed() -> UInt64 { UInt64.random(in: 0...UInt64.max) }

    private func visited(_ bench: borrowing Bench) -> [String] {
        bench.events.compactMap { if case .connecting(_, let url) = $0 { url.host } else { nil } }
    }

    private func waits(_ bench: borrowing Bench) -> [Duration] {
        bench.events.compactMap { if case .disconnected(let end) = $0 { end.retryIn } else { nil } }
    }

    /// `count` hosts from where `first` is on.
    private func round(from first: String?, _ count: Int) -> [String] {
        let start = hosts.firstIndex { $0 == first } ?? 0
        return (0..<count).map { hosts[(start + $0) % hosts.count] }
    }

    @Test("Clients begin at different gateways and go round in the order of the list")
    func order() throws {
        let seed = seed()
        var starts: Set<String> = []
        for number in 0..<60 {
            var bench = try Bench(seed &+ UInt64(number), hosts: hosts)
            bench.act { $0.connect(now: $1) }
            for _ in 0..<6 {
                bench.act { $0.linkLost("refused", now: $1) }
                bench.passToDeadline()
            }
            let visited = visited(bench)
            #expect(visited == round(from: visited.first, 7), "seed \(seed)")
            if let first = visited.first { starts.insert(first) }
        }
        #expect(starts == Set(hosts), "seed \(seed)")
    }

    @Test("While all are dead there is one wait a round, and it grows with the rounds")
    func allDead() throws {
        let seed = seed()
        var bench = try Bench(seed, hosts: hosts)
        bench.act { $0.connect(now: $1) }
        for _ in 0..<60 {
            bench.act { $0.linkLost("refused", now: $1) }
            bench.passToDeadline()
        }
        for (index, wait) in waits(bench).enumerated() {
            let (round, place) = index.quotientAndRemainder(dividingBy: 3)
            let limit = min(.seconds(20), .milliseconds(500) * (1 << round))
            #expect(place < 2 ? wait == .zero : wait <= limit, "seed \(seed), \(index)")
        }
        #expect(waits(bench).max() ?? .zero > .seconds(5), "seed \(seed)")
    }

    @Test("A lost connection waits with jitter and goes on to the next gateway; a dead one there costs one attempt")
    func failover() throws {
        let seed = seed()
        var lost: Set<Duration> = []
        for number in 0..<20 {
            var bench = try Bench(seed &+ UInt64(number), hosts: hosts)
            bench.connect()
            bench.pass(.seconds(60))
            bench.act { $0.linkLost("reset", now: $1) }
            bench.passToDeadline()
            bench.act { $0.linkLost("refused", now: $1) }
            let before = bench.now
            bench.passToDeadline()
            bench.establish()
            #expect(bench.now == before, "no wait while one is left; seed \(seed)")
            #expect(bench.session.deadline == nil, "it is connected; seed \(seed)")
            let visited = visited(bench)
            #expect(visited == round(from: visited.first, 3), "seed \(seed)")
            let waits = waits(bench)
            #expect(waits.count == 2 && waits[0] <= .milliseconds(500) && waits[1] == .zero, "seed \(seed)")
            lost.insert(waits[0])
        }
        #expect(lost.count == 20, "those that lost the same gateway do not come all at once; seed \(seed)")
    }

    @Test("A gateway that does not answer is given less time while another one is left", arguments: 0..<3)
    func silent(_ stage: Int) throws {
        var bench = try Bench(hosts: hosts)
        bench.act { $0.connect(now: $1) }
        var times: [Duration] = []
        for _ in 0..<6 {
            if stage == 1 { bench.act { $0.linkOpened(now: $1) } }
            if stage == 2 { bench.accept() }
            let begin = bench.now
            bench.passToDeadline()
            times.append(bench.now.since(begin))
            bench.resetServer()
            bench.passToDeadline()
        }
        #expect(times == [3, 3, 10, 3, 3, 10].map { .seconds($0) })
    }

    @Test("An answer of 4xx is final only when every gateway gives one; a refusal of who we are is final at once")
    func refusals() throws {
        func refuse(_ bench: inout Bench, _ status: Int) {
            bench.act { $0.linkOpened(now: $1) }
            bench.feed(Array("HTTP/1.1 \(status) No\r\nContent-Length: 0\r\n\r\n".utf8))
            bench.resetServer()
            if bench.session.deadline != nil { bench.passToDeadline() }
        }
        var bench = try Bench(hosts: hosts)
        bench.act { $0.connect(now: $1) }
        for status in [404, 403, 503, 404, 403] { refuse(&bench, status) }
        #expect(bench.lastEnd?.retryIn != nil)
        bench.establish()
        bench.act { $0.reconnect(now: $1) }
        bench.pass(.zero)
        bench.resetServer()
        for status in [404, 404] { refuse(&bench, status) }
        #expect(bench.lastEnd?.retryIn != nil, "those of before the connection do not count")
        refuse(&bench, 403)
        #expect(bench.lastEnd?.retryIn == nil && bench.lastEnd?.isAuthentication == true)

        var stranger = try Bench(hosts: hosts)
        stranger.act { $0.connect(now: $1) }
        stranger.accept()
        stranger.say(#"{"id":1,"error":{"code":109,"message":"token expired"}}"#)
        #expect(stranger.lastEnd?.retryIn == nil && stranger.session.deadline == nil)
    }

    @Test("When one asks for patience the others are tried at once, and the next round waits as long as it asked")
    func patience() throws {
        var bench = try Bench(hosts: hosts)
        bench.act { $0.connect(now: $1) }
        for wait in [0, 4000, 0] {
            bench.accept()
            let hint = wait > 0 ? #","retry_after":\#(wait)"# : ""
            bench.say(#"{"id":1,"error":{"code":111,"message":"slow down","temporary":true\#(hint)}}"#)
            bench.passToDeadline()
        }
        #expect(waits(bench) == [.zero, .zero, .seconds(4)])
        bench.accept()
        bench.say(#"{"id":1,"error":{"code":111,"message":"slow down","temporary":true,"retry_after":4000}}"#)
        bench.passToDeadline()
        bench.establish()
        bench.pass(.seconds(60))
        bench.act { $0.linkLost("reset", now: $1) }
        #expect(bench.lastEnd?.retryIn ?? .seconds(9) <= .milliseconds(500), "it is forgotten after a connection")
    }

    @Test("A gateway that drains sends its clients on, when it wants them to go")
    func drain() throws {
        var bench = try Bench(hosts: hosts)
        bench.connect()
        bench.pass(.seconds(60))
        bench.sayClose(3001, #"{"reason":"shutdown","reconnect_in":7250}"#)
        #expect(bench.lastEnd?.retryIn == .milliseconds(7250))
        bench.passToDeadline()
        let visited = visited(bench)
        #expect(visited == round(from: visited.first, 2))
    }

    @Test("At the next gateway the rooms go on where they were, and unanswered publishes keep their keys and order")
    func takeAlong() throws {
        var bench = try Bench(hosts: hosts)
        bench.connect()
        bench.join("r", id: 2, #"{"recoverable":true,"epoch":"e","offset":5}"#)
        bench.say(#"{"push":{"channel":"r","pub":{"data":6,"offset":6}}}"#)
        _ = bench.act { $0.publish(data("7"), to: "r", now: $1) }
        _ = bench.act { $0.publish(data("8"), to: "r", now: $1) }
        let sent = bench.takeCommands().last
        bench.act { $0.linkLost("reset", now: $1) }
        bench.passToDeadline()
        bench.establish()
        #expect(
            bench.takeCommands().dropFirst() == [
                #"{"id":2,"subscribe":{"channel":"r","recover":true,"epoch":"e","offset":6,"recoverable":true}}"#
            ])
        // It had been published before the connection was lost.
        bench.say(
            #"{"id":2,"subscribe":{"recoverable":true,"epoch":"e","offset":7,"recovered":true,"was_recovering":true,"#
                + #""publications":[{"data":7,"offset":7}]}}"#)
        #expect(bench.takeCommands() == [sent].compactMap(\.self))
        bench.say(#"{"id":3,"publish":{"offset":7,"epoch":"e"}}"#)
        bench.say(#"{"push":{"channel":"r","pub":{"data":8,"offset":8}}}"# + "\n" + #"{"id":4,"publish":{"offset":8}}"#)
        #expect(bench.texts == ["6", "7", "8"])
        #expect(
            bench.answers.first == .success(.published(StreamMark(epoch: "e", offset: 7)))
                && bench.answers.count == 2)
    }
}
