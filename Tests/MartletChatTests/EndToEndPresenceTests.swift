// Who is there, with the built programs: a real gateway that tracks members, screens and pipes.

import Glibc
import Testing

@testable import ChatTerminal

@Suite("martlet-chat and who is there, end to end")
struct EndToEndPresenceTests {
    private static let tracking = #""rooms":{"default":{"presence":true,"joinLeave":true,"presenceGrace":"0s"}}"#

    private func listener(_ gateway: TestGateway, _ user: String, _ more: [String] = []) throws -> ChildProcess {
        let chat = try ChildProcess(
            try Product.find("martlet-chat"), [gateway.url, "--user", user, "--json", "--listen"] + more)
        try chat.wait(for: #""event":"joined""#)
        return chat
    }

    private func screen(_ gateway: TestGateway, columns: UInt16 = 80) throws -> ChildProcess {
        let chat = try ChildProcess(
            terminal: try Product.find("martlet-chat"), [gateway.url, "--user", "ada", "--room", "lobby"], rows: 24,
            columns: columns)
        try chat.wait(for: "you are in lobby")
        return chat
    }

    private func plain(_ chat: ChildProcess, from start: Int = 0) -> String {
        TinyTerminal.strip(String(decoding: chat.output[start...], as: UTF8.self))
    }

    @Test("The screen lists who is there, tells who comes and goes, and fetches the list again after an outage")
    func panel() throws {
        let first = try TestGateway(Self.tracking)
        let bob = try listener(first, "bob")
        let ada = try screen(first)
        try ada.wait(for: "2 members") { TinyTerminal.strip($0).contains("2 members") }
        var start = ada.output.count
        let eve = try listener(first, "eve")
        try ada.wait(for: "→ eve joined", from: start)
        try ada.wait(for: "3 members", from: start)
        start = ada.output.count
        eve.signal(SIGTERM)
        #expect(try eve.end() == 0)
        try ada.wait(for: "← eve left", from: start)
        try ada.wait(for: "2 members", from: start)
        ada.type("/who\r")
        try ada.wait(for: "in lobby (2 users): ada, bob") {
            TinyTerminal.strip($0).contains("in lobby (2 users): ada, bob")
        }
        #expect(!plain(ada).contains("ada joined"), "the own coming is not told")
        start = ada.output.count
        bob.signal(SIGTERM)
        _ = try bob.end()
        try ada.wait(for: "1 member", from: start)
        first.process.signal(SIGKILL)
        #expect(try first.process.end() == -SIGKILL)
        try ada.wait(for: "connection lost", from: start)
        let next = try TestGateway(port: first.port, Self.tracking)
        let carl = try listener(next, "carl")
        try ada.wait(for: "carl", from: start)
        ada.type("\u{4}")
        #expect(try ada.end() == 0)
        _ = carl
    }

    @Test("A room that tracks nobody says so, and everything else works")
    func untracked() throws {
        let gateway = try TestGateway()
        let ada = try screen(gateway)
        try ada.wait(for: "not tracked here")
        ada.type("hello\r")
        try ada.wait(for: "ada  hello") { TinyTerminal.strip($0).contains("ada  hello") }
        let start = ada.output.count
        ada.type("/who\r")
        try ada.wait(for: "(108)", from: start)
        ada.type("\u{4}")
        #expect(try ada.end() == 0)
    }

    @Test("Pipes hear joins and leaves unless they do not want to, and /who answers")
    func events() throws {
        let gateway = try TestGateway(Self.tracking)
        let ada = try listener(gateway, "ada")
        let deaf = try listener(gateway, "deaf", ["--no-joins"])
        let bob = try listener(gateway, "bob")
        try ada.wait(for: #""event":"member_joined","room":"lobby","user":"bob","client":""#)
        bob.type("hello\n/quit\n")
        #expect(try bob.end() == 0)
        try ada.wait(for: #""event":"member_left","room":"lobby","user":"bob","client":""#)
        ada.type("/who\n")
        try ada.wait(for: #""event":"members","room":"lobby","clients":2,"users":2,"cut":false,"members":[{"#)
        deaf.type("/who\n")
        try deaf.wait(for: #""event":"members""#)
        #expect(!deaf.text.contains("member_joined") && !deaf.text.contains("member_left"))
    }

    @Test("--who prints who is there and ends with 0; it enters no room that tells it from outside")
    func who() throws {
        let gateway = try TestGateway(Self.tracking)
        let ada = try listener(gateway, "ada")
        let chat = try Product.find("martlet-chat")
        let once = try ChildProcess(
            chat, [gateway.url, "--user", "x", "--who", "--json", "--room", "lobby", "--room", "dev"])
        #expect(try once.end() == 0)
        #expect(once.text.contains(#""event":"members","room":"lobby","clients":1,"users":1,"cut":false,"#))
        #expect(once.text.contains(#"{"user":"ada","client":""#))
        #expect(once.text.contains(#""event":"members","room":"dev","clients":0,"users":0,"cut":false,"members":[]}"#))
        let words = try ChildProcess(chat, [gateway.url, "--user", "x", "--who"])
        #expect(try words.end() == 0)
        #expect(words.text.hasSuffix("* in lobby (1 user): ada\n"))
        ada.type("/who\n")
        try ada.wait(for: #""event":"members""#)
        #expect(!ada.text.contains(#""user":"x""#))
    }

    @Test("--who enters a room that tells its members only, and tells in its exit code why it learnt nothing")
    func whoRefused() throws {
        let chat = try Product.find("martlet-chat")
        let rules: [(String, Int32, String)] = [
            (#""presence":true,"allowPresenceForSubscriber":true"#, 0, #""users":1,"cut":false"#),
            (#""presence":true"#, 3, #""code":103"#), (#""presence":false"#, 1, #""code":108"#),
        ]
        for (rule, code, text) in rules {
            let gateway = try TestGateway(
                isInsecure: false,
                #""client":{"allowAnonymous":true},"rooms":{"default":{"allowSubscribeForAnonymous":true,\#(rule)}}"#)
            let once = try ChildProcess(chat, [gateway.url, "--who", "--json"])
            #expect(try once.end() == code, "\(rule)")
            #expect(once.text.contains(text), "\(rule)")
        }
        let nowhere = try ChildProcess(
            chat, ["ws://127.0.0.1:1/", "--who", "--connect-timeout", "1"], readsErrors: true)
        #expect(try nowhere.end() == 4)
        let wrong = try ChildProcess(chat, ["--who", "--listen"], readsErrors: true)
        #expect(try wrong.end() == 2)
    }

}
