// Schedules are functions of profile and seed; mutants change what they say and nothing else; children are ended.

import Bytes
import Glibc
import LoadCore
import Reactor
import Testing
import WebSocket

@testable import VerifyCore

@Suite("Schedules")
struct ScheduleTests {
    @Test("the same seed gives the same schedule, another seed another")
    func pure() {
        #expect(Schedule.make(.std, seed: 7) == Schedule.make(.std, seed: 7))
        #expect(Schedule.make(.std, seed: 7) != Schedule.make(.std, seed: 8))
    }

    @Test("std has every fault twice, smoke fits into a minute, faults never overlap")
    func shape() {
        let std = Schedule.make(.std, seed: 3)
        for name in FaultName.allCases { #expect(std.count { $0.name == name } == 2) }
        let smoke = Schedule.make(.smoke, seed: 3)
        #expect(Set(smoke.map(\.name)).count == smoke.count)
        for list in [std, smoke] {
            for (earlier, later) in zip(list, list.dropFirst()) {
                let fault = Schedule.fault(earlier.name, seed: earlier.seed, isDurable: true)
                #expect(earlier.at + fault.length <= later.at)
            }
        }
        if let last = smoke.last { #expect(last.at < .seconds(70)) }
    }

    @Test("without Redis no fault of Redis is planned")
    func embedded() {
        #expect(Schedule.make(.std, seed: 1, hasRedis: false).allSatisfy { !Schedule.needsRedis($0.name) })
        #expect(!Schedule.make(.std, seed: 1, hasRedis: false).isEmpty)
    }

    @Test("only what loses data may change epochs")
    func losses() {
        for name in FaultName.allCases {
            #expect(Schedule.fault(name, seed: 1, isDurable: true).losesData == (name == .redisLosesData), "\(name)")
        }
        #expect(Schedule.fault(.redisKilled, seed: 1, isDurable: false).losesData)
    }
}

@Suite("Mutants on the wire")
struct MutantRewriterTests {
    private func run(_ mutant: Mutant, _ lines: [String]) -> [String] {
        let rewriter = MutantRewriter(mutant, rooms: 9, seed: 4)
        var frames = ByteBuffer()
        for line in lines { Array(line.utf8).withUnsafeBytes { frames.appendFrame(.text, $0) } }
        var out: [UInt8] = []
        let input = Array("HTTP/1.1 101 x\r\n\r\n".utf8) + Array(frames.bytes)
        // In pieces of seven bytes: nothing depends on how they are cut.
        for start in stride(from: 0, to: input.count, by: 7) {
            Array(input[start..<min(start + 7, input.count)]).withUnsafeBytes {
                rewriter.rewrite($0, .down, into: &out)
            }
        }
        out.removeFirst(18)
        var found: [String] = []
        var reader = FrameReader(role: .client)
        out.withUnsafeMutableBytes { raw in
            var input = FrameInput(raw)
            while case .message(_, _, let text) = reader.next(
                &input, FrameLimits(frameBytes: 1 << 20, messageBytes: 1 << 20))
            {
                found.append(String(decoding: text, as: UTF8.self))
            }
        }
        return found
    }

    private func pushes(_ count: Int) -> [String] {
        (1...count).map { number in
            var mark = [UInt8](repeating: 0, count: Marker.length)
            mark.withUnsafeMutableBytes { raw in
                if let base = raw.baseAddress {
                    Marker(time: 1, room: 4, publisher: 0, sequence: UInt64(number)).write(to: base)
                }
            }
            let data = String(decoding: mark, as: UTF8.self)
            return
                "{\"push\":{\"channel\":\"\(RoomNames.name(4))\",\"pub\":{\"data\":\"\(data)\",\"offset\":\(number)}}}"
        }
    }

    @Test("M1, M2, M3, M12 drop, double, swap and misdirect some deliveries, and pass the others")
    func deliveries() {
        let lines = pushes(3000)
        let dropped = run(.dropsDeliveries, lines)
        #expect(dropped.count < 3000 && dropped.count > 2900)
        let doubled = run(.doublesDeliveries, lines)
        #expect(doubled.count > 3000 || doubled.contains { $0.contains("\n") })
        let swapped = run(.swapsDeliveries, lines).flatMap { $0.split(separator: "\n").map(String.init) }
        #expect(swapped != lines && swapped.sorted() == lines.sorted() || swapped.count == 2999)
        let crossed = run(.crossesRooms, lines)
        #expect(crossed.count == 3000)
        #expect(crossed.contains { $0.contains("\"channel\":\"\(RoomNames.name(6))\"") })
    }

    @Test("M13 takes the errors, whatever the seed, and M1 no replies")
    func replies() {
        let recovered =
            #"{"id":3,"subscribe":{"recoverable":true,"publications":[{"data":"x","offset":2}],"#
            + #""recovered":true,"offset":2}}"#
        #expect(run(.swallowsErrors, [#"{"id":3,"error":{"code":120}}"#, "{}"]) == ["{}"])
        #expect(run(.dropsDeliveries, [recovered, "{}"]) == [recovered, "{}"])
    }

    @Test("every mutant names what it must be found by")
    func expectations() { for mutant in Mutant.allCases { #expect(!mutant.expected.isEmpty) } }
}

@Suite("Child processes")
struct ChildProcessTests {
    @Test("a child's output and end are seen, and one that would go on for ever is ended")
    func children() throws {
        var template = Array("/tmp/martlet-child-XXXXXX\0".utf8CString)
        let folder = try #require(mkdtemp(&template).map { String(cString: $0) })
        defer {
            unlink(folder + "/a")
            unlink(folder + "/b")
            rmdir(folder)
        }
        let short = try ChildProcess("short", ["/bin/sh", "-c", "echo one; echo two; exit 3"], logPath: folder + "/a")
        let deadline = MonotonicTime.now() + .seconds(10)
        while short.isRunning, MonotonicTime.now() < deadline { usleep(2000) }
        #expect(short.ending == .code(3))
        #expect(short.newLines() == ["one", "two"])
        #expect(short.newLines() == [])
        let long = try ChildProcess("long", ["/bin/sleep", "600"], logPath: folder + "/b")
        long.signal(SIGSTOP)
        #expect(long.sample() != nil)
        long.end(patience: .milliseconds(10))
        #expect(long.ending != nil && !long.isRunning)
        #expect(kill(long.pid, 0) != 0)
    }

    @Test("ports are read from the line that says where a gateway listens")
    func ports() {
        let line = #"{"body":"listening on 127.0.0.1:43991","attributes":{"admin.port":46089,"listen.port":43991}}"#
        #expect(ClusterRig.number("\"listen.port\":", in: line) == 43_991)
        #expect(ClusterRig.number("\"admin.port\":", in: line) == 46_089)
        #expect(ClusterRig.number("\"nothing\":", in: line) == nil)
        #expect(ClusterRig.number("\"listen.port\":", in: "x") == nil)
        #expect(ClusterRig.isBug("Fatal error: Index out of range"))
        #expect(!ClusterRig.isBug(line))
    }
}
