// The open model with times that are handed in, the measured stretch, latencies and the report's arithmetic.

import Bytes
import Testing

@testable import LoadCore

@Suite("Offered load keeps its times whatever the server does")
struct ScheduleTests {
    private func time(_ milliseconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: milliseconds * 1_000_000) }

    @Test("messages are due at even distances from the start, without drift")
    func even() {
        let schedule = RateSchedule(start: time(1000), rate: 3)
        #expect(schedule.due(0) == time(1000))
        #expect(schedule.due(3) == time(2000))
        #expect(schedule.due(3_000_000) == time(1_000_001_000))
    }

    @Test("nothing is taken before it is due")
    func notEarly() {
        var schedule = RateSchedule(start: time(1000), rate: 100)
        let taken = [time(999), time(1000), time(1000)].map { schedule.take(now: $0) }
        #expect(taken == [nil, time(1000), nil])
        #expect(schedule.next == time(1010))
    }

    @Test("after a stall every message that was due is taken, each with its own time")
    func catchUp() {
        var schedule = RateSchedule(start: time(0), rate: 1000)
        var taken: [MonotonicTime] = []
        while let due = schedule.take(now: time(50)) { taken.append(due) }
        #expect(taken == (0...50).map(time))
        #expect(schedule.taken == 51)
    }

    @Test("a message that was due in the measured stretch counts there, however late it comes")
    func lateArrival() {
        var window = MeasuringWindow()
        var latency = LatencyHistogram()
        window.open(from: time(100), until: time(200))
        window.count(arrival: time(99), due: time(98).nanoseconds, in: &latency)
        #expect(latency.count == 0)
        window.count(arrival: time(150), due: time(140).nanoseconds, in: &latency)
        window.count(arrival: time(900), due: time(199).nanoseconds, in: &latency)
        window.count(arrival: time(901), due: time(200).nanoseconds, in: &latency)
        #expect(latency.count == 2)
        #expect(window.arrivals == 1)
        // Three significant digits: 701 ms is known to within 1 ms.
        #expect((700_000...702_000).contains(latency.longestSeen))
    }

    @Test("before it opens and after it stops a window measures and sends nothing")
    func closed() {
        var window = MeasuringWindow()
        #expect(!window.isRunning && !window.contains(time(0)))
        window.open(from: time(1), until: time(2))
        #expect(window.isRunning && window.contains(time(1)) && !window.contains(time(2)))
        window.stop()
        #expect(!window.isRunning)
    }
}

@Suite("Latencies and reports add up")
struct ReportTests {
    @Test("percentiles of a known distribution are right to three digits")
    func percentiles() {
        var histogram = LatencyHistogram()
        for value in 1...10_000 { histogram.record(microseconds: UInt64(value), times: 1) }
        #expect((4995...5005).contains(histogram.percentile(50)))
        #expect((9890...9910).contains(histogram.percentile(99)))
        #expect((9990...10_010).contains(histogram.percentile(99.99)))
        #expect((9990...10_010).contains(histogram.longestSeen))
    }

    @Test("a worker's result comes through its lines unchanged, and two of them add up")
    func lines() {
        var result = WorkerResult()
        result["opened"] = 7
        result.failures["Connection refused while connecting"] = 3
        result.latencies["message"] = LatencyHistogram()
        result.latencies["message"]?.record(microseconds: 250, times: 4)
        var sum = WorkerResult()
        for line in result.lines + result.lines {
            let isKnown = sum.add(line)
            #expect(isKnown, "\(line)")
        }
        #expect(sum["opened"] == 14)
        #expect(sum.failures == ["Connection refused while connecting": 6])
        #expect(sum.latencies["message"]?.count == 8)
        for line in ["count opened many", "hello"] {
            let isKnown = sum.add(line)
            #expect(!isKnown, "\(line)")
        }
    }

