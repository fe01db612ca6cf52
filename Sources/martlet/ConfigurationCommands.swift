// `martlet check-config` and `martlet print-config`: what serve would do with the same flags, without doing it.

import ArgumentParser
import Gateway
import Glibc

struct CheckConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config", abstract: "List everything that is wrong with a configuration.",
        discussion: """
            Takes the flags, variables and file that serve takes. Exit code 0 when serve
            would accept them, else 2 and one line for each problem.

            EXAMPLES
              martlet check-config --config martlet.json
              martlet check-config --config martlet.json && systemctl restart martlet
            """)

    @OptionGroup var options: ConfigurationOptions

    func run() throws {
        do {
            _ = try options.load()
        } catch let error as ConfigurationError {
            throw CommandFailure(status: .usage, lines: error.problems.map { "martlet: \($0)" })
        }
        Terminal.write("the configuration is fine\n", to: STDOUT_FILENO)
    }
}

struct PrintConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "print-config", abstract: "Print the values in effect and where each was set, as JSON.",
        discussion: """
            Passwords are left out. `configuration` has the form of a --config file,
            `origins` says for each value that was set where that was.

            EXAMPLES
              MARTLET_PORT=8001 martlet print-config
              martlet print-config --reference
                  every setting with its type, default and meaning, as Markdown
            """)

    @OptionGroup var options: ConfigurationOptions

    @Flag(help: "Print the reference of all settings instead.")
    var reference = false

    func run() throws {
        let text = reference ? ConfigurationDocument.markdown : ConfigurationPrinter.json(try options.load())
        Terminal.write(text, to: STDOUT_FILENO)
    }
}
