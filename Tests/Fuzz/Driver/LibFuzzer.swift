// libFuzzer's entry point: the same targets, guided by coverage. Only in builds with -DLIBFUZZER -sanitize=fuzzer, where
// libFuzzer brings its own main; MARTLET_FUZZ_TARGET says which parser. Called on the main thread, one input at a time.

#if LIBFUZZER
import Glibc

private let target: FuzzTarget = {
    let name = getenv("MARTLET_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = FuzzTarget(rawValue: name) else {
        preconditionFailure("MARTLET_FUZZ_TARGET must be one of \(FuzzTarget.allCases.map(\.rawValue))")
    }
    return target
}()

/// Tries one input of libFuzzer's.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ bytes: UnsafeRawPointer?, _ count: Int) -> CInt {
    target.run(UnsafeRawBufferPointer(start: bytes, count: count))
    return 0
}
#endif
