// Who is there, on the screen: the list beside the messages, lines for joins and leaves, completion.

import Testing

@testable import ChatTerminal

@Suite("Members on the screen")
struct MemberScreenTests {
    private func session(_ rows: Int = 10, _ columns: Int = 80) -> ScreenSession {
        var session = ScreenSession(user: "anna", size: TerminalSize(rows: rows, columns: columns), usesColor: true)
        let opened = session.open("lobby")
        #expect(opened)
        session.receive(.connected(client: "me", server: "martlet"), at: noon)
        session.receive(.joined(room: "lobby", continuity: .fresh), at: noon)
        return session
    }

    private func member(_ user: String, _ client: String) -> ChatMember { ChatMember(user: user, client: client) }

    private func list(_ users: [String], isCut: Bool = false, _ counted: ChatMembers.Counts? = nil) -> RosterAnswer {
        let members = users.enumerated().map { member($1, "c\($0)") }
        return .list(ChatMembers(members: members, isCut: isCut, counted: counted))
    }

    private func rows(_ session: ScreenSession) -> [String] { session.frame.rows.map(\.text) }

    /// The list beside the messages, without its rule and spaces.
    private func panel(_ session: ScreenSession) -> [String] {
        rows(session).dropFirst().dropLast(2).compactMap { row in
            guard let rule = row.lastIndex(of: "│") else { return nil }
            var text = row[row.index(after: rule)...].drop { $0 == " " }
            while text.last == " " { text = text.dropLast() }
            return text.isEmpty ? nil : String(text)
        }
    }

    private func traffic(_ session: ScreenSession) -> [String] {
        session.model.shown.entries.filter { $0.kind == .traffic }.map(\.text.string)
    }

    @Test("The list is asked for when the room is entered, and shows users in order with a count")
    func panel() {
        var session = session()
        let wishes = session.takeWishes()
        #expect(wishes == [.roster(room: "lobby")])
        let again = session.takeWishes()
        #expect(again.isEmpty, "once")
        #expect(panel(session) == ["members …"])
        session.take(list(["bob", "anna", "漢字漢字漢字漢字漢字漢字", "bob"]), of: "lobby", at: noon)
        #expect(panel(session) == ["3 members", "anna", "bob (2)", "漢字漢字漢字漢字漢"])
        session.receive(.memberJoined(room: "lobby", member("carl", "x")), at: noon)
        session.receive(.memberLeft(room: "lobby", member("anna", "c1")), at: noon)
        #expect(panel(session) == ["3 members", "bob (2)", "carl", "漢字漢字漢字漢字漢"])
        let bob = session.frame.rows[2].spans.first { $0.text == "bob" }
        #expect(bob?.style.color == NameColor.of("bob"), "a name has its colour, the one that its messages have")
        session.take(list(["bob"]), of: "lobby", at: noon)
        #expect(panel(session) == ["1 member", "bob"])
        // After a reconnection it is fetched again; until then the old one is shown.
        session.receive(.disconnected(code: 0, reason: "reset", retryMilliseconds: 1), at: noon)
        var wish = session.takeWishes()
        #expect(wish.isEmpty)
        session.receive(.connected(client: "me2", server: ""), at: noon)
        session.receive(.joined(room: "lobby", continuity: .fresh), at: noon)
        wish = session.takeWishes()
        #expect(wish == [.roster(room: "lobby")] && panel(session).last == "bob")
    }

    @Test("What does not fit is counted in the last row, also of a list that the server cut")
    func overfull() {
        var session = session(8)
        let names = (1...17).map { "user\($0 + 10)" }
        session.take(list(names), of: "lobby", at: noon)
        #expect(panel(session) == ["17 members", "user11", "user12", "user13", "… and 14 more"])
        session.take(list(names, isCut: true, .init(clients: 40_000, users: 30_000)), of: "lobby", at: noon)
        #expect(panel(session).first == "30000 members" && panel(session).last == "… and 29997 more")
        session.take(list(["a", "b"], isCut: true), of: "lobby", at: noon)
        #expect(panel(session) == ["2+ members", "a", "b", "… and more"])
        session.take(list([], isCut: true, .init(clients: 9, users: 9)), of: "lobby", at: noon)
        #expect(panel(session) == ["9 members", "… and 9 more"])
    }

