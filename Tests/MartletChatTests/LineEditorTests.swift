// The edited line: readline's keys, history, completion.

import Testing

@testable import ChatTerminal

@Suite("Line editor")
struct LineEditorTests {
    private func type(_ keys: [Key], into editor: inout LineEditor) -> [LineEditor.Outcome] {
        keys.map { key in
            editor.handle(key) {
                Completion.find(line: $0, people: ["anna", "Anton", "bob"], rooms: ["lobby", "dev"])
            }
        }
    }

    private func typed(_ keys: [Key]) -> LineEditor {
        var editor = LineEditor()
        _ = type(keys, into: &editor)
        return editor
    }

    private func text(_ text: String) -> [Key] { text.unicodeScalars.map { .text($0) } }

    @Test("The readline keys do what readline does")
    func readline() {
        let cases: [([Key], String, String)] = [
            (text("one two") + [.control("a")], "", "one two"),
            (text("one two") + [.control("a"), .control("e")], "one two", ""),
            (text("one two") + [.control("w")], "one ", ""),
            (text("one two  ") + [.control("w")], "one ", ""),
            (text("one two") + [.left, .left, .control("k")], "one t", ""),
            (text("one two") + [.left, .left, .control("u")], "", "wo"),
            (text("one two") + [.control("w"), .control("y"), .control("y")], "one twotwo", ""),
            (text("a.b") + [.deleteWord], "a.", ""),
            (text("one two") + [.wordLeft], "one ", "two"),
            (text("one two") + [.home, .wordRight], "one", " two"),
            (text("ab") + [.left, .backspace], "", "b"),
            (text("ab") + [.left, .delete], "a", ""),
            (text("ab") + [.home, .control("d")], "", "b"),
            ([.paste("one\r\ntwo\u{1B}[31m\nthree")], "one two three", ""),
        ]
        for (keys, before, after) in cases {
            let editor = typed(keys)
            #expect(editor.before == before && editor.after == after, "\(keys)")
        }
    }

    @Test("The cursor steps over whole characters, never into an emoji or an accent")
    func graphemes() {
        let editor = typed(text("x👩‍👩‍👧e\u{301}") + [.left, .left])
        #expect(editor.before == "x")
        #expect(editor.after == "👩‍👩‍👧e\u{301}")
        #expect(typed(text("👩‍👩‍👧") + [.backspace]).text.isEmpty)
    }

    @Test("History goes back and forth and keeps the draft")
    func history() {
        var editor = LineEditor()
        #expect(type(text("first") + [.enter], into: &editor).last == .submitted("first"))
        _ = type(text("second") + [.enter] + text("draft"), into: &editor)
        _ = type([.up], into: &editor)
        #expect(editor.text == "second")
        _ = type([.up], into: &editor)
        #expect(editor.text == "first")
        #expect(type([.up], into: &editor) == [.refused])
        _ = type([.down, .down], into: &editor)
        #expect(editor.text == "draft")
        #expect(type([.down], into: &editor) == [.refused])
    }

    @Test("The history and the line are bounded")
    func bounds() {
        var editor = LineEditor()
        for number in 0..<(LineEditor.historyLimit + 50) { _ = type(text("\(number)") + [.enter], into: &editor) }
        var steps = 0
        while type([.up], into: &editor) == [.edited] { steps += 1 }
        #expect(steps == LineEditor.historyLimit)
        editor.clear()
        let long = String(repeating: "x", count: LineEditor.bytesLimit)
        #expect(type([.paste(long)], into: &editor) == [.edited])
        #expect(type(text("y"), into: &editor) == [.refused])
        #expect(type([.paste(long)], into: &editor) == [.refused])
    }

    @Test("Tab completes commands, rooms and people, and walks through the candidates")
    func completion() {
        #expect(typed(text("/jo") + [.tab]).text == "/join ")
        #expect(typed(text("/join l") + [.tab]).text == "/join lobby ")
        #expect(typed(text("an") + [.tab]).text == "anna: ")
        #expect(typed(text("an") + [.tab, .tab]).text == "Anton: ")
        #expect(typed(text("an") + [.tab, .tab, .tab]).text == "anna: ")
        #expect(typed(text("an") + [.backTab]).text == "Anton: ")
        #expect(typed(text("hi @bo") + [.tab]).text == "hi @bob ")
        var editor = LineEditor()
        #expect(type(text("zz") + [.tab], into: &editor).last == .refused)
    }

    @Test("Lines are understood as messages and commands")
    func commands() {
        let cases: [(String, ChatCommand)] = [
            ("hello", .say("hello")), ("//quit", .say("/quit")), ("", .nothing), ("   ", .nothing),
            ("/join lobby", .join(room: "lobby")), ("/JOIN lobby ", .join(room: "lobby")), ("/part", .part(room: nil)),
            ("/part dev", .part(room: "dev")), ("/msg dev  a b ", .message(room: "dev", text: "a b")),
            ("/ping", .ping), ("/quit", .quit), ("/help", .help), ("/reconnect", .reconnect), ("/who", .who(room: nil)),
            ("/who dev ", .who(room: "dev")), ("/members", .members), ("/cancel", .cancel),
            ("/history", .history),
        ]
        for (line, command) in cases { #expect(ChatCommand(line: line) == command, "\(line)") }
        for line in ["/join", "/join a b", "/msg", "/msg dev", "/nonsense", "/", "/part a b", "/who a b"] {
            guard case .mistake = ChatCommand(line: line) else {
                Issue.record("\(line) must be refused with an explanation")
                continue
            }
        }
    }
}
