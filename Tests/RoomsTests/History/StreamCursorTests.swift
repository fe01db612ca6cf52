// The order that a room's home keeps, step by step: what is let through, held, dropped, asked for or given up.
// Histories with losses, doubles and delays come at random in StreamSimulation.swift.

import Bytes
import Testing

@testable import Rooms

@Suite("The delivery order of one room")
struct StreamCursorTests {
    var cursor: StreamCursor

    init() {
        cursor = StreamCursor()
        cursor.adopt(StreamPosition(offset: 10, epoch: 7))
    }

    func at(_ offset: UInt64, _ epoch: UInt64 = 7) -> StreamPosition { StreamPosition(offset: offset, epoch: epoch) }

    mutating func live(_ offset: UInt64, _ epoch: UInt64 = 7) -> StreamCursor.Verdict {
        cursor.live(offset: offset, epoch: epoch, payload: payload("m\(offset)"))
    }

    mutating func ask() -> StreamRequest? { cursor.takeRequest() }

    mutating func asked() throws -> StreamRequest {
        guard let request = cursor.takeRequest() else {
            Issue.record("something is asked")
            throw CancellationError()
        }
        return request
    }

    mutating func drain() -> [UInt64] {
        var offsets: [UInt64] = []
        while let entry = cursor.next() {
            #expect(text(entry.payload) == "m\(entry.offset)")
            offsets.append(entry.offset)
        }
        return offsets
    }

    func entries(_ range: ClosedRange<UInt64>) -> [Payload] { range.map { payload("m\($0)") } }

    @Test("the usual case: each one is let through at once, repetitions are dropped, nothing is asked")
    mutating func inOrder() {
        for offset: UInt64 in 11...20 {
            #expect(live(offset) == .deliver && cursor.isQuiet)
            #expect(live(offset) == .drop && live(3) == .drop)
        }
        #expect(drain() == [] && ask() == nil && cursor.delivered == 20)
    }

    @Test("a gap is asked for once, exactly; what comes meanwhile is held and follows in order")
    mutating func gap() throws {
        #expect(live(13) == .later)
        let request = try asked()
        #expect(request.kind == .range(11, 12))
        #expect(live(15) == .later && live(14) == .later && live(14) == .drop && ask() == nil)
        #expect(drain() == [] && cursor.heldCount == 3)
        cursor.answered(request.number, position: at(15), start: 11, entries: entries(11...12))
        #expect(drain() == [11, 12, 13, 14, 15] && cursor.isQuiet && cursor.heldBytes == 0)
        #expect(live(16) == .deliver && ask() == nil)
    }

    @Test("the missing one that comes late fills its gap, and the answer brings nothing twice")
    mutating func late() throws {
        #expect(live(12) == .later)
        let request = try asked()
        #expect(live(11) == .deliver)
        #expect(drain() == [12])
        cursor.answered(request.number, position: at(12), start: 11, entries: entries(11...11))
        #expect(drain() == [] && cursor.isQuiet && cursor.loss == nil)
    }

    @Test("an answer that was asked of a former life of the cursor is ignored")
    mutating func former() throws {
        #expect(live(12) == .later)
        let request = try asked()
        cursor.adopt(at(3, 8))
        cursor.answered(request.number, position: at(12), start: 11, entries: entries(11...11))
        cursor.failed(request.number)
        #expect(drain() == [] && cursor.loss == nil && cursor.delivered == 3)
    }

    @Test("a question that failed is asked again")
    mutating func failure() throws {
        #expect(live(12) == .later)
        let one = try asked()
        cursor.failed(one.number)
        let two = try asked()
        #expect(two.number != one.number && two.kind == one.kind)
        cursor.answered(one.number, position: at(12), start: 11, entries: entries(11...11))
        #expect(drain() == [])
        cursor.answered(two.number, position: at(12), start: 11, entries: entries(11...11))
        #expect(drain() == [11, 12])
        cursor.doubt()
        let three = try asked()
        cursor.failed(three.number)
        #expect(ask()?.kind == .position)
    }

