// What stands around the messages: who is there, at the right, and what waits to be sent, below. Pure, like the rest of
// the layout; bounded by the screen.

extension ScreenLayout {
    /// Waiting messages that are written out.
    private static let waitingShown = 3
    /// Rows that messages keep beside what waits.
    private static let messageRowsLeft = 3

    // MARK: Members

    /// The list of members, exactly `height` rows.
    func memberRows(_ model: ChatModel, _ height: Int) -> [StyledRow] {
        guard let room = model.current, height > 0 else { return Array(repeating: StyledRow(), count: height) }
        var rows = heading(room).map { StyledRow([StyledSpan($0, .dim)]) }
        let people: [(name: ShownText, count: Int)]
        switch room.roster.state {
        case .untracked, .forbidden: people = room.people.map { ($0, 1) }
        default: people = room.roster.entries.map { ($0.name, $0.count) }
        }
        let space = max(height - rows.count, 0)
        // The last row is needed for the number of those who do not fit.
        let hasMore = people.count > space || room.roster.state == .listed(isCut: true)
        let shown = hasMore ? min(people.count, max(space - 1, 0)) : people.count
        for person in people.prefix(shown) {
            var style = nameStyle(person.name)
            if person.name == model.user { style.isBold = true }
            let count = person.count > 1 ? " (\(person.count))" : ""
            let name = StyledRow([StyledSpan(person.name, style)]).clipped(to: max(membersColumns - 1 - count.count, 1))
            rows.append(StyledRow([StyledSpan(" ")] + name.spans + [StyledSpan(ShownText(count), .dim)]))
        }
        if hasMore { rows.append(StyledRow([StyledSpan(more(room, people.count, shown), .dim)])) }
        while rows.count < height { rows.append(StyledRow()) }
        return rows.prefix(height).map { $0.clipped(to: membersColumns) }
    }

    private func heading(_ room: ChatRoom) -> [ShownText] {
        let roster = room.roster
        let text: String
        switch roster.state {
        case .unknown where roster.entries.isEmpty, .fetching where roster.entries.isEmpty:
            text = room.isJoined ? "members …" : "not joined"
        case .unknown, .fetching, .listed(isCut: false):
            text = roster.entries.count == 1 ? "1 member" : "\(roster.entries.count) members"
        case .listed(isCut: true):
            text = roster.counted.map { "\($0.users) members" } ?? "\(roster.entries.count)+ members"
        case .untracked: text = room.people.isEmpty ? "not tracked here" : "not tracked here; seen:"
        case .forbidden: text = room.people.isEmpty ? "not for you to see" : "not for you to see; seen:"
        case .unavailable: text = "not known now"
        }
        let width = max(membersColumns - 1, 2)
        return LineWrap.cut(text, first: width, rest: width).map { ShownText(" " + $0) }
    }

    private func more(_ room: ChatRoom, _ known: Int, _ shown: Int) -> ShownText {
        var total = known
        if case .listed(isCut: true) = room.roster.state {
            guard let counted = room.roster.counted else { return " … and more" }
            total = max(Int(clamping: counted.users), known)
        }
        return ShownText(" … and \(total - shown) more")
    }

    // MARK: Waiting messages

    /// Rows for messages that wait for a limit or for a connection; none where the screen is too low for them.
    func waiting(_ model: ChatModel) -> [StyledRow] {
        let space = min(timelineRows - Self.messageRowsLeft, Self.waitingShown + 1)
        guard model.isWaiting, space > 0 else { return [] }
        let outgoing = model.shown.outgoing
        let shown = outgoing.count > space ? space - 1 : outgoing.count
        var rows = outgoing.prefix(shown).map { message in
            StyledRow([StyledSpan("waiting  ", .bold), StyledSpan(message.text, .dim)])
        }
        if shown < outgoing.count {
            rows.append(
                StyledRow([StyledSpan(ShownText("… and \(outgoing.count - shown) more wait; Esc drops them"), .dim)]))
        }
        return rows.map { $0.clipped(to: timelineColumns) }
    }
}
