// A configuration file as a tree. Own tree, because swift-configuration's JSON provider takes `true` for 1 and 5 for
// true, drops null, and cannot tell which keys a file holds; we refuse all of that by name.
//
// Called once at start.

import FoundationEssentials

/// A JSON value.
indirect enum ConfigurationJSON: Decodable, Sendable, Equatable {
    case null
    case boolean(Bool)
    case integer(Int)
    case number(Double)
    case text(String)
    case array([ConfigurationJSON])
    case object([String: ConfigurationJSON])

    init(from decoder: any Decoder) throws {
        if let keyed = try? decoder.container(keyedBy: AnyKey.self) {
            var members: [String: ConfigurationJSON] = [:]
            for key in keyed.allKeys {
                members[key.stringValue] = try keyed.decode(ConfigurationJSON.self, forKey: key)
            }
            self = .object(members)
            return
        }
        if var list = try? decoder.unkeyedContainer() {
            var elements: [ConfigurationJSON] = []
            while !list.isAtEnd { elements.append(try list.decode(ConfigurationJSON.self)) }
            self = .array(elements)
            return
        }
        let single = try decoder.singleValueContainer()
        if single.decodeNil() {
            self = .null
        } else if let flag = try? single.decode(Bool.self) {
            self = .boolean(flag)
        } else if let number = try? single.decode(Int.self) {
            self = .integer(number)
        } else if let number = try? single.decode(Double.self) {
            self = .number(number)
        } else {
            self = .text(try single.decode(String.self))
        }
    }

    private struct AnyKey: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    /// Reads a file's bytes; the failure is a clause for a message.
    static func read(_ bytes: [UInt8]) -> Result<ConfigurationJSON, SettingFailure> {
        do {
            return .success(try JSONDecoder().decode(ConfigurationJSON.self, from: Data(bytes)))
        } catch let DecodingError.dataCorrupted(context) {
            let cause = context.underlyingError.map { firstSentence(of: "\($0)") } ?? context.debugDescription
            return .failure(SettingFailure("is not valid JSON: \(cause)"))
        } catch {
            return .failure(SettingFailure("is not valid JSON"))
        }
    }

    /// Foundation's errors are structures; what a person wants is the text between their first quotes.
    private static func firstSentence(of text: String) -> String {
        let quoted = text.split(separator: "\"", omittingEmptySubsequences: false)
        return quoted.count > 2 ? String(quoted[1]) : String(text.prefix(120))
    }

    /// What the value is, short enough for a message.
    var brief: String {
        switch self {
        case .null: "null"
        case .boolean(let flag): flag ? "true" : "false"
        case .integer(let number): "\(number)"
        case .number(let number): "\(number)"
        case .text(let text): Self.quoted(text.count > 60 ? text.prefix(60) + "…" : text)
        case .array: "a list"
        case .object: "an object"
        }
    }

    /// A JSON string.
    static func quoted(_ text: some StringProtocol) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case _ where scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value):
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
