// What is wrong with a configuration, one line each, and the search for the name that was probably meant.

/// One thing that is wrong, as one line that names the key and the way out.
package struct ConfigurationProblem: Error, Sendable, Equatable, CustomStringConvertible {
    /// The key, variable or flag at fault.
    package let name: String
    /// What is wrong with it, as a clause.
    package let text: String
    /// Where it was set: a file's name, "environment", "flag"; empty for combinations.
    package let origin: String

    package var description: String {
        let line = "\(name): \(text)" + (origin.isEmpty ? "" : " (\(origin))")
        // Names of variables and files may hold anything; a message stays one line and moves no cursor.
        return String(String.UnicodeScalarView(line.unicodeScalars.map { Self.isControl($0) ? "\u{FFFD}" : $0 }))
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value) || (0x2028...0x202E).contains(scalar.value)
    }
}

/// Everything that is wrong with a configuration, at least one thing; the start is refused.
package struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// All problems, in the order of sources.
    package let problems: [ConfigurationProblem]

    /// One line: the first problem, and how many more there are.
    package var description: String {
        let first = problems.first.map(\.description) ?? "unknown problem"
        let more = problems.count - 1
        return more > 0 ? "\(first); and \(more) more, see martlet check-config" : first
    }
}

enum NearestName {
    /// The candidate that differs least from `name`, if it differs little enough to be what was meant.
    static func of(_ name: String, among candidates: some Sequence<String>) -> String? {
        let wanted = Array(name.lowercased().utf8)
        // A file may hold anything: a very long key is no typing mistake, and the table below is its length squared.
        guard wanted.count <= 128 else { return nil }
        let limit = max(2, wanted.count / 4)
        var best: (name: String, distance: Int)?
        for candidate in candidates {
            let distance = distance(wanted, Array(candidate.lowercased().utf8))
            if distance <= limit, distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        return best?.name
    }

    /// Clause for a message: `; did you mean x?`, or nothing.
    static func hint(_ name: String, among candidates: some Sequence<String>) -> String {
        of(name, among: candidates).map { "; did you mean \($0)?" } ?? ""
    }

    /// Insertions, deletions, substitutions and swaps of neighbours between two texts.
    static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
        var beforeLast = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in 1...a.count {
            var current = [i] + [Int](repeating: 0, count: b.count)
            for j in 1...b.count {
                let same = a[i - 1] == b[j - 1]
                current[j] = min(last[j] + 1, current[j - 1] + 1, last[j - 1] + (same ? 0 : 1))
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                    current[j] = min(current[j], beforeLast[j - 2] + 1)
                }
            }
            (beforeLast, last) = (last, current)
        }
        return last[b.count]
    }
}
