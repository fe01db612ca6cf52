// What peers send must not reach the terminal as anything but text.

import Testing

@testable import ChatTerminal

@Suite("Text from peers")
struct ShownTextTests {
    static let cases: [(String, String)] = [
        ("plain text, ünïcödé 漢字 🙂", "plain text, ünïcödé 漢字 🙂"),
        ("\u{1B}[31mred\u{1B}[0m", "red"),
        ("\u{1B}]0;title\u{7}after", "after"),
        ("\u{1B}]52;c;cm0gLXJm\u{1B}\\after", "after"),
        ("\u{1B}P1$r0m\u{1B}\\after", "after"),
        ("\u{9B}2Jafter", "after"),
        ("\u{9D}0;title\u{9C}after", "after"),
        ("\u{1B}]0;never ended", "0;never ended"),
        ("\u{1B}cafter", "after"),
        ("\u{1B}(0after", "after"),
        ("\u{1B}", ""),
        ("\u{1B}[", ""),
        ("\u{1B}\u{1B}[31mx", "x"),
        ("a\r\nb\tc\u{7}\u{8}\u{0}\u{7F}d", "a b cd"),
        ("\u{202E}gnp.exe\u{202C}\u{2066}x\u{2069}", "gnp.exex"),
        ("zero\u{200B}width\u{FEFF}\u{2060}", "zerowidth"),
        ("👩‍👩‍👧‍👦 family", "👩‍👩‍👧‍👦 family"),
        ("line\u{2028}two\u{85}", "linetwo"),
    ]

    @Test("Controls, escape sequences and reordering characters are stripped, text stays", arguments: cases)
    func strips(_ input: String, _ expected: String) { #expect(ShownText(input).string == expected) }

    @Test("Stacked accents are cut so that they cannot cover other rows")
    func stacked() {
        let zalgo = "a" + String(repeating: "\u{0301}", count: 500) + "b"
        let shown = ShownText(zalgo).string
        #expect(shown.unicodeScalars.count == ShownText.scalarsPerCharacterLimit + 1)
        #expect(shown.hasSuffix("b"))
    }

    @Test("No scalar that may not be shown survives, whatever the text")
    func random() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = TestRandom(state: seed)
        let odd: [UInt32] = [
            0x1B, 0x5B, 0x5D, 0x9B, 0x9D, 0x07, 0x9C, 0x5C, 0x6D, 0x202E, 0x200D, 0x301, 0x41, 0x50, 0x0A, 0xE0041,
        ]
        for _ in 0..<500 {
            var text = ""
            for _ in 0..<30 {
                if let scalar = Unicode.Scalar(odd[Int(generator.next() % UInt64(odd.count))]) {
                    text.unicodeScalars.append(scalar)
                }
            }
            let shown = ShownText(text)
            #expect(shown.string.unicodeScalars.allSatisfy(ShownText.isAllowed), "seed \(seed)")
            #expect(ShownText(shown.string) == shown, "cleaning twice changes nothing; seed \(seed)")
        }
    }

    @Test("Widths: Latin 1, wide 2, combining 0, emoji 2")
    func widths() {
        let expected: [(String, Int)] = [
            ("abc", 3), ("é", 1), ("e\u{301}", 1), ("漢字", 4), ("ｱ", 1), ("Ａ", 2), ("한국", 4), ("🙂", 2), ("👩‍👩‍👧‍👦", 2),
            ("🇩🇪", 2), ("❤\u{FE0F}", 2), ("❤", 1), ("\u{7}", 0), ("👍🏽", 2), ("\u{1112}\u{1161}\u{11AB}", 2), ("", 0),
        ]
        for (text, cells) in expected { #expect(CharacterWidth.cells(text) == cells, "\(text)") }
    }
}
