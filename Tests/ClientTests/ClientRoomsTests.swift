// Rooms: entering, coming back with recovery, delivery without duplicates; and the queue of publishes.

import Bytes
import Testing

@testable import Client

@Suite("Client rooms")
struct ClientRoomsTests {
    private func push(_ room: String, _ data: String, offset: Int? = nil) -> String {
        let place = offset.map { #","offset":\#($0)"# } ?? ""
        return #"{"push":{"channel":"\#(room)","pub":{"data":\#(data)\#(place)}}}"#
    }

    @Test("Publications of a room arrive from the reply on, with their author, and stop when it is left")
    func delivery() throws {
        var bench = try Bench()
        bench.connect()
        _ = bench.takeCommands()
        bench.join("a", id: 2)
        #expect(bench.takeCommands() == [#"{"id":2,"subscribe":{"channel":"a"}}"#])
        _ = bench.takeEvents()
        let author = #"{"user":"u","client":"c","conn_info":[1]}"#
        bench.say(#"{"push":{"channel":"a","pub":{"data":{"x":1},"info":\#(author),"time":5}}}"#)
        let info = PeerInfo(user: "u", client: "c", connectionInfo: data("[1]"))
        #expect(
            bench.takeEvents() == [
                .publication(RoomPublication(room: "a", data: data(#"{"x":1}"#), info: info, time: 5))
            ])
        bench.say(push("elsewhere", "1"))
        bench.say(#"{"push":{"channel":"a","join":{"info":{"user":"u","client":"c"}}}}"#)
        #expect(bench.takeEvents() == [.joined(room: "a", PeerInfo(user: "u", client: "c"))])
        bench.act { $0.unsubscribe("a", now: $1) }
        #expect(bench.takeCommands() == [#"{"id":3,"unsubscribe":{"channel":"a"}}"#])
        bench.say(push("a", "2"))
        #expect(bench.takeEvents() == [.unsubscribed(room: "a", code: 0, reason: "")])
    }

    @Test("After a reconnection all rooms are entered again in order; recoverable ones from their position")
    func resubscription() throws {
        var bench = try Bench()
        bench.connect()
        bench.join("plain", id: 2)
        bench.join("kept", id: 3, #"{"recoverable":true,"positioned":true,"epoch":"e1","offset":10}"#)
        bench.say(push("kept", "11", offset: 11))
        bench.say(push("kept", "11", offset: 11))
        bench.say(push("kept", "12", offset: 12))
        #expect(bench.texts == ["11", "12"], "an offset that was seen is not delivered again")
        bench.act { $0.linkLost("reset", now: $1) }
        bench.passToDeadline()
        _ = (bench.takeCommands(), bench.takeEvents())
        bench.establish()
        #expect(
            Array(bench.takeCommands().dropFirst()) == [
                #"{"id":2,"subscribe":{"channel":"plain"}}"#,
                #"{"id":3,"subscribe":{"channel":"kept","recover":true,"epoch":"e1","offset":12}}"#,
            ])
        _ = bench.takeEvents()
        bench.say(
            #"{"id":3,"subscribe":{"recoverable":true,"epoch":"e1","offset":14,"was_recovering":true,"recovered":true,"#
                + #""publications":[{"data":"13","offset":13},{"data":"14","offset":14}]}}"#)
        bench.say(push("kept", "14", offset: 14))
        bench.say(push("kept", "15", offset: 15))
        let subscription = RoomSubscription(wasRecovering: true, isRecovered: true, isRecoverable: true)
        #expect(bench.events.first == .subscribed(room: "kept", subscription))
        #expect(bench.texts == [#""13""#, #""14""#, "15"])
    }

    @Test("Lost continuity is told: not recovered, and a position that the server does not know (112)")
    func lostContinuity() throws {
        var bench = try Bench()
        bench.connect()
        bench.join("r", id: 2, #"{"recoverable":true,"epoch":"e1","offset":10}"#)
        bench.act { $0.reconnect(now: $1) }
        bench.pass(.zero)
        bench.establish()
        _ = bench.takeEvents()
        bench.say(#"{"id":2,"subscribe":{"recoverable":true,"epoch":"e2","offset":3,"was_recovering":true}}"#)
        let lost = RoomSubscription(wasRecovering: true, isRecovered: false, isRecoverable: true)
        #expect(bench.takeEvents() == [.subscribed(room: "r", lost)])
        bench.say(push("r", "4", offset: 4))
        #expect(bench.texts == ["4"], "the new stream's offsets count from its own position")
        bench.act { $0.reconnect(now: $1) }
        bench.pass(.zero)
        bench.establish()
        #expect(
            bench.takeCommands().last == #"{"id":2,"subscribe":{"channel":"r","recover":true,"epoch":"e2","offset":4}}"#
        )
        _ = bench.takeEvents()
        bench.say(#"{"id":2,"error":{"code":112,"message":"unrecoverable position"}}"#)
        #expect(bench.takeCommands() == [#"{"id":3,"subscribe":{"channel":"r"}}"#])
        bench.say(#"{"id":3,"subscribe":{"recoverable":true,"epoch":"e3","offset":1}}"#)
        #expect(bench.takeEvents() == [.subscribed(room: "r", lost)])
    }

    @Test("An unsubscribe push of 2500 enters again with the position; a server that repeats it is given time")
    func insufficientState() throws {
        var bench = try Bench(3)
        bench.connect()
        bench.join("r", id: 2, #"{"recoverable":true,"epoch":"e","offset":5}"#)
        _ = (bench.takeCommands(), bench.takeEvents())
        bench.say(#"{"push":{"channel":"r","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#)
        #expect(
            bench.takeCommands() == [#"{"id":3,"subscribe":{"channel":"r","recover":true,"epoch":"e","offset":5}}"#])
        bench.say(
            #"{"id":3,"subscribe":{"recoverable":true,"epoch":"e","offset":5,"was_recovering":true,"recovered":true}}"#)
        bench.say(#"{"push":{"channel":"r","unsubscribe":{"code":2500}}}"#)
        #expect(bench.takeCommands().isEmpty, "the second time it waits")
        bench.passToDeadline()
        #expect(bench.takeCommands().count == 1)
    }

    @Test("An unsubscribe push below 2500 is final")
    func removed() throws {
        var bench = try Bench()
        bench.connect()
        bench.join("r", id: 2)
        _ = (bench.takeCommands(), bench.takeEvents())
        bench.say(#"{"push":{"channel":"r","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#)
        #expect(bench.takeEvents() == [.unsubscribed(room: "r", code: 2000, reason: "server unsubscribe")])
        bench.act { $0.reconnect(now: $1) }
        bench.pass(.zero)
        bench.establish()
        #expect(bench.takeCommands().count == 1, "only connect")
    }

    @Test("A refused subscribe is told; a temporary one is tried again when the server says so")
    func refused() throws {
        var bench = try Bench()
        bench.connect()
        _ = bench.act { $0.subscribe("r", now: $1) }
        _ = (bench.takeCommands(), bench.takeEvents())
        bench.say(#"{"id":2,"error":{"code":120,"message":"engine unavailable","temporary":true,"retry_after":3000}}"#)
        let error = ServerError(code: 120, message: "engine unavailable", isTemporary: true, retryAfter: .seconds(3))
        #expect(bench.takeEvents() == [.subscribeFailed(room: "r", .refused(error), willRetry: true)])
        bench.pass(.milliseconds(2999))
        #expect(bench.takeCommands().isEmpty)
        bench.pass(.milliseconds(1))
        #expect(bench.takeCommands() == [#"{"id":3,"subscribe":{"channel":"r"}}"#])
        bench.say(#"{"id":3,"error":{"code":103,"message":"permission denied"}}"#)
        let denied = ServerError(code: 103, message: "permission denied")
        #expect(bench.takeEvents() == [.subscribeFailed(room: "r", .refused(denied), willRetry: false)])
        #expect(bench.session.deadline == nil)
    }

    @Test("A reply to a subscribe of before leaving does not count for the one after")
    func leftAndEntered() throws {
        var bench = try Bench()
        bench.connect()
        _ = bench.act { $0.subscribe("r", now: $1) }
        bench.act { $0.unsubscribe("r", now: $1) }
        _ = bench.act { $0.subscribe("r", now: $1) }
        _ = bench.takeEvents()
        bench.say(#"{"id":2,"subscribe":{}}"#)
        bench.say(push("r", "1"))
        #expect(bench.takeEvents().isEmpty)
        bench.say(#"{"id":4,"error":{"code":103,"message":"no"}}"#)
        #expect(bench.takeEvents().count == 1)
    }

    @Test("Rooms that the server subscribes us to are delivered, recovered through connect, and dropped with it")
    func serverSide() throws {
        var bench = try Bench()
        bench.connect(extra: ##","subs":{"#me":{"recoverable":true,"epoch":"e","offset":4}}"##)
        _ = bench.takeCommands()
        bench.say(push("#me", "5", offset: 5))
        bench.say(#"{"push":{"channel":"extra","subscribe":{}}}"#)
        bench.say(push("extra", "1"))
        #expect(bench.texts == ["5", "1"])
        bench.act { $0.reconnect(now: $1) }
        bench.pass(.zero)
        bench.accept()
        #expect(
            bench.takeCommands().first?.contains(##""subs":{"#me":{"recover":true,"epoch":"e","offset":5}}"##) == true)
        _ = bench.takeEvents()
        bench.say(
            ##"{"id":1,"connect":{"client":"me","subs":{"#me":{"recoverable":true,"epoch":"e","offset":6,"##
                + #""recovered":true,"was_recovering":true,"publications":[{"data":6,"offset":6}]}}}}"#)
        #expect(bench.texts == ["6"])
        #expect(bench.events.contains { if case .unsubscribed(room: "extra", _, _) = $0 { true } else { false } })
    }

    @Test("Rooms are bounded")
    func roomLimit() throws {
        var bench = try Bench { $0.rooms = 2 }
        let results = ["a", "b", "a", "c"].map { room in bench.session.subscribe(room, now: bench.now) }
        #expect(results == [true, true, true, false])
    }
}

@Suite("Client publishing")
struct ClientPublishTests {
    private func key(_ command: String) -> Substring? {
        command.split(separator: #""idempotency_key":""#).last?.prefix { $0 != "\"" }
    }

    @Test("A publish is sent with a key of its own and answered with its position")
    func publishing() throws {
        var bench = try Bench()
        bench.connect()
        _ = (bench.takeCommands(), bench.takeEvents())
        let first = bench.act { $0.publish(data("{\"a\":\r\n1}"), to: "r", now: $1) }
        let second = bench.act { $0.publish(data("2"), to: "r", now: $1) }
        let commands = bench.takeCommands()
        #expect(commands[0].hasPrefix(#"{"id":2,"publish":{"channel":"r","data":{"a":1},"idempotency_key":""#))
        #expect(key(commands[0]) != nil && key(commands[0]) != key(commands[1]))
        bench.say(#"{"id":3,"error":{"code":120,"message":"engine unavailable","temporary":true}}"#)
        bench.say(#"{"id":2,"publish":{"offset":9,"epoch":"e"}}"#)
        let error = ServerError(code: 120, message: "engine unavailable", isTemporary: true)
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

    @Test(
        "What was not answered is sent again after reconnecting, in order, with its key, once the room is entered"
    )
    func retrying() throws {
        var bench = try Bench { $0.inFlight = 2 }
        bench.connect()
        bench.join("r", id: 2)
        _ = bench.takeCommands()
        for number in 1...3 { _ = bench.act { $0.publish(data("\(number)"), to: "r", now: $1) } }
        let before = bench.takeCommands()
        #expect(before.count == 2, "only as many as may be in flight")
        bench.act { $0.linkLost("reset", now: $1) }
        _ = bench.act { $0.publish(data("4"), to: "r", now: $1) }
        bench.passToDeadline()
        bench.establish()
        #expect(bench.takeCommands().dropFirst() == [#"{"id":2,"subscribe":{"channel":"r"}}"#], "the room comes first")
        bench.say(#"{"id":2,"subscribe":{}}"#)
        var after = bench.takeCommands()
        #expect(after.map(key) == before.map(key))
        bench.say(#"{"id":3,"publish":{}}"# + "\n" + #"{"id":4,"publish":{}}"#)
        after += bench.takeCommands()
        #expect(after.count == 4 && after[3].contains(#""data":4"#))
        bench.say(#"{"id":5,"publish":{}}"# + "\n" + #"{"id":6,"publish":{}}"#)
        #expect(bench.answers.count == 4 && bench.session.unanswered == 0)
    }

    @Test("On a living connection an unanswered publish is repeated and then fails with a timeout")
    func timeout() throws {
        var bench = try Bench()
        bench.connect()
        _ = bench.takeCommands()
        _ = bench.act { $0.publish(data("1"), to: "r", now: $1) }
        for _ in 0..<3 { bench.pass(.seconds(10)) }
        let commands = bench.takeCommands()
        #expect(commands.count == 3 && Set(commands.map(key)).count == 1)
        #expect(bench.answers == [.failure(.timeout)])
        #expect(bench.session.unanswered == 0 && bench.session.deadline == nil)
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
        #expect(bench.takeCommands().count == 4)
        bench.say(#"{"id":2,"publish":{}}"#)
        bench.events = []
        _ = bench.act { $0.publish(data("55"), to: "r", now: $1) }
        #expect(bench.answers == [.failure(.queueFull)], "too many bytes")
        bench.events = []
        _ = bench.act { $0.publish(data("5"), to: "r", now: $1) }
        #expect(bench.answers.isEmpty)
    }
}
