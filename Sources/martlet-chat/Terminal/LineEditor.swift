// The line that is being typed: readline's keys, a history, completion. The screen session feeds it keys and draws
// `before` and `after` around the cursor. A cursor step is a grapheme cluster, never half an emoji.
//
// Bounded by `bytesLimit` (what would exceed it is not inserted) and `historyLimit` (the oldest line goes).

/// An editable line with history and completion.
package struct LineEditor: Sendable {
    /// Bytes of UTF-8 in one line; the server's default limit for a message leaves room for the envelope.
    package static let bytesLimit = 8192
    /// Lines that the history keeps.
    package static let historyLimit = 500

    /// What a key led to.
    package enum Outcome: Equatable, Sendable {
        /// The line may have changed.
        case edited
        /// The line was sent; the editor is empty again.
        case submitted(String)
        /// Nothing fits there (line full, no history, nothing to complete): the terminal may beep.
        case refused
        /// The key is not the editor's business.
        case ignored
    }

    /// The text before the cursor.
    package private(set) var before = ""
    /// The text from the cursor on.
    package private(set) var after = ""
    private var killed = ""
    private var history: [String] = []
    /// Which history line is shown; nil while it is the draft.
    private var recalled: Int?
    private var draft = ""
    private var cycle: CompletionCycle?

    /// An empty line without history.
    package init() {}

    /// The whole line.
    package var text: String { before + after }

    /// Applies `key`; `complete` answers with the candidates for the text before the cursor.
    package mutating func handle(_ key: Key, complete: (String) -> Completion) -> Outcome {
        if key == .tab || key == .backTab { return completeNext(backwards: key == .backTab, complete) }
        cycle = nil
        switch key {
        case .text(let scalar): return insert(String(Character(scalar)))
        case .paste(let pasted): return insert(Self.singleLine(pasted))
        case .enter: return submit()
        case .backspace, .control("h"): return edit { $0.before.popLast() != nil }
        case .delete, .control("d"): return edit { $0.dropNext() }
        case .left, .control("b"): return edit { $0.moveLeft() }
        case .right, .control("f"): return edit { $0.moveRight() }
        case .home, .control("a"): set(before: "", after: text)
        case .end, .control("e"): set(before: text, after: "")
        case .wordLeft: while wordBoundaryLeft() {}
        case .wordRight: while wordBoundaryRight() {}
        case .control("w"): kill(wordStart(spacesOnly: true), atStart: false)
        case .deleteWord: kill(wordStart(spacesOnly: false), atStart: false)
        case .control("u"): kill(before.startIndex, atStart: true)
        case .control("k"):
            if !after.isEmpty { killed = after }
            after = ""
        case .control("y"): return insert(killed)
        case .up, .control("p"): return recall(older: true)
        case .down, .control("n"): return recall(older: false)
        default: return .ignored
        }
        return .edited
    }

    /// Empties the line without sending it (Ctrl-C).
    package mutating func clear() {
        set(before: "", after: "")
        recalled = nil
        cycle = nil
    }

    private mutating func set(before: String, after: String) {
        self.before = before
        self.after = after
    }

    private mutating func edit(_ body: (inout LineEditor) -> Bool) -> Outcome { body(&self) ? .edited : .refused }

    private mutating func insert(_ addition: String) -> Outcome {
        guard before.utf8.count + after.utf8.count + addition.utf8.count <= Self.bytesLimit else { return .refused }
        before += addition
        return .edited
    }

    private mutating func dropNext() -> Bool {
        guard !after.isEmpty else { return false }
        after.removeFirst()
        return true
    }

    private mutating func moveLeft() -> Bool {
        guard let last = before.popLast() else { return false }
        after.insert(last, at: after.startIndex)
        return true
    }

    private mutating func moveRight() -> Bool {
        guard let first = after.first else { return false }
        after.removeFirst()
        before.append(first)
        return true
    }

    private static func isWord(_ character: Character) -> Bool { character.isLetter || character.isNumber }

    private mutating func wordBoundaryLeft() -> Bool {
        guard let last = before.last else { return false }
        _ = moveLeft()
        return !Self.isWord(last) || before.last.map(Self.isWord) == true
    }

    private mutating func wordBoundaryRight() -> Bool {
        guard let first = after.first else { return false }
        _ = moveRight()
        return !Self.isWord(first) || after.first.map(Self.isWord) == true
    }

    private func wordStart(spacesOnly: Bool) -> String.Index {
        var index = before.endIndex
        var inWord = false
        while index > before.startIndex {
            let previous = before.index(before: index)
            let isWord = spacesOnly ? before[previous] != " " : Self.isWord(before[previous])
            if inWord && !isWord { break }
            inWord = inWord || isWord
            index = previous
        }
        return index
    }

    private mutating func kill(_ start: String.Index, atStart: Bool) {
        let removed = String(before[start...])
        if !removed.isEmpty { killed = removed }
        before = atStart ? "" : String(before[..<start])
    }

    private static func singleLine(_ pasted: String) -> String {
        var result = ""
        for line in pasted.split(omittingEmptySubsequences: true, whereSeparator: \.isNewline) {
            if !result.isEmpty { result.append(" ") }
            result.append(ShownText(String(line)).string)
        }
        return result
    }

    private mutating func submit() -> Outcome {
        let line = text
        clear()
        guard !line.isEmpty else { return .edited }
        if history.last != line { history.append(line) }
        if history.count > Self.historyLimit { history.removeFirst() }
        return .submitted(line)
    }

    private mutating func recall(older: Bool) -> Outcome {
        let next: Int?
        switch (recalled, older) {
        case (nil, true): next = history.isEmpty ? nil : history.count - 1
        case (nil, false): next = nil
        case (let shown?, true): next = shown > 0 ? shown - 1 : nil
        case (let shown?, false): next = shown + 1
        }
        guard let next else { return .refused }
        if recalled == nil { draft = text }
        if next >= history.count {
            recalled = nil
            set(before: draft, after: "")
        } else {
            recalled = next
            set(before: history[next], after: "")
        }
        return .edited
    }

    private mutating func completeNext(backwards: Bool, _ complete: (String) -> Completion) -> Outcome {
        if cycle == nil {
            let completion = complete(before)
            guard !completion.candidates.isEmpty else { return .refused }
            cycle = CompletionCycle(head: completion.head, candidates: completion.candidates, shown: nil)
        }
        guard let text = cycle?.advance(backwards: backwards) else { return .refused }
        guard text.utf8.count + after.utf8.count <= Self.bytesLimit else { return .refused }
        before = text
        if cycle?.candidates.count == 1 { cycle = nil }
        return .edited
    }
}
