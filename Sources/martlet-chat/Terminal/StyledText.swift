// Text with colours, cut into rows. The layout makes rows from messages, the renderer turns them into escape
// sequences; only `ShownText` can get in. Pure.

/// How a run of text looks.
package struct TextStyle: Equatable, Sendable {
    /// A colour of the 256-colour palette; nil is the terminal's own.
    package var color: UInt8?
    /// Stands out.
    package var isBold = false
    /// Stands back.
    package var isDim = false
    /// Light on dark and dark on light.
    package var isReversed = false

    /// The terminal's own look.
    package static let plain = TextStyle()
    /// Bold in the terminal's colour.
    package static let bold = TextStyle(isBold: true)
    /// What only accompanies the messages.
    package static let dim = TextStyle(isDim: true)
    /// Bars.
    package static let reversed = TextStyle(isReversed: true)
}

/// A run of text in one style.
package struct StyledSpan: Equatable, Sendable {
    /// The text.
    package var text: ShownText
    /// Its look.
    package var style: TextStyle

    init(_ text: ShownText, _ style: TextStyle = .plain) {
        self.text = text
        self.style = style
    }
}

/// One row of the screen.
package struct StyledRow: Equatable, Sendable {
    /// The runs, from the left.
    package private(set) var spans: [StyledSpan]

    init(_ spans: [StyledSpan] = []) { self.spans = spans }

    /// Cells in use.
    package var cells: Int { spans.reduce(0) { $0 + $1.text.cells } }

    /// The text without its looks.
    package var text: String { spans.map(\.text.string).joined() }

    mutating func append(_ span: StyledSpan) { spans.append(span) }

    /// Cuts what exceeds `columns`.
    func clipped(to columns: Int) -> StyledRow {
        var left = columns
        var kept: [StyledSpan] = []
        for span in spans {
            var text = ""
            for character in span.text.string {
                let cells = CharacterWidth.cells(character)
                if cells > left {
                    left = 0
                    break
                }
                left -= cells
                text.append(character)
            }
            if !text.isEmpty { kept.append(StyledSpan(ShownText(text), span.style)) }
            if left == 0 { break }
        }
        return StyledRow(kept)
    }

    /// Fills up to `columns` with spaces in `style`.
    func padded(to columns: Int, _ style: TextStyle = .plain) -> StyledRow {
        let missing = columns - cells
        guard missing > 0 else { return self }
        return StyledRow(spans + [StyledSpan(ShownText(String(repeating: " ", count: missing)), style)])
    }
}

/// Cuts text into rows at spaces.
enum LineWrap {
    /// `body` behind `prefix`; rows after the first are indented so that the text forms a block.
    static func rows(prefix: [StyledSpan], body: ShownText, style: TextStyle, columns: Int) -> [StyledRow] {
        let columns = max(columns, 2)
        let prefixCells = prefix.reduce(0) { $0 + $1.text.cells }
        // A narrow screen gives its cells to the text rather than to the block's shape.
        let indent = min(prefixCells, columns / 3)
        let first = StyledRow(prefix).clipped(to: columns)
        var pieces = cut(body.string, first: max(columns - prefixCells, 0), rest: max(columns - indent, 2))
        var rows = [first]
        if let head = pieces.first, !head.isEmpty { rows[0].append(StyledSpan(ShownText(head), style)) }
        if !pieces.isEmpty { pieces.removeFirst() }
        let margin = StyledSpan(ShownText(String(repeating: " ", count: indent)))
        for piece in pieces { rows.append(StyledRow([margin, StyledSpan(ShownText(piece), style)])) }
        return rows
    }

    /// The first piece has at most `first` cells (it may be empty), every other at most `rest`, which is at least 2.
    static func cut(_ text: String, first: Int, rest: Int) -> [String] {
        var pieces: [String] = []
        var current = ""
        var used = 0
        var lastSpace: Int?  // in bytes of `current`
        var room = first
        for character in text {
            let cells = CharacterWidth.cells(character)
            if used + cells > room {
                if character == " " {  // the space that would not fit is the break
                    pieces.append(current)
                    (current, used, lastSpace, room) = ("", 0, nil, rest)
                    continue
                }
                if let space = lastSpace {
                    let split = current.utf8.index(current.startIndex, offsetBy: space)
                    let tail = String(current[current.utf8.index(after: split)...])
                    pieces.append(String(current[..<split]))
                    (current, used) = (tail, CharacterWidth.cells(tail))
                } else if pieces.isEmpty, first < rest {
                    // Not a single word fits behind the prefix: it starts on the next row instead of being torn.
                    pieces.append("")
                } else {
                    pieces.append(current)
                    (current, used) = ("", 0)
                }
                (lastSpace, room) = (nil, rest)
                if used + cells > room {
                    pieces.append(current)
                    (current, used) = ("", 0)
                }
            }
            if character == " " { lastSpace = current.utf8.count }
            current.append(character)
            used += cells
        }
        pieces.append(current)
        return pieces
    }
}
