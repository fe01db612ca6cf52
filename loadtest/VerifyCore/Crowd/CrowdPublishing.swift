// Publications of a crowd at fixed times, whatever came back, and the time they take to each member: what good clients
// feel while others attack. The first member of each room that the worker has publishes. On the worker's loop.

import Bytes
import LoadCore
import Reactor
import Wire

/// A worker's publications.
final class CrowdPublishing {
    private let crowd: Crowd
    private let share: CrowdShare
    private var schedule: RateSchedule
    private let pacer: Pacer
    private var isRunning = true
    private let publishers: [(seat: Int, room: Int)]
    private var turn = 0
    private var data = ByteBuffer()
    /// The phase to which latencies belong now.
    var phase = "baseline"
    private var published: [String: UInt64] = [:]
    private var deliveries: [String: UInt64] = [:]
    private var refused: UInt64 = 0
    private var latencies: [String: LatencyHistogram] = [:]
    private var lag = LatencyHistogram()

    /// Publishes `rate` messages a second from now on; nil without members.
    init?(_ loop: Loop, _ crowd: Crowd, _ share: CrowdShare, rate: Double) {
        guard rate > 0 else { return nil }
        var first: [Int: Int] = [:]
        for (seat, number) in share.own.enumerated() where first[share.room(of: number)] == nil {
            first[share.room(of: number)] = seat
        }
        guard !first.isEmpty else { return nil }
        publishers = first.sorted { $0.key < $1.key }.map { ($0.value, $0.key) }
        self.crowd = crowd
        self.share = share
        schedule = RateSchedule(start: .now() + .milliseconds(20), rate: rate)
        pacer = Pacer(loop: loop, schedule: schedule)
        guard pacer.start() else { return nil }
    }

    /// Publishes nothing more.
    func stop() {
        isRunning = false
        pacer.stop()
    }

    /// Some publications are due.
    func paced() {
        guard isRunning else { return }
        let now = MonotonicTime.now()
        while let due = schedule.take(now: now) {
            let (seat, room) = publishers[turn]
            turn = (turn + 1) % publishers.count
            guard crowd.isIn(seat) else { continue }
            lag.record(nanoseconds: UInt64(clamping: now.since(due).wholeNanoseconds))
            published[phase, default: 0] += 1
            data.removeAll()
            data.append(UInt8(ascii: "\""))
            Marker(time: due.nanoseconds, room: room, publisher: share.worker, sequence: schedule.taken).write(
                to: data.reserve(Marker.length))
            data.advance(by: Marker.length)
            data.append(UInt8(ascii: "\""))
            crowd.send(seat, share.name(of: room)) { name in
                var request = PublishRequest()
                request.room = name
                request.data = data.bytes
                return .publish(request)
            }
        }
    }

    /// A member got a publication.
    func delivered(_ publication: Publication) {
        let now = MonotonicTime.now()
        Marker.forEach(in: publication.data) { mark in
            deliveries[phase, default: 0] += 1
            latencies[phase, default: LatencyHistogram()].record(
                nanoseconds: now.nanoseconds - min(mark.time, now.nanoseconds))
        }
    }

    /// A publisher got its answer.
    func answered(_ reply: Reply) {
        if case .error = reply { refused += 1 }
    }

    /// Adds what was counted to `result`.
    func collect(into result: inout WorkerResult) {
        for (phase, count) in published { result["published.\(phase)"] += count }
        for (phase, count) in deliveries { result["delivered.\(phase)"] += count }
        result["refused"] += refused
        for (phase, histogram) in latencies { result.latencies["delivery.\(phase)"] = histogram }
        result.latencies["send_lag"] = lag
    }
}

/// New clients at a rate, each of which joins a room and says goodbye: what somebody meets who comes in now.
final class Newcomers: CrowdDelegate {
    private let loop: Loop
    private var crowd: Crowd?
    private var schedule: RateSchedule
    private var isRunning = true
    private var idle: [Int]
    private var tried: UInt64 = 0
    private var admitted: UInt64 = 0
    private var late: UInt64 = 0

    /// `rate` clients a second, at most `seats` of them at a time.
    init(_ loop: Loop, _ share: CrowdShare, rate: Double, seats: Int) {
        self.loop = loop
        schedule = RateSchedule(start: .now(), rate: rate)
        idle = Array((0..<seats).reversed())
        let gateways = share.gateways.compactMap(Endpoint.address)
        let crowd = Crowd(
            loop, gateways: gateways, count: seats, seed: share.seed &+ 99, delegate: self,
            identity: { index in
                SeatIdentity(
                    user: "n\(share.worker).\(index)", gateway: index,
                    rooms: [share.name(of: index % max(1, share.rooms))])
            })
        crowd.sources = CrowdWorker.sources(share)
        crowd.openTimeout = .seconds(10)
        self.crowd = crowd
        tick()
    }

    /// Nobody new comes any more; who is on the way in is waited for.
    func stop() { isRunning = false }

    private func tick() {
        guard isRunning else { return }
        while schedule.take(now: .now()) != nil {
            tried += 1
            guard let seat = idle.popLast() else {
                // All seats wait for the server.
                late += 1
                continue
            }
            crowd?.open(seat)
        }
        loop.schedule(after: .milliseconds(4)) { [weak self] in self?.tick() }
    }

    func changed(_ seat: Int, isOut: Bool) {
        admitted += 1
        crowd?.leave(seat, .close)
    }

    func ended(_ seat: Int, wasIn: Bool, isOwn: Bool) { idle.append(seat) }

    /// Adds what was counted to `result`.
    func collect(into result: inout WorkerResult) {
        result["newcomers.tried"] += tried
        result["newcomers.admitted"] += admitted
        result["newcomers.not_tried"] += late
        guard let crowd else { return }
        result.latencies["newcomers"] = crowd.joinLatency
        for (reason, times) in crowd.failures { result.failures["newcomer: " + reason, default: 0] += UInt64(times) }
    }
}
