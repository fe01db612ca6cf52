// Where a Redis is and how to log in, read from a URL. Schemes whose topology is not supported yet are known by name,
// so that an operator reads "not built yet" rather than "unknown".
//
// Called once at start. The password never leaves through a description, so that it cannot reach a log by accident.

/// A Redis server's address and credentials.
package struct RedisURL: Sendable, Equatable {
    /// How the server is reached.
    package enum Endpoint: Sendable, Equatable {
        /// TCP; the host is a name or an address (IPv6 without brackets).
        case tcp(host: String, port: UInt16)
        /// A Unix domain socket.
        case unix(path: String)
    }

    /// How the server is reached.
    package var endpoint: Endpoint
    /// ACL user; nil = the default user.
    package var user: String?
    /// Password; nil = no AUTH.
    package var password: String?
    /// Number for SELECT.
    package var database: Int

    /// Why a text is not a usable Redis URL; one clause, without the password.
    package struct Problem: Error, Equatable {
        /// The clause, to stand behind the key's name.
        package let text: String
    }

    /// Reads `redis://user:password@host:port/database` or `unix:///path?db=n`.
    package init(_ text: String) throws(Problem) {
        guard let separator = text.firstRange(of: "://") else {
            throw Problem(text: "must look like redis://host:6379/0 or unix:///path/to/socket")
        }
        let rest = text[separator.upperBound...]
        switch text[..<separator.lowerBound].lowercased() {
        case "redis": self = try Self.tcp(rest)
        case "unix", "redis+unix": self = try Self.unix(rest)
        case "rediss": throw Problem(text: "rediss:// (TLS to Redis) is not built yet; use redis://")
        case "redis+sentinel", "redis-sentinel":
            throw Problem(text: "Sentinel is not built yet; use redis:// with the master's address")
        case "redis+cluster", "redis-cluster": throw Problem(text: "Redis Cluster is not built yet; use redis://")
        default: throw Problem(text: "must begin with redis:// or unix://")
        }
    }

    private init(endpoint: Endpoint, user: String?, password: String?, database: Int) {
        self.endpoint = endpoint
        self.user = user
        self.password = password
        self.database = database
    }

    private static func tcp(_ rest: Substring) throws(Problem) -> RedisURL {
        guard !rest.contains(where: { $0 == "?" || $0 == "#" }) else {
            throw Problem(text: "takes no options behind ? or #; percent-encode them in a password (%3F, %23)")
        }
        // The path cannot hold a slash, so the first one ends the authority; a password's slash is percent-encoded.
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        let (user, password, address) = try credentials(rest[..<slash])
        let (host, port) = try hostAndPort(address)
        return RedisURL(
            endpoint: .tcp(host: host, port: port), user: user, password: password,
            database: try databaseNumber(rest[slash...].dropFirst()))
    }

    private static func unix(_ rest: Substring) throws(Problem) -> RedisURL {
        let question = rest.firstIndex(of: "?") ?? rest.endIndex
        let slash = rest[..<question].firstIndex(of: "/") ?? question
        let (user, password, address) = try credentials(rest[..<slash])
        guard address.isEmpty, let path = percentDecoded(rest[slash..<question]), path.count > 1 else {
            throw Problem(text: "must name an absolute path, as in unix:///run/redis/redis.sock")
        }
        // sockaddr_un holds 108 bytes with the closing zero.
        guard path.utf8.count <= 107, !path.utf8.contains(0) else {
            throw Problem(text: "names a socket path that is longer than 107 bytes")
        }
        var database: Substring = ""
        let query = rest[question...].dropFirst()
        if !query.isEmpty {
            guard query.hasPrefix("db=") else { throw Problem(text: "knows only the option ?db=N") }
            database = query.dropFirst(3)
        }
        return RedisURL(
            endpoint: .unix(path: path), user: user, password: password, database: try databaseNumber(database))
    }

    private static func credentials(
        _ authority: Substring
    ) throws(Problem) -> (user: String?, password: String?, address: Substring) {
        // The last @: people forget to encode it in passwords, and a host cannot hold one.
        guard let at = authority.lastIndex(of: "@") else { return (nil, nil, authority) }
        let parts = authority[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let user = percentDecoded(first) else {
            throw Problem(text: "has a user name with a broken %-escape")
        }
        let address = authority[authority.index(after: at)...]
        guard parts.count == 2 else {
            throw Problem(text: "has a user but no password; write user:password@ or :password@")
        }
        guard let password = percentDecoded(parts[1]) else {
            throw Problem(text: "has a password with a broken %-escape")
        }
        return (user.isEmpty ? nil : user, password.isEmpty ? nil : password, address)
    }

    private static func hostAndPort(_ address: Substring) throws(Problem) -> (String, UInt16) {
        var host = address
        var port: Substring = ""
        if address.hasPrefix("[") {
            guard let end = address.firstIndex(of: "]") else { throw Problem(text: "has an IPv6 address without ]") }
            host = address[address.index(after: address.startIndex)..<end]
            let tail = address[address.index(after: end)...]
            guard tail.isEmpty || tail.hasPrefix(":") else { throw Problem(text: "has something odd behind ]") }
            port = tail.dropFirst()
        } else if let colon = address.firstIndex(of: ":") {
            host = address[..<colon]
            port = address[address.index(after: colon)...]
            guard !port.contains(":") else { throw Problem(text: "has an IPv6 address that needs [brackets]") }
        }
        guard !host.isEmpty, host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x2C }) else {
            throw Problem(text: "must name one host, as in redis://127.0.0.1:6379")
        }
        if port.isEmpty { return (String(host), 6379) }
        guard let number = UInt16(port), number > 0, port.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else {
            throw Problem(text: "must have a port between 1 and 65535")
        }
        return (String(host), number)
    }

    private static func databaseNumber(_ text: Substring) throws(Problem) -> Int {
        if text.isEmpty { return 0 }
        guard text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = Int(text), number <= 1_000_000 else {
            throw Problem(text: "must name its database by a number, as in redis://host:6379/0")
        }
        return number
    }

    private static func percentDecoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst(), let low = rest.popFirst(),
                let value = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16), high != UInt8(ascii: "+")
            else { return nil }
            bytes.append(value)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

extension RedisURL: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The URL with `***` for the password.
    package var description: String {
        var login = ""
        if user != nil || password != nil {
            login = Self.encoded(user ?? "", keepingSlash: false) + (password == nil ? ":" : ":***") + "@"
        }
        switch endpoint {
        case .tcp(let host, let port):
            let shown = host.contains(":") ? "[\(host)]" : host
            return "redis://\(login)\(shown):\(port)/\(database)"
        case .unix(let path):
            return "unix://\(login)\(Self.encoded(path, keepingSlash: true))" + (database == 0 ? "" : "?db=\(database)")
        }
    }

    package var debugDescription: String { description }

    package var customMirror: Mirror { Mirror(self, children: ["url": description]) }

    private static func encoded(_ text: String, keepingSlash: Bool) -> String {
        text.utf8.reduce(into: "") { result, byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E:
                result.unicodeScalars.append(Unicode.Scalar(byte))
            case 0x2F where keepingSlash: result += "/"
            default: result += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
    }
}
