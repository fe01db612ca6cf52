// A TCP proxy that misbehaves on command: between gateway and Redis, and between client and gateway. Everything runs on
// one loop. Undisturbed bytes are copied from one connection's read to the other's queue; a disturbed direction keeps
// pieces with their times and is pumped by a hook and a 4 ms timer. Bounded: 1 MiB held a direction, then the reading
// end is paused, so that back-pressure works through the proxy as without it.

import Bytes
package import Reactor

/// Relays connections to one target, with faults.
package final class ChaosProxy: ConnectionHandler {
    let loop: Loop
    /// Where connections go; may change, for a target that moved.
    package var target: SocketAddress
    /// Where it listens.
    package private(set) var address: SocketAddress
    var kind: UInt8 = 0
    var random: SeededRandom
    var links: [Int: ProxyLink] = [:]
    var linkOfSlot: [(link: Int, flow: Flow)?] = []
    var nextNumber = 0
    var rules: [LinkClass: [Flow: LinkRule]] = [:]
    var excepted: [LinkClass: [Flow: MonotonicTime]] = [:]
    var isPumping = false
    /// New connections are taken and reset at once.
    package var isRefusing = false
    /// Whether commands and messages of Redis are looked at.
    private let speaksRESP: Bool
    /// What it did.
    package internal(set) var figures = ProxyFigures()
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

    func rule(_ link: ProxyLink, _ flow: Flow) -> LinkRule {
        guard let rule = rules[link.kind]?[flow] else { return LinkRule() }
        if let since = excepted[link.kind]?[flow], link.openedAt > since { return LinkRule() }
        return rule
    }

    // MARK: Connections

    func find(_ id: ConnectionID) -> (ProxyLink, Flow)? {
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
            rewriter.rewrite(piece, flow, into: &out)
            out.withUnsafeBytes { take($0, link, flow) }
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

    func take(_ piece: UnsafeRawBufferPointer, _ link: ProxyLink, _ flow: Flow) {
        guard !piece.isEmpty else { return }
        let rule = rule(link, flow)
        if rule.isDropping || link.channels[flow.rawValue].isDead {
            link.channels[flow.rawValue].isDead = true
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
        if rule(link, flow).isDropping || link.channels[flow.rawValue].isDead, loop.isOpen(other) {
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
}
