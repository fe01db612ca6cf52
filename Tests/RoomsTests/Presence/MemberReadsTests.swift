// One question for everybody who asks the same, few at once, and an answer that is younger than its question.

import Testing

@testable import Rooms

/// The reads, so that an expectation may change them.
private final class Reads {
    private var reads = MemberReads()
    func ask(_ question: MemberReads.Question, _ ticket: Ticket) -> Bool { reads.ask(question, ticket) }
    func begin() -> (number: UInt64, question: MemberReads.Question)? { reads.begin() }
    func end(_ number: UInt64) -> [Ticket] { reads.end(number) }
}

@Suite struct MemberReadsTests {
    private func question(_ room: String, cursor: UInt64 = 0) -> MemberReads.Question {
        MemberReads.Question(room: Array(room.utf8), cursor: cursor, limit: nil)
    }

    private func ticket(_ number: UInt64) -> Ticket { Ticket(connection: number, command: 1, loop: 0) }

    @Test func `whoever asks while an answer is on its way gets the next one, together with the others`() throws {
        let reads = Reads()
        #expect(reads.ask(question("a"), ticket(1)) && reads.ask(question("a"), ticket(2)))
        let first = try #require(reads.begin())
        #expect(first.question == question("a") && reads.begin() == nil)
        for number in 3...100 { #expect(reads.ask(question("a"), ticket(UInt64(number)))) }
        #expect(reads.begin() == nil, "the same is not asked twice at once")
        #expect(reads.end(first.number).map(\.connection) == [1, 2])
        let second = try #require(reads.begin())
        #expect(reads.end(second.number).map(\.connection) == Array(3...100))
        #expect(reads.begin() == nil && reads.end(second.number).isEmpty)
    }

    @Test func `few questions are on their way at once, in turn, and not more than a number wait`() throws {
        let reads = Reads()
        for number in 0..<MemberReads.mostQuestions {
            #expect(reads.ask(question("a", cursor: UInt64(number)), ticket(UInt64(number))))
        }
        #expect(!reads.ask(question("b"), ticket(1)))
        #expect(reads.ask(question("a", cursor: 5), ticket(7777)), "what is asked anyway costs nothing more")
        var running = try (0..<MemberReads.atOnce).map { _ in try #require(reads.begin()) }
        #expect(reads.begin() == nil)
        var answered = 0
        while let one = running.popLast() {
            answered += reads.end(one.number).count
            if let next = reads.begin() { running.append(next) }
        }
        #expect(answered == MemberReads.mostQuestions + 1)
        #expect(reads.ask(question("b"), ticket(1)))
    }
}
