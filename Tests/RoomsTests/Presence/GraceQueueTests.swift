// The graces that run: in the order in which they end, one line for each length.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct GraceQueueTests {
    private func entry(_ number: Int, until: Double) -> GraceQueue.Entry {
        .init(name: payload("room\(number)"), client: clientID(number), until: second(until))
    }

    private func takeAll(_ queue: inout GraceQueue, at now: Double) -> [String] {
        var names: [String] = []
        while let entry = queue.take(now: second(now)) { names.append(text(entry.name) ?? "") }
        return names
    }

    @Test func `nothing is due before its time, and everything at it`() {
        var queue = GraceQueue()
        #expect(queue.next == nil)
        queue.add(entry(1, until: 5), grace: .seconds(5))
        queue.add(entry(2, until: 6), grace: .seconds(5))
        #expect(queue.next == second(5))
        #expect(takeAll(&queue, at: 4.999) == [])
        #expect(takeAll(&queue, at: 5) == ["room1"])
        #expect(queue.next == second(6))
        #expect(takeAll(&queue, at: 60) == ["room2"])
        #expect(queue.next == nil)
    }

    @Test func `a short grace does not wait behind a long one`() {
        var queue = GraceQueue()
        queue.add(entry(1, until: 3600), grace: .seconds(3600))
        queue.add(entry(2, until: 2), grace: .seconds(1))
        #expect(queue.next == second(2))
        #expect(takeAll(&queue, at: 2) == ["room2"])
        #expect(queue.next == second(3600))
    }

    @Test func `any order of adding and taking keeps everything, and each once`() {
        let seed = UInt64.random(in: 0 ... .max)
        print("graces: seed \(seed)")
        var random = SeededRandom(seed: seed)
        var queue = GraceQueue()
        var expected: [Double: [String]] = [:]
        var taken: [String] = []
        var number = 0
        for now in 0..<400 {
            for _ in 0..<Int.random(in: 0...20, using: &random) {
                let grace = [1, 3, 10].randomElement(using: &random) ?? 1
                number += 1
                queue.add(entry(number, until: Double(now + grace)), grace: .seconds(grace))
                expected[Double(now + grace), default: []].append("room\(number)")
            }
            #expect(queue.next == expected.keys.min().map(second), "seed \(seed)")
            let due = takeAll(&queue, at: Double(now))
            #expect(Set(due) == Set(expected.removeValue(forKey: Double(now)) ?? []), "seed \(seed)")
            taken += due
        }
        taken += takeAll(&queue, at: 1000)
        #expect(taken.count == number && Set(taken).count == number, "seed \(seed)")
        #expect(queue.next == nil)
    }
}
