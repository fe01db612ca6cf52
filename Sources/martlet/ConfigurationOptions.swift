// The flags that serve, check-config and print-config share: all three see the same configuration. Types are checked
// by the setting tables, not here, so that a flag and a file are refused in the same words.

import ArgumentParser
import FoundationEssentials
import Gateway

struct ConfigurationOptions: ParsableArguments {
    @Option(help: ArgumentHelp("JSON file; flags and MARTLET_ variables are stronger.", valueName: "file"))
    var config: String?

    @Option(help: ArgumentHelp("Address for clients (default: 127.0.0.1).", valueName: "address"))
    var host: String?

    // Unconditional: -1 is a value here, not an option.
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Port for clients; 0 = a free one, -1 = none (default: 8000).", valueName: "port"))
    var port: Int?

    @Option(help: ArgumentHelp("Address for health checks and metrics (default: 127.0.0.1).", valueName: "address"))
    var adminHost: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Port for health checks and metrics; 0 = a free one, -1 = none (default: 9000).", valueName: "port"))
    var adminPort: Int?

    @Option(help: ArgumentHelp("Event loops (default: one per core).", valueName: "count"))
    var loops: Int?

    @Option(help: ArgumentHelp("Redis that instances share, as redis://user:password@host:port.", valueName: "url"))
    var redis: String?

    @Flag(help: "Development: everybody may connect, subscribe and publish, in every room.")
    var insecure = false

    @Flag(help: "A proxy in front does TLS, or the network is private: allows a public --host.")
    var behindProxy = false

    @Option(
        help: ArgumentHelp(
            "trace, debug, info, notice, warning, error or critical (default: info).", valueName: "level"))
    var logLevel: String?

    @Option(help: ArgumentHelp("json, text, or auto = text on a terminal (default: auto).", valueName: "format"))
    var logFormat: String?

    /// Reads all sources of this process.
    func load() throws -> LoadedConfiguration {
        var flags = ConfigurationFlags()
        flags.host = host
        flags.port = port
        flags.adminHost = adminHost
        flags.adminPort = adminPort
        flags.loops = loops
        flags.redis = redis
        flags.insecure = insecure
        flags.behindProxy = behindProxy
        flags.logLevel = logLevel
        flags.logFormat = logFormat
        var file: ConfigurationFile?
        if let config { file = try ConfigurationFile.read(path: config) }
        return try ConfigurationLoader.load(
            flags: flags, environment: ProcessInfo.processInfo.environment, file: file)
    }
}
