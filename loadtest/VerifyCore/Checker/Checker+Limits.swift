// I12: what a limited room took over all gateways, and what it refused. A publication was taken at some moment between
// its sending and its acknowledgement: what lies wholly inside a window was taken in it, so that no delay can make a
// limiter look too generous. On the driver's loop; O(publications of half a minute) an acknowledgement.

package import Bytes

extension Checker {
    /// Seconds of the windows in which acknowledgements are counted.
    static let limitWindows: [Double] = [1, 3, 10, 30]
    /// What clocks and rounding may add.
    static let limitTolerance = 0.02
    /// So long after attempts came too fast a refusal is nothing to wonder about.
    static let refusalMemory: UInt64 = 5_000_000_000

    /// A publication is sent to `room`, for the first time or again.
    package func attempted(_ room: Int, now: MonotonicTime) {
        guard let limit = plan.limits[room] else { return }
        var books = limits[room, default: LimitBooks()]
        let passed = Double(now.nanoseconds - min(books.levelAt, now.nanoseconds)) / 1e9
        books.level = books.levelAt == 0 ? limit.burst : min(limit.burst, books.level + passed * limit.rate * 0.8)
        books.levelAt = now.nanoseconds
        if books.level >= 1 { books.level -= 1 } else { books.overAt = now.nanoseconds }
        limits[room] = books
    }

    /// A publication that was sent at `sentAt` is acknowledged.
    func limitTook(_ room: Int, sentAt: UInt64, now: MonotonicTime) {
        guard let limit = plan.limits[room] else { return }
        figures.limitedAcks += 1
        guard !(phase != .calm && mayChangeEpoch) else {
            // Whoever forgets everything forgets how much it has taken.
            limits[room]?.accepted = []
            return
        }
        var books = limits[room, default: LimitBooks()]
        defer { limits[room] = books }
        books.accepted.append((sentAt, now.nanoseconds))
        let longest = UInt64((Checker.limitWindows.max() ?? 0) * 1e9)
        let oldest = now.nanoseconds - min(now.nanoseconds, longest)
        let outside = books.accepted.prefix { $0.ackedAt < oldest }.count
        if outside > 0 { books.accepted.removeFirst(outside) }
        for window in Checker.limitWindows {
            let from = now.nanoseconds - min(now.nanoseconds, UInt64(window * 1e9))
            let count = books.accepted.reduce(0) { $0 + ($1.sentAt >= from ? 1 : 0) }
            let most = limit.rate * window * (1 + Checker.limitTolerance) + limit.burst + 1
            guard Double(count) > most else { continue }
            if !books.isTold {
                violate(
                    .limiter, room: room, now: now,
                    "\(count) publications were taken within \(Int(window)) s, allowed are \(Int(most))")
            }
            books.isTold = true
            return
        }
        books.isTold = false
    }

    /// A publication was refused with 111; `retryAfter` are the milliseconds that the refusal names.
    package func rateRefused(_ room: Int, retryAfter: UInt64, now: MonotonicTime) {
        guard plan.limits[room] != nil else {
            violate(.limiter, room: room, now: now, "a room without a limit refused a publication with 111")
            return
        }
        figures.rateRefusals += 1
        if phase == .calm { figures.rateRefusalsInCalm += 1 }
        if retryAfter == 0 {
            violate(.limiter, room: room, now: now, "a refusal does not say when to try again")
        }
        let books = limits[room, default: LimitBooks()]
        let isExcused = books.overAt.map { now.nanoseconds < $0 + Checker.refusalMemory } ?? false
        if !isExcused {
            violate(.limiter, room: room, now: now, "a publication was refused though few were sent")
        }
    }

    /// Forgets what was taken: the limiter's state may be gone.
    func forgetLimits() { for room in plan.limits.keys { limits[room]?.accepted = [] } }
}
