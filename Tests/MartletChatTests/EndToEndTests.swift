// martlet-chat as people and scripts use it: the built programs, a real gateway, a real pseudo-terminal.

import Glibc
import Testing

@testable import ChatTerminal

@Suite("martlet-chat, end to end")
struct EndToEndTests {
    private let enter = ScreenRenderer.enter.description
    private let leave = ScreenRenderer.leave.description

    private func listener(_ gateway: TestGateway, _ user: String, _ more: [String] = []) throws -> ChildProcess {
        let chat = try ChildProcess(
            try Product.find("martlet-chat"), [gateway.url, "--user", user, "--json", "--listen"] + more)
        try chat.wait(for: #""event":"joined""#)
        return chat
    }

    private func screen(_ gateway: TestGateway, _ environment: [String] = []) throws -> ChildProcess {
        let chat = try ChildProcess(
            terminal: try Product.find("martlet-chat"), [gateway.url, "--user", "ada", "--room", "lobby"], rows: 24,
            columns: 80, environment: environment)
        try chat.wait(for: "you are in lobby")
        return chat
    }

    private func expectRestored(_ chat: ChildProcess) {
        let tail = chat.text.split(separator: enter).last.map(String.init) ?? ""
        #expect(tail.contains(leave), "the alternate screen is left")
        #expect(
            chat.modes & tcflag_t(ECHO | ICANON | ISIG) == tcflag_t(ECHO | ICANON | ISIG), "echo and line mode are back"
        )
    }

    @Test("What is typed on a screen reaches another client and the other way round, and /quit restores the terminal")
    func conversation() throws {
        let gateway = try TestGateway()
        let bob = try listener(gateway, "bob")
        let ada = try screen(gateway)
        #expect(ada.text.hasPrefix(enter))
        #expect(ada.modes & tcflag_t(ECHO | ICANON) == 0, "raw mode")
        ada.type("hello from ada\r")
        try bob.wait(for: #""user":"ada""#)
        try bob.wait(for: #""text":"hello from ada""#)
        bob.type("\u{1B}]0;owned\u{7}\u{1B}[2Jhello \u{202E}from bob\n")
        try ada.wait(for: "hello from bob")
        #expect(!ada.text.contains("\u{1B}]0;") && !ada.text.contains("\u{7}") && !ada.text.contains("\u{202E}"))
        ada.resize(rows: 30, columns: 50)
        try ada.wait(for: "\u{1B}[30;1H")
        ada.type("/quit\r")
        #expect(try ada.end() == 0)
        expectRestored(ada)
    }

    @Test(
        "Signals and crashes leave the terminal as it was",
        arguments: [(SIGTERM, 0), (SIGHUP, 0), (SIGSEGV, -SIGSEGV), (SIGABRT, -SIGABRT), (SIGILL, -SIGILL)]
            as [(Int32, Int32)])
    func signals(_ number: Int32, _ code: Int32) throws {
        let gateway = try TestGateway()
        let ada = try screen(gateway)
        ada.signal(number)
        // The screen must be left; what the process' end says depends on the signal.
        #expect(try ada.end() == code)
        expectRestored(ada)
    }

    @Test("Ctrl-Z gives the terminal back to the shell, and fg brings the screen back")
    func suspension() throws {
        let gateway = try TestGateway()
        let shell = try ChildProcess(
            terminal: "/bin/bash", ["--norc", "--noprofile", "-i"], rows: 24, columns: 80, environment: ["PS1=ready> "])
        try shell.wait(for: "ready> ")
        shell.type("\(try Product.find("martlet-chat")) \(gateway.url) --user ada\r")
        try shell.wait(for: "you are in lobby")
        var start = shell.output.count
        shell.type("\u{1A}")
        try shell.wait(for: "ready> ", from: start)
        let stopped = String(decoding: shell.output[start...], as: UTF8.self)
        #expect(stopped.contains(leave) && stopped.contains("Stopped"))
        start = shell.output.count
        shell.type("fg\r")
        try shell.wait(for: "the screen again", from: start) { $0.contains(enter) && $0.contains("you are in lobby") }
        start = shell.output.count
        shell.type("\u{4}")
        try shell.wait(for: "ready> ", from: start)
        #expect(String(decoding: shell.output[start...], as: UTF8.self).contains(leave))
        shell.type("exit\r")
        _ = try shell.end()
    }

    @Test("NO_COLOR is respected on a real terminal")
    func noColor() throws {
        let gateway = try TestGateway()
        let ada = try screen(gateway, ["NO_COLOR=1"])
        ada.type("hi\r")
        try ada.wait(for: "ada  hi") { TinyTerminal.strip($0).contains("ada  hi") }
        #expect(!ada.text.contains("38;5;"))
        ada.type("\u{4}")
        #expect(try ada.end() == 0)
    }

    @Test("A pipe's lines are published, acknowledged, and the program ends with 0 at the end of the input")
    func pipe() throws {
        let gateway = try TestGateway()
        let bob = try listener(gateway, "bob", ["--room", "ops"])
        let script = try ChildProcess(
            "/bin/sh",
            [
                "-c", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done | \"$0\" \"$@\"",
                try Product.find("martlet-chat"), gateway.url, "--user", "ci", "--room", "ops", "--json",
            ])
        #expect(try script.end() == 0)
        #expect(script.text.components(#""event":"published""#) - 1 == 2000)
        try bob.wait(for: #""text":"line 2000""#)
        let texts = bob.text.split(separator: "\n").compactMap { line in
            line.split(separator: #""text":"line "#).dropFirst().first?.prefix(while: \.isNumber)
        }
        #expect(texts.map { Int($0) } == (1...2000).map { $0 }, "every line, once, in order")
    }

    @Test("A client survives its gateway: it says so, comes back, and what was said meanwhile arrives once")
    func outage() throws {
        var gateway: TestGateway? = try TestGateway()
        let port = gateway?.port ?? ""
        let ada = try ChildProcess(
            try Product.find("martlet-chat"), [gateway?.url ?? "", "--user", "ada", "--json", "--listen"])
        try ada.wait(for: #""event":"joined""#)
        gateway = nil  // killed
        try ada.wait(for: #""event":"disconnected""#)
        ada.type("meanwhile\n")
        let next = try TestGateway(port: port)
        try ada.wait(for: #""event":"published""#)
        try ada.wait(for: #""text":"meanwhile""#)
        #expect(ada.text.components(#""text":"meanwhile","data""#) == 2)
        ada.signal(SIGTERM)
        #expect(try ada.end() == 0)
        _ = next
    }

    @Test("Exit codes tell usage (2), refusal (1) and network (4) apart")
    func exitCodes() throws {
        let chat = try Product.find("martlet-chat")
        let gateway = try TestGateway()
        for (arguments, code) in [
            (["--nonsense"], 2), (["http://x"], 2), (["--url", "ws://127.0.0.1:1/,http://x"], 2), (["--url", ""], 2),
            (["--retry-for", "241"], 2), (["wss://x"], 2), (["--help"], 0), (["--version"], 0),
            (["ws://127.0.0.1:1/", "--connect-timeout", "1"], 4), ([gateway.url + "x", "--json"], 1),
        ] as [([String], Int32)] {
            let process = try ChildProcess(chat, arguments, readsErrors: code != 0)
            #expect(try process.end() == code, "\(arguments)")
            #expect(!process.output.isEmpty, "it says why: \(arguments)")
        }
    }
}

extension TinyTerminal {
    /// `text` without escape sequences.
    static func strip(_ text: String) -> String { ShownText(text).string }
}
