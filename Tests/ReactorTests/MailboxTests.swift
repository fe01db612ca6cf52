// The mailbox with many producers: order per sender, nothing lost, nothing twice, bounded.

import Bytes
import CLinux
import Glibc
import Synchronization
import Testing

@testable import Reactor

/// A plain thread for producers; the body runs once.
final class TestThread: @unchecked Sendable {
    // Sendable is sound: `body` is set before the thread starts, `thread` is used by the creator only.
    private let body: @Sendable () -> Void
    private var thread = pthread_t()

    init(_ body: @escaping @Sendable () -> Void) {
        self.body = body
        let status = pthread_create(
            &thread, nil,
            { raw in
                guard let raw else { return nil }
                Unmanaged<TestThread>.fromOpaque(raw).takeRetainedValue().body()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        precondition(status == 0, "a test needs its thread")
    }

    func join() { pthread_join(thread, nil) }
}

/// Counts instances that were not freed.
final class Parcel: Sendable {
    let counter: Tracker
    init(_ counter: Tracker) {
        self.counter = counter
        counter.live.add(1, ordering: .relaxed)
    }
    deinit { counter.live.subtract(1, ordering: .relaxed) }
}

final class Tracker: Sendable {
    let live = Atomic<Int>(0)
}

private final class LetterLog: LetterHandler {
    var words: [[UInt64]] = Array(repeating: [], count: 16)
    var count = 0
    func receive(_ letter: Letter) {
        words[Int(letter.kind)].append(letter.words.0)
        count += 1
    }
}

@Suite struct MailboxTests {
    private func isReadable(_ descriptor: Int32) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) == 1
    }

    @Test func lettersOfSeveralThreadsComeCompletelyAndInTheOrderOfTheirSender() throws {
        let loop = try makeLoop()
        let log = LetterLog()
        loop.setLetterHandler(log)
        let producers = 4
        let each: UInt64 = 20_000
        let tracker = Tracker()
        let threads = (1...producers).map { number in
            TestThread {
                for value in 0..<each {
                    let letter = Letter(kind: UInt32(number), words: (value, 0, 0, 0), object: Parcel(tracker))
                    while !loop.send(letter) { sched_yield() }
                }
            }
        }
        loop.turn(until: "all letters have come") { log.count == producers * Int(each) }
        for thread in threads { thread.join() }
        loop.turn(wait: false)
        for number in 1...producers { #expect(log.words[number] == Array(0..<each), "sender \(number)") }
        #expect(tracker.live.load(ordering: .relaxed) == 0)
    }

    @Test func aFullMailboxRefusesAndTakesAgainAfterwards() throws {
        let mailbox = try Mailbox(limit: 10)
        for value in 0..<10 as Range<UInt64> {
            #expect(mailbox.send(Letter(kind: 1, words: (value, 0, 0, 0)), urgent: false))
        }
        for _ in 0..<5 { #expect(!mailbox.send(Letter(kind: 1, words: (99, 0, 0, 0)), urgent: false)) }
        #expect(mailbox.send(Letter(kind: 2, words: (10, 0, 0, 0)), urgent: true), "control letters ignore the limit")
        var seen: [UInt64] = []
        mailbox.drain { seen.append($0.words.0) }
        #expect(seen == Array(0...10))
        #expect(mailbox.isEmpty)
        #expect(mailbox.send(Letter(kind: 1), urgent: false))
    }

    @Test func severalSendersTogetherNeverExceedTheLimit() throws {
        let mailbox = try Mailbox(limit: 1000)
        let threads = (0..<4).map { _ in Counting(mailbox) }
        for thread in threads { thread.thread.join() }
        let total = threads.reduce(0) { $0 + $1.tally.count.load(ordering: .relaxed) }
        var seen = 0
        mailbox.drain { _ in seen += 1 }
        #expect(seen == total)
        #expect(total <= 1000)
        #expect(total > 900, "refusals begin only near the limit")
    }

    /// A thread that sends more than fits and counts what was taken.
    private final class Counting: Sendable {
        let thread: TestThread
        let tally: Tally
        init(_ mailbox: Mailbox) {
            let tally = Tally()
            self.tally = tally
            thread = TestThread {
                for _ in 0..<1000 where mailbox.send(Letter(kind: 1), urgent: false) {
                    tally.count.add(1, ordering: .relaxed)
                }
            }
        }
    }

    private final class Tally: Sendable { let count = Atomic<Int>(0) }

    @Test func onlyTheFirstLetterOfABurstWakesTheLoop() throws {
        let mailbox = try Mailbox(limit: 100)
        #expect(!isReadable(mailbox.wakeDescriptor))
        _ = mailbox.send(Letter(kind: 1), urgent: false)
        #expect(isReadable(mailbox.wakeDescriptor))
        mailbox.acknowledgeWake()
        _ = mailbox.send(Letter(kind: 1), urgent: false)
        #expect(!isReadable(mailbox.wakeDescriptor), "the list was not empty")
        mailbox.drain { _ in }
        _ = mailbox.send(Letter(kind: 1), urgent: false)
        #expect(isReadable(mailbox.wakeDescriptor))
    }

    @Test func whatIsNeverTakenIsFreedWithTheMailbox() throws {
        let tracker = Tracker()
        do {
            let mailbox = try Mailbox(limit: 5)
            for _ in 0..<8 { _ = mailbox.send(Letter(kind: 1, object: Parcel(tracker)), urgent: false) }
            #expect(tracker.live.load(ordering: .relaxed) == 5, "a refused letter keeps nothing")
        }
        #expect(tracker.live.load(ordering: .relaxed) == 0)
    }

    @Test func closuresRunOnTheLoopAfterWhatWasSentBefore() throws {
        let loop = try makeLoop()
        let log = LetterLog()
        loop.setLetterHandler(log)
        let seen = Tally()
        loop.send(Letter(kind: 1, words: (5, 0, 0, 0)))
        loop.execute {
            seen.count.add(1, ordering: .relaxed)
            // A closure sent from the loop itself runs in the next iteration, not in this one.
            loop.execute { seen.count.add(10, ordering: .relaxed) }
        }
        loop.turn(wait: false)
        #expect(log.words[1] == [5])
        #expect(seen.count.load(ordering: .relaxed) == 1)
        loop.turn(wait: true)
        #expect(seen.count.load(ordering: .relaxed) == 11)
    }

    @Test func aSleepingLoopIsWokenByAnotherThread() throws {
        let loop = try makeLoop()
        let thread = try LoopThread(loop, name: "sleeping-loop-with-a-long-name")
        let done = Tally()
        for round in 1...50 {
            loop.execute { done.count.add(1, ordering: .releasing) }
            while done.count.load(ordering: .acquiring) < round { sched_yield() }
        }
        loop.stop()
        loop.stop()
        thread.join()
        loop.dismantle()
        #expect(done.count.load(ordering: .relaxed) == 50)
    }

    @Test func aStoppedAndDismantledLoopIsFreedEvenIfLettersCameTooLate() throws {
        weak var gone: Loop?
        let tracker = Tracker()
        do {
            let loop = try makeLoop()
            gone = loop
            let handler = Recorder(loop)
            _ = loop.register(handler)
            loop.stop()
            loop.run()
            loop.stop()
            loop.execute { _ = loop.index }
            loop.send(Letter(kind: 1, object: Parcel(tracker)))
            loop.dismantle()
        }
        #expect(gone == nil)
        #expect(tracker.live.load(ordering: .relaxed) == 0)
    }
}
