// The checkers: pure functions from files to violations. Called by RepositoryTests on the real tree and by
// CheckerTests on made-up ones. Text-based on purpose: they need no compiler and say the line that is wrong.

import Foundation

/// Finds lines that break `RepositoryRules`.
enum RepositoryChecks {
    static func importViolations(in files: [SourceFile]) -> [Violation] {
        files.flatMap { file -> [Violation] in
            guard file.isSwift, let target = file.target else { return [] }
            guard let allowed = RepositoryRules.arrows[target] else {
                return [Violation(path: file.path, line: 1, problem: "target \(target) has no import arrows")]
            }
            return numbered(stripped(file.text)).compactMap { number, line in
                guard let module = importedModule(line) else { return nil }
                return problem(importing: module, in: target, allowed: allowed)
                    .map { Violation(path: file.path, line: number, problem: $0) }
            }
        }
    }

    private static func problem(importing module: String, in target: String, allowed: Set<String>) -> String? {
        if RepositoryRules.foundations.contains(module), RepositoryRules.withoutFoundation.contains(target) {
            return "\(target) must not import \(module)"
        }
        if let homes = RepositoryRules.quarantine[module], !homes.contains(target) {
            return "\(module) may be imported by \(homes.sorted().joined(separator: ", ")) only"
        }
        if RepositoryRules.arrows[module] != nil, module != target, !allowed.contains(module) {
            return "\(target) must not import \(module)"
        }
        return nil
    }

    /// The module that an import line names, without its access level, attributes, kind and submodule.
    static func importedModule(_ line: Substring) -> String? {
        var words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
        let prefixes: Set<Substring> = ["public", "package", "internal", "fileprivate", "private"]
        while let first = words.first, first.hasPrefix("@") || prefixes.contains(first) { words.removeFirst() }
        guard words.first == "import", words.count > 1 else { return nil }
        let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
        let named = kinds.contains(words[1]) && words.count > 2 ? words[2] : words[1]
        return named.split(separator: ".").first.map(String.init)
    }

    static func sansIOViolations(in files: [SourceFile]) -> [Violation] {
        files.filter { $0.isSwift && RepositoryRules.sansIO.contains($0.target ?? "") }
            .flatMap { matches(of: RepositoryRules.forbiddenInSansIO, in: $0, text: stripped($0.text)) }
    }

