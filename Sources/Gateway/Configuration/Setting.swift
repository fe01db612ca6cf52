// What one setting is: key, type, limits, default, help, environment name, where it is stored, and whether its feature
// exists. The tables are lists of these; loader, printer and document contain no setting of their own.
//
// Used at start only. `Root` is what the setting is stored in: the configuration, or one namespace's room options.

import Configuration

/// A value as the tables handle it.
enum SettingValue: Sendable, Equatable {
    case text(String)
    case boolean(Bool)
    case integer(Int)
    case duration(Duration)
    case rate(Rate?)
    case list([String])
    case redis(RedisURL)
}

/// The type of a setting with its limits.
enum SettingKind: Sendable {
    /// Text that the check accepts; the check returns what is wrong, or nil.
    case text(check: @Sendable (String) -> String?)
    case boolean
    case integer(ClosedRange<Int>)
    case duration(ClosedRange<Duration>, wholeSeconds: Bool = false)
    /// Bytes.
    case size(ClosedRange<Int>)
    case rate
    case list(check: @Sendable (String) -> String?)
    case choice([String])
    case redis
}

/// One setting of a `Root`.
struct Setting<Root>: Sendable {
    /// Whether the feature behind it exists.
    enum Status: Sendable {
        case built
        /// Known, but refused unless it is set to this value, which means "off".
        case later(off: SettingValue?)
    }

    /// Name within the root, with dots.
    let key: String
    /// Type and limits.
    let kind: SettingKind
    /// One sentence for operators.
    let help: String
    /// The default as it stands in the document, when it is not a fixed value.
    let defaultText: String?
    /// Whether the feature exists.
    let status: Status
    /// Whether its value is kept out of every output.
    let isSecret: Bool
    /// Whether a running process takes a new value without a restart.
    let isReloadable: Bool
    /// Stores a value of the kind; nothing for settings whose feature does not exist yet.
    let store: @Sendable (inout Root, SettingValue) -> Void
    /// The value in effect; nil = not set.
    let value: @Sendable (Root) -> SettingValue?

    /// Whether the feature exists.
    var isBuilt: Bool {
        if case .built = status { return true }
        return false
    }

    /// A setting whose feature exists; stored by `store`, read by `value`.
    static func built(
        _ key: String, _ kind: SettingKind, defaultText: String? = nil, secret: Bool = false, live: Bool = false,
        _ help: String, store: @escaping @Sendable (inout Root, SettingValue) -> Void,
        value: @escaping @Sendable (Root) -> SettingValue?
    ) -> Setting {
        Setting(
            key: key, kind: kind, help: help, defaultText: defaultText, status: .built, isSecret: secret,
            isReloadable: live, store: store, value: value)
    }

    /// A setting whose feature does not exist yet.
    static func later(
        _ key: String, _ kind: SettingKind, default text: String, off: SettingValue? = nil, secret: Bool = false,
        _ help: String
    ) -> Setting {
        Setting(
            key: key, kind: kind, help: help, defaultText: text, status: .later(off: off), isSecret: secret,
            isReloadable: false, store: { _, _ in }, value: { _ in nil })
    }
}

// The usual types, stored at a key path.
extension Setting {
    typealias Path<Value> = WritableKeyPath<Root, Value> & Sendable

    static func text(
        _ key: String, _ path: Path<String>, live: Bool = false, check: @escaping @Sendable (String) -> String?,
        _ help: String
    ) -> Setting {
        built(
            key, .text(check: check), live: live, help,
            store: { if case .text(let text) = $1 { $0[keyPath: path] = text } }, value: { .text($0[keyPath: path]) })
    }

    static func choice(
        _ key: String, _ path: Path<String>, of words: [String], live: Bool = false, _ help: String
    ) -> Setting {
        built(
            key, .choice(words), live: live, help,
            store: { if case .text(let text) = $1 { $0[keyPath: path] = text } }, value: { .text($0[keyPath: path]) })
    }

    static func boolean(_ key: String, _ path: Path<Bool>, live: Bool = false, _ help: String) -> Setting {
        built(
            key, .boolean, live: live, help,
            store: { if case .boolean(let flag) = $1 { $0[keyPath: path] = flag } },
            value: { .boolean($0[keyPath: path]) })
    }

    static func integer(
        _ key: String, _ path: Path<Int>, in range: ClosedRange<Int>, defaultText: String? = nil, live: Bool = false,
        _ help: String
    ) -> Setting {
        built(
            key, .integer(range), defaultText: defaultText, live: live, help,
            store: { if case .integer(let number) = $1 { $0[keyPath: path] = number } },
            value: { .integer($0[keyPath: path]) })
    }

    static func size(
        _ key: String, _ path: Path<Int>, in range: ClosedRange<Int>, live: Bool = false, _ help: String
    ) -> Setting {
        built(
            key, .size(range), live: live, help,
            store: { if case .integer(let bytes) = $1 { $0[keyPath: path] = bytes } },
            value: { .integer($0[keyPath: path]) })
    }

