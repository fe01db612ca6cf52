// The defects of PlantedDefect that lie in the scripts: one line of a script becomes another, or an argument tells
// the processes apart (M11, in RateLua.swift). Called once for each script of a process. In builds
// with MARTLET_MUTANTS only.

#if MARTLET_MUTANTS
import Bytes

extension PlantedDefect {
    private static let lowerTop = ("if ARGV[6] == epoch and seen > top then", "if false then")
    private static let fence = ("if seen > bound or (not entered and ARGV[7] ~= '1') then", "if false then")

    /// Tells this process from the others, for a limit that counts it alone.
    static let processMark = UInt64.random(in: 1...(1 << 40))

    /// The lines of `script` that change, and what they become.
    private func changes(_ script: String) -> [(line: String, other: String)] {
        switch (self, script) {
        case (.publishesWithoutAppending, "publish"): [("local added = append()", "local added = {}")]
        case (.doesNotDeduplicate, "publish"): [("local known = redis.pcall('GET', once)", "local known = false")]
        case (.doesNotFence, "publish"), (.keepsTheEpoch, "publish"): [PlantedDefect.lowerTop]
        case (.doesNotFence, "fence"): [PlantedDefect.fence]
        case (.keepsTheEpoch, "fence"):
            [
                PlantedDefect.fence,
                ("if epoch_seen == ARGV[2] then return redis.error_reply(USED) end", "local _ = epoch_seen"),
            ]
        default: []
        }
    }

    /// `source` with the defect of this process.
    static func spoil(_ script: String, _ source: String) -> String {
        var spoiled = source.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        for (line, other) in current?.changes(script) ?? [] {
            guard let index = spoiled.firstIndex(where: { $0.drop { $0 == " " } == line }) else {
                preconditionFailure("script \(script) has no line '\(line)' any more: the defect would be none")
            }
            spoiled[index] = other
        }
        return spoiled.joined(separator: "\n")
    }
}
#endif
