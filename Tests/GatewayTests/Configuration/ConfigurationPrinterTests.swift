// print-config: complete, readable again, without secrets. And the document, which must be what the tables say.

import Foundation
import Testing

@testable import Gateway

@Suite struct ConfigurationPrinterTests {
    private func configurationPart(_ loaded: LoadedConfiguration) throws -> String {
        let whole = try #require(
            try JSONSerialization.jsonObject(with: Data(ConfigurationPrinter.json(loaded).utf8)) as? [String: Any])
        #expect(Set(whole.keys) == ["configuration", "origins"])
        let part = try JSONSerialization.data(withJSONObject: try #require(whole["configuration"]))
        return String(decoding: part, as: UTF8.self)
    }

    @Test func `what is printed can be given back as a file and gives the same`() throws {
        let file = """
            {"port": 0, "loops": 2, "client": {"pongTimeout": "1.5s", "allowedOrigins": ["https://a.example"]},
             "engine": {"redis": {"url": "redis://127.0.0.1:6379/2"}},
             "rooms": {"default": {"maxMessageSize": 3000}, "namespaces": {"a.b\\"c": {"allowPublishForClient": true}}}}
            """
        let loaded = try load(file, environment: ["MARTLET_LOG_LEVEL": "debug"])
        let again = try load(try configurationPart(loaded))
        #expect(again.configuration == loaded.configuration)
        #expect(try load(try configurationPart(try load())).configuration == GatewayConfiguration())
    }

    @Test func `every setting that exists is printed, and where it was set`() throws {
        let loaded = try load(#"{"echo": true}"#, environment: ["MARTLET_PORT": "1"])
        let text = ConfigurationPrinter.json(loaded)
        for setting in SettingTable.all where setting.isBuilt && setting.value(loaded.configuration) != nil {
            let name = try #require(setting.key.split(separator: ".").last)
            #expect(text.contains("\"\(name)\": "), "\(setting.key)")
        }
        #expect(text.contains(#""port": "environment, MARTLET_PORT""#))
        #expect(text.contains(#""echo": "martlet.json""#))
        #expect(!text.contains("hmacSecret"))
    }

    @Test func `the password of Redis is not printed`() throws {
        let loaded = try load(environment: ["MARTLET_ENGINE_REDIS_URL": "redis://alice:s3cr3t@h:1/2"])
        let text = ConfigurationPrinter.json(loaded)
        #expect(!text.contains("s3cr3t"))
        #expect(text.contains(#""url": "redis://alice:***@h:1/2""#))
        #expect(!"\(loaded)".contains("s3cr3t"))
    }
}

@Suite struct ConfigurationDocumentTests {
    @Test func `docs/configuration.md is what the tables say`() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let written = try String(contentsOf: root.appending(path: "docs/configuration.md"), encoding: .utf8)
        #expect(
            written == ConfigurationDocument.markdown,
            "run: martlet print-config --reference > docs/configuration.md")
    }

    @Test func `the document names every key and every variable`() {
        let text = ConfigurationDocument.markdown
        for setting in SettingTable.all {
            #expect(text.contains("`\(setting.key)`"))
            let variable = "`\(ConfigurationSources.environmentName(setting.key))`"
            #expect(text.contains(variable) == setting.isBuilt, "\(variable)")
            #expect(setting.help.hasSuffix("."))
        }
        for setting in RoomSettingTable.all { #expect(text.contains("`\(setting.key)`")) }
    }

    @Test func `the examples of the document are accepted`() throws {
        let blocks = ConfigurationDocument.markdown.split(separator: "```json\n").dropFirst()
        #expect(!blocks.isEmpty)
        for block in blocks { _ = try load(String(block.prefix { $0 != "`" })) }
    }

    @Test func `addresses and the engine need a restart, limits and rooms' options do not`() {
        for setting in SettingTable.all where setting.isBuilt {
            if setting.key.hasSuffix("host") || setting.key.hasSuffix("port") || setting.key.hasPrefix("engine.") {
                #expect(!setting.isReloadable, "\(setting.key)")
            }
            if setting.key.hasPrefix("client.max") { #expect(setting.isReloadable, "\(setting.key)") }
        }
        #expect(!RoomSettingTable.all.contains { $0.isBuilt && !$0.isReloadable })
    }

    @Test func `keys are unique and every default lies within its own limits`() {
        #expect(Set(ConfigurationLoader.keys).count == ConfigurationLoader.keys.count)
        let root = GatewayConfiguration()
        for setting in SettingTable.all {
            switch (setting.kind, setting.value(root)) {
            case (.integer(let range), .integer(let number)?): #expect(range.contains(number), "\(setting.key)")
            case (.size(let range), .integer(let bytes)?): #expect(range.contains(bytes), "\(setting.key)")
            case (.duration(let range, _), .duration(let time)?): #expect(range.contains(time), "\(setting.key)")
            case (.choice(let words), .text(let text)?): #expect(words.contains(text), "\(setting.key)")
            default: break
            }
        }
    }
}
