// Slow mode with the built programs: a real gateway with a limit for each user, a screen and pipes.

import Glibc
import Testing

@testable import ChatTerminal

@Suite("martlet-chat in slow mode, end to end")
struct EndToEndLimitTests {
    private func gateway(_ rate: String) throws -> TestGateway {
        try TestGateway(#""rooms":{"default":{"userRate":"\#(rate)"}}"#)
    }

    private func script(_ gateway: TestGateway, _ more: [String]) throws -> ChildProcess {
        try ChildProcess(
            "/bin/sh",
            [
                "-c", #"printf 'one\ntwo\nthree\n' | "$0" "$@""#, try Product.find("martlet-chat"), gateway.url,
                "--user", "ci", "--json",
            ] + more)
    }

    @Test("A pipe waits as long as the room says; every line arrives, once and in order")
    func pipe() throws {
        let gateway = try gateway("2/s")
        let bob = try ChildProcess(
            try Product.find("martlet-chat"), [gateway.url, "--user", "bob", "--json", "--listen"])
        try bob.wait(for: #""event":"joined""#)
        let chat = try script(gateway, [])
        #expect(try chat.end() == 0)
        #expect(chat.text.components(#""event":"published""#) - 1 == 3)
        #expect(chat.text.contains(#""event":"limited","room":"lobby","number":3,"retry_after_ms":"#))
        #expect(!chat.text.contains(#""event":"error""#) && !chat.text.contains(#""waits":false"#))
        try bob.wait(for: #""text":"three""#)
        let texts = bob.text.split(separator: "\n").compactMap {
            $0.split(separator: #""text":""#).dropFirst().first?.prefix(while: \.isLetter)
        }
        #expect(texts == ["one", "two", "three"])
    }

    @Test("With --retry-for 0 a message that comes too early has failed, and the exit code says so")
    func impatience() throws {
        let gateway = try gateway("1/60s")
        let chat = try script(gateway, ["--retry-for", "0"])
        #expect(try chat.end() == 1)
        #expect(chat.text.components(#""waits":false"#) - 1 == 2)
        #expect(chat.text.components(#""code":111"#) - 1 == 2)
    }

    @Test("The screen counts down, shows what waits, and Esc drops it")
    func screen() throws {
        let gateway = try gateway("1/30s")
        let ada = try ChildProcess(
            terminal: try Product.find("martlet-chat"), [gateway.url, "--user", "ada"], rows: 24, columns: 80)
        try ada.wait(for: "you are in lobby")
        ada.type("one\rtwo\rthree\r")
        try ada.wait(for: "slow mode: 30 s")
        try ada.wait(for: "slow mode: 29 s")
        try ada.wait(for: "three waits") { TinyTerminal.strip($0).contains("waiting  three") }
        ada.type("\u{1B}")
        try ada.wait(for: "dropped 2 that waited")
        ada.type("/quit\r")
        #expect(try ada.end() == 0)
    }
}
