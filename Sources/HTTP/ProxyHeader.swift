// The header that a TCP balancer sends before the client's bytes: PROXY protocol, versions 1 and 2. Called by a driver
// on the connection's loop with all the bytes since the connection began; a pure function of them, which keeps and
// allocates nothing. Bounded: version 1 by 107 bytes, version 2 by 16 + 4,096, whatever the peer announces, and both
// refuse with the first byte that cannot be right. haproxy.org/download/3.0/doc/proxy-protocol.txt

package import Bytes

/// What is wrong with a PROXY header. The connection is closed without an answer: there is nobody who would read one.
package enum ProxyHeaderFailure: UInt8, Error, Sendable, Equatable {
    /// The first bytes are those of neither version.
    case missing
    /// Version 1: longer than 107 bytes, or a CR or LF where none may be.
    case line
    /// Version 1: not `PROXY`, a known family, two addresses and two ports.
    case fields
    /// Version 2: another version, command, family or transport.
    case kind
    /// Version 2: longer than `ProxyHeader.longestBlock`, or too short for its addresses.
    case length
    /// Version 2: an extension that is longer than what is left.
    case extensions
}

/// What a parser made of the bytes so far.
package enum ProxyHeaderParse: Sendable, Equatable {
    /// No verdict yet.
    case needMore
    /// A whole header of `consumed` bytes. `source` is the client's address; nil when the header names none (health
    /// checks of the balancer itself, Unix sockets): then the peer's own address stands.
    case complete(source: InternetAddress?, consumed: Int)
    /// Close: nothing of this connection can be trusted.
    case failed(ProxyHeaderFailure)
}

