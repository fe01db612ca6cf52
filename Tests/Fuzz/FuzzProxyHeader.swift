// Fuzz target for the PROXY header. Called by the mutation driver and by the unit tests with arbitrary bytes; stops the
// process by `precondition` when an invariant breaks: a verdict is final, so that the same bytes give the same one
// however they are cut, and no more is consumed than there is or than the bounds allow.

package import HTTP

/// The first verdict on growing prefixes of `bytes` that end at `cuts` and at last all of them, each in memory of its
/// own, as a driver asks for it.
package func recordProxyHeader(_ bytes: [UInt8], cuts: some Sequence<Int>) -> ProxyHeaderParse {
    for cut in Array(cuts) + [bytes.count] {
        let verdict = withExactCopy(bytes[..<cut]) { ProxyHeader.parse($0) }
        if case .complete(_, let consumed) = verdict {
            precondition(consumed <= cut && consumed <= 16 + ProxyHeader.longestBlock, "consumed more than there is")
        }
        if verdict != .needMore { return verdict }
    }
    return .needMore
}

/// Runs the parser on `bytes`, whole and byte by byte.
package func fuzzProxyHeader(_ bytes: UnsafeRawBufferPointer) {
    let stream = Array(bytes)
    let whole = recordProxyHeader(stream, cuts: [])
    precondition(recordProxyHeader(stream, cuts: 0..<stream.count) == whole, "a PROXY header byte by byte differs")
    if case .complete(_, let consumed) = whole {
        precondition(
            recordProxyHeader(Array(stream[..<consumed]), cuts: []) == whole, "what follows changes the header")
    } else if whole == .needMore {
        precondition(stream.count < 16 + ProxyHeader.longestBlock, "a header without an end is waited for")
    }
}

/// Version 2: signature, `command`, `kind`, length, `block`.
package func binaryProxyHeader(_ command: UInt8, _ kind: UInt8, _ block: [UInt8], length: Int? = nil) -> [UInt8] {
    let length = length ?? block.count
    return proxySignature + [command, kind, UInt8(length >> 8 & 255), UInt8(length & 255)] + block
}

/// The first twelve bytes of version 2.
package let proxySignature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10]

/// A type-length-value triple.
package func proxyExtension(_ type: UInt8, _ value: [UInt8]) -> [UInt8] {
    [type, UInt8(value.count >> 8 & 255), UInt8(value.count & 255)] + value
}

/// Source and destination of IPv4, with ports.
package let proxyAddresses4: [UInt8] = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0x1F, 0x40]

/// Where mutation starts from.
package let fuzzProxyHeaderSeeds: [[UInt8]] =
    [
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 8000\r\nGET / HTTP/1.1\r\n\r\n",
        "PROXY TCP6 2001:db8::1 ::1 65535 1\r\n", "PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 x y z\r\nGET",
    ].map { Array($0.utf8) } + [
        binaryProxyHeader(0x20, 0, []) + Array("GET /".utf8),
        binaryProxyHeader(0x21, 0, [1, 2, 3]),
        binaryProxyHeader(0x21, 0x11, proxyAddresses4) + Array("GET / HTTP/1.1".utf8),
        binaryProxyHeader(0x21, 0x21, [0x20, 1, 0x0D, 0xB8] + Array(repeating: 0, count: 32)),
        binaryProxyHeader(
            0x21, 0x11,
            proxyAddresses4 + proxyExtension(1, Array("http/1.1".utf8))
                + proxyExtension(0x20, [1, 0, 0, 0, 0] + proxyExtension(0x21, Array("TLSv1.3".utf8)))
                + proxyExtension(4, [0, 0])),
    ]
