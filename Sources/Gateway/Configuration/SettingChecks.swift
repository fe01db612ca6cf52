// Checks of single text values, used by the tables. Each returns what is wrong as a clause to stand behind the key's
// name, or nil. Called at start, for each text that a source gives.

import Bytes

enum SettingChecks {
    /// A host name or an address to listen on.
    static func host(_ text: String) -> String? {
        let plain = !text.isEmpty && text.utf8.count <= 255
        let allowed = text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x3A, 0x5B, 0x5D, 0x25, 0x5F: true
            default: false
            }
        }
        return plain && allowed ? nil : "must be an address or a host name such as 127.0.0.1"
    }

    /// An Origin that browsers send, `*`, or a pattern with one `*` label in front.
    static func origin(_ text: String) -> String? {
        if text == "*" { return nil }
        let wrong = "must hold origins such as \"https://chat.example.com\", \"https://*.example.com\" or \"*\""
        guard let separator = text.firstRange(of: "://") else { return wrong }
        let scheme = text[..<separator.lowerBound]
        let authority = text[separator.upperBound...]
        let schemeIsPlain = !scheme.isEmpty && scheme.allSatisfy { $0.isASCII && ($0.isLetter || "+-.".contains($0)) }
        let authorityIsPlain = authority.utf8.allSatisfy {
            $0 > 0x20 && $0 < 0x7F && !"/?#@\\,".utf8.contains($0)
        }
        let stars = authority.filter { $0 == "*" }.count
        let starIsFirst = stars == 0 || (stars == 1 && authority.hasPrefix("*."))
        return schemeIsPlain && !authority.isEmpty && authorityIsPlain && starIsFirst ? nil : wrong
    }

    /// A network in CIDR notation, or one address.
    static func network(_ text: String) -> String? {
        Network(text) != nil
            ? nil
            : "must hold networks such as \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.1\", without bits behind "
                + "the prefix"
    }

    /// The first part of Redis keys: no braces, since those mark the part that decides on a cluster's slot.
    static func redisPrefix(_ text: String) -> String? {
        let allowed = text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x7B && $0 != 0x7D }
        return !text.isEmpty && text.utf8.count <= 64 && allowed
            ? nil : "must be 1 to 64 printable ASCII characters without blanks and braces"
    }

    /// The name of a namespace: what may stand before the `:` of a room's name.
    static func namespace(_ text: String) -> String? {
        let allowed = text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x3A && $0 != 0x23 }
        return !text.isEmpty && text.utf8.count <= 64 && allowed && !text.hasPrefix("$")
            ? nil
            : "must be 1 to 64 printable ASCII characters without blanks, \":\" and \"#\", not beginning with \"$\""
    }

    /// Anything at all; for settings whose feature does not exist yet.
    static func anything(_ text: String) -> String? { nil }

    /// Whether only this machine can reach a listener on `host`.
    static func isLoopback(_ host: String) -> Bool {
        var name = host.lowercased()
        if name.hasPrefix("["), name.hasSuffix("]") { name = String(name.dropFirst().dropLast()) }
        if name == "localhost" || name == "::1" || name == "0:0:0:0:0:0:0:1" { return true }
        if name.hasPrefix("::ffff:") { name = String(name.dropFirst(7)) }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.first == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
