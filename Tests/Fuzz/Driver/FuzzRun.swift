// Runs a target in a process of its own, since what a fuzzer looks for ends the process. The child writes each input to
// a file that both map, before it tries it; when the child dies or hangs, the parent finds the culprit there.

import Bytes
import Glibc
import Reactor

/// A file of memory that parent and child share: executions (8 bytes), length (8 bytes), the input.
struct SharedInput {
    private static let size = 16 + Mutator.lengthLimit
    private let base: UnsafeMutableRawPointer

    /// Maps the file at `path`, made if need be; nil when the system refuses.
    init?(path: String) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        guard ftruncate(descriptor, off_t(SharedInput.size)) == 0 else { return nil }
        let mapped = mmap(nil, SharedInput.size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        guard let mapped, mapped != MAP_FAILED else { return nil }
        base = mapped
    }

    /// Inputs begun so far.
    var executions: UInt64 { base.load(as: UInt64.self) }

    /// The input that was begun last.
    var input: [UInt8] {
        let count = min(Int(base.load(fromByteOffset: 8, as: UInt64.self)), Mutator.lengthLimit)
        return Array(UnsafeRawBufferPointer(start: base + 16, count: count))
    }

    /// Notes that `input` is about to be tried.
    func begin(_ input: [UInt8]) {
        input.withUnsafeBytes { bytes in
            if let source = bytes.baseAddress { (base + 16).copyMemory(from: source, byteCount: bytes.count) }
        }
        base.storeBytes(of: UInt64(input.count), toByteOffset: 8, as: UInt64.self)
        base.storeBytes(of: executions + 1, as: UInt64.self)
    }
}

/// Both sides of a run.
enum FuzzRun {
    /// An input that takes longer has hung.
    static let hangLimit = Duration.seconds(10)

    /// The child: tries inputs until `seconds` are over.
    static func child(_ target: FuzzTarget, seconds: Double, seed: UInt64, shared: SharedInput) {
        let end = MonotonicTime.now() + .milliseconds(Int64(seconds * 1000))
        for input in target.seeds.map({ Array($0.prefix(Mutator.lengthLimit)) }) { tryOut(input, target, shared) }
        var mutator = Mutator(target: target, seed: seed)
        while MonotonicTime.now() < end {
            for _ in 0..<64 { tryOut(mutator.next(), target, shared) }
        }
    }

    private static func tryOut(_ input: [UInt8], _ target: FuzzTarget, _ shared: SharedInput) {
        shared.begin(input)
        input.withUnsafeBytes { target.run($0) }
    }

    /// How a child ended.
    enum Verdict: Equatable {
        case clean
        case died(String)
        case hung
    }

    /// The parent: runs this program again as a child with `arguments` and watches it.
    static func watch(_ arguments: [String], shared: SharedInput) -> Verdict {
        var pointers: [UnsafeMutablePointer<CChar>?] = (["/proc/self/exe"] + arguments).map { strdup($0) } + [nil]
        // Swift's own backtracer would take seconds on each crash; the input is all that is needed.
        var environment: [UnsafeMutablePointer<CChar>?] = [strdup("SWIFT_BACKTRACE=enable=no"), nil]
        defer { for pointer in pointers + environment { free(pointer) } }
        var pid: pid_t = 0
        guard posix_spawn(&pid, "/proc/self/exe", nil, nil, &pointers, &environment) == 0 else {
            return .died("the child could not be started")
        }
        var before: UInt64 = .max
        var since = MonotonicTime.now()
        while true {
            var status: Int32 = 0
            if waitpid(pid, &status, WNOHANG) == pid { return verdict(status) }
            let executions = shared.executions
            if executions != before {
                before = executions
                since = .now()
            } else if MonotonicTime.now().since(since) > hangLimit {
                kill(pid, SIGKILL)
                waitpid(pid, &status, 0)
                return .hung
            }
            usleep(50_000)
        }
    }

    private static func verdict(_ status: Int32) -> Verdict {
        let signal = status & 0x7F
        if signal != 0 { return .died("signal \(signal) (\(String(cString: strsignal(signal))))") }
        let code = (status >> 8) & 0xFF
        return code == 0 ? .clean : .died("exit code \(code)")
    }
}
