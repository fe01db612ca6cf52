// The screen: layout, wrapping, scrolling, unread marks, and what reaches the terminal. A small terminal emulator
// plays the bytes back, so that the tests look at what a person would see.

import Testing

@testable import ChatTerminal

let noon = LocalTime(year: 2026, month: 11, day: 21, hour: 12, minute: 0)
let nextDay = LocalTime(year: 2026, month: 11, day: 22, hour: 9, minute: 5)

/// Understands exactly the sequences that the renderer may send and fails on any other.
struct TinyTerminal {
    var cells: [[Character]]
    var row = 0
    var column = 0
    private(set) var unknown: [String] = []

    init(_ size: TerminalSize) {
        cells = Array(repeating: Array(repeating: " ", count: size.columns), count: size.rows)
    }

    var text: [String] {
        cells.map { row in
            var line = String(row.filter { $0 != "\u{0}" })
            while line.last == " " { line.removeLast() }
            return line
        }
    }

    mutating func play(_ bytes: [UInt8]) {
        let characters = Array(String(decoding: bytes, as: UTF8.self))
        var index = 0
        while index < characters.count {
            if characters[index] == "\u{1B}" {
                var sequence = ""
                index += 1
                while index < characters.count {
                    sequence.append(characters[index])
                    index += 1
                    if let last = sequence.last, last.isLetter { break }
                }
                obey(sequence)
                continue
            }
            put(characters[index])
            index += 1
        }
    }

    private mutating func put(_ character: Character) {
        let width = CharacterWidth.cells(character)
        guard width > 0, column + width <= cells[row].count else { return }
        cells[row][column] = character
        if width == 2 { cells[row][column + 1] = "\u{0}" }
        column += width
    }

    private mutating func obey(_ sequence: String) {
        if sequence == "[2J" {
            for row in cells.indices { cells[row] = Array(repeating: " ", count: cells[row].count) }
        } else if sequence == "[K" {
            for place in column..<cells[row].count { cells[row][place] = " " }
        } else if sequence.hasSuffix("H"), sequence.hasPrefix("[") {
            let numbers = sequence.dropFirst().dropLast().split(separator: ";").compactMap { Int($0) }
            (row, column) = ((numbers.first ?? 1) - 1, (numbers.last ?? 1) - 1)
        } else if !sequence.hasSuffix("m"), !["[?25l", "[?25h", "[?2026h", "[?2026l"].contains(sequence) {
            unknown.append(sequence)
        }
    }
}

@Suite("Screen")
struct ScreenTests {
    private func session(_ rows: Int = 10, _ columns: Int = 40, color: Bool = false) -> ScreenSession {
        var session = ScreenSession(user: "anna", size: TerminalSize(rows: rows, columns: columns), usesColor: color)
        let opened = session.open("lobby")
        #expect(opened)
        session.receive(.connected(client: "me", server: "martlet"), at: noon)
        session.receive(.joined(room: "lobby", continuity: .fresh), at: noon)
        return session
    }

    private func says(_ text: String, by user: String = "bob", in room: String = "lobby") -> ChatEvent {
        .message(ChatMessage(room: room, user: user, client: "c-" + user, data: MessageText.write(text)))
    }

    private func rows(_ session: ScreenSession) -> [String] { session.frame.rows.map(\.text) }

    @Test("A frame has tabs, a day line, messages, a status bar and the input line")
    func frame() {
        var session = session()
        session.receive(says("hello there"), at: noon)
        session.receive(.latency(milliseconds: 12.3), at: noon)
        _ = session.feed("hi 漢".utf8, at: noon)
        let rows = rows(session)
        #expect(rows.count == 10)
        #expect(rows[0] == " 1:lobby ")
        #expect(rows[1].contains("Saturday 21 November 2026"))
        #expect(rows[2] == "12:00 -- you are in lobby")
        #expect(rows[3] == "12:00 bob  hello there")
        #expect(rows[8].contains("● connected · 12 ms · anna · lobby"))
        #expect(rows[9] == "> hi 漢")
        #expect(session.frame.cursor == (9, 7))
    }

