// `martlet-load limits`: many senders at several gateways offer one room several times what it takes, whatever they are
// told. What is accepted must be the room's rate and burst over all gateways together, observers must get exactly that,
// refusals must cost Redis little, and another room must hardly notice. One process, one loop: the load is small.

import Bytes
import LoadCore
package import Reactor
import Wire

/// What a limits bench does.
package struct LimitsPlan: Sendable {
    package var senders = 300
    /// What the room takes: publications a second, and at once.
    package var rate = 50.0
    package var burst = 50
    /// Offered is so many times the rate.
    package var times = 10.0
    /// Seconds of the flood, and of calm before it.
    package var seconds = 60.0
    package var baseline = 10.0
    /// Members of the quiet room, and its publications a second.
    package var quietMembers = 60
    package var quietRate = 20.0
    /// Part by which the accepted ones may differ from rate × seconds + burst.
    package var tolerance = 0.02
    /// Redis scripts that an attempt may cost; 0 demands nothing.
    package var scriptLimit = 0.4
    /// How many times its quiet value the quiet room's p99 may be; 0 demands nothing.
    package var ratioLimit = 2.0
    /// Whether rooms keep history.
    package var hasHistory = true

    package init() {}
}

/// Carries out a limits bench.
package final class LimitsBench: Bench, CrowdDelegate, LetterHandler {
    private static let room = "limits:hot"
    private static let quietRoom = "quiet"
    /// Answers that are still under way when the flood is over.
    private static let drain = Duration.seconds(6)

    let plan: LimitsPlan
    private var crowd: Crowd?
    /// Where the observers and the quiet members begin among the seats; the last one publishes in the quiet room.
    private var firstObserver: Int { plan.senders }
    private var firstQuiet: Int { plan.senders + addresses.count }
    private var publisher: Int { firstQuiet + plan.quietMembers }

    private var flood: RateSchedule?
    private var quiet: RateSchedule?
    private var floodEnd = MonotonicTime(nanoseconds: 0)
    private var nextSender = 0
    private var data = ByteBuffer()
    private var sequence: [UInt64] = []
    private var pending: [UInt64: (id: MessageID, at: MonotonicTime)] = [:]
    private var attempts = 0
    private var accepted: Set<MessageID> = []
    private var refused: [UInt32: Int] = [:]
    private var withoutRetryAfter = 0
    private var seen: [[MessageID: Int]] = []
    private var isFlooding = false
    private var quietLatency = (calm: LatencyHistogram(), flood: LatencyHistogram())
    private var answerLatency = LatencyHistogram()
    private var lag = LatencyHistogram()

    /// A bench of `plan` on `cluster`; `tell` gets a line for each step.
    package init(_ plan: LimitsPlan, _ cluster: BenchCluster, tell: @escaping (String) -> Void) throws {
        self.plan = plan
        try super.init("limits", cluster, tell: tell)
    }

    private var configuration: String {
        let history = plan.hasHistory ? "\"historySize\": 100, \"historyTTL\": \"300s\"" : ""
        let limit = "\"rate\": \"\(Int(plan.rate))/s\", \"burst\": \(plan.burst)"
        return """
            {"client": {"rate": "0"}, "shutdown": {"drainWindow": "2s"}, "rooms": {
              "default": {\(history)}, "namespaces": {"limits": {\(limit)\(plan.hasHistory ? ", " + history : "")}}}}

            """
    }

    override func perform() throws {
        try startCluster(configuration)
        loop.setLetterHandler(self)
        try join()
        let calmScripts = try beQuiet()
        try overload(calmScripts)
    }

    private func join() throws {
        let (senders, observers, quiet, gateways) = (plan.senders, addresses.count, plan.quietMembers, addresses.count)
        sequence = Array(repeating: 0, count: senders)
        seen = Array(repeating: [:], count: observers)
        let crowd = Crowd(
            loop, gateways: addresses.compactMap(Endpoint.address), count: senders + observers + quiet + 1,
            seed: cluster.seed, delegate: self,
            identity: { seat in
                if seat < senders { return SeatIdentity(user: "s\(seat)", gateway: seat, rooms: []) }
                if seat < senders + observers {
                    return SeatIdentity(user: "o\(seat)", gateway: seat - senders, rooms: [LimitsBench.room])
                }
                return SeatIdentity(user: "q\(seat)", gateway: seat % gateways, rooms: [LimitsBench.quietRoom])
            })
        self.crowd = crowd
        crowd.open(Array(0..<crowd.count), rate: 0)
        try until("everybody to join", .seconds(30)) { crowd.joined == crowd.count }
        tell("\(senders) senders, \(observers) observers and \(quiet) quiet members are in")
    }

    /// The quiet room alone: its latency, and the scripts that an idle cluster and it need in a second.
    private func beQuiet() throws -> Double {
        let scripts = try scriptCalls()
        let schedule = RateSchedule(start: .now() + .milliseconds(20), rate: plan.quietRate)
        quiet = schedule
        let pacer = Pacer(loop: loop, schedule: schedule)
        guard pacer.start() else { throw RigFailure("no thread for the pacer") }
        quietPacer = pacer
        let began = MonotonicTime.now()
        try spend(.milliseconds(Int64(plan.baseline * 1000)))
        let seconds = MonotonicTime.now().since(began).inSeconds
        guard let scripts, let now = try scriptCalls() else { return 0 }
        return Double(now - scripts) / seconds
    }

    private var quietPacer: Pacer?
    private var floodPacer: Pacer?

    private func overload(_ calmScripts: Double) throws {
        tell("\(plan.senders) senders offer \(JSONText.short(plan.times)) times the rate")
        let before = sample()
        let scripts = try scriptCalls()
        let began = MonotonicTime.now() + .milliseconds(20)
        let schedule = RateSchedule(start: began, rate: plan.rate * plan.times)
        floodEnd = began + .milliseconds(Int64(plan.seconds * 1000))
        isFlooding = true
        flood = schedule
        let pacer = Pacer(loop: loop, schedule: schedule)
        guard pacer.start() else { throw RigFailure("no thread for the pacer") }
        floodPacer = pacer
        try spend(.milliseconds(Int64(plan.seconds * 1000) + 20))
        pacer.stop()
        flood = nil
        let after = try scriptCalls()
        let usage = sample().line(since: before)
        let seconds = MonotonicTime.now().since(began).inSeconds
        isFlooding = false
        quietPacer?.stop()
        quiet = nil
        _ = try untilSoft(LimitsBench.drain) { self.pending.isEmpty }
        try spend(.milliseconds(500))
        judge()
        judgeQuiet()
        if let scripts, let after, attempts > 0 {
            let own = max(0, Double(after - scripts) - calmScripts * seconds)
            let each = own / Double(attempts)
            report.add(
                "Redis scripts", "\(Int(own)) for \(attempts) attempts, \(JSONText.short(each)) each",
                "scripts_per_attempt", .number(each))
            if plan.scriptLimit > 0 {
                must(
                    "an attempt costs at most \(JSONText.short(plan.scriptLimit)) Redis scripts", JSONText.short(each),
                    holds: each <= plan.scriptLimit)
            }
        }
        report.add("flood", usage, "flood_s", .number(seconds))
    }

    private func judge() {
        let wanted = plan.rate * plan.seconds + Double(plan.burst)
        let part = Double(accepted.count) / wanted
        let offered = Int(plan.rate * plan.times * plan.seconds)
        must(
            "all \(offered) attempts are made and answered", "\(attempts) made, \(pending.count) not answered",
            holds: attempts >= offered - plan.senders && pending.isEmpty)
        must(
            "\(Int(wanted)) publications are accepted (rate × time + burst)"
                + " ± \(JSONText.short(plan.tolerance * 100)) %",
            "\(accepted.count), \(JSONText.short(((part - 1) * 10_000).rounded() / 100)) %",
            holds: abs(part - 1) <= plan.tolerance)
        let others = refused.filter { $0.key != ErrorCode.tooManyRequests.rawValue }
        must(
            "the others are refused with 111 and told when to come back",
            "\(refused[ErrorCode.tooManyRequests.rawValue, default: 0]) × 111, \(withoutRetryAfter) without a time"
                + others.map { ", \($0.value) × \($0.key)" }.joined(),
            holds: others.isEmpty && withoutRetryAfter == 0)
        var missing = 0
        var surplus = 0
        for observer in seen {
            missing += accepted.count { observer[$0] == nil }
            surplus += observer.reduce(0) { $0 + (accepted.contains($1.key) ? $1.value - 1 : $1.value) }
        }
        must(
            "observers at every gateway get exactly the accepted ones, once",
            "\(missing) missing, \(surplus) too many, \(seen.count) observers", holds: missing == 0 && surplus == 0)
        report.add("attempts", "attempts", attempts)
        report.add("accepted", "accepted", accepted.count)
        report.add("answer to an attempt", "answer_latency", answerLatency)
        report.add("send lag", "send_lag", lag)
    }

    private func judgeQuiet() {
        let (calm, flood) = quietLatency
        report.add("quiet room, calm", "quiet_latency", calm)
        report.add("quiet room, flood", "quiet_latency_flood", flood)
        guard calm.count > 0, flood.count > 0 else { return }
        let ratio = Double(flood.percentile(99)) / Double(max(1, calm.percentile(99)))
        report.add("p99 ratio", JSONText.short((ratio * 100).rounded() / 100), "quiet_p99_ratio", .number(ratio))
        guard plan.ratioLimit > 0 else { return }
        must(
            "p99 of another room is at most \(JSONText.short(plan.ratioLimit)) times its quiet value",
            JSONText.short((ratio * 100).rounded() / 100), holds: ratio <= plan.ratioLimit)
    }

    /// Scripts that clients have called up to now; nil without Redis.
    private func scriptCalls() throws -> Int? {
        guard let reply = try ask(["INFO", "commandstats"]) else { return nil }
        return ["evalsha", "eval", "evalsha_ro", "fcall"].reduce(0) { $0 + RedisInfo.calls($1, in: reply) }
    }

    // MARK: Sending

    package func receive(_ letter: Letter) {
        guard letter.kind == Pacer.letterKind else { return }
        let now = MonotonicTime.now()
        while let due = quiet?.take(now: now) {
            publish(publisher, LimitsBench.quietRoom, 0, quiet?.taken ?? 0, due: due)
        }
        while let next = flood?.next, next < floodEnd, let due = flood?.take(now: now) {
            let sender = nextSender
            nextSender = (nextSender + 1) % plan.senders
            sequence[sender] += 1
            attempts += 1
            lag.record(nanoseconds: UInt64(clamping: now.since(due).wholeNanoseconds))
            publish(sender, LimitsBench.room, sender + 1, sequence[sender], due: due)
        }
    }

    private func publish(_ seat: Int, _ room: String, _ number: Int, _ sequence: UInt64, due: MonotonicTime) {
        data.removeAll()
        data.append(UInt8(ascii: "\""))
        Marker(time: due.nanoseconds, room: 0, publisher: number, sequence: sequence).write(
            to: data.reserve(Marker.length))
        data.advance(by: Marker.length)
        data.append(UInt8(ascii: "\""))
        let command = crowd?.send(seat, room) { name in
            var request = PublishRequest()
            request.room = name
            request.data = data.bytes
            return .publish(request)
        }
        guard number > 0, let command else { return }
        pending[UInt64(seat) << 32 | UInt64(command)] = (MessageID(number, Int(clamping: sequence)), .now())
    }

    func replied(_ seat: Int, _ command: UInt32, _ reply: Reply) {
        guard let (id, at) = pending.removeValue(forKey: UInt64(seat) << 32 | UInt64(command)) else { return }
        answerLatency.record(nanoseconds: UInt64(clamping: MonotonicTime.now().since(at).wholeNanoseconds))
        switch reply {
        case .publish: accepted.insert(id)
        case .error(let error):
            refused[error.code, default: 0] += 1
            if error.code == ErrorCode.tooManyRequests.rawValue, error.retryAfter == 0 { withoutRetryAfter += 1 }
        default: refused[0, default: 0] += 1
        }
    }

    func pushed(_ seat: Int, _ room: WireBytes, _ push: Push) {
        guard case .publication(let publication) = push else { return }
        let now = MonotonicTime.now().nanoseconds
        Marker.forEach(in: publication.data) { mark in
            if seat < firstQuiet {
                seen[seat - firstObserver][MessageID(mark.publisher, Int(clamping: mark.sequence)), default: 0] += 1
            } else if isFlooding {
                quietLatency.flood.record(nanoseconds: now - min(mark.time, now))
            } else {
                quietLatency.calm.record(nanoseconds: now - min(mark.time, now))
            }
        }
    }

    func ended(_ seat: Int, wasIn: Bool, isOwn: Bool) {
        if wasIn, !isOwn { report.problems.append("client \(seat) was turned out") }
    }
}
