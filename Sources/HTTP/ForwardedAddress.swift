// Which client a chain of HTTP proxies speaks for: X-Forwarded-For, or Forwarded (RFC 7239). Called at the upgrade on
// the connection's loop, and only when the peer itself is a trusted proxy: anybody can write these fields. One pass
// over a head that a parser has bounded (16 KiB); nothing is allocated.
//
// Proxies append, so the last entries are ours and the first ones are whatever the client claims: the client is the
// last entry that is not a trusted proxy. An entry that is no address hides everything before it.

package import Bytes

extension RequestHead {
    /// The address of the client; nil when the fields name none that can be believed.
    ///
    /// X-Forwarded-For counts if there is one, since most proxies write that and pass a client's Forwarded on as it is.
    package func client(behind trusted: Networks) -> InternetAddress? {
        if fields.first("x-forwarded-for") != nil {
            return fields.lastUntrusted("x-forwarded-for", trusted, ForwardedNode.entry)
        }
        return fields.lastUntrusted("forwarded", trusted, ForwardedNode.element)
    }
}

extension HeaderFields {
    /// The last element of a list that is not in `trusted`, if it is an address.
    fileprivate func lastUntrusted(
        _ name: StaticString, _ trusted: Networks, _ read: (UnsafeRawBufferPointer) -> InternetAddress?
    ) -> InternetAddress? {
        var client: InternetAddress?
        // Commas inside quotes split, too: no address has one, and a quote that a client opened must not swallow what
        // the proxy appended.
        forEachElement(of: name) { element in
            let address = read(element)
            if let address, trusted.contains(address) { return true }
            client = address
            return true
        }
        return client
    }
}

/// The spellings of a hop.
private enum ForwardedNode {
    /// `192.0.2.1`, `2001:db8::1`, and both with a port: `192.0.2.1:80`, `[2001:db8::1]:80`, `[2001:db8::1]`.
    static func entry(_ text: UnsafeRawBufferPointer) -> InternetAddress? {
        if let address = InternetAddress(text) { return address }
        return withPort(text)
    }

    /// `for=192.0.2.1;proto=https;by="[2001:db8::1]:80"`, in any order.
    static func element(_ text: UnsafeRawBufferPointer) -> InternetAddress? {
        var found: InternetAddress?
        var hasFor = false
        var start = 0
        while start <= text.count {
            var end = start
            while end < text.count, text[end] != 0x3B { end += 1 }
            let pair = ASCII.trimmed(UnsafeRawBufferPointer(rebasing: text[start..<end]))
            start = end + 1
            if pair.isEmpty { continue }
            guard let sign = pair.firstIndex(of: 0x3D), let value = value(of: pair, from: sign + 1) else { return nil }
            let name = UnsafeRawBufferPointer(rebasing: pair[..<sign])
            guard ASCII.isToken(name) else { return nil }
            guard ASCII.equalsIgnoringCase(name, "for") else { continue }
            guard !hasFor else { return nil }
            hasFor = true
            found = bracketsOnly(value)
        }
        return found
    }

    /// A token, or what stands in quotes. Escapes are refused: no address needs one.
    private static func value(of pair: UnsafeRawBufferPointer, from start: Int) -> UnsafeRawBufferPointer? {
        let text = UnsafeRawBufferPointer(rebasing: pair[start...])
        guard text.first == 0x22 else {
            // Some proxies leave the quotes out around a port or an IPv6 address; a quote must not hide in it.
            return text.isEmpty || text.contains(0x22) || text.contains(0x5C) ? nil : text
        }
        guard text.count >= 2, text[text.count - 1] == 0x22 else { return nil }
        let inner = UnsafeRawBufferPointer(rebasing: text[1..<(text.count - 1)])
        return inner.contains(0x22) || inner.contains(0x5C) ? nil : inner
    }

    /// RFC 7239 section 6: IPv6 only in brackets; `unknown` and `_hidden` are no addresses.
    private static func bracketsOnly(_ text: UnsafeRawBufferPointer) -> InternetAddress? {
        if let address = InternetAddress.v4(text) { return InternetAddress(v4: address) }
        return withPort(text)
    }

    private static func withPort(_ text: UnsafeRawBufferPointer) -> InternetAddress? {
        if text.first == 0x5B {
            guard let close = text.firstIndex(of: 0x5D) else { return nil }
            let inner = UnsafeRawBufferPointer(rebasing: text[1..<close])
            guard InternetAddress.v4(inner) == nil, isPort(text, from: close + 1) else { return nil }
            return InternetAddress(inner)
        }
        guard let colon = text.firstIndex(of: ASCII.colon), isPort(text, from: colon),
            let address = InternetAddress.v4(UnsafeRawBufferPointer(rebasing: text[..<colon]))
        else { return nil }
        return InternetAddress(v4: address)
    }

    /// Nothing, or a colon with one to five digits or a hidden port (`_secret`).
    private static func isPort(_ text: UnsafeRawBufferPointer, from start: Int) -> Bool {
        let rest = UnsafeRawBufferPointer(rebasing: text[start...])
        guard let first = rest.first else { return true }
        guard first == ASCII.colon, rest.count >= 2 else { return false }
        let port = UnsafeRawBufferPointer(rebasing: rest[1...])
        if port.allSatisfy(ASCII.isDigit) { return port.count <= 5 }
        return port.count >= 2 && port[0] == 0x5F && port.allSatisfy(ASCII.isTokenByte)
    }
}