    @Test("Long messages wrap at spaces and re-wrap when the terminal is resized")
    func wrapping() {
        var session = session(12, 40)
        session.receive(says("one two three four five six seven eight nine ten eleven"), at: noon)
        let wide = rows(session)
        #expect(wide[3] == "12:00 bob  one two three four five six")
        #expect(wide[4] == "           seven eight nine ten eleven")
        session.resize(TerminalSize(rows: 14, columns: 24))
        let narrow = rows(session)
        #expect(narrow.contains("12:00 bob  one two three"))
        #expect(narrow.allSatisfy { CharacterWidth.cells($0) <= 24 })
    }

    @Test("Wide characters and long words never exceed the width", arguments: [2, 3, 5, 8, 20, 41, 96, 130])
    func widths(_ columns: Int) {
        var session = session(9, columns)
        session.receive(says("漢字漢字漢字漢字 " + String(repeating: "x", count: 200) + " 👩‍👩‍👧‍👦🇩🇪", by: "名前名前名前名前"), at: noon)
        _ = session.feed(String(repeating: "漢x", count: 100).utf8, at: noon)
        let frame = session.frame
        #expect(frame.rows.count == 9)
        for row in frame.rows { #expect(row.cells <= columns, "\(row.text)") }
        #expect(frame.cursor.column < columns)
    }

    @Test(
        "The smallest terminals get a frame of their size",
        arguments: [(1, 2), (2, 2), (3, 4), (4, 1), (0, 0), (-5, 9)])
    func tiny(_ rows: Int, _ columns: Int) {
        let size = TerminalSize(rows: rows, columns: columns)
        var session = session(rows, columns)
        session.receive(says("hello"), at: noon)
        #expect(session.frame.rows.count == size.rows)
        #expect(session.frame.cursor.row < size.rows)
    }

    @Test("Drawing only what changed shows the same as drawing everything")
    func differential() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = TestRandom(state: seed)
        let size = TerminalSize(rows: 8, columns: 64)
        var session = ScreenSession(user: "anna", size: size, usesColor: true)
        var terminal = TinyTerminal(size)
        let keys = [
            "a", "漢", "\u{7F}", "\u{1}", "\u{5}", "\u{1B}[D", "\r", "\u{1B}[5~", "\u{1B}[6~", "\u{1B}1", "\u{1B}2",
            "/join x\r", "\u{1B}OQ",
        ]
        for step in 0..<300 {
            switch random.next() % 4 {
            case 0: session.receive(says("text \(step) 漢字", in: step % 2 == 0 ? "x" : "lobby"), at: noon)
            case 1:
                let member = ChatMember(user: "漢\(step % 7)", client: "c\(step % 9)")
                session.receive(
                    step % 3 == 0 ? .memberLeft(room: "x", member) : .memberJoined(room: "x", member), at: noon)
            default: _ = session.feed(keys[Int(random.next() % UInt64(keys.count))].utf8, at: noon)
            }
            terminal.play(session.render())
            var full = TinyTerminal(size)
            var renderer = ScreenRenderer()
            full.play(renderer.draw(session.frame, size: size))
            #expect(terminal.text == full.text, "seed \(seed), step \(step)")
        }
        #expect(terminal.unknown.isEmpty)
    }

    @Test("Nothing is sent when nothing changed, and Ctrl-L draws everything again")
    func redraw() {
        var session = session()
        let (first, second) = (session.render(), session.render())
        #expect(!first.isEmpty)
        #expect(second.isEmpty)
        _ = session.feed([0x0C], at: noon)
        #expect(String(decoding: session.render(), as: UTF8.self).contains("\u{1B}[2J"))
    }

