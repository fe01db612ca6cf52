// The load of `fanout`: rooms with members, some of which publish. In the closed loop a publisher keeps `window`
// messages in flight and sends the next when its own comes back; at an offered rate messages go out at fixed times,
// whatever came back. Every member's books are kept: loss, duplicates, order. Confined to the worker's loop.

package import Bytes
import Reactor

/// Room load.
package final class FanoutDriver: LoadDriver {
    private struct Publisher {
        var index: Int
        var room: Int
        var number: Int
        let name: Payload
        var sent: UInt64 = 0
        var refused: UInt64 = 0
    }

    package let speaksRooms = true
    /// Sends a message; set by whoever owns the pool.
    package var send: (Int, UnsafeRawBufferPointer) -> Void = { _, _ in }
    private let plan: LoadPlan
    private var ledger: DeliveryLedger
    private var publishers: [Publisher] = []
    /// The publisher that a connection is; -1 for listeners.
    private var publisherOfLink: [Int]
    private var data: ByteBuffer
    private var scratch = ByteBuffer(capacity: 512)
    private var window = MeasuringWindow()
    private var schedule: RateSchedule?
    private var turn = 0
    private var publishedInWindow: UInt64 = 0
    private var refusals: [UInt64: UInt64] = [:]
    private var latency = LatencyHistogram()
    private var lag = LatencyHistogram()

    /// The times at which messages are due; nil in the closed loop.
    package var pacing: RateSchedule? { schedule }

    /// A driver for the connections of `plan`, whose `bytes` are at least a mark's length.
    package init(plan: LoadPlan) {
        precondition(plan.bytes >= Marker.length)
        self.plan = plan
        let own = plan.ownConnections
        ledger = DeliveryLedger(subscribers: own.count, publishers: plan.publishers)
        publisherOfLink = Array(repeating: -1, count: own.count)
        data = ByteBuffer(capacity: plan.bytes)
        for _ in 0..<plan.bytes { data.append(UInt8(ascii: "x")) }
        for (index, number) in own.enumerated() {
            let room = plan.room(of: number)
            ledger.join(index, room: room)
            guard plan.member(of: number) < plan.publishers else { continue }
            publisherOfLink[index] = publishers.count
            publishers.append(
                Publisher(
                    index: index, room: room, number: plan.member(of: number),
                    name: Payload(text: plan.roomName(of: number))))
        }
    }

    package func start(at start: MonotonicTime, measureFrom: MonotonicTime, until: MonotonicTime) {
        window.open(from: measureFrom, until: until)
        guard !publishers.isEmpty else { return }
        if plan.messageRate > 0 {
            let all = (0..<max(1, plan.rooms)).reduce(0) { $0 + min(plan.publishers, plan.members(of: $1)) }
            let share = plan.messageRate * Double(publishers.count) / Double(max(1, all))
            schedule = RateSchedule(start: start, rate: share)
            return
        }
        for index in publishers.indices {
            for _ in 0..<plan.window { publish(index, due: .now()) }
        }
    }

    private func publish(_ publisher: Int, due: MonotonicTime) {
        publishers[publisher].sent += 1
        if window.contains(due) { publishedInWindow += 1 }
        let marker = Marker(
            time: due.nanoseconds, room: publishers[publisher].room, publisher: publishers[publisher].number,
            sequence: publishers[publisher].sent)
        if let base = data.mutableBytes.baseAddress { marker.write(to: base) }
        scratch.removeAll()
        // The command's number tells which message an error reply is about.
        plan.language.appendPublish(
            data.bytes, room: publishers[publisher].name.bytes,
            id: LoadProtocol.firstPublishID + publishers[publisher].sent - 1, to: &scratch)
        send(publishers[publisher].index, scratch.bytes)
    }

    package func message(_ index: Int, _ bytes: UnsafeRawBufferPointer, now: MonotonicTime) {
        Marker.forEach(in: bytes) { marker in
            guard ledger.record(marker, at: index) else { return }
            window.count(arrival: now, due: marker.time, in: &latency)
            let publisher = publisherOfLink[index]
            guard publisher >= 0, schedule == nil, publishers[publisher].number == marker.publisher else { return }
            if window.isRunning { publish(publisher, due: now) }
        }
    }

    package func refused(_ index: Int, id: UInt64, code: UInt64) {
        refusals[code, default: 0] += 1
        let publisher = publisherOfLink[index]
        guard publisher >= 0 else { return }
        publishers[publisher].refused += 1
        if window.isRunning, schedule == nil { publish(publisher, due: .now()) }
    }

    package func paced(now: MonotonicTime) {
        guard window.isRunning, !publishers.isEmpty else { return }
        while let due = schedule?.take(now: now) {
            lag.record(nanoseconds: UInt64(clamping: now.since(due).wholeNanoseconds))
            publish(turn, due: due)
            turn = (turn + 1) % publishers.count
        }
    }

    package func stop() { window.stop() }

    package var delivered: UInt64 { ledger.counts.unique }
    package var published: [(room: Int, publisher: Int, count: UInt64)] {
        publishers.map { ($0.room, $0.number, $0.sent - $0.refused) }
    }

    package func collect(into result: inout WorkerResult) {
        result.add(ledger.counts)
        result["delivered_in_window"] += window.arrivals
        result["published_in_window"] += publishedInWindow
        for (code, times) in refusals {
            result["refused"] += times
            result.failures["publish answered with error \(code)", default: 0] += times
        }
        result.latencies["message"] = latency
        if schedule != nil { result.latencies["send_lag"] = lag }
    }
}

extension Payload {
    /// The UTF-8 of `text`.
    fileprivate convenience init(text: String) {
        var buffer = ByteBuffer()
        buffer.append(text: text)
        self.init(copying: buffer.bytes)
    }
}
