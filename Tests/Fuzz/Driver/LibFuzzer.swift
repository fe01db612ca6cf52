// libFuzzer's entry point: the same targets, guided by coverage. Only in builds with -DLIBFUZZER -sanitize=fuzzer (see
// `make fuzz-libfuzzer`). MARTLET_FUZZ_TARGET says which parser; the arguments are libFuzzer's own. Called on the main
// thread, one input at a time. The package manager names the program's main itself, so libFuzzer's driver is called
// from ours instead of the other way round.

#if LIBFUZZER
import Glibc

private let target: FuzzTarget = {
    let name = getenv("MARTLET_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = FuzzTarget(rawValue: name) else {
        preconditionFailure("MARTLET_FUZZ_TARGET must be one of \(FuzzTarget.allCases.map(\.rawValue))")
    }
    return target
}()

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ tryOne: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

@main
enum LibFuzzer {
    static func main() {
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        // Seeds go first: coverage starts from well-formed input even without a corpus folder.
        for seed in target.seeds { seed.withUnsafeBytes { target.run($0) } }
        let status = runDriver(&count, &arguments) { bytes, count in
            target.run(UnsafeRawBufferPointer(start: bytes, count: count))
            return 0
        }
        exit(status)
    }
}
#endif
