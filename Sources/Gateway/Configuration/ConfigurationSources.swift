// Where values come from, and in which order: flags, environment, file. Each source is a swift-configuration provider
// with its own words for "where was this set"; unknown keys and variables are found here, since providers do not say
// what they were never asked for.
//
// Called once at start; everything is handed in, nothing is read from the process.

import Configuration
import Glibc

/// Values given as flags of the command line; nil = not given.
package struct ConfigurationFlags: Sendable, Equatable {
    /// `--host`
    package var host: String?
    /// `--port`
    package var port: Int?
    /// `--admin-host`
    package var adminHost: String?
    /// `--admin-port`
    package var adminPort: Int?
    /// `--loops`
    package var loops: Int?
    /// `--redis`
    package var redis: String?
    /// `--insecure`
    package var insecure = false
    /// `--behind-proxy`
    package var behindProxy = false
    /// `--log-level`
    package var logLevel: String?
    /// `--log-format`
    package var logFormat: String?

    /// No flag given.
    package init() {}

    /// Flag and value of every key that was given.
    var given: [(key: String, flag: String, content: ConfigContent)] {
        var all: [(String, String, ConfigContent?)] = [
            ("host", "--host", host.map(ConfigContent.string)),
            ("port", "--port", port.map(ConfigContent.int)),
            ("admin.host", "--admin-host", adminHost.map(ConfigContent.string)),
            ("admin.port", "--admin-port", adminPort.map(ConfigContent.int)),
            ("loops", "--loops", loops.map(ConfigContent.int)),
            ("engine.redis.url", "--redis", redis.map(ConfigContent.string)),
            ("log.level", "--log-level", logLevel.map(ConfigContent.string)),
            ("log.format", "--log-format", logFormat.map(ConfigContent.string)),
        ]
        if insecure { all.append(("client.insecure", "--insecure", .bool(true))) }
        if behindProxy { all.append(("behindProxy", "--behind-proxy", .bool(true))) }
        return all.compactMap { key, flag, content in content.map { (key, flag, $0) } }
    }
}

/// A configuration file's name and content.
package struct ConfigurationFile: Sendable {
    /// The name as the operator gave it.
    package let path: String
    /// The content.
    package let bytes: [UInt8]

    /// Longest file that is read; a longer one is no configuration.
    package static let sizeLimit = 4 << 20

    /// A file whose content is at hand.
    package init(path: String, bytes: [UInt8]) {
        self.path = path
        self.bytes = bytes
    }

    /// Reads a file or a pipe, at most `sizeLimit` bytes of it; the error says why that failed.
    package static func read(path: String) throws(ConfigurationError) -> ConfigurationFile {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw unreadable(path, errno) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= sizeLimit {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { return ConfigurationFile(path: path, bytes: bytes) }
            guard count > 0 else {
                if errno == EINTR { continue }
                throw unreadable(path, errno)
            }
            bytes += chunk[..<count]
        }
        throw unusable(path, "is larger than \(ConfigurationUnits.text(size: sizeLimit))")
    }

    private static func unreadable(_ path: String, _ code: Int32) -> ConfigurationError {
        switch code {
        case ENOENT: unusable(path, "no such file")
        case EACCES: unusable(path, "may not be read by this user")
        default: unusable(path, "cannot be read: \(String(cString: strerror(code)))")
        }
    }

    private static func unusable(_ path: String, _ text: String) -> ConfigurationError {
        ConfigurationError(problems: [ConfigurationProblem(name: path, text: text, origin: "--config")])
    }
}

/// One source with the words for where a key was set in it.
struct ConfigurationLayer {
    let provider: any ConfigProvider
    /// Where a key was set, to stand in parentheses.
    let origin: (String) -> String
    /// A value as the operator wrote it, for a message.
    let shown: (String) -> String?
}

enum ConfigurationSources {
    /// Prefix of every variable that is ours.
    static let environmentPrefix = "MARTLET_"
    /// Variables of the other programs, which may well be set where the server starts.
    private static let variablesOfOthers: Set<String> = ["MARTLET_TOKEN"]

    /// The variable for a key: `client.token.hmacSecret` → `MARTLET_CLIENT_TOKEN_HMAC_SECRET`.
    static func environmentName(_ key: String) -> String {
        var name = environmentPrefix
        var before: Character = "."
        for character in key {
            if character.isUppercase, before.isLowercase || before.isNumber { name += "_" }
            name += character == "." ? "_" : character.uppercased()
            before = character
        }
        return name
    }

    /// The path of a key as swift-configuration wants it.
    static func path(_ key: String) -> AbsoluteConfigKey {
        AbsoluteConfigKey(key.split(separator: ".").map(String.init))
    }

    static func layer(_ flags: ConfigurationFlags) -> ConfigurationLayer {
        let given = flags.given
        let values = given.map { (path($0.key), ConfigValue($0.content, isSecret: false)) }
        let names = Dictionary(given.map { ($0.key, $0.flag) }) { first, _ in first }
        return ConfigurationLayer(
            provider: InMemoryProvider(name: "flags", values: Dictionary(values) { first, _ in first }),
            origin: { names[$0] ?? "flag" },
            shown: { key in
                switch given.first(where: { $0.key == key })?.content {
                case .string(let text): ConfigurationJSON.text(text).brief
                case .int(let number): "\(number)"
                default: nil
                }
            })
    }

    /// The variables of `environment` that are ours, and what is wrong with the names of others that look so.
    static func layer(
        environment: [String: String], keys: [String]
    ) -> (ConfigurationLayer, [ConfigurationProblem]) {
        let known = Dictionary(keys.map { (environmentName($0), $0) }) { first, _ in first }
        let ours = environment.filter { $0.key.hasPrefix(environmentPrefix) && !variablesOfOthers.contains($0.key) }
        let problems = ours.keys.sorted().filter { known[$0] == nil }.map { name in
            ConfigurationProblem(name: name, text: unknownVariable(name, known.keys.sorted()), origin: "environment")
        }
        // Split before digits' successors, too: the provider's own rule would make ED25519PUBLIC_KEY.
        let provider = EnvironmentVariablesProvider(environmentVariables: ours)
            .mapKeys { AbsoluteConfigKey([String(environmentPrefix.dropLast())] + $0.components.map(splitAfterDigits)) }
        let layer = ConfigurationLayer(
            provider: provider, origin: { "environment, " + environmentName($0) },
            shown: { ours[environmentName($0)].map { ConfigurationJSON.text($0).brief } })
        return (layer, problems)
    }

    private static func splitAfterDigits(_ component: String) -> String {
        component.reduce(into: "") { result, character in
            if character.isUppercase, result.last?.isNumber ?? false { result += "_" }
            result.append(character)
        }
    }

    private static func unknownVariable(_ name: String, _ known: [String]) -> String {
        if name.hasPrefix("MARTLET_ROOMS_NAMESPACES") { return "namespaces can only be set in the --config file" }
        if name.hasPrefix("MARTLET_SERVICE_") || name.hasPrefix("MARTLET_PORT_") {
            return "unknown variable; if Kubernetes made it for a service called martlet, set enableServiceLinks: false"
        }
        return "unknown variable" + NearestName.hint(name, among: known)
    }
}
