// The key decoder, whole and byte by byte.

import Testing

@testable import ChatTerminal

@Suite("Key decoder")
struct KeyDecoderTests {
    static let cases: [(String, [Key])] = [
        ("a", [.text("a")]),
        ("é漢🙂", [.text("é"), .text("漢"), .text("🙂")]),
        ("\u{1B}[A\u{1B}[B\u{1B}[C\u{1B}[D", [.up, .down, .right, .left]),
        ("\u{1B}OA\u{1B}OH\u{1B}OF", [.up, .home, .end]),
        ("\u{1B}[5~\u{1B}[6~\u{1B}[3~", [.pageUp, .pageDown, .delete]),
        ("\u{1B}[H\u{1B}[F\u{1B}[1~\u{1B}[4~\u{1B}[7~\u{1B}[8~", [.home, .end, .home, .end, .home, .end]),
        ("\u{1B}[1;5D\u{1B}[1;5C\u{1B}b\u{1B}f", [.wordLeft, .wordRight, .wordLeft, .wordRight]),
        ("\u{1B}1\u{1B}9", [.alt("1"), .alt("9")]),
        ("\u{1}\u{5}\u{17}\u{15}\u{B}\u{C}\u{3}\u{4}\u{1A}", "aewuklcdz".unicodeScalars.map { .control($0) }),
        ("\t\u{1B}[Z\r\u{7F}\u{1B}\u{7F}", [.tab, .backTab, .enter, .backspace, .deleteWord]),
        ("\u{1B}[200~one\ntwo\u{1B}[A\u{1B}[201~x", [.paste("one\ntwo\u{1B}[A"), .text("x")]),
        ("\u{1B}[200~\u{1B}[20\u{1B}[201~", [.paste("\u{1B}[20")]),
        ("\u{1B}[?1;2c\u{1B}[99~z", [.text("z")]),
        ("\u{0}\u{85}\u{202E}q", [.text("q")]),
    ]

    @Test("Every sequence gives its keys, at once and byte by byte", arguments: cases)
    func sequences(_ input: String, _ keys: [Key]) {
        var whole = KeyDecoder()
        #expect(whole.feed(input.utf8) == keys)
        var split = KeyDecoder()
        #expect(input.utf8.flatMap { split.feed([$0]) } == keys)
        #expect(!split.isWaiting)
    }

    @Test("A lone ESC waits and becomes the Escape key when nothing follows")
    func escape() {
        var decoder = KeyDecoder()
        #expect(decoder.feed([0x1B]).isEmpty)
        #expect(decoder.isWaiting)
        #expect(decoder.flush() == [.escape])
        #expect(decoder.feed("[A".utf8) == [.text("["), .text("A")])
    }

    @Test("Bytes that are not UTF-8 become replacement characters and spoil nothing after them")
    func invalid() {
        var decoder = KeyDecoder()
        let keys = decoder.feed([0xFF, 0x61, 0xC3, 0x62, 0xED, 0xA0, 0x80, 0x63])
        #expect(keys.contains(.text("a")) && keys.contains(.text("b")) && keys.last == .text("c"))
        #expect(keys.filter { $0 == .text("\u{FFFD}") }.count == 3)
    }

    @Test("An endless escape sequence and an endless paste keep bounded memory and end")
    func bounds() {
        var decoder = KeyDecoder()
        #expect(decoder.feed([0x1B, 0x5B] + [UInt8](repeating: 0x31, count: 100_000) + [0x41]).isEmpty)
        #expect(decoder.feed([0x62]) == [.text("b")])
        let paste = Array("\u{1B}[200~".utf8) + [UInt8](repeating: 0x61, count: 200_000) + Array("\u{1B}[201~".utf8)
        guard case .paste(let text)? = decoder.feed(paste).first else { return #expect(Bool(false), "no paste came") }
        #expect(text.utf8.count == KeyDecoder.pasteLimit)
    }

    @Test("Function keys of xterm, of older terminals and of the Linux console are the same")
    func functionKeys() {
        var decoder = KeyDecoder()
        let keys = decoder.feed("\u{1B}OQ\u{1B}[12~\u{1B}[[B\u{1B}OP\u{1B}[15~\u{1B}[[E\u{1B}[[Zx".utf8)
        let expected: [Key] = [2, 2, 2, 1, 5, 5].map { .function($0) } + [.text("x")]
        #expect(keys == expected)
    }

    @Test("Random bytes give the same keys however they are split")
    func random() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = TestRandom(state: seed)
        for _ in 0..<200 {
            let alphabet: [UInt8] = [
                0x1B, 0x5B, 0x4F, 0x3B, 0x31, 0x32, 0x30, 0x7E, 0x41, 0x61, 0xC3, 0xA9, 0xF0, 0x9F, 0x0D,
            ]
            let bytes = (0..<40).map { _ in alphabet[Int(generator.next() % UInt64(alphabet.count))] }
            var whole = KeyDecoder()
            var split = KeyDecoder()
            #expect(whole.feed(bytes) == bytes.flatMap { split.feed([$0]) }, "seed \(seed)")
        }
    }
}

/// A repeatable generator (SplitMix64).
struct TestRandom: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
