// Bytes of a chaos proxy that may not go yet: kept with their times, released in order by a timer of 4 ms, byte by byte
// or by a bandwidth where the rule says so. Bounded: a direction that holds more than 1 MiB pauses its reading end.

import Bytes
import Reactor

extension ChaosProxy: LoopHook {
    func hold(_ piece: UnsafeRawBufferPointer, _ link: ProxyLink, _ flow: Flow, _ rule: LinkRule) {
        var copy = Array(piece)
        if rule.corruptPerMille > 0, Int.random(in: 0..<1000, using: &random) < rule.corruptPerMille {
            let index = Int.random(in: 0..<copy.count, using: &random)
            copy[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            figures.corrupted += 1
        }
        var due = loop.now + rule.delay
        if rule.jitter > .zero {
            due = due + .nanoseconds(Int64.random(in: 0...max(0, rule.jitter.wholeNanoseconds), using: &random))
        }
        // Jitter must not reorder a TCP stream.
        if let last = link.channels[flow.rawValue].held.last { due = max(due, last.due) }
        link.channels[flow.rawValue].held.append(HeldPiece(due: due, bytes: copy))
        link.channels[flow.rawValue].heldBytes += copy.count
        figures.heldBytes += copy.count
        if link.channels[flow.rawValue].heldBytes > ProxyLink.heldLimit { pause(link, flow) }
        startPump()
    }

    func pause(_ link: ProxyLink, _ flow: Flow) {
        guard !link.channels[flow.rawValue].isPaused, let source = flow == .up ? link.near : link.far else { return }
        link.channels[flow.rawValue].isPaused = true
        loop.pauseReading(source)
    }

    func resume(_ link: ProxyLink, _ flow: Flow) {
        guard link.channels[flow.rawValue].isPaused, let source = flow == .up ? link.near : link.far else { return }
        link.channels[flow.rawValue].isPaused = false
        loop.resumeReading(source)
    }

    func startPump() {
        guard !isPumping else { return }
        isPumping = true
        schedulePump()
    }

    func schedulePump() {
        loop.schedule(after: .milliseconds(4)) { [weak self] in self?.pumpAll() }
    }

    func pumpAll() {
        var isBusy = false
        for link in links.values where pump(link) { isBusy = true }
        isPumping = isBusy
        if isBusy { schedulePump() }
    }

    func releaseAll() {
        for link in links.values { pump(link) }
        // Half-open links whose peer has long gone end now.
        for link in links.values where link.channels.contains(where: \.hasEnded) {
            let left = link.channels[Flow.up.rawValue].hasEnded ? link.far : link.near
            if let left, link.channels.allSatisfy({ $0.held.isEmpty }) { loop.close(left) }
        }
    }

    /// Sends what may go; true when something still waits for its time.
    @discardableResult
    func pump(_ link: ProxyLink) -> Bool {
        var waits = false
        for flow in Flow.allCases where !link.channels[flow.rawValue].held.isEmpty {
            guard let target = flow == .up ? link.far : link.near, flow == .down || link.isFarOpen else { continue }
            let rule = rule(link, flow)
            if rule.isDropping {
                link.channels[flow.rawValue].isDead = true
                figures.droppedBytes += link.channels[flow.rawValue].heldBytes
                link.channels[flow.rawValue].held = []
                link.channels[flow.rawValue].heldBytes = 0
                continue
            }
            if rule.isStalled { continue }
            send(link, flow, target, rule)
            if !link.channels[flow.rawValue].held.isEmpty { waits = true }
            if link.channels[flow.rawValue].heldBytes <= ProxyLink.heldLimit / 2 { resume(link, flow) }
            if link.channels[flow.rawValue].held.isEmpty, link.channels[flow.rawValue].hasEnded {
                loop.closeAfterFlush(target)
            }
        }
        return waits
    }

    func send(_ link: ProxyLink, _ flow: Flow, _ target: ConnectionID, _ rule: LinkRule) {
        var allowed = Int.max
        if rule.bandwidth > 0 {
            let passed = Double(loop.now.since(link.channels[flow.rawValue].creditedAt).wholeNanoseconds) / 1e9
            let credit = link.channels[flow.rawValue].credit + min(1, passed) * Double(rule.bandwidth)
            link.channels[flow.rawValue].creditedAt = loop.now
            allowed = Int(min(credit, Double(rule.bandwidth)))
            link.channels[flow.rawValue].credit = credit - Double(allowed)
        }
        if rule.isByteWise { allowed = min(allowed, 1) }
        while allowed > 0, let first = link.channels[flow.rawValue].held.first, first.due <= loop.now {
            let count = min(allowed, first.bytes.count)
            first.bytes.withUnsafeBytes { loop.write(target, UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            allowed -= count
            link.channels[flow.rawValue].heldBytes -= count
            if count == first.bytes.count {
                link.channels[flow.rawValue].held.removeFirst()
            } else {
                link.channels[flow.rawValue].held[0].bytes.removeFirst(count)
            }
        }
    }

    /// Byte-wise links send one byte an iteration, so that each becomes a segment of its own.
    package func beforeFlush() -> Bool {
        var isBusy = false
        for link in links.values {
            for flow in Flow.allCases where rules[link.kind]?[flow]?.isByteWise == true {
                if !link.channels[flow.rawValue].held.isEmpty {
                    isBusy = true
                    pump(link)
                    break
                }
            }
        }
        return isBusy
    }
}
