// How many terminal cells a piece of text takes. The one authority on widths: the editor's cursor, the wrapping of
// messages and the clipping of bars all ask here, so they cannot disagree.
//
// Pure functions over Unicode properties of the standard library plus one table (East Asian Width W and F, UAX #11,
// without the emoji, which the property "emoji presentation" covers). Terminals disagree about joined emoji; we take
// the cells of the widest part, and the renderer switches line wrapping off so that a disagreement stays in its row.

/// Widths of text in terminal cells.
package enum CharacterWidth {
    /// Cells of one grapheme cluster: 0, 1 or 2.
    package static func cells(_ character: Character) -> Int {
        var widest = 0
        var regionals = 0
        for scalar in character.unicodeScalars {
            if scalar.value == 0xFE0F, widest == 1 { return 2 }  // emoji presentation asked for
            if (0x1F1E6...0x1F1FF).contains(scalar.value) { regionals += 1 }
            widest = max(widest, cells(scalar))
        }
        return regionals == 1 && widest == 2 && character.unicodeScalars.count == 1 ? 1 : widest
    }

    /// Cells of a whole text.
    package static func cells(_ text: some StringProtocol) -> Int {
        var sum = 0
        for character in text { sum += cells(character) }
        return sum
    }

    static func cells(_ scalar: Unicode.Scalar) -> Int {
        let value = scalar.value
        if value < 0x7F { return value < 0x20 ? 0 : 1 }
        if value < 0xA0 { return 0 }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .control, .lineSeparator, .paragraphSeparator: return 0
        case .format: return value == 0xAD ? 1 : 0
        default: break
        }
        if (0x1160...0x11FF).contains(value) { return 0 }  // Hangul vowels and finals join the syllable before them
        if (0x1F3FB...0x1F3FF).contains(value) { return 2 }
        return scalar.properties.isEmojiPresentation || isWide(value) ? 2 : 1
    }

    private static func isWide(_ value: UInt32) -> Bool {
        guard value >= 0x1100 else { return false }
        var low = 0
        var high = wide.count
        while low < high {
            let middle = (low + high) / 2
            if value > wide[middle].upperBound { low = middle + 1 } else { high = middle }
        }
        return low < wide.count && wide[low].contains(value)
    }

    /// East Asian Width W and F, ascending.
    private static let wide: [ClosedRange<UInt32>] = [
        0x1100...0x115F, 0x2329...0x232A, 0x2E80...0x2E99, 0x2E9B...0x2EF3, 0x2F00...0x2FD5, 0x2FF0...0x303E,
        0x3041...0x3096, 0x3099...0x30FF, 0x3105...0x312F, 0x3131...0x318E, 0x3190...0x31E3, 0x31EF...0x321E,
        0x3220...0x3247, 0x3250...0x4DBF, 0x4E00...0xA48C, 0xA490...0xA4C6, 0xA960...0xA97C, 0xAC00...0xD7A3,
        0xF900...0xFAFF, 0xFE10...0xFE19, 0xFE30...0xFE52, 0xFE54...0xFE66, 0xFE68...0xFE6B, 0xFF01...0xFF60,
        0xFFE0...0xFFE6, 0x16FE0...0x16FE4, 0x16FF0...0x16FF1, 0x17000...0x187F7, 0x18800...0x18CD5,
        0x18D00...0x18D08, 0x1AFF0...0x1AFFE, 0x1B000...0x1B122, 0x1B132...0x1B132, 0x1B150...0x1B152,
        0x1B155...0x1B155, 0x1B164...0x1B167, 0x1B170...0x1B2FB, 0x1F200...0x1F202, 0x1F210...0x1F23B,
        0x1F240...0x1F248, 0x1F250...0x1F251, 0x1F260...0x1F265, 0x20000...0x2FFFD, 0x30000...0x3FFFD,
    ]
}
