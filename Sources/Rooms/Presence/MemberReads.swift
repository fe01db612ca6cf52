// Lists that a loop's homes read for whoever asks. A list costs the engine and the link to it a thousand times what
// asking costs, so the same question is asked once for everybody: whoever comes while the answer is on its way waits
// for the next one, which is then younger than its question, and few are on their way at once.
// Bounded by `mostQuestions` different questions, and by the commands that wait of each connection. Loop-confined.

/// Questions about members on their way to the engine.
struct MemberReads {
    /// Questions that the engine is asked at once.
    static let atOnce = 4
    /// Different questions that wait.
    static let mostQuestions = 1024

    /// What is asked.
    struct Question: Hashable {
        let room: [UInt8]
        let cursor: UInt64
        /// Nil: all.
        let limit: Int?
    }

    private struct Reading {
        /// Who is answered by what is on its way, and who by what follows.
        var current: [Ticket] = []
        var next: [Ticket] = []
    }

    private var readings: [Question: Reading] = [:]
    private var running: [UInt64: Question] = [:]
    private var queue: [Question] = []
    private var lastNumber: UInt64 = 0

    /// Has `ticket` wait for the answer; false: too much is asked already.
    mutating func ask(_ question: Question, _ ticket: Ticket) -> Bool {
        if readings[question] == nil {
            guard readings.count < MemberReads.mostQuestions else { return false }
            readings[question] = Reading()
            queue.append(question)
        }
        readings[question]?.next.append(ticket)
        return true
    }

    /// The question that is to be asked now, under which number; nil: none, or enough are on their way.
    mutating func begin() -> (number: UInt64, question: Question)? {
        guard running.count < MemberReads.atOnce, !queue.isEmpty else { return nil }
        let question = queue.removeFirst()
        lastNumber += 1
        running[lastNumber] = question
        let waiting = readings[question]?.next ?? []
        readings[question] = Reading(current: waiting)
        return (lastNumber, question)
    }

    /// The question under `number` was answered: who waited for it.
    mutating func end(_ number: UInt64) -> [Ticket] {
        guard let question = running.removeValue(forKey: number), let reading = readings.removeValue(forKey: question)
        else { return [] }
        if !reading.next.isEmpty {
            readings[question] = Reading(next: reading.next)
            queue.append(question)
        }
        return reading.current
    }
}
