// Where a figure was measured: machine, kernel, commit. A number without them cannot be compared with anything.
// Read once by the coordinator.

import Glibc

/// The machine and the code that a report is about.
package struct MachineFacts: Equatable, Sendable {
    /// The processor's model name.
    package var processor: String
    /// Cores that the system has online.
    package var cores: Int
    /// Kernel release.
    package var kernel: String
    /// Memory in bytes.
    package var memory: UInt64
    /// The commit of the working directory's repository, or of MARTLET_COMMIT; "unknown" outside one.
    package var commit: String

    /// The facts of this machine.
    package static func current() -> MachineFacts {
        let model = value("model name", in: SmallFile.read("/proc/cpuinfo") ?? "") ?? "unknown"
        let memory = ProcessProbe.kibibytes("MemTotal:", in: SmallFile.read("/proc/meminfo") ?? "") * 1024
        let kernel = SmallFile.read("/proc/sys/kernel/osrelease") ?? "unknown"
        return MachineFacts(
            processor: model, cores: Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))), kernel: trimmed(kernel),
            memory: memory, commit: commit())
    }

    private static func value(_ key: String, in text: String) -> String? {
        for line in text.split(separator: "\n") where line.hasPrefix(key) {
            return line.firstIndex(of: ":").map { trimmed(String(line[line.index(after: $0)...])) }
        }
        return nil
    }

    private static func trimmed(_ text: String) -> String {
        let isBlank: (Character) -> Bool = { $0.isWhitespace }
        let tail = text.drop(while: isBlank)
        return String(tail.reversed().drop(while: isBlank).reversed())
    }

    /// Follows .git/HEAD by hand: the tool must not need git.
    private static func commit() -> String {
        if let given = getenv("MARTLET_COMMIT") { return String(cString: given) }
        var folder = "."
        for _ in 0..<16 {
            if let head = SmallFile.read(folder + "/.git/HEAD") {
                return resolve(head: trimmed(head), git: folder + "/.git") ?? "unknown"
            }
            folder += "/.."
        }
        return "unknown"
    }

    private static func resolve(head: String, git: String) -> String? {
        guard head.hasPrefix("ref: ") else { return String(head.prefix(12)) }
        let name = String(head.dropFirst(5))
        if let loose = SmallFile.read("\(git)/\(name)") { return String(trimmed(loose).prefix(12)) }
        for line in (SmallFile.read(git + "/packed-refs") ?? "").split(separator: "\n") where line.hasSuffix(" " + name)
        {
            return String(line.prefix(12))
        }
        return nil
    }
}
