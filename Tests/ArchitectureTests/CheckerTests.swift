// Shows that each checker can fail: made-up trees with one mistake each, and the violation that must come of it.

import Testing

@Suite("The repository's checkers see what they look for")
struct CheckerTests {
    static let header = "// What it is for.\n// Who calls it.\n"

    private func file(_ path: String, _ body: String) -> SourceFile { SourceFile(path: path, text: Self.header + body) }

    @Test(
        "an import against the arrows is found",
        arguments: [
            ("Sources/Bytes/A.swift", "import HTTP"), ("Sources/HTTP/A.swift", "import Foundation"),
            ("Sources/Wire/A.swift", "package import WebSocket"), ("Sources/Rooms/A.swift", "import Reactor"),
            ("Sources/Gateway/A.swift", "import COpenSSL"), ("Sources/Reactor/A.swift", "import CHiredis"),
            ("Sources/Gateway/A.swift", "import JWTKit"), ("Sources/Client/A.swift", "@testable import Gateway"),
            ("Sources/martlet-chat/A.swift", "import Rooms"), ("loadtest/martlet-load/A.swift", "import Gateway"),
            ("loadtest/LoadCore/A.swift", "internal import struct Rooms.Session"),
            ("Sources/Redis/A.swift", "import FoundationEssentials"), ("Sources/Unheard/A.swift", "import Bytes"),
        ])
    func wrongImport(path: String, line: String) {
        #expect(RepositoryChecks.importViolations(in: [file(path, line + "\n")]).count == 1)
    }

    @Test(
        "an import along the arrows is not",
        arguments: [
            ("Sources/WebSocket/A.swift", "import HTTP"), ("Sources/Tokens/A.swift", "import JWTKit"),
            ("Sources/Reactor/A.swift", "import COpenSSL"), ("Sources/Gateway/A.swift", "import Foundation"),
            ("Sources/Bytes/A.swift", "// import HTTP"), ("Sources/Bytes/A.swift", "import Synchronization"),
        ])
    func rightImport(path: String, line: String) {
        #expect(RepositoryChecks.importViolations(in: [file(path, line + "\n")]).isEmpty)
    }

    @Test(
        "what traps or wraps in a parser is found at its line",
        arguments: [
            "let a = b!", "let a = f(x)!.count", "let a = c[0]!", "try! parse()", "let a = b as! Int",
            "fatalError(\"no\")", "let n = UInt16(truncatingIfNeeded: length)", "let n = a &+ b", "n &-= 1",
            "let a = unsafeBitCast(b, to: Int.self)",
        ])
    func trap(line: String) {
        let found = RepositoryChecks.parserViolations(in: [file("Sources/HTTP/A.swift", line + "\n")], exemptions: [])
        #expect(found.map(\.line) == [3])
    }

    @Test(
        "what only looks like it is not",
        arguments: [
            "if !a { }", "if a != b { }", "// b! is forbidden", "let a = \"b! try! fatalError(\"", "let a = b && !c",
            "/* c! */ let a = b", "let a = b & mask", "precondition(a > 0)",
        ])
    func noTrap(line: String) {
        let found = RepositoryChecks.parserViolations(in: [file("Sources/HTTP/A.swift", line + "\n")], exemptions: [])
        #expect(found.isEmpty, "\(found)")
    }

    @Test("an exemption covers its line and no other, and must not outlive it")
    func exemptions() {
        let exemption = Exemption(path: "Sources/HTTP/A.swift", line: "let a = b!", reason: "a test")
        let both = [file("Sources/HTTP/A.swift", "    let a = b!\nlet c = d!\n")]
        #expect(RepositoryChecks.parserViolations(in: both, exemptions: [exemption]).map(\.line) == [4])
        let neither = [file("Sources/HTTP/A.swift", "let a = 1\n")]
        #expect(RepositoryChecks.parserViolations(in: neither, exemptions: [exemption]).count == 1)
    }

    @Test(
        "a clock or I/O in a sans-IO module is found",
        arguments: [
            "let now = ContinuousClock().now", "clock_gettime(CLOCK_MONOTONIC, &t)", "recv(fd, p, n, 0)", "print(1)",
            "Task { }", "func f() async {}",
        ])
    func clock(line: String) {
        #expect(!RepositoryChecks.sansIOViolations(in: [file("Sources/Rooms/A.swift", line + "\n")]).isEmpty)
        #expect(RepositoryChecks.sansIOViolations(in: [file("Sources/Reactor/A.swift", line + "\n")]).isEmpty)
    }

    @Test("a file without a header, too long, or with a long line or function is found")
    func shape() {
        func problems(_ text: String) -> Int {
            RepositoryChecks.shapeViolations(in: [SourceFile(path: "Sources/HTTP/A.swift", text: text)]).count
        }
        #expect(problems(Self.header + "let a = 1\n") == 0)
        #expect(problems("// One line is enough.\nlet a = 1\n") == 0)
        #expect(problems("let a = 1\n") == 1)
        #expect(problems(Self.header + String(repeating: "let a = 1\n", count: 498)) == 0)
        #expect(problems(Self.header + String(repeating: "let a = 1\n", count: 499)) == 1)
        #expect(problems(Self.header + "// " + String(repeating: "x", count: 117) + "\n") == 0)
        #expect(problems(Self.header + "// " + String(repeating: "x", count: 118) + "\n") == 1)
        func function(_ lines: Int) -> String {
            "extension A {\n    func f() {\n" + String(repeating: "        g()\n", count: lines - 2) + "    }\n}\n"
        }
        #expect(problems(Self.header + function(70)) == 0)
        #expect(problems(Self.header + function(71)) == 1)
    }

    @Test("a path of one machine or an issue's number is found")
    func words() {
        for text in ["see /wo" + "rk/main", "in shared/" + "design", "/ho" + "me/me/x", "as is" + "sue 7 says"] {
            #expect(RepositoryChecks.wordViolations(in: [SourceFile(path: "docs/a.md", text: text)]).count == 1)
        }
        let innocent = "a network/root/x, User-Agent, ../shared/x, the issue is 7"
        #expect(RepositoryChecks.wordViolations(in: [SourceFile(path: "docs/a.md", text: innocent)]).isEmpty)
    }
}
