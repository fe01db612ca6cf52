// Which of this node's own probes are missing on a subscriber link. A probe is published through the command link; that
// it arrives proves that both links reach the same server and that publications flow (RC-04).
//
// Sans-IO, owned by PubSubLink. Bounded by `awaitedLimit`.

import Bytes

/// The probes of one link.
struct ProbeWatch: ~Copyable {
    struct Awaited: BitwiseCopyable {
        var sequence: UInt64
        var sentAt: UInt64
        var answeredAt: UInt64
    }

    /// Probes that are awaited at once; one more is not, since the oldest one decides long before.
    static let awaitedLimit = 16

    private let timeout: Duration
    private var awaited = Ring<Awaited>()
    private var last: UInt64?
    private var highestArrived: UInt64?
    private var since = MonotonicTime(nanoseconds: 0)

    init(timeout: Duration) { self.timeout = timeout }

    /// Begins with a subscription that was confirmed at `now`.
    mutating func begin(now: MonotonicTime) {
        awaited.removeAll()
        last = nil
        highestArrived = nil
        since = now
    }

    /// The probe `sequence` was published between `sentAt` and `answeredAt`.
    mutating func await(_ sequence: UInt64, sentAt: MonotonicTime, answeredAt: MonotonicTime) {
        // What was sent before the subscription was confirmed may have been published before it, too.
        guard sentAt >= since, awaited.count < ProbeWatch.awaitedLimit else { return }
        if let highestArrived, sequence <= highestArrived { return }
        if let last, sequence <= last { return }
        awaited.append(
            Awaited(sequence: sequence, sentAt: sentAt.nanoseconds, answeredAt: answeredAt.nanoseconds))
        last = sequence
    }

    /// The probe `sequence` has arrived: it and whatever was sent before it is not awaited any more.
    mutating func arrived(_ sequence: UInt64) {
        highestArrived = max(sequence, highestArrived ?? 0)
        while let first = awaited.first, first.sequence <= sequence { _ = awaited.popFirst() }
    }

    /// When the link is deaf unless a probe arrives; nil while none is awaited. While bytes flow, the server may be
    /// sending a backlog in front of the probe; but a link on which everything arrives but the probe is deaf, too.
    func deadline(lastReceived: MonotonicTime) -> MonotonicTime? {
        guard let first = awaited.first else { return nil }
        let answeredAt = MonotonicTime(nanoseconds: first.answeredAt)
        let end = MonotonicTime(nanoseconds: first.sentAt) + timeout * 3
        return min(max(answeredAt, lastReceived) + timeout, end)
    }

    /// The number that a probe's payload is: decimal, without leading zeros; nil when it is none.
    static func sequence(in payload: UnsafeRawBufferPointer) -> UInt64? {
        guard !payload.isEmpty, payload.count == 1 || payload[0] != UInt8(ascii: "0") else { return nil }
        var value: UInt64 = 0
        for byte in payload {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            let (scaled, over) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = scaled.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
            guard !over, !carry else { return nil }
            value = sum
        }
        return value
    }
}
