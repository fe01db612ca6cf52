// What print-config writes: the values in effect, in the form of a configuration file, and where each one was set. The
// `configuration` part can be given back as a file and gives the same configuration, but for secrets.

/// Prints configurations.
package enum ConfigurationPrinter {
    /// One JSON object: `configuration` with every value in effect, `origins` with every key that was set explicitly.
    package static func json(_ loaded: LoadedConfiguration) -> String {
        var tree = Tree()
        for setting in SettingTable.all { add(setting, of: loaded.configuration, below: [], to: &tree) }
        for setting in RoomSettingTable.all {
            add(setting, of: loaded.configuration.rooms.default, below: ["rooms", "default"], to: &tree)
        }
        for (name, options) in loaded.configuration.rooms.namespaces.sorted(by: { $0.key < $1.key }) {
            for setting in RoomSettingTable.all {
                add(setting, of: options, below: ["rooms", "namespaces", name], to: &tree)
            }
        }
        var whole = Tree()
        whole.members = [("configuration", .branch(tree))]
        var origins = Tree()
        origins.members = loaded.origins.sorted { $0.key < $1.key }
            .map { ($0.key, .leaf(ConfigurationJSON.quoted($0.value))) }
        whole.members.append(("origins", .branch(origins)))
        return whole.text(indent: "") + "\n"
    }

    private static func add<Root>(
        _ setting: Setting<Root>, of root: Root, below parents: [String], to tree: inout Tree
    ) {
        guard setting.isBuilt, let value = setting.value(root) else { return }
        let text = setting.isSecret ? "\"***\"" : value.json(setting.kind)
        tree.insert(text, at: (parents + setting.key.split(separator: ".").map(String.init))[...])
    }

    /// An object whose members keep the order of the tables.
    private struct Tree {
        indirect enum Node {
            case leaf(String)
            case branch(Tree)
        }

        var members: [(key: String, node: Node)] = []

        mutating func insert(_ leaf: String, at path: ArraySlice<String>) {
            guard let first = path.first else { return }
            let rest = path.dropFirst()
            guard !rest.isEmpty else { return members.append((first, .leaf(leaf))) }
            let index = members.firstIndex { $0.key == first }
            var inner = Tree()
            if let index, case .branch(let present) = members[index].node { inner = present }
            inner.insert(leaf, at: rest)
            if let index { members[index].node = .branch(inner) } else { members.append((first, .branch(inner))) }
        }

        func text(indent: String) -> String {
            if members.isEmpty { return "{}" }
            let deeper = indent + "  "
            let lines = members.map { key, node in
                let value =
                    switch node {
                    case .leaf(let text): text
                    case .branch(let tree): tree.text(indent: deeper)
                    }
                return "\(deeper)\(ConfigurationJSON.quoted(key)): \(value)"
            }
            return "{\n" + lines.joined(separator: ",\n") + "\n\(indent)}"
        }
    }
}
