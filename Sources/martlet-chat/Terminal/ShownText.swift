// Text that may be written to a terminal. Everything a peer or a server sends (names, rooms, messages, close reasons)
// becomes a `ShownText` before it can be put on the screen or into a line; the renderer takes nothing else, so the
// compiler keeps terminal injection out. The one authority on what is stripped.
//
// Stripped: C0 and C1 controls, DEL, whole escape sequences (ECMA-48), bidirectional overrides and isolates (they
// reorder what others wrote), line and paragraph separators, invisible fillers, tag characters. A grapheme keeps at
// most `scalarsPerCharacterLimit` scalars, so that stacked accents cannot bleed over neighbouring rows.

/// Text without anything that a terminal could obey.
package struct ShownText: Hashable, Sendable, ExpressibleByStringLiteral {
    /// More scalars than this in one grapheme cluster are dropped; the longest emoji family has 10.
    package static let scalarsPerCharacterLimit = 12

    /// The harmless text.
    package let string: String

    /// Removes from `untrusted` what a terminal could obey; line breaks and tabs become spaces.
    package init(_ untrusted: String) {
        string = Self.needsCleaning(untrusted) ? Self.clean(untrusted) : untrusted
    }

    /// A literal of our own, which is shown as it is written.
    package init(stringLiteral value: StaticString) { self.init(value.description) }

    /// Cells it takes on a terminal.
    package var cells: Int { CharacterWidth.cells(string) }

    /// Whether `scalar` may reach a terminal at all.
    package static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0: false
        case 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, 0x2028...0x202E, 0x2060...0x206F: false
        case 0xFEFF, 0xFFF9...0xFFFB, 0xE0000...0xE0FFF: false
        default: true
        }
    }

    private static func needsCleaning(_ text: String) -> Bool {
        var run = 0
        for scalar in text.unicodeScalars {
            if !isAllowed(scalar) { return true }
            run = CharacterWidth.cells(scalar) == 0 ? run + 1 : 0
            if run >= scalarsPerCharacterLimit { return true }
        }
        return text.contains { $0.unicodeScalars.count > scalarsPerCharacterLimit }
    }

    private static func clean(_ text: String) -> String {
        let scalars = Array(text.unicodeScalars)
        var kept = String.UnicodeScalarView()
        var index = 0
        while index < scalars.count {
            let scalar = scalars[index]
            if let end = endOfEscape(scalars, from: index) {
                index = end
                continue
            }
            if scalar == "\n" || scalar == "\t" {
                kept.append(" ")
            } else if isAllowed(scalar) {
                kept.append(scalar)
            }
            index += 1
        }
        var result = ""
        for character in String(kept) {
            if character.unicodeScalars.count <= scalarsPerCharacterLimit {
                result.append(character)
            } else {
                result.unicodeScalars.append(contentsOf: character.unicodeScalars.prefix(scalarsPerCharacterLimit))
            }
        }
        return result
    }

    /// Where the escape sequence that starts at `start` ends, or nil if none starts there. A string sequence that is
    /// never terminated loses its introducer only: it must not hide the rest of the text.
    private static func endOfEscape(_ text: [Unicode.Scalar], from start: Int) -> Int? {
        var index = start + 1
        var kind = text[start].value
        if kind == 0x1B {
            guard index < text.count else { return index }
            kind = text[index].value + 0x40  // ESC [ is CSI (0x9B), ESC ] is OSC (0x9D), and so on
            index += 1
        }
        switch kind {
        case 0x9B:
            while index < text.count, (0x20...0x3F).contains(text[index].value) { index += 1 }
            if index < text.count, (0x40...0x7E).contains(text[index].value) { index += 1 }
            return index
        case 0x90, 0x98, 0x9D, 0x9E, 0x9F:
            for end in index..<text.count {
                if text[end].value == 0x07 || text[end].value == 0x9C { return end + 1 }
                if text[end].value == 0x1B { return end + 1 < text.count && text[end + 1] == "\\" ? end + 2 : end }
            }
            return index
        default:
            guard text[start].value == 0x1B else { return nil }
            // ESC with intermediates (character sets) or a single final byte; anything else loses only the ESC.
            index = start + 1
            while index < text.count, (0x20...0x2F).contains(text[index].value) { index += 1 }
            return index < text.count && (0x30...0x7E).contains(text[index].value) ? index + 1 : start + 1
        }
    }
}
