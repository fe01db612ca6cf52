// Rooms: entering, coming back with recovery, delivery without duplicates.

import Bytes
import Testing

@testable import Client

@Suite("Client rooms")
struct ClientRoomsTests {
    private func push(_ room: String, _ data: String, offset: Int? = nil) -> String {
        let place = offset.map { #","offset":\#($0)"# } ?? ""
        return #"{"push":{"channel":"\#(room)","pub":{"data":\#(data)\#(place)}}}"#
    }

    private func subscribe(_ id: Int, _ room: String, _ epoch: String, _ offset: Int) -> String {
        #"{"id":\#(id),"subscribe":{"channel":"\#(room)","recover":true,"epoch":"\#(epoch)","offset":\#(offset),"#
            + #""recoverable":true}}"#
    }

    @Test("Publications of a room arrive from the reply on, with their author, and stop when it is left")
    func delivery() throws {
        var bench = try Bench()
        bench.connect()
        _ = bench.takeCommands()
        bench.join("a", id: 2)
        #expect(bench.takeCommands() == [#"{"id":2,"subscribe":{"channel":"a","recoverable":true}}"#])
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
                #"{"id":2,"subscribe":{"channel":"plain","recoverable":true}}"#,
                #"{"id":3,"subscribe":{"channel":"kept","recover":true,"epoch":"e1","offset":12,"recoverable":true}}"#,
            ])
        _ = bench.takeEvents()
        bench.say(
            #"{"id":3,"subscribe":{"recoverable":true,"epoch":"e1","offset":14,"was_recovering":true,"recovered":true,"#
                + #""publications":[{"data":"13","offset":13},{"data":"14","offset":14}]}}"#)
        bench.say(push("kept", "14", offset: 14))
        bench.say(push("kept", "15", offset: 15))
        let subscription = RoomSubscription(
            wasRecovering: true, isRecovered: true, publications: 2, isRecoverable: true,
            mark: StreamMark(epoch: "e1", offset: 14))
        #expect(bench.events.first == .subscribed(room: "kept", subscription))
        #expect(bench.texts == [#""13""#, #""14""#, "15"])
    }

