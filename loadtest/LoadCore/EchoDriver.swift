// The load of `echo`: every connection keeps `window` messages in flight, or all together send at a rate. A message
// carries its number (and, where it fits, the time at which it was due), so that an echo that is lost, doubled, out of
// order or altered is counted. What one read answers is sent again in one write. Confined to the worker's loop.

package import Bytes
import Glibc
import Reactor

/// Echo load. A message has at least `numberDigits` bytes; at an offered rate it has room for the time, too.
package final class EchoDriver: LoadDriver {
    /// Digits of the number, and of the time behind it.
    package static let numberDigits = 10
    package static let timeDigits = 16

    package let speaksRooms = false
    /// Sends a message; set by whoever owns the pool.
    package var send: (Int, UnsafeRawBufferPointer) -> Void = { _, _ in }
    private let plan: LoadPlan
    private let count: Int
    private var ledger: DeliveryLedger
    private var sent: [UInt64]
    /// When each message of the window was sent, by connection × window + number % window.
    private var times: [UInt64]
    private var message: ByteBuffer
    private var window = MeasuringWindow()
    private var schedule: RateSchedule?
    private var turn = 0
    private var altered: UInt64 = 0
    private var latency = LatencyHistogram()
    private var lag = LatencyHistogram()

    /// The times at which messages are due; nil in the closed loop.
    package var pacing: RateSchedule? { schedule }

    private var carriesTime: Bool { plan.bytes >= EchoDriver.numberDigits + EchoDriver.timeDigits }

    /// A driver for the connections of `plan`.
    package init(plan: LoadPlan) {
        precondition(plan.bytes >= EchoDriver.numberDigits && plan.window > 0)
        self.plan = plan
        count = plan.ownConnections.count
        ledger = DeliveryLedger(subscribers: count, publishers: 1)
        for index in 0..<count { ledger.join(index, room: index) }
        sent = Array(repeating: 0, count: count)
        times = Array(repeating: 0, count: plan.messageRate > 0 ? 0 : count * plan.window)
        message = ByteBuffer(capacity: plan.bytes)
        for _ in 0..<plan.bytes { message.append(UInt8(ascii: "x")) }
    }

    package func start(at start: MonotonicTime, measureFrom: MonotonicTime, until: MonotonicTime) {
        window.open(from: measureFrom, until: until)
        if plan.messageRate > 0 {
            schedule = RateSchedule(start: start, rate: plan.messageRate / Double(max(1, plan.processes)))
            return
        }
        for index in 0..<count {
            for _ in 0..<plan.window { sendNext(index, due: .now()) }
        }
    }

    private func sendNext(_ index: Int, due: MonotonicTime) {
        sent[index] += 1
        let number = sent[index]
        if let base = message.mutableBytes.baseAddress {
            Hex.write(number, digits: EchoDriver.numberDigits, to: base)
            if carriesTime {
                Hex.write(due.nanoseconds, digits: EchoDriver.timeDigits, to: base + EchoDriver.numberDigits)
            }
        }
        if !times.isEmpty { times[index * plan.window + Int(number % UInt64(plan.window))] = due.nanoseconds }
        send(index, message.bytes)
    }

    package func message(_ index: Int, _ bytes: UnsafeRawBufferPointer, now: MonotonicTime) {
        guard let number = Hex.read(bytes, at: 0, digits: EchoDriver.numberDigits), number <= sent[index],
            isIntact(bytes)
        else {
            altered += 1
            return
        }
        let isNew = ledger.record(Marker(time: 0, room: index, publisher: 0, sequence: number), at: index)
        guard isNew else { return }
        let due =
            times.isEmpty
            ? Hex.read(bytes, at: EchoDriver.numberDigits, digits: EchoDriver.timeDigits) ?? now.nanoseconds
            : times[index * plan.window + Int(number % UInt64(plan.window))]
        window.count(arrival: now, due: due, in: &latency)
        if window.isRunning, schedule == nil { sendNext(index, due: now) }
    }

    /// Whether what follows the number and the time is what was sent.
    private func isIntact(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let start = EchoDriver.numberDigits + (carriesTime ? EchoDriver.timeDigits : 0)
        guard bytes.count == plan.bytes, let came = bytes.baseAddress, let went = message.bytes.baseAddress else {
            return false
        }
        return memcmp(came + start, went + start, bytes.count - start) == 0
    }

    package func paced(now: MonotonicTime) {
        guard window.isRunning, count > 0 else { return }
        while let due = schedule?.take(now: now) {
            lag.record(nanoseconds: UInt64(clamping: now.since(due).wholeNanoseconds))
            sendNext(turn, due: due)
            turn = (turn + 1) % count
        }
    }

    package func refused(_ index: Int, id: UInt64, code: UInt64) {}
    package func stop() { window.stop() }

    package var delivered: UInt64 { ledger.counts.unique }
    package var published: [(room: Int, publisher: Int, count: UInt64)] { [(0, 0, sent.reduce(0, +))] }

    package func collect(into result: inout WorkerResult) {
        result.add(ledger.counts)
        result["altered"] += altered
        result["delivered_in_window"] += window.arrivals
        result["published_in_window"] += window.arrivals
        result.latencies["message"] = latency
        if schedule != nil { result.latencies["send_lag"] = lag }
    }
}
