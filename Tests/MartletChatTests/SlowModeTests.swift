// A room that takes no more for now, on the screen: the countdown, what waits, and how it is dropped.

import Testing

@testable import ChatTerminal

@Suite("Slow mode on the screen")
struct SlowModeTests {
    private func session(_ rows: Int = 12, _ columns: Int = 58) -> ScreenSession {
        var session = ScreenSession(user: "anna", size: TerminalSize(rows: rows, columns: columns), usesColor: false)
        let opened = session.open("lobby")
        #expect(opened)
        session.receive(.connected(client: "me", server: "martlet"), at: noon)
        session.receive(.joined(room: "lobby", continuity: .fresh), at: noon)
        session.advance(to: 1_000_000)
        return session
    }

    private func rows(_ session: ScreenSession) -> [String] { session.frame.rows.map(\.text) }

    private func waiting(_ session: ScreenSession) -> [String] {
        rows(session).filter { $0.hasPrefix("waiting  ") || $0.contains("more wait") }
    }

    private func status(_ session: ScreenSession) -> String { rows(session).dropLast().last ?? "" }

    private func say(_ text: String, _ session: inout ScreenSession) -> [ChatAction] {
        session.feed((text + "\r").utf8, at: noon)
    }

    @Test("The status bar counts down second by second and the message waits above it, until it is sent")
    func countdown() {
        var session = session()
        _ = say("hello", &session)
        #expect(waiting(session).isEmpty, "on its way is not waiting")
        session.receive(.limited(room: "lobby", number: 1, milliseconds: 3500, waits: true), at: noon)
        var seconds: [String] = []
        while let next = session.nextTick {
            seconds.append(String(status(session).split(separator: "slow mode: ").last?.prefix(3) ?? ""))
            #expect(waiting(session) == ["waiting  hello"])
            session.advance(to: next - 1)
            #expect(status(session).contains("slow mode: " + (seconds.last ?? "?")), "nothing changes between ticks")
            session.advance(to: next)
        }
        #expect(seconds == ["4 s", "3 s", "2 s", "1 s"])
        #expect(!status(session).contains("slow mode") && waiting(session) == ["waiting  hello"])
        session.receive(.published(room: "lobby", number: 1, position: nil), at: noon)
        #expect(waiting(session).isEmpty)
    }

    @Test("Several wait in their order, are shown up to three, and are bounded; the next line stays in the input")
    func several() {
        var session = session()
        _ = say("first", &session)
        session.receive(.limited(room: "lobby", number: 1, milliseconds: 4000, waits: true), at: noon)
        for number in 2...6 {
            let actions = say("line \(number)", &session)
            #expect(actions == [.publish(room: "lobby", text: "line \(number)", number: number)])
        }
        #expect(
            waiting(session) == [
                "waiting  first", "waiting  line 2", "waiting  line 3", "… and 3 more wait; Esc drops them",
            ])
        for number in 7...ChatRoom.waitingLimit { _ = say("line \(number)", &session) }
        let refused = say("one too many", &session)
        #expect(refused == [.beep] && session.editor.text == "one too many")
        session.receive(.published(room: "lobby", number: 1, position: nil), at: noon)
        let accepted = session.feed("\r".utf8, at: noon)
        #expect(accepted == [.publish(room: "lobby", text: "one too many", number: ChatRoom.waitingLimit + 1)])
        // Commands go through however much waits.
        let command = say("/ping", &session)
        #expect(command == [.ping])
    }

    @Test("Esc and /cancel drop what waits; with nothing waiting Esc does nothing and /cancel says so")
    func dropping() {
        var session = session()
        func escape() -> [ChatAction] { session.feed("\u{1B}".utf8, at: noon) + session.flushKeys(at: noon) }
        #expect(escape().isEmpty)
        #expect(say("/cancel", &session).isEmpty)
        #expect(rows(session).contains { $0.contains("nothing waits") })
        _ = say("hello", &session)
        #expect(escape().isEmpty, "it is on its way")
        session.receive(.limited(room: "lobby", number: 1, milliseconds: 4000, waits: true), at: noon)
        #expect(escape() == [.cancel(room: "lobby")])
        #expect(say("/cancel", &session) == [.cancel(room: "lobby")])
        session.receive(.dropped(room: "lobby", number: 1), at: noon)
        #expect(waiting(session).isEmpty && status(session).contains("slow mode: 4 s"))
    }

    @Test("What is typed during an outage is seen waiting, too")
    func outage() {
        var session = session()
        session.receive(.disconnected(code: 0, reason: "reset", retryMilliseconds: 500), at: noon)
        _ = say("hello?", &session)
        #expect(waiting(session) == ["waiting  hello?"])
        session.receive(.connected(client: "me", server: ""), at: noon)
        #expect(waiting(session).isEmpty)
        session.receive(.failed(command: "publish", room: "lobby", number: 1, code: 103, reason: "no"), at: noon)
        #expect(session.model.shown.outgoing.isEmpty)
    }

    @Test("A limit that is not waited for is shown with its countdown, and the message as failed")
    func notWaiting() {
        var session = session()
        _ = say("hello", &session)
        session.receive(.limited(room: "lobby", number: 1, milliseconds: 3_600_000, waits: false), at: noon)
        session.receive(.failed(command: "publish", room: "lobby", number: 1, code: 111, reason: "slow"), at: noon)
        #expect(status(session).contains("slow mode: 3600 s") && waiting(session).isEmpty)
        #expect(rows(session).contains { $0.contains("!! publish: slow (111)") })
    }

    @Test("Limits of other rooms stay there; one without a tab is told in a line")
    func otherRooms() {
        var session = session()
        let opened = session.open("dev")
        session.receive(.joined(room: "dev", continuity: .fresh), at: noon)
        session.receive(.limited(room: "lobby", number: 1, milliseconds: 4000, waits: true), at: noon)
        #expect(opened && !status(session).contains("slow mode") && session.nextTick == nil)
        _ = session.feed("\u{1B}1".utf8, at: noon)
        #expect(status(session).contains("slow mode: 4 s") && session.nextTick != nil)
        session.receive(.limited(room: "far", number: 2, milliseconds: 1500, waits: true), at: noon)
        #expect(rows(session).contains { $0.contains("slow mode in far: 2 s; it is sent then") })
    }

    @Test("Odd times do no harm", arguments: [Int64.min, -1, 0, .max])
    func oddTimes(_ wait: Int64) {
        var session = session()
        _ = say("hello", &session)
        for room in ["lobby", "far"] {
            session.receive(.limited(room: room, number: 1, milliseconds: wait, waits: true), at: noon)
        }
        #expect(session.frame.rows.count == 12)
        #expect(status(session).contains("slow mode") == (wait > 0))
        if let next = session.nextTick { session.advance(to: next) }
        session.advance(to: 5)
        #expect(session.model.now >= 1_000_000, "the clock does not go back")
    }
}