    @Test("a plan comes through its lines unchanged")
    func plan() {
        var plan = LoadPlan()
        plan.mode = .fanout
        plan.language = .floor
        plan.room = "a room %r"
        plan.messageRate = 12.5
        plan.connections = 10
        plan.rooms = 3
        var copy = LoadPlan()
        for line in plan.lines {
            let words = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
            #expect(words.first == "plan")
            let isKnown = copy.set(words[1], String(words[2]))
            #expect(isKnown, "\(line)")
        }
        #expect(copy == plan)
        for (key, value) in [("nonsense", "1"), ("port", "70000")] {
            let isKnown = copy.set(Substring(key), value)
            #expect(!isKnown, "\(key)")
        }
        #expect((0..<3).map(plan.members(of:)) == [4, 3, 3])
    }

    @Test("what is not delivered is lost, and any fault makes the run unclean")
    func verdict() {
        var outcome = RunOutcome(plan: LoadPlan(), watched: false)
        outcome.result["opened"] = 1
        outcome.result["delivered"] = 10
        outcome.expected = 10
        #expect(outcome.problems.isEmpty && outcome.exitCode == 0)
        outcome.expected = 12
        #expect(outcome.lost == 2 && outcome.exitCode == 1)
        outcome.expected = 10
        for fault in ["duplicates", "misordered", "strangers", "altered", "refused", "failed", "closed_early"] {
            var faulty = outcome
            faulty.result[fault] = 1
            #expect(faulty.problems.count == 1 && faulty.exitCode == 1, "\(fault)")
        }
        var absent = RunOutcome(plan: LoadPlan(), watched: false)
        absent.result["failed"] = 1
        #expect(absent.exitCode == 4)
    }

    @Test("processor time and memory per unit follow from the samples")
    func costs() {
        var outcome = RunOutcome(plan: LoadPlan(), watched: true)
        outcome.result["opened"] = 100
        outcome.result["delivered_in_window"] = 1000
        outcome.serverOpened.processorTime = 2_000_000
        outcome.serverFrom.processorTime = 5_000_000
        outcome.serverUntil.processorTime = 7_000_000
        outcome.serverBefore.resident = 1_000_000
        outcome.serverUntil.resident = 1_100_000
        #expect(outcome.serverMicrosecondsPerConnection == 20)
        #expect(outcome.serverMicrosecondsPerMessage == 2)
        #expect(outcome.residentPerConnection == 1000)
    }

    @Test("processor ticks are found behind any process name")
    func stat() {
        let stat = "77 (a) b (c) S 1 77 77 0 -1 4194304 100 0 0 0 31 11 0 0 20 0 1 0 100 1 1"
        #expect(ProcessProbe.ticks(stat: stat) == 42)
        #expect(ProcessProbe.ticks(stat: "77 no name") == nil)
        #expect(ProcessProbe.kibibytes("Pss:", in: "Rss:   12 kB\nPss:    7 kB\n") == 7)
    }

    @Test("JSON is escaped and numbers are short")
    func json() {
        let document = JSONText.object([
            ("a\"b\n\u{1}", .list([.number(1.5), .number(-0.0625), .number(.infinity), .whole(.max), .null])),
            ("empty", .object([])),
        ])
        let expected = """
            {
              "a\\"b\\n\\u0001": [
                1.5,
                -0.063,
                null,
                18446744073709551615,
                null
              ],
              "empty": {}
            }
            """
        #expect(document.rendered() == expected)
    }

    @Test("only this machine is loopback")
    func loopback() {
        for host in ["127.0.0.1", "127.9.9.9", "::1"] { #expect(Targets.isLoopback(host), "\(host)") }
        for host in ["10.0.0.1", "192.168.0.1", "1.2.3.4", "0.0.0.0", "::", "fe80::1", "127.0.0.1.nip.io", "host", ""] {
            #expect(!Targets.isLoopback(host), "\(host)")
        }
    }
}
