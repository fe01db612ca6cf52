// Clients that are behind, byte by byte and second by second: what overtakes the queue, what is dropped from it, and
// which of the codes they are told. Over in-memory pipes, with a clock that the test turns.

import Logging
import Reactor
import Rooms
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import Gateway

@Suite struct SlowClientTests {
    /// Publishes until `client`, which does not read, has at least so many bytes waiting outside of its pipe.
    private func fill(
        _ gateway: PipeGateway, _ client: PipeClient, from publisher: PipeClient, to backlog: Int, size: Int = 100
    ) throws {
        let filler = String(repeating: "x", count: size)
        var number = 0
        while client.backlog < backlog, !client.isEnded {
            try publisher.publish("hot", "\"\(number) \(filler)\"")
            number += 1
            guard number < 100_000 else { throw TestFailure("nothing waits") }
        }
    }

    /// The numbers of the publications among `frames`, which must come without a hole.
    private func expectNumbers(_ frames: [ServerFrame], _ range: Range<Int>? = nil) {
        let numbers = frames.filter { $0.text.contains(#""push""#) }.compactMap {
            $0.text.split(separator: #""data":""#).last?.split(separator: " ").first.flatMap { Int($0) }
        }
        #expect(numbers == Array(range ?? 0..<numbers.count), "in order, and without a hole")
    }

    // MARK: Closing

    @Test(arguments: Array(1...6) + [60, 130, 131, 132, 133, 134, 400])
    func `F23 after the limit there is the rest of one frame and a 3008, wherever the frame was cut`(
        capacity: Int
    ) throws {
        let gateway = try PipeGateway(settings: { $0.queueMaxSize = 20_000 })
        let publisher = try gateway.client().connected()
        let slow = try gateway.client(capacity: capacity).connected("hot")
        slow.stopReading()
        try fill(gateway, slow, from: publisher, to: 19_000)
        #expect(gateway.total(.slowConsumers(.bytes)) == 0)
        try publisher.publish("hot", "\"\(String(repeating: "y", count: 2000))\"")
        #expect(gateway.total(.slowConsumers(.bytes)) == 1)
        #expect(slow.backlog < 250, "the memory is free at once")
        for _ in 0..<5 { try publisher.publish("hot", "1") }
        slow.readAll()
        let frames = try slow.frames()
        expectNumbers(frames)
        #expect(frames.last?.closeCode == 3008 && frames.last?.closeReason == "slow")
        #expect(frames.count { $0.opcode == 8 } == 1 && slow.openBytes == 0, "nothing follows")
        slow.send(bytes: WebSocketPeer.frame(8, [0x0B, 0xC0]))
        gateway.turn()
        #expect(slow.isEnded)
        #expect(gateway.total(.connectionsClosed(.reconnect)) == 1)
        #expect(gateway.total(.slowConsumers(.time)) == 0)
        try #expect(publisher.frames().allSatisfy { !$0.text.contains("error") })
    }

    @Test(arguments: [1, 7, Int.max]) func `F23 who takes no byte for ten seconds is closed with 3008`(
        writeLimit: Int
    ) throws {
        let gateway = try PipeGateway()
        let publisher = try gateway.client().connected()
        let stuck = try gateway.client(capacity: 300, writeLimit: writeLimit).connected("hot")
        stuck.stopReading()
        try fill(gateway, stuck, from: publisher, to: 40_000)
        gateway.advance(.milliseconds(9900))
        #expect(stuck.backlog > 40_000 && gateway.total(.slowConsumers(.time)) == 0)
        gateway.advance(.milliseconds(200))
        #expect(gateway.total(.slowConsumers(.time)) == 1)
        #expect(stuck.backlog < 250)
        // It comes back in the time that it has for its last words.
        gateway.advance(.milliseconds(4500))
        stuck.readAll()
        let frames = try stuck.frames()
        expectNumbers(frames)
        #expect(frames.last?.closeReason == "slow" && frames.last?.closeCode == 3008 && stuck.openBytes == 0)
        gateway.advance(.seconds(1))
        #expect(stuck.isEnded)
        #expect(gateway.total(.slowConsumers(.time)) == 1, "counted once")
        #expect(gateway.total(.connections) == 1)
    }

    @Test func `who never reads again is gone after the close timeout, and nothing is left`() throws {
        let gateway = try PipeGateway()
        let publisher = try gateway.client().connected()
        let stuck = try gateway.client(capacity: 300).connected("hot")
        stuck.stopReading()
        let frames = gateway.loop.liveFrames
        try fill(gateway, stuck, from: publisher, to: 40_000)
        gateway.advance(.milliseconds(10_200))
        #expect(gateway.total(.connections) == 2)
        #expect(gateway.loop.liveFrames <= frames + 2)
        gateway.advance(.seconds(5))
        #expect(gateway.total(.connections) == 1)
        #expect(gateway.loop.liveFrames == frames)
        #expect(gateway.total(.connectionsClosed(.reconnect)) == 1, "3008, although it did not hear of it")
        #expect(gateway.total(.slowConsumers(.time)) == 1 && gateway.total(.slowConsumers(.bytes)) == 0)
    }

    @Test func `who trickles after its 3008 does not stay longer than the close timeout`() throws {
        let gateway = try PipeGateway(settings: { $0.queueMaxSize = 20_000 })
        let publisher = try gateway.client().connected()
        let slow = try gateway.client(capacity: 1).connected("hot")
        slow.stopReading()
        try fill(gateway, slow, from: publisher, to: 19_000)
        try publisher.publish("hot", "\"\(String(repeating: "y", count: 2000))\"")
        gateway.advance(.milliseconds(5200), step: .milliseconds(100)) { if !slow.isEnded { slow.readOnce() } }
        #expect(slow.isEnded)
    }

    @Test func `a reader that resumes just below the limit stays and misses nothing`() throws {
        let gateway = try PipeGateway(settings: { $0.queueMaxSize = 20_000 })
        let publisher = try gateway.client().connected()
        let slow = try gateway.client(capacity: 300).connected("hot")
        var next = 0
        for _ in 0..<3 {
            slow.stopReading()
            // As many as fit, to the byte: a publication is 133 bytes and what the number takes.
            let filler = String(repeating: "x", count: 80)
            while true {
                let before = slow.backlog
                try publisher.publish("hot", "\"\(next) \(filler)\"")
                next += 1
                if slow.backlog > 19_500 { break }
                #expect(slow.backlog >= before)
            }
            let missing = 20_000 - slow.backlog
            let empty = #"{"push":{"channel":"hot","pub":{"data":"","info":{"client":""}}}}"#.utf8.count + 36 + 4
            if missing > empty {
                try publisher.publish("hot", "\"\(next) \(String(repeating: "z", count: missing - empty - 4))\"")
                next += 1
            }
            #expect(slow.backlog > 19_900 && slow.backlog <= 20_000)
            gateway.advance(.seconds(3))
            slow.readAll()
        }
        let frames = try slow.frames()
        #expect(!slow.isEnded && frames.allSatisfy { $0.opcode == 1 })
        expectNumbers(frames, 0..<next)
        #expect(gateway.total(.slowConsumers(.bytes)) == 0)
    }

    @Test func `another close does not wait behind the queue of a client that is behind either`() throws {
        let gateway = try PipeGateway()
        let publisher = try gateway.client().connected()
        let behind = try gateway.client(capacity: 777).connected("hot")
        behind.stopReading()
        try fill(gateway, behind, from: publisher, to: 50_000)
        behind.send(#"{"id":9,"nonsense":{}}"#)
        gateway.turn()
        #expect(behind.backlog < 250)
        behind.readAll()
        let frames = try behind.frames()
        expectNumbers(frames)
        #expect(frames.last?.closeCode == 3501 && behind.openBytes == 0)
        #expect(gateway.total(.slowConsumers(.bytes)) + gateway.total(.slowConsumers(.time)) == 0)
    }

    @Test func `what a client is told before it is closed goes out while its socket takes it`() throws {
        let gateway = try PipeGateway()
        let client = try gateway.client().connected()
        client.send(#"{"id":5,"ping":{}}"# + "\n" + #"{"id":6,"nonsense":{}}"#)
        client.readAll()
        let frames = try client.frames()
        #expect(frames.first?.text == #"{"id":5,"ping":{}}"# && frames.last?.closeCode == 3501 && frames.count == 2)
    }

    @Test(arguments: [true, false])
    func `who says goodbye while it is behind gets what waits, within the close timeout`(
        reads: Bool
    ) throws {
        let gateway = try PipeGateway()
        let publisher = try gateway.client().connected()
        let leaving = try gateway.client(capacity: 777).connected("hot")
        leaving.stopReading()
        try fill(gateway, leaving, from: publisher, to: 50_000)
        leaving.send(bytes: WebSocketPeer.frame(8, [0x03, 0xE8]))
        gateway.turn()
        if reads {
            leaving.readAll()
            let frames = try leaving.frames()
            #expect(frames.count > 200 && frames.last?.closeCode == 1000 && leaving.isEnded)
            expectNumbers(frames)
        } else {
            gateway.advance(.milliseconds(5100))
        }
        #expect(gateway.total(.connections) == 1)
        #expect(gateway.total(.slowConsumers(.time)) == 0, "it left by itself")
    }

    @Test func `an echo that nobody reads ends the same way`() throws {
        let gateway = try PipeGateway()
        let stuck = try gateway.client("/echo", capacity: 100)
        stuck.stopReading()
        stuck.send(String(repeating: "x", count: 5000))
        gateway.turn()
        gateway.advance(.milliseconds(10_200))
        #expect(gateway.total(.slowConsumers(.time)) == 1)
        stuck.readAll()
        let frames = try stuck.frames()
        #expect(frames.map(\.opcode) == [1, 8] && frames.last?.closeCode == 3008)
    }

    // MARK: Pings

    @Test(arguments: [true, false], [1, 333]) func `a ping overtakes the backlog, and its pong keeps the client`(
        usesFrames: Bool, capacity: Int
    ) throws {
        let gateway = try PipeGateway()
        let publisher = try gateway.client().connected()
        let path = "/connection/websocket" + (usesFrames ? "?cf_ws_frame_ping_pong=true" : "")
        let behind = try gateway.client(path, capacity: capacity).connected("hot")
        _ = try publisher.frames()
        behind.stopReading()
        try fill(gateway, behind, from: publisher, to: 600_000, size: 1000)
        var frames: [ServerFrame] = []
        var pings = 0
        // It reads some hundred bytes a second: the backlog would take it half an hour.
        try gateway.advance(.seconds(80)) {
            for _ in 0..<(capacity == 1 ? 120 : 1) { behind.readOnce() }
            for frame in try behind.frames() {
                if frame.opcode == 9 || frame.text == "{}" {
                    pings += 1
                    #expect(usesFrames == (frame.opcode == 9) && behind.backlog > 300_000)
                    if usesFrames {
                        behind.send(bytes: WebSocketPeer.frame(10, frame.payload))
                    } else {
                        behind.send("{}")
                    }
                } else {
                    frames.append(frame)
                }
            }
            for frame in try publisher.frames() where frame.text == "{}" { publisher.send("{}") }
        }
        #expect(!behind.isEnded && pings >= 3)
        #expect(frames.allSatisfy { $0.opcode == 1 })
        expectNumbers(frames)
        #expect(frames.count > 10)
    }

    @Test func `who does not answer a ping is told 3008 while it is behind, and 3012 when it is not`() throws {
        let gateway = try PipeGateway(rules: { $0.pongTimeout = .seconds(3) })
        let publisher = try gateway.client().connected()
        let silent = try gateway.client().connected("hot")
        let behind = try gateway.client(capacity: 10).connected("hot")
        behind.stopReading()
        try fill(gateway, behind, from: publisher, to: 50_000)
        // A byte a second is progress, and not enough to find the ping.
        try gateway.advance(.seconds(40), step: .seconds(1)) {
            behind.readOnce()
            silent.readAll()
            for frame in try publisher.frames() where frame.text == "{}" { publisher.send("{}") }
        }
        #expect(gateway.total(.slowConsumers(.time)) == 1 && gateway.total(.slowConsumers(.bytes)) == 0)
        #expect(try silent.frames().last?.closeCode == 3012)
        #expect(gateway.total(.connections) == 1)
    }

    @Test func `a ping waits for the frame that is half written, for no other`() throws {
        for cut in 1...480 {
            let gateway = try PipeGateway(rules: { $0.pingInterval = .seconds(2) })
            let publisher = try gateway.client().connected()
            let behind = try gateway.client(capacity: cut).connected("hot")
            behind.stopReading()
            // Three in one block.
            let lines = (0..<3).map {
                #"{"id":3,"publish":{"channel":"hot","data":"\#($0) \#(String(repeating: "x", count: 60))"}}"#
            }
            publisher.send(lines.joined(separator: "\n"))
            gateway.turn()
            gateway.advance(.milliseconds(2200))
            behind.readAll()
            let frames = try behind.frames()
            try #require(frames.count == 4 && behind.openBytes == 0, "cut at \(cut)")
            expectNumbers(frames)
            let size = frames.map { $0.payload.count + 4 }.max() ?? 0
            #expect(frames.firstIndex { $0.text == "{}" } == min(3, (cut + size - 1) / size), "cut at \(cut)")
        }
    }

    // MARK: What operators see

    @Test func `slow clients are logged, many at once are sampled`() throws {
        let lines = LogLines()
        let gateway = try PipeGateway(settings: { $0.queueMaxSize = 20_000 }, logger: lines.logger)
        let publisher = try gateway.client().connected()
        let slow = try (0..<40).map { _ in try gateway.client(capacity: 10).connected("hot") }
        for client in slow { client.stopReading() }
        for _ in 0..<12 { try publisher.publish("hot", "\"\(String(repeating: "x", count: 2000))\"") }
        #expect(gateway.total(.slowConsumers(.bytes)) == 40)
        let first = lines.take()
        #expect(first.count == 10)
        #expect(first[0]["martlet.close.code"] == "3008" && first[0]["martlet.close.reason"] == "bytes")
        #expect(first[0]["martlet.queue.bytes"].flatMap { Int($0) }.map { $0 > 20_000 } == true)
        gateway.advance(.seconds(11))
        let late = try gateway.client(capacity: 10).connected("hot")
        late.stopReading()
        for _ in 0..<12 { try publisher.publish("hot", "\"\(String(repeating: "x", count: 2000))\"") }
        let second = lines.take()
        #expect(second.count == 1 && second[0]["martlet.log.suppressed"] == "30")
    }
}

/// Keeps the attributes of the lines that are logged.
private final class LogLines: Sendable {
    private let lines = Mutex<[[String: String]]>([])

    var logger: Logger { Logger(label: "test") { [lines = self] _ in Handler(lines: lines) } }

    func take() -> [[String: String]] {
        lines.withLock { lines in
            defer { lines = [] }
            return lines
        }
    }

    private struct Handler: LogHandler {
        let lines: LogLines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info

        subscript(metadataKey key: String) -> Logger.MetadataValue? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let attributes = (event.metadata ?? [:]).mapValues { "\($0)" }
            lines.lines.withLock { $0.append(attributes) }
        }
    }
}
