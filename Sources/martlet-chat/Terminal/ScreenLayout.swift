// Where everything goes: from a model, an edited line and a size to the rows of one frame. Pure: the same input gives
// the same frame, which is what the tests look at.
//
// From the top: tabs, messages (with the member list beside them where there is room), status bar, input line. Only
// the entries that are visible are laid out, so the cost follows the screen and not the scrollback.

/// What the terminal shall show.
package struct Frame: Equatable, Sendable {
    /// One row per line of the terminal.
    package var rows: [StyledRow]
    /// The cursor, counted from 0.
    package var cursor: (row: Int, column: Int)

    /// Tuples have no conformance that could be synthesised from.
    package static func == (a: Frame, b: Frame) -> Bool { a.rows == b.rows && a.cursor == b.cursor }
}

/// A terminal's size in cells.
package struct TerminalSize: Equatable, Sendable {
    /// Lines.
    package var rows: Int
    /// Cells in a line.
    package var columns: Int

    /// A size, at least 1 × 2; at most what a terminal can sensibly have.
    package init(rows: Int, columns: Int) {
        self.rows = min(max(rows, 1), 1000)
        self.columns = min(max(columns, 2), 1000)
    }
}

/// Lays out the screen.
package struct ScreenLayout: Sendable {
    /// Screens at least this wide show the member list.
    package static let membersFromColumns = 60
    private static let membersColumns = 20

    /// The terminal's size.
    package let size: TerminalSize
    /// Whether colours are wanted.
    package let usesColor: Bool
    /// Whether the list of members is wanted, where there is room.
    package let wantsMembers: Bool

    /// A layout for one size.
    package init(size: TerminalSize, usesColor: Bool, wantsMembers: Bool) {
        self.size = size
        self.usesColor = usesColor
        self.wantsMembers = wantsMembers
    }

    private var showsTabs: Bool { size.rows >= 4 }
    private var showsStatus: Bool { size.rows >= 3 }

    /// Whether the list of members is beside the messages.
    package var showsMembers: Bool { wantsMembers && size.columns >= Self.membersFromColumns }

    /// The width of that list, without its rule.
    var membersColumns: Int { min(Self.membersColumns, size.columns / 4) }

    /// Rows between the tabs and the status bar.
    package var timelineRows: Int { max(size.rows - 1 - (showsTabs ? 1 : 0) - (showsStatus ? 1 : 0), 0) }

    /// Rows for messages: all but those for what waits to be sent.
    package func messageRows(_ model: ChatModel) -> Int { timelineRows - waiting(model).count }

    /// Columns for messages.
    package var timelineColumns: Int { size.columns - (showsMembers ? membersColumns + 1 : 0) }

    /// The whole frame.
    package func frame(_ model: ChatModel, _ editor: LineEditor) -> Frame {
        var rows: [StyledRow] = []
        if showsTabs { rows.append(tabs(model)) }
        rows += body(model)
        if showsStatus { rows.append(status(model)) }
        let (input, column) = inputRow(model, editor)
        rows.append(input)
        return Frame(rows: rows, cursor: (rows.count - 1, column))
    }

    private func tabs(_ model: ChatModel) -> StyledRow {
        var labels = model.rooms.enumerated().map { index, room in
            let unread = room.unread > 0 ? "(\(room.unread > 999 ? "999+" : String(room.unread)))" : ""
            let text = ShownText(" \(index + 1):\(room.title.string)\(unread) ")
            return StyledSpan(text, index == model.active ? .reversed : room.unread > 0 ? .bold : .dim)
        }
        // The active tab must be visible: tabs before it give way first.
        var hidden = 0
        while hidden < model.active, labels[hidden...model.active].reduce(2, { $0 + $1.text.cells }) > size.columns {
            hidden += 1
        }
        if hidden > 0 {
            labels.removeFirst(hidden)
            labels.insert(StyledSpan("< ", .dim), at: 0)
        }
        if labels.isEmpty { labels = [StyledSpan(" martlet-chat ", .bold)] }
        return StyledRow(labels).clipped(to: size.columns)
    }

    private func body(_ model: ChatModel) -> [StyledRow] {
        let height = timelineRows
        guard height > 0 else { return [] }
        let waiting = waiting(model)
        var rows = visible(model.shown, height - waiting.count)
        if rows.isEmpty, model.rooms.isEmpty {
            rows = [
                StyledRow([StyledSpan("/join ROOM to begin, /help for the rest", .dim)]).clipped(to: timelineColumns)
            ]
        }
        while rows.count < height - waiting.count { rows.append(StyledRow()) }
        rows += waiting
        guard showsMembers else { return rows }
        let members = memberRows(model, height)
        return zip(rows, members).map { row, member in
            let left = row.clipped(to: timelineColumns).padded(to: timelineColumns)
            return StyledRow(left.spans + [StyledSpan("│", .dim)] + member.spans)
        }
    }

    /// The rows of `room` that the view shows, from the bottom up until it is full.
    private func visible(_ room: ChatRoom, _ height: Int) -> [StyledRow] {
        var upwards: [StyledRow] = []
        var index = room.entries.count - 1
        while index >= 0, upwards.count < room.scroll + height {
            upwards += rows(of: room, at: index).reversed()
            index -= 1
        }
        let skip = min(room.scroll, max(upwards.count - height, 0))
        return Array(upwards.dropFirst(skip).prefix(height).reversed())
    }

    /// The rows of one entry, with the rules that belong above it.
    package func rows(of room: ChatRoom, at index: Int) -> [StyledRow] {
        let entry = room.entries[index]
        var rows: [StyledRow] = []
        if index == 0 || !room.entries[index - 1].time.isSameDay(as: entry.time) {
            rows.append(rule(entry.time.date, .dim))
        }
        if room.marker == entry.number { rows.append(rule("new", .bold)) }
        let clock = StyledSpan(ShownText(entry.time.clock + " "), .dim)
        switch entry.kind {
        case .message(let author, let isOwn):
            var style = nameStyle(author)
            if isOwn { style.isBold = true }
            let name = StyledRow([StyledSpan(author, style)]).clipped(to: max(timelineColumns / 3, 4)).spans
            rows += wrap([clock] + name + [StyledSpan("  ")], entry.text, .plain)
        case .notice: rows += wrap([clock, StyledSpan("-- ", .dim)], entry.text, .dim)
        case .traffic: rows += wrap([clock], entry.text, .dim)
        case .problem:
            let style = TextStyle(color: usesColor ? 203 : nil, isBold: !usesColor)
            rows += wrap([clock, StyledSpan("!! ", style)], entry.text, style)
        }
        return rows
    }

    /// Rows of the entries that came after the entry with `number`.
    package func rowCount(_ room: ChatRoom, after number: Int) -> Int {
        var sum = 0
        for index in room.entries.indices.reversed() {
            guard room.entries[index].number > number else { break }
            sum += rows(of: room, at: index).count
        }
        return sum
    }

    private func wrap(_ prefix: [StyledSpan], _ text: ShownText, _ style: TextStyle) -> [StyledRow] {
        LineWrap.rows(prefix: prefix, body: text, style: style, columns: timelineColumns)
    }

    private func rule(_ label: String, _ style: TextStyle) -> StyledRow {
        let text = " " + label + " "
        let dashes = max(timelineColumns - text.count, 0)
        let left = String(repeating: "─", count: min(4, dashes))
        let right = String(repeating: "─", count: max(dashes - 4, 0))
        return StyledRow([StyledSpan(ShownText(left + text + right), style)]).clipped(to: timelineColumns)
    }

    func nameStyle(_ name: ShownText) -> TextStyle {
        TextStyle(color: usesColor ? NameColor.of(name.string) : nil, isBold: !usesColor)
    }

    private func status(_ model: ChatModel) -> StyledRow {
        var parts: [String] = []
        switch model.connection {
        case .connecting: parts.append("○ connecting")
        case .connected: parts.append("● connected")
        case .waiting(let milliseconds): parts.append("○ reconnecting in \(Milliseconds.seconds(milliseconds)) s")
        case .closed: parts.append("× disconnected")
        }
        if let seconds = model.current?.limitSeconds(at: model.now) { parts.append("slow mode: \(seconds) s") }
        if let latency = model.latency { parts.append(Milliseconds.text(latency)) }
        if !model.user.string.isEmpty { parts.append(model.user.string) }
        if let room = model.current {
            parts.append(room.title.string + (room.isJoined ? "" : " (not joined)"))
            if room.scroll > 0 { parts.append("↑ \(room.scroll) rows back, PgDn") }
        }
        let text = StyledSpan(ShownText(" " + parts.joined(separator: " · ") + " "), .reversed)
        return StyledRow([text]).clipped(to: size.columns).padded(to: size.columns, .reversed)
    }

    /// The input line, moved sideways so that the cursor is visible, and the cursor's column.
    private func inputRow(_ model: ChatModel, _ editor: LineEditor) -> (StyledRow, Int) {
        let prompt: ShownText = size.columns >= 10 ? "> " : ""
        let width = max(size.columns - prompt.cells - 1, 1)  // one cell stays free for the cursor at the end
        var left = ShownText(editor.before).string
        var cells = CharacterWidth.cells(left)
        while cells > width, let first = left.first {
            cells -= CharacterWidth.cells(first)
            left.removeFirst()
        }
        let text = ShownText(left + ShownText(editor.after).string)
        let row = StyledRow([StyledSpan(prompt, .bold), StyledSpan(text)]).clipped(to: size.columns)
        return (row, min(prompt.cells + cells, size.columns - 1))
    }
}

/// The same colour for a name on every screen and in every run.
package enum NameColor {
    /// Colours of the 256-colour palette that are legible on black and on white.
    private static let palette: [UInt8] = [
        27, 31, 33, 62, 64, 67, 70, 94, 97, 99, 125, 127, 130, 133, 136, 160, 162, 166, 168, 172,
    ]

    /// The colour of `name` (FNV-1a over its UTF-8).
    package static func of(_ name: String) -> UInt8 {
        var hash: UInt32 = 2_166_136_261
        for byte in name.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return palette[Int(hash % UInt32(palette.count))]
    }
}

/// A duration for people.
package enum Milliseconds {
    /// Whole seconds, rounded up; 0 for what is over.
    package static func seconds(_ milliseconds: Int64) -> Int64 { milliseconds > 0 ? (milliseconds - 1) / 1000 + 1 : 0 }

    /// `0.4 ms`, `12 ms`.
    package static func text(_ value: Double) -> String {
        guard value.isFinite, value >= 0, value < 1e9 else { return "? ms" }
        if value >= 10 { return "\(Int(value.rounded())) ms" }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10) ms"
    }
}
