// Flags → environment → file → defaults: asks each source for each setting of the tables, checks every value that it
// finds (also one that a stronger source overrides), and gives the configuration in effect with where each value came
// from. All problems are collected, so that check-config can list them at once.
//
// Called once at start; everything is handed in, so that tests need no process-wide state.

import Configuration

/// A checked configuration and the origin of its values.
package struct LoadedConfiguration: Sendable {
    /// What is in effect.
    package var configuration: GatewayConfiguration
    /// Where each explicitly set key was set: "--port", "environment, MARTLET_PORT", a file's name.
    package var origins: [String: String]
}

/// Reads the sources.
package enum ConfigurationLoader {
    /// The configuration in effect, or everything that is wrong.
    package static func load(
        flags: ConfigurationFlags = ConfigurationFlags(), environment: [String: String] = [:],
        file: ConfigurationFile? = nil
    ) throws(ConfigurationError) -> LoadedConfiguration {
        var loader = Reading(flags: flags, environment: environment, file: file)
        let loaded = loader.run()
        guard loader.problems.isEmpty else { throw ConfigurationError(problems: loader.problems) }
        return loaded
    }

    /// Every key outside of namespaces.
    static let keys = SettingTable.all.map(\.key) + RoomSettingTable.all.map { "rooms.default." + $0.key }

    private struct Reading {
        var problems: [ConfigurationProblem]
        private let layers: [ConfigurationLayer]
        private let namespaces: [String]
        private var origins: [String: String] = [:]

        init(flags: ConfigurationFlags, environment: [String: String], file: ConfigurationFile?) {
            let (environmentLayer, unknownVariables) = ConfigurationSources.layer(environment: environment, keys: keys)
            let reader = file.map { ConfigurationFileReader($0, keys: keys) }
            layers = [ConfigurationSources.layer(flags), environmentLayer] + (reader.map { [$0.layer] } ?? [])
            namespaces = reader?.namespaces ?? []
            problems = unknownVariables + (reader?.problems ?? [])
        }

        mutating func run() -> LoadedConfiguration {
            var configuration = GatewayConfiguration()
            for setting in SettingTable.all {
                resolve(setting, key: setting.key, path: ConfigurationSources.path(setting.key), into: &configuration)
            }
            for setting in RoomSettingTable.all {
                let key = "rooms.default." + setting.key
                resolve(setting, key: key, path: ConfigurationSources.path(key), into: &configuration.rooms.default)
            }
            for name in namespaces {
                var options = GatewayConfiguration.RoomOptions()
                for setting in RoomSettingTable.all {
                    let path = ConfigurationFileReader.path(namespace: name, option: setting.key)
                    resolve(setting, key: "rooms.namespaces.\(name).\(setting.key)", path: path, into: &options)
                }
                configuration.rooms.namespaces[name] = options
            }
            // What single values got wrong would only be said twice in other words.
            if problems.isEmpty { problems = ConfigurationRules.problems(of: configuration) }
            return LoadedConfiguration(configuration: configuration, origins: origins)
        }

        private mutating func resolve<Root>(
            _ setting: Setting<Root>, key: String, path: AbsoluteConfigKey, into root: inout Root
        ) {
            // Weakest first: the strongest source writes last and stays.
            for layer in layers.reversed() {
                guard let found = read(setting, key: key, path: path, from: layer) else { continue }
                switch setting.status {
                case .built:
                    setting.store(&root, found)
                    origins[key] = layer.origin(key)
                case .later(let off) where off == found: break
                case .later:
                    report(key, "is not built yet in this version; remove it", layer)
                }
            }
        }

        /// The value that one source has; nil when it has none or a wrong one, which is then reported.
        private mutating func read<Root>(
            _ setting: Setting<Root>, key: String, path: AbsoluteConfigKey, from layer: ConfigurationLayer
        ) -> SettingValue? {
            var failure: SettingFailure?
            var wasThere = false
            for type in setting.kind.sourceTypes {
                // A provider throws when it has a value of another type.
                guard let content = try? layer.provider.value(forKey: path, type: type).value?.content else {
                    wasThere = wasThere || layer.shown(key) != nil
                    continue
                }
                switch setting.kind.read(content) {
                case .success(let value): return value
                case .failure(let wrong): failure = wrong
                }
            }
            if failure == nil, wasThere { failure = SettingFailure("must be " + setting.kind.expectation) }
            guard let failure else { return nil }
            let shown = setting.isSecret || !failure.showsValue ? nil : layer.shown(key)
            report(key, failure.text + (shown.map { ", not \($0)" } ?? ""), layer)
            return nil
        }

        private mutating func report(_ key: String, _ text: String, _ layer: ConfigurationLayer) {
            problems.append(ConfigurationProblem(name: key, text: text, origin: layer.origin(key)))
        }
    }
}
