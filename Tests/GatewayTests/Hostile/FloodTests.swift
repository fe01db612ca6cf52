// Peers that send without reading, read without end, vanish or come in hordes: bounded memory here, no loss for others.
// The tests' names carry the ids of the list of hostile inputs.

import Bytes
import Reactor
import Rooms
import Telemetry
import TestSupport
import Testing

@testable import Gateway

enum LoopLimitsForTests {
    /// The reactor's limits with deadlines that a test can wait for.
    static var short: LoopLimits {
        var limits = LoopLimits()
        limits.lingerTimeout = .milliseconds(500)
        return limits
    }
}

@Suite struct FloodTests {
    @Test func `WS-14 pings of a peer that does not read cost no memory`() throws {
        let loop = try TestLoop()
        let other = try loop.peer("/echo")
        let flooder = try loop.peer(receiveBuffer: 4096)
        let pings = Array(repeating: WebSocketPeer.frame(9, Array(repeating: 7, count: 100)), count: 200).flatMap { $0 }
        for _ in 0..<400 {
            guard try flooder.socket.send(pings) else { break }
            #expect(try loop.waitingOutput() <= 1 << 20)
        }
        #expect(try other.ask("unaffected") == "unaffected")
        #expect(loop.total(.framesReceived(.ping)) >= 40_000)
    }

    @Test func `a peer that has its messages echoed and does not read is held back`() throws {
        let loop = try TestLoop()
        let other = try loop.peer("/echo")
        let flooder = try loop.peer("/echo", receiveBuffer: 4096)
        let message = WebSocketPeer.frame(2, Array(repeating: 7, count: 65_536))
        var sent = 0
        // Until the sockets' buffers are full in both directions.
        var idle = 0
        while idle < 50, sent < 64 << 20 {
            let count = try flooder.socket.sendSome(message[...])
            if count <= 0 {
                idle += 1
                #expect(try other.ask("unaffected") == "unaffected")
            } else {
                // The rest of the frame has to follow.
                try flooder.socket.send(message[count...])
                sent += message.count
                idle = 0
            }
            if sent > 8 << 20, try loop.waitingOutput() > 0 { break }
        }
        #expect(try loop.waitingOutput() <= 2 << 20)
    }

