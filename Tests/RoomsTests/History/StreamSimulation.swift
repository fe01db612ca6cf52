// A store, a link that drops, repeats and reorders, questions that are executed at one moment and answered at a later
// one, and one cursor between them and a member. Everything follows from a seed.

import Bytes
import Testing

@testable import Rooms

struct StreamSimulation {
    struct Message {
        var offset: UInt64
        var epoch: UInt64
        var text: String
    }

    struct Execution {
        var request: StreamRequest
        var position: StreamPosition
        var start: UInt64 = 0
        var entries: [String] = []
    }

    let seed: UInt64
    var random: SeededRandom
    var cursor: StreamCursor
    let limits: StreamCursor.Limits
    // The store.
    var epoch: UInt64 = 1
    var entries: [String] = []
    var shift: UInt64 = 0
    let size = 40
    // The link and the engine's answers.
    var isLinked = true
    var queue: [Message] = []
    var waiting: StreamRequest?
    var executed: Execution?
    var adoption: StreamPosition?
    // The member.
    var member: StreamPosition?
    var number = 0
    // What has happened, so that no run is empty.
    var deliveries = 0
    var losses: [ContinuityLoss: Int] = [:]
    var repairs = 0
    var mostHeld = 0

    init(seed: UInt64) {
        self.seed = seed
        random = SeededRandom(seed: seed)
        var limits = StreamCursor.Limits()
        limits.heldEntries = 8
        limits.heldBytes = 64
        limits.rangeEntries = 10
        self.limits = limits
        cursor = StreamCursor(limits: limits)
    }

    var top: UInt64 { shift + UInt64(entries.count) }

    func content(_ offset: UInt64) -> String { entries[Int(offset - shift - 1)] }

    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

    mutating func publish() {
        number += 1
        entries.append("e\(epoch)n\(number)" + String(repeating: "x", count: Int.random(in: 0..<9, using: &random)))
        guard isLinked, !chance(6) else { return }
        let message = Message(offset: top, epoch: epoch, text: content(top))
        var place = queue.count
        if chance(8), place > 0 { place = Int.random(in: 0...place, using: &random) }
        queue.insert(message, at: place)
        if chance(8) { queue.append(message) }
    }

    /// The store comes back with another life that shares the offsets so far.
    mutating func renew() {
        epoch += 1
        let kept = chance(50) ? top : 0
        shift = kept
        entries = []
    }

    mutating func receive() {
        guard !queue.isEmpty else { return }
        let message = queue.removeFirst()
        let verdict = cursor.live(offset: message.offset, epoch: message.epoch, payload: payload(message.text))
        if verdict == .deliver { deliver(message.offset, message.text) }
        settle()
    }

    mutating func forge() {
        let isOther = chance(50)
        let verdict = cursor.live(
            offset: isOther ? UInt64.random(in: 0...99, using: &random) : 1_000_000 + UInt64(number),
            epoch: isOther ? 999 : epoch, payload: payload("forged"))
        #expect(verdict != .deliver, "seed \(seed)")
        settle()
    }

    /// The engine executes the question.
    mutating func execute() {
        guard let request = waiting, executed == nil else { return }
        waiting = nil
        var execution = Execution(request: request, position: StreamPosition(offset: top, epoch: epoch))
        if case .range(let first, let last) = request.kind, cursor.epoch == epoch {
            let oldest = max(shift, top > UInt64(size) ? top - UInt64(size) : 0) + 1
            if first >= oldest, first <= top {
                execution.start = first
                var end = min(last, top)
                // An answer may be cut short, as by its bytes.
                if chance(20) { end = UInt64.random(in: first...end, using: &random) }
                execution.entries = (first...end).map(content)
            }
        }
        executed = execution
    }

    mutating func answer() {
        guard let execution = executed else { return }
        executed = nil
        if chance(10) {
            cursor.failed(execution.request.number)
        } else {
            if !execution.entries.isEmpty { repairs += 1 }
            cursor.answered(
                execution.request.number, position: execution.position, start: execution.start,
                entries: execution.entries.map { payload($0) })
        }
        settle()
    }

    /// Members are told and begin anew at a position that was read earlier than it is used.
    mutating func adopt() {
        guard cursor.loss != nil || cursor.epoch == 0 else { return }
        guard let position = adoption else {
            adoption = StreamPosition(offset: top, epoch: epoch)
            return
        }
        adoption = nil
        if let loss = cursor.loss { losses[loss, default: 0] += 1 }
        cursor.adopt(position)
        member = position
        waiting = nil
        executed = nil
        settle()
    }

    mutating func relink() {
        isLinked.toggle()
        queue.removeAll()
        if isLinked { cursor.doubt() }
        settle()
    }

    private mutating func settle() {
        while let entry = cursor.next() { deliver(entry.offset, text(entry.payload) ?? "") }
        if waiting == nil, executed == nil { waiting = cursor.takeRequest() }
        mostHeld = max(mostHeld, cursor.heldCount)
        #expect(cursor.heldCount <= limits.heldEntries + Int(limits.rangeEntries), "seed \(seed)")
        #expect(cursor.heldBytes <= limits.heldBytes + Int(limits.rangeEntries) * 40, "seed \(seed)")
    }

    private mutating func deliver(_ offset: UInt64, _ text: String) {
        deliveries += 1
        guard let position = member else {
            Issue.record("seed \(seed): a member without a position gets nothing")
            return
        }
        #expect(cursor.epoch == position.epoch && offset == position.offset + 1, "seed \(seed), delivery \(deliveries)")
        // Only the current life's contents are at hand; a former life's texts name their epoch.
        if position.epoch == epoch, offset > shift, offset <= top {
            #expect(text == content(offset), "seed \(seed), offset \(offset)")
        } else {
            #expect(text.hasPrefix("e\(position.epoch)n"), "seed \(seed)")
        }
        member?.offset = offset
    }

    mutating func step() {
        switch Int.random(in: 0..<1000, using: &random) {
        case 0..<330: publish()
        case 330..<680: receive()
        case 680..<790: execute()
        case 790..<900: answer()
        case 900..<950: adopt()
        case 950..<970: cursor.doubt()
        case 970..<985: relink()
        case 985..<997: forge()
        default: renew()
        }
    }

    /// Faults end; after one audit nothing may be missing. False when the cursor does not come to rest.
    mutating func heal() -> Bool {
        if !isLinked { relink() }
        for round in 0..<2000 {
            if round == 0 || (round < 40 && queue.isEmpty) { cursor.doubt() }
            receive()
            adopt()
            execute()
            answer()
            if round >= 40, queue.isEmpty, waiting == nil, executed == nil, cursor.isQuiet, cursor.loss == nil,
                cursor.epoch != 0
            {
                return true
            }
            settle()
        }
        return false
    }
}

@Suite("The delivery order under random faults")
struct StreamSimulationTests {
    @Test("a member gets every offset once and in order, or is told; at rest nothing is missing", arguments: 1...60)
    func run(_ seed: UInt64) {
        var simulation = StreamSimulation(seed: seed)
        for _ in 0..<10 {
            for _ in 0..<300 { simulation.step() }
            let isAtRest = simulation.heal()
            #expect(isAtRest, "seed \(seed) comes to rest")
            #expect(
                simulation.member == StreamPosition(offset: simulation.top, epoch: simulation.epoch),
                "seed \(seed): at rest the member has everything")
        }
        #expect(simulation.deliveries > 300 && simulation.repairs > 10 && simulation.mostHeld > 3, "seed \(seed)")
        #expect(simulation.losses[.regressed] == nil, "seed \(seed): this store never regresses within an epoch")
    }
}