    @Test("A peer's escape sequences reach the terminal from no field of any event")
    func injection() {
        let evil = "\u{1B}]0;owned\u{7}\u{1B}[2J\u{9B}31m\u{202E}x"
        var session = session(30, 120)
        var terminal = TinyTerminal(TerminalSize(rows: 30, columns: 120))
        let opened = session.open(evil)
        #expect(opened)
        let events: [ChatEvent] = [
            .connecting(url: evil), .connected(client: evil, server: evil), .joined(room: evil, continuity: .fresh),
            says(evil, by: evil, in: evil), .failed(command: evil, room: evil, number: 1, code: 1, reason: evil),
            .left(room: evil, code: 1, reason: evil), .disconnected(code: 3000, reason: evil, retryMilliseconds: 5),
            .note(evil), .memberJoined(room: evil, ChatMember(user: evil, client: evil)),
            .memberJoined(room: evil, ChatMember(user: "", client: evil)),
            .memberLeft(room: evil, ChatMember(user: evil + evil, client: evil)),
            .members(room: evil, ChatMembers(members: [ChatMember(user: evil + "y", client: evil)])),
            .limited(room: evil, number: 1, milliseconds: 1, waits: true),
            .limited(room: evil + "z", number: 1, milliseconds: 1, waits: true), .dropped(room: evil, number: 1),
        ]
        for event in events { session.receive(event, at: noon) }
        let bytes = session.render()
        terminal.play(bytes)
        #expect(terminal.unknown.isEmpty)
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(
            !text.contains("\u{1B}]")
                && !text.unicodeScalars.contains { $0.value == 7 || $0.value == 0x9B || $0.value == 0x202E })
        #expect(text.components("\u{1B}[2J") == 2, "the only clearing of the screen is our own")
    }

    @Test("Messages for another room count as unread and are marked when it is opened")
    func unread() {
        var session = session()
        let opened = session.open("dev")
        #expect(opened)
        session.receive(says("one"), at: noon)
        session.receive(says("two"), at: noon)
        #expect(rows(session)[0] == " 1:lobby(2)  2:dev ")
        _ = session.feed("\u{1B}1".utf8, at: noon)
        let shown = rows(session)
        #expect(shown[0] == " 1:lobby  2:dev ")
        let marker = shown.firstIndex { $0.contains(" new ") }
        let one = shown.firstIndex { $0.hasSuffix("one") }
        #expect(marker != nil && one == marker.map { $0 + 1 })
        _ = session.feed("\u{1B}2\u{1B}1".utf8, at: noon)
        #expect(!rows(session).contains { $0.contains(" new ") })
    }

    @Test("A new day gets its line")
    func days() {
        var session = session()
        session.receive(says("before"), at: noon)
        session.receive(says("after"), at: nextDay)
        #expect(rows(session).contains { $0.contains("Sunday 22 November 2026") })
        #expect(LocalTime(year: 2024, month: 2, day: 29, hour: 0, minute: 0).date == "Thursday 29 February 2024")
        #expect(LocalTime(year: 1, month: 0, day: 0, hour: 0, minute: 0).date.isEmpty == false)
    }

    @Test("Scrolling back holds its place while messages come and after a resize")
    func scrolling() {
        var session = session(8, 80)
        _ = session.feed("/members\r".utf8, at: noon)
        for number in 0..<50 { session.receive(says("line \(number)"), at: noon) }
        #expect(rows(session)[5].hasSuffix("line 49"))
        _ = session.feed("\u{1B}[5~".utf8, at: noon)
        let back = rows(session)
        #expect(back[5].hasSuffix("line 45"))
        session.receive(says("more"), at: noon)
        #expect(rows(session)[1...5] == back[1...5])
        #expect(rows(session)[6].contains("rows back"))
        session.resize(TerminalSize(rows: 8, columns: 73))
        #expect(rows(session)[5].hasSuffix("line 45"))
        for _ in 0..<30 { _ = session.feed("\u{1B}[5~".utf8, at: noon) }
        #expect(rows(session)[1].contains("November"))
        for _ in 0..<30 { _ = session.feed("\u{1B}[6~".utf8, at: noon) }
        #expect(rows(session)[5].hasSuffix("more"))
    }

