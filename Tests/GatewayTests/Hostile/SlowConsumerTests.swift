// Readers that are slower than their room, over real sockets: they are told so, they find their way back, and nobody
// else notices. The tests' names carry the ids of the list of hostile inputs and of the fault matrix.

import Bytes
import Reactor
import Rooms
import Telemetry
import TestSupport
import Testing

@testable import Gateway

@Suite struct SlowConsumerTests {
    /// Small buffers in the kernel, so that what waits waits with us; and for the last words all the time that a busy
    /// machine may need.
    private func makeLoop(
        _ limits: LoopLimits = LoopLimits(), settings adjust: (inout ClientSettings) -> Void = { _ in },
        rules: (inout RoomRules) -> Void = { _ in }
    ) throws -> TestLoop {
        try TestLoop(
            limits: limits, sendBuffer: 65_536,
            settings: {
                $0.closeTimeout = .seconds(60)
                adjust(&$0)
            }, rules: rules)
    }

    /// Publishes numbered messages into the room "hot" until `condition` holds; returns how many there are now.
    private func publish(
        _ publisher: WebSocketPeer, from first: Int = 1, size: Int = 10_000, until condition: () throws -> Bool
    ) throws -> Int {
        let filler = String(repeating: "x", count: size)
        var number = first
        while try !condition() {
            try publisher.publish("hot", "\"\(number) \(filler)\"")
            while try !publisher.text().contains(#""publish":{"#) {}
            number += 1
            guard number < 20_000 else { throw TestFailure("the slow one never becomes slow") }
        }
        return number - 1
    }

    /// The number that a publication carries; nil for what is none.
    private func number(_ text: String) -> Int? {
        guard let range = text.firstRange(of: #""data":""#) else { return nil }
        return Int(text[range.upperBound...].prefix { $0.isNumber })
    }

    private func offset(_ text: String) -> Int? {
        guard let range = text.firstRange(of: #""offset":"#) else { return nil }
        return Int(text[range.upperBound...].prefix { $0.isNumber })
    }

    /// Reads publications to the Close; checks that they are contiguous from `first` on. Returns the last one's number.
    private func readToClose(_ peer: WebSocketPeer, from first: Int = 1) throws -> (last: Int, close: ServerFrame) {
        var last = first - 1
        while true {
            let frame = try peer.next()
            if frame.opcode == 8 {
                #expect(peer.socket.buffer.isEmpty, "nothing follows the Close")
                return (last, frame)
            }
            guard let number = number(frame.text) else { continue }
            #expect(number == last + 1, "no hole")
            last = number
        }
    }

    @Test func `F23 WS-15 readers of a trickle are closed as slow, the others of the hot room miss nothing`() throws {
        let loop = try makeLoop(settings: { $0.queueMaxSize = 128 * 1024 })
        let slow = try (0..<2).map { _ in try loop.peer(receiveBuffer: 4096).connected().joined("hot") }
        let fast = try (0..<18).map { _ in try loop.peer().connected().joined("hot") }
        let publisher = try loop.peer().connected()
        var count = 0
        while loop.total(.slowConsumers(.bytes)) < 2 {
            try publisher.publish("hot", "\"\(count + 1) \(String(repeating: "x", count: 50_000))\"")
            _ = try publisher.text()
            count += 1
            for peer in fast { #expect(try number(peer.text()) == count) }
            for peer in slow { peer.socket.poll(most: 100) }
            #expect(try loop.waitingOutput() < 2 * (128 + 2 * 64) * 1024, "bounded")
            guard count < 2000 else { throw TestFailure("the slow ones are never closed") }
        }
        for peer in slow {
            let (last, close) = try readToClose(peer)
            #expect(last < count && close.closeCode == 3008 && close.closeReason == "slow")
        }
        #expect(loop.total(.slowConsumers(.bytes)) == 2 && loop.total(.slowConsumers(.time)) == 0)
        try publisher.publish("hot", "\"\(count + 1) \"")
        for peer in fast { #expect(try number(peer.text()) == count + 1) }
    }

    @Test func `F23 who takes nothing for the write timeout finds a 3008 when it reads again`() throws {
        var limits = LoopLimits()
        limits.writeTimeout = .milliseconds(300)
        let loop = try makeLoop(limits)
        let stuck = try loop.peer(receiveBuffer: 4096).connected().joined("hot")
        let publisher = try loop.peer().connected()
        let count = try publish(publisher) { try loop.waitingOutput() > 100_000 }
        wait(until: "the verdict") { loop.total(.slowConsumers(.time)) == 1 }
        #expect(try loop.waitingOutput() < 70_000, "what waited is dropped at once")
        let (last, close) = try readToClose(stuck)
        #expect(last > 0 && last < count)
        #expect(close.closeCode == 3008 && close.closeReason == "slow")
        try stuck.socket.send(WebSocketPeer.frame(8, Array(close.payload.prefix(2))))
        #expect(stuck.socket.awaitEnd() && stuck.socket.end == 0, "a FIN, not a reset")
        wait(until: "it is gone") { loop.total(.connections) == 1 }
        #expect(loop.total(.slowConsumers(.time)) == 1 && loop.total(.slowConsumers(.bytes)) == 0)
        #expect(loop.total(.connectionsClosed(.reconnect)) == 1)
    }

    @Test func `F24 who never reads again is gone after the close timeout`() throws {
        var limits = LoopLimits()
        limits.writeTimeout = .milliseconds(300)
        let loop = try makeLoop(limits, settings: { $0.closeTimeout = .milliseconds(300) })
        let frozen = try loop.peer(receiveBuffer: 4096).connected().joined("hot")
        let publisher = try loop.peer().connected()
        _ = try publish(publisher) { try loop.waitingOutput() > 100_000 }
        wait(until: "it is gone") { loop.total(.connections) == 1 }
        #expect(try loop.waitingOutput() == 0)
        #expect(frozen.socket.end == nil, "it has not looked")
        #expect(loop.total(.slowConsumers(.time)) == 1)
        #expect(loop.total(.connectionsClosed(.reconnect)) == 1, "counted as what it is")
    }

    @Test func `F23 a reader that resumes in time stays and misses nothing`() throws {
        let loop = try makeLoop()
        let late = try loop.peer(receiveBuffer: 4096).connected().joined("hot")
        let publisher = try loop.peer().connected()
        let count = try publish(publisher) { try loop.waitingOutput() > 900_000 }
        for expected in 1...count { #expect(try number(late.text()) == expected) }
        #expect(try late.ask(#"{"id":9,"ping":{}}"#) == #"{"id":9,"ping":{}}"#)
        #expect(loop.total(.slowConsumers(.bytes)) == 0)
    }

    @Test func `F23 who is slow in reading answers pings all the same and stays`() throws {
        let loop = try makeLoop(
            rules: {
                $0.pingInterval = .milliseconds(200)
                $0.pongTimeout = .seconds(20)
            })
        let behind = try loop.peer(receiveBuffer: 4096).connected().joined("hot")
        let publisher = try loop.peer().connected()
        let filler = String(repeating: "x", count: 10_000)
        var published = 0
        var acknowledged = 0
        var pings = 0
        var last = 0
        // The room goes on as long as the reader is behind less than the limit; both answer their pings.
        let deadline = Deadline()
        while pings < 5, !deadline.hasPassed {
            if published == acknowledged, try loop.waitingOutput() < 700_000 {
                published += 1
                try publisher.publish("hot", "\"\(published) \(filler)\"")
            }
            publisher.socket.poll()
            while let frame = try publisher.taken() {
                if frame.text == "{}" { try publisher.send("{}") } else { acknowledged += 1 }
            }
            // Nothing is read before there is a backlog.
            guard try pings > 0 || loop.waitingOutput() > 300_000 else { continue }
            behind.socket.poll(most: 20_000)
            while let frame = try behind.taken() {
                if frame.text == "{}" {
                    pings += 1
                    try behind.send("{}")
                } else {
                    #expect(number(frame.text) == last + 1)
                    last += 1
                }
            }
        }
        #expect(pings >= 5)
        #expect(loop.total(.connections) == 2)
    }

    @Test func `F23 who was closed as slow comes back and recovers what it missed`() throws {
        let loop = try makeLoop(
            settings: { $0.queueMaxSize = 256 * 1024 },
            rules: {
                var options = RoomOptions()
                options.history = HistoryOptions(size: 2000, age: .seconds(300))
                options.forcesRecovery = true
                $0.setDefault(options)
            })
        let slow = try loop.peer(receiveBuffer: 4096).connected()
        let joined = try slow.ask(#"{"id":2,"subscribe":{"channel":"hot"}}"#)
        let epoch = try #require(joined.split(separator: #""epoch":""#).last?.prefix { $0 != "\"" })
        let publisher = try loop.peer().connected()
        let count = try publish(publisher) { loop.total(.slowConsumers(.bytes)) == 1 }
        let (last, close) = try readToClose(slow)
        #expect(close.closeCode == 3008 && last > 0 && last < count)
        let total = try publish(publisher, from: count + 1, size: 10) { [start = loop.total(.publications(.client))] in
            loop.total(.publications(.client)) >= start + 3
        }
        let back = try loop.peer().connected()
        let reply = try back.ask(
            #"{"id":2,"subscribe":{"channel":"hot","recover":true,"epoch":"\#(epoch)","offset":\#(last)}}"#)
        #expect(reply.contains(#""recovered":true"#))
        let missed = reply.split(separator: #"{"data":""#).dropFirst().map(String.init)
        #expect(missed.compactMap { Int($0.prefix { $0.isNumber }) } == Array((last + 1)...total))
        #expect(missed.compactMap { offset($0) } == Array((last + 1)...total))
        try publisher.publish("hot", "\"\(total + 1) \"")
        let live = try back.text()
        #expect(number(live) == total + 1 && offset(live) == total + 1)
    }
}