    @Test("Lost continuity is told: not recovered, and a position that the server does not know (112)")
    func lostContinuity() throws {
        func lost(_ epoch: String, _ offset: UInt64) -> ClientEvent {
            let mark = StreamMark(epoch: epoch, offset: offset)
            return .subscribed(room: "r", RoomSubscription(wasRecovering: true, isRecoverable: true, mark: mark))
        }
        var bench = try Bench()
        bench.connect()
        bench.join("r", id: 2, #"{"recoverable":true,"epoch":"e1","offset":10}"#)
        bench.again()
        bench.say(#"{"id":2,"subscribe":{"recoverable":true,"epoch":"e2","offset":3,"was_recovering":true}}"#)
        #expect(bench.takeEvents() == [lost("e2", 3)])
        bench.say(push("r", "4", offset: 4))
        #expect(bench.texts == ["4"], "the new stream's offsets count from its own position")
        bench.again()
        #expect(bench.takeCommands() == [subscribe(2, "r", "e2", 4)])
        bench.say(#"{"id":2,"error":{"code":112,"message":"unrecoverable position"}}"#)
        #expect(bench.takeCommands() == [#"{"id":3,"subscribe":{"channel":"r","recoverable":true}}"#])
        bench.say(#"{"id":3,"subscribe":{"recoverable":true,"epoch":"e3","offset":1}}"#)
        #expect(bench.takeEvents() == [lost("e3", 1)])
    }

    @Test("A new epoch that continues the old one goes on; its positions are kept from then on")
    func aliasedEpoch() throws {
        var bench = try Bench()
        bench.connect()
        bench.join("r", id: 2, #"{"recoverable":true,"epoch":"e1","offset":10}"#)
        bench.again()
        bench.say(
            #"{"id":2,"subscribe":{"recoverable":true,"epoch":"e2","offset":12,"was_recovering":true,"#
                + #""recovered":true,"publications":[{"data":11,"offset":11},{"data":12,"offset":12}]}}"#)
        bench.say(push("r", "12", offset: 12) + "\n" + push("r", "13", offset: 13))
        #expect(bench.texts == ["11", "12", "13"])
        bench.again()
        #expect(bench.takeCommands() == [subscribe(2, "r", "e2", 13)])
    }

    @Test("Whatever a server repeats is handed on once for each epoch and offset, with or without recovery")
    func repetitions() throws {
        var bench = try Bench()
        bench.connect()
        bench.join("r", id: 2, #"{"recoverable":true,"epoch":"e","offset":2}"#)
        bench.again()
        let pieces = [2, 3, 3, 4, 2, 5].map { #"{"data":\#($0),"offset":\#($0)}"# }.joined(separator: ",")
        bench.say(
            #"{"id":2,"subscribe":{"recoverable":true,"epoch":"e","offset":5,"recovered":true,"#
                + #""publications":[\#(pieces)]}}"#)
        for offset in [5, 4, 6, 6, 7, 1] { bench.say(push("r", "\(offset)", offset: offset)) }
        #expect(bench.texts == ["3", "4", "5", "6", "7"])
        guard case .subscribed(_, let entrance)? = bench.takeEvents().first else { return #expect(Bool(false)) }
        #expect(entrance.publications == 3)
        // Not recovered, but of the same stream, with publications that were seen.
        bench.again()
        bench.say(
            #"{"id":2,"subscribe":{"recoverable":true,"epoch":"e","offset":9,"was_recovering":true,"#
                + #""publications":[{"data":7,"offset":7},{"data":9,"offset":9}]}}"#)
        #expect(bench.texts == ["9"])
        _ = bench.takeEvents()
        // Another stream begins anew.
        bench.again()
        bench.say(
            #"{"id":2,"subscribe":{"recoverable":true,"epoch":"f","offset":2,"was_recovering":true,"#
                + #""publications":[{"data":1,"offset":1},{"data":2,"offset":2}]}}"#)
        bench.say(push("r", "2", offset: 2) + "\n" + push("r", "3", offset: 3))
        #expect(bench.texts == ["1", "2", "3"])
    }

    @Test("An unsubscribe push of 2500 enters again with the position, soon; a server that repeats it is given time")
    func insufficientState() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var waits: Set<Duration> = []
        for member in 0..<20 {
            var bench = try Bench(seed &+ UInt64(member))
            bench.connect()
            bench.join("r", id: 2, #"{"recoverable":true,"epoch":"e","offset":5}"#)
            _ = (bench.takeCommands(), bench.takeEvents())
            for id in 3..<12 {
                bench.say(#"{"push":{"channel":"r","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#)
                #expect(bench.takeCommands().isEmpty, "seed \(seed)")
                let begin = bench.now
                bench.passToDeadline()
                let wait = bench.now.since(begin)
                #expect(wait <= .milliseconds(500) * (1 << (id - 3)), "seed \(seed)")
                waits.insert(wait)
                #expect(bench.takeCommands() == [subscribe(id, "r", "e", 5)], "seed \(seed)")
                bench.say(
                    #"{"id":\#(id),"subscribe":{"recoverable":true,"epoch":"e","offset":5,"recovered":true}}"#)
            }
            #expect(bench.lastEnd == nil, "the connection stays; seed \(seed)")
        }
        #expect(waits.count > 170 && waits.max() ?? .zero > .seconds(10), "seed \(seed)")
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
        #expect(bench.takeCommands() == [#"{"id":3,"subscribe":{"channel":"r","recoverable":true}}"#])
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
            bench.takeCommands().first?.contains(
                ##""subs":{"#me":{"recover":true,"epoch":"e","offset":5,"recoverable":true}}"##) == true)
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
