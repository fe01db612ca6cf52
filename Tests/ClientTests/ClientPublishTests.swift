// Publishing: keys, repetitions, the order of a room, and the bounds of the queue.

import Bytes
import Testing

@testable import Client

@Suite("Client publishing")
struct ClientPublishTests {
    private func key(_ command: String) -> Substring? {
        command.split(separator: #""idempotency_key":""#).last?.prefix { $0 != "\"" }
    }

    private func published(_ command: String) -> String {
        let tail = command.split(separator: #""data":"#).last ?? ""
        return String(tail.prefix { $0 != "," })
    }

    private let away = #""error":{"code":120,"message":"engine unavailable","temporary":true}"#
    private let unknown = #""error":{"code":100,"message":"internal error","temporary":true}"#
    private let awayError = ClientError.refused(
        ServerError(code: 120, message: "engine unavailable", isTemporary: true))
    private let unknownError = ClientError.refused(ServerError(code: 100, message: "internal error", isTemporary: true))

    @Test("A publish is sent with a key of its own and answered with its position")
    func publishing() throws {
        var bench = try Bench()
        bench.connect()
        _ = (bench.takeCommands(), bench.takeEvents())
        let first = bench.act { $0.publish(data("{\"a\":\r\n1}"), to: "r", now: $1) }
        let second = bench.act { $0.publish(data("2"), to: "s", now: $1) }
        let commands = bench.takeCommands()
        #expect(commands[0].hasPrefix(#"{"id":2,"publish":{"channel":"r","data":{"a":1},"idempotency_key":""#))
        #expect(key(commands[0]) != nil && key(commands[0]) != key(commands[1]))
        bench.say(#"{"id":3,"error":{"code":103,"message":"permission denied"}}"#)
        bench.say(#"{"id":2,"publish":{"offset":9,"epoch":"e"}}"#)
        let error = ServerError(code: 103, message: "permission denied")
        #expect(
            bench.takeEvents() == [
                .answered(second, .failure(.refused(error))),
                .answered(first, .success(.published(StreamMark(epoch: "e", offset: 9)))),
            ])
        #expect(bench.session.unanswered == 0)
        _ = bench.act { $0.publish(data("no json"), to: "r", now: $1) }
        #expect(bench.takeEvents().count == 1 && bench.takeCommands().isEmpty, "what is no JSON is refused at once")
        _ = bench.act { $0.publish(data("3"), to: "r", now: $1) }
        bench.say(#"{"id":4,"publish":{}}"#)
        #expect(bench.answers == [.success(.published(nil))])
    }

    @Test("Keys differ between clients, and fit into the 64 bytes that a server takes")
    func keys() throws {
        var seen: Set<Substring> = []
        for seed in 0..<20 {
            var bench = try Bench(UInt64(seed))
            bench.connect()
            _ = bench.takeCommands()
            for number in 0..<5 { _ = bench.act { $0.publish(data("1"), to: "\(number)", now: $1) } }
            for command in bench.takeCommands() {
                let text = try #require(key(command))
                #expect((20...64).contains(text.utf8.count))
                seen.insert(text)
            }
        }
        #expect(seen.count == 100)
    }

    @Test("What was not answered is sent again on the next connection with its key, once its room is entered")
    func retrying() throws {
        var bench = try Bench { $0.inFlight = 2 }
        bench.connect()
        bench.join("r", id: 2)
        _ = bench.takeCommands()
        for room in ["r", "s", "t"] { _ = bench.act { $0.publish(data("1"), to: room, now: $1) } }
        let before = bench.takeCommands()
        #expect(before.count == 2, "only as many as may be on their way")
        bench.act { $0.linkLost("reset", now: $1) }
        _ = bench.act { $0.publish(data("2"), to: "r", now: $1) }
        bench.passToDeadline()
        bench.establish()
        let after = Array(bench.takeCommands().dropFirst())
        #expect(after[0] == #"{"id":2,"subscribe":{"channel":"r","recoverable":true}}"#)
        #expect(
            after.count == 3 && !after.contains { $0.contains(#""publish":{"channel":"r""#) }, "its room comes first")
        bench.say(#"{"id":2,"subscribe":{}}"# + "\n" + #"{"id":3,"publish":{}}"# + "\n" + #"{"id":4,"publish":{}}"#)
        let third = bench.takeCommands()
        #expect(third.map(published) == ["1"] && key(third[0]) == key(before[0]))
        #expect(Set((after.dropFirst() + third).map(key)).isSuperset(of: before.map(key)))
        bench.say(#"{"id":5,"publish":{}}"#)
        #expect(bench.takeCommands().map(published) == ["2"])
        bench.say(#"{"id":6,"publish":{}}"#)
        #expect(bench.answers == Array(repeating: .success(.published(nil)), count: 4) && bench.session.unanswered == 0)
    }

    @Test("A refusal that may pass is repeated with the same key after a wait, and those behind it wait with it")
    func temporary() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var bench = try Bench(seed)
        bench.connect()
        _ = bench.takeCommands()
        for number in 1...3 { _ = bench.act { $0.publish(data("\(number)"), to: "r", now: $1) } }
        _ = bench.act { $0.publish(data("9"), to: "other", now: $1) }
        var commands = bench.takeCommands()
        #expect(commands.map(published) == ["1", "9"], "one at a time in a room; seed \(seed)")
        bench.say(#"{"id":3,"publish":{}}"#)
        var id = 2
        var waits: [Duration] = []
        for (index, error) in [away, unknown, away, unknown].enumerated() {
            bench.say(#"{"id":\#(id),\#(error)}"#)
            let begin = bench.now
            #expect(bench.takeCommands().isEmpty, "seed \(seed)")
            bench.passToDeadline()
            waits.append(bench.now.since(begin))
            #expect(waits[index] <= min(.seconds(2), .milliseconds(200) * (1 << index)), "seed \(seed)")
            let again = bench.takeCommands()
            #expect(again.count == 1 && key(again[0]) == key(commands[0]), "seed \(seed)")
            id = index + 4
        }
        #expect(Set(waits).count > 1, "with jitter; seed \(seed)")
        #expect(bench.answers == [.success(.published(nil))], "nobody is told meanwhile")
        _ = bench.takeEvents()
        for number in 1...3 {
            bench.say(#"{"id":\#(id),"publish":{"offset":\#(number),"epoch":"e"}}"#)
            id += 1
        }
        commands = bench.takeCommands()
        #expect(commands.map(published) == ["2", "3"], "in the order of the wishes; seed \(seed)")
        #expect(bench.answers == (1...3).map { .success(.published(StreamMark(epoch: "e", offset: $0))) })
    }

    @Test("A server that says when to ask again is not asked before")
    func hints() throws {
        var bench = try Bench()
        bench.connect()
        _ = (bench.takeCommands(), bench.takeEvents())
        _ = bench.act { $0.publish(data("1"), to: "r", now: $1) }
        bench.say(#"{"id":2,"error":{"code":120,"message":"m","temporary":true,"retry_after":5000}}"#)
        _ = bench.takeCommands()
        bench.pass(.milliseconds(4999))
        #expect(bench.takeCommands().isEmpty)
        bench.pass(.milliseconds(1))
        #expect(bench.takeCommands().count == 1)
    }

    @Test("After its time it fails with the last error, and those behind it get one attempt each")
    func patience() throws {
        var bench = try Bench()
        bench.connect()
        _ = (bench.takeCommands(), bench.takeEvents())
        let begin = bench.now
        for number in 1...3 { _ = bench.act { $0.publish(data("\(number)"), to: "r", now: $1) } }
        var id = 2
        for _ in 0..<1000 where bench.answers.isEmpty {
            bench.say(#"{"id":\#(id),\#(away)}"#)
            id += 1
            if bench.answers.isEmpty { bench.passToDeadline() }
        }
        #expect(bench.now.since(begin) == .seconds(30))
        #expect((20..<200).contains(id), "\(id - 2) attempts, neither one nor a storm")
        #expect(bench.answers == [.failure(awayError)])
        bench.say(#"{"id":\#(id),\#(away)}"#)
        bench.say(#"{"id":\#(id + 1),"publish":{}}"#)
        #expect(bench.answers == [.failure(awayError), .failure(awayError), .success(.published(nil))])
        #expect(bench.now.since(begin) == .seconds(30))
        // What is asked for later has its own time.
        _ = bench.takeEvents()
        _ = bench.act { $0.publish(data("4"), to: "r", now: $1) }
        bench.say(#"{"id":\#(id + 2),\#(away)}"#)
        #expect(bench.answers.isEmpty && bench.session.unanswered == 1)
    }

    @Test(
        "That an attempt published nothing is not told when an earlier one may have published",
        arguments: [false, true])
    func unknownOutcome(_ isLost: Bool) throws {
        var bench = try Bench { $0.publishPatience = .seconds(1) }
        bench.connect()
        _ = bench.takeEvents()
        _ = bench.act { $0.publish(data("1"), to: "r", now: $1) }
        var id = 2
        if isLost {
            bench.again()
        } else {
            bench.say(#"{"id":2,\#(unknown)}"#)
            bench.passToDeadline()
            id = 3
        }
        while bench.answers.isEmpty, id < 100 {
            bench.say(#"{"id":\#(id),\#(away)}"#)
            id += 1
            if bench.answers.isEmpty { bench.passToDeadline() }
        }
        let error = isLost ? ClientError.connectionLost : unknownError
        #expect(bench.answers == [.failure(error)] && error.isOutcomeUnknown)
    }

    @Test("Without an answer a new connection is made and it is sent there again; after its time it fails")
    func timeout() throws {
        var bench = try Bench(hosts: ["a", "b"])
        bench.connect()
        _ = bench.takeCommands()
        let begin = bench.now
        _ = bench.act { $0.publish(data("1"), to: "r", now: $1) }
        let first = bench.session.url
        let sent = bench.takeCommands()
        bench.pass(.seconds(10))
        #expect(bench.lastEnd?.reason == "no reply from the server" && bench.session.url != first)
        bench.passToDeadline()
        bench.establish()
        #expect(bench.takeCommands().last.map(key) == key(sent[0]))
        bench.act { $0.linkLost("reset", now: $1) }
        _ = bench.act { $0.publish(data("2"), to: "r", now: $1) }
        for _ in 0..<1000 where bench.answers.isEmpty {
            bench.passToDeadline()
            bench.act { $0.linkLost("refused", now: $1) }
        }
        #expect(bench.now.since(begin) == .seconds(30))
        #expect(bench.answers == [.failure(.connectionLost)])
        #expect(bench.session.unanswered == 1, "one that was never sent waits for a connection, however long")
        bench.pass(.seconds(3600))
        bench.establish()
        #expect(bench.takeCommands().last.map(published) == "2")
        bench.say(#"{"id":2,\#(away)}"#)
        bench.passToDeadline()
        #expect(bench.takeCommands().last.map(published) == "2", "its time runs from the connection")
    }

    @Test("No patience means one attempt", arguments: [0, 1])
    func impatience(_ way: Int) throws {
        var bench = try Bench { $0.publishPatience = .zero }
        bench.connect()
        _ = bench.takeEvents()
        _ = bench.act { $0.publish(data("1"), to: "r", now: $1) }
        if way == 0 {
            bench.say(#"{"id":2,\#(away)}"#)
            #expect(bench.answers == [.failure(awayError)])
        } else {
            bench.act { $0.linkLost("reset", now: $1) }
            bench.passToDeadline()
            #expect(bench.answers == [.failure(.connectionLost)])
        }
        #expect(bench.session.unanswered == 0)
    }

    @Test("A publish that waits for its room to let us in is held until it does")
    func heldByRoom() throws {
        var bench = try Bench()
        bench.connect()
        _ = bench.act { $0.subscribe("r", now: $1) }
        _ = bench.act { $0.publish(data("1"), to: "r", now: $1) }
        bench.say(#"{"id":2,\#(away)}"#)
        #expect(!bench.takeCommands().contains { $0.contains("publish") })
        bench.passToDeadline()
        bench.say(#"{"id":3,"subscribe":{}}"#)
        #expect(bench.takeCommands().last.map(published) == "1")
    }

    @Test("The queue is bounded in publishes and in bytes, also while there is no connection")
    func bounds() throws {
        var bench = try Bench {
            $0.queueCount = 3
            $0.queueBytes = 10
        }
        for text in ["1", "22", "1234567", "3", "4"] { _ = bench.act { $0.publish(data(text), to: "r", now: $1) } }
        #expect(bench.answers == [.failure(.queueFull), .failure(.queueFull)], "too many")
        bench.connect()
        #expect(bench.takeCommands().count == 2, "connect, and the first one")
        bench.say(#"{"id":2,"publish":{}}"#)
        bench.events = []
        _ = bench.act { $0.publish(data("55"), to: "r", now: $1) }
        #expect(bench.answers == [.failure(.queueFull)], "too many bytes")
        bench.events = []
        _ = bench.act { $0.publish(data("5"), to: "r", now: $1) }
        #expect(bench.answers.isEmpty)
    }

    @Test("Rooms take turns: a room with much to say does not keep the others waiting")
    func turns() throws {
        var bench = try Bench { $0.inFlight = 1 }
        bench.connect()
        _ = bench.takeCommands()
        for number in 0..<3 { _ = bench.act { $0.publish(data("\(number)"), to: "loud", now: $1) } }
        for room in ["a", "b"] { _ = bench.act { $0.publish(data("\"\(room)\""), to: room, now: $1) } }
        var order: [String] = []
        for id in 2..<7 {
            order += bench.takeCommands().map(published)
            bench.say(#"{"id":\#(id),"publish":{}}"#)
        }
        #expect(order == ["0", "1", "\"a\"", "\"b\"", "2"])
    }
}