/// The parser of both versions.
package enum ProxyHeader {
    /// Longest line of version 1, its CRLF included.
    static let longestLine = 107
    /// Most bytes behind the first 16 of version 2: addresses and extensions. A client certificate's names fit.
    package static let longestBlock = 4096
    private static let fixed = 16

    /// Judges `bytes`: everything since the first byte of the connection. Verdicts are final: more bytes never change
    /// one.
    package static func parse(_ bytes: UnsafeRawBufferPointer) -> ProxyHeaderParse {
        guard let first = bytes.first else { return .needMore }
        return first == 0x0D ? parseBinary(bytes) : parseLine(bytes)
    }

    // MARK: Version 1

    private static func parseLine(_ bytes: UnsafeRawBufferPointer) -> ProxyHeaderParse {
        let prefix: StaticString = "PROXY "
        guard begins(bytes, prefix) else { return .failed(.missing) }
        var end = prefix.utf8CodeUnitCount
        while end < bytes.count, bytes[end] != ASCII.carriageReturn {
            // With its CRLF the line would be too long, whatever comes.
            guard end < longestLine - 2, bytes[end] != ASCII.lineFeed else { return .failed(.line) }
            end += 1
        }
        guard end + 1 < bytes.count else { return .needMore }
        guard bytes[end + 1] == ASCII.lineFeed else { return .failed(.line) }
        let line = UnsafeRawBufferPointer(rebasing: bytes[prefix.utf8CodeUnitCount..<end])
        guard let source = lineSource(line) else { return .failed(.fields) }
        return .complete(source: source.address, consumed: end + 2)
    }

    private struct LineSource {
        var address: InternetAddress?
    }

    /// The source of `TCP4 a b p q`, `TCP6 a b p q` or `UNKNOWN …`; nil: none of these.
    private static func lineSource(_ line: UnsafeRawBufferPointer) -> LineSource? {
        var rest = line
        let family = word(&rest)
        // What follows UNKNOWN must be ignored.
        if ASCII.equals(family, "UNKNOWN") { return LineSource() }
        let isV4 = ASCII.equals(family, "TCP4")
        guard isV4 || ASCII.equals(family, "TCP6") else { return nil }
        let source = word(&rest)
        let destination = word(&rest)
        let ports = (word(&rest), word(&rest))
        guard rest.isEmpty, line.last != ASCII.space, isPort(ports.0), isPort(ports.1),
            let address = InternetAddress(source), InternetAddress(destination) != nil,
            isV4 == (InternetAddress.v4(source) != nil), isV4 == (InternetAddress.v4(destination) != nil)
        else { return nil }
        return LineSource(address: address)
    }

    /// Takes what stands before the next space, and that space.
    private static func word(_ rest: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let end = rest.firstIndex(of: ASCII.space) ?? rest.count
        let word = UnsafeRawBufferPointer(rebasing: rest[..<end])
        rest = UnsafeRawBufferPointer(rebasing: rest[min(end + 1, rest.count)...])
        return word
    }

    private static func isPort(_ text: UnsafeRawBufferPointer) -> Bool {
        guard text.count <= 5, let number = ASCII.decimal(text), number <= 65_535 else { return false }
        return text.count == 1 || text[0] != 0x30
    }

    // MARK: Version 2

    private static func parseBinary(_ bytes: UnsafeRawBufferPointer) -> ProxyHeaderParse {
        guard begins(bytes, "\r\n\r\n\0\r\nQUIT\n") else { return .failed(.missing) }
        guard bytes.count > 12 else { return .needMore }
        let isLocal = bytes[12] == 0x20
        guard isLocal || bytes[12] == 0x21 else { return .failed(.kind) }
        guard bytes.count > 13 else { return .needMore }
        // Of a connection that the balancer made for itself nothing but the length counts.
        let kind = isLocal ? 0 : bytes[13]
        guard let addresses = addressBytes(kind) else { return .failed(.kind) }
        guard bytes.count >= fixed else { return .needMore }
        let length = Int(bytes[14]) << 8 | Int(bytes[15])
        guard length <= longestBlock, length >= addresses else { return .failed(.length) }
        let end = fixed + length
        guard bytes.count >= end else { return .needMore }
        if kind != 0 {
            let extensions = UnsafeRawBufferPointer(rebasing: bytes[(fixed + addresses)..<end])
            guard areWellFormed(extensions) else { return .failed(.extensions) }
        }
        let source: InternetAddress? =
            switch kind {
            case 0x11: InternetAddress(v4: number(bytes, at: fixed, count: 4).lowHalf)
            case 0x21:
                InternetAddress(v6: number(bytes, at: fixed, count: 8), number(bytes, at: fixed + 8, count: 8))
            default: nil
            }
        return .complete(source: source, consumed: end)
    }

    /// How long the addresses of a family and transport are; nil for those that a stream over TCP cannot have.
    private static func addressBytes(_ kind: UInt8) -> Int? {
        switch kind {
        case 0x00: 0
        case 0x11: 12
        case 0x21: 36
        case 0x31: 216
        default: nil
        }
    }

    /// Whether type-length-value triples fill `block` exactly. Those inside the one that speaks of TLS (type 0x20) are
    /// looked at, too, but not what lies deeper: the protocol knows one level, and depth is the peer's choice.
    private static func areWellFormed(_ block: UnsafeRawBufferPointer) -> Bool {
        var position = 0
        while position < block.count {
            guard let end = endOfExtension(block, position, block.count) else { return false }
            if block[position] == 0x20 {
                // Client flags (1 byte), verification (4 bytes), then triples.
                var inner = position + 3 + 5
                guard inner <= end else { return false }
                while inner < end {
                    guard let innerEnd = endOfExtension(block, inner, end) else { return false }
                    inner = innerEnd
                }
            }
            position = end
        }
        return true
    }

    /// Where the triple at `position` ends; nil when that is behind `limit`.
    private static func endOfExtension(_ block: UnsafeRawBufferPointer, _ position: Int, _ limit: Int) -> Int? {
        guard limit - position >= 3 else { return nil }
        let length = Int(block[position + 1]) << 8 | Int(block[position + 2])
        return length <= limit - position - 3 ? position + 3 + length : nil
    }

    private static func number(_ bytes: UnsafeRawBufferPointer, at start: Int, count: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in start..<(start + count) { value = value << 8 | UInt64(bytes[index]) }
        return value
    }

    /// Whether `bytes` and `signature` agree as far as both go.
    private static func begins(_ bytes: UnsafeRawBufferPointer, _ signature: StaticString) -> Bool {
        ASCII.withBytes(of: signature) { other in
            for index in 0..<min(bytes.count, other.count) where bytes[index] != other[index] { return false }
            return true
        }
    }
}
