// The line modes: stdin to actions, events to lines that are safe to print and to parse.

import Testing

@testable import ChatTerminal

@Suite("Line mode")
struct LineSessionTests {
    private func output(_ format: LineSession.Format, _ event: ChatEvent) -> String {
        var session = LineSession(format: format, rooms: ["lobby"])
        session.receive(event, at: noon)
        return String(decoding: session.takeOutput(), as: UTF8.self)
    }

    @Test("Lines become the same actions however they are split")
    func input() {
        let text = "hello\r\n\n/join dev\nthere\n/msg lobby hey\n//x\n/ping\nlast"
        let expected: [ChatAction] = [
            .publish(room: "lobby", text: "hello", number: 1), .join(room: "dev"),
            .publish(room: "dev", text: "there", number: 2), .publish(room: "lobby", text: "hey", number: 3),
            .publish(room: "dev", text: "/x", number: 4), .ping, .publish(room: "dev", text: "last", number: 5),
        ]
        var whole = LineSession(format: .plain, rooms: ["lobby"])
        #expect(whole.feed(text.utf8) + whole.finish() == expected)
        var split = LineSession(format: .plain, rooms: ["lobby"])
        #expect(text.utf8.flatMap { split.feed([$0]) } + split.finish() == expected)
    }

    @Test("It is settled when everything that was sent is answered, and failures are counted")
    func settling() {
        var session = LineSession(format: .json, rooms: ["lobby"])
        #expect(session.isSettled)
        _ = session.feed("a\nb\n".utf8)
        #expect(!session.isSettled)
        session.receive(.published(room: "lobby", number: 1, position: ChatPosition(offset: 7, epoch: "e")), at: noon)
        #expect(!session.isSettled)
        session.receive(.failed(command: "publish", room: "lobby", number: 2, code: 103, reason: "no"), at: noon)
        #expect(session.isSettled)
        #expect(session.failures == 1)
    }

    @Test("An overlong line is refused as a whole, and the next one works")
    func overlong() {
        var session = LineSession(format: .json, rooms: ["lobby"])
        let actions = session.feed([UInt8](repeating: 0x61, count: 200_000) + Array("\nok\n".utf8))
        #expect(actions == [.publish(room: "lobby", text: "ok", number: 1)])
        #expect(String(decoding: session.takeOutput(), as: UTF8.self).contains(#""event":"error","command":"input""#))
        #expect(session.failures == 1)
        // Each of these bytes takes six in JSON.
        let grown = session.feed([UInt8](repeating: 1, count: 20_000) + [0x0A])
        #expect(grown.isEmpty && session.failures == 2)
    }

