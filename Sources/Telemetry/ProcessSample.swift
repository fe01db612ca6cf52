// What the kernel says about this process, for the process_* metrics with their standard names.
//
// Read off the loops, once a scrape: four small files in /proc. A file that cannot be read leaves zeros; a scrape
// never fails because of it.

import Glibc

/// CPU, memory and descriptors of this process at one moment.
package struct ProcessSample: Sendable, Equatable {
    /// User and system CPU time.
    package var cpuNanoseconds: UInt64 = 0
    /// Resident memory.
    package var residentBytes: UInt64 = 0
    /// Virtual memory.
    package var virtualBytes: UInt64 = 0
    /// Open file descriptors.
    package var openDescriptors: UInt64 = 0
    /// Soft limit of file descriptors.
    package var maxDescriptors: UInt64 = 0
    /// Start of the process since the Unix epoch.
    package var startNanoseconds: UInt64 = 0

    /// Asks the kernel.
    package static func read() -> ProcessSample {
        var sample = ProcessSample(
            stat: contents(of: "/proc/self/stat"), systemStat: contents(of: "/proc/stat"),
            ticksPerSecond: UInt64(clamping: sysconf(Int32(_SC_CLK_TCK))),
            pageSize: UInt64(clamping: sysconf(Int32(_SC_PAGESIZE))))
        sample.openDescriptors = countDescriptors()
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            sample.maxDescriptors = UInt64(limit.rlim_cur)
        }
        return sample
    }

    /// Reads the text of `/proc/self/stat` and `/proc/stat` (proc_pid_stat(5)).
    init(stat: String, systemStat: String, ticksPerSecond: UInt64, pageSize: UInt64) {
        // The command's name may hold blanks and parentheses; the fields begin behind the last ")".
        guard let end = stat.lastIndex(of: ")") else { return }
        let fields = stat[stat.index(after: end)...].split(whereSeparator: { $0 == " " || $0 == "\n" })
        // Field 3 (state) is fields[0].
        func field(_ number: Int) -> UInt64 {
            fields.indices.contains(number - 3) ? UInt64(fields[number - 3]) ?? 0 : 0
        }
        let nanosecondsPerTick = 1_000_000_000 / max(1, ticksPerSecond)
        cpuNanoseconds = (field(14) &+ field(15)) &* nanosecondsPerTick
        virtualBytes = field(23)
        residentBytes = field(24) &* pageSize
        let boot = systemStat.split(separator: "\n").first { $0.hasPrefix("btime ") }
        let bootSeconds = boot.flatMap { UInt64($0.dropFirst(6)) } ?? 0
        startNanoseconds = bootSeconds &* 1_000_000_000 &+ field(22) &* nanosecondsPerTick
    }

    /// Resident memory alone: one small file, cheap enough for a loop once a second. 0 when it cannot be read.
    package static func residentBytes() -> UInt64 {
        // statm counts pages: all, resident, ...
        let fields = contents(of: "/proc/self/statm").split(separator: " ")
        return fields.count > 1 ? (UInt64(fields[1]) ?? 0) &* UInt64(clamping: sysconf(Int32(_SC_PAGESIZE))) : 0
    }

    static func contents(of path: String) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        // /proc/stat grows with the number of interrupts; what we look for stands within its first megabyte.
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while bytes.count < 1 << 20 {
            let got = Glibc.read(descriptor, &chunk, chunk.count)
            guard got > 0 else { break }
            bytes += chunk[..<got]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func countDescriptors() -> UInt64 {
        guard let directory = opendir("/proc/self/fd") else { return 0 }
        defer { closedir(directory) }
        var entries: UInt64 = 0
        while readdir(directory) != nil { entries += 1 }
        // ".", ".." and the descriptor that reads the directory.
        return entries > 3 ? entries - 3 : 0
    }
}
