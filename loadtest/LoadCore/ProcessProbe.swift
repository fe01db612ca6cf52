// What the kernel says of a process: processor time from /proc/PID/stat, memory from smaps_rollup. Read by the
// coordinator before, between and after the phases of a run, never on a loop. Parsing is separate from reading, so that
// the tests feed it text.

import Glibc

/// Processor time and memory of one process, or the sum over several.
package struct ProcessSample: Equatable, Sendable {
    /// User and system time since the process began, in nanoseconds (the kernel counts in steps of 10 ms).
    package var processorTime: UInt64 = 0
    /// Resident memory in bytes.
    package var resident: UInt64 = 0
    /// Resident memory in bytes, pages that several processes share divided among them.
    package var proportional: UInt64 = 0

    /// Nothing yet.
    package init() {}

    package static func + (a: ProcessSample, b: ProcessSample) -> ProcessSample {
        var sum = a
        sum.processorTime += b.processorTime
        sum.resident += b.resident
        sum.proportional += b.proportional
        return sum
    }
}

/// Reads samples.
package enum ProcessProbe {
    /// The sum over `pids`; nil when one of them is gone or may not be looked at.
    package static func sample(_ pids: [Int32]) -> ProcessSample? {
        var sum = ProcessSample()
        for pid in pids {
            guard let one = sample(pid) else { return nil }
            sum = sum + one
        }
        return sum
    }

    private static func sample(_ pid: Int32) -> ProcessSample? {
        guard let stat = SmallFile.read("/proc/\(pid)/stat"), let ticks = ticks(stat: stat) else { return nil }
        var sample = ProcessSample()
        sample.processorTime = ticks * (1_000_000_000 / UInt64(max(1, sysconf(Int32(_SC_CLK_TCK)))))
        guard let rollup = SmallFile.read("/proc/\(pid)/smaps_rollup") else { return nil }
        sample.resident = kibibytes("Rss:", in: rollup) * 1024
        sample.proportional = kibibytes("Pss:", in: rollup) * 1024
        return sample
    }

    /// User plus system ticks in the text of /proc/PID/stat. The command's name may hold anything but ends at the last
    /// parenthesis; the times are the 12th and 13th field after it.
    package static func ticks(stat: String) -> UInt64? {
        guard let end = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        guard fields.count > 12, let user = UInt64(fields[11]), let system = UInt64(fields[12]) else { return nil }
        return user + system
    }

    /// The number in the line that begins with `key`; 0 when there is none.
    package static func kibibytes(_ key: String, in rollup: String) -> UInt64 {
        for line in rollup.split(separator: "\n") where line.hasPrefix(key) {
            let fields = line.split(separator: " ")
            return fields.count > 1 ? UInt64(fields[1]) ?? 0 : 0
        }
        return 0
    }
}

/// Files of a few kilobytes: /proc, /sys, .git.
package enum SmallFile {
    /// The first 64 KiB of a file as text; nil when it cannot be read.
    package static func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 65_536)
        var count = 0
        while count < bytes.count {
            let got = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress.map { $0 + count }, $0.count - count)
            }
            guard got > 0 else { break }
            count += got
        }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Writes `text` to a new or emptied file; false when that fails.
    package static func write(_ text: String, to path: String) -> Bool {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return writeAll(text, to: descriptor)
    }

    /// Writes all of `text`, blocking; false when the other side is gone.
    package static func writeAll(_ text: String, to descriptor: Int32) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            var done = 0
            while done < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
                if count > 0 {
                    done += count
                } else if errno != EINTR {
                    return false
                }
            }
            return true
        }
    }
}
