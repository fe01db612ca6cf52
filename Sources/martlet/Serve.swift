// `martlet serve`: configuration, log, then the gateway until it ends. The only place that starts the gateway.

import ArgumentParser
import Bytes
import FoundationEssentials
import Gateway
import Glibc
import Logging
import Telemetry

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the gateway until SIGTERM or SIGINT.",
        discussion: """
            Clients connect to /connection/websocket; /livez, /readyz and /metrics are on
            the admin port. `martlet print-config --reference` explains every setting.

            EXAMPLES
              martlet serve --insecure
              martlet serve --config martlet.json --port 8001 --admin-port 9001
              MARTLET_ENGINE_REDIS_URL=redis://127.0.0.1:6379 martlet serve
              martlet serve --host 0.0.0.0 --behind-proxy --config martlet.json
            """)

    @OptionGroup var options: ConfigurationOptions

    func run() throws {
        #if MARTLET_MUTANTS
        let defect = PlantedDefect.notice
        #endif
        let configuration = try options.load().configuration
        let format = configuration.log.format == "auto" ? nil : configuration.log.format
        let style = LogStyle.suitable(
            format: format, isTerminal: Terminal.isTerminal(STDERR_FILENO),
            noColour: Terminal.noColour(ProcessInfo.processInfo.environment))
        let writer = LogWriter(descriptor: STDERR_FILENO, style: style)
        // What was logged last is what an operator needs most; a stuck reader of stderr may not hold up the exit.
        defer { writer.stop(timeout: .seconds(2)) }
        let level = Logger.Level(rawValue: configuration.log.level) ?? .info
        let logger = Logger(label: "martlet") { _ in MartletLogHandler(writer: writer, level: level) }
        #if MARTLET_MUTANTS
        if let defect { logger.warning("\(defect)") }
        #endif
        try GatewayServer.run(configuration: configuration, logger: logger, logWriter: writer)
    }
}