    @Test("Every event has its JSON form")
    func json() {
        let data = Array("{\"text\":\"hi\\n\u{202E}\",\"n\":[1, 2]}".utf8)
        let message = ChatMessage(room: "r", user: "u\"", client: "c", data: data, offset: 9)
        let cases: [(ChatEvent, String)] = [
            (.connecting(url: "ws://h"), #"{"event":"connecting","url":"ws://h"}"#),
            (.connected(client: "c", server: "s"), #"{"event":"connected","client":"c","server":"s"}"#),
            (.joined(room: "r", continuity: .fresh), #"{"event":"joined","room":"r","continuity":"fresh"}"#),
            (
                .joined(room: "r", continuity: .recovered(2), position: ChatPosition(offset: 9, epoch: "e")),
                #"{"event":"joined","room":"r","continuity":"recovered","recovered":2,"offset":9,"epoch":"e"}"#
            ),
            (.joined(room: "r", continuity: .lost), #"{"event":"joined","room":"r","continuity":"lost"}"#),
            (.left(room: "r", code: 2000, reason: "x"), #"{"event":"left","room":"r","reason":"x","code":2000}"#),
            (
                .message(message),
                #"{"event":"message","room":"r","user":"u\"","client":"c","text":"hi\n\u202e","#
                    + #""data":{"text":"hi\n\u202e","n":[1, 2]},"offset":9}"#
            ),
            (.published(room: "r", number: 3, position: nil), #"{"event":"published","room":"r","number":3}"#),
            (
                .published(room: "r", number: 3, position: ChatPosition(offset: 4, epoch: "e\u{202E}")),
                #"{"event":"published","room":"r","number":3,"offset":4,"epoch":"e\u202e"}"#
            ),
            (
                .failed(command: "publish", room: "r", number: 3, code: 120, reason: "engine unavailable"),
                #"{"event":"error","command":"publish","reason":"engine unavailable","code":120,"room":"r","number":3}"#
            ),
            (.latency(milliseconds: 1.5), #"{"event":"latency","milliseconds":1.5}"#),
            (
                .disconnected(code: 3001, reason: "shutdown", retryMilliseconds: 250),
                #"{"event":"disconnected","reason":"shutdown","code":3001,"retry_ms":250}"#
            ),
            (.note("a\tb"), #"{"event":"note","text":"a\tb"}"#),
        ]
        for (event, line) in cases { #expect(output(.json, event) == line + "\n") }
    }

    @Test("Members and limits have their JSON form")
    func memberJSON() {
        let cases: [(ChatEvent, String)] = [
            (
                .memberJoined(
                    room: "r", ChatMember(user: "ada", client: "c1", info: Array("{\"a\": \"\u{202E}\"}".utf8))),
                #"{"event":"member_joined","room":"r","user":"ada","client":"c1","info":{"a": "\u202e"}}"#
            ),
            (
                .memberLeft(room: "r", ChatMember(user: "", client: "c1")),
                #"{"event":"member_left","room":"r","user":"","client":"c1"}"#
            ),
            (
                .members(
                    room: "r",
                    ChatMembers(members: [
                        ChatMember(user: "ada", client: "1"),
                        ChatMember(user: "bob", client: "2", info: Array("1".utf8)),
                        ChatMember(user: "ada", client: "3"),
                    ])),
                #"{"event":"members","room":"r","clients":3,"users":2,"cut":false,"members":["#
                    + #"{"user":"ada","client":"1"},{"user":"bob","client":"2","info":1},{"user":"ada","client":"3"}]}"#
            ),
            (
                .members(room: "r", ChatMembers(members: [], isCut: true)),
                #"{"event":"members","room":"r","cut":true,"members":[]}"#
            ),
            (
                .members(
                    room: "r",
                    ChatMembers(members: [], isCut: true, counted: ChatMembers.Counts(clients: 50_000, users: 40_000))),
                #"{"event":"members","room":"r","clients":50000,"users":40000,"cut":true,"members":[]}"#
            ),
            (
                .limited(room: "r", number: 3, milliseconds: 4000, waits: true),
                #"{"event":"limited","room":"r","number":3,"retry_after_ms":4000,"waits":true}"#
            ),
            (.dropped(room: "r", number: 3), #"{"event":"dropped","room":"r","number":3}"#),
        ]
        for (event, line) in cases { #expect(output(.json, event) == line + "\n") }
    }

    @Test("People read one line per event")
    func plain() {
        let message = ChatMessage(room: "lobby", user: "", client: "0123456789", data: Array(#""hi""#.utf8))
        #expect(output(.plain, .message(message)) == "12:00 [lobby] guest-01234567: hi\n")
        #expect(output(.plain, .published(room: "lobby", number: 1, position: nil)).isEmpty)
        for (continuity, line) in [
            (.fresh, "you are in lobby"), (.recovered(0), "back in lobby; nothing was missed"),
            (.recovered(1), "back in lobby; recovered 1 message"),
            (.recovered(3), "back in lobby; recovered 3 messages"),
            (.lost, "back in lobby; some messages may be missing"),
        ] as [(Continuity, String)] {
            #expect(output(.plain, .joined(room: "lobby", continuity: continuity)) == "* \(line)\n")
        }
    }

    @Test("People read who is there, with the connections of a user together, and how many are not listed")
    func members() {
        func line(_ list: ChatMembers) -> String { output(.plain, .members(room: "lobby", list)) }
        let people = ["bob", "Ada", "ada", "bob", "zoë"].enumerated().map { ChatMember(user: $1, client: "\($0)") }
        #expect(line(ChatMembers(members: people)) == "* in lobby (4 users, 5 connections): Ada, ada, bob (2), zoë\n")
        #expect(line(ChatMembers(members: [])) == "* in lobby (0 users): nobody\n")
        #expect(
            line(ChatMembers(members: [ChatMember(user: "", client: "0123456789")]))
                == "* in lobby (1 user): guest-01234567\n")
        let counts = ChatMembers.Counts(clients: 9, users: 8)
        #expect(
            line(ChatMembers(members: [], isCut: true, counted: counts))
                == "* in lobby (8 users, 9 connections): too many to list\n")
        #expect(
            line(ChatMembers(members: [people[0]], isCut: true)) == "* in lobby: bob, … the list goes on\n")
        let crowd = (0..<300).map { ChatMember(user: "u\($0 + 1000)", client: "\($0)") }
        #expect(line(ChatMembers(members: crowd)).hasSuffix("u1199, … and 100 more\n"))
    }

    @Test("Our own coming is in the JSON and not in the text, other people's is in both")
    func ownJoin() {
        for (format, isTold) in [(LineSession.Format.plain, false), (.json, true)] {
            var session = LineSession(format: format, rooms: ["lobby"])
            session.receive(.connected(client: "me", server: ""), at: noon)
            _ = session.takeOutput()
            session.receive(.memberJoined(room: "lobby", ChatMember(user: "ada", client: "me")), at: noon)
            #expect(session.takeOutput().isEmpty == !isTold)
            session.receive(.memberJoined(room: "lobby", ChatMember(user: "ada", client: "other")), at: noon)
            #expect(!session.takeOutput().isEmpty)
        }
    }

    @Test("/who, /members and /cancel are for the room that is spoken in, /who also for another")
    func roomCommands() {
        var session = LineSession(format: .plain, rooms: ["lobby"])
        let actions = session.feed("/who\n/who dev\n/members\n/cancel\n/part\n/who dev\n".utf8)
        #expect(
            actions == [
                .who(room: "lobby"), .who(room: "dev"), .who(room: "lobby"), .cancel(room: "lobby"),
                .part(room: "lobby"),
                .who(room: "dev"),
            ])
        let refused = session.feed("/cancel\n/who\n".utf8)
        #expect(refused.isEmpty && session.failures == 2)
    }

    @Test("A message that waits in a slow room is not settled, and one that was taken back is no failure")
    func limits() {
        var session = LineSession(format: .plain, rooms: ["lobby"])
        _ = session.feed("a\n".utf8)
        session.receive(.limited(room: "lobby", number: 1, milliseconds: 4000, waits: true), at: noon)
        #expect(!session.isSettled)
        #expect(
            String(decoding: session.takeOutput(), as: UTF8.self)
                == "* lobby is in slow mode: message 1 is sent in 4 s\n")
        session.receive(.dropped(room: "lobby", number: 1), at: noon)
        #expect(session.isSettled && session.failures == 0)
    }

    @Test("A peer's control bytes are in no line, in neither form", arguments: [LineSession.Format.plain, .json])
    func injection(_ format: LineSession.Format) {
        let evil = "\u{1B}]0;owned\u{7}\u{1B}[2J\u{9B}31m\u{202E}\r\n{}"
        let data = Array("\"\u{7F}\u{9B}31m\u{202E}\r\n\u{1B}[2J\"".utf8)
        let events: [ChatEvent] = [
            .message(ChatMessage(room: evil, user: evil, client: evil, data: data)),
            .left(room: evil, code: 1, reason: evil),
            .failed(command: "x", room: evil, number: nil, code: 1, reason: evil), .note(evil),
            .disconnected(code: 1, reason: evil, retryMilliseconds: nil), .connected(client: evil, server: evil),
            .memberJoined(room: evil, ChatMember(user: evil, client: evil + "x", info: data)),
            .memberLeft(room: evil, ChatMember(user: evil, client: evil, info: data)),
            .members(room: evil, ChatMembers(members: [ChatMember(user: evil, client: evil, info: data)])),
            .limited(room: evil, number: 1, milliseconds: .max, waits: true),
            .limited(room: evil, number: 1, milliseconds: .min, waits: false), .dropped(room: evil, number: 1),
        ]
        for event in events {
            let text = output(format, event)
            #expect(text.hasSuffix("\n") && text.utf8.filter { $0 == 0x0A }.count == 1)
            #expect(text.unicodeScalars.allSatisfy { $0 == "\n" || ShownText.isAllowed($0) })
        }
    }

    @Test("The text is found in strings and objects, and odd JSON does no harm")
    func text() {
        let cases: [(String, String?)] = [
            (#""plain""#, "plain"), (#"{"text":"a"}"#, "a"), (#" { "n" : {"text":"no"} , "text" : "yes" } "#, "yes"),
            (#"{"text":1}"#, nil), (#"[1]"#, nil), ("", nil), ("{", nil), (#"{"text""#, nil),
            (#""\ud83d\ude42\u00e9\"""#, "🙂é\""),
            (#""\ud83d""#, "\u{FFFD}"), (#""\u12"#, nil), (#"{"a":"#, nil), (#""\q""#, nil),
            (#"{"a":1"text":"x"}"#, nil),
            (String(repeating: "[", count: 100_000), nil), (#"{"a":"# + String(repeating: "[", count: 100_000), nil),
        ]
        for (json, text) in cases { #expect(MessageText.read(Array(json.utf8)) == text, "\(json.prefix(40))") }
        for text in ["plain", "with \"quotes\" \\ and \n lines \u{1B}[31m 🙂"] {
            #expect(MessageText.read(MessageText.write(text)) == text)
        }
    }
}