    @Test("after a link came back the position is asked; equal is silence, higher is repaired")
    mutating func restored() throws {
        cursor.doubt()
        let one = try asked()
        #expect(one.kind == .position)
        cursor.answered(one.number, position: at(10))
        #expect(ask() == nil && cursor.isQuiet)
        cursor.doubt()
        let two = try asked()
        cursor.answered(two.number, position: at(12))
        let three = try asked()
        #expect(three.kind == .range(11, 12))
        cursor.answered(three.number, position: at(12), start: 11, entries: entries(11...12))
        #expect(drain() == [11, 12] && ask() == nil)
    }

    @Test("a position that is older than what came since is no loss; one below what was delivered is")
    mutating func regression() throws {
        cursor.doubt()
        let one = try asked()
        #expect(live(11) == .deliver)
        cursor.answered(one.number, position: at(10))
        #expect(cursor.loss == nil && ask() == nil)
        cursor.doubt()
        let two = try asked()
        cursor.answered(two.number, position: at(10))
        #expect(cursor.loss == .regressed)
    }

    @Test("another epoch is asked about before it is believed")
    mutating func epochs() throws {
        #expect(live(1, 8) == .drop)
        let one = try asked()
        cursor.answered(one.number, position: at(10))
        #expect(cursor.loss == nil, "a forgery or a late message")
        #expect(live(11) == .deliver && live(2, 8) == .drop)
        let two = try asked()
        cursor.answered(two.number, position: at(2, 8))
        #expect(cursor.loss == .otherEpoch && live(12) == .later && cursor.next() == nil)
        cursor.adopt(at(2, 8))
        #expect(ask()?.kind == .position, "what was dropped on the way is asked for")
        #expect(live(3, 8) == .deliver)
    }

    @Test("what comes between the loss and the new position is not missed")
    mutating func duringLoss() throws {
        cursor.doubt()
        cursor.answered(try asked().number, position: at(2, 8))
        #expect(live(3, 8) == .later && live(4, 8) == .later)
        cursor.adopt(at(3, 8))
        #expect(drain() == [4])
    }

    @Test("before the position is known messages wait for it")
    mutating func starting() {
        cursor = StreamCursor()
        #expect(live(4) == .later && live(6) == .later && live(5) == .later && ask() == nil)
        #expect(drain() == [])
        cursor.adopt(at(4))
        #expect(drain() == [5, 6] && cursor.isQuiet)
    }

    @Test("a range that is gone is a loss, also when only its beginning is gone")
    mutating func trimmed() throws {
        for start: UInt64 in [0, 12] {
            cursor = StreamCursor()
            cursor.adopt(at(10))
            #expect(live(14) == .later)
            let request = try asked()
            cursor.answered(request.number, position: at(14), start: start, entries: start == 0 ? [] : entries(12...13))
            #expect(cursor.loss == .trimmed && cursor.heldCount == 0 && cursor.heldBytes == 0)
        }
    }

