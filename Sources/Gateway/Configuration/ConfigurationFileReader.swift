// Walks a configuration file against the tables: finds unknown keys, wrong shapes and namespaces, and turns the rest
// into a provider. The file's values keep their JSON type, so that `"port": true` is refused and not taken for 1.
//
// Called once at start.

import Configuration

/// What a file holds.
struct ConfigurationFileReader {
    private let origin: String
    private var values: [AbsoluteConfigKey: ConfigValue] = [:]
    private var shown: [String: String] = [:]
    private(set) var problems: [ConfigurationProblem] = []
    /// Names below `rooms.namespaces`, sorted.
    private(set) var namespaces: [String] = []

    private let keys: Set<String>
    private let sections: Set<String>
    private let candidates: [String]

    /// Reads `file` against `keys`, all known keys without those of namespaces.
    init(_ file: ConfigurationFile, keys: [String]) {
        origin = file.path
        self.keys = Set(keys)
        var sections: Set<String> = ["rooms.namespaces"]
        for key in keys {
            let parts = key.split(separator: ".")
            for length in 1..<max(1, parts.count) { sections.insert(parts.prefix(length).joined(separator: ".")) }
        }
        self.sections = sections
        candidates = keys + sections.sorted()
        switch ConfigurationJSON.read(file.bytes) {
        case .failure(let failure):
            problems.append(ConfigurationProblem(name: file.path, text: failure.text, origin: "--config"))
        case .success(.object(let members)):
            walk(members, below: "")
        case .success(let other):
            problems.append(
                ConfigurationProblem(
                    name: file.path, text: "must hold one JSON object, not \(other.brief)", origin: "--config"))
        }
    }

    /// The file as a source.
    var layer: ConfigurationLayer {
        let (shown, origin) = (shown, origin)
        return ConfigurationLayer(
            provider: InMemoryProvider(name: origin, values: values), origin: { _ in origin }, shown: { shown[$0] })
    }

    private mutating func walk(_ members: [String: ConfigurationJSON], below parent: String) {
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            let key = parent.isEmpty ? name : "\(parent).\(name)"
            if keys.contains(key), !name.contains(".") {
                take(value, for: key, path: ConfigurationSources.path(key))
            } else if sections.contains(key), !name.contains(".") {
                guard case .object(let inner) = value else {
                    report(key, "must be an object, not \(value.brief)")
                    continue
                }
                if key == "rooms.namespaces" { walkNamespaces(inner) } else { walk(inner, below: key) }
            } else if name.contains("."), keys.contains(key) {
                report(key, "write it as nested objects, not with dots in a name")
            } else {
                report(key, "unknown key" + NearestName.hint(key, among: candidates))
            }
        }
    }

    private mutating func walkNamespaces(_ members: [String: ConfigurationJSON]) {
        let options = Set(RoomSettingTable.all.map(\.key))
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            let key = "rooms.namespaces.\(name)"
            if let wrong = SettingChecks.namespace(name) {
                report("rooms.namespaces", "the name \(ConfigurationJSON.text(name).brief) \(wrong)")
                continue
            }
            guard case .object(let inner) = value else {
                report(key, "must be an object, not \(value.brief)")
                continue
            }
            namespaces.append(name)
            for (option, value) in inner.sorted(by: { $0.key < $1.key }) {
                if options.contains(option) {
                    take(value, for: "\(key).\(option)", path: Self.path(namespace: name, option: option))
                } else {
                    let hint = NearestName.of(option, among: RoomSettingTable.all.map(\.key))
                    report("\(key).\(option)", "unknown key" + (hint.map { "; did you mean \(key).\($0)?" } ?? ""))
                }
            }
        }
    }

    /// The path of a namespace's option; the name is one component, whatever characters it has.
    static func path(namespace: String, option: String) -> AbsoluteConfigKey {
        AbsoluteConfigKey(["rooms", "namespaces", namespace, option])
    }

    private mutating func take(_ value: ConfigurationJSON, for key: String, path: AbsoluteConfigKey) {
        let content: ConfigContent
        switch value {
        case .boolean(let flag): content = .bool(flag)
        case .integer(let number): content = .int(number)
        case .number(let number): content = .double(number)
        case .text(let text): content = .string(text)
        case .array(let elements):
            let texts = elements.compactMap { element -> String? in
                if case .text(let text) = element { return text }
                return nil
            }
            guard texts.count == elements.count else { return report(key, "must be a list of texts") }
            content = .stringArray(texts)
        case .null: return report(key, "must not be null; leave it out to get the default")
        case .object: return report(key, "must be a value, not an object")
        }
        // Only what the provider holds: a key that was reported here is not to be reported again as mistyped.
        shown[key] = value.brief
        values[path] = ConfigValue(content, isSecret: false)
    }

    private mutating func report(_ key: String, _ text: String) {
        // A key may hold anything that JSON can write; a message stays one line.
        let name = ConfigurationJSON.quoted(key).dropFirst().dropLast()
        problems.append(ConfigurationProblem(name: String(name.prefix(200)), text: text, origin: origin))
    }
}
