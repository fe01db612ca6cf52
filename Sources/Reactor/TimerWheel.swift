// Deadlines of a loop: a hierarchical timing wheel (Varghese and Lauck) of 4 levels with 256 slots each and a tick of
// 4 ms, so that arming, re-arming and cancelling cost O(1) and no object, however many connections wait for a ping.
// Owns no clock: the loop says what time it is. Deadlines are rounded up to the next tick: never early, at most a tick
// late. The longest wait is 2³² ticks (198 days); longer ones are clamped to it.

package import Bytes

/// Names one armed timer; 0 names none. Stale once the timer has fired or was cancelled.
package struct TimerToken: Hashable, Sendable {
    let index: UInt32
    let generation: UInt32
    /// A token that names no timer.
    package static let none = TimerToken(index: 0, generation: 0)
}

/// A timer that came due: its (now stale) token and what it was armed with.
package struct FiredTimer {
    package let token: TimerToken
    package let payload: UInt64
}

/// A hierarchical timing wheel. Loop-confined.
package struct TimerWheel: ~Copyable {
    /// Length of a tick in nanoseconds.
    package static let tick: UInt64 = 4_000_000
    private static let levels = 4
    private static let slots = 256

    private struct Node {
        var next: UInt32 = 0
        var previous: UInt32 = 0
        var slot: UInt32 = UInt32.max
        var generation: UInt32 = 1
        var due: UInt64 = 0
        var payload: UInt64 = 0
    }

    // Index 0 is never used, so that 0 can mean "none" in links.
    private var nodes: [Node] = [Node()]
    private var firstFree: UInt32 = 0
    private var heads: [UInt32]
    /// Timers per level, so that a jump over hours costs a step per occupied level and not one per tick.
    private var population: InlineArray<4, Int> = .init(repeating: 0)
    private var current: UInt64
    /// Number of armed timers.
    package private(set) var count = 0

    /// A wheel whose time starts at `now`.
    package init(now: MonotonicTime) {
        current = now.nanoseconds / TimerWheel.tick
        heads = Array(repeating: 0, count: TimerWheel.levels * TimerWheel.slots)
    }

    /// Arms a timer for `deadline`; `payload` comes back when it fires.
    package mutating func schedule(at deadline: MonotonicTime, payload: UInt64) -> TimerToken {
        let index: UInt32
        if firstFree != 0 {
            index = firstFree
            firstFree = nodes[Int(index)].next
        } else {
            index = UInt32(nodes.count)
            nodes.append(Node())
        }
        let (rounded, over) = deadline.nanoseconds.addingReportingOverflow(TimerWheel.tick - 1)
        let due = over ? UInt64.max / TimerWheel.tick : rounded / TimerWheel.tick
        nodes[Int(index)].due = min(max(due, current + 1), current + 0xFFFF_FFFF)
        nodes[Int(index)].payload = payload
        link(index)
        count += 1
        return TimerToken(index: index, generation: nodes[Int(index)].generation)
    }

    /// Disarms the timer; a stale token does nothing.
    package mutating func cancel(_ token: TimerToken) {
        let index = Int(token.index)
        guard index > 0, index < nodes.count, nodes[index].generation == token.generation,
            nodes[index].slot != UInt32.max
        else { return }
        unlink(token.index)
        recycle(token.index)
    }

    /// Moves time to `now` and appends every timer that is due to `fired`, in the order of their ticks. They are handed
    /// out as a list rather than to a closure because what runs then arms and cancels timers of this very wheel.
    package mutating func advance(to now: MonotonicTime, fired: inout [FiredTimer]) {
        let target = now.nanoseconds / TimerWheel.tick
        while current < target {
            // Nothing armed: time can jump. Otherwise walk tick by tick, or skip to the next cascade.
            if count == 0 {
                current = target
                return
            }
            current += 1
            cascade()
            expire(Int(current & 255), &fired)
            skipEmpty(upTo: target)
        }
    }

    /// When the next timer may be due: exact within 256 ticks, else the moment of the next cascade; nil without timers.
    package func nextWake() -> MonotonicTime? {
        guard count > 0 else { return nil }
        let boundary = (current | 255) + 1
        var tick = current + 1
        while tick < boundary {
            if heads[Int(tick & 255)] != 0 { break }
            tick += 1
        }
        return MonotonicTime(nanoseconds: tick * TimerWheel.tick)
    }

    /// Jumps over ticks that hold nothing, up to the one before the next cascade that may bring something.
    private mutating func skipEmpty(upTo target: UInt64) {
        if population[0] == 0 {
            let span: UInt64 = population[1] > 0 ? 0xFF : population[2] > 0 ? 0xFFFF : 0xFF_FFFF
            current = min(current | span, target)
            return
        }
        let boundary = min((current | 255), target)
        while current < boundary, heads[Int((current + 1) & 255)] == 0 { current += 1 }
    }

    private mutating func cascade() {
        var level = 1
        var shift: UInt64 = 8
        while level < TimerWheel.levels, current & ((1 << shift) - 1) == 0 {
            let slot = level * TimerWheel.slots + Int((current >> shift) & 255)
            var index = heads[slot]
            heads[slot] = 0
            while index != 0 {
                let next = nodes[Int(index)].next
                population[level] -= 1
                link(index)
                index = next
            }
            level += 1
            shift += 8
        }
    }

    private mutating func expire(_ slot: Int, _ fired: inout [FiredTimer]) {
        while heads[slot] != 0 {
            let index = heads[slot]
            let node = nodes[Int(index)]
            assert(node.due <= current, "a node of level 0 is due when its slot is")
            fired.append(
                FiredTimer(token: TimerToken(index: index, generation: node.generation), payload: node.payload))
            unlink(index)
            recycle(index)
        }
    }

    private mutating func link(_ index: UInt32) {
        let due = nodes[Int(index)].due
        let distance = due > current ? due - current : 0
        let level = distance < 1 << 8 ? 0 : distance < 1 << 16 ? 1 : distance < 1 << 24 ? 2 : 3
        let slot = level * TimerWheel.slots + Int((due >> UInt64(8 * level)) & 255)
        let head = heads[slot]
        population[level] += 1
        nodes[Int(index)].slot = UInt32(slot)
        nodes[Int(index)].next = head
        nodes[Int(index)].previous = 0
        if head != 0 { nodes[Int(head)].previous = index }
        heads[slot] = index
    }

    private mutating func unlink(_ index: UInt32) {
        let node = nodes[Int(index)]
        if node.previous != 0 {
            nodes[Int(node.previous)].next = node.next
        } else {
            heads[Int(node.slot)] = node.next
        }
        if node.next != 0 { nodes[Int(node.next)].previous = node.previous }
        population[Int(node.slot) / TimerWheel.slots] -= 1
        nodes[Int(index)].slot = UInt32.max
    }

    private mutating func recycle(_ index: UInt32) {
        nodes[Int(index)].generation &+= 1
        nodes[Int(index)].next = firstFree
        firstFree = index
        count -= 1
    }
}
