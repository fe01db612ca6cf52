// The form of log lines, and that nothing from a peer leaves its field.

import Foundation
import Logging
import Testing

@testable import Telemetry

@Suite struct LogLineTests {
    private func line(
        _ style: LogStyle = .json, _ body: String = "hello", _ attributes: Logger.Metadata = [:],
        level: Logger.Level = .info, milliseconds: Int64 = 0
    ) -> String {
        let bytes = LogLine.make(
            style, milliseconds: milliseconds, level: level, body: body,
            attributes: attributes.sorted { $0.key < $1.key }.map { (key: $0.key, value: $0.value) })
        return String(decoding: bytes, as: UTF8.self)
    }

    private func object(_ line: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }

    @Test func `a line carries the agreed fields and no other`() throws {
        let text = line(
            .json, "client closed", ["martlet.room": "news"], level: .warning, milliseconds: 1_700_000_000_123)
        #expect(
            text == """
                {"timestamp":"2023-11-14T22:13:20.123Z","severity_text":"WARN","severity_number":13,\
                "body":"client closed","attributes":{"martlet.room":"news"}}

                """)
        #expect(Set(try object(text).keys) == ["timestamp", "severity_text", "severity_number", "body", "attributes"])
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"), (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] as [(Int64, String)])
    func `time stamps are RFC 3339 with milliseconds`(milliseconds: Int64, expected: String) {
        #expect(line(milliseconds: milliseconds).contains("\"timestamp\":\"\(expected)\""))
    }

    @Test func `severities are OpenTelemetry's`() throws {
        let numbers = try Logger.Level.allCases.map { try object(line(level: $0))["severity_number"] as? Int }
        #expect(numbers == [1, 5, 9, 10, 13, 17, 21])
    }

    /// APP-06: whatever a peer puts into a name stays one escaped value on one line.
    @Test(arguments: [
        "a\nb", "a\r\nINFO forged line", "\u{1B}[31mred\u{1B}[0m", "\u{1B}]0;title\u{7}", "%n%s%x", "a\u{2028}b",
        "a\u{2029}b", "\u{0}", "\u{7F}", "\u{85}", "\u{9B}31m", "\u{202E}txt.exe", "\u{2066}x\u{2069}", "\u{200B}",
        "\u{FEFF}", "\"},\"body\":\"forged", "\\", "back\\\"slash", "😀 ünïcödé",
    ])
    func `APP-06 a hostile name stays inside its field`(name: String) throws {
        for (body, attributes) in [(name, [:]), ("x", ["martlet.room": "\(name)"]), ("x", [name: "y"])]
            as [(String, Logger.Metadata)]
        {
            let json = line(.json, body, attributes)
            #expect(json.split(separator: "\n", omittingEmptySubsequences: false).count == 2)
            let parsed = try object(json)
            #expect(parsed["body"] as? String == body)
            let read = try #require(parsed["attributes"] as? [String: String])
            #expect(read.count == attributes.count)
            for (key, value) in attributes { #expect(read[key] == value.description) }
            for text in [json, line(.text(colour: false), body, attributes)] {
                #expect(text.last == "\n")
                let hidden = text.unicodeScalars.dropLast().filter {
                    $0.properties.generalCategory == .control || $0.properties.generalCategory == .format
                        || $0.properties.generalCategory == .lineSeparator
                        || $0.properties.generalCategory == .paragraphSeparator
                }
                #expect(hidden.isEmpty, "unescaped: \(hidden.map(\.value))")
            }
        }
    }

    @Test(arguments: ["token", "client.token", "engine.redis.password", "hmacSecret", "X-API_KEY", "Authorization"])
    func `APP-06 secrets are never printed, whoever logs them`(key: String) {
        for style in [LogStyle.json, .text(colour: false)] {
            let text = line(style, "x", [key: "s3cr3t", "nested": .dictionary([key: ["s3cr3t"]])])
            #expect(!text.contains("s3cr3t"))
            #expect(text.contains("[redacted]"))
        }
    }

    @Test func `numbers, truth values, lists and objects keep their types`() throws {
        let text = line(
            .json, "x",
            [
                "a": .stringConvertible(3008), "b": .stringConvertible(UInt64.max), "c": .stringConvertible(true),
                "d": .stringConvertible(1.5), "e": .stringConvertible(Double.infinity), "f": ["x", "y"],
                "g": ["k": "v"], "h": [], "i": .dictionary([:]),
            ])
        #expect(
            text.contains(
                #""attributes":{"a":3008,"b":18446744073709551615,"c":true,"d":1.5,"e":"inf","f":["x","y"],"#
                    + #""g":{"k":"v"},"h":[],"i":{}}"#))
        #expect(try object(text)["attributes"] != nil)
    }

    @Test func `a line is bounded however long, wide or deep the values are`() throws {
        var deep = Logger.MetadataValue.string("x")
        for _ in 0..<1000 { deep = .array([deep]) }
        let wide = Logger.Metadata(uniqueKeysWithValues: (0..<10_000).map { ("k\($0)", .string("v")) })
        for attributes in [
            ["deep": deep], wide, ["wide": .dictionary(wide)],
            ["long": .string(String(repeating: "ü", count: 100_000))],
        ] {
            let text = line(.json, String(repeating: "\u{1}", count: 100_000), attributes)
            #expect(text.utf8.count < 200_000)
            _ = try object(text)
            #expect(line(.text(colour: true), "x", attributes).utf8.count < 200_000)
        }
    }

    @Test func `the readable form has blanks, quotes only where needed and colour only when asked for`() {
        let attributes: Logger.Metadata = ["room": "news", "why": "two words", "n": .stringConvertible(7)]
        #expect(
            line(.text(colour: false), "closed", attributes, level: .error)
                == "1970-01-01T00:00:00.000Z ERROR closed n=7 room=news why=\"two words\"\n")
        #expect(line(.text(colour: true), "closed").contains("\u{1B}[32mINFO\u{1B}[0m closed"))
    }

    @Test(
        arguments: [
            (nil, true, false, LogStyle.text(colour: true)), (nil, true, true, .text(colour: false)),
            (nil, false, false, .json), ("json", true, false, .json), ("text", false, false, .text(colour: false)),
            ("text", true, false, .text(colour: true)), ("text", true, true, .text(colour: false)),
        ] as [(String?, Bool, Bool, LogStyle)])
    func `colours need a terminal and no NO_COLOR`(format: String?, terminal: Bool, noColour: Bool, expected: LogStyle)
    {
        #expect(LogStyle.suitable(format: format, isTerminal: terminal, noColour: noColour) == expected)
    }
}
