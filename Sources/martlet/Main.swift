// The process' entry: parses, runs one command, and turns every error into one line on stderr and an exit code. Nothing
// else in the executable exits.

import ArgumentParser
import Gateway
import Glibc

/// What the exit code says.
enum ExitStatus: Int32 {
    case done = 0
    case failed = 1
    /// Wrong flags or a wrong configuration.
    case usage = 2
    case authentication = 3
    case network = 4
}

/// An error that a command has already put into words.
struct CommandFailure: Error {
    let status: ExitStatus
    /// Lines for stderr; more than one only where the command's purpose is a list.
    let lines: [String]
}

@main
enum Main {
    static func main() {
        do {
            var command = try Martlet.parseAsRoot()
            try command.run()
        } catch {
            end(with: error)
        }
    }

    private static func end(with error: any Error) -> Never {
        switch error {
        case let failure as CommandFailure: stop(failure.status, failure.lines)
        case let wrong as ConfigurationError: stop(.usage, ["martlet: \(wrong)"])
        case let failure as GatewayFailure: stop(status(of: failure.kind), ["martlet: \(failure)"])
        default: break
        }
        let code = Martlet.exitCode(for: error)
        if code.isSuccess {
            // Help, version and completion scripts are answers, not errors.
            Terminal.write(Martlet.fullMessage(for: error) + "\n", to: STDOUT_FILENO)
            exit(ExitStatus.done.rawValue)
        }
        let message = Martlet.message(for: error).split(whereSeparator: \.isNewline).joined(separator: " ")
        let isUsage = code == .validationFailure
        let hint = isUsage ? " (see martlet --help)" : ""
        stop(isUsage ? .usage : .failed, ["martlet: \(message)\(hint)"])
    }

    private static func status(of kind: GatewayFailure.Kind) -> ExitStatus {
        switch kind {
        case .failed: .failed
        case .authentication: .authentication
        case .network: .network
        }
    }

    private static func stop(_ status: ExitStatus, _ lines: [String]) -> Never {
        for line in lines { Terminal.write(line + "\n", to: STDERR_FILENO) }
        exit(status.rawValue)
    }
}
