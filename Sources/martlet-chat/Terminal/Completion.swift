// What Tab offers: commands at the start of the line, rooms after the commands that take one, otherwise the people
// seen in the room. Called by the screen session; pure.

/// Candidates for the end of a line.
package struct Completion: Equatable, Sendable {
    /// The text in front of what is completed; it stays.
    package let head: String
    /// Complete replacements for the rest, best first.
    package let candidates: [String]

    /// Looks up what may follow `line`, the text before the cursor.
    ///
    /// `people` are ordered by how recently they spoke; that order is kept.
    package static func find(line: String, people: [String], rooms: [String]) -> Completion {
        let start = line.lastIndex(of: " ").map(line.index(after:)) ?? line.startIndex
        let head = String(line[..<start])
        let stem = String(line[start...])
        if head.isEmpty, stem.hasPrefix("/"), !stem.hasPrefix("//") {
            return Completion(head: "", candidates: match(stem, ChatCommand.names.map { "/" + $0 }).map { $0 + " " })
        }
        if ChatCommand.takesRoom(head) {
            return Completion(head: head, candidates: match(stem, rooms).map { $0 + " " })
        }
        guard !stem.isEmpty else { return Completion(head: head, candidates: []) }
        let mention = stem.hasPrefix("@") ? "@" : ""
        let names = match(String(stem.dropFirst(mention.count)), people)
        return Completion(head: head, candidates: names.map { mention + $0 + (head.isEmpty ? ": " : " ") })
    }

    private static func match(_ stem: String, _ names: [String]) -> [String] {
        let folded = stem.lowercased()
        return names.filter { $0.lowercased().hasPrefix(folded) }
    }
}

/// Repeated Tabs walk through the candidates.
struct CompletionCycle: Sendable {
    let head: String
    let candidates: [String]
    var shown: Int?

    mutating func advance(backwards: Bool) -> String? {
        guard !candidates.isEmpty else { return nil }
        let step = backwards ? candidates.count - 1 : 1
        let next = shown.map { ($0 + step) % candidates.count } ?? (backwards ? candidates.count - 1 : 0)
        shown = next
        return head + candidates[next]
    }
}