    @Test("Rooms that track nobody, or do not tell, say so and show who spoke; nothing is asked again")
    func untracked() {
        var session = session()
        _ = session.takeWishes()
        session.take(.untracked, of: "lobby", at: noon)
        #expect(panel(session) == ["not tracked here"])
        for user in ["bob", "carl"] {
            session.receive(
                .message(ChatMessage(room: "lobby", user: user, client: "c", data: Array("1".utf8))), at: noon)
        }
        #expect(panel(session) == ["not tracked here;", "seen:", "carl", "bob"])
        session.take(.forbidden, of: "lobby", at: noon)
        #expect(panel(session).joined(separator: " ") == "not for you to see; seen: carl bob")
        let wishes = session.takeWishes()
        #expect(wishes.isEmpty && session.nextTick == nil)
        session.take(.untracked, of: "nowhere", at: noon)
    }

    @Test("A list that is not to be had now is asked for again in time")
    func unavailable() {
        var session = session()
        session.advance(to: 1000)
        _ = session.takeWishes()
        session.take(.unavailable(retryMilliseconds: 7000), of: "lobby", at: noon)
        #expect(panel(session) == ["not known now"] && session.nextTick == 8000)
        var wishes = session.takeWishes()
        #expect(wishes.isEmpty)
        session.advance(to: 8000)
        wishes = session.takeWishes()
        #expect(wishes == [.roster(room: "lobby")])
    }

    @Test("Only the room on the screen is asked for, and only while its list is shown")
    func laziness() {
        var session = session()
        _ = session.takeWishes()
        let opened = session.open("dev")
        session.receive(.joined(room: "dev", continuity: .fresh), at: noon)
        var wishes = session.takeWishes()
        #expect(opened && wishes == [.roster(room: "dev")])
        session.receive(.joined(room: "lobby", continuity: .fresh), at: noon)
        wishes = session.takeWishes()
        #expect(wishes.isEmpty)
        wishes = session.feed("\u{1B}1".utf8, at: noon)
        #expect(wishes == [.roster(room: "lobby")])
        session.resize(TerminalSize(rows: 10, columns: 59))
        session.receive(.joined(room: "lobby", continuity: .fresh), at: noon)
        wishes = session.takeWishes()
        #expect(wishes.isEmpty && panel(session).isEmpty)
    }

    @Test("F2 and /members hide the list and bring it back; a narrow terminal has none, and says why")
    func toggle() {
        var session = session()
        session.take(list(["bob"]), of: "lobby", at: noon)
        for key in ["\u{1B}OQ", "/members\r", "\u{1B}[12~", "\u{1B}[[B"] {
            let before = panel(session).isEmpty
            _ = session.feed(key.utf8, at: noon)
            #expect(panel(session).isEmpty != before, "\(key)")
        }
        session.resize(TerminalSize(rows: 10, columns: 60))
        #expect(panel(session) == ["1 member", "bob"])
        session.resize(TerminalSize(rows: 10, columns: 59))
        #expect(panel(session).isEmpty)
        _ = session.feed("/members\r/members\r".utf8, at: noon)
        #expect(rows(session).contains { $0.contains("the list needs 60 columns") })
    }

    @Test("Joins and leaves are dim lines; those of a moment share one, and what cancels out is not told")
    func folding() {
        var session = session(14, 50)
        func join(_ name: String) { session.receive(.memberJoined(room: "lobby", member(name, "c-" + name)), at: noon) }
        func leave(_ name: String) { session.receive(.memberLeft(room: "lobby", member(name, "c-" + name)), at: noon) }
        session.advance(to: 0)
        join("bob")
        #expect(rows(session).contains("12:00 → bob joined"))
        let line = session.frame.rows.first { $0.text.contains("→ bob joined") }
        #expect(line?.spans.allSatisfy { $0.style.isDim } == true)
        join("eve")
        #expect(traffic(session) == ["→ bob and eve joined"])
        for name in ["c", "d", "e"] { join(name) }
        #expect(traffic(session) == ["→ bob, eve and 3 more joined"])
        leave("d")
        #expect(traffic(session) == ["→ bob, eve and 3 more joined · ← d left"])
        join("d")
        #expect(traffic(session) == ["→ bob, eve and 3 more joined"], "who comes back was never away")
        session.advance(to: 5000)
        leave("bob")
        leave("eve")
        join("eve")
        join("zoe")
        #expect(traffic(session) == ["→ bob, eve and 3 more joined", "→ zoe joined · ← bob left"])
        session.advance(to: 10_000)
        leave("zoe")
        #expect(traffic(session).count == 3)
        join("zoe")
        #expect(traffic(session).count == 2, "a reconnection leaves no line")
        // A message in between ends the line.
        join("x")
        session.receive(.message(ChatMessage(room: "lobby", user: "x", client: "c", data: Array("1".utf8))), at: noon)
        join("y")
        #expect(traffic(session).suffix(2) == ["→ x joined", "→ y joined"])
        #expect(session.model.shown.unread == 0)
    }

