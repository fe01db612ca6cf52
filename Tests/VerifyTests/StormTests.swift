// A storm's worker against servers that keep the contract, driven by lines as the driver would; and what the lines say.

import Bytes
import LoadCore
import Reactor
import Testing

@testable import VerifyCore

@Suite("Workers of a storm")
struct StormTests {
    /// The driver's end: collects the words of the worker's lines.
    private final class Driver: ConnectionHandler {
        let loop: Loop
        var kind: UInt8 = 0
        var channel: LineChannel?
        var progress = StormProgress()
        var others: [String] = []
        init(_ loop: Loop) {
            self.loop = loop
            kind = loop.register(self)
        }
        func opened(_ id: ConnectionID) { channel = LineChannel(loop, id) }
        func closed(_ id: ConnectionID, _ reason: CloseReason) {}
        func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
            for words in channel?.take(bytes) ?? [] {
                if let news = StormProgress(words) {
                    progress = news
                } else {
                    others.append(words.joined(separator: " "))
                }
            }
        }
    }

    @Test("clients join, drop, miss messages, return, recover, and are compared with what was acknowledged")
    func worker() throws {
        let run = try PoolRun(.none)
        let driver = Driver(run.loop)
        guard let any = SocketAddress(host: "127.0.0.1", port: 0) else { return }
        let listener = try Listener.bind(any, shared: false, handler: driver.kind)
        let port = try #require(listener.address.port)
        try run.loop.add(listener)
        let worker = try StormWorker(run.loop, port: port)
        try #require(run.turn { driver.channel != nil })
        var share = StormShare()
        share.clients = 12
        share.rooms = 3
        share.publishers = 2
        share.ports = (0..<2).compactMap { run.server.address($0, proxied: false)?.port }
        driver.channel?.send(share.line)
        run.pool.start()
        try #require(run.turn { run.pool.isComplete && driver.progress.joined == 12 })
        run.pool.startPublishing()
        try #require(run.turn { run.checker.figures.acked >= 30 })
        driver.channel?.send("drop 50")
        try #require(run.turn { driver.progress.joined == 0 })
        let acked = run.checker.figures.acked
        try #require(run.turn { run.checker.figures.acked >= acked + 30 })
        driver.channel?.send("return")
        try #require(run.turn { driver.progress.joined == 12 })
        run.pool.stopPublishing()
        try #require(run.turn { run.pool.isComplete && driver.progress.recovered == 12 })
        #expect(driver.progress.refused == 0 && driver.progress.backlog >= 30 && driver.progress.positions > 1)
        // What was published last may still be on its way.
        try #require(run.turn { (0..<3).allSatisfy { worker.isUpToDate($0, run.checker.ackedTop($0)) } })
        driver.channel?.send("tops " + (0..<3).map { "\(run.checker.ackedTop($0))" }.joined(separator: " "))
        try #require(run.turn { driver.others.contains("done") })
        #expect(driver.others == ["done"])
        driver.others = []
        driver.channel?.send("tops 0 1000 0")
        try #require(run.turn { driver.others.contains("done") })
        #expect(driver.others.contains("short 1 4"))
    }

    @Test("shares and progress come back from their lines, and nonsense is neither")
    func lines() {
        var share = StormShare()
        share.clients = 7500
        share.worker = 1
        share.seed = .max
        share.ports = [1, 65_535]
        #expect(StormShare(share.line.split(separator: " ")) == share)
        var progress = StormProgress()
        progress.joined = 1
        progress.errors = 9
        #expect(StormProgress(progress.line.split(separator: " ")) == progress)
        for text in [
            "", "share", "share 1 2 3 4 5 6 7 8 70000", "share 1 0 1 5 0 1 1 1 80", "progress 1 2 x 4 5 6 7 8",
        ] {
            #expect(StormShare(text.split(separator: " ")) == nil && StormProgress(text.split(separator: " ")) == nil)
        }
        #expect((progress + progress).errors == 18)
    }
}

@Suite("Reports")
struct ReportTests {
    @Test("a range of times names least and highest, and what never came")
    func ranges() {
        #expect(RunReport.range([.milliseconds(5), .milliseconds(12)], none: "never") == "5–12")
        #expect(RunReport.range([.milliseconds(5), nil], none: "never") == "5 or never")
        #expect(RunReport.range([nil], none: "never") == "never")
        #expect(RunReport.range([3, 3]) == "3")
    }

    @Test("scenarios ask for the Redis that they need")
    func plans() {
        var plan = RunPlan()
        ScenarioPlan.snapshot(times: 1).make().adapt(&plan)
        #expect(!plan.rig.appendOnly && plan.rig.historySize == 300 && !plan.isRestless)
        ScenarioPlan.appendLog(times: 1, withGateway: true).make().adapt(&plan)
        #expect(plan.rig.appendOnly)
        ScenarioPlan.storm(clients: 15_000, processes: 2).make().adapt(&plan)
        #expect(plan.bounds.descriptors >= 15_000)
    }

    @Test("every mutant of the server has an occasion, and none is made by the proxy")
    func occasions() {
        for mutant in Mutant.allCases where !mutant.isOnClientLinks {
            #expect(mutant.occasion != .calm(seconds: 8), "\(mutant)")
        }
    }
}
