// Query parameters of a request target. Asked once per handshake (`format`, `user`), so it may make a String; the
// work is bounded by the length of the request line. Decoding is strict: what is not exactly right is a failure, not
// a guess. URL standard, application/x-www-form-urlencoded; RFC 3986 section 2.1.

extension RequestHead {
    /// The decoded value of the query parameter `name`; nil if it is absent, "" if it has no `=`.
    ///
    /// Names are compared as sent (ours never need encoding). `+` is a space. Throws `queryEncoding` for a bad percent
    /// escape, for what is not UTF-8, for control characters and for a parameter that is given twice.
    package func queryParameter(_ name: StaticString) throws(HTTPFailure) -> String? {
        guard let query else { return nil }
        var found: UnsafeRawBufferPointer?
        var start = 0
        while start <= query.count {
            var end = start
            var equals: Int?
            while end < query.count, query[end] != 0x26 {
                if query[end] == 0x3D, equals == nil { equals = end }
                end += 1
            }
            let key = UnsafeRawBufferPointer(rebasing: query[start..<(equals ?? end)])
            if ASCII.equals(key, name) {
                guard found == nil else { throw .queryEncoding }
                found = UnsafeRawBufferPointer(rebasing: query[min((equals ?? end) + 1, end)..<end])
            }
            start = end + 1
        }
        guard let found else { return nil }
        return try RequestHead.decode(found)
    }

    private static func decode(_ bytes: UnsafeRawBufferPointer) throws(HTTPFailure) -> String {
        var decoded: [UInt8] = []
        var index = 0
        while index < bytes.count {
            var byte = bytes[index]
            if byte == 0x25 {
                guard index + 2 < bytes.count, let high = ASCII.hexValue(bytes[index + 1]),
                    let low = ASCII.hexValue(bytes[index + 2])
                else { throw .queryEncoding }
                byte = high << 4 | low
                index += 2
            } else if byte == 0x2B {
                byte = ASCII.space
            }
            guard byte >= 0x20, byte != 0x7F else { throw .queryEncoding }
            decoded.append(byte)
            index += 1
        }
        guard let text = String(validating: decoded, as: UTF8.self) else { throw .queryEncoding }
        return text
    }
}
