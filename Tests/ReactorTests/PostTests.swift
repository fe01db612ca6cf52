// Letters from loop to loop: what one iteration brings wakes the receiver once, when everything is in its mailbox, and
// never later than that iteration's end.

import Bytes
import Glibc
import Synchronization
import Testing

@testable import Reactor

@Suite struct PostTests {
    /// How often the loop's eventfd was rung since the last look.
    private func rings(_ loop: Loop) -> UInt64 {
        var count: UInt64 = 0
        return read(loop.mailbox.wakeDescriptor, &count, 8) == 8 ? count : 0
    }

    @Test func whatOneIterationBringsWakesTheReceiverOnce() throws {
        let sender = try makeLoop()
        let receiver = try makeLoop()
        let during = Atomic<UInt64>(.max)
        sender.execute {
            for number in UInt64(0)..<10 {
                #expect(sender.post(Letter(kind: 1, words: (number, 0, 0, 0)), to: receiver, urgent: false))
            }
            during.store(rings(receiver), ordering: .relaxed)
        }
        sender.turn(wait: false)
        #expect(during.load(ordering: .relaxed) == 0, "not before the iteration has brought everything")
        #expect(rings(receiver) == 1)
        var numbers: [UInt64] = []
        receiver.mailbox.drain { numbers.append($0.words.0) }
        #expect(numbers == Array(0..<10))
        dismantleForTest(sender)
        dismantleForTest(receiver)
    }

    @Test func outsideAnIterationTheReceiverIsWokenAtOnce() throws {
        let sender = try makeLoop()
        let receiver = try makeLoop()
        #expect(sender.post(Letter(kind: 1), to: receiver, urgent: false))
        #expect(rings(receiver) == 1)
        sender.turn(wait: false)
        #expect(rings(receiver) == 0)
        dismantleForTest(sender)
        dismantleForTest(receiver)
    }
}
