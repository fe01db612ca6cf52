// docs/configuration.md, made from the setting tables so that the two cannot differ; a test compares them, and
// `martlet print-config --reference` writes the document anew.

/// The reference of all settings.
package enum ConfigurationDocument {
    /// The whole document.
    package static var markdown: String {
        ([introduction] + SettingTable.groups.compactMap(section) + [roomSection, later, examples])
            .joined(separator: "\n")
    }

    private static let introduction = """
        # Configuration

        <!-- Made by `martlet print-config --reference`; change the tables in Sources/Gateway/Configuration instead. -->

        `martlet serve` needs no configuration: it then listens on 127.0.0.1:8000, with the embedded engine. Values
        come from, the strongest first:

        1. flags: `martlet serve --port 8001`; `martlet serve --help` lists them;
        2. environment variables: `MARTLET_PORT=8001`; lists are separated by commas;
        3. the JSON file of `--config FILE`: `{"port": 8001}`; a dot in a key is an object in the file;
        4. the defaults below.

        An unknown key, an unknown `MARTLET_…` variable, a value of the wrong type or an impossible combination stops
        the start with one line that names the key. `martlet check-config` takes the same flags and lists everything
        that is wrong; `martlet print-config` shows the values in effect and where each was set, without passwords.

        | type | written as |
        |---|---|
        | duration | `"25s"`, `"1.5s"`, `"250ms"`, `"10m"`, `"1h"` |
        | size | bytes, or `"64KiB"`, `"1MiB"`, `"1GiB"` |
        | rate | `"50/s"`, `"1/5s"`, `"100/m"`; `"0"` = none |
        | list | `["a", "b"]`; in the environment `a,b` |
        | true/false | `true`, `false`; in the environment also `1`, `0`, `yes`, `no` |

        A `host` that other machines can reach is refused unless `--behind-proxy` says that a proxy in front does TLS,
        or that the network is private.

        """

    private static func section(_ group: SettingGroup) -> String? {
        let built = group.settings.filter(\.isBuilt)
        guard !built.isEmpty else { return nil }
        let root = GatewayConfiguration()
        let rows = built.map { setting in
            row(
                setting, in: root,
                name: "`\(setting.key)`<br>`\(ConfigurationSources.environmentName(setting.key))`")
        }
        return """
            ## \(group.title)

            \(group.introduction)

            | key and variable | type | default | meaning |
            |---|---|---|---|
            \(rows.joined(separator: "\n"))

            """
    }

    private static var roomSection: String {
        let root = GatewayConfiguration.RoomOptions()
        let rows = RoomSettingTable.all.filter(\.isBuilt).map { row($0, in: root, name: "`\($0.key)`") }
        return """
            ## Rooms

            `rooms.default` holds the options of rooms without a namespace, `rooms.namespaces.<name>` those of rooms
            called `<name>:…`. Nothing is inherited between them, and a room of a namespace that is not configured does
            not exist (error 102). Options of `rooms.default` have variables, too, such as
            `MARTLET_ROOMS_DEFAULT_ALLOW_SUBSCRIBE_FOR_CLIENT`; namespaces stand in the file only. Without any option a
            room allows nothing.

            | option | type | default | meaning |
            |---|---|---|---|
            \(rows.joined(separator: "\n"))

            """
    }

    private static func row<Root>(_ setting: Setting<Root>, in root: Root, name: String) -> String {
        let fallback = setting.value(root).map { "`\(plain($0.json(setting.kind)))`" } ?? "none"
        let range =
            switch setting.kind {
            case .integer(let range): " \(range.lowerBound) to \(range.upperBound)"
            case .duration(let range, _):
                " \(ConfigurationUnits.text(range.lowerBound)) to \(ConfigurationUnits.text(range.upperBound))"
            case .size(let range):
                " \(ConfigurationUnits.text(size: range.lowerBound)) to "
                    + ConfigurationUnits.text(size: range.upperBound)
            default: ""
            }
        let help = setting.help.replacing("|", with: "\\|").replacing("<", with: "&lt;")
        return "| \(name) | \(setting.kind.typeName)\(range) | \(setting.defaultText ?? fallback) | \(help) |"
    }

    /// A text without its JSON quotes; other values as they are.
    private static func plain(_ json: String) -> String {
        json.hasPrefix("\"") ? String(json.dropFirst().dropLast()) : json
    }

    private static var later: String {
        let process = SettingTable.all.filter { !$0.isBuilt }.map { "`\($0.key)`" }
        let rooms = RoomSettingTable.all.filter { !$0.isBuilt }.map { "`\($0.key)`" }
        return """
            ## Known, but not built yet

            These names are reserved. Setting one is refused by name, unless the value says "off" (`false`, `0`).

            - \(process.joined(separator: ", "))
            - options of rooms: \(rooms.joined(separator: ", "))

            """
    }

    private static let examples = """
        ## Examples

        Two instances that share a Redis, open to anonymous guests; in `news` they may only read:

        ```json
        {
          "engine": {"redis": {"url": "redis://127.0.0.1:6379"}},
          "client": {"allowAnonymous": true},
          "rooms": {
            "default": {"allowSubscribeForAnonymous": true, "allowPublishForSubscriber": true},
            "namespaces": {
              "news": {"allowSubscribeForAnonymous": true}
            }
          }
        }
        ```

        ```sh
        martlet serve --config martlet.json --port 8000 --admin-port 9000
        martlet serve --config martlet.json --port 8001 --admin-port 9001
        ```

        Development, everything allowed, readable log:

        ```sh
        martlet serve --insecure --log-format text --log-level debug
        ```

        In a container behind a proxy that does TLS:

        ```sh
        MARTLET_HOST=0.0.0.0 MARTLET_BEHIND_PROXY=true MARTLET_ENGINE_REDIS_URL=redis://redis:6379 martlet serve
        ```

        """
}