    @Test("a forged offset far ahead costs one question and disturbs nobody")
    mutating func forged() throws {
        for offset: UInt64 in [1 << 53, .max, 0] { #expect(live(offset) == .drop && cursor.isQuiet) }
        #expect(live(1_000_000) == .later)
        let request = try asked()
        #expect(request.kind == .range(11, 1034), "no question is larger than allowed")
        cursor.answered(request.number, position: at(10))
        #expect(cursor.loss == nil && cursor.isQuiet && cursor.heldCount == 0)
        #expect(live(11) == .deliver && ask() == nil)
    }

    @Test("what the stream was seen to have is asked for, at once and only as far as offsets go")
    mutating func heardOf() throws {
        for offset: UInt64 in [10, 3, 1 << 53, .max] { cursor.hear(of: offset) }
        #expect(!cursor.isBehind && ask() == nil)
        cursor.hear(of: 12)
        let request = try asked()
        #expect(cursor.isBehind && request.kind == .range(11, 12))
        cursor.answered(request.number, position: at(12), start: 11, entries: entries(11...12))
        #expect(drain() == [11, 12] && !cursor.isBehind && ask() == nil)
        cursor = StreamCursor()
        cursor.hear(of: 12)
        #expect(!cursor.isBehind, "nothing is followed yet")
    }

    @Test("beyond the bounds nothing is held, and the rest is asked for afterwards", arguments: [true, false])
    mutating func bounds(_ isByNumber: Bool) throws {
        var limits = StreamCursor.Limits()
        if isByNumber { limits.heldEntries = 3 } else { limits.heldBytes = 11 }
        limits.rangeEntries = 4
        cursor = StreamCursor(limits: limits)
        cursor.adopt(at(10))
        for offset: UInt64 in 12...30 {
            #expect(live(offset) == .later)
            #expect(cursor.heldCount <= 3 && cursor.heldBytes <= 9, "three of three bytes each")
        }
        var delivered: [UInt64] = []
        var questions = 0
        while let request = ask() {
            guard case .range(let first, let last) = request.kind else { throw CancellationError() }
            #expect(last - first < 4)
            cursor.answered(request.number, position: at(30), start: first, entries: entries(first...last))
            delivered += drain()
            questions += 1
        }
        #expect(delivered == Array(11...30) && questions == 5 && cursor.isQuiet)
    }

    @Test("a returning member's reply and the flow behind it meet exactly", arguments: [1, 2, 3])
    func merge(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var seen: Set<String> = []
        for step in 0..<20_000 {
            let delivered = UInt64.random(in: 0...40, using: &random)
            let since = UInt64.random(in: 0...42, using: &random)
            let tailTop = Bool.random(using: &random) ? delivered : UInt64.random(in: 0...delivered, using: &random)
            let tailCount = UInt64.random(in: 0...tailTop, using: &random)
            var tail = RoomStream(
                epoch: 1, top: tailTop - tailCount, limits: .init(entries: 100, bytes: 10_000, age: .seconds(9)))
            for _ in 0..<tailCount { _ = tail.append(payload("m"), now: second(0)) }
            let top = UInt64.random(in: since...max(since, 45), using: &random)
            let answer: RecoveryMerge.Answer? =
                Bool.random(using: &random)
                ? nil : .init(start: since + 1, count: Int(UInt64.random(in: 0...(top - since), using: &random)))
            switch RecoveryMerge.decide(since: since, delivered: delivered, tail: tail, answer: answer) {
            case .recovered(let picked, let rest):
                var offsets: [UInt64] = picked.map { (answer?.start ?? 0) + UInt64($0) }
                for offset in rest {
                    #expect(tail.payload(at: offset) != nil)
                    offsets.append(offset)
                }
                #expect(picked.upperBound <= answer?.count ?? 0)
                #expect(
                    since <= delivered && offsets == Array((since + 1)..<(delivered + 1)), "seed \(seed), step \(step)")
                seen.insert(picked.isEmpty ? "tail" : rest.isEmpty ? "answer" : "both")
            case .wait:
                #expect(since > delivered)
                seen.insert("wait")
            case .ask:
                #expect(since < delivered)
                seen.insert("ask")
            case .refused: Issue.record("seed \(seed): the answer begins where it was asked to")
            }
            let gone = RecoveryMerge.Answer(start: since + 2, count: 3)
            if case .recovered(let picked, _) = RecoveryMerge.decide(
                since: since, delivered: delivered, tail: tail, answer: gone)
            {
                #expect(picked.isEmpty, "an answer with a hole in front is not used")
            }
        }
        #expect(seen == ["tail", "answer", "both", "wait", "ask"])
    }
}
