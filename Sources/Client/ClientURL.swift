// Where a client connects to. Parsed once, before anything else happens; a mistake is told with the way to mend it.
// RFC 3986 for the parts, RFC 6455 section 3 for the schemes.

/// What is wrong with a URL.
package enum ClientURLFailure: Error, Sendable, Equatable, CustomStringConvertible {
    case scheme
    /// `wss` is not available in this build.
    case tlsUnavailable
    case host
    case port
    case target

    /// What is wrong and what is right.
    package var description: String {
        switch self {
        case .scheme: "the URL must begin with ws://, as in ws://127.0.0.1:8000/connection/websocket"
        case .tlsUnavailable: "wss:// is not available yet; use ws://, or put a TLS proxy before this client"
        case .host: "the URL has no host, or one with characters that a host cannot have"
        case .port: "the port in the URL must be a number from 1 to 65535"
        case .target: "the path in the URL must consist of visible ASCII characters, without #"
        }
    }
}

/// A parsed `ws://` URL.
package struct ClientURL: Sendable, Equatable, CustomStringConvertible {
    /// Host name or numeric address, without brackets.
    package let host: String
    /// The port; 80 when the URL has none.
    package let port: UInt16
    /// Path and query, as they are requested.
    package private(set) var target: String

    /// Parses `text`.
    package init(_ text: String) throws(ClientURLFailure) {
        let lower = text.prefix(6).lowercased()
        if lower.hasPrefix("wss://") { throw .tlsUnavailable }
        guard lower.hasPrefix("ws://") else { throw .scheme }
        let rest = text.dropFirst(5)
        let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
        (host, port) = try Self.authority(rest[..<end])
        let path = rest[end...]
        target = path.hasPrefix("/") ? String(path) : "/" + path
        guard target.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x23 }) else { throw .target }
    }

    /// The value of the `Host` field.
    package var hostField: String { name + (port == 80 ? "" : ":\(port)") }

    /// The URL in full, with the port.
    package var description: String { "ws://\(name):\(port)\(target)" }

    private var name: String { host.utf8.contains(0x3A) ? "[\(host)]" : host }

    /// Adds a query parameter, percent-encoded.
    package mutating func append(query name: String, _ value: String) {
        target += (target.utf8.contains(0x3F) ? "&" : "?") + Self.encoded(name) + "=" + Self.encoded(value)
    }

    private static func authority(_ text: Substring) throws(ClientURLFailure) -> (String, UInt16) {
        guard !text.utf8.contains(0x40) else { throw .host }  // user information does not belong here
        var host = text
        var port: Substring?
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { throw .host }
            host = text[text.index(after: text.startIndex)..<close]
            let tail = text[text.index(after: close)...]
            guard tail.isEmpty || tail.hasPrefix(":") else { throw .port }
            port = tail.isEmpty ? nil : tail.dropFirst()
            guard host.utf8.allSatisfy({ isHex($0) || $0 == 0x3A || $0 == 0x2E }) else { throw .host }
        } else {
            if let colon = text.firstIndex(of: ":") {
                host = text[..<colon]
                port = text[text.index(after: colon)...]
            }
            guard host.utf8.allSatisfy({ isLetterOrDigit($0) || $0 == 0x2D || $0 == 0x2E || $0 == 0x5F })
            else { throw .host }
        }
        guard !host.isEmpty, host.utf8.count <= 255 else { throw .host }
        guard let port else { return (String(host), 80) }
        guard port.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = UInt16(port), number > 0
        else { throw .port }
        return (String(host), number)
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }

    private static func isHex(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x46).contains(byte) || (0x61...0x66).contains(byte)
    }

    private static func encoded(_ text: String) -> String {
        var out = ""
        let digits = Array("0123456789ABCDEF")
        for byte in text.utf8 {
            if isLetterOrDigit(byte) || [0x2D, 0x2E, 0x5F, 0x7E].contains(byte) {
                out.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                out += "%" + String(digits[Int(byte >> 4)]) + String(digits[Int(byte & 15)])
            }
        }
        return out
    }
}
