// Judges a run while it goes on: what publishers sent and were told, what subscribers got, what the histories hold in
// the end. Pure: no I/O, no clock. Every call is O(1), so that one driver process can check 20,000 deliveries a second;
// only `finish` walks all subscriptions once. Called on the driver's loop; bounded by the publications of the run.
//
// Of the invariants that a delivery breaks only the first is counted (isolation, phantom, offset, gap, order), so that
// a defect shows under its own name and not under that of its consequences.

package import Bytes
package import LoadCore

/// Checks one run.
package final class Checker {
    let plan: CheckerPlan
    var rooms: [RoomRecord]
    var subscriptions: [SubscriptionRecord]
    private var ring = EventRing()
    private let origin: UInt64

    /// Times that each invariant was broken.
    package private(set) var counts: [Invariant: Int] = [:]
    /// The first of each, at most `offendersPerInvariant`.
    package private(set) var offenders: [ViolationRecord] = []
    private var unfinishedWindows: [Int] = []
    static let offendersPerInvariant = 8

    /// What the run does at the moment.
    package private(set) var phase = Phase.calm
    /// Since when nothing has been broken; nil while something is.
    var calmSince: UInt64?
    /// Whether a fault that loses data of Redis has been injected, so that epochs may change.
    package private(set) var mayHaveLostData = false
    /// Whether a new epoch is legal now: from such a fault until the next one that loses nothing.
    private(set) var mayChangeEpoch = false
    /// Whether new epochs are legal although nothing is lost: each of them continues the one before it wholly.
    private(set) var mayRenewEpoch = false

    /// What is counted beside violations.
    package var figures = CheckerFigures()
    var gauges = GaugeBooks()
    var presence: PresenceBooks
    var limits: [Int: LimitBooks] = [:]
    private var recovery: (mark: Int32, since: UInt64, count: Int) = (0, .max, 0)

    /// A checker for `plan`; the run begins at `now`.
    package init(_ plan: CheckerPlan, now: MonotonicTime) {
        self.plan = plan
        origin = now.nanoseconds
        calmSince = now.nanoseconds
        let publishers = plan.publishers + 1
        rooms = (0..<plan.rooms).map { _ in RoomRecord(publications: Array(repeating: [], count: publishers)) }
        let seen = Array(repeating: PublisherView(), count: publishers)
        subscriptions = (0..<plan.rooms * plan.subscribers).map { _ in SubscriptionRecord(seen: seen) }
        presence = PresenceBooks(subscribers: plan.subscribers, rooms: plan.rooms)
    }

    func cell(_ subscriber: Int, _ room: Int) -> Int { subscriber * plan.rooms + room }

    /// The number of the epoch `name` of `room`; a new one for a name that no server has told before.
    package func epoch(_ room: Int, _ name: UnsafeRawBufferPointer) -> Int32 {
        guard !name.isEmpty else { return -1 }
        if let known = knownEpoch(room, name) { return known }
        rooms[room].epochs.append(EpochRecord(name: Array(name)))
        return Int32(rooms[room].epochs.count - 1)
    }

    private func knownEpoch(_ room: Int, _ name: UnsafeRawBufferPointer) -> Int32? {
        let index = rooms[room].epochs.firstIndex { $0.name.elementsEqual(name) }
        return index.map { Int32($0) }
    }

    /// The name of epoch number `epoch` of `room`, as it goes into a command; nil for one that no server told.
    package func epochName(_ room: Int, _ epoch: Int32) -> [UInt8]? {
        epoch >= 0 && Int(epoch) < rooms[room].epochs.count ? rooms[room].epochs[Int(epoch)].name : nil
    }

    // MARK: Phases

    /// The run breaks something, heals it, or has calmed down again. `renewsEpochs`: the fault loses nothing, but rooms
    /// may go on in a new epoch that continues the old one.
    package func enter(_ phase: Phase, losesData: Bool = false, renewsEpochs: Bool = false, now: MonotonicTime) {
        if phase == .calm, self.phase != .calm { calmSince = now.nanoseconds }
        if phase != .calm { calmSince = nil }
        self.phase = phase
        if phase == .fault {
            mayChangeEpoch = losesData
            mayRenewEpoch = renewsEpochs && !losesData
        }
        if losesData { mayHaveLostData = true }
        if mayChangeEpoch { forgetLimits() }
        log(.fault, room: -1, who: -1, epoch: Int32(phase.rawValue), now: now)
    }

    /// Begins to count subscriptions that get a message which was sent from now on.
    package func beginRecovery(now: MonotonicTime) {
        recovery = (recovery.mark + 1, now.nanoseconds, 0)
    }

    /// Subscriptions that got a message sent since `beginRecovery`.
    package var recoveredSubscriptions: Int { recovery.count }

    func noteRecovery(_ index: Int, sentAt: UInt64) {
        guard sentAt >= recovery.since, subscriptions[index].recoveryMark != recovery.mark else { return }
        subscriptions[index].recoveryMark = recovery.mark
        recovery.count += 1
    }

    /// Redis has come back with `room` as it was at offset `top` of the epoch `name`: the messages behind it are gone,
    /// those up to it must be kept for everybody who comes back from there.
    package func rolledBack(_ room: Int, to top: UInt64, epoch name: [UInt8], now: MonotonicTime) {
        guard let epoch = name.withUnsafeBytes({ knownEpoch(room, $0) }) else { return }
        rooms[room].epochs[Int(epoch)].survivors = top
        // What the snapshot does not know of is gone wholly.
        for later in rooms[room].epochs.indices where later > Int(epoch) { rooms[room].epochs[later].survivors = 0 }
        log(.rolledBack, room: room, who: -1, epoch: epoch, offset: top, now: now)
    }

    // MARK: Books

    func log(
        _ kind: RunEventKind, room: Int, who: Int, epoch: Int32 = -1, offset: UInt64 = 0,
        message: MessageID = MessageID(0, 0), now: MonotonicTime
    ) {
        ring.append(
            RunEvent(
                time: now.nanoseconds, kind: kind, room: Int32(room), who: Int32(who), epoch: epoch, offset: offset,
                message: message))
        if !unfinishedWindows.isEmpty { finishWindows(now: now) }
    }

    /// Counts a broken promise; its text is made for the first few only.
    func violate(_ invariant: Invariant, room: Int, now: MonotonicTime, _ text: @autoclosure () -> String) {
        let before = counts[invariant, default: 0]
        counts[invariant] = before + 1
        log(.violation, room: room, who: -1, now: now)
        guard before < Checker.offendersPerInvariant else { return }
        offenders.append(ViolationRecord(invariant: invariant, time: now, room: room, text: text()))
        unfinishedWindows.append(offenders.count - 1)
    }

    /// Counts a broken promise that somebody else noticed: the rig, or the clients.
    package func report(_ invariant: Invariant, room: Int = -1, now: MonotonicTime, _ text: String) {
        violate(invariant, room: room, now: now, text)
    }

    /// Cuts out the windows of violations that lie far enough back.
    func finishWindows(now: MonotonicTime, all: Bool = false) {
        let width = UInt64(clamping: plan.window.wholeNanoseconds)
        while let first = unfinishedWindows.first {
            let time = offenders[first].time.nanoseconds
            guard all || now.nanoseconds > time + width else { return }
            let range = (time > width ? time - width : 0)...(time + width)
            offenders[first].window = ring.window(room: offenders[first].room, range, limit: 400)
            unfinishedWindows.removeFirst()
        }
    }

    /// The window of a violation as lines.
    package func lines(of violation: ViolationRecord) -> [String] { violation.window.map { $0.line(origin: origin) } }

    /// Milliseconds since the run began.
    package func milliseconds(_ time: MonotonicTime) -> Int64 {
        (Int64(clamping: time.nanoseconds) - Int64(clamping: origin)) / 1_000_000
    }

    /// The record of `id` in `room`, or nil when it was never sent.
    func exists(_ room: Int, _ id: MessageID) -> Bool {
        id.publisher >= 0 && id.publisher <= plan.publishers && id.sequence >= 1
            && id.sequence <= rooms[room].publications[id.publisher].count
    }

    /// Whether nothing is known to be broken.
    package var isClean: Bool { counts.isEmpty }
}

