// A TCP proxy that misbehaves on command: between gateway and Redis, and between client and gateway. Everything runs on
// one loop. Undisturbed bytes are copied from one connection's read to the other's queue; a disturbed direction keeps
// pieces with their times and is pumped by a hook and a 4 ms timer. Bounded: 1 MiB held a direction, then the reading
// end is paused, so that back-pressure works through the proxy as without it.

import Bytes
package import Reactor

/// Relays connections to one target, with faults.
package final class ChaosProxy: ConnectionHandler, LoopHook {
    private let loop: Loop
    /// Where connections go; may change, for a target that moved.
    package var target: SocketAddress
    /// Where it listens.
    package private(set) var address: SocketAddress
    private var kind: UInt8 = 0
    private var random: SeededRandom
    private var links: [Int: ProxyLink] = [:]
    private var linkOfSlot: [(link: Int, flow: Flow)?] = []
    private var nextNumber = 0
    private var rules: [LinkClass: [Flow: LinkRule]] = [:]
    private var excepted: [LinkClass: [Flow: MonotonicTime]] = [:]
    private var isPumping = false
    /// New connections are taken and reset at once.
    package var isRefusing = false
    /// Whether commands and messages of Redis are looked at.
    private let speaksRESP: Bool
    /// What it did.
    package private(set) var figures = ProxyFigures()
    /// Makes the rewriter of each new link.
    package var makeRewriter: (() -> (any LinkRewriter)?)?

    /// A proxy on a free port of 127.0.0.1 to `target`. `speaksRESP` lets rules tell pub/sub from commands.
    package init(_ loop: Loop, target: SocketAddress, speaksRESP: Bool, seed: UInt64) throws(SystemError) {
        self.loop = loop
        self.target = target
        self.speaksRESP = speaksRESP
        random = SeededRandom(seed: seed)
        guard let any = SocketAddress(host: "127.0.0.1", port: 0) else { throw SystemError("bind", code: 22) }
        address = any
        kind = loop.register(self)
        let listener = try Listener.bind(any, shared: false, handler: kind)
        address = listener.address
        try loop.add(listener)
        loop.addHook(self)
    }

    // MARK: Commands

    /// Sets what links of `classes` suffer in `flows` from now on. With `sparingNew`, links that are opened after this
    /// moment are spared: a fault of connections and not of the way.
    package func set(
        _ rule: LinkRule, for classes: [LinkClass] = LinkClass.allCases, _ flows: [Flow] = Flow.allCases,
        sparingNew: Bool = false
    ) {
        for one in classes {
            for flow in flows {
                rules[one, default: [:]][flow] = rule
                excepted[one, default: [:]][flow] = sparingNew ? loop.now : nil
            }
        }
        if rule.isPlain { releaseAll() }
    }

    /// Ends all rules; what was held goes on.
    package func clear() {
        rules = [:]
        excepted = [:]
        isRefusing = false
        releaseAll()
    }

    /// Ends links of `classes`: with a reset, or politely.
    package func cut(_ classes: [LinkClass] = LinkClass.allCases, reset: Bool) {
        for link in links.values where classes.contains(link.kind) {
            figures.cut += 1
            if reset { Reset.arm(link.near, loop) }
            loop.close(link.near)
        }
    }

    /// Links that are open.
    package func count(_ classes: [LinkClass] = LinkClass.allCases) -> Int {
        links.values.count { classes.contains($0.kind) }
    }

    private func rule(_ link: ProxyLink, _ flow: Flow) -> LinkRule {
        guard let rule = rules[link.kind]?[flow] else { return LinkRule() }
        if let since = excepted[link.kind]?[flow], link.openedAt > since { return LinkRule() }
        return rule
    }

    // MARK: Connections

    private func find(_ id: ConnectionID) -> (ProxyLink, Flow)? {
        guard Int(id.slot) < linkOfSlot.count, let entry = linkOfSlot[Int(id.slot)], let link = links[entry.link],
            (entry.flow == .up ? link.near : link.far) == id
        else { return nil }
        return (link, entry.flow)
    }

    private func remember(_ id: ConnectionID, _ link: ProxyLink, _ flow: Flow) {
        let slot = Int(id.slot)
        if slot >= linkOfSlot.count { linkOfSlot += repeatElement(nil, count: slot + 1 - linkOfSlot.count) }
        linkOfSlot[slot] = (link.number, flow)
    }

    package func opened(_ id: ConnectionID) {
        if let (link, flow) = find(id), flow == .down {
            link.isFarOpen = true
            // What came before the far side was there.
            pump(link)
            return
        }
        figures.accepted += 1
        if isRefusing {
            figures.refused += 1
            Reset.arm(id, loop)
            loop.close(id)
            return
        }
        let link = ProxyLink(number: nextNumber, near: id, openedAt: loop.now)
        nextNumber += 1
        links[link.number] = link
        remember(id, link, .up)
        link.rewriter = makeRewriter?()
        do {
            let far = try loop.connect(to: target, handler: kind)
            link.far = far
            remember(far, link, .down)
        } catch {
            loop.close(id)
        }
    }

    package func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let (link, flow) = find(id) else { return }
        let piece = UnsafeRawBufferPointer(bytes)
        figures.bytes += piece.count
        if let rewriter = link.rewriter {
            var out: [UInt8] = []
            var back: [UInt8] = []
            rewriter.rewrite(piece, flow, into: &out, back: &back)
            out.withUnsafeBytes { take($0, link, flow) }
            if !back.isEmpty { back.withUnsafeBytes { take($0, link, flow == .up ? .down : .up) } }
            return
        }
        if speaksRESP, flow == .up, link.kind == .other { classify(link, piece) }
        if speaksRESP, flow == .down, link.kind == .subscriptions {
            let kept = filter(link, piece)
            kept.withUnsafeBytes { take($0, link, flow) }
        } else {
            take(piece, link, flow)
        }
    }

    private func take(_ piece: UnsafeRawBufferPointer, _ link: ProxyLink, _ flow: Flow) {
        guard !piece.isEmpty else { return }
        let rule = rule(link, flow)
        if rule.isDropping {
            figures.droppedBytes += piece.count
            return
        }
        let target = flow == .up ? link.far : link.near
        let isReady = flow == .down || link.isFarOpen
        if rule.isPlain, isReady, link.channels[flow.rawValue].held.isEmpty, let target {
            loop.write(target, piece)
            // A reader that does not read is felt by the writer, as without a proxy.
            if loop.queuedBytes(target) > ProxyLink.heldLimit { pause(link, flow) }
            return
        }
        hold(piece, link, flow, rule)
    }

    private func hold(_ piece: UnsafeRawBufferPointer, _ link: ProxyLink, _ flow: Flow, _ rule: LinkRule) {
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

    private func pause(_ link: ProxyLink, _ flow: Flow) {
        guard !link.channels[flow.rawValue].isPaused, let source = flow == .up ? link.near : link.far else { return }
        link.channels[flow.rawValue].isPaused = true
        loop.pauseReading(source)
    }

    private func resume(_ link: ProxyLink, _ flow: Flow) {
        guard link.channels[flow.rawValue].isPaused, let source = flow == .up ? link.near : link.far else { return }
        link.channels[flow.rawValue].isPaused = false
        loop.resumeReading(source)
    }

    package func drained(_ id: ConnectionID) {
        guard let (link, flow) = find(id) else { return }
        let inbound = flow == .up ? Flow.down : Flow.up
        if link.channels[inbound.rawValue].heldBytes <= ProxyLink.heldLimit / 2 { resume(link, inbound) }
    }

    package func closed(_ id: ConnectionID, _ reason: CloseReason) {
        guard let (link, flow) = find(id) else { return }
        linkOfSlot[Int(id.slot)] = nil
        let channel = link.channels[flow.rawValue]
        let other = flow == .up ? link.far : link.near
        guard let other else {
            links[link.number] = nil
            return
        }
        // A half-open link hides that its peer is gone.
        if rule(link, flow).isDropping, loop.isOpen(other) {
            link.channels[flow.rawValue].hasEnded = true
            return
        }
        if !channel.held.isEmpty, loop.isOpen(other) {
            link.channels[flow.rawValue].hasEnded = true
            startPump()
            return
        }
        links[link.number] = loop.isOpen(other) ? link : nil
        if case .failed = reason { Reset.arm(other, loop) }
        if case .failed = reason { loop.close(other) } else { loop.closeAfterFlush(other) }
    }

    // MARK: Held bytes

    private func startPump() {
        guard !isPumping else { return }
        isPumping = true
        schedulePump()
    }

    private func schedulePump() {
        loop.schedule(after: .milliseconds(4)) { [weak self] in self?.pumpAll() }
    }

    private func pumpAll() {
        var isBusy = false
        for link in links.values where pump(link) { isBusy = true }
        isPumping = isBusy
        if isBusy { schedulePump() }
    }

    private func releaseAll() {
        for link in links.values { pump(link) }
        // Half-open links whose peer has long gone end now.
        for link in links.values where link.channels.contains(where: \.hasEnded) {
            let left = link.channels[Flow.up.rawValue].hasEnded ? link.far : link.near
            if let left, link.channels.allSatisfy({ $0.held.isEmpty }) { loop.close(left) }
        }
    }

    /// Sends what may go; true when something still waits for its time.
    @discardableResult
    private func pump(_ link: ProxyLink) -> Bool {
        var waits = false
        for flow in Flow.allCases where !link.channels[flow.rawValue].held.isEmpty {
            guard let target = flow == .up ? link.far : link.near, flow == .down || link.isFarOpen else { continue }
            let rule = rule(link, flow)
            if rule.isDropping {
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

    private func send(_ link: ProxyLink, _ flow: Flow, _ target: ConnectionID, _ rule: LinkRule) {
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

    // MARK: RESP

    /// A link whose first command is SUBSCRIBE carries messages; one that publishes or runs scripts carries commands.
    private func classify(_ link: ProxyLink, _ piece: UnsafeRawBufferPointer) {
        guard !link.channels[0].isOpaque else { return }
        link.channels[0].partial += piece
        while !link.channels[0].partial.isEmpty, link.kind == .other {
            var used = 0
            link.channels[0].partial.withUnsafeBytes { bytes in
                switch RESPFrames.extent(bytes) {
                case .needMore: return
                case .broken: used = -1
                case .length(let length):
                    used = length
                    let value = UnsafeRawBufferPointer(rebasing: bytes[..<length])
                    guard let words = RESPFrames.bulks(value), let name = words.first else { return }
                    if RESPFrames.equals(value, name, "SUBSCRIBE") || RESPFrames.equals(value, name, "SSUBSCRIBE") {
                        link.kind = .subscriptions
                    } else if !ChaosProxy.isSetup(value, name) {
                        link.kind = .commands
                    }
                }
            }
            if used < 0 { link.channels[0].isOpaque = true }
            guard used > 0 else { return }
            link.channels[0].partial.removeFirst(used)
        }
        if link.kind != .other { link.channels[0].partial = [] }
    }

    private static func isSetup(_ value: UnsafeRawBufferPointer, _ name: Range<Int>) -> Bool {
        let setup: [StaticString] = ["AUTH", "HELLO", "SELECT", "CLIENT", "PING", "INFO", "ROLE"]
        return setup.contains { RESPFrames.equals(value, name, $0) }
    }

    /// What is left of a piece of a pub/sub link when messages have been taken out.
    private func filter(_ link: ProxyLink, _ piece: UnsafeRawBufferPointer) -> [UInt8] {
        let rule = rule(link, .down)
        if link.channels[1].isOpaque { return Array(piece) }
        var bytes = link.channels[1].partial
        bytes += piece
        var kept: [UInt8] = []
        var at = 0
        bytes.withUnsafeBytes { all in
            while at < all.count {
                let rest = UnsafeRawBufferPointer(rebasing: all[at...])
                switch RESPFrames.extent(rest) {
                case .needMore: return
                case .broken:
                    link.channels[1].isOpaque = true
                    kept += rest
                    at = all.count
                case .length(let length):
                    let value = UnsafeRawBufferPointer(rebasing: rest[..<length])
                    if !shouldDrop(value, rule) { kept += value }
                    at += length
                }
            }
        }
        link.channels[1].partial = Array(bytes[at...])
        return kept
    }

    private func shouldDrop(_ value: UnsafeRawBufferPointer, _ rule: LinkRule) -> Bool {
        guard let words = RESPFrames.bulks(value), words.count == 3, RESPFrames.equals(value, words[0], "MESSAGE")
        else { return false }
        figures.messages += 1
        guard rule.dropMessagesPer10000 > 0 else { return false }
        // Rooms carry their name in braces.
        if rule.sparesOwnChannel, !value[words[1]].contains(UInt8(ascii: "{")) { return false }
        guard Int.random(in: 0..<10_000, using: &random) < rule.dropMessagesPer10000 else { return false }
        figures.droppedMessages += 1
        return true
    }
}
