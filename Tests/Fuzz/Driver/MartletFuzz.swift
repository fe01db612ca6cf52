// martlet-fuzz: mutation fuzzing of everything that reads bytes from outside. Needs no special build, so CI runs it on
// each change; `make fuzz-libfuzzer` runs the same targets guided by coverage (see LibFuzzer.swift).

#if !LIBFUZZER
import ArgumentParser
import Bytes
import Glibc
import Reactor

@main
struct MartletFuzz: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet-fuzz",
        abstract: "Tries mutated inputs on a parser and says which one broke it.",
        discussion: """
            A run follows from its seed. After a failure:
              martlet-fuzz --target frames --seed 7        the whole run again
              martlet-fuzz --target frames --input 00ff81  the one input again
            """)

    @Option(help: "http, frames, commands or resp.")
    var target: FuzzTarget

    @Option(help: "Seconds to run.")
    var seconds = 20.0

    @Option(help: "Seed of the mutations.")
    var seed: UInt64 = 1

    @Option(help: "Try this one input, in hexadecimal, in this process.")
    var input: String?

    @Option(help: .hidden)
    var child: String?

    func validate() throws {
        guard (0...86_400).contains(seconds) else { throw ValidationError("--seconds must be 0 to 86400") }
        guard input == nil || bytes != nil else { throw ValidationError("--input must be pairs of hexadecimal digits") }
    }

    private var bytes: [UInt8]? {
        guard let digits = input.map({ Array($0.utf8) }), digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            let pair = String(decoding: digits[index...index + 1], as: UTF8.self)
            guard pair.first != "+", pair.first != "-", let byte = UInt8(pair, radix: 16) else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    func run() throws {
        if let bytes {
            bytes.withUnsafeBytes { target.run($0) }
            print("\(target.rawValue): \(bytes.count) bytes tried, nothing broke")
            return
        }
        if let child {
            guard let shared = SharedInput(path: child) else { throw ExitCode(1) }
            FuzzRun.child(target, seconds: seconds, seed: seed, shared: shared)
            return
        }
        try watch()
    }

    private func watch() throws {
        let path = "/tmp/martlet-fuzz-\(getpid())"
        guard let shared = SharedInput(path: path) else { throw ValidationError("cannot make \(path)") }
        defer { unlink(path) }
        let began = MonotonicTime.now()
        let arguments = [
            "--target", target.rawValue, "--seconds", String(seconds), "--seed", String(seed), "--child", path,
        ]
        let verdict = FuzzRun.watch(arguments, shared: shared)
        let spent = Double(MonotonicTime.now().since(began).wholeMilliseconds) / 1000
        let rate = spent > 0 ? Int(Double(shared.executions) / spent) : 0
        switch verdict {
        case .clean:
            print(
                "\(target.rawValue): \(shared.executions) inputs in \(spent) s (\(rate)/s), seed \(seed), nothing broke"
            )
        case .died(let how): try fail(how, shared)
        case .hung: try fail("no answer within 10 s", shared)
        }
    }

    private func fail(_ how: String, _ shared: SharedInput) throws {
        let hex = shared.input.map { String(UInt16($0) + 256, radix: 16).dropFirst() }.joined()
        print("\(target.rawValue): BROKEN: \(how), seed \(seed)")
        print("input \(shared.executions), \(shared.input.count) bytes:")
        print(hex)
        print("again: martlet-fuzz --target \(target.rawValue) --input \(hex)")
        throw ExitCode(1)
    }
}
#endif