/// What the checker counts beside violations.
package struct CheckerFigures: Sendable {
    /// Publications sent.
    package var invoked = 0
    /// Publications acknowledged.
    package var acked = 0
    /// Those acknowledged at once while nothing was broken.
    package var ackedInCalm = 0
    /// Publications sent while nothing was broken.
    package var invokedInCalm = 0
    /// Publications that were definitely not published.
    package var refused = 0
    /// Publications that were given up.
    package var unknown = 0
    /// Acknowledgements of a repetition.
    package var retriesAcked = 0
    /// Deliveries to subscribers, backlogs included.
    package var deliveries = 0
    /// Deliveries that came with a resume.
    package var backlogDeliveries = 0
    /// Repetitions of a backlog behind it: allowed, a client drops them.
    package var rawDuplicates = 0
    /// Subscribe replies to a claim of an earlier position.
    package var resumes = 0
    /// Those with `recovered: true`.
    package var recovered = 0
    /// Those with `recovered: false`.
    package var notRecovered = 0
    /// Replies whose top was below what had been acknowledged when it was asked: late, not lost.
    package var staleTops = 0
    /// Subscriptions that were told to start anew (2500).
    package var told = 0
    /// Changes of a room's epoch.
    package var newEpochs = 0
    /// Lists of members that gateways showed.
    package var presenceLists = 0
    /// Joins and leaves that observers were told.
    package var presenceEvents = 0
    /// Acknowledgements of rooms that have a limit.
    package var limitedAcks = 0
    /// Refusals with 111, and those while nothing was broken.
    package var rateRefusals = 0
    package var rateRefusalsInCalm = 0
    /// Histories read back at the end.
    package var historiesRead = 0
    /// From publish to delivery, by phase.
    package var deliveryLatency = Phase.allCases.map { _ in LatencyHistogram() }
    /// From publish to acknowledgement, by phase.
    package var ackLatency = Phase.allCases.map { _ in LatencyHistogram() }
    /// From acknowledgement to delivery, by phase.
    package var stableLatency = Phase.allCases.map { _ in LatencyHistogram() }
}
