// The memory that a container or a service unit may use: what its control group says. Beyond it the kernel kills the
// process, so a gateway that knows it can stop taking more in before.
//
// Read once at start; at most a few small files for each level of the group's path.

/// The memory limit of this process' control group.
package enum MemoryLimit {
    /// The smallest limit of the process' control group and those above it, in bytes; nil when there is none.
    package static func ofControlGroup() -> UInt64? { ofControlGroup { ProcessSample.contents(of: $0) } }

    /// The same, with the text of a file ("" when there is none) from `read`.
    static func ofControlGroup(_ read: (String) -> String) -> UInt64? {
        var limits: [UInt64] = []
        for line in read("/proc/self/cgroup").split(separator: "\n") {
            // number:controllers:path; version 2 has the number 0 and no controllers.
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let isNew = fields[0] == "0" && fields[1].isEmpty
            guard isNew || fields[1].split(separator: ",").contains("memory") else { continue }
            let root = isNew ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory"
            let file = isNew ? "memory.max" : "memory.limit_in_bytes"
            // In a container the path may be that of the host, which is not there: then the root is the own group.
            var parts = fields[2].split(separator: "/").prefix(longestPath)
            while true {
                let folder = ([root] + parts.map(String.init)).joined(separator: "/")
                if let limit = number(read(folder + "/" + file)) { limits.append(limit) }
                if parts.popLast() == nil { break }
            }
        }
        return limits.min()
    }

    private static let longestPath = 32

    /// Version 2 says `max` for none, version 1 a number near 2⁶³.
    private static func number(_ text: String) -> UInt64? {
        guard let limit = UInt64(text.prefix { $0 != "\n" }), limit > 0, limit < 1 << 60 else { return nil }
        return limit
    }
}
