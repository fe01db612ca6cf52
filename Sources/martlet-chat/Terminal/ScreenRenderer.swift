// From frames to the bytes that make a terminal show them. Remembers what the terminal shows and sends only rows that
// changed. Also owns the sequences that enter and leave full-screen mode: the only place that knows escape sequences.
//
// ECMA-48 plus what every terminal of the last 20 years knows (alternate screen 1049, bracketed paste 2004,
// synchronised update 2026, which others ignore). Automatic wrapping is off while we draw: a terminal that disagrees
// about a width then spoils one row at most.

/// Draws frames.
package struct ScreenRenderer: Sendable {
    /// Enters full-screen mode.
    package static let enter: StaticString = "\u{1B}[?1049h\u{1B}[?2004h\u{1B}[?7l\u{1B}[2J\u{1B}[H"
    /// Leaves it and restores everything; safe to send twice and from a signal handler.
    package static let leave: StaticString = "\u{1B}[0m\u{1B}[?2026l\u{1B}[?7h\u{1B}[?2004l\u{1B}[?25h\u{1B}[?1049l"

    private var shown: Frame?
    private var size: TerminalSize?

    /// A renderer that has drawn nothing.
    package init() {}

    /// Forgets what the terminal shows, so that the next frame is drawn completely (Ctrl-L, after Ctrl-Z).
    package mutating func invalidate() { shown = nil }

    /// The bytes that turn what is shown into `frame`; empty if it is shown already.
    package mutating func draw(_ frame: Frame, size: TerminalSize) -> [UInt8] {
        let isFresh = shown == nil || self.size != size
        if !isFresh, shown == frame { return [] }
        var out: [UInt8] = []
        out += "\u{1B}[?2026h\u{1B}[?25l".utf8
        if isFresh { out += "\u{1B}[0m\u{1B}[2J".utf8 }
        for (index, row) in frame.rows.enumerated() where isFresh || shown?.rows[index] != row {
            out += "\u{1B}[\(index + 1);1H".utf8
            Self.append(row, to: &out)
            if row.cells < size.columns { out += "\u{1B}[K".utf8 }
        }
        out += "\u{1B}[\(frame.cursor.row + 1);\(frame.cursor.column + 1)H\u{1B}[?25h\u{1B}[?2026l".utf8
        shown = frame
        self.size = size
        return out
    }

    private static func append(_ row: StyledRow, to out: inout [UInt8]) {
        var style = TextStyle.plain
        for span in row.spans {
            if span.style != style {
                out += sequence(span.style).utf8
                style = span.style
            }
            out += span.text.string.utf8
        }
        if style != .plain { out += "\u{1B}[0m".utf8 }
    }

    private static func sequence(_ style: TextStyle) -> String {
        var codes = "0"
        if style.isBold { codes += ";1" }
        if style.isDim { codes += ";2" }
        if style.isReversed { codes += ";7" }
        if let color = style.color { codes += ";38;5;\(color)" }
        return "\u{1B}[\(codes)m"
    }
}
