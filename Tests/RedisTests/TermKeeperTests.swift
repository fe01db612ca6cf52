// A node's term: what it does when Redis begins another life, when it comes late, when nothing happened.

import Testing

@testable import Redis

private let me = Array("me".utf8)
private let other = Array("other".utf8)

/// A keeper that expectations may change: a macro cannot hold a mutable value.
private final class Box {
    private var value = TermKeeper(node: me)

    func linkReady(life: UInt64) -> Bool { value.linkReady(life: life) }
    func linkLost() { value.linkLost() }
    func stale() -> TermKeeper.Step { value.stale() }
    func answered(_ result: TermResult) -> TermKeeper.Step { value.answered(result) }
    func fenced() -> TermKeeper.Step { value.fenced() }
    var isOpen: Bool { value.isOpen }
    var phase: TermKeeper.Phase { value.phase }
    var term: RedisTerm? { value.term }
    var lived: RedisTerm? { value.lived }
    var remembered: [[UInt8]] { value.remembered }
    var highestKnown: UInt64 { value.highestKnown }
    var hasFenced: Bool { value.hasFenced }
}

struct TermKeeperTests {
    /// A keeper whose first term, number 1 of life 7, is open.
    private func settled() -> Box {
        let keeper = Box()
        #expect(keeper.linkReady(life: 7))
        #expect(keeper.answered(.open(number: 1, nodes: [me, other])) == .open)
        return keeper
    }

    @Test("The first term is entered without fencing, also when it is closed at first")
    func first() {
        let keeper = settled()
        #expect(keeper.isOpen && keeper.term == RedisTerm(number: 1, life: 7) && keeper.lived == keeper.term)
        #expect(keeper.remembered == [other])

        let young = Box()
        #expect(!young.isOpen && !young.hasFenced)
        _ = young.linkReady(life: 7)
        let closed = TermResult.closed(number: 1, wait: .seconds(5), awaited: 1, nodes: [me])
        #expect(young.answered(closed) == .fence(mayVouch: true))
        #expect(young.lived == nil, "nothing was seen, so there is nothing to compare")
        #expect(young.fenced() == .poll)
        #expect(young.hasFenced && !young.isOpen)
        #expect(young.answered(closed) == .poll)
        #expect(young.answered(.open(number: 1, nodes: [me])) == .open)
    }

    @Test("A new life: closed until everybody has fenced")
    func newLife() {
        let keeper = settled()
        keeper.linkLost()
        #expect(!keeper.isOpen && keeper.phase == .absent)
        #expect(keeper.linkReady(life: 8), "another life than before")
        #expect(keeper.highestKnown == 1)
        let closed = TermResult.closed(number: 2, wait: .seconds(5), awaited: 2, nodes: [me, other])
        #expect(keeper.answered(closed) == .fence(mayVouch: true))
        #expect(keeper.lived == RedisTerm(number: 1, life: 7), "what was seen was seen in the former term")
        #expect(keeper.answered(closed) == .none, "a beat during the fencing changes nothing")
        #expect(keeper.fenced() == .poll)
        #expect(keeper.answered(.open(number: 2, nodes: [me, other])) == .open)
        #expect(keeper.lived == RedisTerm(number: 2, life: 8))
    }

    @Test("A link that comes back to the same life and term: nothing to fence, nobody disturbed")
    func sameLife() {
        let keeper = settled()
        keeper.linkLost()
        #expect(!keeper.linkReady(life: 7))
        #expect(keeper.answered(.open(number: 1, nodes: [me, other])) == .open)
    }

    @Test("Who comes when the term is open already vouches for nothing")
    func late() {
        let keeper = settled()
        keeper.linkLost()
        #expect(keeper.linkReady(life: 8))
        #expect(keeper.answered(.open(number: 2, nodes: [other])) == .fence(mayVouch: false))
        #expect(!keeper.isOpen)
        #expect(keeper.fenced() == .open)
    }

    @Test("The lease ran out with a node missing: the number has grown, and nobody's vouching counts")
    func openedByLease() {
        let keeper = settled()
        keeper.linkLost()
        _ = keeper.linkReady(life: 8)
        _ = keeper.answered(.closed(number: 2, wait: .seconds(5), awaited: 2, nodes: [me, other]))
        _ = keeper.fenced()
        #expect(keeper.answered(.open(number: 3, nodes: [me])) == .fence(mayVouch: false))
        #expect(keeper.lived == RedisTerm(number: 1, life: 7), "nothing was seen in the term that never opened")
        #expect(keeper.fenced() == .open)

        let told = settled()
        told.linkLost()
        _ = told.linkReady(life: 8)
        _ = told.answered(.closed(number: 2, wait: .seconds(5), awaited: 2, nodes: [me, other]))
        _ = told.fenced()
        #expect(told.answered(.staleTerm(RedisTerm(number: 3, life: 8))) == .announce)
        #expect(told.answered(.open(number: 3, nodes: [me])) == .fence(mayVouch: false))
    }

    @Test("The registry is gone: announced again, with the highest number that is known")
    func registryGone() {
        let keeper = settled()
        #expect(keeper.answered(.staleTerm(nil)) == .announce)
        #expect(!keeper.isOpen && keeper.highestKnown == 1 && keeper.remembered == [other])
        #expect(keeper.stale() == .none, "it is being announced already")
        #expect(
            keeper.answered(.closed(number: 2, wait: .seconds(5), awaited: 2, nodes: [me]))
                == .fence(mayVouch: true))
    }

    @Test("A script that was refused as stale announces again; without a link nothing is said")
    func stale() {
        let keeper = settled()
        #expect(keeper.stale() == .announce)
        keeper.linkLost()
        #expect(keeper.stale() == .none)
        #expect(keeper.answered(.open(number: 1, nodes: [])) == .none)
        #expect(keeper.fenced() == .none)
    }

    @Test("Redis restarts again before the term was open: what was seen belongs to the term that was lived in")
    func twice() {
        let keeper = settled()
        for (life, number) in [(UInt64(8), UInt64(2)), (9, 3)] {
            keeper.linkLost()
            #expect(keeper.linkReady(life: life))
            let closed = TermResult.closed(number: number, wait: .seconds(5), awaited: 1, nodes: [me])
            #expect(keeper.answered(closed) == .fence(mayVouch: true))
            #expect(keeper.lived == RedisTerm(number: 1, life: 7))
        }
        #expect(keeper.fenced() == .poll)
        #expect(keeper.answered(.open(number: 3, nodes: [me])) == .open)
    }
}
