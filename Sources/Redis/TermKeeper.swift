// Which life of the master a node works in, and whether it may publish there. A store that was restarted or replaced
// may have forgotten what it acknowledged; so nobody writes into a new term before the rooms were compared with what
// the nodes have seen of them (fencing), and a node that comes late vouches for nothing.
//
//     absent ──link ready──▶ announcing ──closed──▶ fencing ──fenced──▶ waiting ──open──▶ open
//        ▲                      ▲   └──open, late──▶ fencing ──fenced──────────────────────▶ │
//        │                      └──────────────────── stale ◀────────────────────────────────┤
//        └──────────────────────────────────────── link lost ◀───────────────────────────────┘
//
// The first term of a process is entered without fencing: it has seen nothing. Sans-IO: the engine reports answers and
// does what `step` says. Owned by one engine, loop-confined, bounded by the nodes of the cluster.

/// The term of one node.
package struct TermKeeper {
    /// Where the node stands.
    package enum Phase: Equatable, Sendable {
        /// No command link.
        case absent
        /// The registry is to be asked, or was.
        case announcing
        /// Every room that was seen is being fenced.
        case fencing(mayVouch: Bool)
        /// Fenced; others are awaited.
        case waiting
        /// Rooms may be read and written.
        case open
    }

    /// What the engine is to do next.
    package enum Step: Equatable, Sendable {
        case none
        /// Ask the registry (`AnnounceTermCall`).
        case announce
        /// Fence every room with what was seen of it, then say `fenced`.
        case fence(mayVouch: Bool)
        /// Ask again whether the term is open (`BeatCall`), after a short while.
        case poll
        /// The term is open.
        case open
    }

    /// Nodes that are remembered at most: far more than a cluster has.
    package static let rememberedNodes = 4096

    private let node: [UInt8]
    /// Where the node stands.
    package private(set) var phase = Phase.absent
    /// The term that is being entered or was; nil before the first answer.
    package private(set) var term: RedisTerm?
    /// The last term that was open here: in it was seen what was seen. Nil: nothing was.
    package private(set) var lived: RedisTerm?
    /// The other nodes of the registry that was seen last.
    package private(set) var remembered: [[UInt8]] = []
    /// The highest number that was seen.
    package private(set) var highestKnown: UInt64 = 0
    /// How long the term may still be closed, and for how many nodes, for the log.
    package private(set) var awaited = 0
    private var life: UInt64 = 0

    /// A keeper for the node's incarnation `node`.
    package init(node: [UInt8]) { self.node = node }

    /// Whether rooms may be read and written, with `term`.
    package var isOpen: Bool { phase == .open }

    /// A command link has logged in and found the master in `life`. True when that is another one than before.
    package mutating func linkReady(life: UInt64) -> Bool {
        let isOther = life != self.life
        self.life = life
        phase = .announcing
        return isOther
    }

    /// The command link is gone.
    package mutating func linkLost() { phase = .absent }

    /// A script said that another term counts, or the registry is gone. What was seen so far is taken down now. A room
    /// may be in a later term than the registry: it outlives it. Its number has to be known, or the registry would name
    /// the same term again and again.
    package mutating func stale(_ other: RedisTerm? = nil) -> Step {
        if let other { highestKnown = max(highestKnown, other.number) }
        guard phase != .absent, phase != .announcing else { return .none }
        phase = .announcing
        return .announce
    }

    /// The registry's answer to `AnnounceTermCall`, or to a beat.
    package mutating func answered(_ result: TermResult) -> Step {
        guard phase != .absent else { return .none }
        switch result {
        case .staleTerm(let other):
            if let other { highestKnown = max(highestKnown, other.number) }
            phase = .announcing
            return .announce
        case .open(let number, let nodes):
            remember(nodes)
            return found(number, isOpen: true)
        case .closed(let number, _, let awaited, let nodes):
            remember(nodes)
            self.awaited = awaited
            return found(number, isOpen: false)
        }
    }

    /// Every room was fenced.
    package mutating func fenced() -> Step {
        guard case .fencing(let mayVouch) = phase else { return .none }
        if mayVouch {
            phase = .waiting
            return .poll
        }
        return enter()
    }

    /// Whether a beat may say that this node has fenced.
    package var hasFenced: Bool { phase == .waiting || phase == .open }

    private mutating func found(_ number: UInt64, isOpen: Bool) -> Step {
        let term = RedisTerm(number: number, life: life)
        let isOther = term != self.term
        self.term = term
        highestKnown = max(highestKnown, number)
        switch (phase, isOpen) {
        case (.absent, _): return .none
        case (.open, true) where !isOther: return .none
        case (.fencing, _) where !isOther: return .none
        case (.waiting, false) where !isOther: return .poll
        case (.waiting, true) where !isOther: return enter()
        case (_, true):
            // Open, and either lived in before the link was lost, or nothing was seen: nothing to compare.
            if lived == nil || lived == term { return enter() }
            return fence(mayVouch: false)
        case (_, false): return fence(mayVouch: true)
        }
    }

    private mutating func fence(mayVouch: Bool) -> Step {
        phase = .fencing(mayVouch: mayVouch)
        return .fence(mayVouch: mayVouch)
    }

    private mutating func enter() -> Step {
        phase = .open
        lived = term
        return .open
    }

    private mutating func remember(_ nodes: [[UInt8]]) {
        remembered = nodes.filter { $0 != node }
        if remembered.count > TermKeeper.rememberedNodes {
            remembered.removeLast(remembered.count - TermKeeper.rememberedNodes)
        }
    }
}
