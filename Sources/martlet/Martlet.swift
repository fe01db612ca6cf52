// The root command: what `martlet --help` teaches.

import ArgumentParser
import Bytes
import Gateway

struct Martlet: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet",
        abstract: "A WebSocket chat gateway: rooms for very many connections, shared by instances through Redis.",
        discussion: """
            EXAMPLES
              martlet serve --insecure
                  try it: one process on 127.0.0.1:8000, every room open to all
              martlet serve --insecure --redis redis://127.0.0.1:6379 --port 8001
                  an instance that shares its rooms with others through Redis
              martlet check-config --config martlet.json
                  what is wrong with a configuration, if anything
              martlet print-config --config martlet.json
                  the values in effect and where each one was set

            EXIT CODES
              0 done, 1 failed, 2 wrong flags or configuration, 3 authentication,
              4 network. One line on stderr says what is wrong and how to mend it.
            """,
        version: MartletVersion.current,
        subcommands: [Serve.self, CheckConfig.self, PrintConfig.self, Version.self])
}

struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print the version.")

    func run() { print(MartletVersion.current) }
}
