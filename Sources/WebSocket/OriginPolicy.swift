// Which web pages may connect. Browsers send `Origin` and nobody else has to, so a missing one passes: who is connected
// is decided by a token, never by a cookie. Asked once per handshake. Tuples are compared byte for byte, because every
// cleverer comparison (substring, suffix, wildcard, case) has been somebody's vulnerability. RFC 6454, RFC 6455
// section 10.2.

package import HTTP

/// Which values of `Origin` pass.
package enum OriginPolicy: Sendable {
    /// Every one; for the echo endpoint.
    case any
    /// The page comes from the host that the request was sent to.
    case sameHost
    /// The page comes from one of these.
    case list([AllowedOrigin])

    /// Whether a request with these fields passes. Two `Origin` fields never do, and neither does `null` by accident.
    package func admits(_ fields: HeaderFields) -> Bool {
        switch fields.single("origin") {
        case .absent: return true
        case .several: return false
        case .one(let field):
            switch self {
            case .any: return true
            case .list(let allowed): return allowed.contains { $0.matches(field.value) }
            case .sameHost:
                guard let host = fields.first("host") else { return false }
                return OriginPolicy.isSameHost(field.value, host)
            }
        }
    }

    /// Whether `origin` is `http` or `https` at `host`, the default port of that scheme written or not.
    ///
    /// The scheme itself cannot be compared: behind a proxy that ends TLS, this server does not know its own.
    private static func isSameHost(_ origin: UnsafeRawBufferPointer, _ host: UnsafeRawBufferPointer) -> Bool {
        let authority: UnsafeRawBufferPointer
        let port: StaticString
        if hasPrefix(origin, "https://") {
            authority = UnsafeRawBufferPointer(rebasing: origin[8...])
            port = ":443"
        } else if hasPrefix(origin, "http://") {
            authority = UnsafeRawBufferPointer(rebasing: origin[7...])
            port = ":80"
        } else {
            return false
        }
        var length = host.count
        let portLength = port.utf8CodeUnitCount
        // The colons of an IPv6 address are no port; browsers never write a default one there.
        let namesPort = authority.first != 0x5B && authority.contains(0x3A)
        if !namesPort, length > portLength,
            ASCII.equals(UnsafeRawBufferPointer(rebasing: host[(length - portLength)...]), port)
        {
            length -= portLength
        }
        guard !authority.isEmpty, authority.count == length else { return false }
        for index in 0..<length where authority[index] != ASCII.lowercased(host[index]) { return false }
        return true
    }

    private static func hasPrefix(_ bytes: UnsafeRawBufferPointer, _ prefix: StaticString) -> Bool {
        let length = prefix.utf8CodeUnitCount
        return bytes.count >= length && ASCII.equals(UnsafeRawBufferPointer(rebasing: bytes[..<length]), prefix)
    }
}

/// One entry of a list of origins: scheme, host and port as a browser would write them.
package struct AllowedOrigin: Sendable, Equatable {
    private let serialized: [UInt8]

    /// The origin that `text` names, like `https://chat.example` or `http://localhost:8080`; nil if it is none (a path,
    /// user info, a wildcard, a missing scheme). Upper case and a default port are brought into a browser's form.
    package init?(_ text: String) {
        guard let colon = text.utf8.firstIndex(of: 0x3A) else { return nil }
        let scheme = text[..<colon].lowercased()
        let rest = text[colon...]
        guard !scheme.isEmpty, scheme.utf8.allSatisfy({ ASCII.isTokenByte($0) }), rest.hasPrefix("://") else {
            return nil
        }
        var authority = rest.dropFirst(3).lowercased()
        guard !authority.isEmpty,
            authority.utf8.allSatisfy({ byte in
                switch byte {
                case 0x30...0x39, 0x61...0x7A, 0x2D, 0x2E, 0x3A, 0x5B, 0x5D, 0x5F: true
                default: false
                }
            })
        else { return nil }
        let defaultPort = scheme == "https" ? ":443" : scheme == "http" ? ":80" : ""
        if !defaultPort.isEmpty, authority.hasSuffix(defaultPort) { authority.removeLast(defaultPort.count) }
        guard !authority.isEmpty else { return nil }
        serialized = Array("\(scheme)://\(authority)".utf8)
    }

    /// Whether `origin` is exactly this one.
    package func matches(_ origin: UnsafeRawBufferPointer) -> Bool {
        serialized.withUnsafeBytes { ASCII.equals($0, origin) }
    }
}