    static func duration(
        _ key: String, _ path: Path<Duration>, in range: ClosedRange<Duration>, wholeSeconds: Bool = false,
        live: Bool = false, _ help: String
    ) -> Setting {
        built(
            key, .duration(range, wholeSeconds: wholeSeconds), live: live, help,
            store: { if case .duration(let time) = $1 { $0[keyPath: path] = time } },
            value: { .duration($0[keyPath: path]) })
    }

    static func list(
        _ key: String, _ path: Path<[String]>, live: Bool = false, check: @escaping @Sendable (String) -> String?,
        _ help: String
    ) -> Setting {
        built(
            key, .list(check: check), live: live, help,
            store: { if case .list(let items) = $1 { $0[keyPath: path] = items } },
            value: { .list($0[keyPath: path]) })
    }
}

extension SettingKind {
    /// The types under which a source may give the value, the preferred one first.
    var sourceTypes: [ConfigType] {
        switch self {
        case .text, .duration, .rate, .choice, .redis: [.string]
        case .boolean: [.bool]
        case .integer: [.int]
        case .size: [.int, .string]
        case .list: [.stringArray]
        }
    }

    /// What a value must be, to stand behind "must be".
    var expectation: String {
        switch self {
        case .text: "a text"
        case .boolean: "true or false"
        case .integer(let range): "a whole number between \(range.lowerBound) and \(range.upperBound)"
        case .duration(let range, let whole):
            "a duration such as \"10s\" or \"250ms\", " + (whole ? "in whole seconds, " : "")
                + "between \(ConfigurationUnits.text(range.lowerBound)) and "
                + ConfigurationUnits.text(range.upperBound)
        case .size(let range):
            "a size in bytes or such as \"64KiB\", between \(ConfigurationUnits.text(size: range.lowerBound)) and "
                + ConfigurationUnits.text(size: range.upperBound)
        case .rate: "a rate such as \"50/s\" or \"1/5s\", or \"0\" for none"
        case .list: "a list of texts"
        case .choice(let words): "one of " + words.joined(separator: ", ")
        case .redis: "a Redis URL"
        }
    }

    /// The type's name in the document.
    var typeName: String {
        switch self {
        case .text, .redis: "text"
        case .boolean: "true/false"
        case .integer: "number"
        case .duration: "duration"
        case .size: "size"
        case .rate: "rate"
        case .list: "list"
        case .choice(let words): words.joined(separator: " / ")
        }
    }

    /// Reads what a source gave. The failure is a clause to stand behind the key's name.
    func read(_ content: ConfigContent) -> Result<SettingValue, SettingFailure> {
        switch (self, content) {
        case (.text(let check), .string(let text)):
            if let wrong = check(text) { return .failure(SettingFailure(wrong)) }
            return .success(.text(text))
        case (.boolean, .bool(let flag)): return .success(.boolean(flag))
        case (.integer(let range), .int(let number)) where range.contains(number): return .success(.integer(number))
        case (.duration(let range, let whole), .string(let text)):
            guard let time = ConfigurationUnits.duration(text), range.contains(time),
                !whole || time.components.attoseconds == 0
            else { return mismatch }
            return .success(.duration(time))
        case (.size(let range), .int(let bytes)) where range.contains(bytes): return .success(.integer(bytes))
        case (.size(let range), .string(let text)):
            guard let bytes = ConfigurationUnits.size(text), range.contains(bytes) else { return mismatch }
            return .success(.integer(bytes))
        case (.rate, .string(let text)):
            guard let rate = ConfigurationUnits.rate(text) else { return mismatch }
            return .success(.rate(rate))
        case (.list(let check), .stringArray(let items)):
            if let wrong = items.lazy.compactMap(check).first { return .failure(SettingFailure(wrong)) }
            return .success(.list(items))
        case (.choice(let words), .string(let text)) where words.contains(text): return .success(.text(text))
        case (.redis, .string(let text)):
            do throws(RedisURL.Problem) {
                return .success(.redis(try RedisURL(text)))
            } catch { return .failure(SettingFailure(error.text, showsValue: false)) }
        default: return mismatch
        }
    }

    private var mismatch: Result<SettingValue, SettingFailure> { .failure(SettingFailure("must be " + expectation)) }
}

/// What is wrong with a value.
struct SettingFailure: Error {
    let text: String
    /// Whether the value may stand in the message; a URL may hold a password.
    let showsValue: Bool

    init(_ text: String, showsValue: Bool = true) {
        self.text = text
        self.showsValue = showsValue
    }
}

extension SettingValue {
    /// The value as it stands in a JSON configuration; secrets inside a URL are left out.
    func json(_ kind: SettingKind) -> String {
        switch self {
        case .text(let text): ConfigurationJSON.quoted(text)
        case .boolean(let flag): flag ? "true" : "false"
        case .integer(let number):
            if case .size = kind { "\"\(ConfigurationUnits.text(size: number))\"" } else { "\(number)" }
        case .duration(let time): "\"\(ConfigurationUnits.text(time))\""
        case .rate(let rate): "\"\(ConfigurationUnits.text(rate))\""
        case .list(let items): "[" + items.map(ConfigurationJSON.quoted).joined(separator: ", ") + "]"
        case .redis(let url): ConfigurationJSON.quoted(url.description)
        }
    }
}