    @Test("Scrollback and the list of people are bounded")
    func bounds() {
        var session = session()
        for number in 0..<6000 { session.receive(says("x", by: "user\(number)"), at: noon) }
        let room = session.model.shown
        #expect(room.entries.count <= ChatRoom.entriesLimit + ChatRoom.entriesLimit / 8)
        #expect(room.entries.count >= ChatRoom.entriesLimit)
        #expect(room.people.count == ChatRoom.peopleLimit)
        for number in 0..<200 { _ = session.open("room\(number)") }
        #expect(session.model.rooms.count == ChatModel.roomsLimit)
    }

    @Test("Typed lines become actions for the shell")
    func actions() {
        var session = session()
        func type(_ text: String) -> [ChatAction] { session.feed(text.utf8, at: noon) }
        #expect(type("hello\r") == [.publish(room: "lobby", text: "hello", number: 1)])
        #expect(type("//x\r") == [.publish(room: "lobby", text: "/x", number: 2)])
        #expect(type("/msg dev hey\r") == [.publish(room: "dev", text: "hey", number: 3)])
        #expect(type("/join dev\r") == [.join(room: "dev")])
        #expect(session.model.shown.name == "dev")
        #expect(type("/join lobby\r").isEmpty, "a room that is open is only shown")
        #expect(type("/part dev\r") == [.part(room: "dev")])
        #expect(
            type("/who\r/who dev\r/history\r/ping\r/reconnect\r") == [
                .who(room: "lobby"), .who(room: "dev"), .history(room: "lobby"), .ping, .reconnect,
            ])
        #expect(type("\u{1A}") == [.suspend])
        #expect(type("abc\u{3}").isEmpty)
        #expect(type("\u{3}") == [.quit])
        #expect(type("\u{4}") == [.quit])
        #expect(type("/quit\r") == [.quit])
        #expect(type("/part\r") == [.part(room: "lobby")])
        #expect(type("hello\r").isEmpty)
        #expect(rows(session).contains { $0.contains("join a room first") })
        #expect(type("/help\r").isEmpty)
    }

    @Test("NO_COLOR leaves no colour codes; with colours a name always has the same one")
    func colors() {
        var plain = session(color: false)
        plain.receive(says("x"), at: noon)
        plain.receive(.note("n"), at: noon)
        #expect(!String(decoding: plain.render(), as: UTF8.self).contains("38;5;"))
        var colored = session(color: true)
        colored.receive(says("x"), at: noon)
        #expect(String(decoding: colored.render(), as: UTF8.self).contains("38;5;\(NameColor.of("bob"))m"))
    }

    @Test("The status bar follows the connection, and an outage is told once")
    func status() {
        var session = session(10, 80)
        session.receive(.disconnected(code: 3001, reason: "shutdown", retryMilliseconds: 1500), at: noon)
        session.receive(.connecting(url: "ws://x"), at: noon)
        session.receive(.disconnected(code: 0, reason: "refused", retryMilliseconds: 2500), at: noon)
        #expect(rows(session)[8].contains("reconnecting in 3 s"))
        #expect(rows(session).filter { $0.contains("connection lost") }.count == 1)
        session.receive(.connected(client: "me", server: ""), at: noon)
        session.receive(.joined(room: "lobby", continuity: .lost), at: noon)
        #expect(rows(session).contains { $0.contains("back; some messages may be missing") })
        session.receive(.disconnected(code: 3500, reason: "invalid token", retryMilliseconds: nil), at: noon)
        #expect(rows(session)[8].contains("disconnected"))
    }

}

extension String {
    func components(_ separator: String) -> Int {
        var count = 1
        var rest = self[...]
        while let range = rest.range(of: separator) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }

}

extension Substring {
    func range(of other: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(other) { return start..<index(start, offsetBy: other.count) }
            start = index(after: start)
        }
        return nil
    }
}