    @Test("Our own coming, a user's further connections and strange rooms are not told")
    func silence() {
        var session = session()
        session.receive(.memberJoined(room: "lobby", member("anna", "me")), at: noon)
        session.take(list(["bob"]), of: "lobby", at: noon)
        session.receive(.memberJoined(room: "lobby", member("bob", "second")), at: noon)
        session.receive(.memberLeft(room: "lobby", member("bob", "second")), at: noon)
        session.receive(.memberJoined(room: "elsewhere", member("eve", "x")), at: noon)
        session.receive(.memberLeft(room: "lobby", member("unknown", "x")), at: noon)
        session.receive(.memberLeft(room: "lobby", member("anna", "me")), at: noon)
        #expect(traffic(session).isEmpty)
    }

    @Test("A user who left with all connections at once is told when the list is there")
    func userScope() {
        var session = session()
        session.take(list(["bob", "bob", "eve"]), of: "lobby", at: noon)
        session.receive(.memberLeft(room: "lobby", member("bob", "c1")), at: noon)
        let wishes = session.takeWishes()
        #expect(wishes == [.roster(room: "lobby")] && traffic(session).isEmpty)
        session.take(list(["eve"]), of: "lobby", at: noon)
        #expect(traffic(session) == ["← bob left"] && panel(session) == ["1 member", "eve"])
    }

    @Test("A view that was scrolled back stays where it is while a line of joins grows and goes")
    func scrolling() {
        var session = session(8, 30)
        for number in 0..<50 {
            session.receive(
                .message(ChatMessage(room: "lobby", user: "u", client: "c", data: Array("\(number)".utf8))), at: noon)
        }
        _ = session.feed("\u{1B}[5~".utf8, at: noon)
        let back = rows(session)[1...5]
        let names = (0..<3).map { String(repeating: "name\($0)", count: 8) }
        for name in names {
            session.receive(.memberJoined(room: "lobby", member(name, name)), at: noon)
            #expect(rows(session)[1...5] == back)
        }
        session.advance(to: 6000)
        for name in names { session.receive(.memberLeft(room: "lobby", member(name, name)), at: noon) }
        #expect(rows(session)[1...5] == back)
        for name in names {
            session.receive(.memberJoined(room: "lobby", member(name, name)), at: noon)
            #expect(rows(session)[1...5] == back)
        }
    }

    @Test("A storm of joins makes one line and a bounded list")
    func storm() {
        var session = session()
        for number in 0..<10_000 {
            session.receive(.memberJoined(room: "lobby", member("user\(number)", "\(number)")), at: noon)
        }
        #expect(traffic(session) == ["→ user0, user1 and 9998 more joined"])
    }

    @Test("Tab completes who spoke first, then who is there")
    func completion() {
        var session = session()
        session.take(list(["bert", "bob", "anna"]), of: "lobby", at: noon)
        session.receive(
            .message(ChatMessage(room: "lobby", user: "bob", client: "c1", data: Array("1".utf8))), at: noon)
        _ = session.feed("b\t".utf8, at: noon)
        #expect(session.editor.text == "bob: ")
        _ = session.feed("\t".utf8, at: noon)
        #expect(session.editor.text == "bert: ")
        _ = session.feed("\u{15}/mem\t".utf8, at: noon)
        #expect(session.editor.text == "/members ")
        _ = session.feed("\u{15}/who lo\t".utf8, at: noon)
        #expect(session.editor.text == "/who lobby ")
    }

    @Test("No width and no height makes a row too wide or a frame too high", arguments: [60, 61, 75, 80, 200])
    func widths(_ columns: Int) {
        for height in 1...12 {
            var session = session(height, columns)
            session.take(
                list(["👩‍👩‍👧‍👦", "漢字漢字漢字漢字漢字漢字漢字漢字", "\u{1B}[31mred", "", "a\u{301}\u{301}b"]), of: "lobby", at: noon)
            session.receive(.limited(room: "lobby", number: 9, milliseconds: 9000, waits: true), at: noon)
            _ = session.feed("漢字\r".utf8, at: noon)
            let frame = session.frame
            #expect(frame.rows.count == height && frame.rows.allSatisfy { $0.cells <= columns })
        }
    }
}
