// What one worker of a storm is told before it starts, and what it reports at the end: plain values with their lines.

/// A worker's share of the clients.
struct StormShare: Equatable {
    var worker = 0
    var workers = 1
    var clients = 0
    var rooms = 1
    var publishers = 1
    var historySize = 100
    var answerLimitMilliseconds = 6000
    var seed: UInt64 = 1
    var ports: [UInt16] = []

    /// The share as one line.
    var line: String {
        let numbers = [worker, workers, clients, rooms, publishers, historySize, answerLimitMilliseconds]
        return "share \(seed) " + (numbers + ports.map(Int.init)).map(String.init).joined(separator: " ")
    }

    init() {}

    /// The share that `words` tell; nil when they are none.
    init?(_ words: [Substring]) {
        guard words.count > 9, words[0] == "share", let seed = UInt64(words[1]) else { return nil }
        let numbers = words[2...].compactMap { Int($0) }
        guard numbers.count == words.count - 2, numbers.allSatisfy({ $0 >= 0 }) else { return nil }
        self.seed = seed
        worker = numbers[0]
        workers = numbers[1]
        clients = numbers[2]
        rooms = numbers[3]
        publishers = numbers[4]
        historySize = numbers[5]
        answerLimitMilliseconds = numbers[6]
        ports = numbers[7...].compactMap { UInt16(exactly: $0) }
        guard ports.count == numbers.count - 7, rooms > 0 else { return nil }
    }
}

/// How far a worker is.
struct StormProgress: Equatable {
    /// Clients in their room.
    var joined = 0
    /// Replies to a resume with `recovered: true` and with false.
    var recovered = 0
    var refused = 0
    /// Publications that came with them.
    var backlog = 0
    /// Different positions from which clients resumed.
    var positions = 0
    /// Promises that were broken.
    var violations = 0
    /// Connections that the server ended.
    var disconnects = 0
    /// Error replies.
    var errors = 0

    /// The progress as one line.
    var line: String {
        let numbers = [joined, recovered, refused, backlog, positions, violations, disconnects, errors]
        return "progress " + numbers.map(String.init).joined(separator: " ")
    }

    init() {}

    /// The progress that `words` tell; nil when they are none.
    init?(_ words: [Substring]) {
        guard words.count == 9, words[0] == "progress" else { return nil }
        let numbers = words[1...].compactMap { Int($0) }
        guard numbers.count == 8 else { return nil }
        joined = numbers[0]
        recovered = numbers[1]
        refused = numbers[2]
        backlog = numbers[3]
        positions = numbers[4]
        violations = numbers[5]
        disconnects = numbers[6]
        errors = numbers[7]
    }

    static func + (a: StormProgress, b: StormProgress) -> StormProgress {
        var sum = a
        sum.joined += b.joined
        sum.recovered += b.recovered
        sum.refused += b.refused
        sum.backlog += b.backlog
        sum.positions += b.positions
        sum.violations += b.violations
        sum.disconnects += b.disconnects
        sum.errors += b.errors
        return sum
    }
}
