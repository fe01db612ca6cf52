// The digest that the opening handshake needs, and random bytes.

import Reactor
import Testing

@Suite struct DigestTests {
    private func sha1(_ text: String) -> String {
        var digest = [UInt8](repeating: 0, count: 20)
        let input = Array(text.utf8)
        input.withUnsafeBytes { bytes in digest.withUnsafeMutableBytes { Digest.sha1(bytes, $0) } }
        return digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test func sha1GivesThePublishedValues() {
        #expect(sha1("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(sha1("") == "da39a3ee5e6b4b0d3255bfef95601890afd80709")
        // RFC 6455 section 1.3.
        let accept = sha1("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        #expect(accept == "b37a4f2cc0624f1690f64606cf385945b2bec4ea")
    }

    @Test func randomBytesFillTheWholeBufferAndDoNotRepeat() {
        var a = [UInt8](repeating: 0, count: 64)
        var b = a
        a.withUnsafeMutableBytes { Digest.random($0) }
        b.withUnsafeMutableBytes { Digest.random($0) }
        #expect(a != b)
        #expect(Set(a[56...]).count > 1)
    }
}