    static func parserViolations(in files: [SourceFile], exemptions: [Exemption]) -> [Violation] {
        var used = Set<Int>()
        var found: [Violation] = []
        for file in files where file.isSwift && RepositoryRules.parsers.contains(file.target ?? "") {
            let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false)
            for violation in matches(of: RepositoryRules.forbiddenInParsers, in: file, text: stripped(file.text)) {
                let line = lines[violation.line - 1].trimmingCharacters(in: .whitespaces)
                if let index = exemptions.firstIndex(where: { $0.path == file.path && $0.line == line }) {
                    used.insert(index)
                } else {
                    found.append(violation)
                }
            }
        }
        for (index, exemption) in exemptions.enumerated() where !used.contains(index) {
            found.append(Violation(path: exemption.path, line: 1, problem: "stale exemption: \(exemption.line)"))
        }
        return found
    }

    static func shapeViolations(in files: [SourceFile]) -> [Violation] {
        files.filter { $0.isSwift || $0.isC }.flatMap { file -> [Violation] in
            let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false)
            var found: [Violation] = []
            let code = lines.last == "" ? lines.dropLast() : lines[...]
            if code.count > RepositoryRules.fileLineLimit {
                found.append(Violation(path: file.path, line: code.count, problem: "\(code.count) lines are too many"))
            }
            for (index, line) in code.enumerated() where line.count > RepositoryRules.columnLimit {
                found.append(Violation(path: file.path, line: index + 1, problem: "\(line.count) columns are too many"))
            }
            let isProduct = file.isSwift && file.target != nil
            let header = code.prefix { $0.hasPrefix("//") }
            if header.count < (isProduct ? RepositoryRules.headerLines : 1) {
                found.append(Violation(path: file.path, line: 1, problem: "does not open with what it is for"))
            }
            return found + (file.isSwift ? longFunctions(in: file, lines: code) : [])
        }
    }

    /// A function ends at the first `}` that is indented like its first line; the formatter guarantees that.
    private static func longFunctions(in file: SourceFile, lines: ArraySlice<Substring>) -> [Violation] {
        lines.indices.compactMap { start in
            let line = lines[start]
            let indent = line.prefix { $0 == " " }
            let words = line.dropFirst(indent.count).split(separator: " ").prefix(6)
            let isFunction =
                words.contains("func") || words.contains { $0.hasPrefix("init(") || $0.hasPrefix("init?(") }
            guard isFunction, !line.hasSuffix("}"), !words[0].hasPrefix("/") else { return nil }
            guard let end = lines[(start + 1)...].firstIndex(where: { $0.hasPrefix(indent + "}") }) else { return nil }
            // A protocol's requirement has no body: what follows it is less indented than its own `}` would be.
            let leaves = lines[(start + 1)..<end].contains {
                !$0.isEmpty && $0.prefix { $0 == " " }.count < indent.count
            }
            let length = end - start + 1
            guard !leaves, length > RepositoryRules.functionLineLimit else { return nil }
            return Violation(path: file.path, line: start + 1, problem: "a function of \(length) lines")
        }
    }

    static func wordViolations(in files: [SourceFile]) -> [Violation] {
        files.flatMap { matches(of: RepositoryRules.forbiddenEverywhere, in: $0, text: $0.text) }
    }

    // MARK: - Text

    private static func numbered(_ text: String) -> [(Int, Substring)] {
        text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().map { ($0.offset + 1, $0.element) }
    }

    private static func matches(
        of patterns: [(pattern: String, problem: String)], in file: SourceFile, text: String
    ) -> [Violation] {
        patterns.flatMap { pattern, problem -> [Violation] in
            guard let expression = try? NSRegularExpression(pattern: pattern) else {
                return [Violation(path: file.path, line: 1, problem: "the rule \(pattern) is no regular expression")]
            }
            let whole = NSRange(text.startIndex..., in: text)
            guard expression.firstMatch(in: text, range: whole) != nil else { return [] }
            return numbered(text).compactMap { number, line in
                let line = String(line)
                let range = NSRange(line.startIndex..., in: line)
                guard expression.firstMatch(in: line, range: range) != nil else { return nil }
                return Violation(path: file.path, line: number, problem: problem)
            }
        }
    }

    /// The text with comments and the insides of string literals blanked; lines keep their numbers.
    static func stripped(_ text: String) -> String {
        var out: [UInt8] = []
        let bytes = Array(text.utf8)
        out.reserveCapacity(bytes.count)
        var state = State.code
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            let next = index + 1 < bytes.count ? bytes[index + 1] : 0
            let afterNext = index + 2 < bytes.count ? bytes[index + 2] : 0
            var taken = 1
            var kept: UInt8? = byte
            switch state {
            case .code:
                if byte == UInt8(ascii: "/"), next == UInt8(ascii: "/") {
                    (state, kept) = (.lineComment, nil)
                } else if byte == UInt8(ascii: "/"), next == UInt8(ascii: "*") {
                    (state, kept) = (.blockComment, nil)
                } else if byte == UInt8(ascii: "\""), next == byte, afterNext == byte {
                    (state, taken) = (.longString, 3)
                } else if byte == UInt8(ascii: "\"") {
                    state = .string
                }
            case .lineComment:
                kept = nil
            case .blockComment:
                kept = nil
                if byte == UInt8(ascii: "*"), next == UInt8(ascii: "/") { (state, taken) = (.code, 2) }
            case .string, .longString:
                kept = nil
                if byte == UInt8(ascii: "\\") {
                    taken = 2
                } else if byte == UInt8(ascii: "\""), state == .string || (next == byte && afterNext == byte) {
                    (taken, kept) = (state == .string ? 1 : 3, byte)
                    state = .code
                }
            }
            if byte == UInt8(ascii: "\n") {
                if state == .lineComment || state == .string { state = .code }
                kept = byte
            }
            if let kept { out.append(kept) }
            index += taken
        }
        return String(decoding: out, as: UTF8.self)
    }

    private enum State { case code, lineComment, blockComment, string, longString }
}