    /// About 60 KiB in each round, spread over the rooms, until the slow one is closed; every fast one reads along.
    private func overrun(_ loop: TestLoop, rooms: [String], fast: [WebSocketPeer]) throws -> Int {
        let filler = String(repeating: "x", count: 60_000 / rooms.count)
        let publisher = try loop.peer().connected()
        var round = 0
        while loop.total(.slowConsumers(.bytes)) == 0 {
            let lines = rooms.enumerated().map {
                #"{"id":\#($0.offset + 10),"publish":{"channel":"\#($0.element)","data":"\#(round) \#(filler)"}}"#
            }
            try publisher.send(lines.joined(separator: "\n"))
            for _ in rooms { #expect(try publisher.text().contains(#""publish":{}"#)) }
            for (index, peer) in fast.enumerated() {
                for _ in rooms {
                    let text = try peer.text()
                    #expect(text.contains(#""data":"\#(round) "#), "fast member \(index) misses nothing")
                }
            }
            round += 1
            guard round < 4000 else { throw TestFailure("the slow member was never closed") }
        }
        return round
    }

    @Test func `WS-15 who does not read a hot room is closed with 3008, the others miss nothing`() throws {
        let loop = try TestLoop(settings: {
            $0.queueMaxSize = 256 * 1024
            $0.closeTimeout = .seconds(60)
        })
        let slow = try loop.peer(receiveBuffer: 4096).connected()
        try slow.joined("hot")
        let fast = try (0..<3).map { _ in try loop.peer().connected() }
        for peer in fast { try peer.joined("hot") }
        _ = try overrun(loop, rooms: ["hot"], fast: fast)
        #expect(try loop.waitingOutput() <= 256 * 1024 + 2 * 65_536, "the queue is bounded")
        let close = try slow.awaitClose()
        #expect(close.closeCode == 3008 && close.closeReason == "slow")
        wait(until: "it is gone") { loop.total(.connections) == 4 }
        #expect(loop.total(.slowConsumers(.bytes)) == 1)
        #expect(try fast[0].ask(#"{"id":9,"ping":{}}"#) == #"{"id":9,"ping":{}}"#)
    }

    @Test func `WS-15 behind the close of a slow member of several rooms nothing follows`() throws {
        let loop = try TestLoop(settings: { $0.queueMaxSize = 256 * 1024 })
        let slow = try loop.peer(receiveBuffer: 4096).connected()
        // Many, so that there are others to be served behind the one that is too much.
        let rooms = (0..<24).map { "room\($0)" }
        for room in rooms { try slow.joined(room) }
        _ = try overrun(loop, rooms: rooms, fast: [])
        // Fails when anything comes behind the close frame.
        #expect(try slow.awaitClose(answers: false).closeCode == 3008)
    }

    @Test func `WS-15 who takes nothing at all is gone after the write timeout`() throws {
        var limits = LoopLimitsForTests.short
        limits.writeTimeout = .milliseconds(300)
        let loop = try TestLoop(limits: limits)
        let stuck = try loop.peer(receiveBuffer: 4096).connected()
        try stuck.joined("hot")
        let publisher = try loop.peer().connected()
        let filler = String(repeating: "x", count: 60_000)
        var round = 0
        // The kernel's buffers must be full first.
        while loop.total(.connections) == 2, round < 2000 {
            try publisher.publish("hot", "\"\(filler)\"")
            #expect(try publisher.text().contains(#""publish":{}"#))
            round += 1
            if try loop.waitingOutput() > 200_000 { break }
        }
        wait(until: "the stuck one is gone") { loop.total(.connections) == 1 }
        #expect(loop.total(.slowConsumers(.time)) + loop.total(.slowConsumers(.bytes)) >= 1)
        #expect(try publisher.ask(#"{"id":9,"ping":{}}"#) == #"{"id":9,"ping":{}}"#)
    }

    @Test func `NET-12 connections that close and come in the same moment never hear each other's bytes`() throws {
        let loop = try TestLoop()
        for round in 0..<300 {
            let first = try loop.peer("/echo")
            try first.send("for \(round) only")
            if round % 2 == 0 { first.socket.reset() } else { first.socket.close() }
            let second = try loop.peer("/echo")
            #expect(try second.ask("mine \(round)") == "mine \(round)")
        }
        wait(until: "all are gone") { loop.total(.connections) == 0 }
    }

    @Test func `NET-13 resets in the middle of a hot room harm nobody else`() throws {
        try besideNeighbour { gateway in
            let member = try gateway.client().joined("hot")
            let publisher = try gateway.client()
            for round in 0..<60 {
                let victims = try (0..<3).map { _ in try gateway.client().joined("hot") }
                try publisher.publish("hot", "\(round)")
                for victim in victims { victim.socket.reset() }
                #expect(try publisher.text() == #"{"id":3,"publish":{}}"#)
                #expect(try member.text().contains(#""data":\#(round),"#))
            }
            try wait(until: "the victims are gone") { try gateway.metric("martlet_connections ") == 3 }
            try wait(until: "their subscriptions are gone") { try gateway.metric("martlet_subscriptions ") == 2 }
        }
    }

    @Test func `APP-05 whatever peers say, the number of metric series stays`() throws {
        try besideNeighbour { gateway in
            func series() throws -> Int {
                try gateway.admin("/metrics").body.split(separator: "\n").count { !$0.hasPrefix("#") }
            }
            let before = try series()
            for index in 0..<150 {
                let socket = try RawSocket(port: index % 2 == 0 ? gateway.port : gateway.adminPort)
                try socket.send("METHOD\(index) /path\(index) HTTP/1.1\r\nHost: h\(index)\r\n\r\n")
                _ = try socket.response()
                let peer = try gateway.peer("/connection/websocket?user=u\(index)").connected()
                try peer.joined("room\(index)")
                _ = try peer.ask(#"{"id":5,"rpc":{"method":"m\#(index)"}}"#)
                try peer.sendClose(UInt16(3000 + index))
            }
            #expect(try series() == before)
        }
    }

    @Test func `APP-11 joining and leaving many rooms leaves nothing behind`() throws {
        let loop = try TestLoop(rules: { $0.roomLinger = .milliseconds(50) })
        let peer = try loop.peer().connected()
        for round in 0..<30 {
            let lines = (0..<100).map { index in
                #"{"id":5,"subscribe":{"channel":"r\#(round)-\#(index)"}}"# + "\n"
                    + #"{"id":6,"unsubscribe":{"channel":"r\#(round)-\#(index)"}}"#
            }
            try peer.send(lines.joined(separator: "\n"))
            for _ in 0..<200 { #expect(try !peer.text().contains("error")) }
        }
        try wait(until: "all rooms have ended") { try loop.roomCount() == 0 }
    }
}
