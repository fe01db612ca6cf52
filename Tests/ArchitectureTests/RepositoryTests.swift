// Reads the repository as it is and holds it to RepositoryRules: import arrows, no Foundation where it costs, nothing
// that traps in parsers, headers and lengths, no machine's paths. What the checkers find is proven in CheckerTests.

import Foundation
import Testing

@Suite("The repository keeps its own rules")
struct RepositoryTests {
    let files: [SourceFile]

    init() throws { files = try Repository.read() }

    @Test("the tree is really read")
    func treeIsRead() {
        #expect(files.contains { $0.path == "Sources/Bytes/ByteBuffer.swift" })
        #expect(files.contains { $0.path == "Makefile" })
        #expect(files.count { $0.isSwift } > 20)
    }

    @Test("imports follow the arrows only")
    func arrows() { expectNone(RepositoryChecks.importViolations(in: files)) }

    @Test("sans-IO modules do no I/O and own no clock")
    func sansIO() { expectNone(RepositoryChecks.sansIOViolations(in: files)) }

    @Test("HS-14, HS-15: parser modules contain nothing that a peer could make trap or wrap")
    func parsers() {
        expectNone(RepositoryChecks.parserViolations(in: files, exemptions: RepositoryRules.exemptions))
    }

    @Test("every file says what it is for, and files, functions and lines keep their length")
    func shape() { expectNone(RepositoryChecks.shapeViolations(in: files)) }

    @Test("no file names what only one machine or one moment knows")
    func words() { expectNone(RepositoryChecks.wordViolations(in: files)) }

    @Test("links between the documents lead somewhere")
    func links() throws {
        let known = Set(files.map(\.path))
        for file in files where file.path.hasSuffix(".md") {
            let folder = URL(filePath: "/" + file.path).deletingLastPathComponent()
            for match in file.text.matches(of: /\]\(([^)#\s]+)(#[^)]*)?\)/) where !match.1.contains("://") {
                let target = folder.appending(path: String(match.1)).standardized.path().dropFirst()
                let leads = known.contains(String(target)) || known.contains { $0.hasPrefix(target + "/") }
                #expect(leads, "\(file.path) links to \(match.1), which does not exist")
            }
        }
    }

    @Test("make targets that the documents name exist")
    func makeTargets() throws {
        let makefile = try #require(files.first { $0.path == "Makefile" }).text
        let targets = Set(makefile.matches(of: /(?m)^([a-z][a-z-]*):/).map { String($0.1) })
        for file in files where file.path.hasSuffix(".md") {
            for match in file.text.matches(of: /(?m)(?:^|`|\$ )make ([a-z][a-z-]*)/) {
                #expect(targets.contains(String(match.1)), "\(file.path) names make \(match.1), which does not exist")
            }
        }
    }

    @Test("a user of Redis with the documented permissions may call everything that we call")
    func permissions() throws {
        let page = try #require(files.first { $0.path == "docs/operations.md" }).text
        let line = try #require(page.firstMatch(of: /ACL SETUSER (.*)/)).1
        let granted = line.split(separator: " ").filter { $0.hasPrefix("+") }
        // Of some commands one part only, `+script|load`.
        let allowed = Set(granted.map { String($0.dropFirst().prefix { $0 != "|" }) })
        var called: Set<String> = []
        for file in files where file.isSwift && file.path.hasPrefix("Sources/") {
            for match in file.text.matches(of: /redis\.p?call\('([A-Z]+)'/) { called.insert(match.1.lowercased()) }
            for match in file.text.matches(of: /beginCommand\([0-9]+\)\s+output\.appendArgument\("([A-Z]+)"/) {
                called.insert(match.1.lowercased())
            }
        }
        #expect(called.isSuperset(of: ["publish", "hget", "sscan"]), "the calls are really found")
        #expect(called.subtracting(allowed).isEmpty)
    }

    private func expectNone(_ violations: [Violation]) {
        #expect(violations.isEmpty, "\n\(violations.map(\.description).joined(separator: "\n"))")
    }
}

/// The files of this clone that the rules are about.
enum Repository {
    static let root = URL(filePath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    static func read() throws -> [SourceFile] {
        let folders = ["Sources", "Tests", "loadtest", "docs", ".ci"]
        let kinds: Set<String> = ["swift", "c", "h", "md", "sh", "py", "js", "modulemap", "run"]
        var paths = ["Makefile", "README.md", "Package.swift", "LICENSE"]
        for folder in folders {
            let found = FileManager.default.enumerator(atPath: root.appending(path: folder).path())
            while let path = found?.nextObject() as? String {
                let isText = kinds.contains((path as NSString).pathExtension) || folder == ".ci"
                if isText { paths.append("\(folder)/\(path)") }
            }
        }
        return try paths.compactMap { path in
            let url = root.appending(path: path)
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: url.path(), isDirectory: &isFolder), !isFolder.boolValue
            else { return nil }
            return SourceFile(path: path, text: try String(contentsOf: url, encoding: .utf8))
        }
    }
}
